//! Tails of many laws at one argument each, eight laws at a time, with the bits of the scalar methods.
//!
//! The expansions and their coefficients are computed in lanes, and so are series and fractions for
//! parameters between 1 and 12; the scalar method covers the rest.

use super::batch::{BetaExpansion, GammaExpansion, Method, ModerateGamma, Part, Tails, Task};
use super::expansion::{Expansion, LEAST};
use super::gamma::{ln_gamma_inside, stirling_series};
use super::inverse::Quantiles;
use super::tail::LARGE;
use super::{IncompleteBeta, IncompleteGamma, beta};
use crate::simd::{Kernel, LANES, Real, V, dispatch};

/// Eight numbers from `start` on; the last is repeated beyond the end.
#[inline(always)]
fn load(x: &[f64], start: usize) -> V {
    let end = x.len().min(start + LANES);
    V::padded(&x[start..end], x[x.len() - 1])
}

/// Returns true if at least one of these smaller parameters has an expansion.
#[inline(always)]
fn served(least: V) -> bool {
    least.0.iter().any(|&a| a >= LEAST)
}

/// Beta laws by the continued fraction.
struct ModerateBeta {
    law: (V, V, V),
    constant: V,
}

impl ModerateBeta {
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

impl Method<V> for ModerateBeta {
    const BETA: bool = true;

    #[inline(always)]
    fn parameters(&self) -> (V, V) {
        (self.law.0, self.law.1)
    }

    #[inline(always)]
    fn tails(&self, x: V, y: V) -> Tails<V> {
        beta::moderate(self.law, self.constant, x, y)
    }
}

/// A task of many beta laws, or of gamma laws with `b` as `a`, at one `x` each; gives the positions
/// that no method covers.
struct Laws<'a, T, const BETA: bool> {
    task: T,
    a: &'a [f64],
    b: &'a [f64],
    x: &'a [f64],
    out: &'a mut [f64],
}

impl<T: Task, const BETA: bool> Kernel for Laws<'_, T, BETA> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let (mut left, task) = (Vec::new(), self.task);
        for (tile, out) in self.out.chunks_mut(LANES).enumerate() {
            let start = tile * LANES;
            let (a, b) = (load(self.a, start), load(self.b, start));
            let x = load(self.x, start);
            let (small, large) = (b.below(a, b, a), b.below(a, a, b));
            if BETA && served(small) {
                let n = a + b;
                let kappa = small * (large / n);
                let correction = stirling_series(n) - (stirling_series(a) + stirling_series(b));
                let w = V::splat(4.0) * (small / n) * (large / n);
                let delta = (b - a) / n;
                let expansion = &Expansion::of_eight::<false>(small, kappa, delta, w, correction);
                task.eight(&BetaExpansion { law: (a, b, n), expansion }, x, out, start, &mut left);
            } else if BETA && let Some(method) = ModerateBeta::new(a, b) {
                task.eight(&method, x, out, start, &mut left);
            } else if !BETA && served(a) {
                let (zero, one) = (V::ZERO, V::splat(1.0));
                let correction = zero - stirling_series(a);
                let expansion = &Expansion::of_eight::<true>(a, a, one, zero, correction);
                task.eight(&GammaExpansion { a, expansion }, x, out, start, &mut left);
            } else if !BETA && a.0.iter().any(|&a| a > 1.0 && a < LARGE) {
                let method = ModerateGamma { a, constant: V::ZERO - ln_gamma_inside(a) };
                task.eight(&method, x, out, start, &mut left);
            } else {
                left.extend(start..start + out.len());
            }
        }
        left
    }
}

/// Writes the requested part of each beta law at one x: the values of [`IncompleteBeta::part`] with
/// y = 1 - x, faster. All slices have equal lengths.
pub fn beta_fill(part: Part, a: &[f64], b: &[f64], x: &[f64], out: &mut [f64]) {
    for i in dispatch(Laws::<_, true> { task: part, a, b, x, out }) {
        out[i] = IncompleteBeta::new(a[i], b[i]).part(part, x[i], 1.0 - x[i]);
    }
}

/// Writes the requested part of each gamma law at one x: the values of [`IncompleteGamma::part`],
/// faster. All slices have equal lengths.
pub fn gamma_fill(part: Part, a: &[f64], x: &[f64], out: &mut [f64]) {
    for i in dispatch(Laws::<_, false> { task: part, a, b: a, x, out }) {
        out[i] = IncompleteGamma::new(a[i]).part(part, x[i]);
    }
}

/// Writes the point x of each beta law with probability `p` below (`lower`) or above it: the values
/// of [`IncompleteBeta::quantile`] and its counterpart, faster. All slices have equal lengths.
pub fn beta_quantile_fill(lower: bool, a: &[f64], b: &[f64], p: &[f64], out: &mut [f64]) {
    for i in dispatch(Laws::<_, true> { task: Quantiles { lower }, a, b, x: p, out }) {
        out[i] = IncompleteBeta::new(a[i], b[i]).quantile_of(lower, p[i]).0;
    }
}

/// Writes the point of each gamma law with probability `p` below (`lower`) or above it: the values
/// of [`IncompleteGamma::quantile`] and its counterpart, faster. All slices have equal lengths.
pub fn gamma_quantile_fill(lower: bool, a: &[f64], p: &[f64], out: &mut [f64]) {
    for i in dispatch(Laws::<_, false> { task: Quantiles { lower }, a, b: a, x: p, out }) {
        out[i] = IncompleteGamma::new(a[i]).quantile_of(lower, p[i]);
    }
}
