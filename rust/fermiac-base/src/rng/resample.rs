//! Resampling of weighted rows to rows of equal weight.

use super::{Alias, Stream};
use crate::Result;
use crate::alloc::room;
use crate::par::{PAUSE_EVERY, pause};

/// A resampling scheme; each gives row i an expected `n` · Wᵢ copies.
///
/// Reference: R. Douc, O. Cappé, E. Moulines (2005), "Comparison of resampling schemes for particle
/// filtering", Proceedings of the 4th International Symposium on Image and Signal Processing and
/// Analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// One uniform number, then equal steps through the cumulative weights.
    Systematic,
    /// One uniform number in each of the `n` steps.
    Stratified,
    /// Independent draws.
    Multinomial,
    /// The integer part of `n` · Wᵢ copies, and independent draws for the rest.
    Residual,
}

/// Returns the indices of `n` rows drawn in proportion to `weights` (finite, not negative, not all
/// zero), in random order.
pub fn resample(
    weights: &[f64],
    n: usize,
    scheme: Scheme,
    stream: &mut Stream,
) -> Result<Vec<usize>> {
    // Also checks the weights.
    let table = Alias::new(weights)?;
    let largest = weights.iter().fold(0.0_f64, |m, w| m.max(*w));
    let total = weights.iter().map(|w| w / largest).sum::<f64>();
    let expected = |w: f64| w / largest / total * n as f64;
    let mut chosen = room("n", n)?;
    match scheme {
        Scheme::Systematic => {
            let start = stream.uniform();
            along(weights, expected, n, &mut chosen, || start);
        }
        Scheme::Stratified => along(weights, expected, n, &mut chosen, || stream.uniform()),
        // Independent draws are already in random order.
        Scheme::Multinomial => {
            fill(&mut chosen, n, || table.sample(stream));
            return Ok(chosen);
        }
        Scheme::Residual => {
            let mut rest = Vec::with_capacity(weights.len());
            for (i, w) in weights.iter().enumerate() {
                if i.is_multiple_of(PAUSE_EVERY) {
                    pause();
                }
                let copies = expected(*w).floor();
                rest.push(expected(*w) - copies);
                chosen.extend(std::iter::repeat_n(i, copies as usize));
            }
            // Rounding may give one copy too many, or no remainder.
            chosen.truncate(n);
            let table = if rest.iter().any(|r| *r > 0.0) { Alias::new(&rest)? } else { table };
            fill(&mut chosen, n, || table.sample(stream));
        }
    }
    for last in (1..chosen.len()).rev() {
        if last.is_multiple_of(PAUSE_EVERY) {
            pause();
        }
        chosen.swap(last, stream.below(last as u64 + 1) as usize);
    }
    Ok(chosen)
}

/// Appends draws up to a length of `n`.
fn fill(chosen: &mut Vec<usize>, n: usize, mut draw: impl FnMut() -> usize) {
    while chosen.len() < n {
        let part = (n - chosen.len()).min(PAUSE_EVERY);
        chosen.extend((0..part).map(|_| draw()));
        pause();
    }
}

/// Returns row i for every k in 0..n with k + `offset()` in its interval of cumulative expectations.
fn along(
    weights: &[f64],
    expected: impl Fn(f64) -> f64,
    n: usize,
    chosen: &mut Vec<usize>,
    mut offset: impl FnMut() -> f64,
) {
    let (mut reached, mut next) = (0.0, offset());
    let mut last = 0;
    for (i, w) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        if i.is_multiple_of(PAUSE_EVERY) {
            pause();
        }
        reached += expected(*w);
        last = i;
        while chosen.len() < n && next < reached {
            if chosen.len().is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            chosen.push(i);
            next = chosen.len() as f64 + offset();
        }
    }
    // Rounding may leave the last rows unassigned.
    chosen.resize(n, last);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Domain;

    const SCHEMES: [Scheme; 4] =
        [Scheme::Systematic, Scheme::Stratified, Scheme::Multinomial, Scheme::Residual];

    #[test]
    fn copies_are_unbiased() {
        let weights = [0.0, 3.0, 0.5, 0.0, 1.3, 5.2];
        let (n, runs) = (7, 20_000);
        for scheme in SCHEMES {
            let mut sums = [0.0; 6];
            let mut squares = [0.0; 6];
            for run in 0..runs {
                let mut stream = Stream::new(1, Domain::Resample, run, 0);
                let mut copies = [0.0; 6];
                for i in resample(&weights, n, scheme, &mut stream).unwrap() {
                    copies[i] += 1.0;
                }
                for i in 0..6 {
                    sums[i] += copies[i];
                    squares[i] += copies[i] * copies[i];
                }
            }
            for i in 0..6 {
                let mean = sums[i] / runs as f64;
                let error = ((squares[i] / runs as f64 - mean * mean) / runs as f64).sqrt();
                let exact = n as f64 * weights[i] / 10.0;
                assert!((mean - exact).abs() <= 5.0 * error, "{scheme:?} {i}: {mean} {exact}");
            }
        }
    }

    #[test]
    fn all_but_independent_draws_give_whole_expectations_exactly() {
        for scheme in [Scheme::Systematic, Scheme::Stratified, Scheme::Residual] {
            for run in 0..100 {
                let mut stream = Stream::new(2, Domain::Resample, run, 0);
                let mut got = resample(&[2.0, 0.0, 1.0, 1.0], 4, scheme, &mut stream).unwrap();
                got.sort_unstable();
                assert_eq!(got, [0, 0, 2, 3], "{scheme:?}");
            }
        }
    }

    #[test]
    fn more_rows_than_memory_holds_are_an_error() {
        let mut stream = Stream::new(5, Domain::Resample, 0, 0);
        assert!(resample(&[1.0], usize::MAX / 16, Scheme::Multinomial, &mut stream).is_err());
    }

    #[test]
    fn the_order_is_random() {
        let mut firsts = [0; 3];
        for run in 0..3000 {
            let mut stream = Stream::new(3, Domain::Resample, run, 0);
            let got = resample(&[1.0; 3], 3, Scheme::Systematic, &mut stream).unwrap();
            firsts[got[0]] += 1;
        }
        // 1000 each, with a standard deviation of 26.
        assert!(firsts.iter().all(|f| (870..1130).contains(f)), "{firsts:?}");
    }

    #[test]
    fn weights_are_checked() {
        let mut stream = Stream::new(4, Domain::Resample, 0, 0);
        for bad in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN]] {
            assert!(resample(bad, 1, Scheme::Systematic, &mut stream).is_err());
        }
        assert!(resample(&[1.0], 0, Scheme::Residual, &mut stream).unwrap().is_empty());
    }
}
