//! Moments and modes of a posterior.

use super::quadrature::integrate;
use super::region::{Measure, Posterior};
use fermiac_base::simd::{exp, ln};

/// The first two moments, from one pass over the density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The mean, the atom at 0 included.
    pub mean: f64,
    /// The variance, the atom at 0 included.
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
/// The same for nodes that are far apart, whose errors grow quickly once they are seen.
const MISSED_BY_FEW: f64 = 1.0e-12;
/// The distance of nodes over the spread, and its limit. The sum over a normal density is exact to
/// 1e-13 with few nodes; half of a normal law, which falls off like exp(-exp(2 v)) here, needs many.
const FEW: (f64, f64) = (0.6, 0.25);
const MANY: (f64, f64) = (0.35, 0.12);

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

/// The top of an integrand, its logarithm there, and the spread about it.
#[derive(Clone, Copy)]
struct Hump {
    center: f64,
    top: f64,
    width: f64,
}

/// The mass of the density and its moments about the origin, the highest density, and the atom at 0.
struct Pass {
    sums: [f64; 3],
    highest: Highest,
    origin: f64,
    atom: f64,
}

impl Posterior {
    /// The mean and the variance.
    pub fn moments(&self) -> Moments {
        let Pass { sums: [mass, first, second], origin, atom, .. } = self.pass();
        let shift = first - atom * origin;
        Moments {
            mean: (origin + shift).max(0.0),
            variance: (second + atom * origin * origin - shift * shift).max(0.0),
            total: mass + atom,
        }
    }

    /// The mode of the continuous part, to about 1e-8 of its width; 0 where the density falls from
    /// there on.
    pub fn mode(&self) -> f64 {
        self.top(self.pass().highest)
    }

    /// Integrates the density over a variable in which it dies out on both sides: by the trapezoid
    /// rule, which serves if there is one hump, else adaptively.
    fn pass(&self) -> Pass {
        let map = Map(self.measure());
        let atom = exp(self.tails(0.0).ln_lower);
        let median = self.quantile(0.5);
        let origin = if median > 0.0 { median } else { 0.1 * self.rough().1 };
        let sum_with = |hump: Hump, (share, most): (f64, f64)| {
            self.trapezoid(&map, origin, hump, (share * hump.width).min(most))
        };
        // NaN is not below anything.
        let is_good = |sums: &[f64; 3], missed: f64| (sums[0] + atom - 1.0).abs() < missed;
        let start = self.start(&map, origin);
        let (mut sums, mut highest) = sum_with(start, FEW);
        if !is_good(&sums, MISSED_BY_FEW) {
            (sums, highest) = sum_with(self.climbed(&map, start), MANY);
        }
        if !is_good(&sums, MISSED) {
            (sums, highest) = self.adaptive(&map, origin, 1.0 - atom);
        }
        Pass { sums, highest, origin, atom }
    }

    /// The logarithm of the integrand.
    fn height(&self, map: &Map, v: f64) -> f64 {
        let (value, rate) = map.value(v);
        self.ln_density(value) + ln(rate)
    }

    /// About the top of the integrand: the median, and the spread by first derivatives.
    fn start(&self, map: &Map, median: f64) -> Hump {
        let center = map.inverse(median);
        let width = (self.rough().1 / map.value(center).1).clamp(1.0e-9, 1.0);
        Hump { center, top: self.height(map, center), width }
    }

    /// The top of the integrand, and the spread about it.
    fn climbed(&self, map: &Map, start: Hump) -> Hump {
        let height = |v: f64| self.height(map, v);
        let (center, top) = climb(height, start);
        let mut width = start.width;
        // The spread, from the curvature over itself.
        for _ in 0..3 {
            let bend = 2.0 * top - height(center - width) - height(center + width);
            if bend > 0.25 && bend < 4.0 {
                break;
            }
            let factor = if bend > 0.0 { 1.0 / bend.sqrt() } else { 0.5 };
            width = (width * factor.clamp(0.2, 5.0)).min(1.0);
        }
        Hump { center, top, width }
    }

    /// The mass of the density and its first two moments about the origin.
    fn trapezoid(&self, map: &Map, origin: f64, hump: Hump, step: f64) -> ([f64; 3], Highest) {
        let Hump { center, top, .. } = hump;
        let mut sums = [0.0; 3];
        let mut highest = Highest::NONE;
        let mut side = |first: f64, direction: f64| {
            for k in 0..4000 {
                let (value, rate) = map.value(center + step * (first + direction * f64::from(k)));
                let ln_density = self.ln_density(value);
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
fn climb(at: impl Fn(f64) -> f64, start: Hump) -> (f64, f64) {
    let Hump { mut center, mut top, width } = start;
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

/// The place of the maximum between two ends, by parabolas and golden sections.
///
/// R. P. Brent (1973), "Algorithms for minimization without derivatives", chapter 5.
fn maximum(f: impl Fn(f64) -> f64, mut low: f64, middle: f64, mut high: f64) -> f64 {
    const GOLDEN: f64 = 0.381_966_011_250_105_1;
    let least = 1.0e-8 * (high - low);
    // The best three points so far, best first.
    let (mut x, mut w, mut v) = (middle, middle, middle);
    let mut fx = f(middle);
    let (mut fw, mut fv) = (fx, fx);
    let (mut step, mut before) = (0.0_f64, 0.0_f64);
    for _ in 0..100 {
        let center = 0.5 * (low + high);
        let near = least.max(1.0e-15 * x);
        if (x - center).abs() + 0.5 * (high - low) <= 2.0 * near {
            break;
        }
        let (r, q) = ((x - w) * (fx - fv), (x - v) * (fx - fw));
        let numerator = (x - v) * q - (x - w) * r;
        let denominator = 2.0 * (q - r);
        let parabola = -numerator / denominator;
        let fits = parabola.is_finite()
            && parabola.abs() < 0.5 * before.abs()
            && x + parabola > low
            && x + parabola < high;
        before = step;
        if fits {
            step = parabola;
        } else {
            before = if x < center { high - x } else { low - x };
            step = GOLDEN * before;
        }
        if step.abs() < near {
            step = near.copysign(center - x);
        }
        let u = x + step;
        let fu = f(u);
        if fu >= fx {
            if u < x {
                high = x;
            } else {
                low = x;
            }
            (v, fv, w, fw, x, fx) = (w, fw, x, fx, u, fu);
        } else {
            if u < x {
                low = u;
            } else {
                high = u;
            }
            if fu >= fw || w == x {
                (v, fv, w, fw) = (w, fw, u, fu);
            } else if fu >= fv || v == x || v == w {
                (v, fv) = (u, fu);
            }
        }
    }
    if f(low) >= fx { low } else { x }
}
