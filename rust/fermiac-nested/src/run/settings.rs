//! The settings of a run.

use fermiac_base::{Error, Result};

use crate::bound::BoundKind;
use crate::chains::{Direction, Moves};

/// How points above a level are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// By rejection from a bound; chains of slices take over for good where they are cheaper.
    Auto {
        /// Whether rejection is tried at all.
        rejection: bool,
        /// Slices of a chain.
        n_slices: u32,
    },
    /// By rejection from a bound.
    Rejection,
    /// By chains of slices.
    Slice {
        /// Slices of a chain.
        n_slices: u32,
        /// Their directions.
        direction: Direction,
        /// Whether brackets step out.
        step_out: bool,
    },
    /// By random walks.
    Walk {
        /// Steps of a walk.
        n_steps: u32,
    },
    /// By flights that reflect by the gradient.
    Galilean {
        /// Steps of a flight.
        n_steps: u32,
        /// Their length where the survivors are whitened; tuned where it is not given.
        step: Option<f64>,
    },
}

/// The width of brackets at first: about the chord of the unit ball whose coordinates have variance
/// 1 when whitened.
pub(super) fn initial_width(dim: usize) -> f64 {
    2.0 * ((dim + 2) as f64).sqrt() / (dim as f64).sqrt()
}

impl Sampler {
    /// How chains of it move at first; `None` for rejection.
    pub(super) fn moves(&self, dim: usize) -> Option<Moves> {
        let width = initial_width(dim);
        match *self {
            Self::Rejection => None,
            Self::Auto { n_slices, .. } => Some(Moves::Slice {
                n_slices,
                direction: Direction::Mixture,
                width,
                step_out: false,
            }),
            Self::Slice { n_slices, direction, step_out } => {
                Some(Moves::Slice { n_slices, direction, width, step_out })
            }
            Self::Walk { n_steps } => Some(Moves::Walk { n_steps, scale: 1.0 }),
            Self::Galilean { n_steps, step } => {
                Some(Moves::Galilean { n_steps, step: step.unwrap_or(1.0), tuned: step.is_none() })
            }
        }
    }

    /// Whether rejection has a bound other than the cube.
    pub(super) fn has_bound(&self) -> bool {
        matches!(self, Self::Rejection | Self::Auto { rejection: true, .. })
    }

    /// Evaluations that a point takes by chains, about.
    pub(super) fn cost(&self) -> f64 {
        match *self {
            Self::Rejection => f64::INFINITY,
            Self::Auto { n_slices, .. } | Self::Slice { n_slices, step_out: false, .. } => {
                2.0 * f64::from(n_slices)
            }
            Self::Slice { n_slices, .. } => 4.5 * f64::from(n_slices),
            Self::Walk { n_steps } => f64::from(n_steps),
            // One step in three meets the boundary and asks again.
            Self::Galilean { n_steps, .. } => 1.35 * f64::from(n_steps),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Live points.
    pub n_live: usize,
    /// Points replaced at a time, at most half of the live ones.
    pub batch: usize,
    /// How new points are found.
    pub sampler: Sampler,
    /// Whether chains that remember their starts are made longer.
    pub adapt_length: bool,
    /// The bound that rejection draws from, and that tells chains of modes.
    pub bound: BoundKind,
    /// Bootstrap rounds of a bound for rejection.
    pub bootstrap: usize,
    /// The factor of the volume of a bound.
    pub enlarge: f64,
    /// Whether rejection keeps all points and bounds, for a second estimate of the evidence.
    pub importance: bool,
    /// The run ends when log Z can grow by no more than this.
    pub dlogz: f64,
    /// It ends when the worst live point lies above this level; +inf for a run to the top.
    pub high: f64,
    /// It ends when the log-likelihoods of the live points differ by less than this.
    pub ell_tol: f64,
    /// It ends after so many evaluations, or batches.
    pub max_evals: u64,
    /// Batches at most.
    pub max_iter: u64,
    /// Blocks of prior points that are drawn to find `n_live` with likelihood.
    pub max_init_blocks: u64,
    /// The key of its streams.
    pub key: u64,
    /// The number of its first batch, so that parts of one run do not share streams.
    pub first_batch: u32,
}

impl Settings {
    /// Refuses settings that no run can have.
    pub fn check(&self, dim: usize) -> Result<()> {
        let least = (2 * dim + 2).max(10);
        if self.n_live < least {
            let why = format!(
                "{} was given; {least} or more are needed in {dim} dimensions: 2 d + 2, and 10",
                self.n_live
            );
            return Err(Error::argument("n_live", why));
        }
        if self.batch == 0 || 2 * self.batch > self.n_live {
            let why = format!(
                "{} was given; from 1 to half of n_live = {} points can be replaced at a time",
                self.batch, self.n_live
            );
            return Err(Error::argument("batch", why));
        }
        Ok(())
    }
}
