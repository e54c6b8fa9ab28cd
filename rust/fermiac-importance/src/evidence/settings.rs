//! The settings of an evidence run.

use super::{MOST_COMPONENTS, MOST_POINTS};
use crate::component_bank::Tail;
use crate::integrate::Points;
use fermiac_base::{Error, Result};

/// The points that the sampler is fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Adaptive multiple importance sampling: fits to all points, by the balance heuristic.
    Amis,
    /// Population Monte Carlo: fits to the newest stage, by its own weights.
    Pmc,
    /// Importance sampling from the law, without adaptation.
    Snis,
}

/// The settings of [`super::evidence`].
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Evaluations in all.
    pub n: usize,
    /// The points that the sampler is fitted to.
    pub scheme: Scheme,
    /// Components of the mixture; where none is given, from 1 to 5 by the criterion.
    pub n_components: Option<usize>,
    /// Adaptation stages at most.
    pub n_stages: usize,
    /// The share of the evaluations that adaptation may use.
    pub adapt_fraction: f64,
    /// Degrees of freedom of Student-t components (> 2); Gaussian ones where none are given.
    pub df: Option<f64>,
    /// The share of every fitted sampler that is drawn from the law.
    pub defensive: f64,
    /// Sobol' points or random ones in the final stage.
    pub points: Points,
    /// The number of replicates of nets; by the budget where none is given.
    pub n_replicates: Option<usize>,
    /// The key of the random streams.
    pub key: u64,
}

impl Settings {
    pub(super) fn check(&self, dim: usize) -> Result<()> {
        let least = 20 * (dim + 1);
        if self.n < least {
            let why =
                format!("{} given; {dim} dimensions need at least 20 (d + 1) = {least}", self.n);
            return Err(Error::argument("n", why));
        }
        if self.n_stages == 0 || self.n_stages > 1000 {
            let why = format!("{} given; it must be from 1 to 1000", self.n_stages);
            return Err(Error::argument("n_stages", why));
        }
        if let Some(k) = self.n_components.filter(|k| *k == 0 || *k > 100) {
            let why = format!(
                "{k} given; it must be from 1 to 100, or None for up to {MOST_COMPONENTS} by BIC"
            );
            return Err(Error::argument("n_components", why));
        }
        if let Some(df) = self.df.filter(|df| !(*df > 2.0 && df.is_finite())) {
            let why = format!("{df} given; it must be a finite number above 2");
            return Err(Error::argument("df", why));
        }
        if !(0.0..=0.9).contains(&self.adapt_fraction) {
            let why = format!("{} given; it must be from 0 to 0.9", self.adapt_fraction);
            return Err(Error::argument("adapt_fraction", why));
        }
        if !(0.0..=0.9).contains(&self.defensive) {
            let why = format!("{} given; it must be from 0 to 0.9", self.defensive);
            return Err(Error::argument("defensive", why));
        }
        Ok(())
    }

    pub(super) fn tail(&self) -> Tail {
        self.df.map_or(Tail::Gaussian, Tail::Student)
    }

    /// Evaluations that the adaptation may use.
    pub(super) fn adapting(&self) -> usize {
        (self.n as f64 * self.adapt_fraction) as usize
    }

    /// Points of the first adaptation stages: an even share of theirs, enough for a fit.
    pub(super) fn stage_size(&self, dim: usize) -> usize {
        let even = self.adapting() / self.n_stages;
        even.max(10 * (dim + 1)).min(MOST_POINTS).min(self.n / 2)
    }

    /// The effective sample size that a fit needs: ten points for each coordinate, a tenth of a
    /// stage.
    pub(super) fn wanted(&self, dim: usize) -> f64 {
        (10.0 * (dim as f64 + 1.0)).max(self.stage_size(dim) as f64 / 10.0)
    }
}
