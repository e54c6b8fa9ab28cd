//! Suspended kernels: transitions of Markov chains that request evaluations and never make them.
//!
//! A kernel is the state machine of one chain. [`Kernel::advance`] runs to the next point at which
//! it needs a value and returns a [`Request`]. The driver finds the points in
//! [`Kernel::eval_buffer`], writes the answer beside them, and calls `advance` again. So one text
//! serves both a target that is evaluated on the spot and one for which the points of all chains
//! are gathered into a batch; a composition forwards the requests of its parts; and a chain can be
//! stopped, saved and moved at any request.

mod averaging;
mod core;
mod fisher_metric;
mod metric;
mod step_trials;
mod tuning;
mod window;

pub use averaging::{DualAveraging, EnergyErrors, RobbinsMonro};
pub(crate) use core::{KernelCore, Stage, Transition};
pub use metric::Metric;
pub use step_trials::StepTrials;
pub(crate) use tuning::SEARCHES;
pub use tuning::{MetricKind, Scale, StepSize};
pub use window::Window;

use crate::chees::{Learner, Trajectory};
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::Conditional;
use std::sync::Arc;

/// The kind of values that a kernel requests at the points of its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The values: one number per point of a density, several of a table.
    Value,
    /// The values and the gradients of a density.
    Gradient,
    /// An exact draw from a conditional law, by the chain's own stream.
    Draw,
}

impl RequestKind {
    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.choice(self, &[Self::Value, Self::Gradient, Self::Draw])
    }
}

/// A request for an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The position of the oracle in the driver's list; 0 is the target.
    pub oracle: usize,
    /// The kind of the request.
    pub kind: RequestKind,
}

impl Request {
    /// A request to the target.
    pub const fn target(kind: RequestKind) -> Self {
        Self { oracle: 0, kind }
    }
}

/// The outcome of a call of [`Kernel::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The kernel waits for an evaluation.
    Request(Request),
    /// A transition has ended.
    Done,
    /// It has worked for a while without a request, and continues when it is called again.
    Pause,
}

/// The points of a request, and the room for its answer: one row of `values` (and of `gradients`,
/// where they are requested) per point. A point without density gets the value -inf.
pub struct EvalBuffer<'a> {
    /// The points, row by row.
    pub points: &'a [f64],
    /// The room for values.
    pub values: &'a mut [f64],
    /// The room for gradients; empty where none are requested.
    pub gradients: &'a mut [f64],
}

/// The current point of a chain.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// The coordinates.
    pub x: &'a [f64],
    /// The log-density of the target; NaN where the kernel never learns it.
    pub log_density: f64,
    /// The gradient; empty where the kernel does not know it.
    pub gradient: &'a [f64],
}

/// A phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Warm-up that adapts the step size alone.
    AdaptStep,
    /// Warm-up that also collects the moments of the draws for the metric.
    AdaptMetric,
    /// Sampling with fixed parameters.
    Sample,
}

impl Phase {
    /// Writes or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.choice(self, &[Self::AdaptStep, Self::AdaptMetric, Self::Sample])
    }
}

/// One chain of a Markov kernel, suspended between requests.
///
/// Everything that changes is plain data that [`Kernel::persist`] names once, and all randomness
/// comes from the stream given to `advance`, so the chain does not depend on its driver.
pub trait Kernel: Duplicate + Send {
    /// The number of coordinates of a point.
    fn dim(&self) -> usize;

    /// The number of points that it moves at a time: the walkers of an ensemble.
    fn n_points(&self) -> usize {
        1
    }

    /// Whether it requests gradients of the target.
    fn needs_gradient(&self) -> bool {
        false
    }

    /// Whether its draws have a bias of the discretisation.
    fn is_biased(&self) -> bool {
        false
    }

    /// The first request to the target at a point of which nothing is known; `None` for a kernel
    /// that starts without one.
    fn opening(&self) -> Option<RequestKind> {
        Some(if self.needs_gradient() { RequestKind::Gradient } else { RequestKind::Value })
    }

    /// Moves to a start (`n_points` rows) whose values are not known yet.
    fn begin(&mut self, x: &[f64]) {
        self.restart(x, f64::NAN, &[]);
    }

    /// Moves to a point of known value; `gradient` is empty where it is not known. The adapted
    /// parameters stay.
    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]);

    /// Runs to the next request or to the end of a transition. Called after `Done`, it starts the
    /// next transition.
    fn advance(&mut self, stream: &mut Stream) -> Result<Step>;

    /// The buffer of the last request, to be filled before `advance` is called again.
    fn eval_buffer(&mut self) -> EvalBuffer<'_>;

    /// The current point `i` of `n_points`, after a transition.
    fn point(&self, i: usize) -> Point<'_>;

    /// Starts a phase, at a barrier between transitions.
    fn enter(&mut self, _phase: Phase) {}

    /// Visits everything that chains may share at a barrier, always in the same order.
    fn visit_scales(&mut self, _visit: &mut dyn FnMut(&mut Scale)) {}

    /// Visits every step size, always in the same order.
    fn visit_steps(&mut self, _visit: &mut dyn FnMut(&mut StepSize)) {}

    /// Follows a metric that was changed at a barrier.
    fn rescaled(&mut self) {}

    /// The learner of the sizes that all chains share from transition to transition of the warm-up;
    /// `None` for chains that meet only between windows.
    fn learner(&self) -> Option<Learner> {
        None
    }

    /// The last trajectory, for the learner.
    fn trajectory(&self) -> Option<Trajectory<'_>> {
        None
    }

    /// The law from which a kernel of one exact draw takes its coordinates, given a whole point.
    fn law(&self) -> Option<&Arc<dyn Conditional>> {
        None
    }

    /// The names of the statistics of a transition.
    fn stat_names(&self) -> Vec<String>;

    /// Writes the statistics of the last transition, one number per name.
    fn write_stats(&self, out: &mut [f64]);

    /// Writes or reads everything that changes.
    fn persist(&mut self, codec: &mut Codec) -> Result<()>;
}

/// Copies of kernels of unknown type; every kernel that is `Clone` has it.
pub trait Duplicate {
    /// A copy in the same state.
    fn duplicate(&self) -> Box<dyn Kernel>;
}

impl<K: Kernel + Clone + 'static> Duplicate for K {
    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

/// The error for a start without density.
pub fn bad_start(x: &[f64]) -> Error {
    Error::target(format!(
        "the density is 0, or its gradient is not finite, at the start x = {}; give `init` points \
         inside the support",
        fermiac_target::density::show(x)
    ))
}
