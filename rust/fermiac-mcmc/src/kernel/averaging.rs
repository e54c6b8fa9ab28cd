//! Recursions that adapt a step size to an acceptance rate or to energy errors.

use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

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
    /// With the published 0.05 step sizes vary so much that their average logarithm accepts at a
    /// rate of 0.9 where 0.8 is the target; they also follow the curvature at the current point.
    const SHRINKAGE: f64 = 0.5;
    const DELAY: f64 = 10.0;
    const FADING: f64 = -0.75;

    /// A recursion from a first step size.
    pub fn new(step: f64, target: f64) -> Self {
        let log_step = ln(step);
        let (shrinkage, centre) = (Self::SHRINKAGE, log_step);
        Self { target, shrinkage, centre, error: 0.0, log_step, log_average: 0.0, n: 0.0 }
    }

    /// Restarts from this step size.
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

    /// The acceptance rate to adapt to.
    pub fn target(&self) -> f64 {
        self.target
    }

    /// The number of updates since the last restart.
    pub fn n(&self) -> f64 {
        self.n
    }

    /// Halves the distance of the target to 1, up to `most`.
    pub fn raise(&mut self, most: f64) {
        self.target = (0.5 + 0.5 * self.target).min(most.max(self.target));
    }

    /// The logarithm of the step size to keep.
    pub fn log_average(&self) -> f64 {
        if self.n == 0.0 { self.log_step } else { self.log_average }
    }

    pub(crate) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let Self { target, shrinkage, centre, error, log_step, log_average, n } = self;
        let fields = [target, shrinkage, centre, error, log_step, log_average, n];
        fields.into_iter().try_for_each(|field| codec.number(field))
    }
}

/// The Robbins–Monro recursion of the logarithm of a scale, with gains `n`^-0.6, where `n` counts
/// the sign changes of the error: the gain stays while the sign does, so that a scale that is far
/// off is left soon.
///
/// # References
/// H. Kesten, "Accelerated stochastic approximation", Annals of Mathematical Statistics 29 (1958).
#[derive(Debug, Clone, PartialEq)]
pub struct RobbinsMonro {
    target: f64,
    log_step: f64,
    n: f64,
    error: f64,
}

impl RobbinsMonro {
    /// A recursion from a first scale.
    pub fn new(step: f64, target: f64) -> Self {
        Self { target, log_step: ln(step), n: 0.0, error: 0.0 }
    }

    /// Takes in an acceptance probability; NaN counts as 0.
    pub fn update(&mut self, accept: f64) {
        let accept = if accept.is_nan() { 0.0 } else { accept };
        let error = accept - self.target;
        if error * self.error <= 0.0 {
            self.n += 1.0;
        }
        self.error = error;
        self.log_step += exp(-0.6 * ln(self.n)) * error;
    }

    /// The logarithm of the scale.
    pub fn log_step(&self) -> f64 {
        self.log_step
    }

    /// Restarts from this scale.
    pub fn restart(&mut self, step: f64) {
        *self = Self::new(step, self.target);
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.target)?;
        codec.number(&mut self.log_step)?;
        codec.number(&mut self.n)?;
        codec.number(&mut self.error)
    }
}

/// The step size at which the squared energy errors of a step have a given mean, if they grow with
/// its sixth power: a running mean over some 150 steps, in which outlying errors have less weight.
///
/// # References
/// J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte Carlo",
/// Journal of Machine Learning Research 24 (2023).
#[derive(Debug, Clone, PartialEq)]
pub struct EnergyErrors {
    wanted: f64,
    log_step: f64,
    sum: f64,
    weight: f64,
    /// The largest step size: a larger one has failed.
    most: f64,
}

impl EnergyErrors {
    const MEMORY: f64 = 149.0 / 151.0;
    const WIDTH: f64 = 9.0;
    const LEAST: f64 = 1e-8;
    const RETREAT: f64 = 0.8;

    /// A recursion from a first step size, towards squared errors of mean `wanted`.
    pub fn new(step: f64, wanted: f64) -> Self {
        let log_step = ln(step);
        Self { wanted, log_step, sum: 0.0, weight: 0.0, most: f64::INFINITY }
    }

    /// Takes in a squared error; one that is not finite comes from a failed step.
    pub fn update(&mut self, square: f64) {
        if square < f64::INFINITY {
            let ratio = square / self.wanted + Self::LEAST;
            let distance = ln(ratio) / Self::WIDTH;
            let weight = exp(-0.5 * distance * distance);
            self.sum = Self::MEMORY * self.sum + weight * ratio * exp(-6.0 * self.log_step);
            self.weight = Self::MEMORY * self.weight + weight;
            self.log_step = ln(self.sum / self.weight) / -6.0;
        } else {
            self.most = Self::RETREAT * exp(self.log_step);
        }
        self.log_step = self.log_step.min(ln(self.most));
    }

    /// The logarithm of the step size.
    pub fn log_step(&self) -> f64 {
        self.log_step
    }

    /// Restarts from this step size.
    pub fn restart(&mut self, step: f64) {
        *self = Self::new(step, self.wanted);
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let fields =
            [&mut self.wanted, &mut self.log_step, &mut self.sum, &mut self.weight, &mut self.most];
        fields.into_iter().try_for_each(|field| codec.number(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_that_is_far_off_is_left_soon() {
        let mut recursion = RobbinsMonro::new(1e6, 0.25);
        let accept = |recursion: &RobbinsMonro, flip: f64| {
            (exp(-exp(recursion.log_step())) + flip * 0.2).clamp(0.0, 1.0)
        };
        (0..60).for_each(|_| recursion.update(accept(&recursion, 0.0)));
        assert!(recursion.log_step().abs() < 1.0);
        // Noise of either sign settles.
        for k in 0..2000 {
            recursion.update(accept(&recursion, if k % 2 == 0 { 1.0 } else { -1.0 }));
        }
        assert!((exp(-exp(recursion.log_step())) - 0.25).abs() < 0.01);
    }

    #[test]
    fn dual_averaging_takes_the_published_recursion() {
        // With the published constants.
        let mut averaging = DualAveraging::new(0.5, 0.8);
        averaging.shrinkage = 0.05;
        averaging.centre += ln(10.0);
        let steps = [
            (0.9, 1.791_256_09, 1.791_256_09),
            (0.5, 1.138_033_39, 1.402_847_55),
            (1.0, 1.609_437_91, 1.493_476_95),
            (0.7, 1.323_723_63, 1.433_460_09),
            (0.8, 1.311_295_52, 1.396_924_36),
        ];
        for (accept, log_step, log_average) in steps {
            averaging.update(accept);
            assert!((averaging.log_step - log_step).abs() < 1e-8);
            assert!((averaging.log_average() - log_average).abs() < 1e-8);
        }
    }
    #[test]
    fn energy_errors_lead_to_the_step_size_that_gives_the_wanted_ones() {
        // Squared errors of 3 h⁶.
        let mut errors = EnergyErrors::new(1.0, 5e-4);
        let square = |errors: &EnergyErrors| 3.0 * exp(6.0 * errors.log_step());
        for _ in 0..400 {
            errors.update(square(&errors));
        }
        assert!((square(&errors) / 5e-4 - 1.0).abs() < 1e-3);
        let before = errors.log_step();
        errors.update(f64::NAN);
        assert!((errors.log_step() - before - ln(0.8)).abs() < 1e-12);
        (0..400).for_each(|_| errors.update(0.0));
        assert!((errors.log_step() - before - ln(0.8)).abs() < 1e-12);
    }
}
