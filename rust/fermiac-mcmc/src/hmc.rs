//! Hamiltonian Monte Carlo with trajectories of given length.

use crate::kernel::{KernelCore, RequestKind, Scale, Stage, Step, StepSize, Transition};
use crate::leapfrog::{kinetic, land, leap};
use crate::phase_point::{DIVERGENT, PhasePoint, acceptance};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// The largest number of steps in a trajectory, however short they are.
pub(crate) const MOST_STEPS: f64 = 1024.0;

/// Leapfrog trajectories whose length does not depend on their path, accepted or rejected at their
/// ends.
///
/// # References
/// S. Duane, A. D. Kennedy, B. J. Pendleton, D. Roweth, "Hybrid Monte Carlo", Physics Letters B 195
/// (1987); R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
/// (2011).
#[derive(Debug, Clone)]
pub struct Hmc {
    core: KernelCore,
    /// The state before the next one of the trajectory, and the momenta of both.
    before: PhasePoint,
    momentum: Vec<f64>,
    pub(crate) next_momentum: Vec<f64>,
    pub(crate) length: Length,
    jitter: f64,
    /// The largest number of steps for a length in time.
    pub(crate) most_steps: f64,
    /// The step size of the current trajectory, its number of steps, and the steps made.
    pub(crate) size: f64,
    n_steps: usize,
    pub(crate) made: usize,
    pub(crate) stats: [f64; 7],
}

/// The length of a trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// A number of steps.
    Steps(usize),
    /// A time.
    Time(f64),
}

impl Hmc {
    /// A kernel with a step size that stays or is adapted. The step size, or the time, varies by
    /// the share `jitter` to both sides.
    pub fn new(step: StepSize, length: Length, jitter: f64, scale: Scale) -> Self {
        let core = KernelCore::new(RequestKind::Gradient, step, scale);
        let before = core.current.clone();
        let momentum = vec![0.0; before.x.len()];
        Self {
            core,
            before,
            next_momentum: momentum.clone(),
            momentum,
            length,
            jitter,
            most_steps: MOST_STEPS,
            size: f64::NAN,
            n_steps: 0,
            made: 0,
            stats: [f64::NAN, 0.0, f64::NAN, f64::NAN, 0.0, 0.0, f64::NAN],
        }
    }

    /// Updates the state whose density was requested. Returns its energy error.
    fn land(&mut self) -> f64 {
        let KernelCore { current, next, scale, .. } = &mut self.core;
        land(scale.metric(), self.size, next, &mut self.next_momentum);
        self.made += 1;
        next.energy - current.energy
    }

    fn decide(&mut self, error: f64, stream: &mut Stream) -> Step {
        let diverging = error > DIVERGENT;
        let accept = acceptance(-error);
        let accepted = !diverging && -stream.exponential() < -error;
        if accepted {
            self.core.accept();
        }
        self.stats = [
            accept,
            f64::from(accepted),
            self.core.current.energy,
            error,
            f64::from(diverging),
            self.made as f64,
            self.size,
        ];
        self.core.finish(accept)
    }
}

impl Transition for Hmc {
    const STATS: &'static [&'static str] = &[
        "acceptance_rate",
        "accepted",
        "energy",
        "energy_error",
        "diverging",
        "n_steps",
        "step_size",
    ];

    fn core(&self) -> &KernelCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut KernelCore {
        &mut self.core
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        stream.fill_normal(&mut self.momentum);
        let KernelCore { current, next, scale, step, .. } = &mut self.core;
        current.energy = kinetic(&self.momentum) - current.log_density;
        self.size = step.get();
        self.made = 0;
        let stage = if step.is_rough() { Stage::Trial } else { Stage::Moving };
        if stage == Stage::Trial {
            self.n_steps = 1;
        } else {
            let vary = if self.jitter > 0.0 {
                1.0 + self.jitter * (2.0 * stream.uniform() - 1.0)
            } else {
                1.0
            };
            self.n_steps = match self.length {
                Length::Steps(n) => {
                    self.size *= vary;
                    n
                }
                Length::Time(time) => {
                    (time * vary / self.size).ceil().clamp(1.0, self.most_steps) as usize
                }
            };
        }
        let (momentum, next_momentum) = (&self.momentum, &mut self.next_momentum);
        leap(scale.metric(), self.size, current, momentum, next, next_momentum);
        self.core.request(stage)
    }

    fn resume(&mut self, stream: &mut Stream) -> Step {
        let error = self.land();
        if self.core.stage == Stage::Trial {
            self.core.step.search(acceptance(-error));
            return self.start(stream);
        }
        // A divergent trajectory is rejected wherever it would end.
        if self.made == self.n_steps || error > DIVERGENT {
            return self.decide(error, stream);
        }
        std::mem::swap(&mut self.core.next, &mut self.before);
        std::mem::swap(&mut self.momentum, &mut self.next_momentum);
        let KernelCore { next, scale, .. } = &mut self.core;
        let (momentum, next_momentum) = (&self.momentum, &mut self.next_momentum);
        leap(scale.metric(), self.size, &self.before, momentum, next, next_momentum);
        self.core.request(Stage::Moving)
    }

    fn write(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.stats);
    }

    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()> {
        self.before.persist(codec)?;
        codec.numbers(&mut self.momentum)?;
        codec.numbers(&mut self.next_momentum)?;
        codec.number(&mut self.size)?;
        codec.count(&mut self.n_steps)?;
        codec.count(&mut self.made)?;
        codec.numbers(&mut self.stats)
    }
}
