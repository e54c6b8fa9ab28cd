//! The parts that all kernels with one point, one metric and one step size share. Such a kernel
//! implements only its transition.

use super::{
    EvalBuffer, Kernel, Metric, Phase, Point, Request, RequestKind, Scale, Step, StepSize,
    bad_start,
};
use crate::chees::{Learner, Trajectory};
use crate::phase_point::{DIVERGENT, PhasePoint};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// The position of a kernel between two calls of `advance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The density at the current point is unknown.
    Unknown,
    /// The density at the current point is requested.
    Arriving,
    /// Between transitions.
    Idle,
    /// The end of a trial step is requested, to find a first step size.
    Trial,
    /// A point within the transition is requested.
    Moving,
}

impl Stage {
    pub(crate) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let all = [Self::Unknown, Self::Arriving, Self::Idle, Self::Trial, Self::Moving];
        codec.choice(self, &all)
    }
}

/// The current point, the point whose density is requested, and the adapted parameters.
#[derive(Debug, Clone)]
pub(crate) struct KernelCore {
    pub(crate) current: PhasePoint,
    pub(crate) next: PhasePoint,
    pub(crate) scale: Scale,
    pub(crate) step: StepSize,
    pub(crate) stage: Stage,
    kind: RequestKind,
}

impl KernelCore {
    /// A core whose requests are all of one kind.
    pub(crate) fn new(kind: RequestKind, step: StepSize, scale: Scale) -> Self {
        let point = PhasePoint::new(scale.window().dim(), kind == RequestKind::Gradient);
        Self { current: point.clone(), next: point, scale, step, stage: Stage::Unknown, kind }
    }

    pub(crate) fn metric(&self) -> &Metric {
        self.scale.metric()
    }

    /// Requests the density at the next point.
    pub(crate) fn request(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        Step::Request(Request::target(self.kind))
    }

    /// Starts a path from the current point; the gradient of the next point stays unknown.
    pub(crate) fn start_path(&mut self) {
        self.next.x.copy_from_slice(&self.current.x);
        self.next.log_density = self.current.log_density;
        self.next.force.copy_from_slice(&self.current.force);
    }

    /// Moves to the next point.
    pub(crate) fn accept(&mut self) {
        std::mem::swap(&mut self.current, &mut self.next);
    }

    /// Moves to the next point by a Metropolis ratio or, without a correction, unless the error is
    /// divergent. Returns whether it has moved.
    pub(crate) fn decide(&mut self, log_ratio: f64, corrected: bool, stream: &mut Stream) -> bool {
        // -ln u of a uniform u is exponential.
        let accepted =
            if corrected { -stream.exponential() < log_ratio } else { -log_ratio <= DIVERGENT };
        if accepted {
            self.accept();
        }
        accepted
    }

    /// Ends a transition. The step size follows `accept`, an acceptance probability or another
    /// signal.
    pub(crate) fn finish(&mut self, accept: f64) -> Step {
        self.step.observe(accept);
        self.scale.observe(&self.current.x, &self.current.gradient);
        self.stage = Stage::Idle;
        Step::Done
    }

    fn update_force(&mut self) {
        if self.stage == Stage::Idle && self.kind == RequestKind::Gradient {
            self.current.update_force(self.scale.metric());
        }
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.current.persist(codec)?;
        codec.require(self.current.is_possible())?;
        self.next.persist(codec)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        self.stage.persist(codec)
    }
}

/// The transition of a kernel that moves one point. A type with a [`KernelCore`] and a transition is
/// a [`Kernel`].
pub(crate) trait Transition: Clone + Send + 'static {
    /// The names of its statistics.
    const STATS: &'static [&'static str];

    fn core(&self) -> &KernelCore;

    fn core_mut(&mut self) -> &mut KernelCore;

    /// Whether its draws have a bias of the discretisation.
    fn has_bias(&self) -> bool {
        false
    }

    /// Forgets the momentum at the start of another chain.
    fn forget_momentum(&mut self) {}

    /// Starts a transition from the current point, and runs to its first request.
    fn start(&mut self, stream: &mut Stream) -> Step;

    /// Continues after the answer to a request.
    fn resume(&mut self, stream: &mut Stream) -> Step;

    /// Called at the start of a phase.
    fn on_phase(&mut self, _phase: Phase) {}

    /// Called after a change of the metric, before the step size follows it.
    fn on_metric(&mut self) {}

    /// Visits the step sizes beside that of the core.
    fn visit_more_steps(&mut self, _visit: &mut dyn FnMut(&mut StepSize)) {}

    /// The learner of the sizes that all chains share from transition to transition.
    fn shared_learner(&self) -> Option<Learner> {
        None
    }

    /// The last trajectory, for the learner.
    fn last_trajectory(&self) -> Option<Trajectory<'_>> {
        None
    }

    /// Writes its statistics.
    fn write(&self, out: &mut [f64]);

    /// Writes or reads its fields beside the core.
    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()>;
}

impl<T: Transition> Kernel for T {
    fn dim(&self) -> usize {
        self.core().current.x.len()
    }

    fn needs_gradient(&self) -> bool {
        self.core().kind == RequestKind::Gradient
    }

    fn is_biased(&self) -> bool {
        self.has_bias()
    }

    fn begin(&mut self, x: &[f64]) {
        self.forget_momentum();
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        let core = self.core_mut();
        let known = core.current.set(x, log_density, gradient);
        core.stage = if known { Stage::Idle } else { Stage::Unknown };
        core.update_force();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        let core = self.core_mut();
        match core.stage {
            Stage::Unknown => {
                core.next.x.copy_from_slice(&core.current.x);
                Ok(core.request(Stage::Arriving))
            }
            Stage::Arriving => {
                if core.next.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&core.next.x));
                }
                core.accept();
                core.stage = Stage::Idle;
                core.update_force();
                Ok(self.start(stream))
            }
            Stage::Idle => Ok(self.start(stream)),
            Stage::Trial | Stage::Moving => Ok(self.resume(stream)),
        }
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        self.core_mut().next.eval_buffer()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.core().current.point()
    }

    fn enter(&mut self, phase: Phase) {
        let core = self.core_mut();
        core.scale.enter(phase);
        core.step.enter(phase);
        self.on_phase(phase);
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.core_mut().scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.core_mut().step);
        self.visit_more_steps(visit);
    }

    fn rescaled(&mut self) {
        self.on_metric();
        let core = self.core_mut();
        core.step.rescaled();
        core.update_force();
    }

    fn learner(&self) -> Option<Learner> {
        self.shared_learner()
    }

    fn trajectory(&self) -> Option<Trajectory<'_>> {
        self.last_trajectory()
    }

    fn stat_names(&self) -> Vec<String> {
        T::STATS.iter().map(ToString::to_string).collect()
    }

    fn write_stats(&self, out: &mut [f64]) {
        self.write(out);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.core_mut().persist(codec)?;
        self.persist_rest(codec)
    }
}
