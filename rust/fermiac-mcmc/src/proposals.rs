//! The proposals of Metropolis kernels: random walks and Langevin steps.

use crate::kernel::{Metric, StepSize};
use crate::metropolis::Proposal;
use crate::phase_point::PhasePoint;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;

/// The random walk x + s L ξ.
///
/// # References
/// H. Haario, E. Saksman, J. Tamminen, "An adaptive Metropolis algorithm", Bernoulli 7 (2001);
/// C. Andrieu, J. Thoms, "A tutorial on adaptive MCMC", Statistics and Computing 18 (2008).
#[derive(Debug, Clone)]
pub struct RandomWalk {
    noise: Vec<f64>,
}

impl RandomWalk {
    /// A random walk in `dim` coordinates.
    pub fn new(dim: usize) -> Self {
        Self { noise: vec![0.0; dim] }
    }

    /// The scale `step`, or one that is adapted to the acceptance rate `accept`, by default that
    /// which is best for a normal law.
    pub fn step_size(dim: usize, step: Option<f64>, accept: Option<f64>) -> StepSize {
        let accept = accept.unwrap_or(match dim {
            1 => 0.44,
            2..=4 => 0.35,
            _ => 0.234,
        });
        let first = 2.38 / (dim as f64).sqrt();
        step.map_or_else(|| StepSize::stochastic(first, accept), StepSize::fixed)
    }
}

impl Proposal for RandomWalk {
    const USES_GRADIENT: bool = false;

    fn propose(
        &mut self,
        from: &PhasePoint,
        to: &mut [f64],
        metric: &Metric,
        step: f64,
        stream: &mut Stream,
    ) {
        stream.fill_normal(&mut self.noise);
        metric.forward(&self.noise, to);
        for (y, x) in to.iter_mut().zip(&from.x) {
            *y = x + step * *y;
        }
    }
}

/// Langevin steps x + (h/2) M⁻¹ ∇ + √h L ξ, where the step size is √h.
///
/// # References
/// G. O. Roberts, R. L. Tweedie, "Exponential convergence of Langevin distributions and their
/// discrete approximations", Bernoulli 2 (1996).
#[derive(Debug, Clone)]
pub struct Langevin {
    drift: Drift,
    noise: Vec<f64>,
    shift: Vec<f64>,
}

/// The part of the force that moves Langevin proposals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// All of it.
    Plain,
    /// Its length is cut to this.
    Truncated(f64),
    /// It is divided by 1 + (h/2) times its length.
    Tamed,
}

impl Drift {
    /// The factor of a force.
    fn factor(self, force: &[f64], step: f64) -> f64 {
        let length = || force.iter().map(|f| f * f).sum::<f64>().sqrt();
        match self {
            Self::Plain => 1.0,
            Self::Truncated(bound) => {
                let length = length();
                if length > bound { bound / length } else { 1.0 }
            }
            Self::Tamed => 1.0 / (1.0 + 0.5 * step * step * length()),
        }
    }
}

impl Langevin {
    /// Langevin steps in `dim` coordinates.
    pub fn new(dim: usize, drift: Drift) -> Self {
        Self { drift, noise: vec![0.0; dim], shift: vec![0.0; dim] }
    }
}

impl Proposal for Langevin {
    const USES_GRADIENT: bool = true;

    fn propose(
        &mut self,
        from: &PhasePoint,
        to: &mut [f64],
        metric: &Metric,
        step: f64,
        stream: &mut Stream,
    ) {
        stream.fill_normal(&mut self.noise);
        let (half, factor) = (0.5 * step, self.drift.factor(&from.force, step));
        for ((shift, force), noise) in self.shift.iter_mut().zip(&from.force).zip(&self.noise) {
            *shift = step * (half * (factor * force) + noise);
        }
        metric.forward(&self.shift, to);
        to.iter_mut().zip(&from.x).for_each(|(y, x)| *y += x);
    }

    /// |p|²/2 - |p'|²/2 with the noise p' of the way back, in a form in which nothing cancels for
    /// small steps.
    fn log_ratio(&mut self, from: &PhasePoint, to: &PhasePoint, step: f64) -> f64 {
        let half = 0.5 * step;
        let (there, back) =
            (self.drift.factor(&from.force, step), self.drift.factor(&to.force, step));
        let mut kinetic = 0.0;
        for ((noise, force), other) in self.noise.iter().zip(&from.force).zip(&to.force) {
            let change = half * (there * force + back * other);
            // p² - (p + c)² = -c (2 p + c).
            kinetic -= change * (2.0 * noise + change);
        }
        0.5 * kinetic
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.noise)
    }
}
