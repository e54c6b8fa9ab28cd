//! Moments and modes of a posterior.

use super::quadrature::integrate;
use super::region::{Measure, Posterior};
use fermiac_base::simd::{exp, ln};

/// The moments and the mode, from one pass over the density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The mean, the atom at 0 included.
    pub mean: f64,
    /// The variance, the atom at 0 included.
    pub variance: f64,
    /// The mode of the continuous part, to about 1e-8 of its width; 0 where the density falls from
    /// there on.
    pub mode: f64,
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

    /// Where the values end, for the sake of any density.
    fn least(&self) -> f64 {
        if let Measure::Delta(_) = self.0 { -40.0 } else { -3.7 }
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

/// The probabilities between whose quantiles the adaptive quadrature starts.
const BREAKS: [f64; 9] = [1.0e-17, 1.0e-7, 1.0e-3, 0.05, 0.5, 0.95, 1.0e-3, 1.0e-7, 1.0e-17];
/// The trapezoid sum is good if the probability is missed by no more.
const MISSED: f64 = 1.0e-11;

/// The highest density that was met, and how far its neighbours are.
#[derive(Clone, Copy)]
struct Highest {
    ln: f64,
    value: f64,
    gap: f64,
}

impl Highest {
    const NONE: Self = Self { ln: f64::NEG_INFINITY, value: 0.0, gap: 0.0 };

    fn see(&mut self, ln: f64, value: f64, gap: f64) {
        if ln > self.ln {
            *self = Self { ln, value, gap };
        }
    }
}

impl Posterior {
    /// The mean, the variance and the mode.
    ///
    /// The density is integrated over a variable in which it dies out on both sides: by the
    /// trapezoid rule, which serves if there is one hump, else adaptively.
    pub fn summary(&self) -> Summary {
        let map = Map(self.measure());
        let atom = exp(self.tails(0.0).ln_lower);
        let median = self.quantile(0.5);
        let origin = if median > 0.0 { median } else { 0.1 * self.rough().1 };
        let quick = self.trapezoid(&map, origin);
        let (sums, highest) = if (quick.0[0] + atom - 1.0).abs() < MISSED {
            quick
        } else {
            self.adaptive(&map, origin, 1.0 - atom)
        };
        let [mass, first, second] = sums;
        let shift = first - atom * origin;
        Summary {
            mean: (origin + shift).max(0.0),
            variance: (second + atom * origin * origin - shift * shift).max(0.0),
            mode: self.top(highest),
            total: mass + atom,
        }
    }

    /// The mass of the density and its first two moments about the origin.
    fn trapezoid(&self, map: &Map, origin: f64) -> ([f64; 3], Highest) {
        let at = |v: f64| {
            let (value, rate) = map.value(v);
            let ln = self.ln_density(value);
            (value, rate, ln)
        };
        let height = |v: f64| {
            let (_, rate, ln_density) = at(v);
            ln_density + ln(rate)
        };
        let (_, rate) = map.value(map.inverse(origin));
        let mut width = (self.rough().1 / rate).clamp(1.0e-9, 1.0);
        let (center, top) = climb(height, map.inverse(origin), width);
        // The spread, from the curvature over itself.
        for _ in 0..3 {
            let bend = 2.0 * top - height(center - width) - height(center + width);
            if bend > 0.25 && bend < 4.0 {
                break;
            }
            let factor = if bend > 0.0 { 1.0 / bend.sqrt() } else { 0.5 };
            width = (width * factor.clamp(0.2, 5.0)).min(1.0);
        }
        // Half of a normal law falls off like exp(-exp(2 v)) here.
        let step = (0.35 * width).min(0.12);
        let mut sums = [0.0; 3];
        let mut highest = Highest::NONE;
        let mut side = |first: f64, direction: f64| {
            for k in 0..4000 {
                let (value, rate, ln_density) =
                    at(center + step * (first + direction * f64::from(k)));
                highest.see(ln_density, value, step * rate);
                let depth = ln_density + ln(rate) - top;
                let weight = exp(depth);
                let off = value - origin;
                sums[0] += weight;
                sums[1] += weight * off;
                sums[2] += weight * off * off;
                if k > 3 && (depth < -DEPTH || !depth.is_finite()) {
                    break;
                }
            }
        };
        side(0.0, 1.0);
        side(-1.0, -1.0);
        let scale = step * exp(top);
        (sums.map(|s| s * scale), highest)
    }

    /// The same where the density has several humps.
    fn adaptive(&self, map: &Map, origin: f64, mass: f64) -> ([f64; 3], Highest) {
        let mut breaks: Vec<f64> = (0..BREAKS.len())
            .map(|k| match k {
                0..5 => self.quantile(BREAKS[k]),
                _ => self.upper_quantile(BREAKS[k].min(1.0 - BREAKS[k])),
            })
            .filter(|&value| value > 0.0)
            .map(|value| map.inverse(value))
            .collect();
        if self.tails(0.0).ln_lower > ln(BREAKS[0]) || breaks.first().is_none_or(|&v| v > -1.0) {
            breaks.insert(0, map.least());
        }
        breaks.dedup_by(|b, a| *b <= *a);
        let mut highest = Highest::NONE;
        let sums = integrate(&breaks, mass, |v| {
            let (value, rate) = map.value(v);
            let ln_density = self.ln_density(value);
            highest.see(ln_density, value, 0.1 * value);
            let weight = exp(ln_density + ln(rate));
            let off = value - origin;
            [weight, weight * off, weight * off * off]
        });
        (sums, highest)
    }

    /// The mode of the hump on which the highest density was met.
    fn top(&self, highest: Highest) -> f64 {
        let end = if let Measure::Delta(_) = self.measure() { 1.0 } else { f64::INFINITY };
        let density = |x: f64| if x < end { self.ln_density(x) } else { f64::NEG_INFINITY };
        let (mut low, mut middle, mut high) =
            ((highest.value - highest.gap).max(0.0), highest.value, highest.value + highest.gap);
        let mut at_middle = highest.ln;
        for _ in 0..60 {
            let (left, right) = (density(low), density(high));
            if left > at_middle && left >= right && low < middle {
                (high, middle, at_middle) = (middle, low, left);
                low = (middle - 2.0 * (high - middle)).max(0.0);
            } else if right > at_middle {
                (low, middle, at_middle) = (middle, high, right);
                high = middle + 2.0 * (middle - low);
            } else {
                break;
            }
        }
        let found = maximum(density, low, middle, high.min(end));
        // A density that falls from 0 on is flat there to rounding.
        if density(0.0) >= density(found) - 1.0e-13 { 0.0 } else { found }
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

/// The place of the maximum between two ends, by golden sections.
fn maximum(f: impl Fn(f64) -> f64, mut low: f64, middle: f64, mut high: f64) -> f64 {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let (mut x, mut fx) = (middle, f(middle));
    let least = 1.0e-8 * (high - low);
    while high - low > least && high - low > 1.0e-15 * high {
        let left = x - low > high - x;
        let u = if left { x - GOLDEN * (x - low) } else { x + GOLDEN * (high - x) };
        let fu = f(u);
        match (fu > fx, left) {
            (true, true) => (high, x, fx) = (x, u, fu),
            (true, false) => (low, x, fx) = (x, u, fu),
            (false, true) => low = u,
            (false, false) => high = u,
        }
    }
    if f(low) >= fx { low } else { x }
}
