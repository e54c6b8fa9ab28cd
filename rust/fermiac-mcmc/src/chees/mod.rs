//! Hamiltonian Monte Carlo for many chains, whose step size and length of trajectories are learned by
//! all chains together.

mod learner;

pub use learner::{Criterion, Learner, Trajectory};

use crate::hmc::{Hmc, Length, MOST_STEPS};
use crate::kernel::{KernelCore, Phase, Scale, Stage, Step, StepSize, Transition};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// The largest numbers of steps in the first windows of the warm-up, whose metrics are guesses.
const FIRST_STEPS: [f64; 3] = [8.0, 32.0, 128.0];
/// The length of trajectories from which the learning starts.
const FIRST_LENGTH: f64 = 1.0;

/// Trajectories of a length that varies from transition to transition, in the same way for all
/// chains, about a mean that all chains learn together.
///
/// # References
/// M. D. Hoffman, A. Radul, P. Sountsov, "An adaptive-MCMC scheme for setting trajectory lengths in
/// Hamiltonian Monte Carlo", AISTATS, PMLR 130 (2021); P. Sountsov, M. D. Hoffman, "Focusing on
/// difficult directions for learning HMC trajectory lengths", arXiv:2110.11576 (2021).
#[derive(Debug, Clone)]
pub struct Chees {
    hmc: Hmc,
    length: StepSize,
    jitter: f64,
    criterion: Criterion,
    accept: Option<f64>,
    learns_length: bool,
    /// The transitions made: the position in the sequence of lengths.
    n: u64,
    /// The length of the current trajectory.
    time: f64,
    /// Whether trajectories are kept for the learner.
    adapting: bool,
    /// The current point in the coordinates of the metric, if it is known, and the way there that the
    /// trajectory has gone.
    z: Vec<f64>,
    known: bool,
    way: Vec<f64>,
}

/// The settings of a [`Chees`] kernel.
#[derive(Debug, Clone)]
pub struct CheesOptions {
    /// The step size, or the first one of the search.
    pub step: f64,
    /// The harmonic mean of the acceptance rates to which the step size is adapted; `None` to keep it.
    pub accept: Option<f64>,
    /// The mean length of trajectories; `None` to learn it.
    pub length: Option<f64>,
    /// The relative variation of the length, to both sides.
    pub jitter: f64,
    /// The criterion by which the length is learned.
    pub criterion: Criterion,
}

impl Chees {
    /// A kernel.
    pub fn new(options: &CheesOptions, scale: Scale) -> Self {
        let CheesOptions { step, accept, length, jitter, criterion } = *options;
        let numbers = vec![0.0; scale.window().dim()];
        let step = if accept.is_some() { StepSize::common(step) } else { StepSize::fixed(step) };
        Self {
            hmc: Hmc::new(step, Length::Time(FIRST_LENGTH), 0.0, scale),
            length: length.map_or_else(|| StepSize::external(FIRST_LENGTH), StepSize::fixed),
            jitter,
            criterion,
            accept,
            learns_length: length.is_none(),
            n: 0,
            time: f64::NAN,
            adapting: false,
            z: numbers.clone(),
            known: false,
            way: numbers,
        }
    }

    /// Adds the drift of the step that is requested to the way of the trajectory.
    fn follow(&mut self) {
        let Hmc { size, made, next_momentum, .. } = &self.hmc;
        if !self.adapting || self.hmc.core().stage != Stage::Moving {
            return;
        }
        if *made == 0 {
            self.way.fill(0.0);
        }
        self.way.iter_mut().zip(next_momentum).for_each(|(way, p)| *way += size * p);
    }

    fn has_accepted(&self) -> bool {
        self.hmc.stats[1] == 1.0
    }
}

impl Transition for Chees {
    const STATS: &'static [&'static str] = &[
        "acceptance_rate",
        "accepted",
        "energy",
        "energy_error",
        "diverging",
        "n_steps",
        "step_size",
        "trajectory_length",
    ];

    fn core(&self) -> &KernelCore {
        self.hmc.core()
    }

    fn core_mut(&mut self) -> &mut KernelCore {
        self.hmc.core_mut()
    }

    fn forget_momentum(&mut self) {
        self.known = false;
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        self.n += 1;
        let share = van_der_corput(self.n);
        self.time = self.length.get() * (1.0 + self.jitter * (2.0 * share - 1.0));
        self.hmc.length = Length::Time(self.time);
        let KernelCore { current, scale, step, .. } = self.hmc.core();
        let first = step.changes().and_then(|n| FIRST_STEPS.get(n));
        let most = first.copied().unwrap_or(MOST_STEPS);
        if self.adapting && !self.known {
            scale.metric().solve(&current.x, &mut self.z);
            self.known = true;
        }
        self.hmc.most_steps = most;
        let step = self.hmc.start(stream);
        self.follow();
        step
    }

    fn resume(&mut self, stream: &mut Stream) -> Step {
        let step = self.hmc.resume(stream);
        if step != Step::Done {
            self.follow();
        } else if self.adapting && self.has_accepted() {
            self.z.iter_mut().zip(&self.way).for_each(|(z, way)| *z += way);
        }
        step
    }

    fn on_phase(&mut self, phase: Phase) {
        self.length.enter(phase);
        self.adapting = phase != Phase::Sample && self.shared_learner().is_some();
    }

    fn on_metric(&mut self) {
        self.known = false;
    }

    fn visit_more_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.length);
    }

    fn shared_learner(&self) -> Option<Learner> {
        (self.accept.is_some() || self.learns_length)
            .then(|| Learner::new(self.way.len(), self.criterion, self.accept, self.length.get()))
    }

    fn last_trajectory(&self) -> Option<Trajectory<'_>> {
        let [accept, _, _, _, diverging, ..] = self.hmc.stats;
        Some(Trajectory {
            end: &self.z,
            way: &self.way,
            momentum: &self.hmc.next_momentum,
            accept: if diverging == 1.0 { 0.0 } else { accept },
            accepted: self.has_accepted(),
            time: self.time,
            step: self.hmc.core().step.get(),
        })
    }

    fn write(&self, out: &mut [f64]) {
        let (stats, last) = out.split_at_mut(self.hmc.stats.len());
        stats.copy_from_slice(&self.hmc.stats);
        last.fill(self.time);
    }

    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()> {
        self.hmc.persist_rest(codec)?;
        self.length.persist(codec)?;
        codec.word(&mut self.n)?;
        codec.number(&mut self.time)?;
        codec.number(&mut self.hmc.most_steps)?;
        codec.require(self.hmc.most_steps >= 1.0 && self.hmc.most_steps <= MOST_STEPS)?;
        self.hmc.length = Length::Time(self.time);
        codec.flag(&mut self.adapting)?;
        codec.numbers(&mut self.z)?;
        codec.flag(&mut self.known)?;
        codec.numbers(&mut self.way)
    }
}

/// The number `n` of the sequence of van der Corput in base 2, above 0 and below 1 from the first
/// one on.
fn van_der_corput(n: u64) -> f64 {
    const UNIT: f64 = 1.0 / 18_446_744_073_709_551_616.0;
    (n.reverse_bits() >> 11 << 11) as f64 * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fill_the_interval_evenly() {
        let first: Vec<f64> = (1..8).map(van_der_corput).collect();
        assert_eq!(first, [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]);
        let mean = (0..1024).map(van_der_corput).sum::<f64>() / 1024.0;
        assert!((mean - 0.5).abs() < 1e-3);
    }
}
