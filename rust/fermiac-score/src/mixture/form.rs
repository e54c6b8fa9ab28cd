//! Single components, one point at a time: draws, derivatives, and the limit without noise.

use super::isotropic::Isotropic;
use super::spectral::{Spectral, Vectors};
use super::{GaussianMixture, NO_NOISE};
use crate::model::{Model, level};
use crate::noise::{Purpose, stream};
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::LN_SQRT_2PI;

/// Covariances of one kind.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Isotropic(Isotropic),
    Spectral(Spectral),
}

impl Form {
    /// The logarithm of the weight of component `k`.
    pub(super) fn log_weight(&self, k: usize) -> f64 {
        match self {
            Self::Isotropic(form) => form.log_weights[k],
            Self::Spectral(form) => form.log_weights[k],
        }
    }

    /// The mean of component `k`.
    pub(super) fn mean(&self, k: usize) -> &[f64] {
        match self {
            Self::Isotropic(form) => form.mean_of(k),
            Self::Spectral(form) => &form.means[form.own(k)],
        }
    }

    /// Eigenvalue `i` of component `k`.
    pub(super) fn variance(&self, k: usize, i: usize) -> f64 {
        match self {
            Self::Isotropic(form) => form.variance(k),
            Self::Spectral(form) => form.variances[k * form.dim + i],
        }
    }

    /// The eigenvectors of component `k` as the rows of a matrix, unless they are the axes.
    pub(super) fn vectors(&self, k: usize) -> Option<&[f64]> {
        match self {
            Self::Spectral(form @ Spectral { vectors: Some(Vectors { rows, .. }), .. }) => {
                Some(form.matrix(rows, k))
            }
            _ => None,
        }
    }

    /// The distances of `y` from the mean of component `k` along its eigenvectors.
    pub(super) fn distances(&self, k: usize, y: &[f64], z: &mut [f64]) {
        let off = || y.iter().zip(self.mean(k)).map(|(y, m)| y - m);
        match self.vectors(k) {
            None => z.iter_mut().zip(off()).for_each(|(z, off)| *z = off),
            Some(rows) => {
                for (z, row) in z.iter_mut().zip(rows.chunks_exact(y.len())) {
                    *z = row.iter().zip(off()).map(|(v, off)| v * off).sum();
                }
            }
        }
    }

    /// The point at these distances from the mean of component `k` along its eigenvectors.
    pub(super) fn point(&self, k: usize, z: &[f64], x: &mut [f64]) {
        x.copy_from_slice(self.mean(k));
        match self.vectors(k) {
            None => x.iter_mut().zip(z).for_each(|(x, z)| *x += z),
            Some(rows) => {
                for (z, row) in z.iter().zip(rows.chunks_exact(x.len())) {
                    x.iter_mut().zip(row).for_each(|(x, v)| *x += z * v);
                }
            }
        }
    }
}

impl GaussianMixture {
    /// Fills `out` (rows × dim) with draws of rows from `first` on. A row takes a uniform number
    /// for its component and then a normal number for each coordinate from its stream.
    pub fn sample(&self, key: u64, first: u64, sigma: &[f64], out: &mut [f64]) {
        let mut z = vec![0.0; self.dim];
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        for (i, row) in out.chunks_exact_mut(self.dim).enumerate() {
            let s = level(sigma, i);
            let mut stream = stream(key, Purpose::Data, first + i as u64, 0);
            let u = stream.uniform() * total;
            let k = self.cumulative.partition_point(|c| *c <= u).min(self.cumulative.len() - 1);
            stream.fill_normal(&mut z);
            for (j, z) in z.iter_mut().enumerate() {
                *z *= (self.form.variance(k, j) + s * s).sqrt();
            }
            self.form.point(k, &z, row);
        }
    }

    /// The symmetric matrices ∂D/∂y of every row (rows × dim × dim): the average derivative of the
    /// components, and the scatter of their posterior means over s².
    ///
    /// # Errors
    /// As for [`Model::denoise`].
    pub fn jacobian(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        let (dim, n) = (self.dim, self.kept.len());
        let mut shares = vec![0.0; y.len() * n];
        self.shares(y, sigma, &mut shares)?;
        let mut denoised = vec![0.0; y.data().len()];
        self.denoise(y, sigma, &mut denoised)?;
        let (mut z, mut off) = (vec![0.0; dim], vec![0.0; dim]);
        // The derivatives of the components at the level of the row before.
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

    /// The factor of a distance along an eigenvector in the posterior mean.
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

/// Distances below this, relative to the coordinates, count as rounding.
const ROUNDING: f64 = 1e-13;

/// The limit of a posterior as the noise vanishes: components with their shares, and the number of
/// directions without variance.
///
/// As s goes to 0, a component whose covariance misses m directions, at the distance r from the
/// plane of the others, has the weight exp(-r² / 2 s²) s⁻ᵐ times the density of the other
/// directions. The nearest planes have all the weight; among equally near ones, those of the fewest
/// dimensions.
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

    /// Writes the posterior mean at a point without noise, and returns the trace of its derivative.
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
