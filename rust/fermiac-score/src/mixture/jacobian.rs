//! The derivative of the posterior mean: the average of the components' own ones, and the scatter
//! of their posterior means over s².

use fermiac_base::Result;
use fermiac_base::linalg::Rows;

use super::{GaussianMixture, NO_NOISE};
use crate::model::{Model, level};

impl GaussianMixture {
    /// The matrices ∂D/∂y of every row (rows × dim × dim); they are symmetric.
    ///
    /// # Errors
    /// As of [`Model::denoise`].
    pub fn jacobian(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        let (dim, n) = (self.dim, self.kept.len());
        let mut shares = vec![0.0; y.len() * n];
        self.shares(y, sigma, &mut shares)?;
        let mut denoised = vec![0.0; y.data().len()];
        self.denoise(y, sigma, &mut denoised)?;
        let (mut z, mut off) = (vec![0.0; dim], vec![0.0; dim]);
        // The components' own derivatives at the level of the row before.
        let (mut at, mut own) = (f64::NAN, vec![Vec::new(); n]);
        for (i, (row, out)) in y.iter().zip(out.chunks_exact_mut(dim * dim)).enumerate() {
            let s = level(sigma, i);
            if s != at {
                own.iter_mut().for_each(Vec::clear);
                at = s;
            }
            let square = if s < NO_NOISE { 0.0 } else { s * s };
            out.fill(0.0);
            for (k, share) in shares[i * n..(i + 1) * n].iter().enumerate() {
                if *share == 0.0 {
                    continue;
                }
                if own[k].is_empty() {
                    own[k] = self.own_derivative(k, square);
                }
                out.iter_mut().zip(&own[k]).for_each(|(to, a)| *to += share * a);
                if square == 0.0 {
                    continue;
                }
                self.form.distances(k, row, &mut z);
                for (j, z) in z.iter_mut().enumerate() {
                    *z *= self.gain(k, j, square);
                }
                self.form.point(k, &z, &mut off);
                off.iter_mut().zip(&denoised[i * dim..]).for_each(|(m, d)| *m = (*m - d) / s);
                for (to, a) in out.chunks_exact_mut(dim).zip(&off) {
                    to.iter_mut().zip(&off).for_each(|(to, b)| *to += share * (a * b));
                }
            }
        }
        Ok(())
    }

    /// How much of a distance along an eigenvector is left of it.
    fn gain(&self, k: usize, i: usize, square: f64) -> f64 {
        let variance = self.form.variance(k, i);
        if variance == 0.0 { 0.0 } else { variance / (variance + square) }
    }

    /// The derivative of the posterior mean of component `k`.
    fn own_derivative(&self, k: usize, square: f64) -> Vec<f64> {
        let dim = self.dim;
        let mut own = vec![0.0; dim * dim];
        let Some(rows) = self.form.vectors(k) else {
            (0..dim).for_each(|i| own[i * (dim + 1)] = self.gain(k, i, square));
            return own;
        };
        for (i, vector) in rows.chunks_exact(dim).enumerate() {
            let gain = self.gain(k, i, square);
            for (to, a) in own.chunks_exact_mut(dim).zip(vector) {
                to.iter_mut().zip(vector).for_each(|(to, b)| *to += gain * (a * b));
            }
        }
        own
    }
}
