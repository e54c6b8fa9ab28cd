//! Tails of many laws, one argument each, eight laws at a time: the bits of the scalar methods.
//!
//! The expansion runs in lanes, what it depends on of the laws included; where it does not serve,
//! the scalar method does.

use super::arithmetic::cross;
use super::batch::{Part, Tails, finish, inside, leave};
use super::expansion::{Expansions, LEAST};
use super::gamma::stirling_series;
use super::{IncompleteBeta, IncompleteGamma, beta, gamma_ratio};
use crate::simd::{Kernel, LANES, Real, V, dispatch};

/// Eight numbers from `start` on; the last is repeated beyond the end.
#[inline(always)]
fn load(x: &[f64], start: usize) -> V {
    let mut out = V::splat(x[x.len() - 1]);
    let n = LANES.min(x.len() - start);
    out.0[..n].copy_from_slice(&x[start..start + n]);
    out
}

/// Whether one of these smaller parameters at least has an expansion.
#[inline(always)]
fn served(least: V) -> bool {
    least.0.iter().any(|&a| a >= LEAST)
}

struct BetaLaws<'a> {
    part: Part,
    a: &'a [f64],
    b: &'a [f64],
    x: &'a [f64],
    out: &'a mut [f64],
}

#[inline(always)]
fn beta_tails(a: V, b: V, x: V) -> Tails {
    let one = V::splat(1.0);
    let y = one - x;
    let n = a + b;
    let (small, large) = (b.below(a, b, a), b.below(a, a, b));
    let kappa = small * (large / n);
    let correction = stirling_series(n) - (stirling_series(a) + stirling_series(b));
    let w = V::splat(4.0) * (small / n) * (large / n);
    let laws = Expansions::new::<false>(small, kappa, (b - a) / n, w, correction);
    let d = cross(x, b, y, a);
    let ln = beta::fall(a, b, n, (x, y), d);
    let good = laws.reach.below(ln * V::splat(-2.0), V::ZERO, inside(x, y));
    Tails { side: d, ln, rest: V::ZERO, ratio: laws.ratio(ln, d), good }
}

impl Kernel for BetaLaws<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let (a, b) = (load(self.a, start), load(self.b, start));
            if !served(b.below(a, b, a)) {
                left.extend(start..start + out.len());
                continue;
            }
            let tails = beta_tails(a, b, load(self.x, start));
            out.copy_from_slice(&finish(self.part, &tails).0[..out.len()]);
            leave(&tails, start, out.len(), &mut left);
        }
        left
    }
}

/// The wanted part of one beta law after the other, at one x each with y = 1 - x: what
/// [`IncompleteBeta::part`] gives, faster. All slices are of equal length.
pub fn beta_fill(part: Part, a: &[f64], b: &[f64], x: &[f64], out: &mut [f64]) {
    for i in dispatch(BetaLaws { part, a, b, x, out }) {
        out[i] = IncompleteBeta::new(a[i], b[i]).part(part, x[i], 1.0 - x[i]);
    }
}

struct GammaLaws<'a> {
    part: Part,
    a: &'a [f64],
    x: &'a [f64],
    out: &'a mut [f64],
}

#[inline(always)]
fn gamma_tails(a: V, x: V) -> Tails {
    let (zero, one) = (V::ZERO, V::splat(1.0));
    let laws = Expansions::new::<true>(a, a, one, zero, zero - stirling_series(a));
    let ln = gamma_ratio::fall(a, x);
    let side = x - a;
    let positive = zero.below(x, x.below(V::splat(f64::INFINITY), one, zero), zero);
    let good = laws.reach.below(ln * V::splat(-2.0), zero, positive);
    Tails { side, ln, rest: zero, ratio: laws.ratio(ln, side), good }
}

impl Kernel for GammaLaws<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let a = load(self.a, start);
            if !served(a) {
                left.extend(start..start + out.len());
                continue;
            }
            let tails = gamma_tails(a, load(self.x, start));
            out.copy_from_slice(&finish(self.part, &tails).0[..out.len()]);
            leave(&tails, start, out.len(), &mut left);
        }
        left
    }
}

/// The wanted part of one gamma law after the other, at one x each: what
/// [`IncompleteGamma::part`] gives, faster. All slices are of equal length.
pub fn gamma_fill(part: Part, a: &[f64], x: &[f64], out: &mut [f64]) {
    for i in dispatch(GammaLaws { part, a, x, out }) {
        out[i] = IncompleteGamma::new(a[i]).part(part, x[i]);
    }
}
