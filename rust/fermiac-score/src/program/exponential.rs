//! The φ functions of exponential integrators, in stable forms.

use fermiac_base::special::expm1;

/// φ_k(z): φ_0 = exp(z), φ_{k+1}(z) = (φ_k(z) - 1 / k!) / z, for k ≥ 1.
///
/// The recurrence loses a factor of 1 / |z| in accuracy at every step, so that small z need the
/// series Σ z^j / (j + k)!.
pub(super) fn phi(k: usize, z: f64) -> f64 {
    if z.abs() < 2.0 {
        // The first term that is left out is below 1e-18 of the sum.
        let terms = 25;
        let tail = (1..terms).rev().fold(1.0, |sum, j| 1.0 + sum * z / (j + k) as f64);
        return tail / factorial(k);
    }
    (1..k).fold(expm1(z) / z, |value, j| (value - 1.0 / factorial(j)) / z)
}

/// Weights of a step of length `h` in log s, over which a denoised point is a polynomial.
pub(super) struct Weights {
    /// 1 - exp(-h), of the point.
    pub(super) level: f64,
    /// 1 + expm1(-h) / h, of its derivative by log s in units of `h`.
    pub(super) slope: f64,
    /// (1 + expm1(-h) / h) / h - 1/2; minus twice this is the weight of the square.
    pub(super) bend: f64,
}

impl Weights {
    pub(super) fn new(h: f64) -> Self {
        Self { level: -expm1(-h), slope: h * phi(2, -h), bend: -h * phi(3, -h) }
    }
}

pub(super) fn factorial(n: usize) -> f64 {
    (2..=n).map(|j| j as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 2 both forms are good, and near 0 the first terms of the series are.
    #[test]
    fn series_and_recurrence_agree() {
        for k in 1..=5 {
            for z in [2.0_f64, -2.0] {
                let recurrence = (1..k).fold(z.exp_m1() / z, |v, j| (v - 1.0 / factorial(j)) / z);
                let series = phi(k, z * (1.0 - 1e-15));
                assert!((series / recurrence - 1.0).abs() < 1e-13, "{k} {z}");
                assert!((phi(k, z) / recurrence - 1.0).abs() < 1e-14, "{k} {z}");
            }
            let z = -1e-4;
            let start = 1.0 / factorial(k) + z / factorial(k + 1) + z * z / factorial(k + 2);
            assert!((phi(k, z) / start - 1.0).abs() < 1e-12, "{k}");
        }
        let w = Weights::new(1e-3);
        assert!((w.slope - (5e-4 - 1e-6 / 6.0 + 1e-9 / 24.0)).abs() < 1e-14);
        assert!((w.bend + (1e-3 / 6.0 - 1e-6 / 24.0 + 1e-9 / 120.0)).abs() < 1e-14);
    }
}
