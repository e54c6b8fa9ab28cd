//! Weights of points by powers of the likelihood.

use fermiac_base::simd::{exp, ln};

/// Steps of the bisection for a power.
const STEPS: usize = 50;
/// Rounds of cutting.
const CUTS: usize = 4;
/// The first power, relative to the inverse of the spread of log-likelihoods.
const FIRST: f64 = 1e-3;

/// The weights of points relative to the largest: the likelihood to a power, over their density.
pub(super) fn weights(ell: &[f64], ln_density: &[f64], power: f64) -> Vec<f64> {
    let logs: Vec<f64> = ell
        .iter()
        .zip(ln_density)
        .map(|(ell, density)| if *ell == f64::NEG_INFINITY { *ell } else { power * ell - density })
        .collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return vec![0.0; logs.len()];
    }
    logs.iter().map(|log| exp(log - top)).collect()
}

/// Cuts weights so that none is much more than a share `1 / least` of all.
pub(super) fn cut(weights: &mut [f64], least: f64) {
    for _ in 0..CUTS {
        let most = weights.iter().sum::<f64>() / least;
        weights.iter_mut().for_each(|w| *w = w.min(most));
    }
}

/// (Σ w)² / Σ w².
pub(super) fn ess(weights: &[f64]) -> f64 {
    let (sum, squares) =
        weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The largest power, from `least` to 1, at which the weights have an effective size of `wanted`;
/// `least` if there is none.
pub(super) fn power_of(ell: &[f64], ln_density: &[f64], least: f64, wanted: f64) -> f64 {
    let size = |power: f64| ess(&weights(ell, ln_density, power));
    if size(1.0) >= wanted {
        return 1.0;
    }
    let mut low = least;
    if low == 0.0 {
        let finite = ell.iter().copied().filter(|ell| ell.is_finite());
        let (bottom, top) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), ell| {
            (low.min(ell), high.max(ell))
        });
        low = (FIRST / (top - bottom).max(1.0)).max(f64::MIN_POSITIVE);
    }
    if size(low) < wanted {
        return least;
    }
    let (mut low, mut high) = (ln(low), 0.0);
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if size(exp(middle)) >= wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    exp(low).max(least)
}
