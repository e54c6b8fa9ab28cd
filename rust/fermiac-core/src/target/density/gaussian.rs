//! The multivariate normal log-density as that of independent residuals L⁻¹ (x - mean).

use super::design::{Design, Likelihood, Sums, evaluate};
use super::linear::squares;
use super::settle_overflow;
use crate::Result;
use crate::linalg::{Rows, packed_start};
use crate::simd::V;
use crate::target::law::MultivariateNormal;
use crate::target::{LogDensity, RowStatus, Style};

/// The log-density of a multivariate normal law, with lanes over the rows of L⁻¹: one point costs
/// an eighth of what it costs in [`LawDensity`](super::LawDensity), whose lanes are points.
#[derive(Debug, Clone)]
pub struct Gaussian {
    mean: Vec<f64>,
    design: Design,
    constant: f64,
}

struct Standard;

impl Likelihood for Standard {
    #[inline(always)]
    fn observe<const FMA: bool>(&self, _block: usize, predictor: V, sums: &mut Sums) -> V {
        squares::<FMA>(predictor, sums)
    }
}

impl Gaussian {
    /// Of this law.
    pub fn new(law: &MultivariateNormal) -> Self {
        let (mean, packed) = (law.mean().to_vec(), law.factor().inverse_lower());
        let dim = mean.len();
        let mut inverse = vec![0.0; dim * dim];
        for (i, row) in inverse.chunks_exact_mut(dim).enumerate() {
            row[..=i].copy_from_slice(&packed[packed_start(i)..packed_start(i + 1)]);
        }
        let design = Design::triangular(Rows::new(&inverse, dim));
        Self { mean, design, constant: law.constant() }
    }
}

impl LogDensity for Gaussian {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn has_gradient(&self) -> bool {
        true
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        self.log_density_gradient(x, out, &mut [], status)
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        super::check_rows(x, self.dim())?;
        let centred: Vec<f64> =
            x.iter().flat_map(|row| row.iter().zip(&self.mean).map(|(x, m)| x - m)).collect();
        evaluate(&self.design, &Standard, Rows::new(&centred, x.dim()), out, gradient);
        out.iter_mut().for_each(|value| *value += self.constant);
        settle_overflow(x, out, gradient, status);
        Ok(())
    }

    fn log_evidence(&self) -> Option<f64> {
        Some(0.0)
    }

    fn style(&self) -> Style {
        Style::Threaded
    }
}
