//! A run: batch by batch the worst points die and new ones above their level take their places.
//!
//! The run is a state machine between calls of the likelihood: it can stop at the end of any round,
//! be saved, and go on with the same bits. Every batch has streams of its own.
//!
//! - J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006.
//! - A. Fowlie, W. Handley, L. Su, "Nested sampling with plateaus", Monthly Notices of the Royal
//!   Astronomical Society, 2021.

mod rejection;
mod settings;
mod tune;

pub use settings::{Sampler, Settings};

use std::cell::RefCell;
use std::time::Instant;

use super::bound::{Bound, BoundKind, FitOptions};
use super::chains::{Chains, Frame, Moves, Report};
use super::importance::Importance;
use super::points::{Origin, Points};
use super::problem::{Answers, Problem};
use super::{Ranks, Running};
use crate::kernel::Archive;
use crate::linalg::Rows;
use crate::par::Context;
use crate::rng::{Domain, Stream};
use crate::simd::ln;
use crate::{Error, Result};
use rejection::{Rejection, Search};
use tune::{Memory, tune};

/// The address of a batch's stream for ties: above that of any chain and round.
const TIES: u64 = 1 << 33;
/// Evaluations for each live point that rejection may be dearer than chains.
const PATIENCE: u64 = 4;
/// Every so many batches chains are compared with the distances of survivors.
const LOOKS: u32 = 8;
/// Batches in which more than one chain in a hundred gets stuck before the run is given up.
const STUCK: u32 = 10;

/// Where a run begins: with draws from the whole prior, or above a level.
#[derive(Debug, Clone)]
pub enum Opening {
    /// With draws from the whole prior.
    Prior,
    /// With points above a level, found from points that lie above it.
    Above {
        /// Points uniform above the level.
        seeds: Points,
        /// The level.
        level: f64,
        /// The logarithm of the prior mass above it.
        log_x: f64,
        /// The log-evidence of what lies below it.
        log_evidence: f64,
    },
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Running,
    /// What is left of the evidence is small enough.
    Converged,
    /// All live points have the same log-likelihood, or nearly.
    Plateau,
    /// The upper level was passed.
    Passed,
    /// The evaluations are used up.
    Evals,
    /// The batches are used up.
    Batches,
}

const STATUSES: [Status; 6] = [
    Status::Running,
    Status::Converged,
    Status::Plateau,
    Status::Passed,
    Status::Evals,
    Status::Batches,
];

/// Whether a run waits for a batch to begin, or is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Between,
    Rejecting,
    Chaining,
}

const PHASES: [Phase; 4] = [Phase::Opening, Phase::Between, Phase::Rejecting, Phase::Chaining];

/// What each batch tells, one list for each figure.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// log X at its end, and the log-evidence so far.
    pub log_x: Vec<f64>,
    /// The log-evidence of the dead points.
    pub log_evidence: Vec<f64>,
    /// The level.
    pub level: Vec<f64>,
    /// Points found for each evaluation.
    pub efficiency: Vec<f64>,
    /// Parts of the bound.
    pub n_parts: Vec<f64>,
    /// The share of chains that moved away from their start; NaN for rejection.
    pub moved: Vec<f64>,
    /// Tries for each move of chains; NaN for rejection.
    pub tries: Vec<f64>,
    /// The correlation of the ends of chains with their starts; NaN for rejection.
    pub correlation: Vec<f64>,
    /// Moves of a chain; NaN for rejection.
    pub n_moves: Vec<f64>,
}

/// A run.
pub struct Run {
    settings: Settings,
    circles: Vec<bool>,
    opening: Opening,
    live: Points,
    /// Slots in the order of their log-likelihoods.
    order: Vec<u64>,
    dead: Points,
    running: Running,
    ranks: Ranks,
    status: Status,
    phase: Phase,
    batch: u32,
    blocks: u64,
    level: f64,
    /// Slots whose points died in this batch, those of them that are refilled first.
    doomed: Vec<u64>,
    fresh: Points,
    batch_evals: u64,
    /// Evaluations of the last batch, and of all since rejection was last cheaper than chains.
    last_evals: u64,
    dear_evals: u64,
    rejection: Rejection,
    chains: Chains,
    moves: Option<Moves>,
    memory: Memory,
    /// Whether chains have taken over for good.
    chaining: bool,
    /// Not saved: made anew from the live points.
    frame: Option<Frame>,
    modes: Option<Bound>,
    modes_at: f64,
    answers: Answers,
    n_evals: u64,
    n_stuck: u64,
    stuck_batches: u32,
    trace: Trace,
}

impl Run {
    /// A run that has not begun.
    ///
    /// # Errors
    /// For settings that no run can have.
    pub fn new(problem: &Problem, settings: Settings, opening: Opening) -> Result<Self> {
        let (dim, n_extras) = (problem.dim(), problem.n_extras());
        settings.check(dim)?;
        let from_prior = matches!(opening, Opening::Prior);
        if settings.importance && !(from_prior && settings.sampler == Sampler::Rejection) {
            let why = "only runs from the whole prior by rejection can have it";
            return Err(Error::argument("importance", why));
        }
        let moves = settings.sampler.moves(dim);
        Ok(Self {
            circles: problem.circles(),
            opening,
            live: Points::new(dim, n_extras),
            order: Vec::new(),
            dead: Points::new(dim, n_extras),
            running: Running::new(),
            ranks: Ranks::new(if settings.batch == 1 { settings.n_live } else { 0 }),
            status: Status::Running,
            phase: Phase::Opening,
            batch: settings.first_batch,
            blocks: 0,
            level: f64::NEG_INFINITY,
            doomed: Vec::new(),
            fresh: Points::new(dim, n_extras),
            batch_evals: 0,
            last_evals: 0,
            dear_evals: 0,
            rejection: Rejection::new(dim, n_extras, settings.importance),
            chains: Chains::default(),
            moves,
            memory: Memory::new(),
            chaining: false,
            frame: None,
            modes: None,
            modes_at: f64::INFINITY,
            answers: Answers::default(),
            n_evals: 0,
            n_stuck: 0,
            stuck_batches: 0,
            trace: Trace::default(),
            settings,
        })
    }

    /// Runs to the end, or until a round ends after the deadline.
    pub fn run(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<Status> {
        context.advance(self.n_evals);
        while self.status == Status::Running {
            context.set_total(self.n_evals + self.expected());
            match self.phase {
                Phase::Opening => self.open(problem, context)?,
                Phase::Between => self.begin(problem, context)?,
                Phase::Rejecting => self.reject(problem, context)?,
                Phase::Chaining => self.chain(problem, deadline, context)?,
            }
            context.poll()?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(self.status)
    }

    /// Evaluations that are still needed, by how many it took to come here: a guess for progress.
    fn expected(&self) -> u64 {
        let log_x = self.running.log_x();
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        let excess = best + log_x - self.running.log_evidence();
        if !excess.is_finite() || log_x >= 0.0 {
            return 10 * self.settings.n_live as u64;
        }
        let way = (excess - ln(self.settings.dlogz)).max(0.1);
        (self.n_evals as f64 * way / -log_x).min(1e15) as u64 + self.settings.batch as u64
    }

    /// Lets a run that has ended go on, with other rules of when to end.
    pub fn prolong(&mut self, dlogz: f64, max_evals: u64, max_iter: u64) {
        self.settings.dlogz = dlogz;
        (self.settings.max_evals, self.settings.max_iter) = (max_evals, max_iter);
        self.status = Status::Running;
    }

    /// Draws the first points.
    fn open(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let Opening::Prior = self.opening else { return self.open_above(problem, context) };
        let (n, d, b) = (self.settings.n_live, problem.dim(), problem.n_extras());
        let mut stream = Stream::new(self.settings.key, Domain::Nested, self.blocks, self.batch);
        let mut u = vec![0.0; n * d];
        stream.fill_uniform(&mut u);
        problem.evaluate_together(&u, &RefCell::new(1e-6), context, &mut self.answers)?;
        context.advance(n as u64);
        self.n_evals += n as u64;
        if let Some(book) = &mut self.rejection.book {
            book.note(&u, &self.answers.ell);
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
        if self.live.len() >= n {
            let all = (self.dead.len() + self.live.len()) as u64;
            for k in 0..self.dead.len() as u64 {
                self.running.kill(f64::NEG_INFINITY, all - k);
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

    /// The first batch of a run that begins above a level: the seeds are its survivors.
    fn open_above(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let n = self.settings.n_live;
        let Opening::Above { level, log_x, log_evidence, .. } = &self.opening else {
            return Ok(());
        };
        (self.level, self.running) = (*level, Running::above(*log_x, *log_evidence));
        self.doomed = (0..n as u64).collect();
        self.start_batch(problem, context)
    }

    fn sort(&mut self) {
        self.order = (0..self.live.len() as u64).collect();
        let ell = &self.live.ell;
        self.order.sort_by(|&a, &b| ell[a as usize].total_cmp(&ell[b as usize]));
    }

    /// Log-likelihood of the live point of a rank.
    fn ranked(&self, rank: usize) -> f64 {
        self.live.ell[self.order[rank] as usize]
    }

    /// Ends the run where a rule says so; else lets the worst points die and looks for new ones.
    fn begin(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let n = self.order.len();
        let (worst, best) = (self.ranked(0), self.ranked(n - 1));
        let batches = u64::from(self.batch - self.settings.first_batch);
        self.status = if worst == best || best - worst < self.settings.ell_tol {
            Status::Plateau
        } else if worst > self.settings.high {
            Status::Passed
        } else if self.running.remaining(best) < self.settings.dlogz {
            Status::Converged
        } else if self.n_evals >= self.settings.max_evals {
            Status::Evals
        } else if batches > self.settings.max_iter {
            Status::Batches
        } else {
            Status::Running
        };
        if self.status != Status::Running {
            return Ok(());
        }
        self.level = self.ranked(self.settings.batch.min(n) - 1);
        let dying = self.order.iter().take_while(|&&i| self.live.ell[i as usize] <= self.level);
        let mut doomed: Vec<u64> = dying.copied().collect();
        if doomed.len() == n {
            self.status = Status::Plateau;
            return Ok(());
        }
        self.order.drain(..doomed.len());
        for (k, &slot) in doomed.iter().enumerate() {
            self.running.kill(self.live.ell[slot as usize], (n - k) as u64);
            self.dead.push_from(&self.live, slot as usize);
        }
        // More points than wanted live at first, where draws of the prior had no likelihood.
        let refilled = self.settings.n_live.saturating_sub(self.order.len()).min(doomed.len());
        doomed.truncate(refilled);
        self.doomed = doomed;
        if refilled == 0 {
            self.batch += 1;
            self.batch_evals = 0;
            self.note([f64::NAN; 4]);
            return Ok(());
        }
        self.start_batch(problem, context)
    }

    /// The points that the new ones are to be found among.
    fn survivors(&self) -> Points {
        if let (Opening::Above { seeds, .. }, true) = (&self.opening, self.live.is_empty()) {
            return seeds.clone();
        }
        let mut survivors = Points::new(self.circles.len(), 0);
        for &slot in &self.order {
            let i = slot as usize;
            let origin =
                Origin { birth: self.live.birth[i], lineage: 0, family: self.live.family[i] };
            survivors.push(self.live.u(i), &[], self.live.ell[i], &[], origin);
        }
        survivors
    }

    fn start_batch(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        (self.last_evals, self.batch_evals) = (self.batch_evals, 0);
        self.fresh = Points::new(problem.dim(), problem.n_extras());
        let survivors = self.survivors();
        self.turn_to_chains();
        if self.chaining {
            self.phase = Phase::Chaining;
            self.look_for_modes(&survivors, context)?;
            let frame = self.frame_of(&survivors);
            self.chains.start(
                self.doomed.len(),
                &frame,
                problem.n_extras(),
                self.settings.key,
                self.batch,
            );
            self.frame = Some(frame);
        } else {
            self.phase = Phase::Rejecting;
            let log_x = self.running.log_x();
            self.rejection.begin(
                &survivors,
                log_x,
                self.level,
                &self.settings,
                &self.circles,
                context,
            )?;
        }
        Ok(())
    }

    /// Lets chains take over for good, where they are cheaper than rejection. As long as much of the
    /// cube lies above the level, nothing is; and a bound that happens to be bad is fitted anew
    /// before it is given up.
    fn turn_to_chains(&mut self) {
        if self.chaining || self.moves.is_none() {
            return;
        }
        let above = matches!(self.opening, Opening::Above { .. });
        let sampler = &self.settings.sampler;
        let (margin, patience) = if sampler.has_bound() {
            (2.0, PATIENCE * self.settings.n_live as u64)
        } else {
            (0.5, 0)
        };
        let dear = 1.0 / self.rejection.efficiency() > margin * sampler.cost();
        self.dear_evals = if dear { self.dear_evals + self.last_evals } else { 0 };
        self.chaining = above || (dear && self.dear_evals >= patience);
    }

    /// What the chains of this batch share.
    fn frame_of(&self, survivors: &Points) -> Frame {
        let mut frame = Frame::new(survivors, &self.circles, self.modes.as_ref());
        if let Some(moves) = self.moves {
            let moves = moves.longer(self.memory.factor);
            moves.prepare(&mut frame, self.settings.key, self.batch);
        }
        frame
    }

    /// Fits the bound that tells chains of modes, every now and then.
    fn look_for_modes(&mut self, survivors: &Points, context: &Context<'_>) -> Result<()> {
        let log_x = self.running.log_x();
        let due = self.modes_at - log_x > 0.5;
        if !due || matches!(self.settings.bound, BoundKind::None | BoundKind::Single) {
            return Ok(());
        }
        self.modes_at = log_x;
        let options = FitOptions {
            kind: BoundKind::Multi,
            enlarge: self.settings.enlarge,
            modes: true,
            bootstrap: 0,
            periodic: self.circles.clone(),
        };
        let rows = Rows::new(&survivors.u, self.circles.len());
        let number = self.batch;
        self.modes = Some(Bound::fit(rows, log_x, &options, self.settings.key, number, context)?);
        Ok(())
    }

    fn reject(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let lineages = self.lineages();
        let search = Search { level: self.level, batch: self.batch, lineages: &lineages };
        let (done, asked) = self.rejection.round(
            &search,
            problem,
            &mut self.answers,
            &self.settings,
            context,
            &mut self.fresh,
        )?;
        context.advance(asked);
        self.n_evals += asked;
        self.batch_evals += asked;
        if done {
            self.take_in();
            self.note([f64::NAN; 4]);
        }
        Ok(())
    }

    fn chain(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<()> {
        let (Some(tuned), Some(frame)) = (self.moves, self.frame.take()) else {
            return Err(Error::Internal("a batch of chains without a frame".into()));
        };
        let moves = tuned.longer(self.memory.factor);
        let before = self.chains.n_evals();
        let done = self.chains.run(problem, &frame, &moves, self.level, deadline, context);
        let asked = self.chains.n_evals() - before;
        self.n_evals += asked;
        self.batch_evals += asked;
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                self.frame = Some(frame);
                return Err(error);
            }
        };
        if !done {
            self.frame = Some(frame);
            return Ok(());
        }
        let lineages = self.lineages();
        let looks = self.batch % LOOKS == 0;
        let report =
            self.chains.finish(problem, &frame, self.level, &lineages, looks, &mut self.fresh)?;
        self.moves = Some(tune(tuned, &report, problem.dim()));
        let adapts = self.settings.adapt_length;
        let correlation = self.memory.learn(&report, self.doomed.len(), adapts);
        self.watch(&report)?;
        self.take_in();
        let counts = report.counts;
        let tries = counts.tries as f64 / counts.moves.max(1) as f64;
        self.note([report.moved, tries, correlation, moves.n_moves()]);
        Ok(())
    }

    /// Gives up where chains get stuck batch after batch.
    fn watch(&mut self, report: &Report) -> Result<()> {
        self.n_stuck += report.counts.stuck;
        let many = 100 * report.counts.stuck > self.doomed.len() as u64;
        self.stuck_batches = if many { self.stuck_batches + 1 } else { 0 };
        if self.stuck_batches < STUCK {
            return Ok(());
        }
        Err(Error::Numerical(format!(
            "chains got stuck in {STUCK} batches one after the other, at the level {} of the \
             log-likelihood: the region is narrower than doubles resolve, or has no volume; raise \
             dlogz, or rescale the parameters",
            self.level
        )))
    }

    fn lineages(&self) -> Vec<u64> {
        let opening = self.live.is_empty();
        let lineage = |&slot: &u64| if opening { slot } else { self.live.lineage[slot as usize] };
        self.doomed.iter().map(lineage).collect()
    }

    /// Puts the new points into their slots.
    fn take_in(&mut self) {
        let mut ties = Stream::new(self.settings.key, Domain::Nested, TIES, self.batch);
        if self.live.is_empty() {
            for i in 0..self.fresh.len() {
                self.live.push_from(&self.fresh, i);
            }
            self.sort();
        } else {
            let old: Vec<f64> = self.order.iter().map(|&i| self.live.ell[i as usize]).collect();
            self.ranks.observe(&old, &self.fresh.ell, &mut ties);
            for (j, &slot) in self.doomed.iter().enumerate() {
                self.live.replace(slot as usize, &self.fresh, j);
            }
            self.merge();
        }
        self.batch += 1;
        self.phase = Phase::Between;
    }

    /// Brings the refilled slots into the order.
    fn merge(&mut self) {
        let ell = &self.live.ell;
        let mut new = std::mem::take(&mut self.doomed);
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

    fn note(&mut self, of_chains: [f64; 4]) {
        let trace = &mut self.trace;
        trace.log_x.push(self.running.log_x());
        trace.log_evidence.push(self.running.log_evidence());
        trace.level.push(self.level);
        trace.efficiency.push(self.fresh.len() as f64 / self.batch_evals.max(1) as f64);
        let bound = self.modes.as_ref().unwrap_or(&self.rejection.bound);
        trace.n_parts.push(bound.n_parts() as f64);
        let [moved, tries, correlation, n_moves] = of_chains;
        trace.moved.push(moved);
        trace.tries.push(tries);
        trace.correlation.push(correlation);
        trace.n_moves.push(n_moves);
    }

    /// All points, in the order in which they die: the live ones last.
    pub fn points(&self) -> Points {
        let mut all = self.dead.clone();
        self.order.iter().for_each(|&slot| all.push_from(&self.live, slot as usize));
        all
    }

    /// The evidence that the dead points have gathered.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The evidence by all points that were evaluated, where the run keeps them.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn importance(&self, context: &Context<'_>) -> Result<Option<Importance>> {
        let book = self.rejection.book.as_ref();
        book.map(|book| book.evidence(self.settings.key, context)).transpose()
    }

    /// The test of the ranks of new points.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// What the batches told.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// How the run stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Evaluations of the likelihood.
    pub fn n_evals(&self) -> u64 {
        self.n_evals
    }

    /// Points so far, dead and alive.
    pub fn n_points(&self) -> usize {
        self.dead.len() + self.order.len()
    }

    /// The factor by which the newest bound was enlarged along its axes.
    pub fn radius_scale(&self) -> f64 {
        self.rejection.bound.radius_scale()
    }

    /// Batches so far.
    pub fn n_batches(&self) -> u64 {
        u64::from(self.batch - self.settings.first_batch)
    }

    /// Chains that got stuck and started anew.
    pub fn n_stuck(&self) -> u64 {
        self.n_stuck
    }

    /// Points above the level that wait for a batch that needs them.
    pub fn n_waiting(&self) -> usize {
        self.rejection.n_waiting()
    }

    /// By how much the log-evidence can still grow.
    pub fn remaining(&self) -> f64 {
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        self.running.remaining(best)
    }

    /// Writes or reads everything that changes.
    pub fn persist(&mut self, problem: &Problem, archive: &mut Archive) -> Result<()> {
        self.live.persist(archive)?;
        archive.words(&mut self.order)?;
        self.dead.persist(archive)?;
        self.running.persist(archive)?;
        self.ranks.persist(archive)?;
        archive.choice(&mut self.status, &STATUSES)?;
        archive.choice(&mut self.phase, &PHASES)?;
        for count in [&mut self.batch, &mut self.stuck_batches] {
            let mut word = u64::from(*count);
            archive.word(&mut word)?;
            *count = word as u32;
        }
        for count in [
            &mut self.blocks,
            &mut self.batch_evals,
            &mut self.last_evals,
            &mut self.dear_evals,
            &mut self.n_evals,
            &mut self.n_stuck,
        ] {
            archive.word(count)?;
        }
        archive.flag(&mut self.chaining)?;
        archive.number(&mut self.level)?;
        archive.number(&mut self.modes_at)?;
        archive.words(&mut self.doomed)?;
        self.fresh.persist(archive)?;
        self.rejection.persist(archive)?;
        if let Some(moves) = &mut self.moves {
            archive.number(moves.scale())?;
        }
        self.memory.persist(archive)?;
        let mut modal = self.modes.is_some();
        archive.flag(&mut modal)?;
        if modal {
            let dim = self.circles.len();
            self.modes.get_or_insert_with(|| Bound::cube(dim)).persist(archive)?;
        }
        for list in self.trace.lists() {
            archive.list(list)?;
        }
        if self.phase == Phase::Chaining {
            if archive.is_reading() {
                let survivors = self.survivors();
                self.frame = Some(self.frame_of(&survivors));
            }
            self.chains.persist(archive, self.frame.as_ref(), problem.n_extras())?;
        }
        Ok(())
    }
}

impl Trace {
    fn lists(&mut self) -> [&mut Vec<f64>; 9] {
        [
            &mut self.log_x,
            &mut self.log_evidence,
            &mut self.level,
            &mut self.efficiency,
            &mut self.n_parts,
            &mut self.moved,
            &mut self.tries,
            &mut self.correlation,
            &mut self.n_moves,
        ]
    }
}
