//! Step sizes that follow acceptance rates.

use super::Archive;
use crate::Result;
use crate::simd::{exp, ln};

/// Nesterov's dual averaging of the logarithm of a step size, towards an acceptance rate.
///
/// # References
/// M. D. Hoffman, A. Gelman, "The No-U-Turn sampler: adaptively setting path lengths in
/// Hamiltonian Monte Carlo", Journal of Machine Learning Research 15 (2014), section 3.2.
#[derive(Debug, Clone, PartialEq)]
pub struct DualAveraging {
    target: f64,
    shrinkage: f64,
    centre: f64,
    error: f64,
    log_step: f64,
    log_average: f64,
    n: f64,
}

impl DualAveraging {
    /// The published 0.05 makes step sizes swing so far that the average of their logarithms
    /// accepts at a rate of 0.9 where 0.8 is asked for; they also follow the curvature of where a
    /// chain happens to be.
    const SHRINKAGE: f64 = 0.5;
    const DELAY: f64 = 10.0;
    const FADING: f64 = -0.75;

    /// From a first step size.
    pub fn new(step: f64, target: f64) -> Self {
        let log_step = ln(step);
        let (shrinkage, centre) = (Self::SHRINKAGE, log_step);
        Self { target, shrinkage, centre, error: 0.0, log_step, log_average: 0.0, n: 0.0 }
    }

    /// Anew, from this step size.
    pub fn restart(&mut self, step: f64) {
        *self = Self::new(step, self.target);
    }

    /// Takes in an acceptance probability; NaN counts as 0.
    pub fn update(&mut self, accept: f64) {
        let accept = if accept.is_nan() { 0.0 } else { accept };
        self.n += 1.0;
        let weight = 1.0 / (self.n + Self::DELAY);
        self.error = (1.0 - weight) * self.error + weight * (self.target - accept);
        self.log_step = self.centre - self.n.sqrt() / self.shrinkage * self.error;
        let fading = exp(Self::FADING * ln(self.n));
        self.log_average = fading * self.log_step + (1.0 - fading) * self.log_average;
    }

    /// The step size to try next.
    pub fn step(&self) -> f64 {
        exp(self.log_step)
    }

    /// The logarithm of the step size to keep.
    pub fn log_average(&self) -> f64 {
        if self.n == 0.0 { self.log_step } else { self.log_average }
    }

    pub(super) fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        let fields = [
            &mut self.target,
            &mut self.shrinkage,
            &mut self.centre,
            &mut self.error,
            &mut self.log_step,
            &mut self.log_average,
            &mut self.n,
        ];
        fields.into_iter().try_for_each(|field| archive.number(field))
    }
}

/// The Robbins–Monro recursion of the logarithm of a scale, with gains `n`^-0.6.
#[derive(Debug, Clone, PartialEq)]
pub struct RobbinsMonro {
    target: f64,
    log_step: f64,
    n: f64,
}

impl RobbinsMonro {
    /// From a first scale.
    pub fn new(step: f64, target: f64) -> Self {
        Self { target, log_step: ln(step), n: 0.0 }
    }

    /// Takes in an acceptance probability; NaN counts as 0.
    pub fn update(&mut self, accept: f64) {
        let accept = if accept.is_nan() { 0.0 } else { accept };
        self.n += 1.0;
        self.log_step += exp(-0.6 * ln(self.n)) * (accept - self.target);
    }

    /// The logarithm of the scale.
    pub fn log_step(&self) -> f64 {
        self.log_step
    }

    /// Anew, from this scale.
    pub fn restart(&mut self, step: f64) {
        *self = Self::new(step, self.target);
    }

    pub(super) fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.number(&mut self.target)?;
        archive.number(&mut self.log_step)?;
        archive.number(&mut self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dual_averaging_takes_the_published_recursion() {
        // With the published constants.
        let mut averaging = DualAveraging::new(0.5, 0.8);
        averaging.shrinkage = 0.05;
        averaging.centre += ln(10.0);
        let steps = [
            (0.9, 1.79125609, 1.79125609),
            (0.5, 1.13803339, 1.40284755),
            (1.0, 1.60943791, 1.49347695),
            (0.7, 1.32372363, 1.43346009),
            (0.8, 1.31129552, 1.39692436),
        ];
        for (accept, log_step, log_average) in steps {
            averaging.update(accept);
            assert!((averaging.log_step - log_step).abs() < 1e-8);
            assert!((averaging.log_average() - log_average).abs() < 1e-8);
        }
    }
}
