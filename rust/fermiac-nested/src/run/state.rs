//! The state of a run: its start, its progress, its end, and its report.

use crate::points::Points;

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
