//! Microcanonical Langevin kernels: steps of constant speed in a direction that the force bends.

use crate::isokinetic::{kick, refresh};
use crate::kernel::{KernelCore, Phase, RequestKind, Scale, Stage, Step, StepSize, Transition};
use crate::phase_point::{DIVERGENT, acceptance};
use crate::recent::Recent;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// The shares of the kicks in a step with two drifts of one half each: this, the rest, this.
const KICK: f64 = 0.193_183_327_503_783_6;
/// The squared energy error of a step, per coordinate, to which the step size of uncorrected chains
/// is adapted.
const ERROR: f64 = 5e-4;
/// The length in correlation lengths of the draws, of steps and of trajectories.
const LENGTH: f64 = 0.4;
const ADJUSTED_LENGTH: f64 = 0.5;
/// The largest number of steps in a trajectory.
const MOST_STEPS: f64 = 1000.0;

/// Steps of the minimal-norm integrator of the isokinetic dynamics in z, whose direction has length
/// 1.
///
/// Without a correction a transition is one step between two half refreshments of the direction,
/// which is forgotten over `length`. With the correction a transition is a trajectory of several
/// steps, of mean length `length`, in a new direction. In the warm-up the step size follows the
/// energy errors, or the acceptance rate, and the length follows the correlation of the draws.
///
/// # References
/// J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte Carlo",
/// Journal of Machine Learning Research 24 (2023); J. Robnik, U. Seljak, "Fluctuation without
/// dissipation: microcanonical Langevin Monte Carlo" (2023); J. Robnik, R. Cohn-Gordon, U. Seljak,
/// "Metropolis adjusted microcanonical Hamiltonian Monte Carlo" (2025).
#[derive(Debug, Clone)]
pub struct Microcanonical {
    core: KernelCore,
    /// The direction at the current point, and at the next one.
    direction: Vec<f64>,
    moving: Vec<f64>,
    noise: Vec<f64>,
    corrected: bool,
    length: StepSize,
    recent: Recent,
    /// The mean logarithm of the metric's variances.
    log_variance: f64,
    has_direction: bool,
    /// Whether the requested point is in the middle of a step.
    in_middle: bool,
    /// The steps of the trajectory, and those left.
    n_steps: usize,
    left: usize,
    /// The kinetic energy that kicks have added.
    gain: f64,
    accept: f64,
    error: f64,
    /// 1 or 0.
    accepted: f64,
}

/// The settings of a [`Microcanonical`] kernel.
#[derive(Debug, Clone)]
pub struct MicrocanonicalOptions {
    /// The step size; `None` to adapt it.
    pub step: Option<f64>,
    /// The length over which the direction is forgotten; `None` to adapt it.
    pub length: Option<f64>,
    /// The acceptance rate to which the step size of corrected trajectories is adapted; `None` for
    /// uncorrected steps.
    pub accept: Option<f64>,
}

impl Microcanonical {
    /// A kernel in two or more coordinates.
    pub fn new(options: &MicrocanonicalOptions, scale: Scale) -> Self {
        let MicrocanonicalOptions { step, length, accept } = *options;
        let dim = scale.window().dim();
        let numbers = vec![0.0; dim];
        let unit = (dim as f64).sqrt();
        let first = 0.25 * unit;
        let step = match (step, accept) {
            (Some(step), _) => StepSize::fixed(step),
            (None, Some(accept)) => StepSize::averaged(first, accept),
            (None, None) => StepSize::energetic(first, ERROR),
        };
        let mut kernel = Self {
            core: KernelCore::new(RequestKind::Gradient, step, scale),
            direction: numbers.clone(),
            moving: numbers.clone(),
            noise: numbers,
            corrected: accept.is_some(),
            length: length.map_or_else(|| StepSize::external(unit), StepSize::fixed),
            recent: Recent::new(dim),
            log_variance: 0.0,
            has_direction: false,
            in_middle: false,
            n_steps: 1,
            left: 0,
            gain: 0.0,
            accept: f64::NAN,
            error: f64::NAN,
            accepted: 0.0,
        };
        kernel.log_variance = kernel.mean_log_variance();
        kernel
    }

    fn mean_log_variance(&self) -> f64 {
        let variances = self.core.metric().variances(self.direction.len());
        variances.iter().map(|v| ln(*v)).sum::<f64>() / variances.len() as f64
    }

    /// Draws a uniform number of steps, from 1 on, with the mean `length` / `step`; 1 for a trial.
    fn draw_steps(&self, stream: &mut Stream) -> usize {
        let mean = (self.length.get() / self.core.step.get()).clamp(1.0, MOST_STEPS);
        if self.core.step.is_rough() {
            return 1;
        }
        // Of ⌈s u⌉ with k = ⌊s⌋ the mean is k + 1 - k (k + 1) / (2 s).
        let k = (2.0 * mean - 1.0).floor();
        let s = k * (k + 1.0) / (2.0 * (k + 1.0 - mean));
        (s * stream.uniform()).ceil() as usize
    }

    /// Refreshes the direction by as much as half a step forgets.
    fn half_refresh(&mut self, stream: &mut Stream) {
        let grown = exp(self.core.step.get() / self.length.get()) - 1.0;
        let share = (grown / self.direction.len() as f64).sqrt();
        refresh(&mut self.direction, share, &mut self.noise, stream);
    }

    /// Kicks for a share of the step size, drifts for half of it, and requests the density.
    fn step(&mut self, share: f64, in_middle: bool) -> Step {
        let KernelCore { next, scale, step, .. } = &mut self.core;
        let step = step.get();
        self.gain += kick(&mut self.moving, &next.force, share * step);
        scale.metric().forward(&self.moving, &mut self.noise);
        for (x, shift) in next.x.iter_mut().zip(&self.noise) {
            *x += 0.5 * step * shift;
        }
        self.in_middle = in_middle;
        self.core.request(Stage::Moving)
    }

    fn decide(&mut self, log_ratio: f64, stream: &mut Stream) -> Step {
        self.accept = acceptance(log_ratio);
        if self.core.step.is_rough() {
            // That was a trial.
            self.core.step.search(self.accept);
            return self.start(stream);
        }
        self.error = -log_ratio;
        let accepted = self.core.decide(log_ratio, self.corrected, stream);
        self.accepted = f64::from(accepted);
        if accepted {
            std::mem::swap(&mut self.direction, &mut self.moving);
        } else {
            self.direction.iter_mut().for_each(|u| *u = -*u);
        }
        let signal = if self.corrected {
            self.accept
        } else {
            self.half_refresh(stream);
            let failed = if accepted { self.error } else { f64::NAN };
            failed * failed / self.direction.len() as f64
        };
        self.recent.push(&self.core.current.x);
        self.core.finish(signal)
    }
}

impl Transition for Microcanonical {
    const STATS: &'static [&'static str] = &[
        "acceptance_rate",
        "accepted",
        "step_size",
        "length",
        "energy_error",
        "n_steps",
        "diverging",
    ];

    fn core(&self) -> &KernelCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut KernelCore {
        &mut self.core
    }

    fn has_bias(&self) -> bool {
        !self.corrected
    }

    fn forget_momentum(&mut self) {
        self.has_direction = false;
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        if self.corrected || !self.has_direction {
            refresh(&mut self.direction, f64::INFINITY, &mut self.noise, stream);
            self.has_direction = true;
        }
        if self.corrected {
            self.n_steps = self.draw_steps(stream);
        } else {
            self.half_refresh(stream);
        }
        self.core.start_path();
        self.moving.copy_from_slice(&self.direction);
        (self.left, self.gain) = (self.n_steps, 0.0);
        self.step(KICK, true)
    }

    fn resume(&mut self, stream: &mut Stream) -> Step {
        let KernelCore { next, scale, step, .. } = &mut self.core;
        if next.log_density == f64::NEG_INFINITY {
            return self.decide(f64::NEG_INFINITY, stream);
        }
        next.update_force(scale.metric());
        if self.in_middle {
            return self.step(1.0 - 2.0 * KICK, false);
        }
        self.left -= 1;
        if self.left > 0 {
            // The last kick of this step and the first of the next are one.
            return self.step(2.0 * KICK, true);
        }
        self.gain += kick(&mut self.moving, &next.force, KICK * step.get());
        let log_ratio = next.log_density - self.core.current.log_density - self.gain;
        self.decide(log_ratio, stream)
    }

    fn on_phase(&mut self, phase: Phase) {
        self.length.enter(phase);
        self.recent.open(phase == Phase::AdaptMetric && self.length.is_adapting());
    }

    fn on_metric(&mut self) {
        let mut length = self.length.get();
        if let Some(time) = self.recent.correlation_time() {
            let step = self.core.step.get();
            length = if self.corrected {
                ADJUSTED_LENGTH * time * length.max(step)
            } else {
                LENGTH * time * step
            };
        }
        // Lengths in z shrink as the metric grows.
        let now = self.mean_log_variance();
        self.length.set(length * exp(0.5 * (self.log_variance - now)));
        self.log_variance = now;
    }

    fn visit_more_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.length);
    }

    fn write(&self, out: &mut [f64]) {
        out.copy_from_slice(&[
            self.accept,
            self.accepted,
            self.core.step.get(),
            self.length.get(),
            self.error,
            self.n_steps as f64,
            f64::from(self.error.is_nan() || self.error > DIVERGENT),
        ]);
    }

    fn persist_rest(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.direction)?;
        codec.numbers(&mut self.moving)?;
        self.length.persist(codec)?;
        self.recent.persist(codec)?;
        codec.flag(&mut self.has_direction)?;
        codec.flag(&mut self.in_middle)?;
        codec.count(&mut self.n_steps)?;
        codec.count(&mut self.left)?;
        codec.number(&mut self.log_variance)?;
        let numbers = [&mut self.gain, &mut self.accept, &mut self.error, &mut self.accepted];
        numbers.into_iter().try_for_each(|number| codec.number(number))
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::Domain;

    use super::*;
    use crate::kernel::{Metric, MetricKind};

    #[test]
    fn trajectories_have_the_wanted_mean_of_steps() {
        let mut stream = Stream::new(2, Domain::Chain, 0, 0);
        for mean in [1.0, 1.3, 2.0, 7.4] {
            let options =
                MicrocanonicalOptions { step: Some(1.0), length: Some(mean), accept: Some(0.9) };
            let scale = Scale::new(2, MetricKind::Fixed, Metric::Unit);
            let kernel = Microcanonical::new(&options, scale);
            let n = 20_000;
            let steps: Vec<f64> = (0..n).map(|_| kernel.draw_steps(&mut stream) as f64).collect();
            let found = steps.iter().sum::<f64>() / f64::from(n);
            assert!((found - mean).abs() < 5.0 * 0.6 * mean / f64::from(n).sqrt());
            assert!(steps.iter().all(|steps| (1.0..=2.0 * mean).contains(steps)));
        }
    }
}
