//! The state of a run: its opening, phase and status, its trace, its views, and its codec.

use super::Run;
use crate::bound::Bound;
use crate::importance::Importance;
use crate::points::Points;
use crate::problem::Problem;
use crate::{OnlineEvidence, Ranks};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;

/// The start of a run: draws from the whole prior, or points above a level.
#[derive(Debug, Clone)]
pub enum Opening {
    /// Draws from the whole prior.
    Prior,
    /// New points above a level, by chains or a bound from points above it.
    Above {
        /// Points that are uniform above the level.
        seeds: Box<Points>,
        /// The level.
        level: f64,
        /// The logarithm of the prior mass above it.
        log_x: f64,
        /// The log-evidence below it.
        log_evidence: f64,
    },
}

/// Whether a run has ended, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has not ended.
    Running,
    /// The remaining evidence is small enough.
    Converged,
    /// All live points have the same log-likelihood, or nearly.
    Plateau,
    /// All live points are above the upper level.
    Passed,
    /// The limit of evaluations was reached.
    Evals,
    /// The limit of batches was reached.
    Batches,
}

/// Larger counts are no counts of evaluations.
const MOST: u64 = 1 << 62;

pub(super) const STATUSES: [Status; 6] = [
    Status::Running,
    Status::Converged,
    Status::Plateau,
    Status::Passed,
    Status::Evals,
    Status::Batches,
];

/// The phase of a run between calls of the likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Between,
    Starting,
    Rejecting,
    Chaining,
    Finishing,
}

pub(super) const PHASES: [Phase; 6] = [
    Phase::Opening,
    Phase::Between,
    Phase::Starting,
    Phase::Rejecting,
    Phase::Chaining,
    Phase::Finishing,
];

/// The trace of a run: one list for each figure, with an entry for each batch.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// log X at the end of the batch.
    pub log_x: Vec<f64>,
    /// The log-evidence of the dead points.
    pub log_evidence: Vec<f64>,
    /// The level.
    pub level: Vec<f64>,
    /// New points per evaluation.
    pub efficiency: Vec<f64>,
    /// The number of parts of the bound.
    pub n_parts: Vec<f64>,
    /// The share of chains that ended away from their starts; NaN for rejection.
    pub moved: Vec<f64>,
    /// Tries per move of chains; NaN for rejection.
    pub tries: Vec<f64>,
    /// The correlation of the ends of chains with their starts; NaN for rejection.
    pub correlation: Vec<f64>,
    /// The number of moves of a chain; NaN for rejection.
    pub n_moves: Vec<f64>,
    /// The number of points just outside of the bound that were evaluated.
    pub probes: Vec<f64>,
    /// How many of them lie above the level.
    pub missed: Vec<f64>,
    /// How many would if as much of the level set lay outside of the bound as inside.
    pub expected: Vec<f64>,
}

impl Trace {
    pub(super) fn lists(&mut self) -> [&mut Vec<f64>; 12] {
        let Self { log_x, log_evidence, level, efficiency, n_parts, .. } = self;
        let Self { moved, tries, correlation, n_moves, probes, missed, expected, .. } = self;
        [
            log_x,
            log_evidence,
            level,
            efficiency,
            n_parts,
            moved,
            tries,
            correlation,
            n_moves,
            probes,
            missed,
            expected,
        ]
    }
}

impl Run {
    /// All points in the order of their deaths, the live ones last.
    pub fn points(&self) -> Points {
        let mut all = self.dead.clone();
        self.order.iter().for_each(|&slot| all.push_from(&self.live, slot as usize));
        all
    }

    /// The evidence of the dead points.
    pub fn evidence(&self) -> &OnlineEvidence {
        &self.evidence
    }

    /// The evidence from all points of bounds if the run keeps them, else from independent points of
    /// a fitted density if it has them.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn importance(&self, context: &Context<'_>) -> Result<Option<Importance>> {
        match (&self.rejection.record, &self.finish) {
            (Some(record), _) => record.evidence(self.settings.key, context).map(Some),
            (None, Some(finish)) => Ok(finish.evidence()),
            (None, None) => Ok(None),
        }
    }

    /// The test of the ranks of new points.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The trace of the batches.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The status of the run.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of log-likelihood evaluations.
    pub fn n_evals(&self) -> u64 {
        self.n_evals
    }

    /// The number of points so far, dead and alive.
    pub fn n_points(&self) -> usize {
        self.dead.len() + self.order.len()
    }

    /// The mean factor by which the bootstrap stretched the axes of bounds.
    pub fn radius_scale(&self) -> f64 {
        self.rejection.radius_scale()
    }

    /// The number of batches so far.
    pub fn n_batches(&self) -> u64 {
        u64::from(self.batch - self.settings.first_batch)
    }

    /// The number of chains that got stuck and restarted.
    pub fn n_stuck(&self) -> u64 {
        self.n_stuck
    }

    /// The largest possible growth of the log-evidence.
    pub fn remaining(&self) -> f64 {
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        self.evidence.remaining(best)
    }

    /// Writes or reads everything that changes during a run.
    pub fn persist(&mut self, problem: &Problem, codec: &mut Codec) -> Result<()> {
        self.live.persist(codec)?;
        codec.words(&mut self.order)?;
        self.dead.persist(codec)?;
        self.evidence.persist(codec)?;
        self.ranks.persist(codec)?;
        codec.choice(&mut self.status, &STATUSES)?;
        codec.choice(&mut self.phase, &PHASES)?;
        codec.short(&mut self.batch)?;
        codec.short(&mut self.stuck_batches)?;
        let Self { blocks, batch_evals, last_evals, excess_evals, n_evals, n_stuck, .. } = self;
        let counts = [blocks, batch_evals, last_evals, excess_evals, n_evals, n_stuck];
        for count in counts {
            codec.word(count)?;
            codec.require(*count < MOST)?;
        }
        codec.flag(&mut self.chaining)?;
        codec.number(&mut self.level)?;
        codec.number(&mut self.modes_at)?;
        codec.words(&mut self.vacant)?;
        self.new_points.persist(codec)?;
        self.rejection.persist(codec)?;
        if !self.settings.importance {
            self.rejection.record = None;
        }
        if let Some(moves) = &mut self.moves {
            codec.number(moves.scale())?;
            codec.require(*moves.scale() > 0.0 && moves.scale().is_finite())?;
        }
        self.correlation.persist(codec)?;
        let mut modal = self.modes.is_some();
        codec.flag(&mut modal)?;
        if modal {
            let dim = self.circles.len();
            self.modes.get_or_insert_with(|| Bound::cube(dim)).persist(codec)?;
        }
        for list in self.trace.lists() {
            codec.list(list)?;
        }
        self.persist_finish(codec)?;
        if codec.is_reading() {
            codec.require(self.holds_together())?;
        }
        if self.phase == Phase::Chaining {
            if codec.is_reading() {
                let survivors = self.survivors();
                self.geometry = Some(self.geometry_of(&survivors));
            }
            self.chains.persist(codec, self.geometry.as_ref(), problem.n_extras())?;
            codec.require(self.chains.are_above(self.level, self.vacant.len()))?;
        }
        Ok(())
    }

    /// Whether slots are those of points, points are in their order, and the phase has what it needs.
    fn holds_together(&mut self) -> bool {
        let n = self.live.len();
        let mut free = vec![true; n];
        let mut take = |slot: &u64| {
            let place = usize::try_from(*slot).ok().and_then(|slot| free.get_mut(slot));
            place.is_some_and(|place| std::mem::replace(place, false))
        };
        let opening = n == 0;
        let is_new = |(i, slot): (usize, &u64)| *slot == i as u64;
        let slots = self.order.iter().all(&mut take)
            && if opening {
                self.vacant.iter().enumerate().all(is_new)
                    && self.vacant.len() <= self.settings.n_live
            } else {
                self.vacant.iter().all(&mut take)
            };
        let from_seeds = opening && matches!(self.opening, Opening::Above { .. });
        let phase = match self.phase {
            Phase::Opening => self.order.is_empty() && self.vacant.is_empty(),
            Phase::Between => !self.order.is_empty(),
            Phase::Finishing => self.finish.is_some() && !self.order.is_empty(),
            Phase::Starting | Phase::Rejecting => from_seeds || !self.order.is_empty(),
            Phase::Chaining => self.moves.is_some() && (from_seeds || !self.order.is_empty()),
        };
        let refills = !matches!(self.phase, Phase::Opening | Phase::Between | Phase::Finishing);
        let above = !refills
            || self.new_points.len() <= self.vacant.len()
                && self.new_points.ell.iter().all(|ell| *ell > self.level);
        let n_batches = self.trace.log_x.len();
        let trace = self.trace.lists().iter().all(|list| list.len() == n_batches);
        let numbers = self.batch >= self.settings.first_batch && !self.level.is_nan();
        // `vacant` slots hold points that have died.
        slots && phase && above && trace && numbers && {
            let points = self.points();
            self.phase == Phase::Opening || points.ell.is_sorted()
        }
    }
}
