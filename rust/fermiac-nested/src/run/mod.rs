//! A run: in each batch the worst points die and are replaced by new ones above their level.
//!
//! The run is a state machine between calls of the likelihood: it can stop at the end of any round,
//! be saved, and resume with the same bits. Every batch has its own streams.
//!
//! - J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
//! - A. Fowlie, W. Handley, L. Su, "Nested sampling with plateaus", Monthly Notices of the Royal
//!   Astronomical Society, 2021.

mod away;
mod batch;
mod finish;
mod fitting;
mod probes;
mod rejection;
mod settings;
mod state;
mod survey;
#[cfg(test)]
mod testing;
mod tune;

pub use away::AwayBatch;
pub use settings::{Sampler, Settings};
pub use state::{Opening, Status, Trace};

use super::bound::Bound;
use super::chains::{BatchGeometry, Chains, Moves};
use super::points::{Origin, Points};
use super::problem::{EvalBuffer, Problem};
use super::{OnlineEvidence, Ranks};
use fermiac_base::alloc::check_room;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::ln;
use fermiac_base::{Error, Result};
use finish::Finish;
use rejection::Rejection;
use state::Phase;
use std::cell::RefCell;
use std::time::Instant;
use tune::StartCorrelation;

/// The address of the stream of a batch that breaks ties of ranks, above those of chains and rounds.
const TIES: u64 = 1 << 33;

/// A run whose first live points are all equal draws on from the prior: up to so many blocks or points,
/// or to so many points above the others, which are a start for a bound, or for chains.
const FLAT_BLOCKS: u64 = 100;
const FLAT_POINTS: usize = 1_000_000;
const ABOVE_FLAT: usize = 10;

/// A nested sampling run.
pub struct Run {
    settings: Settings,
    circles: Vec<bool>,
    opening: Opening,
    live: Points,
    /// The slots of live points in the order of their log-likelihoods.
    order: Vec<u64>,
    dead: Points,
    evidence: OnlineEvidence,
    ranks: Ranks,
    status: Status,
    phase: Phase,
    batch: u32,
    blocks: u64,
    level: f64,
    /// The slots of points that died in this batch, which are to be refilled.
    vacant: Vec<u64>,
    new_points: Points,
    batch_evals: u64,
    /// Evaluations of the last batch, and of all batches since rejection was last cheaper than chains.
    last_evals: u64,
    excess_evals: u64,
    rejection: Rejection,
    chains: Chains,
    moves: Option<Moves>,
    correlation: StartCorrelation,
    /// Whether chains draw the new points from now on.
    chaining: bool,
    /// Not saved, since it follows from the live points.
    geometry: Option<BatchGeometry>,
    modes: Option<Bound>,
    modes_at: f64,
    answers: EvalBuffer,
    n_evals: u64,
    n_stuck: u64,
    stuck_batches: u32,
    trace: Trace,
    /// Independent points from a density fitted to the posterior, at the end of the run.
    finish: Option<Finish>,
}

impl Run {
    /// A run before its first point.
    ///
    /// # Errors
    /// If the settings do not fit the problem.
    pub fn new(problem: &Problem, settings: Settings, opening: Opening) -> Result<Self> {
        let (dim, n_extras) = (problem.dim(), problem.n_extras());
        settings.check(dim)?;
        // A point has its coordinates twice, the extras and six more numbers; lists of points grow
        // by doubling.
        let numbers = 2 * (2 * dim + n_extras + 6);
        check_room::<f64>(&format!("n_live={}", settings.n_live), &[settings.n_live, numbers])?;
        let from_prior = matches!(opening, Opening::Prior);
        if settings.importance && !(from_prior && settings.sampler.has_bound()) {
            let why = "only runs from the whole prior that begin with rejection can have it";
            return Err(Error::argument("importance", why));
        }
        if settings.proposals && !from_prior {
            let why = "only runs from the whole prior can have them";
            return Err(Error::argument("proposals", why));
        }
        let moves = settings.sampler.moves(dim);
        if moves.is_some_and(|moves| moves.needs_gradient()) {
            problem.check_gradient()?;
        }
        Ok(Self {
            circles: problem.circles(),
            opening,
            live: Points::new(dim, n_extras),
            order: Vec::new(),
            dead: Points::new(dim, n_extras),
            evidence: OnlineEvidence::new(),
            ranks: Ranks::new(if settings.batch == 1 { settings.n_live } else { 0 }),
            status: Status::Running,
            phase: Phase::Opening,
            batch: settings.first_batch,
            blocks: 0,
            level: f64::NEG_INFINITY,
            vacant: Vec::new(),
            new_points: Points::new(dim, n_extras),
            batch_evals: 0,
            last_evals: 0,
            excess_evals: 0,
            rejection: Rejection::new(dim, n_extras, settings.importance),
            chains: Chains::default(),
            moves,
            correlation: StartCorrelation::new(),
            chaining: false,
            geometry: None,
            modes: None,
            modes_at: f64::INFINITY,
            answers: EvalBuffer::default(),
            n_evals: 0,
            n_stuck: 0,
            stuck_batches: 0,
            trace: Trace::default(),
            finish: None,
            settings,
        })
    }

    /// Runs to the end, or until a round ends after the deadline; returns the status. With `away` it
    /// also stops at chains that have not ended, which run elsewhere; see [`AwayBatch`].
    pub fn run(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        away: bool,
        context: &Context<'_>,
    ) -> Result<Status> {
        context.advance(self.n_evals);
        while self.status == Status::Running && !(away && self.has_pending_chains()) {
            context.set_total(self.n_evals + self.expected());
            match self.phase {
                Phase::Opening => self.open(problem, context)?,
                Phase::Between => self.begin_batch(problem)?,
                Phase::Starting => self.start_batch(problem, context)?,
                Phase::Rejecting => self.reject(problem, context)?,
                Phase::Chaining => self.chain(problem, deadline, context)?,
                Phase::Finishing => self.finish(problem, context)?,
            }
            context.poll()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(self.status)
    }

    /// An estimate of the evaluations still needed, for progress, from those per nat of log X so far.
    pub fn expected(&self) -> u64 {
        let log_x = self.evidence.log_x();
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        let excess = best + log_x - self.evidence.log_evidence();
        if !excess.is_finite() || log_x >= 0.0 {
            return 10 * self.settings.n_live as u64;
        }
        let way = (excess - ln(self.settings.dlogz)).max(0.1);
        (self.n_evals as f64 * way / -log_x).min(1e15) as u64 + self.settings.batch as u64
    }

    /// Continues a run that has ended, with other limits.
    pub fn prolong(&mut self, dlogz: f64, max_evals: u64, max_iter: u64) {
        self.settings.dlogz = dlogz;
        (self.settings.max_evals, self.settings.max_iter) = (max_evals, max_iter);
        self.status = Status::Running;
    }

    /// Draws a block of initial points.
    fn open(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let Opening::Prior = self.opening else {
            return self.open_above(problem);
        };
        let (n, d, b) = (self.settings.n_live, problem.dim(), problem.n_extras());
        let was_flat = self.live.len() >= n;
        let mut stream = Stream::new(self.settings.key, Domain::Nested, self.blocks, self.batch);
        let mut u = vec![0.0; n * d];
        stream.fill_uniform(&mut u);
        problem.evaluate_together(&u, &RefCell::new(1e-6), context, &mut self.answers)?;
        context.advance(n as u64);
        self.n_evals += n as u64;
        if let Some(record) = &mut self.rejection.record {
            record.add_points(&u, &self.answers.ell);
            self.rejection.probes.follow(n, true);
        }
        for i in 0..n {
            let ell = self.answers.ell[i];
            let id = self.blocks * n as u64 + i as u64;
            let origin = Origin { birth: f64::NEG_INFINITY, lineage: id, family: id };
            let (u, x) = (&u[i * d..(i + 1) * d], &self.answers.x[i * d..(i + 1) * d]);
            let extras = &self.answers.extras[i * b..(i + 1) * b];
            let into = if ell == f64::NEG_INFINITY { &mut self.dead } else { &mut self.live };
            into.push(u, x, ell, extras, origin);
        }
        self.blocks += 1;
        if self.live.len() >= n && !self.is_flat(was_flat) {
            let all = (self.dead.len() + self.live.len()) as u64;
            for k in 0..self.dead.len() as u64 {
                self.evidence.add_death(f64::NEG_INFINITY, all - k);
            }
            self.sort();
            self.batch += 1;
            self.phase = Phase::Between;
        } else if self.blocks >= self.settings.max_init_blocks {
            return Err(Error::target(format!(
                "{} of {} draws from the prior have a likelihood above 0, and {n} are needed; give \
                 a prior that meets the likelihood, or check that the log-likelihood is not -inf \
                 everywhere",
                self.live.len(),
                self.blocks * n as u64
            )));
        }
        Ok(())
    }

    /// Whether the draws from the prior have no level to start from, and more may have: the first live
    /// points were all equal, and few points are above them yet.
    fn is_flat(&self, was_flat: bool) -> bool {
        let is_late = self.blocks >= FLAT_BLOCKS || self.live.len() >= FLAT_POINTS;
        if is_late || self.n_evals >= self.settings.max_evals {
            return false;
        }
        let lowest = self.live.ell.iter().copied().fold(f64::INFINITY, f64::min);
        let above = self.live.ell.iter().filter(|ell| **ell > lowest).count();
        above < if was_flat { ABOVE_FLAT } else { 1 }
    }

    /// Prepares the first batch of a run above a level, with the seeds as its survivors.
    fn open_above(&mut self, problem: &Problem) -> Result<()> {
        let Opening::Above { level, log_x, log_evidence, .. } = &self.opening else {
            return Ok(());
        };
        (self.level, self.evidence) = (*level, OnlineEvidence::above(*log_x, *log_evidence));
        self.vacant = (0..self.settings.n_live as u64).collect();
        self.prepare_batch(problem)
    }

    /// Sorts the slots by log-likelihood.
    fn sort(&mut self) {
        self.order = (0..self.live.len() as u64).collect();
        let ell = &self.live.ell;
        self.order.sort_by(|&a, &b| ell[a as usize].total_cmp(&ell[b as usize]));
    }

    /// The log-likelihood of the live point of a rank.
    fn ranked(&self, rank: usize) -> f64 {
        self.live.ell[self.order[rank] as usize]
    }

    /// Ends the run if a stopping rule holds; otherwise the worst points die and a batch begins.
    fn begin_batch(&mut self, problem: &Problem) -> Result<()> {
        let n = self.order.len();
        let (worst, best) = (self.ranked(0), self.ranked(n - 1));
        let batches = u64::from(self.batch - self.settings.first_batch);
        self.status = if worst == best || best - worst < self.settings.ell_tol {
            Status::Plateau
        } else if worst > self.settings.high {
            Status::Passed
        } else if self.evidence.remaining(best) < self.settings.dlogz {
            Status::Converged
        } else if self.n_evals >= self.settings.max_evals {
            Status::Evals
        } else if batches > self.settings.max_iter {
            Status::Batches
        } else {
            Status::Running
        };
        if self.status != Status::Running {
            self.begin_finish();
            return Ok(());
        }
        if let Some(finish) = self.finish.take() {
            // The run goes on as one that has not ended before; its stage is made anew.
            self.n_evals = self.n_evals.saturating_sub(finish.n_evals());
        }
        self.level = self.ranked(self.settings.batch.min(n) - 1);
        let dying = self.order.iter().take_while(|&&i| self.live.ell[i as usize] <= self.level);
        let mut vacant: Vec<u64> = dying.copied().collect();
        if vacant.len() == n {
            self.status = Status::Plateau;
            self.begin_finish();
            return Ok(());
        }
        self.order.drain(..vacant.len());
        for (k, &slot) in vacant.iter().enumerate() {
            self.evidence.add_death(self.live.ell[slot as usize], (n - k) as u64);
            self.dead.push_from(&self.live, slot as usize);
        }
        // The last block of initial draws may leave more than `n_live` points.
        let refilled = self.settings.n_live.saturating_sub(self.order.len()).min(vacant.len());
        vacant.truncate(refilled);
        self.vacant = vacant;
        if refilled == 0 {
            self.batch += 1;
            self.batch_evals = 0;
            self.record_batch([f64::NAN; 4]);
            return Ok(());
        }
        self.prepare_batch(problem)
    }

    /// The lineages of the vacant slots.
    fn lineages(&self) -> Vec<u64> {
        let opening = self.live.is_empty();
        let lineage = |&slot: &u64| if opening { slot } else { self.live.lineage[slot as usize] };
        self.vacant.iter().map(lineage).collect()
    }

    /// Puts the new points into the vacant slots.
    fn insert_new_points(&mut self) {
        let mut ties = Stream::new(self.settings.key, Domain::Nested, TIES, self.batch);
        if self.live.is_empty() {
            for i in 0..self.new_points.len() {
                self.live.push_from(&self.new_points, i);
            }
            self.sort();
        } else {
            let old: Vec<f64> = self.order.iter().map(|&i| self.live.ell[i as usize]).collect();
            self.ranks.observe(&old, &self.new_points.ell, &mut ties);
            for (j, &slot) in self.vacant.iter().enumerate() {
                self.live.replace(slot as usize, &self.new_points, j);
            }
            self.merge();
        }
        self.batch += 1;
        self.phase = Phase::Between;
    }

    /// Merges the refilled slots into the order.
    fn merge(&mut self) {
        let ell = &self.live.ell;
        let mut new = std::mem::take(&mut self.vacant);
        let key = |i: u64| ell[i as usize];
        new.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
        let mut merged = Vec::with_capacity(self.order.len() + new.len());
        let mut old = self.order.iter().copied().peekable();
        for slot in new {
            while let Some(first) = old.next_if(|&first| key(first) <= key(slot)) {
                merged.push(first);
            }
            merged.push(slot);
        }
        merged.extend(old);
        self.order = merged;
    }

    /// Appends the figures of a batch to the trace.
    fn record_batch(&mut self, of_chains: [f64; 4]) {
        let trace = &mut self.trace;
        trace.log_x.push(self.evidence.log_x());
        trace.log_evidence.push(self.evidence.log_evidence());
        trace.level.push(self.level);
        trace.efficiency.push(self.new_points.len() as f64 / self.batch_evals.max(1) as f64);
        let bound = self.modes.as_ref().unwrap_or(&self.rejection.bound);
        trace.n_parts.push(bound.n_parts() as f64);
        let [moved, tries, correlation, n_moves] = of_chains;
        trace.moved.push(moved);
        trace.tries.push(tries);
        trace.correlation.push(correlation);
        trace.n_moves.push(n_moves);
        let counts = self.rejection.probes.take();
        trace.probes.push(counts.probes);
        trace.missed.push(counts.missed);
        trace.expected.push(counts.expected);
    }
}
