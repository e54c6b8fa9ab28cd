//! Bayesian logistic and Poisson regression with independent normal priors.
//!
//! All constants are kept, so the integral of the density is the marginal likelihood.

use super::design::{Design, Likelihood, Sums, evaluate, in_blocks};
use super::{Smooth, smooth_density};
use crate::law::{finite, positive};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{V, expv, ln, lnv};
use fermiac_base::special::{LN_SQRT_2PI, ln_gamma};
use fermiac_base::{Error, Result};

/// Independent normal priors of the coefficients.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalPrior {
    pub(super) mean: Vec<f64>,
    pub(super) sd: Vec<f64>,
    inv_sd: Vec<f64>,
    constant: f64,
}

impl NormalPrior {
    /// Returns priors with one mean and one positive standard deviation for each coefficient.
    pub fn new(mean: &[f64], sd: &[f64]) -> Result<Self> {
        if mean.len() != sd.len() || mean.is_empty() {
            let why = format!(
                "{} means and {} standard deviations were given; one of each is needed for every \
                 coefficient",
                mean.len(),
                sd.len()
            );
            return Err(Error::argument("prior_sd", why));
        }
        for m in mean {
            finite("prior_mean", *m)?;
        }
        for s in sd {
            positive("prior_sd", *s)?;
        }
        let constant = -sd.iter().fold(0.0, |sum, s| sum + LN_SQRT_2PI + ln(*s));
        let inv_sd = sd.iter().map(|s| 1.0 / s).collect();
        Ok(Self { mean: mean.to_vec(), sd: sd.to_vec(), inv_sd, constant })
    }

    /// Returns the log-density and adds its gradient to `gradient`, if given.
    fn add(&self, coefficients: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        let mut sum = 0.0;
        // Scaled before it is squared, as the square of a wide coordinate may overflow.
        for (b, (m, s)) in coefficients.iter().zip(self.mean.iter().zip(&self.inv_sd)) {
            let z = (b - m) * s;
            sum += z * z;
        }
        for (j, slope) in gradient.into_iter().flatten().take(self.mean.len()).enumerate() {
            *slope -= (coefficients[j] - self.mean[j]) * self.inv_sd[j] * self.inv_sd[j];
        }
        self.constant - 0.5 * sum
    }
}

/// The log-density of the coefficients and other parameters of a likelihood, given data.
#[derive(Debug, Clone)]
pub(super) struct Posterior<L> {
    pub(super) design: Design,
    pub(super) likelihood: L,
    pub(super) prior: NormalPrior,
    pub(super) constant: f64,
    pub(super) log_evidence: Option<f64>,
}

impl<L: Likelihood> Smooth for Posterior<L> {
    fn dim(&self) -> usize {
        self.design.dim() + self.likelihood.extra()
    }

    fn evaluate(&self, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]) {
        evaluate(&self.design, &self.likelihood, x, out, gradient);
        let mut gradients = gradient.chunks_exact_mut(x.dim());
        for (value, row) in out.iter_mut().zip(x.iter()) {
            *value += self.constant + self.prior.add(row, gradients.next());
        }
    }

    fn log_evidence(&self) -> Option<f64> {
        self.log_evidence
    }
}

/// Refuses data whose sizes do not fit, or that are not finite.
pub(super) fn check_data(
    x: Rows<'_>,
    y: &[f64],
    offset: &[f64],
    prior: &NormalPrior,
) -> Result<()> {
    if x.is_empty() || y.len() != x.len() {
        let why = format!(
            "{} numbers were given for {} rows of x; one a row, and at least one row, is needed",
            y.len(),
            x.len()
        );
        return Err(Error::argument("y", why));
    }
    if offset.len() != x.len() {
        let why = format!("{} numbers were given for {} rows of x", offset.len(), x.len());
        return Err(Error::argument("offset", why));
    }
    if prior.mean.len() != x.dim() {
        let why = format!("{} were given for {} coefficients", prior.mean.len(), x.dim());
        return Err(Error::argument("prior_sd", why));
    }
    for (name, values) in [("x", x.data()), ("y", y), ("offset", offset)] {
        if let Some((i, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            let why = format!("{v} was given at place {i}; finite numbers are needed");
            return Err(Error::argument(name, why));
        }
    }
    Ok(())
}

/// Bernoulli observations with log-odds `offset + x β`.
#[derive(Debug, Clone)]
pub struct LogisticRegression(Posterior<Bernoulli>);

#[derive(Debug, Clone)]
struct Bernoulli {
    /// 1 for a success, -1 for a failure, 0 for padding.
    sign: Vec<V>,
}

impl LogisticRegression {
    /// Returns the model of observations `y` of 0 or 1, one for each row of `x`.
    pub fn new(x: Rows<'_>, y: &[f64], offset: &[f64], prior: NormalPrior) -> Result<Self> {
        check_data(x, y, offset, &prior)?;
        if let Some((i, v)) = y.iter().enumerate().find(|(_, v)| **v != 0.0 && **v != 1.0) {
            let why = format!("{v} was given at place {i}; 0 or 1 is needed");
            return Err(Error::argument("y", why));
        }
        let sign: Vec<f64> = y.iter().map(|y| 2.0 * y - 1.0).collect();
        let posterior = Posterior {
            design: Design::new(x, offset, 0.0),
            likelihood: Bernoulli { sign: in_blocks(&sign, 0.0) },
            prior,
            constant: 0.0,
            log_evidence: None,
        };
        Ok(Self(posterior))
    }
}

impl Likelihood for Bernoulli {
    /// With m the log-odds of the observation, the term is -ln(1 + e^-m) =
    /// min(m, 0) - ln(1 + e^-|m|). The factors 1 + e^-|m| lie in (1, 2], so hundreds of them can be
    /// multiplied before one logarithm is taken. The error of one rounding per factor is that of a
    /// sum of logarithms.
    #[inline(always)]
    fn observe<const FMA: bool>(&self, block: usize, predictor: V, sums: &mut Sums) -> V {
        let one = V::splat(1.0);
        let sign = self.sign[block];
        let odds = sign * predictor;
        let e = expv::<FMA>(odds.map(|m| -m.abs()));
        let factor = e.mul_add::<FMA>(sign.map(f64::abs), one);
        sums.sum = sums.sum + odds.map(|m| if m < 0.0 { m } else { 0.0 });
        sums.product = sums.product * factor;
        let upper = odds.zip(e, |m, e| if m < 0.0 { 1.0 } else { e });
        sign * (upper / factor)
    }

    #[inline(always)]
    fn fold<const FMA: bool>(sums: &mut Sums) {
        sums.sum = sums.sum - lnv::<FMA>(sums.product);
        sums.product = V::splat(1.0);
    }
}

smooth_density!(LogisticRegression, |this| &this.0);

/// Counts with means exp(`offset + x β`).
#[derive(Debug, Clone)]
pub struct PoissonRegression(Posterior<Counts>);

#[derive(Debug, Clone)]
struct Counts {
    y: Vec<V>,
}

impl PoissonRegression {
    /// Returns the model of counts `y`, whole numbers from 0 up, one for each row of `x`.
    pub fn new(x: Rows<'_>, y: &[f64], offset: &[f64], prior: NormalPrior) -> Result<Self> {
        check_data(x, y, offset, &prior)?;
        if let Some((i, v)) = y.iter().enumerate().find(|(_, v)| **v < 0.0 || v.fract() != 0.0) {
            let why = format!("{v} was given at place {i}; whole numbers from 0 up are needed");
            return Err(Error::argument("y", why));
        }
        let constant = -y.iter().fold(0.0, |sum, y| sum + ln_gamma(y + 1.0));
        let posterior = Posterior {
            // A padded count of 0 whose mean underflows adds 0.
            design: Design::new(x, offset, -1000.0),
            likelihood: Counts { y: in_blocks(y, 0.0) },
            prior,
            constant,
            log_evidence: None,
        };
        Ok(Self(posterior))
    }
}

impl Likelihood for Counts {
    #[inline(always)]
    fn observe<const FMA: bool>(&self, block: usize, predictor: V, sums: &mut Sums) -> V {
        let y = self.y[block];
        let mean = expv::<FMA>(predictor);
        sums.sum = sums.sum + (y * predictor - mean);
        y - mean
    }
}

smooth_density!(PoissonRegression, |this| &this.0);
