//! Microcanonical Langevin kernels: steps of constant speed in a direction that forces bend.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

use super::isokinetic::{kick, refresh};
use super::place::{DIVERGENT, Place, acceptance};
use super::recent::Recent;
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};

/// The shares of kicks in a step with two drifts of one half each: this, the rest, this.
const KICK: f64 = 0.193_183_327_503_783_6;
/// The squared energy error of a step, per coordinate, that uncorrected steps are sized for.
const ERROR: f64 = 5e-4;
/// The length in correlation lengths of the draws, of steps and of trajectories.
const LENGTH: f64 = 0.4;
const ADJUSTED_LENGTH: f64 = 0.5;
/// Steps of a trajectory at most.
const MOST_STEPS: f64 = 1000.0;

/// Steps of the minimal-norm integrator of the isokinetic dynamics in z, of which the direction has
/// length 1.
///
/// Without a correction a transition is one step between two halves of a refreshment of the
/// direction, which is forgotten over `length`. With the correction a transition is a trajectory of
/// several steps, `length` long in the mean, in a direction drawn anew. In the warm-up the step size
/// follows the energy errors, or the acceptance rate, and the length the correlation of the draws.
///
/// # References
/// J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte Carlo",
/// Journal of Machine Learning Research 24 (2023); J. Robnik, U. Seljak, "Fluctuation without
/// dissipation: microcanonical Langevin Monte Carlo" (2023); J. Robnik, R. Cohn-Gordon, U. Seljak,
/// "Metropolis adjusted microcanonical Hamiltonian Monte Carlo" (2025).
#[derive(Debug, Clone)]
pub struct Microcanonical {
    /// Where the chain stands, or where the transition started.
    here: Place,
    force: Vec<f64>,
    direction: Vec<f64>,
    /// Where the steps have led so far.
    there: Place,
    moving_force: Vec<f64>,
    moving: Vec<f64>,
    noise: Vec<f64>,
    correct: bool,
    scale: Scale,
    step: StepSize,
    length: StepSize,
    recent: Recent,
    /// The mean logarithm of the metric's variances.
    log_variance: f64,
    at: At,
    /// Whether there is a direction yet.
    born: bool,
    /// Steps of the trajectory, and those that are left.
    n_steps: usize,
    left: usize,
    /// The kinetic energy that kicks have added.
    gain: f64,
    accept: f64,
    error: f64,
    accepted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density where it stands is unknown.
    Unknown,
    /// It has asked for it.
    Arriving,
    /// Between transitions.
    Idle,
    /// It has asked in the middle of a step.
    Middle,
    /// It has asked at the end of a step.
    End,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::Middle, At::End];

/// What a [`Microcanonical`] kernel is made with.
#[derive(Debug, Clone)]
pub struct MicrocanonicalOptions {
    /// The step size, if it is given.
    pub step: Option<f64>,
    /// The length over which the direction is forgotten, if it is given.
    pub length: Option<f64>,
    /// The acceptance rate that the step size is adapted to, of trajectories that are accepted or
    /// rejected; `None` of those that are not.
    pub accept: Option<f64>,
}

impl Microcanonical {
    /// In `dim` coordinates, two at least.
    pub fn new(
        dim: usize,
        options: &MicrocanonicalOptions,
        kind: MetricKind,
        metric: Metric,
    ) -> Self {
        let MicrocanonicalOptions { step, length, accept } = *options;
        let numbers = || vec![0.0; dim];
        let unit = (dim as f64).sqrt();
        let first = 0.25 * unit;
        let mut kernel = Self {
            here: Place::new(dim, true),
            force: numbers(),
            direction: numbers(),
            there: Place::new(dim, true),
            moving_force: numbers(),
            moving: numbers(),
            noise: numbers(),
            correct: accept.is_some(),
            scale: Scale::new(dim, kind, metric),
            step: match (step, accept) {
                (Some(step), _) => StepSize::fixed(step),
                (None, Some(accept)) => StepSize::averaged(first, accept),
                (None, None) => StepSize::energetic(first, ERROR),
            },
            length: length.map_or_else(|| StepSize::told(unit), StepSize::fixed),
            recent: Recent::new(dim),
            log_variance: 0.0,
            at: At::Unknown,
            born: false,
            n_steps: 1,
            left: 0,
            gain: 0.0,
            accept: f64::NAN,
            error: f64::NAN,
            accepted: false,
        };
        kernel.log_variance = kernel.find_log_variance();
        kernel
    }

    fn find_log_variance(&self) -> f64 {
        let variances = self.scale.metric().variances(self.here.x.len());
        variances.iter().map(|v| ln(*v)).sum::<f64>() / variances.len() as f64
    }

    /// Starts a transition, up to its first question.
    fn start(&mut self, stream: &mut Stream) -> Step {
        if self.correct || !self.born {
            refresh(&mut self.direction, f64::INFINITY, &mut self.noise, stream);
            self.born = true;
        }
        if self.correct {
            self.n_steps = self.draw_steps(stream);
        } else {
            self.forget(stream);
        }
        self.there.x.copy_from_slice(&self.here.x);
        self.there.log_density = self.here.log_density;
        self.moving_force.copy_from_slice(&self.force);
        self.moving.copy_from_slice(&self.direction);
        (self.left, self.gain) = (self.n_steps, 0.0);
        self.go(KICK, At::Middle)
    }

    /// Uniform from 1 on, with the mean `length` / `step`; one step where a step size is on trial.
    fn draw_steps(&mut self, stream: &mut Stream) -> usize {
        let mean = (self.length.get() / self.step.get()).clamp(1.0, MOST_STEPS);
        if self.step.is_rough() {
            return 1;
        }
        // Of ⌈s u⌉ with k = ⌊s⌋ the mean is k + 1 - k (k + 1) / (2 s).
        let k = (2.0 * mean - 1.0).floor();
        let s = k * (k + 1.0) / (2.0 * (k + 1.0 - mean));
        (s * stream.uniform()).ceil() as usize
    }

    /// Forgets of the direction what half a step forgets.
    fn forget(&mut self, stream: &mut Stream) {
        let grown = exp(self.step.get() / self.length.get()) - 1.0;
        let share = (grown / self.direction.len() as f64).sqrt();
        refresh(&mut self.direction, share, &mut self.noise, stream);
    }

    /// Kicks for a share of the step size, drifts for half of it, and asks.
    fn go(&mut self, share: f64, at: At) -> Step {
        let step = self.step.get();
        self.gain += kick(&mut self.moving, &self.moving_force, share * step);
        self.scale.metric().forward(&self.moving, &mut self.noise);
        for (x, shift) in self.there.x.iter_mut().zip(&self.noise) {
            *x += 0.5 * step * shift;
        }
        self.at = at;
        Step::Ask(Ask::target(Need::Gradient))
    }

    /// Goes on from an answer.
    fn go_on(&mut self, stream: &mut Stream) -> Step {
        if self.there.log_density == f64::NEG_INFINITY {
            return self.decide(f64::NEG_INFINITY, stream);
        }
        self.scale.metric().backward(&self.there.gradient, &mut self.moving_force);
        if self.at == At::Middle {
            return self.go(1.0 - 2.0 * KICK, At::End);
        }
        self.left -= 1;
        if self.left > 0 {
            // The last kick of this step and the first of the next are one.
            return self.go(2.0 * KICK, At::Middle);
        }
        self.gain += kick(&mut self.moving, &self.moving_force, KICK * self.step.get());
        let log_ratio = self.there.log_density - self.here.log_density - self.gain;
        self.decide(log_ratio, stream)
    }

    fn decide(&mut self, log_ratio: f64, stream: &mut Stream) -> Step {
        self.accept = acceptance(log_ratio);
        if self.step.is_rough() {
            // That was a trial.
            self.step.search(self.accept);
            return self.start(stream);
        }
        self.error = -log_ratio;
        self.accepted =
            if self.correct { -stream.exponential() < log_ratio } else { self.error <= DIVERGENT };
        if self.accepted {
            std::mem::swap(&mut self.here, &mut self.there);
            std::mem::swap(&mut self.force, &mut self.moving_force);
            std::mem::swap(&mut self.direction, &mut self.moving);
        } else {
            self.direction.iter_mut().for_each(|u| *u = -*u);
        }
        if self.correct {
            self.step.observe(self.accept);
        } else {
            self.forget(stream);
            let failed = if self.accepted { self.error } else { f64::NAN };
            self.step.observe(failed * failed / self.direction.len() as f64);
        }
        self.scale.observe(&self.here.x, &self.here.gradient);
        self.recent.push(&self.here.x);
        self.at = At::Idle;
        Step::Done
    }

    /// The force in a metric that was changed between transitions.
    fn find_force(&mut self) {
        if self.at == At::Idle {
            self.scale.metric().backward(&self.here.gradient, &mut self.force);
        }
    }
}

impl Kernel for Microcanonical {
    fn dim(&self) -> usize {
        self.here.x.len()
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn is_biased(&self) -> bool {
        !self.correct
    }

    fn begin(&mut self, x: &[f64]) {
        self.born = false;
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        let known = self.here.set(x, log_density, gradient);
        self.at = if known { At::Idle } else { At::Unknown };
        self.find_force();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.there.x.copy_from_slice(&self.here.x);
                self.at = At::Arriving;
                return Ok(Step::Ask(Ask::target(Need::Gradient)));
            }
            At::Arriving => {
                if self.there.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.there.x));
                }
                std::mem::swap(&mut self.here, &mut self.there);
                self.at = At::Idle;
                self.find_force();
            }
            At::Idle => {}
            At::Middle | At::End => return Ok(self.go_on(stream)),
        }
        Ok(self.start(stream))
    }

    fn exchange(&mut self) -> Exchange<'_> {
        self.there.exchange()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.here.point()
    }

    fn enter(&mut self, phase: Phase) {
        self.scale.enter(phase);
        self.step.enter(phase);
        self.length.enter(phase);
        self.recent.open(phase == Phase::Learn && self.length.is_adapting());
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.step);
        visit(&mut self.length);
    }

    fn rescaled(&mut self) {
        let mut length = self.length.get();
        if let Some(time) = self.recent.correlation_time() {
            let step = self.step.get();
            length = if self.correct {
                ADJUSTED_LENGTH * time * length.max(step)
            } else {
                LENGTH * time * step
            };
        }
        // Lengths in z shrink as the metric grows.
        let now = self.find_log_variance();
        self.length.tell(length * exp(0.5 * (self.log_variance - now)));
        self.log_variance = now;
        self.step.rescaled();
        self.find_force();
    }

    fn stat_names(&self) -> Vec<String> {
        let names = [
            "acceptance_rate",
            "accepted",
            "step_size",
            "length",
            "energy_error",
            "n_steps",
            "diverging",
        ];
        names.map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let yes = |flag: bool| f64::from(u8::from(flag));
        out.copy_from_slice(&[
            self.accept,
            yes(self.accepted),
            self.step.get(),
            self.length.get(),
            self.error,
            self.n_steps as f64,
            yes(self.error.is_nan() || self.error > DIVERGENT),
        ]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.here.persist(codec)?;
        self.there.persist(codec)?;
        for list in [&mut self.force, &mut self.direction, &mut self.moving_force, &mut self.moving]
        {
            codec.numbers(list)?;
        }
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        self.length.persist(codec)?;
        self.recent.persist(codec)?;
        codec.number(&mut self.log_variance)?;
        codec.choice(&mut self.at, &PLACES)?;
        codec.flag(&mut self.born)?;
        codec.count(&mut self.n_steps)?;
        codec.count(&mut self.left)?;
        for number in [&mut self.gain, &mut self.accept, &mut self.error] {
            codec.number(number)?;
        }
        codec.flag(&mut self.accepted)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::Domain;

    use super::*;

    #[test]
    fn trajectories_have_the_wanted_mean_of_steps() {
        let mut stream = Stream::new(2, Domain::Chain, 0, 0);
        for mean in [1.0, 1.3, 2.0, 7.4] {
            let options =
                MicrocanonicalOptions { step: Some(1.0), length: Some(mean), accept: Some(0.9) };
            let mut kernel = Microcanonical::new(2, &options, MetricKind::Fixed, Metric::Unit);
            let n = 20_000;
            let steps: Vec<f64> = (0..n).map(|_| kernel.draw_steps(&mut stream) as f64).collect();
            let found = steps.iter().sum::<f64>() / f64::from(n);
            assert!((found - mean).abs() < 5.0 * 0.6 * mean / f64::from(n).sqrt());
            assert!(steps.iter().all(|steps| (1.0..=2.0 * mean).contains(steps)));
        }
    }
}
