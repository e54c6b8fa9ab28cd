//! The normal law about a peak, from second differences of the log-likelihood.

use super::climb::Axes;
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot};

/// The first scale of differences, and the fall of the log-likelihood over the last one, which is right
/// within a factor.
const SCALE: f64 = 1e-3;
const FALL: f64 = 0.5;
const WITHIN: f64 = 5.0;
/// The largest number of rounds of differences along axes, and the largest factor on a scale.
const ROUNDS: usize = 4;
const LONGER: f64 = 100.0;
/// The scale is at most this share of the way to an end of the axis, or of a circle.
const SHARE: f64 = 0.9;
const OF_CIRCLE: f64 = 0.25;
/// The farthest step to the centre of the law, in scales.
const FARTHEST: f64 = 3.0;

/// The largest number of calls for a law.
pub(super) fn n_calls(dim: usize) -> usize {
    2 * dim * ROUNDS + dim * (dim - 1) / 2
}

/// The centre and the covariance matrix, row-major, of the law whose log-density has the derivatives of
/// the log-likelihood at a point near to a peak; `None` if it has no peak there.
pub(super) fn law_about(
    u: &[f64],
    ell: f64,
    axes: Axes<'_>,
    mut evaluate: impl FnMut(&[f64]) -> Result<Vec<f64>>,
) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
    let dim = u.len();
    let longest: Vec<f64> = (0..dim)
        .map(|j| if axes.circles[j] { OF_CIRCLE } else { SHARE * u[j].min(1.0 - u[j]) })
        .collect();
    let mut scales: Vec<f64> = longest.iter().map(|longest| SCALE.min(*longest)).collect();
    let mut sides = Vec::new();
    for round in 1..=ROUNDS {
        let mut rows = Vec::new();
        for j in 0..dim {
            for part in [1.0, -1.0] {
                rows.extend(moved(u, &scales, &[(j, part)], axes));
            }
        }
        sides = evaluate(&rows)?;
        let falls: Vec<f64> = sides.chunks_exact(2).map(|s| ell - 0.5 * (s[0] + s[1])).collect();
        let is_right = |fall: &f64| (FALL / WITHIN..FALL * WITHIN).contains(fall);
        if falls.iter().all(is_right) {
            break;
        }
        if round == ROUNDS {
            return Ok(None);
        }
        for ((scale, fall), longest) in scales.iter_mut().zip(&falls).zip(&longest) {
            let by = if *fall > 0.0 { (FALL / fall).sqrt() } else { LONGER };
            *scale = (*scale * by.clamp(1.0 / LONGER, LONGER)).min(*longest);
        }
    }
    let mut rows = Vec::new();
    for i in 0..dim {
        for j in 0..i {
            rows.extend(moved(u, &scales, &[(i, 1.0), (j, 1.0)], axes));
        }
    }
    let mut corners = if rows.is_empty() { Vec::new() } else { evaluate(&rows)? }.into_iter();
    // The negative Hessian matrix and the gradient in scales.
    let mut negative = vec![0.0; dim * dim];
    for i in 0..dim {
        for j in 0..i {
            let corner = corners.next().unwrap_or(f64::NAN);
            negative[i * dim + j] = sides[2 * i] + sides[2 * j] - ell - corner;
        }
        negative[i * dim + i] = 2.0 * ell - sides[2 * i] - sides[2 * i + 1];
    }
    let Ok(factor) = Cholesky::new(&negative, dim) else { return Ok(None) };
    let mut step: Vec<f64> = sides.chunks_exact(2).map(|s| 0.5 * (s[0] - s[1])).collect();
    factor.solve(&mut step);
    let length = dot(&step, &step).sqrt();
    let shorter = (FARTHEST / length).min(1.0);
    let parts: Vec<(usize, f64)> = step.iter().map(|x| x * shorter).enumerate().collect();
    let centre = moved(u, &scales, &parts, axes);
    let mut covariance = vec![0.0; dim * dim];
    for (j, column) in covariance.chunks_exact_mut(dim).enumerate() {
        column[j] = 1.0;
        factor.solve(column);
        column.iter_mut().zip(&scales).for_each(|(x, scale)| *x *= scale * scales[j]);
    }
    Ok(covariance.iter().all(|x| x.is_finite()).then_some((centre, covariance)))
}

/// A point moved along some axes by parts of their scales.
fn moved(u: &[f64], scales: &[f64], parts: &[(usize, f64)], axes: Axes<'_>) -> Vec<f64> {
    let mut step = vec![0.0; u.len()];
    parts.iter().for_each(|(j, part)| step[*j] = part * scales[*j]);
    axes.moved(u, &step, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_law_is_that_of_a_normal_density() {
        // Axes of very different lengths, and a point off the peak.
        let (sds, correlation) = ([3e-5, 0.02, 0.1], 0.8);
        let centre = [0.3, 0.99, 0.5];
        let f = |x: &[f64]| {
            let z: Vec<f64> = (0..3)
                .map(|j| {
                    let step = x[j] - centre[j];
                    (if j == 1 { step - step.round() } else { step }) / sds[j]
                })
                .collect();
            let rest = (z[1] - correlation * z[0]) / (1.0 - correlation * correlation).sqrt();
            5.0 - 0.5 * (z[0] * z[0] + rest * rest + z[2] * z[2])
        };
        let axes = Axes { circles: &[false, true, false], end: 1e-4 };
        let u = [0.3 + 2e-5, 0.005, 0.46];
        let mut calls = 0;
        let law = law_about(&u, f(&u), axes, |rows| {
            calls += rows.len() / 3;
            Ok(rows.chunks_exact(3).map(f).collect())
        });
        let (found, covariance) = law.unwrap().unwrap();
        assert!(calls <= n_calls(3), "{calls}");
        for j in 0..3 {
            assert!((found[j] - centre[j]).abs() < 1e-3 * sds[j], "{found:?}");
            for k in 0..3 {
                let rho = if j == k {
                    1.0
                } else if j + k == 1 {
                    correlation
                } else {
                    0.0
                };
                let wrong = covariance[3 * j + k] / (sds[j] * sds[k]) - rho;
                assert!(wrong.abs() < 1e-3, "{j} {k} {covariance:?}");
            }
        }
    }

    #[test]
    fn there_is_no_law_without_a_peak() {
        let axes = Axes { circles: &[false; 2], end: 1e-4 };
        for f in [|_: &[f64]| 1.0, |x: &[f64]| x[0] * x[0], |x: &[f64]| -x[0].powi(2) + x[1]] {
            let u = [0.4, 0.6];
            let law = law_about(&u, f(&u), axes, |rows| Ok(rows.chunks_exact(2).map(f).collect()));
            assert!(law.unwrap().is_none());
        }
    }
}
