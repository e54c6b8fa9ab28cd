//! The update rule of a token: step sizes, momentum, clipping, projection.

use super::{Tile, product};
use fermiac_base::simd::{V, exp_slice, ln_slice};
use fermiac_base::{Error, Result};

/// The sizes of steps.
#[derive(Debug, Clone)]
pub enum StepSizes {
    /// `scale` · (t + 1) to the power of -`exponent`, at step t = 1, 2, ….
    Power {
        /// The factor.
        scale: f64,
        /// The exponent.
        exponent: f64,
    },
    /// The size of each step.
    Table(Vec<f64>),
}

impl StepSizes {
    /// The sizes of the steps after `done`.
    pub(super) fn after(&self, done: u64, n: usize) -> Result<Vec<f64>> {
        match self {
            Self::Power { scale, exponent } => {
                let mut sizes: Vec<f64> = (0..n as u64).map(|s| (done + s + 2) as f64).collect();
                ln_slice(&mut sizes);
                sizes.iter_mut().for_each(|size| *size *= -exponent);
                exp_slice(&mut sizes);
                sizes.iter_mut().for_each(|size| *size *= scale);
                Ok(sizes)
            }
            Self::Table(all) => {
                let Some(sizes) = all.get(done as usize..done as usize + n) else {
                    let why = format!("{} given for {} steps", all.len(), done + n as u64);
                    return Err(Error::argument("step_sizes", why));
                };
                Ok(sizes.to_vec())
            }
        }
    }
}

/// The set on which parameters are projected.
#[derive(Debug, Clone)]
pub enum Projection {
    /// The whole space.
    Nothing,
    /// The ball about the origin, of this radius.
    Ball(f64),
    /// A box.
    Box {
        /// The lower bounds.
        low: Vec<Tile>,
        /// The upper bounds.
        high: Vec<Tile>,
    },
}

impl Projection {
    /// The box between `low` and `high`.
    pub fn between(low: &[f64], high: &[f64]) -> Self {
        let dim = low.len();
        Self::Box { low: super::tiled(low, dim), high: super::tiled(high, dim) }
    }
}

/// The update rule of all tokens.
#[derive(Debug, Clone)]
pub struct Rule {
    /// β.
    pub sizes: StepSizes,
    /// The momentum of the heavy ball.
    pub momentum: f64,
    /// The largest length of gradients.
    pub clip: Option<f64>,
    /// The set on which parameters are projected.
    pub projection: Projection,
    /// The number of steps per visit of a node.
    pub local_steps: u32,
    /// The number of rows of a node's data that are drawn for a step, with replacement; all rows if
    /// there are no more.
    pub batch: usize,
    /// Average over all steps after so many.
    pub average_after: Option<u64>,
    /// All tokens take their mean after every so many steps.
    pub sync: Option<u64>,
}

impl Rule {
    /// Makes a step of size `beta`. Returns whether the result, before the projection, is finite.
    #[inline(always)]
    pub(super) fn step<const FMA: bool>(
        &self,
        beta: f64,
        gradient: &mut [Tile],
        theta: &mut [Tile],
        velocity: &mut [Tile],
    ) -> bool {
        if let Some(clip) = self.clip
            && !clipped::<FMA>(gradient, clip)
        {
            return false;
        }
        let minus = V::splat(-beta);
        let mut odd = V::ZERO;
        if self.momentum > 0.0 {
            let momentum = V::splat(self.momentum);
            for k in 0..theta.len() {
                let along = momentum.mul_add::<FMA>(V(velocity[k]), V(gradient[k]));
                let new = minus.mul_add::<FMA>(along, V(theta[k]));
                odd = new.mul_add::<FMA>(V::ZERO, odd);
                (velocity[k], theta[k]) = (along.0, new.0);
            }
        } else {
            for k in 0..theta.len() {
                let new = minus.mul_add::<FMA>(V(gradient[k]), V(theta[k]));
                odd = new.mul_add::<FMA>(V::ZERO, odd);
                theta[k] = new.0;
            }
        }
        // 0 times infinity or NaN is NaN, and 0 otherwise.
        if odd.sum().is_nan() {
            return false;
        }
        match &self.projection {
            Projection::Nothing => {}
            Projection::Ball(radius) => {
                let square = product::<FMA>(theta, theta);
                if square > radius * radius {
                    scaled(theta, *radius);
                }
            }
            Projection::Box { low, high } => {
                for k in 0..theta.len() {
                    theta[k] = V(theta[k]).zip(V(low[k]), f64::max).zip(V(high[k]), f64::min).0;
                }
            }
        }
        true
    }
}

/// Clips a gradient; false if it is not finite.
#[inline(always)]
fn clipped<const FMA: bool>(gradient: &mut [Tile], clip: f64) -> bool {
    let square = product::<FMA>(gradient, gradient);
    if square <= clip * clip {
        return true;
    }
    scaled(gradient, clip)
}

/// Scales a vector to this length; false, without a change, if that is not possible.
fn scaled(x: &mut [Tile], length: f64) -> bool {
    let most = x.as_flattened().iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    if !most.is_finite() || x.as_flattened().iter().any(|x| x.is_nan()) {
        return false;
    }
    // Relative to the largest, whose square may overflow.
    let sum: f64 = x.as_flattened().iter().map(|x| (x / most) * (x / most)).sum();
    let factor = length / sum.sqrt();
    for x in x.as_flattened_mut() {
        *x = *x / most * factor;
    }
    true
}
