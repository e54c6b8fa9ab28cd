//! Tails at large parameters: a normal tail corrected by a polynomial that depends only on the law.
//!
//! Let z be the signed root of twice the fall of the log-density from its mode. Then a tail is
//! Q(|z|) plus or minus φ(z) P(z). The series of P converges for |z| below 2√(π m), with m the
//! smaller parameter, and its moments are asymptotic with an error of about exp(-2π m): from m = 16
//! on both errors are below rounding in a range of z that grows with √m.
//!
//! # References
//! N. M. Temme, "The uniform asymptotic expansion of a class of integrals related to cumulative
//! distribution functions", SIAM Journal on Mathematical Analysis 13 (1982).
#![allow(clippy::excessive_precision)] // coefficients keep their digits

use super::expansion_table::{RHO, TERMS};
use super::normal::mills;
use crate::simd::{Kernel, LANES, Real, V, dispatch, exp};

/// The least parameter.
pub(super) const LEAST: f64 = 16.0;
/// Least parameter, number of terms, and the range of z² over the parameter that they cover.
const TIERS: [(f64, usize, f64); 4] =
    [(1.0e6, 8, 1.2e-3), (400.0, 16, 0.12), (40.0, 24, 0.66), (LEAST, 32, 1.2)];
/// 1/√(2π).
const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
/// The polynomial of a law, or of eight laws with the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expansion<T = f64> {
    /// The coefficients of P, lowest first.
    terms: [T; TERMS],
    count: usize,
    /// The largest z² that it covers; negative for one of eight laws without expansion.
    pub(super) reach: T,
    /// The density over the logit (beta) or the logarithm (gamma) at the mode.
    pub(super) height: T,
}

/// A number of one law, or of each of eight laws, as operand.
pub(super) trait Lift<R>: Copy {
    fn lift(self) -> R;
}

impl<R: Real> Lift<R> for f64 {
    #[inline(always)]
    fn lift(self) -> R {
        R::of(self)
    }
}

impl Lift<Self> for V {
    #[inline(always)]
    fn lift(self) -> Self {
        self
    }
}

/// The scaled series of the ratio between the density and the normal one.
struct Series {
    count: usize,
    /// 1/√κ.
    scale: f64,
    delta: f64,
    w: f64,
}

impl Kernel for Series {
    type Output = [V; TERMS / LANES];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let s = self.scale;
        let (s2, s4) = (s * s, (s * s) * (s * s));
        let odd = self.delta * s;
        let mut power = V([odd, s2, odd * s2, s4, odd * s4, s2 * s4, odd * (s2 * s4), s4 * s4]);
        let step = V::splat(s4 * s4);
        let w = V::splat(self.w);
        let mut out = [V::ZERO; TERMS / LANES];
        for (i, out) in out[..self.count / LANES].iter_mut().enumerate() {
            // The power of w is at most half the index.
            let last = LANES / 2 * (i + 1);
            let mut sum = RHO[last][i];
            for row in RHO[..last].iter().rev() {
                sum = sum * w + row[i];
            }
            *out = sum * power;
            power = power * step;
        }
        out
    }
}

impl Expansion {
    /// For κ = a b / n, δ = (b - a) / n and w = 4 a b / n²; `least` is the smaller parameter and
    /// `correction` the logarithm of the density at the mode over Stirling's. The gamma law has
    /// κ = a, δ = 1 and w = 0.
    pub(super) fn new(least: f64, kappa: f64, delta: f64, w: f64, correction: f64) -> Option<Self> {
        let &(_, count, share) = TIERS.iter().find(|tier| least >= tier.0)?;
        if kappa.is_nan() || kappa == f64::INFINITY {
            return None;
        }
        let root = kappa.sqrt();
        let rho = dispatch(Series { count, scale: 1.0 / root, delta, w });
        let front = exp(correction) * INV_SQRT_2PI;
        // ∫ tᵏ φ over t > z is z^(k-1) φ(z) and (k - 1) times that of k - 2.
        let mut terms = [0.0; TERMS];
        let (mut next, mut after) = (0.0, 0.0);
        for j in (0..count).rev() {
            let this = rho[j / LANES].0[j % LANES] + (j + 2) as f64 * after;
            terms[j] = this * front;
            (next, after) = (this, next);
        }
        Some(Self { terms, count, reach: share * least, height: root * front })
    }

    /// The polynomial of the law with a and b exchanged.
    pub(super) fn mirrored(mut self) -> Self {
        for term in self.terms.iter_mut().step_by(2) {
            *term = -*term;
        }
        self
    }
}

impl<T> Expansion<T> {
    /// Returns the tail beyond z over exp(-z²/2), on the side of z: `fall` is -z²/2, and `side` has
    /// the sign of z.
    #[inline(always)]
    pub(super) fn ratio<R: Real>(&self, fall: R, side: R) -> R
    where
        T: Lift<R>,
    {
        let zero = R::of(0.0);
        let size = (fall * R::of(-2.0)).sqrt();
        let z = side.below(zero, zero - size, size);
        let mut p = self.terms[self.count - 1].lift();
        for j in (0..self.count - 1).rev() {
            p = p * z + self.terms[j].lift();
        }
        mills(size) + side.below(zero, zero - p, p)
    }
}

impl Expansion<V> {
    /// Builds the expansions of eight laws as [`Expansion::new`]; w is 0 if `ONE_SIDED`.
    #[inline(always)]
    pub(super) fn of_eight<const ONE_SIDED: bool>(
        least: V,
        kappa: V,
        delta: V,
        w: V,
        correction: V,
    ) -> Self {
        let (zero, one) = (V::ZERO, V::splat(1.0));
        let (mut counts, mut shares) = (zero, zero);
        for (from, count, share) in TIERS.into_iter().rev() {
            counts = least.below(V::splat(from), counts, V::splat(count as f64));
            shares = least.below(V::splat(from), shares, V::splat(share));
        }
        let some = zero.below(counts, kappa.below(V::splat(f64::INFINITY), one, zero), zero);
        let reach = zero.below(some, shares * least, zero - one);
        let count = counts.0.into_iter().fold(1.0, f64::max) as usize;
        let root = kappa.sqrt();
        let s = one / root;
        let (s2, s4) = (s * s, (s * s) * (s * s));
        let odd = delta * s;
        let mut powers = [odd, s2, odd * s2, s4, odd * s4, s2 * s4, odd * (s2 * s4), s4 * s4];
        let step = s4 * s4;
        let mut terms = [zero; TERMS];
        for j in 0..count {
            let (i, l) = (j / LANES, j % LANES);
            let last = if ONE_SIDED { 0 } else { j.div_ceil(2) };
            let mut sum = V::splat(RHO[last][i].0[l]);
            for row in RHO[..last].iter().rev() {
                sum = sum * w + V::splat(row[i].0[l]);
            }
            terms[j] = V::splat(j as f64).below(counts, sum * powers[l], zero);
            powers[l] = powers[l] * step;
        }
        let front = correction.exp() * V::splat(INV_SQRT_2PI);
        let (mut next, mut after) = (zero, zero);
        for j in (0..count).rev() {
            let this = terms[j] + V::splat((j + 2) as f64) * after;
            terms[j] = this * front;
            (next, after) = (this, next);
        }
        Self { terms, count, reach, height: root * front }
    }
}
