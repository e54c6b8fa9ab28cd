//! Random-walk Metropolis with an adapted scale and covariance.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

use super::place::{Place, acceptance};
use crate::kernel::{
    Ask, Exchange, Kernel, Metric, MetricKind, Need, Phase, Point, Scale, Step, StepSize, bad_start,
};

/// Proposals x + s L ξ.
///
/// # References
/// H. Haario, E. Saksman, J. Tamminen, "An adaptive Metropolis algorithm", Bernoulli 7 (2001);
/// C. Andrieu, J. Thoms, "A tutorial on adaptive MCMC", Statistics and Computing 18 (2008).
#[derive(Debug, Clone)]
pub struct RandomWalk {
    here: Place,
    there: Place,
    scale: Scale,
    step: StepSize,
    noise: Vec<f64>,
    at: At,
    accept: f64,
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
    /// It has asked for the density of a proposal.
    Proposed,
}

const PLACES: [At; 4] = [At::Unknown, At::Arriving, At::Idle, At::Proposed];

impl RandomWalk {
    /// With a scale `step`, or one that is adapted to the acceptance rate `accept`.
    pub fn new(
        dim: usize,
        step: Option<f64>,
        accept: Option<f64>,
        kind: MetricKind,
        metric: Metric,
    ) -> Self {
        let start = 2.38 / (dim as f64).sqrt();
        let accept = accept.unwrap_or(match dim {
            1 => 0.44,
            2..=4 => 0.35,
            _ => 0.234,
        });
        Self {
            here: Place::new(dim, false),
            there: Place::new(dim, false),
            scale: Scale::new(dim, kind, metric),
            step: step.map_or_else(|| StepSize::stochastic(start, accept), StepSize::fixed),
            noise: vec![0.0; dim],
            at: At::Unknown,
            accept: f64::NAN,
            accepted: false,
        }
    }

    fn propose(&mut self, stream: &mut Stream) -> Step {
        stream.fill_normal(&mut self.noise);
        self.scale.metric().forward(&self.noise, &mut self.there.x);
        let step = self.step.get();
        for (y, x) in self.there.x.iter_mut().zip(&self.here.x) {
            *y = x + step * *y;
        }
        self.at = At::Proposed;
        Step::Ask(Ask::target(Need::Value))
    }

    fn decide(&mut self, stream: &mut Stream) {
        let log_ratio = self.there.log_density - self.here.log_density;
        self.accept = acceptance(log_ratio);
        // -ln u of a uniform u is exponential.
        self.accepted = -stream.exponential() < log_ratio;
        if self.accepted {
            std::mem::swap(&mut self.here, &mut self.there);
        }
        self.step.observe(self.accept);
        self.scale.observe(&self.here.x, &[]);
        self.at = At::Idle;
    }
}

impl Kernel for RandomWalk {
    fn dim(&self) -> usize {
        self.here.x.len()
    }

    fn needs_gradient(&self) -> bool {
        false
    }

    fn begin(&mut self, x: &[f64]) {
        self.here.set(x, f64::NAN, &[]);
        self.at = At::Unknown;
    }

    fn restart(&mut self, x: &[f64], log_density: f64, _gradient: &[f64]) {
        let known = self.here.set(x, log_density, &[]);
        self.at = if known { At::Idle } else { At::Unknown };
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.there.x.copy_from_slice(&self.here.x);
                self.at = At::Arriving;
                Ok(Step::Ask(Ask::target(Need::Value)))
            }
            At::Arriving => {
                if self.there.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.there.x));
                }
                std::mem::swap(&mut self.here, &mut self.there);
                Ok(self.propose(stream))
            }
            At::Idle => Ok(self.propose(stream)),
            At::Proposed => {
                self.decide(stream);
                Ok(Step::Done)
            }
        }
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
    }

    fn visit_scales(&mut self, visit: &mut dyn FnMut(&mut Scale)) {
        visit(&mut self.scale);
    }

    fn visit_steps(&mut self, visit: &mut dyn FnMut(&mut StepSize)) {
        visit(&mut self.step);
    }

    fn rescaled(&mut self) {
        self.step.rescaled();
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
        codec.choice(&mut self.at, &PLACES)?;
        codec.number(&mut self.accept)?;
        codec.flag(&mut self.accepted)
    }

    fn duplicate(&self) -> Box<dyn Kernel> {
        Box::new(self.clone())
    }
}
