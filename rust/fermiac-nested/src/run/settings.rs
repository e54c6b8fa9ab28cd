//! The settings of a run.

use crate::bound::BoundKind;
use crate::chains::{Direction, Moves};
use fermiac_base::{Error, Result};

/// The algorithm that draws points above a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Rejection from a bound until chains of slices are cheaper, then slices.
    Auto {
        /// Whether rejection is used at first.
        rejection: bool,
        /// The number of slices of a chain.
        n_slices: u32,
    },
    /// Rejection from a bound.
    Rejection,
    /// Chains of slices.
    Slice {
        /// The number of slices of a chain.
        n_slices: u32,
        /// The directions of slices.
        direction: Direction,
        /// Whether brackets step out.
        step_out: bool,
    },
    /// Random walks.
    Walk {
        /// The number of steps of a walk.
        n_steps: u32,
    },
    /// Galilean trajectories, which the gradient reflects.
    Galilean {
        /// The number of steps of a trajectory.
        n_steps: u32,
        /// The step length in whitened coordinates; tuned if not given.
        step: Option<f64>,
    },
}

/// The initial width of brackets: about the chord of a ball in whitened coordinates.
pub(super) fn initial_width(dim: usize) -> f64 {
    2.0 * ((dim + 2) as f64).sqrt() / (dim as f64).sqrt()
}

impl Sampler {
    /// The initial moves of chains; `None` for rejection.
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

    /// Whether rejection draws from a fitted bound.
    pub(super) fn has_bound(&self) -> bool {
        match *self {
            Self::Rejection => true,
            Self::Auto { rejection, .. } => rejection,
            Self::Slice { .. } | Self::Walk { .. } | Self::Galilean { .. } => false,
        }
    }

    /// The approximate number of evaluations for a point from a chain.
    pub(super) fn cost(&self) -> f64 {
        match *self {
            Self::Rejection => f64::INFINITY,
            Self::Auto { n_slices, .. } | Self::Slice { n_slices, step_out: false, .. } => {
                2.0 * f64::from(n_slices)
            }
            Self::Slice { n_slices, .. } => 4.5 * f64::from(n_slices),
            Self::Walk { n_steps } => f64::from(n_steps),
            // One step in three meets the boundary and needs a second evaluation.
            Self::Galilean { n_steps, .. } => 1.35 * f64::from(n_steps),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not one state")]
pub struct Settings {
    /// The number of live points.
    pub n_live: usize,
    /// The number of points replaced at a time, at most half of the live ones.
    pub batch: usize,
    /// The algorithm that draws new points.
    pub sampler: Sampler,
    /// Whether chains whose ends correlate with their starts are lengthened.
    pub adapt_length: bool,
    /// The bound from which rejection draws, and from which chains take the modes.
    pub bound: BoundKind,
    /// The number of bootstrap rounds of a bound for rejection.
    pub bootstrap: usize,
    /// The factor on the volume of a bound.
    pub enlarge: f64,
    /// Whether points just outside of the bounds of rejection are evaluated, to see what they cut off.
    pub probed: bool,
    /// Whether rejection keeps all points and bounds, for a second estimate of the evidence.
    pub importance: bool,
    /// Whether a run without them ends with independent points from a density fitted to the posterior,
    /// for that estimate.
    pub proposals: bool,
    /// The run ends when the live points can raise log Z by no more than this.
    pub dlogz: f64,
    /// It ends when the worst live point lies above this level; +inf for no such limit.
    pub high: f64,
    /// It ends when the log-likelihoods of the live points differ by less than this.
    pub ell_tol: f64,
    /// It ends after this number of evaluations.
    pub max_evals: u64,
    /// The largest number of batches.
    pub max_iter: u64,
    /// The largest number of blocks of prior draws to find `n_live` points with likelihood above 0.
    pub max_init_blocks: u64,
    /// The key of the streams.
    pub key: u64,
    /// The number of the first batch, so that parts of one run do not share streams.
    pub first_batch: u32,
}

impl Settings {
    /// Checks the settings for a dimension.
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
