//! Single components, one point at a time: for the limit without noise, derivatives and draws.

use super::isotropic::Isotropic;
use super::spectral::{Spectral, Vectors};

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
            Self::Isotropic(form) => form.log_weights()[k],
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

    /// The eigenvectors of component `k` as the rows of a matrix, where they are not the axes.
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
