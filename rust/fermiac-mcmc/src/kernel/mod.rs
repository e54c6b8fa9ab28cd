//! Suspended kernels: transitions of Markov chains that ask for evaluations and never make them.
//!
//! A kernel is one chain's state machine. [`Kernel::advance`] runs it to the next point where it
//! needs a value: it returns an [`Ask`], and the driver finds the points in [`Kernel::exchange`],
//! writes the answer beside them, and calls `advance` again. So one text serves a target that is
//! answered on the spot and one for which the points of all chains are gathered into a batch; a
//! composition forwards the asks of its parts; and a chain can be stopped, saved and moved at any
//! of them.

mod averaging;
mod balance;
mod metric;
mod tuning;
mod window;

pub use averaging::{DualAveraging, EnergyErrors, RobbinsMonro};
pub use metric::Metric;
pub use tuning::{MetricKind, Scale, StepSize};
pub use window::Window;

use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// What a kernel needs at the points of its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The values: one number a point of a density, several of a table.
    Value,
    /// The values and the gradients of a density.
    Gradient,
    /// A random answer from the chain's own stream: an exact draw of a conditional law.
    Draw,
}

/// A question: what is needed, and of whom. Port 0 is the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whom the question is for: a position in the driver's list.
    pub port: usize,
    /// What is needed.
    pub need: Need,
}

impl Ask {
    /// Of the target.
    pub const fn target(need: Need) -> Self {
        Self { port: 0, need }
    }
}

/// How far a kernel came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To a question.
    Ask(Ask),
    /// To the end of a transition.
    Done,
}

/// The points that an ask is about, and where its answer goes: one row of `values` (and of
/// `gradients`, where they are needed) a point. A point without density gets the value -inf.
pub struct Exchange<'a> {
    /// Points, row after row.
    pub points: &'a [f64],
    /// For the values.
    pub values: &'a mut [f64],
    /// For the gradients; empty where none is asked for.
    pub gradients: &'a mut [f64],
}

/// Where a chain stands.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// The point.
    pub x: &'a [f64],
    /// The target's value there; NaN where the kernel never learns it.
    pub log_density: f64,
    /// The gradient there; empty where the kernel does not know it.
    pub gradient: &'a [f64],
}

/// What a kernel does beside moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Warm-up: it adapts its step size alone.
    Settle,
    /// Warm-up: it collects the moments of its draws too.
    Learn,
    /// Its parameters stand still.
    Sample,
}

/// One chain of a Markov kernel, suspended between questions.
///
/// Everything that changes is plain data that [`Kernel::persist`] names once, and all randomness
/// comes from the stream that `advance` is given, so the chain does not depend on who drives it.
pub trait Kernel: Send {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Points that it moves at a time: the walkers of an ensemble.
    fn n_points(&self) -> usize {
        1
    }

    /// Whether it asks for gradients of the target.
    fn needs_gradient(&self) -> bool;

    /// Whether its draws follow the target up to a bias of the discretisation.
    fn is_biased(&self) -> bool {
        false
    }

    /// What it asks the target at a point of which nothing is known, before anything else; `None`
    /// where it goes on without.
    fn opening(&self) -> Option<Need> {
        Some(if self.needs_gradient() { Need::Gradient } else { Need::Value })
    }

    /// Goes to a start (`n_points` rows) whose values are not known yet.
    fn begin(&mut self, x: &[f64]);

    /// Goes to a point of known value; `gradient` is empty where it is not known. The parameters
    /// stay.
    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]);

    /// Runs to the next question or to the end of a transition. Called after `Done`, it starts the
    /// next transition.
    fn advance(&mut self, stream: &mut Stream) -> Result<Step>;

    /// The question that `advance` returned, to be answered before it is called again.
    fn exchange(&mut self) -> Exchange<'_>;

    /// Where it stands after a transition: point `i` of `n_points`.
    fn point(&self, i: usize) -> Point<'_>;

    /// Starts a phase; at a barrier between transitions.
    fn enter(&mut self, phase: Phase);

    /// Shows everything that chains may share at a barrier, always in the same order.
    fn visit_scales(&mut self, _visit: &mut dyn FnMut(&mut Scale)) {}

    /// Shows every step size, always in the same order.
    fn visit_steps(&mut self, _visit: &mut dyn FnMut(&mut StepSize)) {}

    /// Follows a metric that was changed at a barrier.
    fn rescaled(&mut self) {}

    /// The names of what it reports of a transition.
    fn stat_names(&self) -> Vec<String>;

    /// Reports the last transition, one number a name.
    fn write_stats(&self, out: &mut [f64]);

    /// Writes or reads everything that changes.
    fn persist(&mut self, codec: &mut Codec) -> Result<()>;

    /// A copy in the same state.
    fn duplicate(&self) -> Box<dyn Kernel>;
}

/// The error for a start without density.
pub fn bad_start(x: &[f64]) -> Error {
    Error::target(format!(
        "the density is 0, or its gradient is not finite, at the start x = {}; give `init` points \
         inside the support",
        fermiac_target::density::show(x)
    ))
}
