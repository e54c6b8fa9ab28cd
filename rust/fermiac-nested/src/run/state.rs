//! The state of a run: its start, its progress, its end, and its report.

use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;

use super::Run;
use crate::bound::Bound;
use crate::importance::Importance;
use crate::points::Points;
use crate::problem::Problem;
use crate::{OnlineEvidence, Ranks};

/// Where a run begins: with draws from the whole prior, or above a level.
#[derive(Debug, Clone)]
pub enum Opening {
    /// With draws from the whole prior.
    Prior,
    /// With points above a level, found from points that lie above it.
    Above {
        /// Points uniform above the level.
        seeds: Box<Points>,
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

pub(super) const STATUSES: [Status; 6] = [
    Status::Running,
    Status::Converged,
    Status::Plateau,
    Status::Passed,
    Status::Evals,
    Status::Batches,
];

/// Whether a run waits for a batch to begin, or is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Between,
    Starting,
    Rejecting,
    Chaining,
}

pub(super) const PHASES: [Phase; 5] =
    [Phase::Opening, Phase::Between, Phase::Starting, Phase::Rejecting, Phase::Chaining];

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

impl Trace {
    pub(super) fn lists(&mut self) -> [&mut Vec<f64>; 9] {
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

impl Run {
    /// All points, in the order in which they die: the live ones last.
    pub fn points(&self) -> Points {
        let mut all = self.dead.clone();
        self.order.iter().for_each(|&slot| all.push_from(&self.live, slot as usize));
        all
    }

    /// The evidence that the dead points have gathered.
    pub fn evidence(&self) -> &OnlineEvidence {
        &self.evidence
    }

    /// The evidence by all points that were evaluated, where the run keeps them.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn importance(&self, context: &Context<'_>) -> Result<Option<Importance>> {
        let record = self.rejection.record.as_ref();
        record.map(|record| record.evidence(self.settings.key, context)).transpose()
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

    /// The factor by which the bounds were stretched along their axes, on average.
    pub fn radius_scale(&self) -> f64 {
        self.rejection.radius_scale()
    }

    /// Batches so far.
    pub fn n_batches(&self) -> u64 {
        u64::from(self.batch - self.settings.first_batch)
    }

    /// Chains that got stuck and started anew.
    pub fn n_stuck(&self) -> u64 {
        self.n_stuck
    }

    /// By how much the log-evidence can still grow.
    pub fn remaining(&self) -> f64 {
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        self.evidence.remaining(best)
    }

    /// Writes or reads everything that changes.
    pub fn persist(&mut self, problem: &Problem, codec: &mut Codec) -> Result<()> {
        self.live.persist(codec)?;
        codec.words(&mut self.order)?;
        self.dead.persist(codec)?;
        self.evidence.persist(codec)?;
        self.ranks.persist(codec)?;
        codec.choice(&mut self.status, &STATUSES)?;
        codec.choice(&mut self.phase, &PHASES)?;
        for count in [&mut self.batch, &mut self.stuck_batches] {
            let mut word = u64::from(*count);
            codec.word(&mut word)?;
            *count = word as u32;
        }
        for count in [
            &mut self.blocks,
            &mut self.batch_evals,
            &mut self.last_evals,
            &mut self.excess_evals,
            &mut self.n_evals,
            &mut self.n_stuck,
        ] {
            codec.word(count)?;
        }
        codec.flag(&mut self.chaining)?;
        codec.number(&mut self.level)?;
        codec.number(&mut self.modes_at)?;
        codec.words(&mut self.vacant)?;
        self.new_points.persist(codec)?;
        self.rejection.persist(codec)?;
        if let Some(moves) = &mut self.moves {
            codec.number(moves.scale())?;
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
        if self.phase == Phase::Chaining {
            if codec.is_reading() {
                let survivors = self.survivors();
                self.geometry = Some(self.geometry_of(&survivors));
            }
            self.chains.persist(codec, self.geometry.as_ref(), problem.n_extras())?;
        }
        Ok(())
    }
}
