//! The proposals of Metropolis kernels: random walks, Langevin steps, and Barker's.

use crate::kernel::{Metric, StepSize};
use crate::metropolis::Proposal;
use crate::phase_point::PhasePoint;
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp_slice, expv, ln1pv};
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

/// Barker's proposal x + √h L (bᵢ ξᵢ): bᵢ = 1 with probability 1 / (1 + exp(-√h ξᵢ Fᵢ)), else -1,
/// so that the signs of the noise lean along the force F.
///
/// # References
/// S. Livingstone, G. Zanella, "The Barker proposal: combining robustness and efficiency in
/// gradient-based MCMC", Journal of the Royal Statistical Society B 84 (2022).
#[derive(Debug, Clone)]
pub struct Barker {
    noise: Vec<f64>,
    shift: Vec<f64>,
}

impl Barker {
    /// Barker's proposal in `dim` coordinates.
    pub fn new(dim: usize) -> Self {
        Self { noise: vec![0.0; dim], shift: vec![0.0; dim] }
    }

    /// Draws the signs of the noise.
    fn lean(&mut self, force: &[f64], step: f64, stream: &mut Stream) {
        for ((odds, noise), force) in self.shift.iter_mut().zip(&self.noise).zip(force) {
            *odds = -(step * noise * force);
        }
        exp_slice(&mut self.shift);
        for (noise, odds) in self.noise.iter_mut().zip(&self.shift) {
            // Where the exponential is infinite so is the product.
            if stream.uniform() * (1.0 + odds) >= 1.0 {
                *noise = -*noise;
            }
        }
    }
}

impl Proposal for Barker {
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
        self.lean(&from.force, step, stream);
        self.shift.iter_mut().zip(&self.noise).for_each(|(shift, noise)| *shift = step * noise);
        metric.forward(&self.shift, to);
        to.iter_mut().zip(&from.x).for_each(|(y, x)| *y += x);
    }

    fn log_ratio(&mut self, from: &PhasePoint, to: &PhasePoint, step: f64) -> f64 {
        dispatch(SignRatio { noise: &self.noise, force: &from.force, other: &to.force, step })
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.noise)
    }
}

/// The logarithm of the ratio of the probabilities of the signs back and forth: the sum of
/// s(-h wᵢ Fᵢ) - s(h wᵢ F'ᵢ) with s(t) = ln(1 + eᵗ).
struct SignRatio<'a> {
    noise: &'a [f64],
    force: &'a [f64],
    other: &'a [f64],
    step: f64,
}

impl Kernel for SignRatio<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let step = V::splat(self.step);
        let (noises, noise) = self.noise.as_chunks::<LANES>();
        let (forces, force) = self.force.as_chunks::<LANES>();
        let (others, other) = self.other.as_chunks::<LANES>();
        let mut sum = V::ZERO;
        for ((noise, force), other) in noises.iter().zip(forces).zip(others) {
            sum = sum + term::<FMA>(step * V(*noise), V(*force), V(*other));
        }
        if !noise.is_empty() {
            // Lanes of zeros add ln 2 - ln 2.
            sum = sum + term::<FMA>(step * padded(noise), padded(force), padded(other));
        }
        sum.sum()
    }
}

#[inline(always)]
fn padded(rest: &[f64]) -> V {
    let mut lanes = V::ZERO;
    lanes.0.iter_mut().zip(rest).for_each(|(lane, x)| *lane = *x);
    lanes
}

#[inline(always)]
fn term<const FMA: bool>(w: V, force: V, other: V) -> V {
    softplus::<FMA>(V::ZERO - w * force) - softplus::<FMA>(w * other)
}

#[inline(always)]
fn softplus<const FMA: bool>(t: V) -> V {
    t.max(V::ZERO) + ln1pv::<FMA>(expv::<FMA>(t.map(|t| -t.abs())))
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::Domain;

    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_probabilities_of_the_signs() {
        let noise: Vec<f64> = (0..11).map(|i| 0.3 * f64::from(i) - 1.4).collect();
        let force: Vec<f64> = (0..11).map(|i| f64::from(i * 5 % 7) - 2.0).collect();
        let other: Vec<f64> = (0..11).map(|i| f64::from(i * 3 % 5) - 2.0).collect();
        let chance = |t: f64| 1.0 / (1.0 + (-t).exp());
        let expected: f64 = (0..11)
            .map(|i| {
                let w = 0.7 * noise[i];
                (chance(-w * other[i]) / chance(w * force[i])).ln()
            })
            .sum();
        let ratio = SignRatio { noise: &noise, force: &force, other: &other, step: 0.7 };
        assert!((dispatch(ratio) - expected).abs() < 1e-13);
    }

    #[test]
    fn signs_lean_along_the_force() {
        let mut stream = Stream::new(1, Domain::Chain, 0, 0);
        let n = 40_000;
        let mut barker = Barker { noise: vec![0.8; n], ..Barker::new(n) };
        barker.lean(&vec![1.5; n], 0.5, &mut stream);
        let share = barker.noise.iter().filter(|w| **w > 0.0).count() as f64 / n as f64;
        let expected = 1.0 / (1.0 + (-0.6f64).exp());
        let error = (expected * (1.0 - expected) / n as f64).sqrt();
        assert!((share - expected).abs() < 5.0 * error);
        let mut strong = Barker { noise: vec![1.0, -1.0], ..Barker::new(2) };
        strong.lean(&[1e300, 1e300], 1e3, &mut stream);
        assert_eq!(strong.noise, [1.0, 1.0]);
    }
}
