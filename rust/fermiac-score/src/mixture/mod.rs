//! The exact model of a mixture of normal laws, or of data points as components without variance.
//!
//! With noise of level s a component N(μ, Σ) becomes N(μ, Σ + s² I). The posterior mean behind a
//! noisy point is the average of those of the components, μ + Σ (Σ + s² I)⁻¹ (y - μ), with their
//! posterior weights. All quantities follow from the eigenvalues of Σ.

mod build;
mod evaluate;
mod form;
mod isotropic;
mod shape;
mod spectral;
#[cfg(test)]
mod tests;
mod tile;

pub use build::Covariances;

use crate::Model;
use crate::model::level;
use evaluate::{Quantity, Query};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::exp_slice;
use fermiac_base::{Error, Result};
use form::Form;

/// Levels below this count as no noise: their squares are hardly representable.
const NO_NOISE: f64 = 1e-75;

/// A mixture of normal laws, seen through noise of any level.
#[derive(Debug, Clone)]
pub struct GaussianMixture {
    dim: usize,
    n_components: usize,
    /// The components with weight.
    kept: Vec<usize>,
    /// Running sums of their weights.
    cumulative: Vec<f64>,
    /// Whether one of them has no variance in some direction.
    singular: bool,
    form: Form,
}

impl GaussianMixture {
    /// The number of components, including those without weight.
    pub fn n_components(&self) -> usize {
        self.n_components
    }

    /// The posterior weights of the components at every row (rows × components).
    ///
    /// # Errors
    /// If the shapes of the arguments do not fit.
    pub fn responsibilities(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        let n = self.kept.len();
        let mut shares = vec![0.0; y.len() * n];
        self.shares(y, sigma, &mut shares)?;
        out.fill(0.0);
        for (to, shares) in out.chunks_exact_mut(self.n_components).zip(shares.chunks_exact(n)) {
            self.kept.iter().zip(shares).for_each(|(k, share)| to[*k] = *share);
        }
        Ok(())
    }

    /// The posterior weights of the components with weight.
    fn shares(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        let mut logs = vec![0.0; y.len()];
        self.evaluate(Quantity::Terms, y, sigma, out, &mut logs)?;
        let n = self.kept.len();
        for (i, terms) in out.chunks_exact_mut(n).enumerate() {
            if self.singular && level(sigma, i) < NO_NOISE {
                terms.fill(0.0);
                for (k, share) in self.limit(y.row(i)).shares {
                    terms[k] = share;
                }
            } else {
                // Relative to the largest: large log-densities have few digits after the point.
                let most = terms.iter().fold(f64::NEG_INFINITY, |most, term| most.max(*term));
                if !most.is_finite() {
                    terms.fill(f64::NAN);
                    continue;
                }
                terms.iter_mut().for_each(|term| *term -= most);
                exp_slice(terms);
                let sum: f64 = terms.iter().sum();
                terms.iter_mut().for_each(|term| *term /= sum);
            }
        }
        Ok(())
    }

    /// Evaluates the rows with noise, or without if the law has a density.
    fn evaluate(
        &self,
        quantity: Quantity,
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        values: &mut [f64],
    ) -> Result<()> {
        if y.dim() != self.dim || (sigma.len() != 1 && sigma.len() != y.len()) {
            return Err(Error::Internal("rows or levels of another shape".into()));
        }
        // Without a density at level 0, the caller replaces such rows.
        let idle = if self.singular { 1.0 } else { 0.0 };
        let one = sigma.first().map(|s| if *s < NO_NOISE { idle } else { *s });
        let sigma = if sigma.len() == 1 { one.as_slice() } else { sigma };
        let query = Query { quantity, y, sigma, out, values, idle };
        match &self.form {
            Form::Isotropic(shape) => query.run(shape),
            Form::Spectral(shape) => query.run(shape),
        }
        Ok(())
    }

    /// Refuses levels without noise if the law has no density.
    fn require_density(&self, what: &str, sigma: &[f64]) -> Result<()> {
        if !self.singular || sigma.iter().all(|s| *s >= NO_NOISE) {
            return Ok(());
        }
        Err(Error::Numerical(format!(
            "the {what} at noise level 0 was asked for, where the law has no density, as a \
             covariance is singular; ask at a positive level, or give all directions variance"
        )))
    }

    /// Replaces the denoised rows without noise, and their traces.
    fn project_noiseless(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64], traces: &mut [f64]) {
        if sigma.iter().all(|s| *s >= NO_NOISE) {
            return;
        }
        for (i, (y, to)) in y.iter().zip(out.chunks_exact_mut(self.dim)).enumerate() {
            if level(sigma, i) < NO_NOISE {
                let trace = self.project(y, to);
                if let Some(to) = traces.get_mut(i) {
                    *to = trace;
                }
            }
        }
    }
}

impl Model for GaussianMixture {
    fn dim(&self) -> usize {
        self.dim
    }

    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.evaluate(Quantity::Denoised, y, sigma, out, &mut [])?;
        self.project_noiseless(y, sigma, out, &mut []);
        Ok(())
    }

    fn score(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.require_density("score", sigma)?;
        self.evaluate(Quantity::Scores, y, sigma, out, &mut [])
    }

    fn log_density(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.require_density("log-density", sigma)?;
        self.evaluate(Quantity::LogDensities, y, sigma, &mut [], out)
    }

    fn level_log_densities(&self, y: Rows<'_>, levels: &[f64], out: &mut [f64]) -> Result<()> {
        self.require_density("log-density", levels)?;
        match &self.form {
            Form::Isotropic(shape) => evaluate::log_densities(shape, y, levels, out),
            Form::Spectral(shape) => evaluate::log_densities(shape, y, levels, out),
        }
        Ok(())
    }

    fn has_trace(&self) -> bool {
        true
    }

    fn denoise_with_trace(
        &self,
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        trace: &mut [f64],
    ) -> Result<()> {
        self.evaluate(Quantity::Traces, y, sigma, out, trace)?;
        self.project_noiseless(y, sigma, out, trace);
        Ok(())
    }

    fn describe(&self) -> String {
        format!("the mixture of {} normal laws", self.n_components)
    }
}
