//! Inverses of tails by Halley's method, for one argument or eight.
//!
//! From a start with a few correct digits, two or three steps are enough. The far tails and small
//! parameters are left to `solve.rs`, which converges from any start.

use super::batch::{BetaExpansion, BetaFraction, GammaExpansion, Method, ModerateGamma};
use super::{IncompleteBeta, IncompleteGamma};
use crate::simd::{Kernel, LANES, Real, V, dispatch};

/// The largest number of steps; few points need four.
const STEPS: usize = 8;
/// If ln(tail / wanted) is less, the next step is the last, as its error is the cube.
const CLOSE: f64 = 1.0e-5;

/// A method whose tails can be inverted.
pub(super) trait Invertible<R: Real>: Method<R> {
    /// Returns the initial r for the tail of a normal law at z, the lower one if `sign` is 1 and the
    /// upper one if it is -1; and 1 if the start is usable, else 0.
    fn start(&self, z: R, sign: R) -> (R, R);
    /// Returns the arguments x and y at r; the density is over ln r.
    fn point(r: R) -> (R, R);
}

/// Returns the points with probability `p` below (`lower`) or above, and 1 if they were found, else 0.
#[inline(always)]
fn invert<R: Real, M: Invertible<R>>(method: &M, lower: bool, p: R) -> (R, R, R) {
    let (zero, one, half) = (R::of(0.0), R::of(1.0), R::of(0.5));
    let way = R::of(if lower { 1.0 } else { -1.0 });
    let sign = half.below(p, zero - way, way);
    let p = half.below(p, one - p, p);
    let (start, good) = method.start(p.normal_quantile(), sign);
    let mut open = zero.below(p, good, zero);
    let mut found = zero;
    let mut r = zero.below(open, start, one);
    let ln_p = p.ln();
    for _ in 0..STEPS {
        let (x, y) = M::point(r);
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
    let (x, y) = M::point(r);
    (x, y, found)
}

/// x and y = 1 - x from their odds.
#[inline(always)]
pub(super) fn odds<R: Real>(r: R) -> (R, R) {
    let one = R::of(1.0);
    let y = one / (one + r);
    (r * y, y)
}

/// The odds by Abramowitz and Stegun, 26.5.22, from z of the tail on the side of `sign`.
#[inline(always)]
pub(super) fn beta_start<R: Real>(a: R, b: R, z: R, sign: R) -> (R, R) {
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

/// The argument by Wilson and Hilferty's approximation, from z of the tail on the side of `sign`.
#[inline(always)]
pub(super) fn gamma_start<R: Real>(a: R, z: R, sign: R) -> (R, R) {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    let root = one - one / (R::of(9.0) * a) + sign * z / (R::of(3.0) * a.sqrt());
    (a * root * root * root, R::of(0.4).below(root, one, zero))
}

macro_rules! invertible {
    ($($method:ident, $law:ident => $start:expr, $point:expr;)*) => {$(
        impl<R: Real> Invertible<R> for $method<'_> {
            #[inline(always)]
            fn start(&self, z: R, sign: R) -> (R, R) {
                let $law = self.0;
                $start(z, sign)
            }

            #[inline(always)]
            fn point(r: R) -> (R, R) {
                $point(r)
            }
        }
    )*};
}

invertible! {
    BetaExpansion, law => |z, sign| beta_start(R::of(law.a), R::of(law.b), z, sign), odds;
    BetaFraction, law => |z, sign| beta_start(R::of(law.a), R::of(law.b), z, sign), odds;
    GammaExpansion, law => |z, sign| gamma_start(R::of(law.a), z, sign), |r| (r, r);
    ModerateGamma, law => |z, sign| gamma_start(R::of(law.a), z, sign), |r| (r, r);
}

/// Inverts eight tails and writes the first `out.len()`; records those not found, counted from
/// `start`.
#[inline(always)]
pub(super) fn invert_eight(
    method: &impl Invertible<V>,
    lower: bool,
    p: V,
    out: &mut [f64],
    start: usize,
    left: &mut Vec<usize>,
) {
    let (x, _, found) = invert(method, lower, p);
    out.copy_from_slice(&x.0[..out.len()]);
    left.extend((0..out.len()).filter(|&l| found.0[l] != 1.0).map(|l| start + l));
}

struct Run<'a, M> {
    method: M,
    lower: bool,
    p: &'a [f64],
    out: &'a mut [f64],
}

impl<M: Invertible<V>> Kernel for Run<'_, M> {
    /// The positions that were not found.
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, (p, out)) in self.p.chunks(LANES).zip(self.out.chunks_mut(LANES)).enumerate() {
            let mut padded = V::splat(p[0]);
            padded.0[..p.len()].copy_from_slice(p);
            invert_eight(&self.method, self.lower, padded, out, tile * LANES, &mut left);
        }
        left
    }
}

/// Returns the point if it was found.
fn some<T>((x, y, found): (f64, f64, f64), of: impl Fn(f64, f64) -> T) -> Option<T> {
    (found == 1.0).then(|| of(x, y))
}

impl IncompleteBeta {
    /// Returns the point with probability `p` below (`lower`) or above it, if a fast method covers it.
    pub(super) fn quick_quantile(&self, lower: bool, p: f64) -> Option<(f64, f64)> {
        let pair = |x, y| (x, y);
        if self.expansion.is_some() {
            some(invert(&BetaExpansion(self), lower, p), pair)
        } else if self.a > 1.0 && self.b > 1.0 {
            some(invert(&BetaFraction(self), lower, p), pair)
        } else {
            None
        }
    }

    /// Writes the points x with probability `p` below (`lower`) or above them: the values of
    /// [`Self::quantile`] and its counterpart, faster.
    pub fn fill_quantile(&self, lower: bool, p: &[f64], out: &mut [f64]) {
        let left = if self.expansion.is_some() {
            dispatch(Run { method: BetaExpansion(self), lower, p, out })
        } else if self.a > 1.0 && self.b > 1.0 {
            dispatch(Run { method: BetaFraction(self), lower, p, out })
        } else {
            (0..p.len()).collect()
        };
        for i in left {
            out[i] = self.quantile_of(lower, p[i]).0;
        }
    }
}

impl IncompleteGamma {
    /// Returns the point with probability `p` below (`lower`) or above it, if a fast method covers it.
    pub(super) fn quick_quantile(&self, lower: bool, p: f64) -> Option<f64> {
        if self.expansion.is_some() {
            some(invert(&GammaExpansion(self), lower, p), |x, _| x)
        } else if self.is_moderate() {
            some(invert(&ModerateGamma(self), lower, p), |x, _| x)
        } else {
            None
        }
    }

    /// Writes the points with probability `p` below (`lower`) or above them: the values of
    /// [`Self::quantile`] and its counterpart, faster.
    pub fn fill_quantile(&self, lower: bool, p: &[f64], out: &mut [f64]) {
        let left = if self.expansion.is_some() {
            dispatch(Run { method: GammaExpansion(self), lower, p, out })
        } else if self.is_moderate() {
            dispatch(Run { method: ModerateGamma(self), lower, p, out })
        } else {
            (0..p.len()).collect()
        };
        for i in left {
            out[i] = self.quantile_of(lower, p[i]);
        }
    }
}
