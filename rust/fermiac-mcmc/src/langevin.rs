//! Overdamped Langevin steps, with and without the Metropolis correction.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

use super::barker;
use super::place::{DIVERGENT, Place, acceptance};
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};

/// Proposals x + (h/2) M⁻¹ ∇ + √h L ξ, where the step size is √h.
///
/// # References
/// G. O. Roberts, R. L. Tweedie, "Exponential convergence of Langevin distributions and their
/// discrete approximations", Bernoulli 2 (1996).
#[derive(Debug, Clone)]
pub struct Langevin {
    here: Place,
    there: Place,
    /// Lᵀ ∇ here and there.
    force: Vec<f64>,
    other_force: Vec<f64>,
    noise: Vec<f64>,
    shift: Vec<f64>,
    scale: Scale,
    step: StepSize,
    correct: bool,
    drift: Drift,
    at: At,
    accept: f64,
    accepted: bool,
}

/// How the force moves proposals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// As it is.
    Plain,
    /// With its length cut to this.
    Truncated(f64),
    /// Divided by 1 + (h/2) times its length.
    Tamed,
    /// By Barker's rule: it turns the signs of the noise and moves nothing itself.
    Signs,
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
    /// It has asked at a proposal.
    Proposed,
}

const PLACES: [At; 5] = [At::Unknown, At::Arriving, At::Idle, At::Searching, At::Proposed];

/// What a [`Langevin`] kernel is made with.
#[derive(Debug, Clone)]
pub struct LangevinOptions {
    /// √h, or the first one to be tried.
    pub step: f64,
    /// The acceptance rate that the step size is adapted to, if it is.
    pub accept: Option<f64>,
    /// Whether proposals are accepted or rejected.
    pub correct: bool,
    /// How the force moves proposals.
    pub drift: Drift,
}

impl Langevin {
    /// In `dim` coordinates.
    pub fn new(dim: usize, options: &LangevinOptions, kind: MetricKind, metric: Metric) -> Self {
        let LangevinOptions { step, accept, correct, drift } = *options;
        Self {
            here: Place::new(dim, true),
            there: Place::new(dim, true),
            force: vec![0.0; dim],
            other_force: vec![0.0; dim],
            noise: vec![0.0; dim],
            shift: vec![0.0; dim],
            scale: Scale::new(dim, kind, metric),
            step: accept
                .map_or_else(|| StepSize::fixed(step), |accept| StepSize::averaged(step, accept)),
            correct,
            drift,
            at: At::Unknown,
            accept: f64::NAN,
            accepted: false,
        }
    }

    fn propose(&mut self, stream: &mut Stream) -> Step {
        stream.fill_normal(&mut self.noise);
        let step = self.step.get();
        let half = if self.drift == Drift::Signs {
            barker::turn(&mut self.noise, &self.force, step, &mut self.shift, stream);
            0.0
        } else {
            0.5 * step
        };
        for ((shift, force), noise) in self.shift.iter_mut().zip(&self.force).zip(&self.noise) {
            *shift = step * (half * force + noise);
        }
        self.scale.metric().forward(&self.shift, &mut self.there.x);
        for (y, x) in self.there.x.iter_mut().zip(&self.here.x) {
            *y += x;
        }
        self.at = if self.step.is_rough() { At::Searching } else { At::Proposed };
        Step::Ask(Ask::target(Need::Gradient))
    }

    /// The logarithm of the Metropolis ratio. Without Barker's rule it is, in a form in which
    /// nothing cancels for small steps, log p(y) - log p(x) + |p|²/2 - |p'|²/2 with the noise p' of
    /// the way back; the forces in it are those that moved the proposals, cut or tamed.
    fn log_ratio(&mut self) -> f64 {
        if self.there.log_density == f64::NEG_INFINITY {
            return f64::NEG_INFINITY;
        }
        let step = self.step.get();
        force(&self.there, &self.scale, self.drift, step, &mut self.other_force);
        let gain = self.there.log_density - self.here.log_density;
        if self.drift == Drift::Signs {
            return gain + barker::log_ratio(&self.noise, &self.force, &self.other_force, step);
        }
        let half = 0.5 * step;
        let mut kinetic = 0.0;
        for ((noise, force), other) in self.noise.iter().zip(&self.force).zip(&self.other_force) {
            let change = half * (force + other);
            // p² - (p + c)² = -c (2 p + c).
            kinetic -= change * (2.0 * noise + change);
        }
        gain + 0.5 * kinetic
    }

    fn decide(&mut self, stream: &mut Stream) {
        let log_ratio = self.log_ratio();
        self.accept = acceptance(log_ratio);
        self.accepted = if self.correct || self.step.is_adapting() {
            -stream.exponential() < log_ratio
        } else {
            log_ratio >= -DIVERGENT
        };
        if self.accepted {
            std::mem::swap(&mut self.here, &mut self.there);
            std::mem::swap(&mut self.force, &mut self.other_force);
        }
        let before = self.step.get();
        self.step.observe(self.accept);
        self.scale.observe(&self.here.x, &self.here.gradient);
        if self.drift == Drift::Tamed && self.step.get() != before {
            self.find_force();
        }
        self.at = At::Idle;
    }

    fn find_force(&mut self) {
        force(&self.here, &self.scale, self.drift, self.step.get(), &mut self.force);
    }
}

/// Lᵀ ∇ as it moves proposals.
fn force(place: &Place, scale: &Scale, drift: Drift, step: f64, out: &mut [f64]) {
    scale.metric().backward(&place.gradient, out);
    if matches!(drift, Drift::Plain | Drift::Signs) {
        return;
    }
    let length = out.iter().map(|f| f * f).sum::<f64>().sqrt();
    let factor = match drift {
        Drift::Truncated(bound) if length > bound => bound / length,
        Drift::Tamed => 1.0 / (1.0 + 0.5 * step * step * length),
        _ => return,
    };
    out.iter_mut().for_each(|f| *f *= factor);
}

impl Kernel for Langevin {
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
        self.restart(x, f64::NAN, &[]);
    }

    fn restart(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) {
        let known = self.here.set(x, log_density, gradient);
        self.at = if known { At::Idle } else { At::Unknown };
        if known {
            self.find_force();
        }
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
                self.find_force();
            }
            At::Idle => {}
            At::Searching => {
                let accept = acceptance(self.log_ratio());
                self.step.search(accept);
                self.find_force();
            }
            At::Proposed => {
                self.decide(stream);
                return Ok(Step::Done);
            }
        }
        Ok(self.propose(stream))
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
        self.rescale();
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
        ["acceptance_rate", "accepted", "step_size"].map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.accept, f64::from(u8::from(self.accepted)), self.step.get()]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.here.persist(codec)?;
        self.there.persist(codec)?;
        self.scale.persist(codec)?;
        self.step.persist(codec)?;
        for list in [&mut self.force, &mut self.noise] {
            codec.numbers(list)?;
        }
        codec.choice(&mut self.at, &PLACES)?;
        codec.number(&mut self.accept)?;
        codec.flag(&mut self.accepted)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}

impl Langevin {
    /// The force at a step size or in a metric that was changed between transitions.
    fn rescale(&mut self) {
        if self.at == At::Idle {
            self.find_force();
        }
    }
}
