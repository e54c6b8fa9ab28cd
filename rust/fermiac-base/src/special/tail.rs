//! Tails of the beta and gamma laws as the density times a ratio, by quadrature.
//!
//! Let w be the logit (beta) or the logarithm (gamma) of the argument. The density g over w is
//! log-concave, and a tail that starts on its own side of the mode is g(w) ∫ exp(-Ψ(s)) ds over
//! s ≥ 0, with Ψ convex and increasing. Cut at Ψ ≈ 36, the integrand is as smooth as half a Gaussian,
//! and 24 or 32 Gauss–Legendre nodes give it to 1e-14 for parameters of any size, without iteration.

use super::elementary::{expm1, ln1p};
use super::gauss::{MANY, SOME};
use crate::simd::{EXP, Kernel, Real, V, dispatch, exp, expm1v, expv, ln, ln1pv};

/// The least parameter for Stirling's remainders and the smaller rule.
pub(super) const LARGE: f64 = 12.0;
/// The least parameter for quadrature of a beta tail; below, a continued fraction is shorter.
pub(super) const QUADRATURE: f64 = 40.0;
/// The least parameters with a sufficient first guess of the cut.
pub(super) const SMOOTH: f64 = 60.0;
/// A value with a smaller logarithm is formed in two factors.
pub(super) const UNDERFLOW: f64 = -600.0;
/// The value of Ψ at which the integral is cut.
const CUT: f64 = 36.0;
/// The least n x (1 - x) at which the nodes are so near zero that series are enough.
const NARROW: f64 = 8000.0;

/// A tail, exp(`ln` + `rest`) · `ratio`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) ln: f64,
    pub(super) rest: f64,
    pub(super) ratio: f64,
    /// True if `ln` is small and accurate, so that the complement is 1 - e^ln.
    pub(super) near_one: bool,
    /// The density over exp(`ln` + `rest`).
    pub(super) height: f64,
}

impl Tail {
    pub(super) fn value(self) -> f64 {
        let ratio = self.ratio + self.ratio * self.rest;
        if self.ln < UNDERFLOW {
            // In two factors, so that a value near the subnormals rounds once.
            let half = exp(0.5 * self.ln);
            return (half * ratio) * half;
        }
        exp(self.ln) * ratio
    }

    pub(super) fn complement(self) -> f64 {
        if self.near_one { -expm1(self.ln + self.rest) } else { 1.0 - self.value() }
    }

    pub(super) fn ln_value(self) -> f64 {
        self.ln + (self.rest + ln(self.ratio))
    }

    pub(super) fn ln_complement(self) -> f64 {
        if self.near_one && self.ln > -0.5 { ln(self.complement()) } else { ln1p(-self.value()) }
    }
}

/// The exponent Ψ(s) = `linear` s + n ln(1 + t E) with E = exp(±s) - 1; for the gamma law, where
/// n → ∞ at fixed n t, `linear` s + n t E.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exponent {
    /// The first derivative of Ψ at 0.
    pub(super) slope: f64,
    /// The second derivative.
    pub(super) curvature: f64,
    /// Minus the third derivative over the second.
    pub(super) skew: f64,
    /// The sign in E.
    pub(super) sign: f64,
    pub(super) n: f64,
    pub(super) t: f64,
    /// n t.
    pub(super) nt: f64,
    /// `slope` - `sign` n t, without the cancellation.
    pub(super) linear: f64,
    /// True if one of the parameters is small, which needs more nodes.
    pub(super) rough: bool,
    /// True if the cut needs no refinement.
    pub(super) smooth: bool,
}

impl Exponent {
    /// Returns the integral of exp(-Ψ(s)) over s ≥ 0; Ψ has the logarithm if `BETA`.
    pub(super) fn integral<const BETA: bool>(&self) -> f64 {
        let Self { slope, curvature, skew, .. } = *self;
        if curvature > NARROW {
            let length = 2.0 * CUT / (slope + (slope * slope + 2.0 * CUT * curvature).sqrt());
            return dispatch(Rule::<BETA, false> { exponent: self, nodes: &SOME, length });
        }
        // Ψ ≈ slope s + curvature s² / (2 + 2 skew s / 3).
        let k = skew.max(0.0) / 3.0;
        let (square, line) = (slope * k + 0.5 * curvature, slope - CUT * k);
        let mut length = 2.0 * CUT / (line + (line * line + 4.0 * CUT * square).sqrt());
        // Ψ is convex: from either side a Newton step leads to Ψ of at least CUT.
        let steps = if self.smooth { 0 } else { 12 };
        for _ in 0..steps {
            let e = expm1(self.sign * length);
            let log = if BETA { self.n * ln1p(self.t * e) } else { self.nt * e };
            let value = self.linear * length + log;
            let share = if BETA { (1.0 + e) / (1.0 + self.t * e) } else { 1.0 + e };
            length -= (value - CUT) / (self.linear + self.sign * self.nt * share);
            if value < 1.25 * CUT {
                break;
            }
        }
        let nodes: &[(V, V)] = if self.rough { &MANY } else { &SOME };
        dispatch(Rule::<BETA, true> { exponent: self, nodes, length })
    }
}

/// The Gauss–Legendre rule on [0, `length`]. Nothing is fused, so the bits are the same at every
/// level; the level only sets the width of the vectors.
struct Rule<'a, const BETA: bool, const WIDE: bool> {
    exponent: &'a Exponent,
    nodes: &'a [(V, V)],
    length: f64,
}

/// 1/k! for k = 11 … 2: (eˢ - 1 - s) / s² for |s| < 0.15.
const SMALL_EXP: [f64; 10] = {
    let [_, _, small @ ..] = EXP;
    small
};
/// 2/(2k + 1) for k = 5 … 1: (2 artanh r - 2 r) / r³ for |r| < 0.05.
const SMALL_LOG: [f64; 5] = [2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];

impl<const BETA: bool, const WIDE: bool> Rule<'_, BETA, WIDE> {
    #[inline(always)]
    fn exponent(&self, s: V) -> V {
        let Exponent { slope, sign, n, t, nt, linear, .. } = *self.exponent;
        let signed = s * V::splat(sign);
        if WIDE {
            let e = expm1v::<false>(signed);
            let log =
                if BETA { ln1pv::<false>(e * V::splat(t)) * V::splat(n) } else { e * V::splat(nt) };
            return s * V::splat(linear) + log;
        }
        let e2 = signed * signed * signed.horner(&SMALL_EXP);
        let value = s * V::splat(slope) + e2 * V::splat(nt);
        if !BETA {
            return value;
        }
        let z = (signed + e2) * V::splat(t);
        let r = z / (z + V::splat(2.0));
        let square = r * r;
        // ln(1 + z) - z = 2 artanh r - 2 r - z r.
        value + r * (square * square.horner(&SMALL_LOG) - z) * V::splat(n)
    }
}

impl<const BETA: bool, const WIDE: bool> Kernel for Rule<'_, BETA, WIDE> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let mut sum = V::ZERO;
        for &(node, weight) in self.nodes {
            let psi = self.exponent(node * V::splat(self.length));
            sum = sum + expv::<false>(V::ZERO - psi) * weight;
        }
        sum.sum() * self.length
    }
}
