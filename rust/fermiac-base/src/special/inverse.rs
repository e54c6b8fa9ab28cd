//! Inverses of tails by Halley's method, for one argument or eight.
//!
//! From a start with a few correct digits, two or three steps are enough. The far tails and small
//! parameters are left to `solve.rs`, which converges from any start.

use super::batch::{Method, Run, Task};
use super::{IncompleteBeta, IncompleteGamma};
use crate::simd::{Real, V, dispatch};

/// The largest number of steps; few points need four.
const STEPS: usize = 8;
/// If ln(tail / wanted) is less, the next step is the last, as its error is the cube.
const CLOSE: f64 = 1.0e-5;

/// Returns the points with probability `p` below (`lower`) or above, and 1 if they were found, else 0.
#[inline(always)]
fn invert<R: Real, M: Method<R>>(method: &M, lower: bool, p: R) -> (R, R, R) {
    let (zero, one, half) = (R::of(0.0), R::of(1.0), R::of(0.5));
    let way = R::of(if lower { 1.0 } else { -1.0 });
    let sign = half.below(p, zero - way, way);
    let p = half.below(p, one - p, p);
    let (a, b) = method.parameters();
    let z = p.normal_quantile();
    let (start, good) = if M::BETA { beta_start(a, b, z, sign) } else { gamma_start(a, z, sign) };
    let mut open = zero.below(p, good, zero);
    let mut found = zero;
    let mut r = zero.below(open, start, one);
    let ln_p = p.ln();
    for _ in 0..STEPS {
        let (x, y) = if M::BETA { odds(r) } else { (r, r) };
        let tails = method.tails(x, y);
        open = open * tails.good;
        let e = tails.ln.exp();
        let value = e * (tails.ratio + tails.ratio * tails.rest);
        let other = one - value;
        let own = (tails.side * sign).below(zero, one, zero);
        let log = zero.below(own, tails.ratio, other / p).ln();
        let off = log + zero.below(own, (tails.ln - ln_p) + tails.rest, zero);
        // d ln tail / d ln r, and that of the density, towards the tail.
        let rate = zero.below(own, tails.height / tails.ratio, e * tails.height / other);
        let slope = zero - tails.slope * sign;
        let bend = half * off * (slope - rate) / rate;
        let bend = bend.below(zero - one, zero - one, half.below(bend, half, bend));
        let step = (zero - off) / (rate * (one - bend));
        let limit = one + one;
        let step = step.below(zero - limit, zero - limit, limit.below(step, limit, step));
        r = zero.below(open, r * (step * sign).exp(), r);
        let done = off.abs().below(R::of(CLOSE), open, zero);
        found = found + done;
        open = open - done;
        if !zero.any_below(open) {
            break;
        }
    }
    let (x, y) = if M::BETA { odds(r) } else { (r, r) };
    (x, y, found)
}

/// x and y = 1 - x from their odds.
#[inline(always)]
fn odds<R: Real>(r: R) -> (R, R) {
    let one = R::of(1.0);
    let y = one / (one + r);
    (r * y, y)
}

/// The initial odds, and 1 if they are usable, else 0, by Abramowitz and Stegun, 26.5.22, from z of
/// the tail on the side of `sign`: the lower one if it is 1, the upper one if it is -1.
#[inline(always)]
fn beta_start<R: Real>(a: R, b: R, z: R, sign: R) -> (R, R) {
    let (zero, one, two) = (R::of(0.0), R::of(1.0), R::of(2.0));
    let (ra, rb) = (one / (two * a - one), one / (two * b - one));
    let lambda = (z * z - R::of(3.0)) * R::of(1.0 / 6.0);
    let h = two / (ra + rb);
    let room = h + lambda;
    let shift = (rb - ra) * (lambda + R::of(5.0 / 6.0) - R::of(2.0 / 3.0) / h);
    let w = sign * z * room.sqrt() / h + shift;
    let good = zero.below(room, w.abs().below(R::of(20.0), one, zero), zero);
    ((a / b) * (w + w).exp(), good)
}

/// The initial argument, and 1 if it is usable, else 0, by Wilson and Hilferty's approximation,
/// likewise.
#[inline(always)]
fn gamma_start<R: Real>(a: R, z: R, sign: R) -> (R, R) {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    let root = one - one / (R::of(9.0) * a) + sign * z / (R::of(3.0) * a.sqrt());
    (a * root * root * root, R::of(0.4).below(root, one, zero))
}

/// The points with this probability below or above them.
#[derive(Clone, Copy)]
pub(super) struct Quantiles {
    pub(super) lower: bool,
}

impl Task for Quantiles {
    #[inline(always)]
    fn values(self, method: &impl Method<V>, p: V) -> (V, V) {
        let (x, _, found) = invert(method, self.lower, p);
        (x, found)
    }
}

/// Returns the point (x, y) by the first method that there is, if it was found.
fn quick<A: Method<f64>, B: Method<f64>>(
    (first, second): (Option<A>, Option<B>),
    lower: bool,
    p: f64,
) -> Option<(f64, f64)> {
    let (x, y, found) = match (first, second) {
        (Some(method), _) => invert(&method, lower, p),
        (None, Some(method)) => invert(&method, lower, p),
        (None, None) => return None,
    };
    (found == 1.0).then_some((x, y))
}

/// Writes the points by the first method that there is and returns the positions not found.
fn fill<A: Method<V>, B: Method<V>>(
    (first, second): (Option<A>, Option<B>),
    lower: bool,
    x: &[f64],
    out: &mut [f64],
) -> Vec<usize> {
    let task = Quantiles { lower };
    match (first, second) {
        (Some(method), _) => dispatch(Run { method, task, x, out }),
        (None, Some(method)) => dispatch(Run { method, task, x, out }),
        (None, None) => (0..x.len()).collect(),
    }
}

impl IncompleteBeta {
    /// Returns the point with probability `p` below (`lower`) or above it, if a fast method covers it.
    pub(super) fn quick_quantile(&self, lower: bool, p: f64) -> Option<(f64, f64)> {
        quick((self.by_expansion(), self.by_fraction()), lower, p)
    }

    /// Writes the points x with probability `p` below (`lower`) or above them: the values of
    /// [`Self::quantile`] and its counterpart, faster.
    pub fn fill_quantile(&self, lower: bool, p: &[f64], out: &mut [f64]) {
        for i in fill((self.by_expansion(), self.by_fraction()), lower, p, out) {
            out[i] = self.quantile_of(lower, p[i]).0;
        }
    }
}

impl IncompleteGamma {
    /// Returns the point with probability `p` below (`lower`) or above it, if a fast method covers it.
    pub(super) fn quick_quantile(&self, lower: bool, p: f64) -> Option<f64> {
        quick((self.by_expansion(), self.by_series()), lower, p).map(|(x, _)| x)
    }

    /// Writes the points with probability `p` below (`lower`) or above them: the values of
    /// [`Self::quantile`] and its counterpart, faster.
    pub fn fill_quantile(&self, lower: bool, p: &[f64], out: &mut [f64]) {
        for i in fill((self.by_expansion(), self.by_series()), lower, p, out) {
            out[i] = self.quantile_of(lower, p[i]);
        }
    }
}
