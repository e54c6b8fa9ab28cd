//! Normalisation of log-weights.

use fermiac_base::par::{MANY, pause};
use fermiac_base::simd::{exp_slice, ln};

/// Returns weights that sum to one, and the logarithm of the mean of the given weights. Log-weights
/// of -inf give 0; if all are -inf, all weights are 0 and the logarithm is -inf.
pub fn normalize(log_weights: &[f64]) -> (Vec<f64>, f64) {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return (vec![0.0; log_weights.len()], f64::NEG_INFINITY);
    }
    let mut weights: Vec<f64> = log_weights.iter().map(|l| l - largest).collect();
    weights.chunks_mut(MANY).for_each(|part| {
        exp_slice(part);
        pause();
    });
    let total = weights.iter().sum::<f64>();
    weights.iter_mut().for_each(|w| *w /= total);
    (weights, largest + ln(total / log_weights.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logarithms_do_no_harm() {
        let (w, log_mean) = normalize(&[1e5, 1e5 + 3.0_f64.ln(), f64::NEG_INFINITY]);
        assert!((w[0] - 0.25).abs() < 1e-11 && (w[1] - 0.75).abs() < 1e-11 && w[2] == 0.0);
        assert!((log_mean - 1e5 - (4.0_f64 / 3.0).ln()).abs() < 1e-10);
        assert_eq!(normalize(&[f64::NEG_INFINITY; 2]), (vec![0.0; 2], f64::NEG_INFINITY));
    }
}
