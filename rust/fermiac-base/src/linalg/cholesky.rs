//! The Cholesky factor of a symmetric positive-definite matrix, packed by rows.

use crate::simd::{Kernel, LANES, V, dispatch, ln};
use crate::{Error, Result};

/// The lower triangular L with L Lᵀ = A. Row `i` is stored as its first `i + 1` numbers, one row
/// after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Cholesky {
    dim: usize,
    packed: Vec<f64>,
}

/// Index of the first entry of row `i` in a packed lower triangle.
#[inline(always)]
pub const fn packed_start(i: usize) -> usize {
    i * (i + 1) / 2
}

/// Returns the scalar product, summed in an order that depends on the length alone.
#[inline]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_tiles, a_rest) = a.as_chunks::<LANES>();
    let (b_tiles, b_rest) = b.as_chunks::<LANES>();
    let mut sum = V::ZERO;
    for (x, y) in a_tiles.iter().zip(b_tiles) {
        sum = sum + V(*x) * V(*y);
    }
    a_rest.iter().zip(b_rest).fold(sum.sum(), |s, (x, y)| s + x * y)
}

impl Cholesky {
    /// Factors the row-major `dim` × `dim` matrix `a`, of which only the lower triangle is read.
    ///
    /// # Errors
    /// [`Error::Numerical`], which names the pivot, if the matrix is not positive definite.
    pub fn new(a: &[f64], dim: usize) -> Result<Self> {
        if dim == 0 || a.len() != dim * dim {
            let why = format!("{} numbers were given for {dim} × {dim}", a.len());
            return Err(Error::argument("matrix", why));
        }
        let mut packed = Vec::with_capacity(packed_start(dim));
        for i in 0..dim {
            for j in 0..=i {
                packed.push(a[i * dim + j]);
            }
        }
        for i in 0..dim {
            let (above, row) = packed.split_at_mut(packed_start(i));
            for j in 0..i {
                let other = &above[packed_start(j)..packed_start(j + 1)];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let diagonal = row[i];
            let pivot = diagonal - dot(&row[..i], &row[..i]);
            // After so much cancellation the pivot is pure rounding error.
            let noise = f64::EPSILON * i as f64 * diagonal;
            if !(pivot > noise && pivot < f64::INFINITY) {
                return Err(Error::Numerical(format!(
                    "the matrix is not positive definite: pivot {i} (counted from 0) is {pivot:e} \
                     where the diagonal is {diagonal:e}; give a matrix of full rank with finite \
                     entries, or add a small multiple of the identity"
                )));
            }
            row[i] = pivot.sqrt();
        }
        Ok(Self { dim, packed })
    }

    /// Rows of the matrix.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The factor, packed by rows.
    pub fn packed(&self) -> &[f64] {
        &self.packed
    }

    /// Row `i` of the factor, up to its diagonal.
    #[inline]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.packed[packed_start(i)..packed_start(i + 1)]
    }

    /// ln det A.
    pub fn log_determinant(&self) -> f64 {
        2.0 * (0..self.dim).fold(0.0, |sum, i| sum + ln(self.packed[packed_start(i) + i]))
    }

    /// Solves L y = b in place.
    pub fn solve_lower(&self, b: &mut [f64]) {
        debug_assert_eq!(b.len(), self.dim);
        for i in 0..self.dim {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// Solves Lᵀ y = b in place.
    pub fn solve_upper(&self, b: &mut [f64]) {
        debug_assert_eq!(b.len(), self.dim);
        dispatch(SolveUpper { factor: self, b });
    }

    /// Solves A x = b in place.
    pub fn solve(&self, b: &mut [f64]) {
        self.solve_lower(b);
        self.solve_upper(b);
    }

    /// L⁻¹, packed by rows.
    pub fn inverse_lower(&self) -> Vec<f64> {
        let mut inverse = vec![0.0; self.packed.len()];
        for i in 0..self.dim {
            let row = self.row(i);
            let (above, out) = inverse.split_at_mut(packed_start(i));
            // Row i of L⁻¹ is (e_i - Σ_k L_ik · row k of L⁻¹) / L_ii.
            for k in 0..i {
                let known = &above[packed_start(k)..packed_start(k + 1)];
                for (out, known) in out.iter_mut().zip(known) {
                    *out -= row[k] * known;
                }
            }
            for out in &mut out[..i] {
                *out /= row[i];
            }
            out[i] = 1.0 / row[i];
        }
        inverse
    }
}

struct SolveUpper<'a> {
    factor: &'a Cholesky,
    b: &'a mut [f64],
}

impl Kernel for SolveUpper<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for i in (0..self.factor.dim).rev() {
            let row = self.factor.row(i);
            self.b[i] /= row[i];
            let y = self.b[i];
            for (b, l) in self.b[..i].iter_mut().zip(row) {
                *b -= y * l;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// B Bᵀ + a little of the identity, from `dim²` numbers.
    fn positive_definite(b: &[f64], dim: usize) -> Vec<f64> {
        let mut a = vec![0.0; dim * dim];
        for i in 0..dim {
            for j in 0..dim {
                a[i * dim + j] = (0..dim).map(|k| b[i * dim + k] * b[j * dim + k]).sum::<f64>()
                    + if i == j { 0.1 } else { 0.0 };
            }
        }
        a
    }

    fn matrices() -> impl Strategy<Value = (usize, Vec<f64>)> {
        (1_usize..20).prop_flat_map(|d| (Just(d), prop::collection::vec(-1.0..1.0, d * d)))
    }

    proptest! {
        #[test]
        fn the_factor_gives_the_matrix_back((dim, b) in matrices()) {
            let a = positive_definite(&b, dim);
            let factor = Cholesky::new(&a, dim).unwrap();
            for i in 0..dim {
                for j in 0..=i {
                    let product = dot(&factor.row(i)[..=j], factor.row(j));
                    prop_assert!((product - a[i * dim + j]).abs() < 1e-14 * dim as f64);
                }
            }
        }

        #[test]
        fn solutions_and_inverses_satisfy_their_equations((dim, b) in matrices()) {
            let a = positive_definite(&b, dim);
            let factor = Cholesky::new(&a, dim).unwrap();
            let x: Vec<f64> = (0..dim).map(|i| i as f64 - 2.5).collect();
            let mut rhs: Vec<f64> = (0..dim).map(|i| dot(&a[i * dim..(i + 1) * dim], &x)).collect();
            factor.solve(&mut rhs);
            for (got, want) in rhs.iter().zip(&x) {
                prop_assert!((got - want).abs() < 1e-10, "{got} {want}");
            }
            let inverse = factor.inverse_lower();
            let mut column = vec![0.0; dim];
            column[0] = 1.0;
            factor.solve_lower(&mut column);
            for i in 0..dim {
                prop_assert!((inverse[packed_start(i)] - column[i]).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn a_known_factor() {
        let a = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -2.0, 3.0, 19.0];
        let factor = Cholesky::new(&a, 3).unwrap();
        assert_eq!(factor.packed(), [2.0, 1.0, 2.0, -1.0, 2.0, 14.0_f64.sqrt()]);
        assert!((factor.log_determinant() - (4.0_f64 * 4.0 * 14.0).ln()).abs() < 1e-15);
    }

    #[test]
    fn the_failing_pivot_is_named() {
        for (a, pivot) in [
            (vec![1.0, 2.0, 2.0, 1.0], "pivot 1"),
            (vec![1.0, 1.0, 1.0, 1.0], "pivot 1"),
            (vec![0.0, 0.0, 0.0, 1.0], "pivot 0"),
            (vec![f64::NAN, 0.0, 0.0, 1.0], "pivot 0"),
            (vec![1.0, 0.0, 0.0, f64::INFINITY], "pivot 1"),
        ] {
            let message = Cholesky::new(&a, 2).unwrap_err().to_string();
            assert!(message.contains(pivot), "{message}");
        }
        assert!(matches!(Cholesky::new(&[1.0], 2), Err(Error::Argument { .. })));
    }
}
