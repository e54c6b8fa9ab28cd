//! Many expectations from one sample: adaptive importance sampling with density controls.
//!
//! ```
//! use fermiac_importance::{Settings, expectations};
//! use fermiac_target::{integrand, law::MultivariateNormal};
//!
//! // A tail probability and a second moment of one standard normal law.
//! let f = integrand::from_fn(1, 2, |x, out| {
//!     (out[0], out[1]) = (f64::from(u8::from(x[0] > 4.0)), x[0] * x[0]);
//! });
//! let law = MultivariateNormal::new(&[0.0], &[1.0])?;
//! let e = expectations(f.as_ref(), &law, &Settings::default())?;
//! assert!((e.mean[0] - 3.167_124_183e-5).abs() < 5.0 * e.stderr[0]);
//! assert!((e.mean[1] - 1.0).abs() < 5.0 * e.stderr[1]);
//! # Ok::<(), fermiac_base::Error>(())
//! ```
//!
//! The method is that of Demange-Chryst, Bachoc, Morio, *Efficient estimation of multiple
//! expectations with the same sample by adaptive importance sampling and control variates* (2023),
//! whose controls are those of Owen and Zhou, *Safe and effective importance sampling* (2000). For
//! integrands φ_j against laws f_j, densities g_1 … g_L are fitted to the products f_j φ_j, and
//! points are drawn from a mixture g of them. With v_j = f_j φ_j / g and r_l = g_l / g,
//!
//! > I_j = mean of v_j - β_j (r_j - 1)
//!
//! is unbiased for any β_j fixed beforehand, and its variance vanishes where g_j is proportional
//! to f_j φ_j, for every mixture at once. So one sample serves all J expectations.

mod accumulate;
mod adapt;
mod basis;
pub mod blocks;
mod component_bank;
mod estimate;
pub mod evidence;
mod explore;
mod fit;
pub mod integrate;
mod layout;
mod mixture_weights;
mod moments;
mod nets;
mod points;
pub mod polynomials;
mod pooled;
mod problem;
mod proposal;
pub mod rare;
mod regress;
mod sampler_score;
mod seen;
mod settings;
mod space;
mod stage;
mod steps;
mod tails;
mod trained;

pub use adapt::Stage;
use fermiac_base::alloc::check_room;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::{Integrand, Law};
pub use settings::{Controls, Family, Method, OnNan, Settings, Weights};

pub use trained::{Components, Trained};

use basis::Basis;
use estimate::Estimation;
use problem::Problem;
use proposal::{Proposal, Sampler};
use seen::Seen;

/// Estimates of J expectations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expectations {
    /// The estimates.
    pub mean: Vec<f64>,
    /// Their standard errors, exact also where a variance would underflow or overflow.
    pub stderr: Vec<f64>,
    /// The covariance of the estimates: J × J row-major, or J variances.
    pub covariance: Vec<f64>,
    /// Effective sample sizes (Σ|v|)² / Σv² of the final sample.
    pub ess: Vec<f64>,
    /// Tail shapes of |v|, from at most 131072 points of the final sample.
    pub khat: Vec<f64>,
    /// The share of the largest point in Σ|v|.
    pub max_share: Vec<f64>,
    /// The share of the largest squared deviation in the sum that the error is computed from.
    pub max_variance_share: Vec<f64>,
    /// Whether the integrand was 0 at every point of the final sample where its law is not.
    pub all_zero: Vec<bool>,
    /// Whether the law of an expectation was 0 at every point of the final sample.
    pub no_weight: Vec<bool>,
    /// The mean of f / g of every law over the final sample: 1 within its error for a normalised
    /// law whose whole mass the sampler reaches.
    pub weight_mean: Vec<f64>,
    /// The standard errors of these means.
    pub weight_stderr: Vec<f64>,
    /// The mass that may hide where no component reaches and no point of the law fell: 3 B over the
    /// number of points drawn from the law, B the largest |integrand| seen.
    pub unseen: Vec<f64>,
    /// Whether the integrand was 0 at more than half of the points drawn from its law.
    pub sparse: Vec<bool>,
    /// Whether the integrand had the same value other than 0 at every point of its law in all stages,
    /// and all other integrands have at most one such value: it may be an event that always happens,
    /// or happens nearly always.
    pub always: Vec<bool>,
    /// Whether an integrand had one value at all points, other than 0.
    pub equal: Vec<bool>,
    /// Points drawn from the law of every expectation, over all stages and the final sample.
    pub n_from_law: Vec<u64>,
    /// Points of the final sample.
    pub n_final: usize,
    /// Evaluations in all.
    pub n_evals: usize,
    /// Values of the integrand that were not finite and counted as 0.
    pub n_non_finite: u64,
    /// Coordinates drawn from the laws that lie within rounding of a bound of their support: where
    /// there are any, the adaptive estimates miss mass that doubles cannot resolve.
    pub n_at_bound: u64,
    /// The adaptation; empty for plain Monte Carlo.
    pub stages: Vec<Stage>,
    /// The stage whose sampler the final sample was drawn from; stage 0 is the law itself.
    pub chosen_stage: usize,
    /// Whether regression on all controls was asked for but had too few points.
    pub too_few_for_all: bool,
    /// The points of the final sample, row-major, where they were kept.
    pub draws: Vec<f64>,
    /// Their log-weights log(f / g), n × laws.
    pub log_weights: Vec<f64>,
    /// The means of the replicates of nets, replicates × J, and the points of each; empty and 0 where
    /// the points are independent.
    pub replicates: Vec<f64>,
    /// As above.
    pub n_per_replicate: usize,
    /// The points of each replicate at the first look; the draws are in the order of the looks, and of
    /// the replicates within a look.
    pub n_first: usize,
    /// The looks at a tolerance that were allowed, 0 without one, and whether it was met.
    pub n_looks: usize,
    /// As above.
    pub converged: bool,
    /// The estimates from the final sample alone and their errors, where all stages are pooled.
    pub final_mean: Vec<f64>,
    /// As above.
    pub final_stderr: Vec<f64>,
    /// The fitted components of the final sampler.
    pub trained: Option<Components>,
}

/// What a run may have beside the integrand and its laws.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// A sampler that was trained before.
    pub sampler: Option<&'a dyn Law>,
    /// Whether the outputs are the real and then the imaginary parts of complex ones, once the
    /// integrand was called.
    pub pairs: Option<&'a dyn Fn() -> bool>,
}

/// An error, with the result of the work done before it.
pub type Stopped = (Error, Option<Box<Expectations>>);

/// Estimates the expectations of `integrand` under `laws`: J integrands under one law, one
/// integrand under J laws, or J pairs. A sampler that was trained before takes the place of the laws in
/// the first stage, or in the final sample of plain Monte Carlo.
///
/// # Errors
/// Bad settings, a target that fails or gives values that cannot be used, cancelling. Where the
/// final sample had begun, the error comes with the estimates from the part that was done.
pub fn expect(
    integrand: &dyn Integrand,
    laws: &[&dyn Law],
    settings: &Settings,
    options: Options<'_>,
    context: &Context<'_>,
) -> std::result::Result<Expectations, Stopped> {
    let Begun { problem, mut sampler, adaptation, used, seen, kept } =
        adapted(integrand, laws, settings, options.sampler, context)
            .map_err(|error| (error, None))?;
    if settings.points == integrate::Points::Sobol {
        sampler.proposal = sampler.proposal.aligned();
    }
    let estimation = Estimation {
        problem: &problem,
        sampler: &sampler,
        n: settings.n - used,
        before: used,
        seen,
        stages: kept,
        settings,
        pairs: options.pairs.unwrap_or(&|| false),
    };
    let trained = Components::of(&sampler.proposal, &problem.space);
    let Expectations { stages, chosen_stage, too_few_for_all, .. } = adaptation;
    let complete = |done| Expectations { stages, chosen_stage, too_few_for_all, trained, ..done };
    match estimation.run(context) {
        Ok(done) => Ok(complete(done)),
        Err((error, partial)) => Err((error, partial.map(|part| Box::new(complete(*part))))),
    }
}

/// A call whose sampler is adapted.
pub(crate) struct Begun<'a> {
    problem: Problem<'a>,
    sampler: Sampler,
    /// What is reported of the adaptation.
    adaptation: Expectations,
    /// Evaluations of the adaptation, and what its points have shown.
    used: usize,
    seen: Seen,
    /// The points of the adaptation, where they are to count as well.
    kept: Option<pooled::Stages>,
}

/// Checks a call, and adapts its sampler.
fn adapted<'a>(
    integrand: &'a dyn Integrand,
    laws: &[&'a dyn Law],
    settings: &Settings,
    given: Option<&'a dyn Law>,
    context: &Context<'_>,
) -> Result<Begun<'a>> {
    let problem = Problem::new(integrand, laws.to_vec(), given, settings.key, settings.on_nan)?;
    settings.check(problem.dim())?;
    check_weights(settings)?;
    if settings.controls == Controls::Polynomial {
        if laws.len() > 1 {
            let why = format!(
                "\"polynomial\" given for {} laws; it is for one: use \"own\" or \"all\"",
                laws.len()
            );
            return Err(Error::argument("controls", why));
        }
        // Before the budget is spent.
        Basis::new(laws[0], &problem.space, 0)?;
    }
    if settings.keep_draws {
        let numbers = problem.dim().saturating_add(laws.len());
        check_room::<f64>("n", &[settings.n, numbers])?;
    }
    context.set_total(settings.n as u64);
    let mut adaptation = Expectations::default();
    if settings.method == Method::MonteCarlo {
        let (dim, n_laws) = (problem.dim(), laws.len());
        let proposal = match given {
            Some(_) => Proposal::given(dim, n_laws, settings.defensive_base),
            None => Proposal::laws(dim, n_laws),
        };
        let sampler = Sampler { proposal, controls: Vec::new(), basis: None };
        let (used, seen) = (0, Seen::default());
        return Ok(Begun { problem, sampler, adaptation, used, seen, kept: None });
    }
    let found = adapt::adapt(&problem, settings, context)?;
    adaptation.stages = found.stages;
    adaptation.chosen_stage = found.chosen;
    adaptation.too_few_for_all = found.too_few_for_all;
    let (sampler, used, seen, kept) = (found.sampler, found.used, found.seen, found.kept);
    Ok(Begun { problem, sampler, adaptation, used, seen, kept })
}

/// Returns the expectations of all outputs of `integrand` under one law, on all cores.
///
/// # Errors
/// As [`expect`], without the estimates from the part that was done.
pub fn expectations(
    integrand: &dyn Integrand,
    law: &dyn Law,
    settings: &Settings,
) -> Result<Expectations> {
    let options = Options::default();
    expect(integrand, &[law], settings, options, &Context::parallel()?).map_err(|(error, _)| error)
}

fn check_weights(settings: &Settings) -> Result<()> {
    if let Weights::Given(w) = &settings.weights {
        let bad = w.iter().position(|w| !(w.is_finite() && *w >= 0.0));
        if let Some(at) = bad {
            let why = format!("weight {at} is {}; weights are finite and not negative", w[at]);
            return Err(Error::argument("weights", why));
        }
        if w.iter().all(|w| *w == 0.0) {
            return Err(Error::argument("weights", "all are 0; at least one must be positive"));
        }
    }
    Ok(())
}
