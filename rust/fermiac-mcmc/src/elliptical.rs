//! Elliptical slice sampling of a density with a normal prior.

use crate::kernel::{EvalBuffer, Kernel, Metric, Point, Request, RequestKind, Step, bad_start};
use crate::phase_point::PhasePoint;
use crate::slice::MOST_TRIES;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{cos, ln, sin};
use fermiac_base::store::Codec;
use std::f64::consts::TAU;

/// Points μ + (x - μ) cos θ + ν sin θ with ν from the centred prior N(0, L Lᵀ): the ellipse leaves
/// the prior as it is, and θ is drawn from the slice of the likelihood.
///
/// # References
/// I. Murray, R. P. Adams, D. J. C. MacKay, "Elliptical slice sampling", Proceedings of the 13th
/// International Conference on Artificial Intelligence and Statistics (2010).
#[derive(Debug, Clone)]
pub struct EllipticalSlice {
    /// The current point with the value of the target, and the next one.
    current: PhasePoint,
    next: PhasePoint,
    mean: Vec<f64>,
    factor: Metric,
    /// The constant of the log-density of the prior.
    log_constant: f64,
    /// Whether the target is the posterior, not the likelihood alone.
    posterior: bool,
    /// L⁻¹ (x - μ) of the current point, the noise of the draw from the prior, and the draw ν,
    /// which is L times the noise.
    white: Vec<f64>,
    noise: Vec<f64>,
    draw: Vec<f64>,
    log_height: f64,
    log_prior: f64,
    angle: f64,
    bracket: [f64; 2],
    tries: usize,
    failed: bool,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// The density at the current point is unknown.
    Unknown,
    /// The density at the current point is requested.
    Arriving,
    /// Between transitions.
    Idle,
    /// A point of the ellipse is requested.
    Shrinking,
}

const PLACES: [At; 4] = [At::Unknown, At::Arriving, At::Idle, At::Shrinking];

impl EllipticalSlice {
    /// A kernel for a prior with this mean and this factor of its covariance. `posterior` says that
    /// the target is the posterior, not the likelihood alone.
    pub fn new(mean: Vec<f64>, factor: Metric, posterior: bool) -> Self {
        let dim = mean.len();
        let mut column = vec![0.0; dim];
        let mut log_constant = -0.5 * dim as f64 * ln(TAU);
        for k in 0..dim {
            factor.column(k, &mut column);
            log_constant -= ln(column[k]);
        }
        Self {
            current: PhasePoint::new(dim, false),
            next: PhasePoint::new(dim, false),
            mean,
            factor,
            log_constant,
            posterior,
            white: vec![0.0; dim],
            noise: vec![0.0; dim],
            draw: column,
            log_height: f64::NAN,
            log_prior: f64::NAN,
            angle: 0.0,
            bracket: [0.0; 2],
            tries: 0,
            failed: false,
            at: At::Unknown,
        }
    }

    /// Computes the current point in the coordinates of the prior.
    fn whiten(&mut self) {
        for ((u, x), m) in self.draw.iter_mut().zip(&self.current.x).zip(&self.mean) {
            *u = x - m;
        }
        self.factor.solve(&self.draw, &mut self.white);
        self.log_prior = self.log_constant - 0.5 * self.white.iter().map(|z| z * z).sum::<f64>();
    }

    fn start(&mut self, stream: &mut Stream) -> Step {
        self.whiten();
        stream.fill_normal(&mut self.noise);
        self.factor.forward(&self.noise, &mut self.draw);
        let likelihood = self.current.log_density - self.share_of_prior(self.log_prior);
        self.log_height = likelihood - stream.exponential();
        self.angle = TAU * stream.uniform();
        self.bracket = [self.angle - TAU, self.angle];
        self.tries = 0;
        self.attempt()
    }

    /// The log-posterior less the value of the target.
    fn rest_of_posterior(&self) -> f64 {
        if self.posterior { 0.0 } else { self.log_prior }
    }

    /// The part of the value of the target that is the log-prior.
    fn share_of_prior(&self, log_prior: f64) -> f64 {
        if self.posterior { log_prior } else { 0.0 }
    }

    fn attempt(&mut self) -> Step {
        let (c, s) = (cos(self.angle), sin(self.angle));
        let from = self.current.x.iter().zip(&self.mean).zip(&self.draw);
        for (y, ((x, m), v)) in self.next.x.iter_mut().zip(from) {
            *y = m + (x - m) * c + v * s;
        }
        self.tries += 1;
        self.at = At::Shrinking;
        Step::Request(Request::target(RequestKind::Value))
    }

    /// Takes the point that was tried, or shrinks the bracket to it. Returns whether the transition
    /// is over.
    fn judge(&mut self, stream: &mut Stream) -> bool {
        let (c, s) = (cos(self.angle), sin(self.angle));
        let turned = self.white.iter().zip(&self.noise).map(|(z, n)| z * c + n * s);
        let log_prior = self.log_constant - 0.5 * turned.map(|z| z * z).sum::<f64>();
        let inside = self.next.log_density - self.share_of_prior(log_prior) >= self.log_height;
        // A bracket that no double divides ends at the current point.
        self.failed = !inside || self.next.x == self.current.x;
        if !self.failed {
            std::mem::swap(&mut self.current, &mut self.next);
            self.log_prior = log_prior;
        } else if !inside && self.tries < MOST_TRIES {
            self.bracket[usize::from(self.angle >= 0.0)] = self.angle;
            let [lower, upper] = self.bracket;
            self.angle = lower + stream.uniform() * (upper - lower);
            return false;
        }
        self.at = At::Idle;
        true
    }
}

impl Kernel for EllipticalSlice {
    fn dim(&self) -> usize {
        self.current.x.len()
    }

    fn restart(&mut self, x: &[f64], log_density: f64, _gradient: &[f64]) {
        let known = self.current.set(x, log_density, &[]);
        self.whiten();
        self.current.log_density -= self.rest_of_posterior();
        self.at = if known { At::Idle } else { At::Unknown };
    }

    fn advance(&mut self, stream: &mut Stream) -> Result<Step> {
        match self.at {
            At::Unknown => {
                self.next.x.copy_from_slice(&self.current.x);
                self.at = At::Arriving;
                return Ok(Step::Request(Request::target(RequestKind::Value)));
            }
            At::Arriving => {
                if self.next.log_density == f64::NEG_INFINITY {
                    return Err(bad_start(&self.next.x));
                }
                std::mem::swap(&mut self.current, &mut self.next);
            }
            At::Idle => {}
            At::Shrinking => {
                return Ok(if self.judge(stream) { Step::Done } else { self.attempt() });
            }
        }
        Ok(self.start(stream))
    }

    fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        self.next.eval_buffer()
    }

    /// The log-density is that of the posterior, whatever the target is.
    fn point(&self, _i: usize) -> Point<'_> {
        let log_density = self.current.log_density + self.rest_of_posterior();
        Point { log_density, ..self.current.point() }
    }

    fn stat_names(&self) -> Vec<String> {
        ["acceptance_rate", "n_evals", "slice_fail", "log_likelihood"].map(String::from).to_vec()
    }

    fn write_stats(&self, out: &mut [f64]) {
        let failed = f64::from(self.failed);
        let tries = self.tries as f64;
        let likelihood = self.current.log_density - self.share_of_prior(self.log_prior);
        out.copy_from_slice(&[(1.0 - failed) / tries, tries, failed, likelihood]);
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.current.persist(codec)?;
        codec.require(self.current.is_possible())?;
        self.next.persist(codec)?;
        let lists = [&mut self.white, &mut self.noise, &mut self.draw];
        lists.into_iter().try_for_each(|list| codec.numbers(list))?;
        codec.numbers(&mut self.bracket)?;
        let numbers = [&mut self.log_height, &mut self.log_prior, &mut self.angle];
        numbers.into_iter().try_for_each(|number| codec.number(number))?;
        codec.count(&mut self.tries)?;
        codec.flag(&mut self.failed)?;
        codec.choice(&mut self.at, &PLACES)
    }
}
