//! Tails of many laws at one argument each, eight laws at a time, with the bits of the scalar methods.
//!
//! The expansions and their coefficients are computed in lanes, and so are series and fractions for
//! parameters between 1 and 12; the scalar method covers the rest.

use super::arithmetic::cross;
use super::batch::{Method, Part, Tails, finish, inside, leave};
use super::expansion::{Expansions, LEAST};
use super::gamma::{ln_gamma_inside, stirling_series};
use super::inverse::{Invertible, beta_start, gamma_start, invert_eight, odds};
use super::tail::LARGE;
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

/// Returns true if at least one of these smaller parameters has an expansion.
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

/// Eight beta laws by their expansions.
struct EightBeta {
    a: V,
    b: V,
    n: V,
    laws: Expansions,
}

impl EightBeta {
    #[inline(always)]
    fn new(a: V, b: V) -> Self {
        let n = a + b;
        let (small, large) = (b.below(a, b, a), b.below(a, a, b));
        let kappa = small * (large / n);
        let correction = stirling_series(n) - (stirling_series(a) + stirling_series(b));
        let w = V::splat(4.0) * (small / n) * (large / n);
        let laws = Expansions::new::<false>(small, kappa, (b - a) / n, w, correction);
        Self { a, b, n, laws }
    }
}

impl Method<V> for EightBeta {
    #[inline(always)]
    fn tails(&self, x: V, y: V) -> Tails<V> {
        let Self { a, b, n, ref laws } = *self;
        let d = cross(x, b, y, a);
        let ln = beta::fall(a, b, n, (x, y), d);
        let good = laws.reach.below(ln * V::splat(-2.0), V::ZERO, inside(x, y));
        let (ratio, height) = (laws.ratio(ln, d), laws.height);
        Tails { side: d, ln, rest: V::ZERO, ratio, height, slope: d, good }
    }
}

impl Invertible<V> for EightBeta {
    #[inline(always)]
    fn start(&self, z: V, sign: V) -> (V, V) {
        beta_start(self.a, self.b, z, sign)
    }

    #[inline(always)]
    fn point(r: V) -> (V, V) {
        odds(r)
    }
}

/// Eight beta laws by the continued fraction.
struct EightModerateBeta {
    law: (V, V, V),
    constant: V,
}

impl EightModerateBeta {
    /// Returns the method, if it covers at least one of the laws.
    #[inline(always)]
    fn new(a: V, b: V) -> Option<Self> {
        let (small, large) = (b.below(a, b, a), b.below(a, a, b));
        if !(0..LANES).any(|l| small.0[l] > 1.0 && large.0[l] < LARGE) {
            return None;
        }
        let n = a + b;
        // As in `ln_beta`.
        let rest = ln_gamma_inside(large) - ln_gamma_inside(n);
        let ln_beta = ln_gamma_inside(small) + rest;
        Some(Self { law: (a, b, n), constant: V::ZERO - ln_beta - small * n.ln() })
    }
}

impl Method<V> for EightModerateBeta {
    #[inline(always)]
    fn tails(&self, x: V, y: V) -> Tails<V> {
        beta::moderate(self.law, self.constant, x, y)
    }
}

impl Invertible<V> for EightModerateBeta {
    #[inline(always)]
    fn start(&self, z: V, sign: V) -> (V, V) {
        beta_start(self.law.0, self.law.1, z, sign)
    }

    #[inline(always)]
    fn point(r: V) -> (V, V) {
        odds(r)
    }
}

impl Kernel for BetaLaws<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let (a, b) = (load(self.a, start), load(self.b, start));
            let x = load(self.x, start);
            let y = V::splat(1.0) - x;
            let tails = if served(b.below(a, b, a)) {
                EightBeta::new(a, b).tails(x, y)
            } else if let Some(laws) = EightModerateBeta::new(a, b) {
                laws.tails(x, y)
            } else {
                left.extend(start..start + out.len());
                continue;
            };
            out.copy_from_slice(&finish(self.part, &tails).0[..out.len()]);
            leave(&tails, start, out.len(), &mut left);
        }
        left
    }
}

/// Writes the requested part of each beta law at one x: the values of [`IncompleteBeta::part`] with
/// y = 1 - x, faster. All slices have equal lengths.
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

/// Eight gamma laws by their expansions.
struct EightGamma {
    a: V,
    laws: Expansions,
}

impl EightGamma {
    #[inline(always)]
    fn new(a: V) -> Self {
        let (zero, one) = (V::ZERO, V::splat(1.0));
        Self { a, laws: Expansions::new::<true>(a, a, one, zero, zero - stirling_series(a)) }
    }
}

impl Method<V> for EightGamma {
    #[inline(always)]
    fn tails(&self, x: V, _y: V) -> Tails<V> {
        let Self { a, ref laws } = *self;
        let (zero, one) = (V::ZERO, V::splat(1.0));
        let ln = gamma_ratio::fall(a, x);
        let side = x - a;
        let positive = zero.below(x, x.below(V::splat(f64::INFINITY), one, zero), zero);
        let good = laws.reach.below(ln * V::splat(-2.0), zero, positive);
        let (ratio, height) = (laws.ratio(ln, side), laws.height);
        Tails { side, ln, rest: zero, ratio, height, slope: side, good }
    }
}

impl Invertible<V> for EightGamma {
    #[inline(always)]
    fn start(&self, z: V, sign: V) -> (V, V) {
        gamma_start(self.a, z, sign)
    }

    #[inline(always)]
    fn point(r: V) -> (V, V) {
        (r, r)
    }
}

/// Eight gamma laws by series and continued fraction.
struct EightModerateGamma {
    a: V,
    constant: V,
}

impl EightModerateGamma {
    /// Returns the method, if it covers at least one of the laws.
    #[inline(always)]
    fn new(a: V) -> Option<Self> {
        let some = a.0.iter().any(|&a| a > 1.0 && a < LARGE);
        some.then(|| Self { a, constant: V::ZERO - ln_gamma_inside(a) })
    }
}

impl Method<V> for EightModerateGamma {
    #[inline(always)]
    fn tails(&self, x: V, _y: V) -> Tails<V> {
        gamma_ratio::moderate(self.a, self.constant, x)
    }
}

impl Invertible<V> for EightModerateGamma {
    #[inline(always)]
    fn start(&self, z: V, sign: V) -> (V, V) {
        gamma_start(self.a, z, sign)
    }

    #[inline(always)]
    fn point(r: V) -> (V, V) {
        (r, r)
    }
}

impl Kernel for GammaLaws<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let a = load(self.a, start);
            let x = load(self.x, start);
            let tails = if served(a) {
                EightGamma::new(a).tails(x, x)
            } else if let Some(laws) = EightModerateGamma::new(a) {
                laws.tails(x, x)
            } else {
                left.extend(start..start + out.len());
                continue;
            };
            out.copy_from_slice(&finish(self.part, &tails).0[..out.len()]);
            leave(&tails, start, out.len(), &mut left);
        }
        left
    }
}

/// Writes the requested part of each gamma law at one x: the values of [`IncompleteGamma::part`],
/// faster. All slices have equal lengths.
pub fn gamma_fill(part: Part, a: &[f64], x: &[f64], out: &mut [f64]) {
    for i in dispatch(GammaLaws { part, a, x, out }) {
        out[i] = IncompleteGamma::new(a[i]).part(part, x[i]);
    }
}

struct BetaQuantiles<'a> {
    lower: bool,
    a: &'a [f64],
    b: &'a [f64],
    p: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for BetaQuantiles<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let (a, b) = (load(self.a, start), load(self.b, start));
            let p = load(self.p, start);
            if served(b.below(a, b, a)) {
                invert_eight(&EightBeta::new(a, b), self.lower, p, out, start, &mut left);
            } else if let Some(laws) = EightModerateBeta::new(a, b) {
                invert_eight(&laws, self.lower, p, out, start, &mut left);
            } else {
                left.extend(start..start + out.len());
            }
        }
        left
    }
}

/// Writes the point x of each beta law with probability `p` below (`lower`) or above it: the values
/// of [`IncompleteBeta::quantile`] and its counterpart, faster. All slices have equal lengths.
pub fn beta_quantile_fill(lower: bool, a: &[f64], b: &[f64], p: &[f64], out: &mut [f64]) {
    for i in dispatch(BetaQuantiles { lower, a, b, p, out }) {
        out[i] = IncompleteBeta::new(a[i], b[i]).quantile_of(lower, p[i]).0;
    }
}

struct GammaQuantiles<'a> {
    lower: bool,
    a: &'a [f64],
    p: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for GammaQuantiles<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let a = load(self.a, start);
            let p = load(self.p, start);
            if served(a) {
                invert_eight(&EightGamma::new(a), self.lower, p, out, start, &mut left);
            } else if let Some(laws) = EightModerateGamma::new(a) {
                invert_eight(&laws, self.lower, p, out, start, &mut left);
            } else {
                left.extend(start..start + out.len());
            }
        }
        left
    }
}

/// Writes the point of each gamma law with probability `p` below (`lower`) or above it: the values
/// of [`IncompleteGamma::quantile`] and its counterpart, faster. All slices have equal lengths.
pub fn gamma_quantile_fill(lower: bool, a: &[f64], p: &[f64], out: &mut [f64]) {
    for i in dispatch(GammaQuantiles { lower, a, p, out }) {
        out[i] = IncompleteGamma::new(a[i]).quantile_of(lower, p[i]);
    }
}
