//! Hamiltonian Monte Carlo with trajectories whose length does not depend on where they go.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

use super::leapfrog::{DIVERGENCE, Spot, kinetic, land, leap};
use super::place::acceptance;
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};

/// Steps of a trajectory at most, however short they are.
const MOST_STEPS: f64 = 1024.0;

/// Leapfrog trajectories of fixed length, accepted or rejected at their ends.
///
/// # References
/// S. Duane, A. D. Kennedy, B. J. Pendleton, D. Roweth, "Hybrid Monte Carlo", Physics Letters B 195
/// (1987); R. M. Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo
/// (2011).
#[derive(Debug, Clone)]
pub struct Hmc {
    /// Where it stands, and two states of the trajectory.
    here: Spot,
    there: Spot,
    before: Spot,
    momentum: Vec<f64>,
    next: Vec<f64>,
    scale: Scale,
    step: StepSize,
    length: Length,
    jitter: f64,
    at: At,
    /// The step size of the trajectory under way, its steps, and how many of them are made.
    size: f64,
    n_steps: usize,
    made: usize,
    report: Report,
}

/// How long a trajectory is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// So many steps.
    Steps(usize),
    /// So long.
    Time(f64),
}

/// What a [`Hmc`] kernel is made with.
#[derive(Debug, Clone)]
pub struct HmcOptions {
    /// The step size, which stays or is adapted.
    pub step: StepSize,
    /// How long trajectories are.
    pub length: Length,
    /// The share by which the step size, or the time, varies to both sides.
    pub jitter: f64,
}

/// What is reported of a transition.
#[derive(Debug, Clone, Copy)]
struct Report {
    accept: f64,
    accepted: bool,
    energy: f64,
    energy_error: f64,
    diverging: bool,
    n_steps: usize,
    step: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density where it stands is unknown.
    Unknown,
    /// It has asked for it.
    Arriving,
    /// Between transitions.
    Idle,
    /// It has asked at a trial step, to find a step size.
    Searching,
    /// It has asked at the next state of the trajectory.
    Moving,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::Searching, At::Moving];

impl Hmc {
    /// In `dim` coordinates.
    pub fn new(dim: usize, options: HmcOptions, kind: MetricKind, metric: Metric) -> Self {
        let nan = f64::NAN;
        let report = Report {
            accept: nan,
            accepted: false,
            energy: nan,
            energy_error: nan,
            diverging: false,
            n_steps: 0,
            step: nan,
        };
        Self {
            here: Spot::new(dim),
            there: Spot::new(dim),
            before: Spot::new(dim),
            momentum: vec![0.0; dim],
            next: vec![0.0; dim],
            scale: Scale::new(dim, kind, metric),
            step: options.step,
            length: options.length,
            jitter: options.jitter,
            at: At::Unknown,
            size: nan,
            n_steps: 0,
            made: 0,
            report,
        }
    }

    /// A trajectory from where it stands, with a fresh momentum.
    fn start(&mut self, stream: &mut Stream) {
        stream.fill_normal(&mut self.momentum);
        self.here.energy = kinetic(&self.momentum) - self.here.place.log_density;
        self.size = self.step.get();
        self.made = 0;
        if self.step.is_rough() {
            (self.at, self.n_steps) = (At::Searching, 1);
        } else {
            let vary = if self.jitter > 0.0 {
                1.0 + self.jitter * (2.0 * stream.uniform() - 1.0)
            } else {
                1.0
            };
            self.at = At::Moving;
            self.n_steps = match self.length {
                Length::Steps(n) => {
                    self.size *= vary;
                    n
                }
                Length::Time(time) => {
                    (time * vary / self.size).ceil().clamp(1.0, MOST_STEPS) as usize
                }
            };
        }
        leap(
            self.scale.metric(),
            self.size,
            &self.here,
            &self.momentum,
            &mut self.there,
            &mut self.next,
        );
    }

    /// The next step of a trajectory under way.
    fn go_on(&mut self) {
        std::mem::swap(&mut self.there, &mut self.before);
        std::mem::swap(&mut self.momentum, &mut self.next);
        leap(
            self.scale.metric(),
            self.size,
            &self.before,
            &self.momentum,
            &mut self.there,
            &mut self.next,
        );
    }

    /// The error of the energy at the state that was asked about.
    fn land(&mut self) -> f64 {
        land(self.scale.metric(), self.size, &mut self.there, &mut self.next);
        self.made += 1;
        self.there.energy - self.here.energy
    }

    fn decide(&mut self, error: f64, stream: &mut Stream) {
        let diverging = error > DIVERGENCE;
        let accept = acceptance(-error);
        let accepted = !diverging && -stream.exponential() < -error;
        if accepted {
            std::mem::swap(&mut self.here, &mut self.there);
        }
        self.report = Report {
            accept,
            accepted,
            energy: self.here.energy,
            energy_error: error,
            diverging,
            n_steps: self.made,
            step: self.size,
        };
        self.step.observe(accept);
        self.scale.observe(&self.here.place.x, &self.here.place.gradient);
        self.at = At::Idle;
    }
}

impl Kernel for Hmc {
    fn dim(&self) -> usize {
        self.next.len()
    }

    fn needs_gradient(&self) -> bool {
        true
    }

    fn begin(&mut self, x: &[f64]) {
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        let known = self.here.place.set(x, log_density, gradient);
        self.at = if known { At::Idle } else { At::Unknown };
        self.rescale();
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.there.place.x.copy_from_slice(&self.here.place.x);
                self.at = At::Arriving;
            }
            At::Arriving => {
                if self.there.place.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.there.place.x));
                }
                std::mem::swap(&mut self.here, &mut self.there);
                self.here.find_force(self.scale.metric());
                self.start(stream);
            }
            At::Idle => self.start(stream),
            At::Searching => {
                let accept = acceptance(-self.land());
                self.step.search(accept);
                self.start(stream);
            }
            At::Moving => {
                let error = self.land();
                // What diverges is rejected in any case.
                if self.made == self.n_steps || error > DIVERGENCE {
                    self.decide(error, stream);
                    return Ok(Step::Done);
                }
                self.go_on();
            }
        }
        Ok(Step::Ask(Ask::target(Need::Gradient)))
    }

    fn exchange(&mut self) -> Exchange<'_> {
        self.there.place.exchange()
    }

    fn point(&self, _i: usize) -> Point<'_> {
        self.here.place.point()
    }

    fn enter(&mut self, phase: Phase) {
        self.scale.enter(phase);
        self.step.enter(phase);
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.step);
    }

    fn rescaled(&mut self) {
        self.step.rescaled();
        self.rescale();
    }

    fn stat_names(&self) -> Vec<String> {
        [
            "acceptance_rate",
            "accepted",
            "energy",
            "energy_error",
            "diverging",
            "n_steps",
            "step_size",
        ]
        .map(String::from)
        .to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let Report { accept, accepted, energy, energy_error, diverging, n_steps, step } =
            self.report;
        let flag = |yes: bool| f64::from(u8::from(yes));
        out.copy_from_slice(&[
            accept,
            flag(accepted),
            energy,
            energy_error,
            flag(diverging),
            n_steps as f64,
            step,
        ]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        for spot in [&mut self.here, &mut self.there, &mut self.before] {
            spot.persist(codec)?;
        }
        codec.numbers(&mut self.momentum)?;
        codec.numbers(&mut self.next)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        codec.choice(&mut self.at, &PLACES)?;
        codec.number(&mut self.size)?;
        codec.count(&mut self.n_steps)?;
        codec.count(&mut self.made)?;
        let Report { accept, accepted, energy, energy_error, diverging, n_steps, step } =
            &mut self.report;
        for number in [accept, energy, energy_error, step] {
            codec.number(number)?;
        }
        codec.flag(accepted)?;
        codec.flag(diverging)?;
        codec.count(n_steps)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

impl Hmc {
    /// The force in a metric that was changed between transitions.
    fn rescale(&mut self) {
        if self.at == At::Idle {
            self.here.find_force(self.scale.metric());
        }
    }
}
