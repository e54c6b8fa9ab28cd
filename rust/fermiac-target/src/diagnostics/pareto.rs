//! The tail shape k-hat of importance weights by a generalised Pareto fit.
//!
//! Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling* (2024); the fit is
//! that of Zhang and Stephens, *A new and efficient estimation method for the generalized Pareto
//! distribution* (2009), with the weakly informative prior of the former.

use fermiac_base::par::pausing;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, ln, ln1pv};

/// Returns the number of tail weights among `n` independent ones: 3√n, at most a fifth of few, at
/// least five.
pub fn tail_length(n: usize) -> usize {
    tail_length_of(n, 1.0)
}

/// Returns the same for a sample with an effective size of n · `r_eff`: the tail is longer, since
/// dependent values carry less information on it.
pub(crate) fn tail_length_of(n: usize, r_eff: f64) -> usize {
    let size = n as f64;
    let tail = if size * r_eff > 225.0 { (3.0 * (size / r_eff).sqrt()) as usize } else { n / 5 };
    tail.max(5)
}

/// Returns the tail shape k-hat of non-negative weights: moments of order below 1/k exist. Above 0.5
/// the variance of the fitted tail does not exist, above 1 its mean does not. A constant tail gives
/// -inf; fewer than 10 weights, or fewer than 5 that are not 0, give NaN. Reorders the weights.
pub fn khat(weights: &mut [f64]) -> f64 {
    let tail = tail_length(weights.len());
    if weights.len() < 10 || weights.len() <= tail {
        return f64::NAN;
    }
    let at = weights.len() - tail;
    let (below, _, _) = weights.select_nth_unstable_by(at, pausing(f64::total_cmp));
    let cut = below.iter().copied().fold(0.0, f64::max);
    let mut exceedances: Vec<f64> = weights[at..].to_vec();
    exceedances.sort_by(f64::total_cmp);
    let largest = exceedances[tail - 1];
    if exceedances.iter().filter(|w| **w > 0.0).count() < 5 {
        return f64::NAN;
    }
    // Differences by rounding make no tail.
    if largest - cut <= 1e-13 * largest {
        return f64::NEG_INFINITY;
    }
    // The shape does not depend on the scale.
    exceedances.iter_mut().for_each(|y| *y = (*y - cut) / largest);
    GeneralizedPareto::fit(&exceedances).shape
}

/// A generalised Pareto law of exceedances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GeneralizedPareto {
    pub(crate) shape: f64,
    pub(crate) scale: f64,
}

/// Returns the first quartile of sorted values, as defined for the fit.
pub(crate) fn first_quartile(y: &[f64]) -> f64 {
    y[(y.len() as f64 / 4.0 + 0.5) as usize - 1]
}

impl GeneralizedPareto {
    /// Fits sorted exceedances ≥ 0, the largest > 0. The prior affects only the shape.
    pub(crate) fn fit(y: &[f64]) -> Self {
        let n = y.len();
        let m = 30 + (n as f64).sqrt() as usize;
        let quartile = first_quartile(y).max(f64::MIN_POSITIVE);
        let largest = y[n - 1];
        let shape = |b: f64| dispatch(MeanLn1p { y, factor: -b });
        let candidates: Vec<f64> = (1..=m)
            .map(|j| {
                1.0 / largest + (1.0 - (m as f64 / (j as f64 - 0.5)).sqrt()) / (3.0 * quartile)
            })
            .collect();
        let profile: Vec<f64> = candidates
            .iter()
            .map(|b| {
                let k = shape(*b);
                n as f64 * (ln(-b / k) - k - 1.0)
            })
            .collect();
        let best =
            profile.iter().copied().filter(|l| !l.is_nan()).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut mean) = (0.0, 0.0);
        for (b, l) in candidates.iter().zip(&profile) {
            let weight = exp(l - best);
            if weight >= 10.0 * f64::EPSILON {
                sum += weight;
                mean += weight * b;
            }
        }
        let b = mean / sum;
        let k = shape(b);
        let n = n as f64;
        Self { shape: (n * k + 5.0) / (n + 10.0), scale: -k / b }
    }
}

/// The mean of ln(1 + factor · y).
struct MeanLn1p<'a> {
    y: &'a [f64],
    factor: f64,
}

impl Kernel for MeanLn1p<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let (tiles, rest) = self.y.as_chunks::<LANES>();
        let factor = V::splat(self.factor);
        let mut sum = V::ZERO;
        for tile in tiles {
            sum = sum + ln1pv::<FMA>(V(*tile) * factor);
        }
        sum = sum + ln1pv::<FMA>(V::padded(rest, 0.0) * factor);
        sum.sum() / self.y.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn finds_the_shape_of_pareto_weights() {
        for (k, key) in [(0.3, 1), (0.7, 2), (1.2, 3)] {
            let mut rng = Stream::new(key, Domain::User, 0, 0);
            let mut weights: Vec<f64> = (0..100_000).map(|_| exp(-k * ln(rng.uniform()))).collect();
            let got = khat(&mut weights);
            assert!((got - k).abs() < 0.15, "{got} where {k} is right");
        }
    }

    #[test]
    fn even_weights_have_no_tail() {
        assert_eq!(khat(&mut [0.25; 1000]), f64::NEG_INFINITY);
        assert!(khat(&mut [0.0; 1000]).is_nan());
        assert!(khat(&mut [1.0; 9]).is_nan());
    }
}
