//! Tails of one law at many arguments, eight at a time: the bits of the scalar methods.
//!
//! Methods are tried one after the other, each over what the one before has left: the expansion, the
//! continued fraction, and for the rest the scalar method.

use super::arithmetic::cross;
use super::beta::fraction_tails;
use super::gamma_ratio::moderate;
use super::tail::UNDERFLOW;
use super::{IncompleteBeta, IncompleteGamma};
use crate::simd::{Kernel, LANES, Real, V, dispatch};

/// What is wanted of a distribution function.
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

/// Tails, eight or one: as [`Tail`](super::tail::Tail) has one.
pub(super) struct Tails<R> {
    /// Below 0 where the tail is the lower one.
    pub(super) side: R,
    pub(super) ln: R,
    pub(super) rest: R,
    pub(super) ratio: R,
    /// The density over exp(`ln` + `rest`).
    pub(super) height: R,
    /// Minus the derivative of the density's logarithm, both over the logit or the logarithm.
    pub(super) slope: R,
    /// 1 where the method serves, else 0.
    pub(super) good: R,
}

/// A way to compute tails of a law.
pub(super) trait Method<R: Real> {
    /// At x, with y = 1 - x for the beta law.
    fn tails(&self, x: R, y: R) -> Tails<R>;
}

/// The wanted part of eight tails.
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

/// Notes which of the first `n` lanes the method does not serve.
#[inline(always)]
pub(super) fn leave(tails: &Tails<V>, start: usize, n: usize, left: &mut Vec<usize>) {
    let good = tails.ln.below(V::splat(UNDERFLOW), V::ZERO, tails.good);
    if good.0.iter().any(|&g| g != 1.0) {
        left.extend((0..n).filter(|&l| good.0[l] != 1.0).map(|l| start + l));
    }
}

struct Run<'a, M> {
    method: M,
    part: Part,
    x: &'a [f64],
    /// 1 - x where the caller knows it better than by this difference.
    y: Option<&'a [f64]>,
    out: &'a mut [f64],
    /// Where the method does not serve.
    left: &'a mut Vec<usize>,
}

impl<M: Method<V>> Kernel for Run<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (tile, (x, out)) in self.x.chunks(LANES).zip(self.out.chunks_mut(LANES)).enumerate() {
            let mut padded = V::splat(x[0]);
            padded.0[..x.len()].copy_from_slice(x);
            let mut other = V::splat(1.0) - padded;
            if let Some(y) = self.y {
                other.0[..x.len()].copy_from_slice(&y[tile * LANES..][..x.len()]);
            }
            let tails = self.method.tails(padded, other);
            out.copy_from_slice(&finish(self.part, &tails).0[..x.len()]);
            leave(&tails, tile * LANES, x.len(), self.left);
        }
    }
}

/// 1 where x is inside (0, 1), `y` being 1 - x, else 0.
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

struct LogitDensity<'a> {
    law: &'a IncompleteBeta,
    x: &'a [f64],
    y: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for LogitDensity<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { law, x, y, out } = self;
        for ((x, y), out) in x.chunks(LANES).zip(y.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let (mut px, mut py) = (V::splat(x[0]), V::splat(y[0]));
            px.0[..x.len()].copy_from_slice(x);
            py.0[..y.len()].copy_from_slice(y);
            let d = cross(px, V::splat(law.b), py, V::splat(law.a));
            let (ln, rest) = law.ln_logit_density_inside(px, py, d);
            out.copy_from_slice(&(ln + rest).0[..x.len()]);
        }
    }
}

/// Which values are still to be found.
struct Rest<'a> {
    part: Part,
    x: &'a [f64],
    y: Option<&'a [f64]>,
    out: &'a mut [f64],
    left: Vec<usize>,
}

impl Rest<'_> {
    /// Runs a method over what is left.
    fn by(&mut self, method: impl Method<V>) {
        if self.left.is_empty() {
            return;
        }
        let mut open = Vec::new();
        if self.left.len() == self.x.len() {
            let Self { part, x, y, ref mut out, .. } = *self;
            dispatch(Run { method, part, x, y, out, left: &mut open });
            self.left = open;
            return;
        }
        let of = |from: &[f64]| -> Vec<f64> { self.left.iter().map(|&i| from[i]).collect() };
        let (x, y) = (of(self.x), self.y.map(of));
        let mut out = vec![0.0; x.len()];
        let (part, y) = (self.part, y.as_deref());
        dispatch(Run { method, part, x: &x, y, out: &mut out, left: &mut open });
        for (&i, value) in self.left.iter().zip(out) {
            self.out[i] = value;
        }
        self.left = open.into_iter().map(|k| self.left[k]).collect();
    }
}

impl IncompleteBeta {
    /// The wanted part at every x, with y = 1 - x: what [`Self::lower`] and its kin give, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        self.fill_from(part, x, None, out);
    }

    /// [`Self::fill`] at points whose y = 1 - x are known, next to 1 too.
    pub fn fill_points(&self, part: Part, x: &[f64], y: &[f64], out: &mut [f64]) {
        self.fill_from(part, x, Some(y), out);
    }

    fn fill_from(&self, part: Part, x: &[f64], y: Option<&[f64]>, out: &mut [f64]) {
        let mut rest = Rest { part, x, y, out, left: (0..x.len()).collect() };
        if self.expansion.is_some() {
            rest.by(BetaExpansion(self));
        }
        if self.a > 1.0 && self.b > 1.0 {
            rest.by(BetaFraction(self));
        }
        for i in rest.left {
            out[i] = self.part(part, x[i], y.map_or(1.0 - x[i], |y| y[i]));
        }
    }

    /// The logarithm of x^a y^b / B(a, b), the density over the logit of x, at points inside
    /// (0, 1) with y = 1 - x.
    pub fn fill_ln_logit_density(&self, x: &[f64], y: &[f64], out: &mut [f64]) {
        dispatch(LogitDensity { law: self, x, y, out });
        let least = if self.a <= self.b { x } else { y };
        for (i, z) in least.iter().enumerate() {
            if !Self::INSIDE.contains(&(z * self.n)) {
                out[i] = self.ln_logit_density(x[i], y[i]);
            }
        }
    }

    /// One value.
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
    /// The wanted part at every x: what [`Self::lower`] and its kin give, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        let mut rest = Rest { part, x, y: None, out, left: (0..x.len()).collect() };
        if self.expansion.is_some() {
            rest.by(GammaExpansion(self));
        } else if self.is_moderate() {
            // Together what takes one way.
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

    /// One value.
    pub fn part(&self, part: Part, x: f64) -> f64 {
        match part {
            Part::Lower => self.lower(x),
            Part::Upper => self.upper(x),
            Part::LnLower => self.ln_lower(x),
            Part::LnUpper => self.ln_upper(x),
        }
    }
}
