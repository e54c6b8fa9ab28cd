//! The regularised incomplete gamma functions, their logarithms and their inverses.

use super::arithmetic::{log1p_less, power_ln, two_sum};
use super::batch::Tails;
use super::elementary::ln1p;
use super::expansion::Expansion;
use super::gamma::{LN_SQRT_2PI, ln_gamma, ln_gamma_1p, stirling_correction};
use super::solve::{Point, solve};
use super::tail::{Exponent, LARGE, SMOOTH, Tail};
use crate::simd::{Real, exp, ln, normal_quantile};

/// P(a, x) and Q(a, x) at fixed a: the distribution function of the gamma law and its complement.
///
/// The smaller tail has a relative error of about 1e-14, plus a few roundings times its condition
/// number x f(x) / P; the logarithms are finite where the tails underflow. The methods are those
/// of [`IncompleteBeta`](super::IncompleteBeta).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncompleteGamma {
    pub(super) a: f64,
    /// The part of the log-density that does not depend on x.
    pub(super) constant: f64,
    pub(super) expansion: Option<Expansion>,
}

impl IncompleteGamma {
    /// Returns the functions for this parameter; NaN everywhere unless it is positive and finite.
    pub fn new(a: f64) -> Self {
        if !(a > 0.0 && a < f64::INFINITY) {
            return Self { a: f64::NAN, constant: f64::NAN, expansion: None };
        }
        let mut expansion = None;
        let constant = if a >= LARGE {
            let correction = stirling_correction(a);
            expansion = Expansion::new(a, a, 1.0, 0.0, -correction);
            0.5 * ln(a) - LN_SQRT_2PI - correction
        } else if a <= 1.0 {
            ln(a) - ln_gamma_1p(a)
        } else {
            -ln_gamma(a)
        };
        Self { a, constant, expansion }
    }

    #[inline(always)]
    pub(super) fn fall<R: Real>(&self, x: R) -> R {
        fall(R::of(self.a), x)
    }

    /// The logarithm of x^a e^-x / Γ(a), the density over ln x, in two doubles.
    fn ln_log_density(&self, x: f64) -> (f64, f64) {
        let Self { a, constant, .. } = *self;
        if a >= LARGE {
            return (constant + self.fall(x), 0.0);
        }
        let (head, low) = power_ln(a, x);
        let rest = constant - x;
        let (ln, left) = two_sum(head, rest);
        (ln, left + low)
    }

    /// Returns true if [`moderate`] covers the parameter.
    pub(super) fn is_moderate(&self) -> bool {
        self.a > 1.0 && self.a < LARGE
    }

    /// Returns true for the lower tail, and the tail that is computed, for 0 < x < ∞.
    fn tail(&self, x: f64) -> (bool, Tail) {
        let a = self.a;
        if let Some(expansion) = &self.expansion {
            let fall = self.fall(x);
            if -2.0 * fall <= expansion.reach {
                let (ratio, height) = (expansion.ratio(fall, x - a), expansion.height);
                let tail = Tail { ln: fall, rest: 0.0, ratio, near_one: false, height };
                return (x < a, tail);
            }
        }
        // A small parameter moves the border outwards: the series is short there, and the complement
        // of the lower tail, which is at most 0.87, loses at most three bits.
        let is_lower = if a < LARGE { x <= a + 1.0 } else { x <= a };
        if is_lower && a <= 1.0 {
            let (head, low) = power_ln(a, x);
            let rest = ln1p(a * small_series(a, x)) - ln_gamma_1p(a);
            let (ln, left) = two_sum(head, rest);
            return (true, Tail { ln, rest: left + low, ratio: 1.0, near_one: true, height: 1.0 });
        }
        let (ln, rest) = self.ln_log_density(x);
        let ratio = if is_lower && (a < LARGE || x < 0.1 * a) {
            series(a, x, 1.0)
        } else if !is_lower && (self.is_moderate() || x > 20.0 + 2.0 * a) {
            continued_fraction(a, x, 1.0)
        } else {
            let sign = if is_lower { -1.0 } else { 1.0 };
            let exponent = Exponent {
                slope: sign * (x - a),
                curvature: x,
                skew: -sign,
                sign,
                n: 0.0,
                t: 0.0,
                nt: x,
                linear: -sign * a,
                rough: a < LARGE,
                smooth: a >= SMOOTH,
            };
            exponent.integral::<false>()
        };
        (is_lower, Tail { ln, rest, ratio, near_one: false, height: 1.0 })
    }

    /// Applies `of` to the tail; at 0 and infinity the values are exact.
    fn at(&self, x: f64, end: (f64, f64), of: impl Fn(bool, Tail) -> f64) -> f64 {
        if self.a.is_nan() || x.is_nan() || x < 0.0 {
            f64::NAN
        } else if x == 0.0 {
            end.0
        } else if x == f64::INFINITY {
            end.1
        } else {
            let (is_lower, tail) = self.tail(x);
            of(is_lower, tail)
        }
    }

    /// P(a, x), the probability below x.
    pub fn lower(&self, x: f64) -> f64 {
        self.at(x, (0.0, 1.0), |is, tail| if is { tail.value() } else { tail.complement() })
    }

    /// Q(a, x) = 1 - P(a, x), the probability above x.
    pub fn upper(&self, x: f64) -> f64 {
        self.at(x, (1.0, 0.0), |is, tail| if is { tail.complement() } else { tail.value() })
    }

    /// ln P(a, x).
    pub fn ln_lower(&self, x: f64) -> f64 {
        let of = |is, tail: Tail| if is { tail.ln_value() } else { tail.ln_complement() };
        self.at(x, (f64::NEG_INFINITY, 0.0), of)
    }

    /// ln Q(a, x).
    pub fn ln_upper(&self, x: f64) -> f64 {
        let of = |is, tail: Tail| if is { tail.ln_complement() } else { tail.ln_value() };
        self.at(x, (0.0, f64::NEG_INFINITY), of)
    }

    /// The point with probability `p` below it; NaN unless `p` is in [0, 1].
    pub fn quantile(&self, p: f64) -> f64 {
        self.quantile_of(true, p)
    }

    /// The point with probability `q` above it; NaN unless `q` is in [0, 1].
    pub fn upper_quantile(&self, q: f64) -> f64 {
        self.quantile_of(false, q)
    }

    /// The point with probability `p` below (`lower`) or above it.
    pub(super) fn quantile_of(&self, lower: bool, p: f64) -> f64 {
        if let Some(found) = self.quick_quantile(lower, p) {
            return found;
        }
        let (lower, p) = if p <= 0.5 { (lower, p) } else { (!lower, 1.0 - p) };
        if lower { self.point::<true>(p) } else { self.point::<false>(p) }
    }

    /// The point with probability `p` ≤ ½ below or above it.
    fn point<const LOWER: bool>(&self, p: f64) -> f64 {
        let a = self.a;
        if a.is_nan() || !(0.0..=1.0).contains(&p) {
            return f64::NAN;
        }
        if p == 0.0 {
            return if LOWER { 0.0 } else { f64::INFINITY };
        }
        let ln_p = ln(p);
        let Some(start) = self.start::<LOWER>(p, ln_p) else { return 0.0 };
        solve(start, 3.0, |x| {
            let (is_lower, tail) = self.tail(x);
            let (density, low) =
                if tail.near_one { self.ln_log_density(x) } else { (tail.ln, tail.rest) };
            let (off, ratio) = if is_lower == LOWER && !tail.near_one {
                (tail.ln - ln_p + (tail.rest + ln(tail.ratio)), tail.ratio / tail.height)
            } else if is_lower == LOWER {
                (tail.ln_value() - ln_p, exp(tail.ln_value() - density - low))
            } else {
                let value = tail.complement();
                (ln(value / p), value / (exp(density) * tail.height))
            };
            let rate = if LOWER { 1.0 / ratio } else { -1.0 / ratio };
            Point { off, rate, slope: a - x }
        })
    }

    /// Returns the initial point; `None` if it is below the smallest double.
    fn start<const LOWER: bool>(&self, p: f64, ln_p: f64) -> Option<f64> {
        let a = self.a;
        let z = if LOWER { normal_quantile(p) } else { -normal_quantile(p) };
        // Wilson and Hilferty's approximation.
        let root = 1.0 - 1.0 / (9.0 * a) + z / (3.0 * a.sqrt());
        if a >= 1.0 && root > 0.4 {
            return Some(a * root * root * root);
        }
        // The first term of the power series, x^a / Γ(a + 1).
        let ln_lower = if LOWER { ln_p } else { ln1p(-p) };
        let first = (ln_lower + ln_gamma_1p(a)) / a;
        if first < -745.0 {
            return None;
        }
        let power = exp(first.min(700.0));
        if LOWER {
            Some(power)
        } else {
            // In the far tail it is about x^(a - 1) e^-x / Γ(a).
            let far = -ln_p + self.constant;
            Some(if far > 2.0 { far } else { power.min(2.0) })
        }
    }
}

/// The fall of the density's logarithm from the mode at a ≥ 12.
#[inline(always)]
pub(super) fn fall<R: Real>(a: R, x: R) -> R {
    a * log1p_less((x - a) / a, x / a)
}

/// Σ (-x)^k / (k! (a + k)) over k ≥ 1, for x up to about 2.
fn small_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 0.0);
    let mut k = 0.0;
    loop {
        k += 1.0;
        term *= -x / k;
        let part = term / (a + k);
        sum += part;
        if part.abs() <= 1.0e-17 * sum.abs() {
            return sum;
        }
    }
}

/// Returns P over the density of ln x by its power series, for x ≤ a + 1; `open` is 1 in the lanes to
/// compute, else 0. A lane stays fixed after its last terms.
#[inline(always)]
fn series<R: Real>(a: R, x: R, mut open: R) -> R {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    let (mut term, mut sum, mut k) = (one, one, a);
    while zero.any_below(open) {
        // Two terms per division.
        let (first, second) = (k + one, k + R::of(2.0));
        let share = x / (first * second);
        let next = term * (share * second);
        term = term * (share * x);
        sum = sum + zero.below(open, next + term, zero);
        open = (sum * R::of(1.0e-17)).below(term, open, zero);
        k = second;
    }
    sum / a
}

/// Returns Q over the density of ln x by Legendre's continued fraction and Steed's method, for x
/// above a + 1; `open` as in [`series`].
#[inline(always)]
fn continued_fraction<R: Real>(a: R, x: R, mut open: R) -> R {
    let (zero, one, two) = (R::of(0.0), R::of(1.0), R::of(2.0));
    let mut b = x + one - a;
    let (mut value, mut d, mut step) = (b, zero, one);
    let mut count = 0.0;
    while zero.any_below(open) && count < 500.0 {
        count += 1.0;
        let k = R::of(count);
        let an = k * (a - k);
        b = b + two;
        d = one / (b + an * d);
        let change = an * d * step;
        step = zero - d * change;
        value = value + zero.below(open, change, zero);
        open = (value * R::of(1.1e-16)).below(change.abs(), open, zero);
    }
    one / value
}

/// Returns the tails of laws with 1 < a < 12; `constant` is the constant of their log-densities.
#[inline(always)]
pub(super) fn moderate<R: Real>(a: R, constant: R, x: R) -> Tails<R> {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    let good = one.below(a, a.below(R::of(LARGE), one, zero), zero);
    let good = R::of(1.0e-30).below(x, x.below(R::of(1.0e30), good, zero), zero);
    let upper = (a + one).below(x, one, zero);
    let below = series(a, x, upper.below(one, good, zero));
    let above = continued_fraction(a, x, zero.below(upper, good, zero));
    let (ln, rest) = two_sum(a * x.ln(), constant - x);
    let ratio = zero.below(upper, above, below);
    let side = zero.below(upper, one, zero - one);
    Tails { side, ln, rest, ratio, height: one, slope: x - a, good }
}

/// P(a, x); for many arguments at the same parameter use [`IncompleteGamma`].
pub fn gamma_lower(a: f64, x: f64) -> f64 {
    IncompleteGamma::new(a).lower(x)
}

/// Q(a, x) = 1 - P(a, x).
pub fn gamma_upper(a: f64, x: f64) -> f64 {
    IncompleteGamma::new(a).upper(x)
}
