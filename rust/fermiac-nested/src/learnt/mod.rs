//! Importance sampling from densities learnt from the points so far, for costly likelihoods.
//!
//! Rounds of points are drawn, first from the prior. After each, all points are weighted as draws from
//! the mixture of all densities so far, for the prior times a power of the likelihood, and a density is
//! fitted to them from which the next round is drawn. The power rises to 1 as fast as the effective
//! number of points allows. Densities follow locations and scales of coordinates that depend on others
//! (`proposals/tree`). Modes are told apart by valleys between points. If draws from the prior have
//! seen several, climbs lead to their peaks, and a round is drawn about these. Modes with too few points
//! for the power of a round get points of their own; if some still have too few after a number of rounds,
//! climbs from their tops tell whether they count. More rounds improve the density while that pays. The
//! evidence is estimated from a last sample of a fixed density, which no point depends on. If few of its
//! points carry the weights, they become a round, and there are more rounds.
//!
//! A run is a function of the log-likelihoods of its points alone: what is saved are the points, and a
//! run that resumes makes the same steps with known answers.
//!
//! - J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance sampling",
//!   Scandinavian Journal of Statistics, 2012 (the weights by the mixture of all densities).
//! - J. U. Lange, "nautilus: boosting Bayesian importance nested sampling with deep learning", Monthly
//!   Notices of the Royal Astronomical Society, 2023 (regression by networks, and a last sample for
//!   the estimate).

mod component;
mod last;
mod peaks;
mod proposal;
mod record;
mod search;
mod settings;
mod steps;
#[cfg(test)]
mod tests;
mod weights;

pub use settings::Settings;

use crate::basins::Basins;
use crate::importance::Importance;
use crate::problem::{EvalBuffer, Problem};
use crate::proposals::Tree;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;
use fermiac_target::diagnostics::khat;
use proposal::Proposal;
use record::Record;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use weights::ess;

/// A top of a basin is higher than so many of its nearest points, and one more for each dimension.
const NEIGHBOURS: usize = 2;
/// After so many points only those near to basins in question are joined.
const MANY: usize = 6000;
/// The shape of the tail of weights above which few of them decide, unless the effective size is this
/// share of the number, and the least 1 - k of a law with a mean.
const HEAVY_TAIL: f64 = 0.7;
const EVEN: f64 = 0.8;
/// The share of the evidence that may be above the highest points without a warning.
const MUCH_ABOVE: f64 = 0.1;
const LEAST_LEFT: f64 = 0.05;

/// Whether a run has ended, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has not ended.
    Running,
    /// The last sample is complete.
    Converged,
    /// The limit of evaluations was reached.
    Evals,
}

/// What the next step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Points of the prior.
    Opening,
    /// Rounds with rising powers of the likelihood.
    Rising,
    /// Rounds for the likelihood itself.
    Refining,
    /// The last sample.
    Sampling,
    Ended,
}

/// Points drawn from one density.
#[derive(Debug, Clone)]
struct Round {
    proposal: Proposal,
    /// The power of the likelihood that it was fitted for.
    power: f64,
    /// The number of draws, of which those outside of the cube are no points.
    n_draws: u64,
    /// Its points in the record.
    points: Range<usize>,
}

/// A round whose points have been drawn and not evaluated.
#[derive(Debug, Clone)]
struct Pending {
    proposal: Proposal,
    power: f64,
    u: Vec<f64>,
    n_draws: u64,
    /// Whether it is about the highest points alone.
    is_top: bool,
    /// The tops of basins about which there are laws of their own.
    tops: Vec<usize>,
}

/// The figures of all rounds.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The powers of the likelihood.
    pub power: Vec<f64>,
    /// The numbers of points, with those of tests for valleys before a round.
    pub n_points: Vec<f64>,
    /// The effective share of new points for the power that they were drawn for.
    pub efficiency: Vec<f64>,
    /// The level of the highest points.
    pub level: Vec<f64>,
    /// The share of points that were drawn from the density without thinning.
    pub defence: Vec<f64>,
}

/// The state of a run at the end of a call.
pub struct Run {
    settings: Settings,
    circles: Vec<bool>,
    record: Record,
    /// Known answers of a run that resumes.
    known: Record,
    rounds: Vec<Round>,
    /// ln Σ n q over the rounds up to the last sample, at the points of these rounds.
    ln_mixture: Vec<f64>,
    pending: Option<Pending>,
    phase: Phase,
    status: Status,
    power: f64,
    /// Rounds in a row at one power below 1.
    n_stalled: u32,
    /// δ and the share of the wider density that were best for each round, and those to be used.
    chosen: Vec<[f64; 2]>,
    defence: f64,
    insurance: f64,
    /// The number of rounds since one found a point where the density was far too low.
    n_calm: usize,
    /// The number of rounds at power 1 that found one.
    n_lacking: u32,
    /// The factor on the number of points of a round.
    growth: f64,
    /// For the rounds at power 1: the expected calls of the last sample per effective point, and draws.
    costs: Vec<(f64, f64)>,
    /// The number of draws of the last sample, once it has begun.
    wanted: u64,
    /// Whether that number is by its own first draws.
    is_sized: bool,
    /// At its points: ln q, and the shares of q that depend on the A of each component.
    last_ln_q: Vec<f64>,
    last_thinned: Vec<Vec<f64>>,
    /// The level above which the highest points lie, and whether the rest is negligible.
    level: f64,
    is_topped: bool,
    /// The share of the evidence that the prior mass above the level would have at the highest likelihood.
    rest: f64,
    /// The number of rounds about the highest points alone, and the ln of `rest` before the first of them and
    /// at its least since then.
    n_topping: u32,
    ln_rests: [f64; 2],
    /// The number of clusters of the last density.
    n_clusters: usize,
    /// The tree that straightens the coordinates of the last density for the power of a round.
    tree: Option<Arc<Tree>>,
    /// The joins of points, the number of points that are joined, and of rounds after which modes were
    /// sought.
    basins: Basins,
    n_joined: usize,
    n_probed: usize,
    /// The number of tests for valleys that no round of the trace counts yet, and of basins whose share of
    /// the posterior is not known.
    n_tests: usize,
    n_open: usize,
    /// The number of points before the search for peaks that is under way.
    searched: Option<usize>,
    /// Whether the search after the draws from the prior has ended, and the later one.
    is_searched: [bool; 2],
    /// The tops of basins from which climbs of the later search have come to their ends.
    settled: Vec<usize>,
    /// The number of last samples that were given up.
    n_given_up: u32,
    /// The number of last samples whose density was fitted anew after the first draws.
    n_fitted_anew: u32,
    answers: EvalBuffer,
    trace: Trace,
}

/// Points and their prior masses.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// The samplers' coordinates, row-major.
    pub u: Vec<f64>,
    /// The parameters, row-major.
    pub x: Vec<f64>,
    /// The log-likelihoods.
    pub ell: Vec<f64>,
    /// The blobs.
    pub extras: Vec<f64>,
    /// The ln of the prior mass that each stands for; they sum to about 1 where points cover the prior.
    pub log_prior_masses: Vec<f64>,
}

impl Run {
    /// A run before its first point.
    ///
    /// # Errors
    /// If the settings do not fit the problem.
    pub fn new(problem: &Problem, settings: Settings) -> Result<Self> {
        settings.check(problem.dim())?;
        let (dim, n_extras) = (problem.dim(), problem.n_extras());
        let numbers = 2 * (2 * dim + n_extras + 6);
        for (name, n) in [("n_live", settings.n_round), ("n_effective", settings.n_effective)] {
            fermiac_base::alloc::check_room::<f64>(&format!("{name}={n}"), &[n, numbers])?;
        }
        Ok(Self {
            circles: problem.circles(),
            record: Record::new(dim, n_extras),
            known: Record::new(dim, n_extras),
            rounds: Vec::new(),
            ln_mixture: Vec::new(),
            pending: None,
            phase: Phase::Opening,
            status: Status::Running,
            power: 0.0,
            n_stalled: 0,
            chosen: Vec::new(),
            defence: steps::FIRST_DEFENCE,
            insurance: 0.0,
            growth: 1.0,
            n_calm: 0,
            n_lacking: 0,
            costs: Vec::new(),
            wanted: 0,
            is_sized: false,
            last_ln_q: Vec::new(),
            last_thinned: Vec::new(),
            level: f64::NEG_INFINITY,
            is_topped: false,
            rest: 1.0,
            n_topping: 0,
            ln_rests: [0.0; 2],
            n_clusters: 1,
            tree: None,
            basins: Basins::new(&problem.circles(), problem.dim() + NEIGHBOURS, MANY),
            n_joined: 0,
            n_probed: 0,
            n_tests: 0,
            n_open: 0,
            searched: None,
            is_searched: [false; 2],
            settled: Vec::new(),
            n_given_up: 0,
            n_fitted_anew: 0,
            answers: EvalBuffer::default(),
            trace: Trace::default(),
            settings,
        })
    }

    /// Runs to the end, or until a round ends after the deadline; returns the status.
    ///
    /// # Errors
    /// Those of the likelihood and of `context`.
    pub fn run(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<Status> {
        context.advance(self.n_evals());
        while self.status == Status::Running {
            context.set_total(self.expected());
            self.step(problem, context)?;
            context.poll()?;
            // Known answers take no time of the likelihood.
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if is_late && self.known.is_empty() {
                break;
            }
        }
        Ok(self.status)
    }

    /// Continues a run that a limit ended.
    pub fn prolong(&mut self, max_evals: u64) {
        self.settings.max_evals = max_evals;
        if self.status == Status::Evals {
            self.status = Status::Running;
        }
    }

    /// The status of the run.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of log-likelihood evaluations.
    pub fn n_evals(&self) -> u64 {
        self.record.len().max(self.known.len()) as u64
    }

    /// The number of points so far.
    pub fn n_points(&self) -> usize {
        self.record.len().max(self.known.len())
    }

    /// The number of points whose answers are known, while a run that resumes makes its steps again.
    pub fn n_known(&self) -> usize {
        self.known.len()
    }

    /// The number of rounds, of which the last sample is one.
    pub fn n_batches(&self) -> u64 {
        self.rounds.len() as u64
    }

    /// The power of the likelihood that has been reached.
    pub fn power(&self) -> f64 {
        self.power
    }

    /// The figures of all rounds.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The number of draws that the last sample is to have; 0 before it.
    pub fn n_wanted(&self) -> u64 {
        self.wanted
    }

    /// The number of basins whose share of the posterior was not found out.
    pub fn n_open(&self) -> usize {
        self.n_open
    }

    /// Whether the likelihoods above the highest points could still raise the evidence.
    pub fn is_open_above(&self) -> bool {
        !self.is_topped && self.rest > MUCH_ABOVE
    }

    /// The number of rounds for the posterior that found a point where their density was far too low.
    pub fn n_lacking(&self) -> u32 {
        self.n_lacking
    }

    /// The number of last samples that were given up since few points carried their weights.
    pub fn n_given_up(&self) -> u32 {
        self.n_given_up
    }

    /// The number of points outside of the last sample.
    fn n_explored(&self) -> usize {
        self.ln_mixture.len()
    }

    /// The points of the last sample, weighted as draws from its density; before it all points, weighted
    /// as draws from the mixture of all densities. While known answers are read, these with equal masses.
    pub fn weighted(&self) -> Weighted {
        let (dim, n_extras) = (self.record.dim, self.record.n_extras);
        let (record, start, log_prior_masses) = if !self.known.is_empty() {
            (&self.known, 0, vec![-ln(self.known.len() as f64); self.known.len()])
        } else if self.last_ln_q.is_empty() {
            (&self.record, 0, self.ln_mixture.iter().map(|sum| -sum).collect())
        } else {
            let ln_n = ln(self.rounds.last().map_or(0, |round| round.n_draws) as f64);
            let masses = self.last_ln_q.iter().map(|ln_q| -ln_n - ln_q).collect();
            (&self.record, self.n_explored(), masses)
        };
        Weighted {
            u: record.u[start * dim..].to_vec(),
            x: record.x[start * dim..].to_vec(),
            ell: record.ell[start..].to_vec(),
            extras: record.extras[start * n_extras..].to_vec(),
            log_prior_masses,
        }
    }

    /// The estimate from the last sample; `None` before it.
    pub fn importance(&self) -> Option<Importance> {
        let dim = self.circles.len();
        let n = self.n_explored();
        let round = self.rounds.last().filter(|_| !self.last_ln_q.is_empty())?;
        let ell = &self.record.ell[n..];
        let estimate = Estimate::new(ell, &self.last_ln_q, round.n_draws)?;
        // The mean over the points within the cube is to be the evidence.
        let scale = estimate.log_evidence + ln(ell.len() as f64 / round.n_draws as f64);
        let weights = &estimate.weights;
        let of_component = |shares: &Vec<f64>| {
            let sum: f64 = weights.iter().zip(shares).map(|(w, share)| w * share).sum();
            sum / round.n_draws as f64
        };
        let thinned: Vec<f64> = self.last_thinned.iter().map(of_component).collect();
        let variance =
            estimate.variance + estimate.unseen().powi(2) + round.proposal.variance(&thinned);
        let (log_tests, tests_variance, n_tests) = self.of_rounds();
        Some(Importance {
            u: self.record.u[n * dim..].to_vec(),
            ell: ell.to_vec(),
            log_weights: weights.iter().map(|w| ln(*w) + scale).collect(),
            log_evidence: estimate.log_evidence,
            log_evidence_stderr: variance.sqrt(),
            cut_share: 0.0,
            lost_share: 0.0,
            n_cut: 0,
            log_evidence_tests: log_tests,
            log_evidence_tests_stderr: tests_variance.sqrt(),
            counts: Vec::new(),
            test_counts: vec![n_tests],
            log_volumes: Vec::new(),
        })
    }

    /// The ln of the evidence from the points before the last sample as draws from the mixture of their
    /// densities, its relative variance, and their number.
    fn of_rounds(&self) -> (f64, f64, u64) {
        let ell = &self.record.ell[..self.n_explored()];
        let logs: Vec<f64> = ell.iter().zip(&self.ln_mixture).map(|(ell, sum)| ell - sum).collect();
        let log_z = logs.iter().fold(f64::NEG_INFINITY, |sum, log| ln_add(sum, *log));
        let squares: f64 = logs.iter().map(|log| exp(2.0 * (log - log_z))).sum();
        // Points of tests for valleys have no density.
        let n = self.ln_mixture.iter().filter(|ln_q| ln_q.is_finite()).count();
        (log_z, (squares - 1.0 / n as f64).max(0.0), n as u64)
    }

    /// An estimate of the evaluations of the whole run, for progress.
    fn expected(&self) -> u64 {
        let n = self.record.len() as u64;
        let left = match self.phase {
            Phase::Sampling => {
                self.wanted.saturating_sub(self.rounds.last().map_or(0, |r| r.n_draws))
            }
            _ => 2 * self.settings.n_effective as u64 + self.settings.n_round as u64,
        };
        n.saturating_add(left).min(self.settings.max_evals)
    }

    /// Writes or reads the points, from which all else follows.
    ///
    /// # Errors
    /// If what is read is no state of such a run.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        if codec.is_reading() {
            self.known.persist(codec)
        } else if self.record.len() >= self.known.len() {
            self.record.persist(codec)
        } else {
            self.known.persist(codec)
        }
    }
}

/// The mean of weights of draws.
struct Estimate {
    /// Relative to their mean over all draws.
    weights: Vec<f64>,
    log_evidence: f64,
    /// The variance of the mean, relative to its square.
    variance: f64,
}

impl Estimate {
    /// The estimate of `n` draws, of which those within the cube have the given densities; `None` if no
    /// weight is above 0.
    fn new(ell: &[f64], ln_q: &[f64], n: u64) -> Option<Self> {
        let logs: Vec<f64> = ell.iter().zip(ln_q).map(|(ell, ln_q)| ell - ln_q).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY || n < 2 {
            return None;
        }
        let n = n as f64;
        let mut weights: Vec<f64> = logs.iter().map(|log| exp(log - top)).collect();
        let mean = weights.iter().sum::<f64>() / n;
        weights.iter_mut().for_each(|w| *w /= mean);
        let square = weights.iter().map(|w| w * w).sum::<f64>() / n;
        let variance = (square - 1.0).max(0.0) / (n - 1.0);
        Some(Self { weights, log_evidence: top + ln(mean), variance })
    }

    /// The part of the mean that the largest weights of the law of these may have, if its tail is too heavy
    /// for their variance to tell; 0 if it is not.
    ///
    /// Weights above the largest of n have, in a generalised Pareto law of shape k, a part of the mean of
    /// about that of the largest weight, over 1 - k.
    fn unseen(&self) -> f64 {
        let mut weights = self.weights.clone();
        let (total, top) =
            weights.iter().fold((0.0, 0.0_f64), |(sum, top), w| (sum + w, top.max(*w)));
        let size = ess(&weights);
        let shape = khat(&mut weights);
        if shape > HEAVY_TAIL && size < EVEN * weights.len() as f64 {
            top / total / (1.0 - shape).max(LEAST_LEFT)
        } else {
            0.0
        }
    }

    /// The effective share of the points.
    fn share(&self) -> f64 {
        ess(&self.weights) / self.weights.len() as f64
    }
}

/// ln(exp a + exp b).
fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + ln(1.0 + exp(low - high)) }
}
