//! Moments and modes of a posterior.

use super::region::{Measure, Posterior};
use crate::simd::{exp, ln};

/// Moments of a posterior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The variance.
    pub variance: f64,
    /// All probability, by the same quadrature: 1 but for what that leaves out.
    pub total: f64,
}

/// The variable of the quadrature: the whole line onto the values.
struct Map(Measure);

impl Map {
    /// The value, and its derivative.
    fn value(&self, v: f64) -> (f64, f64) {
        if let Measure::Delta(_) = self.0 {
            let e = exp(-v.abs());
            let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
            (if v < 0.0 { small } else { large }, small * large)
        } else {
            let e = exp(-v);
            let value = exp(v - e);
            (value, value * (1.0 + e))
        }
    }

    fn inverse(&self, value: f64) -> f64 {
        if let Measure::Delta(_) = self.0 {
            return ln(value / (1.0 - value));
        }
        // v - exp(-v) = ln(value)
        let target = ln(value);
        let mut v = if target > 0.0 { target } else { -ln(1.0 - target) };
        for _ in 0..20 {
            let e = exp(-v);
            let step = (v - e - target) / (1.0 + e);
            v -= step;
            if step.abs() < 1.0e-12 {
                break;
            }
        }
        v
    }
}

/// Below the top by this much, in its logarithm, an integrand is left out.
const DEPTH: f64 = 38.0;

impl Posterior {
    /// The mean and the variance.
    ///
    /// The density is integrated over a variable in which it dies out on both sides, by the
    /// trapezoid rule.
    pub fn moments(&self) -> Moments {
        let map = Map(self.measure());
        let at = |v: f64| {
            let (value, rate) = map.value(v);
            (value, self.ln_density(value) + ln(rate))
        };
        let median = self.quantile(0.5);
        let spread = self.rough().1;
        let start = if median > 0.0 { median } else { 0.1 * spread };
        let (_, rate) = map.value(map.inverse(start));
        let mut width = (spread / rate).clamp(1.0e-9, 1.0);
        let (center, top) = climb(|v| at(v).1, map.inverse(start), width);
        // The spread, from the curvature over itself.
        for _ in 0..3 {
            let bend = 2.0 * top - at(center - width).1 - at(center + width).1;
            if bend > 0.25 && bend < 4.0 {
                break;
            }
            width = if bend > 0.0 { (width / bend.sqrt()).clamp(0.2 * width, 5.0 * width) } else { 0.5 * width };
            width = width.min(1.0);
        }
        let step = 0.35 * width.min(1.0);
        let mut sums = [0.0; 3];
        let mut side = |first: f64, direction: f64| {
            for k in 0..4000 {
                let v = center + step * (first + direction * f64::from(k));
                let (value, height) = at(v);
                let depth = height - top;
                let weight = exp(depth);
                sums[0] += weight;
                sums[1] += weight * (value - start);
                sums[2] += weight * (value - start) * (value - start);
                if k > 3 && (depth < -DEPTH || !depth.is_finite()) {
                    break;
                }
            }
        };
        side(0.0, 1.0);
        side(-1.0, -1.0);
        let scale = step * exp(top);
        let [mass, first, second] = sums.map(|s| s * scale);
        let atom = exp(self.tails(0.0).ln_lower);
        let shift = first - atom * start;
        Moments {
            mean: start + shift,
            variance: second + atom * start * start - shift * shift,
            total: mass + atom,
        }
    }

    /// The mode of the continuous part, to about 1e-8 of the spread; 0 where the density falls
    /// from there on.
    pub fn mode(&self) -> f64 {
        let end = if let Measure::Delta(_) = self.measure() { 1.0 } else { f64::INFINITY };
        let (center, spread) = self.rough();
        let density = |x: f64| if x >= 0.0 && x < end { self.ln_density(x) } else { f64::NEG_INFINITY };
        let mut step = 0.5 * spread.min(0.2 * end);
        let mut middle = center.clamp(0.0, 0.999 * end);
        let mut at_middle = density(middle);
        // A bracket, uphill.
        let direction = if density(middle + step) > at_middle { 1.0 } else { -1.0 };
        let mut behind = middle - direction * step;
        loop {
            let ahead = (middle + direction * step).clamp(0.0, end);
            let value = density(ahead);
            if value <= at_middle || ahead == middle {
                let (low, high) = if direction > 0.0 { (behind, ahead) } else { (ahead, behind) };
                return maximum(density, low.max(0.0), middle, high.min(end));
            }
            (behind, middle, at_middle) = (middle, ahead, value);
            step *= 2.0;
        }
    }
}

/// The top of a hump, roughly, and its height.
fn climb(at: impl Fn(f64) -> f64, start: f64, width: f64) -> (f64, f64) {
    let (mut center, mut top) = (start, at(start));
    let mut step = width;
    for _ in 0..60 {
        let (left, right) = (at(center - step), at(center + step));
        if left > top && left >= right {
            (center, top) = (center - step, left);
        } else if right > top {
            (center, top) = (center + step, right);
        } else {
            step *= 0.5;
            if step < 0.3 * width {
                break;
            }
        }
    }
    (center, top)
}

/// The maximum of a function between two ends, by golden sections.
fn maximum(f: impl Fn(f64) -> f64, low: f64, middle: f64, high: f64) -> f64 {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let (mut low, mut high) = (low, high);
    let (mut x, mut fx) = (middle, f(middle));
    for _ in 0..100 {
        if high - low <= 3.0e-8 * (1.0e-3 * x + (high - low).min(x)) || high - low < 1.0e-9 * x {
            break;
        }
        let left = x - low > high - x;
        let u = if left { x - GOLDEN * (x - low) } else { x + GOLDEN * (high - x) };
        let fu = f(u);
        if fu > fx {
            if left { high = x } else { low = x }
            (x, fx) = (u, fu);
        } else if left {
            low = u;
        } else {
            high = u;
        }
    }
    if f(low) >= fx { low } else { x }
}
