//! Coefficients of regressions: by least squares, or by one step of Newton's method.
//!
//! About coefficients b₀ with residuals r and curvatures v of the loss, the weights w give
//! b₀ + (Σ w v x xᵀ)⁻¹ Σ w x r. For least squares (v = 1) that is the solution itself.

use super::Statistic;
use fermiac_base::linalg::{Cholesky, SymmetricEigen, dot};

/// Eigenvalues below this share of the largest count as zero.
const CUT: f64 = 1e-12;

/// The coefficients of a regression, an output each.
pub(super) struct Regression {
    /// The rows of the design, one after the other.
    rows: Vec<f64>,
    curvature: Vec<f64>,
    residual: Vec<f64>,
    centre: Vec<f64>,
}

impl Regression {
    pub(super) fn new(
        design: &[&[f64]],
        curvature: &[f64],
        residual: &[f64],
        centre: &[f64],
    ) -> Self {
        let rows = (0..curvature.len()).flat_map(|i| design.iter().map(move |c| c[i])).collect();
        Self {
            rows,
            curvature: curvature.to_vec(),
            residual: residual.to_vec(),
            centre: centre.to_vec(),
        }
    }

    /// Fills the room with Σ w v x xᵀ (its lower triangle) and Σ w x r.
    fn sums(&self, weights: &[f64], room: &mut Vec<f64>) {
        let p = self.centre.len();
        room.clear();
        room.resize(p * p + p, 0.0);
        let (matrix, right) = room.split_at_mut(p * p);
        for (((x, w), v), r) in
            self.rows.chunks_exact(p).zip(weights).zip(&self.curvature).zip(&self.residual)
        {
            if *w == 0.0 {
                continue;
            }
            let (wv, wr) = (w * v, w * r);
            for j in 0..p {
                right[j] += wr * x[j];
                let scaled = wv * x[j];
                for (to, y) in matrix[j * p..=j * p + j].iter_mut().zip(x) {
                    *to += scaled * y;
                }
            }
        }
    }

    /// The step from the centre, the rows of the inverse, and whether it is unique.
    fn solve(&self, weights: &[f64], room: &mut Vec<f64>) -> (Vec<f64>, Vec<f64>, bool) {
        let p = self.centre.len();
        self.sums(weights, room);
        let (matrix, right) = room.split_at_mut(p * p);
        if let Ok(factor) = Cholesky::new(matrix, p)
            && (0..p).all(|i| factor.row(i)[i].powi(2) > CUT * matrix[i * p + i])
        {
            let mut inverse = vec![0.0; p * p];
            for (k, row) in inverse.chunks_exact_mut(p).enumerate() {
                row[k] = 1.0;
                factor.solve(row);
            }
            factor.solve(right);
            return (right.to_vec(), inverse, true);
        }
        for i in 0..p {
            for j in 0..i {
                matrix[j * p + i] = matrix[i * p + j];
            }
        }
        let Ok(eigen) = SymmetricEigen::new(matrix, p) else {
            return (vec![f64::NAN; p], vec![f64::NAN; p * p], false);
        };
        // The coefficients of least norm, not the least step.
        let (inverse, _) = eigen.pseudo_inverse(CUT);
        for (i, to) in right.iter_mut().enumerate() {
            *to += dot(&matrix[i * p..(i + 1) * p], &self.centre);
        }
        let step =
            (0..p).map(|i| dot(&inverse[i * p..(i + 1) * p], right) - self.centre[i]).collect();
        (step, inverse, false)
    }
}

impl Statistic for Regression {
    fn width(&self) -> usize {
        self.centre.len()
    }

    fn outputs(
        &self,
        weights: &[f64],
        influence: Option<&mut [f64]>,
        room: &mut Vec<f64>,
        each: &mut dyn FnMut(f64, Option<&[f64]>),
    ) -> bool {
        let p = self.centre.len();
        let (step, inverse, unique) = self.solve(weights, room);
        let Some(out) = influence else {
            self.centre.iter().zip(&step).for_each(|(b, d)| each(b + d, None));
            return unique;
        };
        for k in 0..p {
            let row = &inverse[k * p..(k + 1) * p];
            for (((to, x), v), r) in out
                .iter_mut()
                .zip(self.rows.chunks_exact(p))
                .zip(&self.curvature)
                .zip(&self.residual)
            {
                *to = dot(row, x) * (r - v * dot(x, &step));
            }
            each(self.centre[k] + step[k], Some(out));
        }
        unique
    }

    fn value(&self, weights: &[f64], room: &mut Vec<f64>) -> f64 {
        self.centre[0] + self.solve(weights, room).0[0]
    }
}
