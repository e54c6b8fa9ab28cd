//! Laws without noise that have no density: the limit of the posterior as the noise vanishes.
//!
//! As s goes to 0, a component whose covariance misses m directions, at the distance r from the
//! plane of the others, weighs exp(-r² / 2 s²) s⁻ᵐ times what the other directions give. So the
//! nearest planes have all the weight; of equally near ones, those of the fewest dimensions.

use fermiac_base::simd::{exp, ln};
use fermiac_base::special::LN_SQRT_2PI;

use super::GaussianMixture;

/// Distances below this, relative to the coordinates, are rounding.
const ROUNDING: f64 = 1e-13;

/// What is left of a posterior: components with their shares, and how many directions they miss.
pub(super) struct Limit {
    pub(super) shares: Vec<(usize, f64)>,
    pub(super) missing: usize,
}

impl GaussianMixture {
    /// The limit of the posterior at a point.
    pub(super) fn limit(&self, y: &[f64]) -> Limit {
        let mut z = vec![0.0; self.dim];
        let mut best = (f64::INFINITY, 0);
        let mut near: Vec<(usize, f64)> = Vec::new();
        for k in 0..self.kept.len() {
            self.form.distances(k, y, &mut z);
            let (mut square, mut missing) = (0.0, 0);
            let mut log = self.form.log_weight(k);
            for (i, z) in z.iter().enumerate() {
                let variance = self.form.variance(k, i);
                if variance == 0.0 {
                    square += z * z;
                    missing += 1;
                } else {
                    log -= 0.5 * z * z / variance + 0.5 * ln(variance) + LN_SQRT_2PI;
                }
            }
            let size = y.iter().zip(self.form.mean(k)).fold(0.0, |s, (y, m)| s + y * y + m * m);
            if square <= ROUNDING * ROUNDING * size {
                square = 0.0;
            }
            let (nearest, most) = best;
            if square > nearest || (square == nearest && missing < most) {
                continue;
            }
            if square < nearest || missing > most {
                near.clear();
                best = (square, missing);
            }
            near.push((k, log));
        }
        let largest = near.iter().fold(f64::NEG_INFINITY, |m, (_, log)| m.max(*log));
        near.iter_mut().for_each(|(_, log)| *log = exp(*log - largest));
        let total: f64 = near.iter().map(|(_, weight)| weight).sum();
        near.iter_mut().for_each(|(_, weight)| *weight /= total);
        Limit { shares: near, missing: best.1 }
    }

    /// The posterior mean at a point without noise; gives the trace of its derivative.
    pub(super) fn project(&self, y: &[f64], to: &mut [f64]) -> f64 {
        to.copy_from_slice(y);
        if !self.singular {
            return self.dim as f64;
        }
        let Limit { shares, missing } = self.limit(y);
        if missing > 0 && !shares.is_empty() {
            let (mut z, mut x) = (vec![0.0; self.dim], vec![0.0; self.dim]);
            to.fill(0.0);
            for (k, share) in shares {
                self.form.distances(k, y, &mut z);
                for (i, z) in z.iter_mut().enumerate() {
                    if self.form.variance(k, i) == 0.0 {
                        *z = 0.0;
                    }
                }
                self.form.point(k, &z, &mut x);
                to.iter_mut().zip(&x).for_each(|(to, x)| *to += share * x);
            }
        }
        (self.dim - missing) as f64
    }
}
