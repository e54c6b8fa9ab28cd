//! The settings of a run.

use super::component_bank::Tail;
use super::integrate::Points;
use fermiac_base::{Error, Result};
use fermiac_target::Law;

/// The draws of a Student-t with fewer degrees of freedom overflow.
const LEAST_DF: f64 = 0.1;

/// The method of the estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Plain Monte Carlo from the law (from the mixture of laws, where there are several).
    MonteCarlo,
    /// Adaptive importance sampling with one density control per expectation.
    Adaptive,
}

/// The weights of the variances in the criterion that the sampler is tuned for.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights {
    /// Relative variances: one over the squared mean of |integrand|, refreshed each stage.
    Relative,
    /// Variances as they are.
    Absolute,
    /// These, one for each expectation.
    Given(Vec<f64>),
}

/// The density controls of the estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controls {
    /// The components fitted to the expectation itself.
    Own,
    /// All components, by cross-fitted regression.
    All,
    /// All components, and polynomials that are orthonormal under the law, by cross-fitted regression.
    Polynomial,
    /// None: plain importance sampling.
    None,
}

/// The densities that are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Family {
    /// A Gaussian where the laws are known to have no heavier tails and no integrand is 0 at most of
    /// their points, else a Student-t with these degrees of freedom, or with fewer where the weighted
    /// values have heavy tails.
    Auto(f64),
    /// A Gaussian for each expectation.
    Gaussian,
    /// A Student-t with these degrees of freedom (> 0).
    Student(f64),
    /// A mixture of two Gaussians for each expectation.
    Mixture,
}

impl Family {
    pub(crate) fn tail(self, laws: &[&dyn Law]) -> Tail {
        match self {
            Self::Auto(_) if laws.iter().all(|law| law.has_gaussian_tails()) => Tail::Gaussian,
            Self::Auto(df) | Self::Student(df) => Tail::Student(df),
            Self::Gaussian | Self::Mixture => Tail::Gaussian,
        }
    }
}

/// The treatment of values of the integrand that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNan {
    /// Stop with an error that names the point.
    Raise,
    /// Count them as zero, and report their number.
    Zero,
}

/// The settings of [`super::expect`].
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not one state")]
pub struct Settings {
    /// Evaluations in all.
    pub n: usize,
    /// The method.
    pub method: Method,
    /// The weights of the variances.
    pub weights: Weights,
    /// Density controls of the final estimates.
    pub controls: Controls,
    /// Fitted densities.
    pub family: Family,
    /// Adaptation stages at most.
    pub n_stages: usize,
    /// The share of the evaluations that adaptation may use.
    pub adapt_fraction: f64,
    /// Share of the sampler that is spread evenly over all components.
    pub defensive: f64,
    /// Share of the sampler that is drawn from the laws themselves.
    pub defensive_base: f64,
    /// Draw a larger share from the laws, and give regions that were met components of their own,
    /// where an integrand is 0 at most of the laws' points.
    pub explore: bool,
    /// Use the sampler of the stage before, where the last stage turned out worse.
    pub keep_best: bool,
    /// Fall back to plain Monte Carlo where no fitted sampler is forecast to beat it.
    pub fallback: bool,
    /// Split an integrand of both signs into its positive and negative part.
    pub split_signs: bool,
    /// Fit variances only, no correlations.
    pub diagonal: bool,
    /// Compute the whole covariance of the estimates, not the variances alone.
    pub full_covariance: bool,
    /// The treatment of values that are not finite.
    pub on_nan: OnNan,
    /// Keep the points of the final sample.
    pub keep_draws: bool,
    /// Sobol' points or random ones in the final sample.
    pub points: Points,
    /// The number of replicates of nets; by the budget where none is given.
    pub n_replicates: Option<usize>,
    /// The tolerances, relative and absolute, of a run that stops by itself.
    pub tolerance: Option<(f64, f64)>,
    /// Count the points of all stages, as drawn from the mixture of all samplers.
    pub pool_all: bool,
    /// The key of the random streams.
    pub key: u64,
}

impl Default for Settings {
    /// The adaptive method with 20,000 evaluations.
    fn default() -> Self {
        Self {
            n: 20_000,
            method: Method::Adaptive,
            weights: Weights::Relative,
            controls: Controls::Own,
            family: Family::Auto(8.0),
            n_stages: 5,
            adapt_fraction: 0.5,
            defensive: 0.1,
            defensive_base: 0.05,
            explore: true,
            keep_best: true,
            fallback: true,
            split_signs: true,
            diagonal: false,
            full_covariance: true,
            on_nan: OnNan::Raise,
            keep_draws: false,
            points: Points::Random,
            n_replicates: None,
            tolerance: None,
            pool_all: false,
            key: 0,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self, dim: usize) -> Result<()> {
        let least = 20 * (dim + 1);
        if self.n < least {
            return Err(Error::argument(
                "n",
                format!("{} given; {dim} dimensions need at least 20 (d + 1) = {least}", self.n),
            ));
        }
        if self.n_stages == 0 || self.n_stages > 1000 {
            return Err(Error::argument(
                "n_stages",
                format!("{} given; it must be from 1 to 1000", self.n_stages),
            ));
        }
        share("adapt_fraction", self.adapt_fraction, 0.01, 0.9)?;
        share("defensive", self.defensive, 0.0, 1.0)?;
        share("defensive_base", self.defensive_base, 0.0, 0.9)?;
        if let Family::Student(df) | Family::Auto(df) = self.family
            && !(df >= LEAST_DF && df.is_finite())
        {
            return Err(Error::argument(
                "df",
                format!("{df} given; it must be a finite number, {LEAST_DF} at least"),
            ));
        }
        Ok(())
    }
}

fn share(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(name, format!("{value} given; it must be from {low} to {high}")))
}
