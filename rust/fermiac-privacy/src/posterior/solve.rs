//! Quantiles and shortest intervals of a posterior.

use super::region::{Measure, Posterior, Tails};
use fermiac_base::simd::{exp, ln, normal_quantile};

/// A probability, as what lies below and what lies above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probability {
    pub(super) below: f64,
    pub(super) above: f64,
}

impl Posterior {
    /// The least value with probability `p` at or below it; NaN unless `p` is in [0, 1].
    pub fn quantile(&self, p: f64) -> f64 {
        self.inverse(Probability { below: p, above: 1.0 - p }, None)
    }

    /// The least value with probability at most `q` above it; NaN unless `q` is in [0, 1].
    pub fn upper_quantile(&self, q: f64) -> f64 {
        self.inverse(Probability { below: 1.0 - q, above: q }, None)
    }

    /// The end of the values: infinity, or 1 for delta.
    fn end(&self) -> f64 {
        if let Measure::Delta(_) = self.measure() { 1.0 } else { f64::INFINITY }
    }

    /// The value with this probability below, from a start near it.
    ///
    /// The logarithm of either tail is concave where its density is log-concave, so Newton's steps
    /// on it do not overshoot from the outside; a bracket holds the others.
    pub(super) fn inverse(&self, p: Probability, start: Option<f64>) -> f64 {
        let end = self.end();
        if !(p.below >= 0.0 && p.above >= 0.0) {
            return f64::NAN;
        }
        if p.below == 0.0 {
            return 0.0;
        }
        if p.above == 0.0 {
            return end;
        }
        let is_lower = p.below <= p.above;
        let ln_p = ln(if is_lower { p.below } else { p.above });
        let off = |tails: Tails| {
            if is_lower { tails.ln_lower - ln_p } else { ln_p - tails.ln_upper }
        };
        let mut value = start.unwrap_or_else(|| self.guess(p));
        let (mut low, mut high) = (0.0, end);
        let mut tested = false;
        let mut last: Option<Node> = None;
        for _ in 0..200 {
            let tails = self.tails(value);
            let side = if is_lower { tails.ln_lower } else { tails.ln_upper };
            let miss = off(tails);
            let node = Node { miss, value, inverse_rate: exp(side - self.ln_density(value)) };
            if miss > 0.0 {
                high = value;
            } else {
                low = value;
            }
            let newton = value - miss * node.inverse_rate;
            let between = last.map(|last| last.between(&node));
            let next = match between {
                Some(next) if (next - newton).abs() < 0.5 * (value - newton).abs() => next,
                _ => newton,
            };
            let missed = last.map_or(1.0, |last| last.miss.abs().min(1.0));
            let done = miss.abs() < 1.0e-7
                || miss * missed * (miss * missed) < 1.0e-15 && between.is_some();
            if miss == 0.0 || done && next > 0.0 && next < end {
                return next;
            }
            last = Some(node);
            let next = if next.is_finite() && next > low && next < high {
                next.min(8.0 * value + 1.0)
            } else if high < f64::INFINITY {
                if !tested && low == 0.0 {
                    tested = true;
                    if off(self.tails(0.0)) >= 0.0 {
                        return 0.0;
                    }
                }
                0.5 * (low + high)
            } else {
                2.0 * value + 1.0
            };
            if (next - value).abs() <= 1.0e-15 * value {
                return next;
            }
            value = next;
        }
        value
    }

    /// Where to start: a quantile of the normal law with the rough center and spread, or of its
    /// absolute value where the center is lost in the spread.
    fn guess(&self, p: Probability) -> f64 {
        let (center, spread) = self.rough();
        let z = |below: f64, above: f64| {
            if below <= above { normal_quantile(below) } else { -normal_quantile(above) }
        };
        let guess = if center < spread && self.is_folded() {
            spread * z(0.5 * (1.0 + p.below), 0.5 * p.above)
        } else {
            center + z(p.below, p.above) * spread
        };
        if let Measure::Delta(_) = self.measure() {
            let room = (1.0 - center).clamp(0.0, 1.0);
            return guess.clamp(1.0e-3 * spread.min(1.0), 1.0 - 1.0e-3 * room);
        }
        if guess.is_finite() { guess.max(0.1 * spread) } else { 1.0 }
    }

    /// The shortest interval with this probability, the atom at 0 counted where it holds 0; where
    /// the density has several humps, the shortest one about one of them.
    pub fn shortest(&self, prob: f64) -> (f64, f64) {
        if !(0.0..=1.0).contains(&prob) {
            return (f64::NAN, f64::NAN);
        }
        let from_zero = self.quantile(prob);
        let whole = (0.0, from_zero);
        if prob == 0.0 || prob == 1.0 {
            return whole;
        }
        // The end of a longer lower tail has a higher density than the other end: one root.
        let mut upper = None;
        let mut other_end = |low: f64| {
            let tails = self.tails(low);
            let below = exp(tails.ln_lower) + prob;
            let above = exp(tails.ln_upper) - prob;
            if above <= 0.0 {
                return (f64::INFINITY, f64::INFINITY);
            }
            let high = self.inverse(Probability { below, above }, upper);
            upper = Some(high);
            (high, self.ln_density(low) - self.ln_density(high))
        };
        let at_zero = other_end(0.0).1;
        if at_zero >= 0.0 {
            return whole;
        }
        let (mut low, mut high) = (0.0, self.upper_quantile(prob));
        let (mut before, mut at_before) = (0.0, at_zero);
        let mut value = self.quantile(0.5 * (1.0 - prob));
        let mut interval = whole;
        for _ in 0..100 {
            let (end, difference) = other_end(value);
            if difference < f64::INFINITY {
                interval = (value, end);
            }
            if difference.abs() < 1.0e-9 {
                break;
            }
            if difference < 0.0 {
                low = value;
            } else {
                high = value;
            }
            let secant = value - difference * ((value - before) / (difference - at_before));
            let next = if secant > low && secant < high { secant } else { 0.5 * (low + high) };
            if high - low <= 1.0e-14 * high {
                break;
            }
            (before, at_before) = (value, difference);
            value = next;
        }
        if interval.1 - interval.0 < from_zero { interval } else { whole }
    }
}

/// A point of the curve whose root is wanted.
#[derive(Clone, Copy)]
struct Node {
    miss: f64,
    value: f64,
    inverse_rate: f64,
}

impl Node {
    /// The value where nothing is missed, by the cubic through both points and their slopes.
    fn between(&self, other: &Self) -> f64 {
        let length = other.miss - self.miss;
        let s = -self.miss / length;
        let (chord, own) = (other.value - self.value, 1.0 - s);
        let (m, n) = (self.inverse_rate * length - chord, chord - other.inverse_rate * length);
        self.value + s * chord + s * own * (own * m + s * n)
    }
}
