//! A point with what is known of the density there.

use fermiac_base::Result;
use fermiac_base::store::Codec;

use crate::kernel::{Exchange, Point};

/// Energy errors above this are called divergences. Kernels without a correction refuse them: where
/// gradients grow faster than linearly they would go off for good.
pub(super) const DIVERGENT: f64 = 1000.0;

/// A point, its log-density and its gradient: where a chain stands, or where it asks.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) x: Vec<f64>,
    pub(super) log_density: f64,
    pub(super) gradient: Vec<f64>,
}

impl Place {
    /// Of a target with or without gradients.
    pub(super) fn new(dim: usize, with_gradient: bool) -> Self {
        let gradient = vec![0.0; if with_gradient { dim } else { 0 }];
        Self { x: vec![0.0; dim], log_density: f64::NAN, gradient }
    }

    /// Takes over a point; whether all that it holds is known now.
    pub(super) fn set(&mut self, x: &[f64], log_density: f64, gradient: &[f64]) -> bool {
        self.x.copy_from_slice(x);
        self.log_density = log_density;
        if gradient.len() == self.gradient.len() {
            self.gradient.copy_from_slice(gradient);
        }
        !log_density.is_nan() && gradient.len() >= self.gradient.len()
    }

    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        Exchange {
            points: &self.x,
            values: std::slice::from_mut(&mut self.log_density),
            gradients: &mut self.gradient,
        }
    }

    pub(super) fn point(&self) -> Point<'_> {
        Point { x: &self.x, log_density: self.log_density, gradient: &self.gradient }
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.number(&mut self.log_density)?;
        codec.numbers(&mut self.gradient)
    }
}

/// The acceptance probability of a logarithm of a Metropolis ratio.
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
