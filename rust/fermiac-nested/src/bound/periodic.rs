//! Periodic axes, rotated so that their ends are where points are fewest.

/// How far each axis is rotated: to the middle of the largest gap between the points, on a circle
/// of length 1; not at all where the axis is not periodic.
pub(super) fn shifts(u: &[f64], d: usize, periodic: &[bool]) -> Vec<f64> {
    (0..d).map(|j| if periodic[j] { gap(u[j..].iter().step_by(d)) } else { 0.0 }).collect()
}

/// The middle of the largest gap.
fn gap<'a>(points: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    // The largest of n gaps is no shorter than 1/n, so that none within a bin of that width is.
    let n = points.len();
    let mut bins = vec![(f64::INFINITY, f64::NEG_INFINITY); n];
    for &x in points {
        let (low, high) = &mut bins[((x * n as f64) as usize).min(n - 1)];
        (*low, *high) = (low.min(x), high.max(x));
    }
    let mut filled = bins.iter().filter(|(low, _)| low.is_finite());
    let Some(&(first, mut last)) = filled.next() else { return 0.0 };
    let (mut middle, mut widest) = (0.0, 0.0);
    for &(low, high) in filled {
        if low - last > widest {
            (middle, widest) = (0.5 * (low + last), low - last);
        }
        last = high;
    }
    if first + 1.0 - last > widest { back(0.5 * (first + 1.0 + last), 0.0) } else { middle }
}

/// Appends rows of points, rotated.
pub(super) fn rotate(u: &[f64], shifts: &[f64], out: &mut Vec<f64>) {
    for row in u.chunks_exact(shifts.len()) {
        out.extend(row.iter().zip(shifts).map(|(x, by)| forth(*x, *by)));
    }
}

/// A coordinate, rotated.
pub(super) fn forth(x: f64, shift: f64) -> f64 {
    let y = x - shift;
    if y < 0.0 { y + 1.0 } else { y }
}

/// A rotated coordinate, rotated back.
pub(super) fn back(y: f64, shift: f64) -> f64 {
    let x = y + shift;
    if x >= 1.0 { x - 1.0 } else { x }
}
