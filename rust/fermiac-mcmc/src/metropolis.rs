//! Metropolis kernels: one state machine for every proposal of a single point.

use crate::kernel::{KernelCore, Metric, RequestKind, Scale, Stage, Step, StepSize, Transition};
use crate::phase_point::{PhasePoint, acceptance};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// A law of proposals. [`Metropolized`] makes a kernel of it.
///
/// A proposal moves in the coordinates z of x = L z, in which the metric has made the target about
/// round, and by a step size that the warm-up adapts to an acceptance rate.
pub trait Proposal: Clone + Send + 'static {
    /// Whether it uses the force at both points.
    const USES_GRADIENT: bool;

    /// Writes a proposal from `from` to `to`. All randomness comes from the stream.
    fn propose(
        &mut self,
        from: &PhasePoint,
        to: &mut [f64],
        metric: &Metric,
        step: f64,
        stream: &mut Stream,
    );

    /// Returns ln q(to, from) - ln q(from, to), where q(x, y) is the density of a proposal y from
    /// x; 0 for a symmetric law. `to` is the last proposal, with the force there.
    fn log_ratio(&mut self, _from: &PhasePoint, _to: &PhasePoint, _step: f64) -> f64 {
        0.0
    }

    /// Writes or reads the fields that `log_ratio` needs from `propose`.
    fn persist(&mut self, _codec: &mut Codec) -> Result<()> {
        Ok(())
    }
}

/// Proposals of one law, accepted or rejected by the Metropolis–Hastings ratio.
#[derive(Debug, Clone)]
pub struct Metropolized<P> {
    core: KernelCore,
    proposal: P,
    corrected: bool,
    accept: f64,
    accepted: bool,
}

impl<P: Proposal> Metropolized<P> {
    /// A kernel with a step size that stays or is adapted.
    pub fn new(proposal: P, step: StepSize, scale: Scale) -> Self {
        let kind = if P::USES_GRADIENT { RequestKind::Gradient } else { RequestKind::Value };
        let core = KernelCore::new(kind, step, scale);
        Self { core, proposal, corrected: true, accept: f64::NAN, accepted: false }
    }

    /// Accepts all proposals once the step size is adapted, except divergent ones: the draws then
    /// have a bias of the discretisation.
    #[must_use]
    pub fn uncorrected(self) -> Self {
        Self { corrected: false, ..self }
    }

    /// The logarithm of the Metropolis–Hastings ratio of the last proposal.
    fn log_ratio(&mut self) -> f64 {
        let KernelCore { current, next, scale, step, .. } = &mut self.core;
        if next.log_density == f64::NEG_INFINITY {
            return f64::NEG_INFINITY;
        }
        if P::USES_GRADIENT {
            next.update_force(scale.metric());
        }
        next.log_density - current.log_density + self.proposal.log_ratio(current, next, step.get())
    }
}

impl<P: Proposal> Transition for Metropolized<P> {
    const STATS: &'static [&'static str] = &["acceptance_rate", "accepted", "step_size"];

    fn core(&self) -> &KernelCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut KernelCore {
        &mut self.core
    }

    fn has_bias(&self) -> bool {
        !self.corrected
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        let KernelCore { current, next, scale, step, .. } = &mut self.core;
        self.proposal.propose(current, &mut next.x, scale.metric(), step.get(), stream);
        let stage = if step.is_rough() { Stage::Trial } else { Stage::Moving };
        self.core.request(stage)
    }

    fn resume(&mut self, stream: &mut Stream) -> Step {
        let log_ratio = self.log_ratio();
        self.accept = acceptance(log_ratio);
        if self.core.stage == Stage::Trial {
            self.core.step.search(self.accept);
            return self.start(stream);
        }
        let corrected = self.corrected || self.core.step.is_adapting();
        self.accepted = self.core.decide(log_ratio, corrected, stream);
        self.core.finish(self.accept)
    }

    fn write(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.accept, f64::from(self.accepted), self.core.step.get()]);
    }

    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()> {
        self.proposal.persist(codec)?;
        codec.number(&mut self.accept)?;
        codec.flag(&mut self.accepted)
    }
}
