//! Location by an M-estimate with a fixed scale.

use super::{Statistic, centred, weighted};

/// Steps at most; each of Newton's either ends or halves the bracket of the root.
const STEPS: usize = 200;

/// Huber's estimate of location: the root of Σ w ψ(x - θ), where ψ cuts at ±`cut`.
///
/// P. J. Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics
/// 35(1).
pub(super) struct Huber {
    x: Vec<f64>,
    centre: f64,
    cut: f64,
    low: f64,
    high: f64,
}

impl Huber {
    pub(super) fn new(x: &[f64], cut: f64) -> Self {
        let (x, centre) = centred(x);
        let low = x.iter().copied().fold(f64::INFINITY, f64::min);
        let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { x, centre, cut, low, high }
    }

    /// (Σ w ψ(x - θ), Σ w over |x - θ| < cut).
    fn sums(&self, weights: &[f64], theta: f64) -> (f64, f64) {
        let x = &self.x[..weights.len()];
        let [sum, inside] = weighted(weights, |i| {
            let d = x[i] - theta;
            [d.clamp(-self.cut, self.cut), if d.abs() < self.cut { 1.0 } else { 0.0 }]
        });
        (sum, inside)
    }

    /// The root about the mean of the data; the middle of the roots where there are many.
    fn root(&self, weights: &[f64]) -> f64 {
        let (mut low, mut high) = (self.low, self.high);
        let mut theta = 0.0_f64;
        for _ in 0..STEPS {
            let (sum, inside) = self.sums(weights, theta);
            if sum > 0.0 {
                low = theta;
            } else if sum < 0.0 {
                high = theta;
            } else if inside > 0.0 {
                return theta;
            } else {
                return self.flat(weights, theta);
            }
            let step = theta + sum / inside;
            let next = if step > low && step < high { step } else { 0.5 * (low + high) };
            if (next - theta).abs() <= 4.0 * f64::EPSILON * (self.cut + theta.abs()) {
                return next;
            }
            theta = next;
        }
        theta
    }

    /// The middle of the interval around `theta` where no observation is within the cut.
    fn flat(&self, weights: &[f64], theta: f64) -> f64 {
        let (mut low, mut high) = (self.low, self.high);
        for (x, w) in self.x.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
            debug_assert!(*w > 0.0);
            if *x <= theta {
                low = low.max(x + self.cut);
            } else {
                high = high.min(x - self.cut);
            }
        }
        0.5 * (low + high)
    }
}

impl Statistic for Huber {
    fn value(&self, weights: &[f64], _: &mut Vec<f64>) -> f64 {
        self.centre + self.root(weights)
    }

    fn influence(&self, weights: &[f64], out: &mut [f64], _: &mut Vec<f64>) -> Option<f64> {
        let theta = self.root(weights);
        let (_, inside) = self.sums(weights, theta);
        for (to, x) in out.iter_mut().zip(&self.x) {
            *to = (x - theta).clamp(-self.cut, self.cut) / inside;
        }
        Some(self.centre + theta)
    }
}
