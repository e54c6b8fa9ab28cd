//! Eigendecomposition and pseudo-inverse of a symmetric matrix.

use crate::{Error, Result};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, MatRef, Par, Spec, diag::Diag};

/// Eigenvalues and orthonormal eigenvectors of a symmetric matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricEigen {
    /// The eigenvalues, ascending.
    pub values: Vec<f64>,
    /// The eigenvectors as the columns of a row-major matrix, in the order of the values.
    pub vectors: Vec<f64>,
}

impl SymmetricEigen {
    /// Decomposes the row-major `dim` × `dim` matrix `a`, of which only the lower triangle is
    /// read. It runs on one thread, so the result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`Error::Numerical`] if an entry is not finite or the iteration does not converge.
    pub fn new(a: &[f64], dim: usize) -> Result<Self> {
        if dim == 0 || a.len() != dim * dim {
            let why = format!("{} numbers were given for {dim} × {dim}", a.len());
            return Err(Error::argument("matrix", why));
        }
        if let Some(at) = a.iter().position(|x| !x.is_finite()) {
            let (i, j, x) = (at / dim, at % dim, a[at]);
            return Err(Error::Numerical(format!(
                "entry ({i}, {j}) of the matrix is {x}; an eigendecomposition needs finite numbers"
            )));
        }
        let matrix = MatRef::from_row_major_slice(a, dim, dim);
        let mut values = Diag::zeros(dim);
        let mut vectors = Mat::zeros(dim, dim);
        let scratch = self_adjoint_evd_scratch::<f64>(
            dim,
            ComputeEigenvectors::Yes,
            Par::Seq,
            Spec::default(),
        );
        self_adjoint_evd(
            matrix,
            values.as_mut(),
            Some(vectors.as_mut()),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            Spec::default(),
        )
        .map_err(|_| {
            Error::Numerical(format!(
                "the eigenvalues of a {dim} × {dim} matrix did not converge; scale its entries to \
                 a moderate size"
            ))
        })?;
        Ok(Self {
            values: (0..dim).map(|i| values[i]).collect(),
            vectors: (0..dim * dim).map(|k| vectors[(k / dim, k % dim)]).collect(),
        })
    }

    /// Rows of the matrix.
    pub fn dim(&self) -> usize {
        self.values.len()
    }

    /// Returns the row-major pseudo-inverse and its rank: eigenvalues of size at most `cut` times
    /// the largest count as zero.
    pub fn pseudo_inverse(&self, cut: f64) -> (Vec<f64>, usize) {
        let dim = self.dim();
        let largest = self.values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let mut inverse = vec![0.0; dim * dim];
        let mut rank = 0;
        for (k, value) in self.values.iter().enumerate() {
            if value.abs() <= cut * largest {
                continue;
            }
            rank += 1;
            for i in 0..dim {
                let scaled = self.vectors[i * dim + k] / value;
                for j in 0..dim {
                    inverse[i * dim + j] += scaled * self.vectors[j * dim + k];
                }
            }
        }
        (inverse, rank)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
        let entry = |k: usize| (0..dim).map(|m| a[k / dim * dim + m] * b[m * dim + k % dim]).sum();
        (0..dim * dim).map(entry).collect()
    }

    fn assert_close(a: &[f64], b: &[f64]) {
        for (k, (x, y)) in a.iter().zip(b).enumerate() {
            assert!((x - y).abs() < 1e-12, "entry {k}: {x} against {y}");
        }
    }

    fn symmetric(dim: usize) -> Vec<f64> {
        (0..dim * dim).map(|k| 1.0 / (1.0 + (k / dim + k % dim) as f64)).collect()
    }

    #[test]
    fn the_second_difference_matrix_has_its_known_spectrum() {
        for dim in [1, 2, 7, 40] {
            let mut a = vec![0.0; dim * dim];
            for i in 0..dim {
                a[i * dim + i] = 2.0;
                if i > 0 {
                    a[i * dim + i - 1] = -1.0;
                }
            }
            let eigen = SymmetricEigen::new(&a, dim).unwrap();
            let exact: Vec<f64> = (1..=dim)
                .map(|k| {
                    let half = k as f64 * std::f64::consts::FRAC_PI_2 / (dim + 1) as f64;
                    4.0 * half.sin().powi(2)
                })
                .collect();
            assert_close(&eigen.values, &exact);
        }
    }

    #[test]
    fn vectors_are_columns_that_give_the_matrix_back() {
        let dim = 6;
        let a = symmetric(dim);
        let eigen = SymmetricEigen::new(&a, dim).unwrap();
        let mut scaled = eigen.vectors.clone();
        let mut transposed = vec![0.0; dim * dim];
        for i in 0..dim {
            for k in 0..dim {
                scaled[i * dim + k] *= eigen.values[k];
                transposed[k * dim + i] = eigen.vectors[i * dim + k];
            }
        }
        assert_close(&product(&scaled, &transposed, dim), &a);
    }

    #[test]
    fn the_pseudo_inverse_of_a_singular_matrix() {
        // Rank 2 in dimension 3: u uᵀ + w wᵀ with orthogonal u, w of squared lengths 5 and 9.
        let (u, w) = ([1.0, 2.0, 0.0], [0.0, 0.0, 3.0]);
        let of = |su: f64, sw: f64| -> Vec<f64> {
            (0..9).map(|k| su * u[k / 3] * u[k % 3] + sw * w[k / 3] * w[k % 3]).collect()
        };
        let eigen = SymmetricEigen::new(&of(1.0, 1.0), 3).unwrap();
        let (inverse, rank) = eigen.pseudo_inverse(1e-12);
        assert_eq!(rank, 2);
        assert_close(&inverse, &of(1.0 / 25.0, 1.0 / 81.0));
        let (zero, rank) = SymmetricEigen::new(&[0.0; 4], 2).unwrap().pseudo_inverse(1e-12);
        assert_eq!((zero, rank), (vec![0.0; 4], 0));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let message = SymmetricEigen::new(&[1.0, 0.0, f64::NAN, 1.0], 2).unwrap_err().to_string();
        assert!(message.contains("(1, 0)"), "{message}");
    }
}
