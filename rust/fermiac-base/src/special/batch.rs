//! Tails of one law at many arguments, eight at a time, with the bits of the scalar methods.
//!
//! The expansion, the continued fraction and the scalar method are tried in this order, each on the
//! arguments that the one before does not cover.

use super::arithmetic::cross;
use super::beta::fraction_tails;
use super::gamma_ratio::moderate;
use super::tail::UNDERFLOW;
use super::{IncompleteBeta, IncompleteGamma};
use crate::simd::{Kernel, LANES, Real, V, dispatch};

/// A part of a distribution function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The probability below.
    Lower,
    /// The probability above.
    Upper,
    /// The logarithm of the probability below.
    LnLower,
    /// The logarithm of the probability above.
    LnUpper,
}

/// One tail or eight, as a [`Tail`](super::tail::Tail).
pub(super) struct Tails<R> {
    /// Negative for the lower tail.
    pub(super) side: R,
    pub(super) ln: R,
    pub(super) rest: R,
    pub(super) ratio: R,
    /// The density over exp(`ln` + `rest`).
    pub(super) height: R,
    /// Minus the derivative of the density's logarithm, both over the logit or the logarithm.
    pub(super) slope: R,
    /// 1 if the method covers the argument, else 0.
    pub(super) good: R,
}

/// A method for the tails of a law.
pub(super) trait Method<R: Real> {
    /// Returns the tails at x, with y = 1 - x for the beta law.
    fn tails(&self, x: R, y: R) -> Tails<R>;
}

/// Returns the requested part of eight tails.
#[inline(always)]
pub(super) fn finish(part: Part, tails: &Tails<V>) -> V {
    let Tails { side, ln, rest, ratio, .. } = *tails;
    let (zero, one) = (V::ZERO, V::splat(1.0));
    let value = ln.exp() * (ratio + ratio * rest);
    let (own, other) = if matches!(part, Part::Lower | Part::Upper) {
        (value, one - value)
    } else {
        let u = one - value;
        let complement = u.ln() + ((zero - value) - (u - one)) / u;
        (ln + (rest + ratio.ln()), complement)
    };
    if matches!(part, Part::Lower | Part::LnLower) {
        side.below(zero, own, other)
    } else {
        side.below(zero, other, own)
    }
}

/// Returns 1 in the lanes that the method covers.
#[inline(always)]
fn served(tails: &Tails<V>) -> V {
    tails.ln.below(V::splat(UNDERFLOW), V::ZERO, tails.good)
}

/// Records which of the first `n` lanes the method does not cover.
#[inline(always)]
pub(super) fn leave(tails: &Tails<V>, start: usize, n: usize, left: &mut Vec<usize>) {
    let good = served(tails);
    if good.0.iter().any(|&g| g != 1.0) {
        left.extend((0..n).filter(|&l| good.0[l] != 1.0).map(|l| start + l));
    }
}

struct Run<'a, M> {
    method: M,
    part: Part,
    x: &'a [f64],
    out: &'a mut [f64],
    /// The positions that the method does not cover.
    left: &'a mut Vec<usize>,
}

impl<M: Method<V>> Kernel for Run<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (tile, (x, out)) in self.x.chunks(LANES).zip(self.out.chunks_mut(LANES)).enumerate() {
            let mut padded = V::splat(x[0]);
            padded.0[..x.len()].copy_from_slice(x);
            let tails = self.method.tails(padded, V::splat(1.0) - padded);
            out.copy_from_slice(&finish(self.part, &tails).0[..x.len()]);
            leave(&tails, tile * LANES, x.len(), self.left);
        }
    }
}

/// Returns 1 if x is inside (0, 1), with `y` = 1 - x, else 0.
#[inline(always)]
pub(super) fn inside<R: Real>(x: R, y: R) -> R {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    zero.below(x, zero.below(y, one, zero), zero)
}

pub(super) struct BetaExpansion<'a>(pub(super) &'a IncompleteBeta);

impl<R: Real> Method<R> for BetaExpansion<'_> {
    #[inline(always)]
    fn tails(&self, x: R, y: R) -> Tails<R> {
        let law = self.0;
        let d = cross(x, R::of(law.b), y, R::of(law.a));
        let ln = law.fall(x, y, d);
        let zero = R::of(0.0);
        let (ratio, reach, height) = match &law.expansion {
            Some(expansion) => (expansion.ratio(ln, d), expansion.reach, expansion.height),
            None => (zero, -1.0, 1.0),
        };
        let good = R::of(reach).below(ln * R::of(-2.0), zero, inside(x, y));
        Tails { side: d, ln, rest: zero, ratio, height: R::of(height), slope: d, good }
    }
}

pub(super) struct BetaFraction<'a>(pub(super) &'a IncompleteBeta);

impl<R: Real> Method<R> for BetaFraction<'_> {
    #[inline(always)]
    fn tails(&self, x: R, y: R) -> Tails<R> {
        let law = self.0;
        let d = cross(x, R::of(law.b), y, R::of(law.a));
        let density = law.ln_logit_density_inside(x, y, d);
        let least = if law.a <= law.b { x } else { y };
        fraction_tails((R::of(law.a), R::of(law.b), R::of(law.n)), (x, y), d, density, least)
    }
}

pub(super) struct GammaExpansion<'a>(pub(super) &'a IncompleteGamma);

impl<R: Real> Method<R> for GammaExpansion<'_> {
    #[inline(always)]
    fn tails(&self, x: R, _y: R) -> Tails<R> {
        let law = self.0;
        let (zero, one) = (R::of(0.0), R::of(1.0));
        let ln = law.fall(x);
        let side = x - R::of(law.a);
        let (ratio, reach, height) = match &law.expansion {
            Some(expansion) => (expansion.ratio(ln, side), expansion.reach, expansion.height),
            None => (zero, -1.0, 1.0),
        };
        let positive = zero.below(x, x.below(R::of(f64::INFINITY), one, zero), zero);
        let good = R::of(reach).below(ln * R::of(-2.0), zero, positive);
        Tails { side, ln, rest: zero, ratio, height: R::of(height), slope: side, good }
    }
}

/// The series below a + 1, the continued fraction above.
pub(super) struct ModerateGamma<'a>(pub(super) &'a IncompleteGamma);

impl<R: Real> Method<R> for ModerateGamma<'_> {
    #[inline(always)]
    fn tails(&self, x: R, _y: R) -> Tails<R> {
        moderate(R::of(self.0.a), R::of(self.0.constant), x)
    }
}

/// The values still to be computed.
struct Rest<'a> {
    part: Part,
    x: &'a [f64],
    out: &'a mut [f64],
    left: Vec<usize>,
}

impl Rest<'_> {
    /// Runs a method over the remaining values.
    fn by(&mut self, method: impl Method<V>) {
        if self.left.is_empty() {
            return;
        }
        let mut open = Vec::new();
        if self.left.len() == self.x.len() {
            let Self { part, x, ref mut out, .. } = *self;
            dispatch(Run { method, part, x, out, left: &mut open });
            self.left = open;
            return;
        }
        let x: Vec<f64> = self.left.iter().map(|&i| self.x[i]).collect();
        let mut out = vec![0.0; x.len()];
        dispatch(Run { method, part: self.part, x: &x, out: &mut out, left: &mut open });
        for (&i, value) in self.left.iter().zip(out) {
            self.out[i] = value;
        }
        self.left = open.into_iter().map(|k| self.left[k]).collect();
    }
}

impl IncompleteBeta {
    /// Writes the requested part at every x, with y = 1 - x: the values of [`Self::lower`] and its
    /// counterparts, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        let mut rest = Rest { part, x, out, left: (0..x.len()).collect() };
        if self.expansion.is_some() {
            rest.by(BetaExpansion(self));
        }
        if self.a > 1.0 && self.b > 1.0 {
            rest.by(BetaFraction(self));
        }
        for i in rest.left {
            out[i] = self.part(part, x[i], 1.0 - x[i]);
        }
    }

    /// Returns the requested part at eight points inside (0, 1), with y = 1 - x, as [`Self::part`].
    #[inline(always)]
    pub fn part_eight(&self, part: Part, x: V, y: V) -> V {
        let (mut out, mut open) = (V::ZERO, V::splat(1.0));
        let mut by = |tails: &Tails<V>| {
            let good = served(tails) * open;
            out = V::ZERO.below(good, finish(part, tails), out);
            open = open - good;
            V::ZERO.any_below(open)
        };
        if self.expansion.is_some() && !by(&BetaExpansion(self).tails(x, y)) {
            return out;
        }
        if self.a > 1.0 && self.b > 1.0 && !by(&BetaFraction(self).tails(x, y)) {
            return out;
        }
        for l in 0..LANES {
            if open.0[l] > 0.0 {
                out.0[l] = self.part(part, x.0[l], y.0[l]);
            }
        }
        out
    }

    /// Returns the logarithm of x^a y^b / B(a, b), the density over the logit of x, at eight points
    /// inside (0, 1) with y = 1 - x.
    #[inline(always)]
    pub fn ln_logit_density_eight(&self, x: V, y: V) -> V {
        let d = cross(x, V::splat(self.b), y, V::splat(self.a));
        let (ln, rest) = self.ln_logit_density_inside(x, y, d);
        let mut out = ln + rest;
        let least = if self.a <= self.b { x } else { y };
        for l in 0..LANES {
            if !Self::INSIDE.contains(&(least.0[l] * self.n)) {
                out.0[l] = self.ln_logit_density(x.0[l], y.0[l]);
            }
        }
        out
    }

    /// Returns the requested part at one point.
    pub fn part(&self, part: Part, x: f64, y: f64) -> f64 {
        match part {
            Part::Lower => self.lower(x, y),
            Part::Upper => self.upper(x, y),
            Part::LnLower => self.ln_lower(x, y),
            Part::LnUpper => self.ln_upper(x, y),
        }
    }
}

impl IncompleteGamma {
    /// Writes the requested part at every x: the values of [`Self::lower`] and its counterparts, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        let mut rest = Rest { part, x, out, left: (0..x.len()).collect() };
        if self.expansion.is_some() {
            rest.by(GammaExpansion(self));
        } else if self.is_moderate() {
            // Covers the arguments of one branch together.
            let (below, above) = (0..x.len()).partition(|&i| x[i] <= self.a + 1.0);
            rest.left = below;
            rest.by(ModerateGamma(self));
            let open = std::mem::replace(&mut rest.left, above);
            rest.by(ModerateGamma(self));
            rest.left.extend(open);
        }
        for i in rest.left {
            out[i] = self.part(part, x[i]);
        }
    }

    /// Returns the requested part at one point.
    pub fn part(&self, part: Part, x: f64) -> f64 {
        match part {
            Part::Lower => self.lower(x),
            Part::Upper => self.upper(x),
            Part::LnLower => self.ln_lower(x),
            Part::LnUpper => self.ln_upper(x),
        }
    }
}
