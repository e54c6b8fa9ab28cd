//! A point of a chain with the density, the gradient, and the force there.

use crate::kernel::{EvalBuffer, Metric, Point};
use fermiac_base::Result;
use fermiac_base::store::Codec;

/// Energy errors above this are divergences. Kernels without a Metropolis correction reject them
/// as well: where gradients grow faster than linearly the chain would escape for good.
pub(super) const DIVERGENT: f64 = 1000.0;

/// A point, its log-density, its gradient, and the force Lᵀ ∇ in the coordinates of the metric.
#[derive(Debug, Clone)]
pub struct PhasePoint {
    /// The coordinates.
    pub x: Vec<f64>,
    /// The log-density; NaN where it is not known.
    pub log_density: f64,
    /// The gradient; empty if the kernel does not use gradients.
    pub gradient: Vec<f64>,
    /// The force; empty if the kernel does not use gradients.
    pub force: Vec<f64>,
    /// The energy with the momentum that a trajectory reached the point with.
    pub(super) energy: f64,
}

impl PhasePoint {
    /// A point in `dim` coordinates, with or without gradients.
    pub(super) fn new(dim: usize, with_gradient: bool) -> Self {
        let gradient = vec![0.0; if with_gradient { dim } else { 0 }];
        let force = gradient.clone();
        Self { x: vec![0.0; dim], log_density: f64::NAN, gradient, force, energy: f64::NAN }
    }

    /// Moves to a point. Returns whether everything that the kernel uses is known there; the force
    /// is not updated.
    pub(super) fn set(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) -> bool {
        self.x.copy_from_slice(x);
        self.log_density = log_density;
        if gradient.len() == self.gradient.len() {
            self.gradient.copy_from_slice(gradient);
        }
        !log_density.is_nan() && gradient.len() >= self.gradient.len()
    }

    /// Updates the force after a change of the gradient or the metric.
    pub(super) fn update_force(&mut self, metric: &Metric) {
        metric.backward(&self.gradient, &mut self.force);
    }

    pub(super) fn eval_buffer(&mut self) -> EvalBuffer<'_> {
        EvalBuffer {
            points: &self.x,
            values: std::slice::from_mut(&mut self.log_density),
            gradients: &mut self.gradient,
        }
    }

    pub(super) fn point(&self) -> Point<'_> {
        Point { x: &self.x, log_density: self.log_density, gradient: &self.gradient }
    }

    /// Whether a chain may be here; the density may not be known yet.
    pub(super) fn is_possible(&self) -> bool {
        self.x.iter().all(|x| x.is_finite()) && self.log_density != f64::INFINITY
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.number(&mut self.log_density)?;
        codec.numbers(&mut self.gradient)?;
        codec.numbers(&mut self.force)?;
        codec.number(&mut self.energy)
    }
}

/// The acceptance probability for the logarithm of a Metropolis ratio.
#[inline]
pub(super) fn acceptance(log_ratio: f64) -> f64 {
    if log_ratio >= 0.0 {
        1.0
    } else if log_ratio > f64::NEG_INFINITY {
        fermiac_base::simd::exp(log_ratio)
    } else {
        0.0
    }
}
