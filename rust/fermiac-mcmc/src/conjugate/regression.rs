//! The coefficients of a linear regression with normal errors of known variance.

use super::normal::{add_outer, add_scaled, rows_between_polls, square_room};
use super::quantity::Quantity;
use super::{Checked, Law, Refused, finite, positive};
use fermiac_base::linalg::Cholesky;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// The normal prior of the coefficients beside its mean.
pub enum Prior {
    /// Independent coefficients with these variances.
    Variances(Quantity),
    /// A precision matrix, row by row.
    Precision(Vec<f64>),
}

/// The coefficients of a regression, drawn together.
pub struct Coefficients {
    matrix: Vec<f64>,
    response: Quantity,
    variance: Quantity,
    mean: Quantity,
    prior: Prior,
    /// XᵀWX, with the weights 1/v if they are known, else 1; empty if it depends on the state.
    gram: Vec<f64>,
    /// XᵀWy; empty if it depends on the state.
    right: Vec<f64>,
}

impl Coefficients {
    /// The law of a matrix of regressors, row by row, and of responses less their offsets. `poll`
    /// is called now and then while sums over the rows are computed.
    pub fn new(
        matrix: Vec<f64>,
        response: Quantity,
        variance: Quantity,
        mean: Quantity,
        prior: Prior,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let (n, k) = (response.len(), mean.len());
        if k == 0 || matrix.len() != n * k || variance.len() != n {
            return Err(Error::Internal(format!("a regression of {n} on {k} that does not fit")));
        }
        square_room(k)?;
        let mut made =
            Self { matrix, response, variance, mean, prior, gram: Vec::new(), right: Vec::new() };
        if made.variance.is_constant() || made.variance.is_uniform() {
            let weight = |i: usize| made.known_weight(i);
            let mut gram = vec![0.0; k * k];
            let some = rows_between_polls(k);
            for (i, row) in made.rows() {
                add_outer(&mut gram, row, weight(i));
                if i % some == 0 {
                    poll()?;
                }
            }
            let right = made.response.is_constant().then(|| made.right(weight, &[]));
            made.right = right.unwrap_or_default();
            made.gram = gram;
        }
        Ok(made)
    }

    /// The weight of a row in the sums that do not depend on the state.
    fn known_weight(&self, i: usize) -> f64 {
        if self.variance.is_constant() { 1.0 / self.variance.constant(i) } else { 1.0 }
    }

    fn rows(&self) -> std::iter::Enumerate<std::slice::ChunksExact<'_, f64>> {
        self.matrix.chunks_exact(self.mean.len()).enumerate()
    }

    /// XᵀWX, its lower triangle.
    fn gram(&self, weight: impl Fn(usize) -> f64) -> Vec<f64> {
        let k = self.mean.len();
        let mut gram = vec![0.0; k * k];
        self.rows().for_each(|(i, row)| add_outer(&mut gram, row, weight(i)));
        gram
    }

    /// XᵀWy.
    fn right(&self, weight: impl Fn(usize) -> f64, x: &[f64]) -> Vec<f64> {
        let mut right = vec![0.0; self.mean.len()];
        for (i, row) in self.rows() {
            add_scaled(&mut right, row, weight(i) * self.response.at(i, x));
        }
        right
    }

    /// The likelihood's part of the precision and of the precision times the mean.
    fn likelihood(&self, x: &[f64]) -> Checked<(Vec<f64>, Vec<f64>)> {
        if self.gram.is_empty() {
            let mut weights = Vec::with_capacity(self.variance.len());
            for i in 0..self.variance.len() {
                weights.push(1.0 / finite("the variance", self.variance.at(i, x))?);
            }
            return Ok((self.gram(|i| weights[i]), self.right(|i| weights[i], x)));
        }
        let mut gram = self.gram.clone();
        let mut right = if self.right.is_empty() {
            self.right(|i| self.known_weight(i), x)
        } else {
            self.right.clone()
        };
        if !self.variance.is_constant() {
            let weight = 1.0 / finite("the variance", self.variance.at(0, x))?;
            gram.iter_mut().chain(&mut right).for_each(|a| *a *= weight);
        }
        Ok((gram, right))
    }
}

impl Law for Coefficients {
    fn len(&self) -> usize {
        self.mean.len()
    }

    fn cost(&self) -> usize {
        let k = self.mean.len();
        let sums = match (self.gram.is_empty(), self.right.is_empty()) {
            (true, _) => self.matrix.len() * k,
            (false, true) => self.matrix.len(),
            (false, false) => 0,
        };
        100 + k * k + k * k * k / 8 + sums + self.response.cost()
    }

    fn draw(&self, x: &[f64], stream: &mut Stream, out: &mut [f64]) -> Checked<()> {
        let k = out.len();
        let (mut precision, mut right) = self.likelihood(x)?;
        let mean = self.mean.read(x);
        match &self.prior {
            Prior::Variances(variances) => {
                let variances = variances.read(x);
                for (i, right) in right.iter_mut().enumerate() {
                    let prior = 1.0 / positive("a prior variance", variances.at(i))?;
                    precision[i * k + i] += prior;
                    *right += prior * mean.at(i);
                }
            }
            Prior::Precision(matrix) => {
                for (i, (right, row)) in right.iter_mut().zip(matrix.chunks_exact(k)).enumerate() {
                    add_scaled(&mut precision[i * k..(i + 1) * k], row, 1.0);
                    *right += row.iter().enumerate().fold(0.0, |s, (j, a)| s + a * mean.at(j));
                }
            }
        }
        let Ok(factor) = Cholesky::new(&precision, k) else {
            let needed = "a positive definite matrix (more data, or a proper prior)";
            return Err(Refused { what: "the determinant of the precision", value: 0.0, needed });
        };
        // With A = L Lᵀ the draw is L⁻ᵀ (L⁻¹ r + z).
        out.copy_from_slice(&right);
        factor.solve_lower(out);
        for to in &mut *out {
            *to += stream.normal();
        }
        factor.solve_upper(out);
        Ok(())
    }
}
