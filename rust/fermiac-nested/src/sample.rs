//! A whole run in one call: the evidence and weighted points of the posterior.

use crate::bound::BoundKind;
use crate::chains::Direction;
use crate::points::Points;
use crate::problem::{Edge, LawPrior, Likelihood, OnNan, Problem};
use crate::run::{Opening, Run, Sampler, Settings, Status};
use crate::{n_alive, volumes};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_target::{Law, LogDensity};
use std::sync::Arc;

/// From this dimension on points are found by chains alone.
const MANY: usize = 10;

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct NestedSample {
    /// The log-evidence.
    pub log_evidence: f64,
    /// The standard error of the log-evidence.
    pub log_evidence_stderr: f64,
    /// The Kullback–Leibler divergence of the posterior from the prior, in nats.
    pub information: f64,
    /// The effective number of posterior draws.
    pub ess: f64,
    /// The dead points and the last live ones, by increasing log-likelihood.
    pub points: Points,
    /// The posterior weights of the points; they sum to one.
    pub weights: Vec<f64>,
    /// Log-likelihood evaluations.
    pub n_evals: u64,
    /// How the run ended.
    pub status: Status,
}

impl NestedSample {
    /// Returns the posterior expectation of a function of the parameters.
    pub fn expect(&self, f: impl Fn(&[f64]) -> f64) -> f64 {
        self.weights.iter().enumerate().map(|(i, w)| w * f(self.points.x(i))).sum()
    }
}

impl Settings {
    /// Returns the default settings in `dim` dimensions: rejection from ellipsoids in fewer than
    /// ten, chains of slices above and where they are cheaper.
    pub fn new(dim: usize, n_live: usize, key: u64) -> Self {
        let n_slices = 3 * dim as u32;
        let sampler = if dim < MANY {
            Sampler::Auto { rejection: true, n_slices }
        } else {
            Sampler::Slice { n_slices, direction: Direction::Sweeps, step_out: false }
        };
        Self {
            n_live,
            batch: (n_live / 8).max(1),
            sampler,
            adapt_length: true,
            bound: BoundKind::Multi,
            bootstrap: if dim < MANY { 5 } else { 0 },
            enlarge: 1.0,
            probed: true,
            importance: false,
            proposals: false,
            dlogz: 0.01,
            high: f64::INFINITY,
            ell_tol: 0.0,
            max_evals: u64::MAX,
            max_iter: u64::MAX,
            max_init_blocks: 1000,
            key,
            first_batch: 0,
        }
    }
}

/// Runs nested sampling of a log-likelihood under a prior, which has a map from the unit cube, and
/// returns the evidence and weighted points.
///
/// # Errors
/// For settings outside their domain, a prior without such a map, or a likelihood that fails.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use fermiac_nested::{run::Settings, sample};
/// use fermiac_target::density;
/// use fermiac_target::law::{Independent, Marginal};
///
/// let prior = Arc::new(Independent::new(vec![Marginal::uniform(-5.0, 5.0)?; 2])?);
/// let likelihood = density::from_fn(2, |x| -0.5 * (x[0] * x[0] + x[1] * x[1]));
/// let found = sample(&likelihood, prior, Settings::new(2, 200, 0))?;
/// let truth = (2.0 * std::f64::consts::PI / 100.0).ln();
/// assert!((found.log_evidence - truth).abs() < 5.0 * found.log_evidence_stderr);
/// # Ok::<(), fermiac_base::Error>(())
/// ```
pub fn sample(
    log_likelihood: &Arc<dyn LogDensity>,
    prior: Arc<dyn Law>,
    settings: Settings,
) -> Result<NestedSample> {
    let likelihood = Likelihood::Density(Arc::clone(log_likelihood));
    let edges = vec![Edge::Hard; prior.dim()];
    let problem = Problem::new(Arc::new(LawPrior(prior)), likelihood, edges, OnNan::Raise)?;
    let mut run = Run::new(&problem, settings, Opening::Prior)?;
    let status = run.run(&problem, None, false, &Context::parallel()?)?;
    let points = run.points();
    let found = volumes(&points.ell, &n_alive(&points.ell, &points.birth)?);
    let logs = found.log_prior_masses.iter().zip(&points.ell);
    let weights = logs.map(|(mass, ell)| (mass + ell - found.log_evidence).exp()).collect();
    Ok(NestedSample {
        log_evidence: found.log_evidence,
        log_evidence_stderr: found.log_evidence_stderr,
        information: found.information,
        ess: found.ess,
        points,
        weights,
        n_evals: run.n_evals(),
        status,
    })
}
