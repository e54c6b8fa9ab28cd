//! A whole run in one call: starting points, warm-up, draws and their diagnostics.

use crate::drive::{Chain, Driver, Oracle, Plan, Record, Sampler, windows};
use crate::kernel::{Kernel, Metric, MetricKind, Scale, StepSize};
use crate::{Direction, Nuts, Slice};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::diagnostics::{Statistic, convergence};
use fermiac_target::{LogDensity, RowStatus};
use std::sync::Arc;

/// How often a starting point without density is drawn again.
const TRIES: usize = 100;
/// Starting points are uniform within this distance of 0 in each coordinate.
const RADIUS: f64 = 2.0;
/// Up to this dimension the whole covariance is learned.
const DENSE: usize = 200;
/// The first step size of NUTS, in units of the metric, and its deepest trajectory tree.
const FIRST_STEP: f64 = 1.0;
const MAX_DEPTH: usize = 10;
/// The most widths that a slice steps out by.
const MAX_WIDTHS: usize = 32;
/// Warm-up with gradients, which reveal the scales before the chains have arrived: transitions of the
/// first window, and the share of the last ones with their least number.
const FIRST_WINDOW: u64 = 10;
const LAST_SHARE: f64 = 0.25;
const LEAST_LAST: u64 = 10;

/// The numbers of a run of MCMC.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Number of chains.
    pub n_chains: usize,
    /// Warm-up transitions of each chain; they are not kept.
    pub n_warmup: usize,
    /// Draws of each chain.
    pub n_draws: usize,
    /// Transitions per draw.
    pub thin: usize,
    /// The acceptance rate to which [`sample`] adapts the step size of NUTS.
    pub target_accept: f64,
    /// Starting points (chains × dim, row-major); by default uniform between -2 and 2.
    pub init: Option<Vec<f64>>,
    /// Key of the random streams: equal keys give equal draws.
    pub key: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            n_chains: 4,
            n_warmup: 1000,
            n_draws: 1000,
            thin: 1,
            target_accept: 0.9,
            init: None,
            key: 0,
        }
    }
}

/// The draws of all chains.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    /// Chains, draws per chain and coordinates.
    pub shape: [usize; 3],
    /// The draws, chain after chain (row-major in [`shape`](Self::shape)).
    pub draws: Vec<f64>,
    /// Their log-densities (chains × draws).
    pub log_densities: Vec<f64>,
    /// Names of the statistics of a transition.
    pub stat_names: Vec<String>,
    /// The statistics (chains × draws × names).
    pub stats: Vec<f64>,
    /// Log-density evaluations, those of the starting points included.
    pub n_evals: u64,
}

impl Draws {
    /// Returns the draws of all chains, one per row.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.draws, self.shape[2])
    }

    /// Returns the expectation of a function of one draw and its Monte Carlo standard error.
    ///
    /// # Errors
    /// For fewer than four draws per chain.
    pub fn expect(&self, f: impl Fn(&[f64]) -> f64) -> Result<(f64, f64)> {
        let values: Vec<f64> = self.rows().iter().map(f).collect();
        let shape = [self.shape[0], self.shape[1], 1];
        let error = convergence(&values, shape, Statistic::McseMean, &Context::serial())?;
        Ok((values.iter().sum::<f64>() / values.len() as f64, error[0]))
    }

    /// Returns a diagnostic of each coordinate, such as [`Statistic::RhatRank`] or
    /// [`Statistic::EssBulk`].
    ///
    /// # Errors
    /// For fewer than four draws per chain.
    pub fn diagnostic(&self, statistic: Statistic) -> Result<Vec<f64>> {
        convergence(&self.draws, self.shape, statistic, &Context::serial())
    }
}

/// Samples a log-density with chains in parallel: by NUTS if it has a gradient, else by slice
/// sampling along coordinates.
///
/// The warm-up adapts the step size and learns the metric from the draws of all chains.
///
/// # Errors
/// For options outside their domain, a target that fails, or chains that find no start.
///
/// # Examples
/// ```
/// use fermiac_mcmc::{Options, sample};
/// use fermiac_target::density;
///
/// let target = density::from_fn_with_gradient(1, |x, gradient| {
///     gradient[0] = 3.0 - x[0];
///     -0.5 * (x[0] - 3.0).powi(2)
/// });
/// let draws = sample(&target, &Options { n_draws: 500, ..Options::default() })?;
/// let (mean, error) = draws.expect(|x| x[0])?;
/// assert!((mean - 3.0).abs() < 5.0 * error);
/// # Ok::<(), fermiac_base::Error>(())
/// ```
pub fn sample(target: &Arc<dyn LogDensity>, options: &Options) -> Result<Draws> {
    let (dim, oracles) = (target.dim(), [Oracle::Density(Arc::clone(target))]);
    let context = Context::parallel()?;
    if !target.has_gradient() {
        let metric = if dim <= DENSE { MetricKind::Covariance } else { MetricKind::Variance };
        let direction = Direction::Coordinates;
        let scale = Scale::new(dim, metric, Metric::Unit);
        let kernel = Slice::new(direction, None, MAX_WIDTHS, scale);
        return sample_with(&kernel, &oracles, options, &context);
    }
    if !(options.target_accept > 0.0 && options.target_accept < 1.0) {
        let why = format!("{} was given; a number in (0, 1) is needed", options.target_accept);
        return Err(Error::argument("target_accept", why));
    }
    let step = StepSize::averaged(FIRST_STEP, options.target_accept);
    let metric = if dim <= DENSE { MetricKind::Dense } else { MetricKind::LowRank };
    let kernel = Nuts::new(step, MAX_DEPTH, Scale::new(dim, metric, Metric::Unit));
    sample_with(&kernel, &oracles, options, &context)
}

/// Samples with a given kernel, whose requests are answered by `oracles`; the first is the target. A
/// poll of `context` that fails ends the run.
///
/// # Errors
/// As [`sample`]; without `init`, the first oracle must be a log-density.
pub fn sample_with(
    kernel: &dyn Kernel,
    oracles: &[Oracle],
    options: &Options,
    context: &Context<'_>,
) -> Result<Draws> {
    let Options { n_chains, n_warmup, n_draws, thin, key, .. } = *options;
    let (dim, n_points) = (kernel.dim(), kernel.n_points());
    if n_chains == 0 || n_draws == 0 || thin == 0 || !n_chains.is_multiple_of(n_points) {
        let why = format!(
            "n_chains = {n_chains}, n_draws = {n_draws}, thin = {thin} were given; all must be \
             positive, and n_chains a multiple of the {n_points} points of the kernel"
        );
        return Err(Error::argument("options", why));
    }
    let (x0, n_start) = match (&options.init, oracles) {
        (Some(init), _) if init.len() == n_chains * dim => (init.clone(), 0),
        (None, [Oracle::Density(target), ..]) => {
            starting_points(target.as_ref(), n_chains, kernel.needs_gradient(), key)?
        }
        _ => {
            let why = format!("{n_chains} × {dim} numbers, a point for each chain, are needed");
            return Err(Error::argument("init", why));
        }
    };
    let plan = plan(n_warmup as u64, kernel.needs_gradient());
    let mut sampler = Sampler::new(kernel, &x0, plan, key, 0)?;
    let (stat_names, n_groups) = (kernel.stat_names(), n_chains / n_points);
    let mut draws = vec![0.0; n_chains * n_draws * dim];
    let mut log_densities = vec![0.0; n_chains * n_draws];
    let mut stats = vec![0.0; n_groups * n_draws * stat_names.len()];
    let until = (n_warmup + n_draws * thin) as u64;
    context.set_total(until * n_groups as u64);
    let record = Record {
        first: n_warmup as u64,
        thin: thin as u64,
        n_slots: n_draws,
        draws: &mut draws,
        log_densities: &mut log_densities,
        gradients: &mut [],
        stats: &mut stats,
    };
    sampler.run(oracles, until, record, None, Driver::Auto, context)?;
    let n_evals = n_start + sampler.chains().iter().map(Chain::n_evals).sum::<u64>();
    Ok(Draws { shape: [n_chains, n_draws, dim], draws, log_densities, stat_names, stats, n_evals })
}

/// Returns a warm-up in growing windows that all chains learn from together: with gradients from the
/// first transition on, without them as in Stan.
fn plan(n_warmup: u64, gradients: bool) -> Plan {
    let last = LEAST_LAST.max((LAST_SHARE * n_warmup as f64) as u64);
    let warmup = if gradients {
        windows(n_warmup, 0, FIRST_WINDOW, last)
    } else {
        windows(n_warmup, 75, 25, 50)
    };
    Plan { warmup, pool: true, early: false }
}

/// Returns a starting point with finite density for each chain, and the evaluations that it took.
/// Every chain draws from a stream of its own.
fn starting_points(
    target: &dyn LogDensity,
    n_chains: usize,
    with_gradient: bool,
    key: u64,
) -> Result<(Vec<f64>, u64)> {
    let dim = target.dim();
    let (mut points, mut n_evals) = (vec![0.0; n_chains * dim], 0);
    let mut gradient = vec![0.0; if with_gradient { dim } else { 0 }];
    for (i, x) in points.chunks_exact_mut(dim).enumerate() {
        let mut stream = Stream::new(key, Domain::Start, i as u64, 0);
        let mut is_usable = false;
        for _ in 0..TRIES {
            stream.fill_uniform(x);
            x.iter_mut().for_each(|x| *x = RADIUS * (2.0 * *x - 1.0));
            let (mut value, mut status) = ([f64::NAN], [RowStatus::Good]);
            if with_gradient {
                let row = Rows::new(x, dim);
                target.log_density_gradient(row, &mut value, &mut gradient, &mut status)?;
            } else {
                target.log_density(Rows::new(x, dim), &mut value, &mut status)?;
            }
            n_evals += 1;
            is_usable = status[0] == RowStatus::Good
                && value[0].is_finite()
                && gradient.iter().all(|slope| slope.is_finite());
            if is_usable {
                break;
            }
        }
        if !is_usable {
            return Err(Error::target(format!(
                "no starting point with finite density was found for chain {i} in {TRIES} tries; \
                 give `init` points inside the support"
            )));
        }
    }
    Ok((points, n_evals))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fermiac_target::density::{self, EightSchools};

    #[test]
    fn a_run_is_the_same_on_any_number_of_threads() {
        let target: Arc<dyn LogDensity> = Arc::new(EightSchools::new(false));
        let options = Options { n_warmup: 100, n_draws: 50, ..Options::default() };
        let draws = sample(&target, &options).unwrap();
        let step = StepSize::averaged(FIRST_STEP, 0.9);
        let scale = Scale::new(target.dim(), MetricKind::Dense, Metric::Unit);
        let kernel = Nuts::new(step, MAX_DEPTH, scale);
        let oracles = [Oracle::Density(target)];
        for n_threads in [1, 3] {
            let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
            assert_eq!(sample_with(&kernel, &oracles, &options, &context).unwrap(), draws);
        }
        assert_eq!(draws.shape, [4, 50, 10]);
        assert!(draws.n_evals > 4 * 50);
    }

    #[test]
    fn a_density_without_gradient_is_sampled_by_slices() {
        let target = density::from_fn(2, |x| -0.5 * (x[0] * x[0] + 0.25 * x[1] * x[1]));
        let draws = sample(&target, &Options::default()).unwrap();
        let (variance, error) = draws.expect(|x| x[1] * x[1]).unwrap();
        assert!((variance - 4.0).abs() < 5.0 * error, "{variance} ± {error}");
        assert!(draws.diagnostic(Statistic::RhatRank).unwrap().iter().all(|r| *r < 1.02));
    }

    #[test]
    fn bad_options_and_targets_without_mass_are_refused() {
        let target = density::from_fn(1, |x| if x[0] > 5.0 { 0.0 } else { f64::NEG_INFINITY });
        let options = Options { n_warmup: 20, n_draws: 10, ..Options::default() };
        assert!(matches!(sample(&target, &options), Err(Error::Target { .. })));
        let inside = Options { init: Some(vec![6.0; 4]), ..options.clone() };
        assert!(sample(&target, &inside).is_ok());
        for bad in [
            Options { n_chains: 0, ..options.clone() },
            Options { thin: 0, ..options.clone() },
            Options { init: Some(vec![6.0; 3]), ..options },
        ] {
            assert!(matches!(sample(&target, &bad), Err(Error::Argument { .. })));
        }
    }
}
