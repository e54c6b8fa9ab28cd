//! Tails of one law at many arguments, eight at a time, with the bits of the scalar methods.
//!
//! The expansion, the continued fraction and the scalar method are tried in this order, each on the
//! arguments that the one before does not cover.

use super::arithmetic::cross;
use super::expansion::{Expansion, Lift};
use super::tail::UNDERFLOW;
use super::{IncompleteBeta, IncompleteGamma, beta, gamma_ratio};
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

/// A method for the tails of a beta or a gamma law, or of eight.
pub(super) trait Method<R: Real> {
    /// True for beta laws.
    const BETA: bool;

    /// The parameters; the second one of a gamma law means nothing.
    fn parameters(&self) -> (R, R);

    /// Returns the tails at x, with y = 1 - x for the beta law.
    fn tails(&self, x: R, y: R) -> Tails<R>;
}

/// A function of one law at eight arguments, or of eight laws.
pub(super) trait Task: Copy {
    /// Returns the values, and 1 in the lanes that the method covers.
    fn values(self, method: &impl Method<V>, x: V) -> (V, V);

    /// Writes the first `out.len()` values and records those that the method does not cover, counted
    /// from `start`.
    #[inline(always)]
    fn eight(
        self,
        method: &impl Method<V>,
        x: V,
        out: &mut [f64],
        start: usize,
        left: &mut Vec<usize>,
    ) {
        let (values, good) = self.values(method, x);
        out.copy_from_slice(&values.0[..out.len()]);
        if good.0.iter().any(|&g| g != 1.0) {
            left.extend((0..out.len()).filter(|&l| good.0[l] != 1.0).map(|l| start + l));
        }
    }
}

impl Task for Part {
    #[inline(always)]
    fn values(self, method: &impl Method<V>, x: V) -> (V, V) {
        let tails = method.tails(x, V::splat(1.0) - x);
        (finish(self, &tails), served(&tails))
    }
}

/// Returns the requested part of eight tails.
#[inline(always)]
fn finish(part: Part, tails: &Tails<V>) -> V {
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

/// A task at every `x` by one method; gives the positions that the method does not cover.
pub(super) struct Run<'a, M, T> {
    pub(super) method: M,
    pub(super) task: T,
    pub(super) x: &'a [f64],
    pub(super) out: &'a mut [f64],
}

impl<M: Method<V>, T: Task> Kernel for Run<'_, M, T> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<usize> {
        let mut left = Vec::new();
        for (tile, (x, out)) in self.x.chunks(LANES).zip(self.out.chunks_mut(LANES)).enumerate() {
            let padded = V::padded(x, x[0]);
            self.task.eight(&self.method, padded, out, tile * LANES, &mut left);
        }
        left
    }
}

/// Returns 1 if x is inside (0, 1), with `y` = 1 - x, else 0.
#[inline(always)]
pub(super) fn inside<R: Real>(x: R, y: R) -> R {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    zero.below(x, zero.below(y, one, zero), zero)
}

/// Beta laws with parameters (a, b, a + b) by their expansions.
pub(super) struct BetaExpansion<'a, T> {
    pub(super) law: (T, T, T),
    pub(super) expansion: &'a Expansion<T>,
}

impl<R: Real, T: Lift<R>> Method<R> for BetaExpansion<'_, T> {
    const BETA: bool = true;

    #[inline(always)]
    fn parameters(&self) -> (R, R) {
        (self.law.0.lift(), self.law.1.lift())
    }

    #[inline(always)]
    fn tails(&self, x: R, y: R) -> Tails<R> {
        let (a, b) = self.parameters();
        let d = cross(x, b, y, a);
        let ln = beta::fall(a, b, self.law.2.lift(), (x, y), d);
        let zero = R::of(0.0);
        let good = self.expansion.reach.lift().below(ln * R::of(-2.0), zero, inside(x, y));
        let (ratio, height) = (self.expansion.ratio(ln, d), self.expansion.height.lift());
        Tails { side: d, ln, rest: zero, ratio, height, slope: d, good }
    }
}

pub(super) struct BetaFraction<'a>(&'a IncompleteBeta);

impl<R: Real> Method<R> for BetaFraction<'_> {
    const BETA: bool = true;

    #[inline(always)]
    fn parameters(&self) -> (R, R) {
        (R::of(self.0.a), R::of(self.0.b))
    }

    #[inline(always)]
    fn tails(&self, x: R, y: R) -> Tails<R> {
        let law = self.0;
        let (a, b) = self.parameters();
        let d = cross(x, b, y, a);
        let density = law.ln_logit_density_inside(x, y, d);
        let least = if law.a <= law.b { x } else { y };
        beta::fraction_tails((a, b, R::of(law.n)), (x, y), d, density, least)
    }
}

/// Gamma laws by their expansions.
pub(super) struct GammaExpansion<'a, T> {
    pub(super) a: T,
    pub(super) expansion: &'a Expansion<T>,
}

impl<R: Real, T: Lift<R>> Method<R> for GammaExpansion<'_, T> {
    const BETA: bool = false;

    #[inline(always)]
    fn parameters(&self) -> (R, R) {
        (self.a.lift(), self.a.lift())
    }

    #[inline(always)]
    fn tails(&self, x: R, _y: R) -> Tails<R> {
        let (zero, one, a) = (R::of(0.0), R::of(1.0), self.a.lift());
        let ln = gamma_ratio::fall(a, x);
        let side = x - a;
        let positive = zero.below(x, x.below(R::of(f64::INFINITY), one, zero), zero);
        let good = self.expansion.reach.lift().below(ln * R::of(-2.0), zero, positive);
        let (ratio, height) = (self.expansion.ratio(ln, side), self.expansion.height.lift());
        Tails { side, ln, rest: zero, ratio, height, slope: side, good }
    }
}

/// Gamma laws by the series below a + 1, the continued fraction above; `constant` is that of the
/// log-densities.
#[derive(Clone, Copy)]
pub(super) struct ModerateGamma<T> {
    pub(super) a: T,
    pub(super) constant: T,
}

impl<R: Real, T: Lift<R>> Method<R> for ModerateGamma<T> {
    const BETA: bool = false;

    #[inline(always)]
    fn parameters(&self) -> (R, R) {
        (self.a.lift(), self.a.lift())
    }

    #[inline(always)]
    fn tails(&self, x: R, _y: R) -> Tails<R> {
        gamma_ratio::moderate(self.a.lift(), self.constant.lift(), x)
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
        if self.left.len() == self.x.len() {
            let Self { part: task, x, ref mut out, .. } = *self;
            self.left = dispatch(Run { method, task, x, out });
            return;
        }
        let x: Vec<f64> = self.left.iter().map(|&i| self.x[i]).collect();
        let mut out = vec![0.0; x.len()];
        let open = dispatch(Run { method, task: self.part, x: &x, out: &mut out });
        for (&i, value) in self.left.iter().zip(out) {
            self.out[i] = value;
        }
        self.left = open.into_iter().map(|k| self.left[k]).collect();
    }
}

impl IncompleteBeta {
    #[inline(always)]
    pub(super) fn by_expansion(&self) -> Option<BetaExpansion<'_, f64>> {
        let law = (self.a, self.b, self.n);
        self.expansion.as_ref().map(|expansion| BetaExpansion { law, expansion })
    }

    #[inline(always)]
    pub(super) fn by_fraction(&self) -> Option<BetaFraction<'_>> {
        (self.a > 1.0 && self.b > 1.0).then_some(BetaFraction(self))
    }

    /// Writes the requested part at every x, with y = 1 - x: the values of [`Self::lower`] and its
    /// counterparts, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        let mut rest = Rest { part, x, out, left: (0..x.len()).collect() };
        if let Some(method) = self.by_expansion() {
            rest.by(method);
        }
        if let Some(method) = self.by_fraction() {
            rest.by(method);
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
        if let Some(method) = self.by_expansion()
            && !by(&method.tails(x, y))
        {
            return out;
        }
        if let Some(method) = self.by_fraction()
            && !by(&method.tails(x, y))
        {
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
    #[inline(always)]
    pub(super) fn by_expansion(&self) -> Option<GammaExpansion<'_, f64>> {
        self.expansion.as_ref().map(|expansion| GammaExpansion { a: self.a, expansion })
    }

    /// The method for 1 < a < 12.
    #[inline(always)]
    pub(super) fn by_series(&self) -> Option<ModerateGamma<f64>> {
        let method = ModerateGamma { a: self.a, constant: self.constant };
        self.is_moderate().then_some(method)
    }

    /// Writes the requested part at every x: the values of [`Self::lower`] and its counterparts, faster.
    pub fn fill(&self, part: Part, x: &[f64], out: &mut [f64]) {
        let mut rest = Rest { part, x, out, left: (0..x.len()).collect() };
        if let Some(method) = self.by_expansion() {
            rest.by(method);
        } else if let Some(method) = self.by_series() {
            // Covers the arguments of one branch together.
            let (below, above) = (0..x.len()).partition(|&i| x[i] <= self.a + 1.0);
            rest.left = below;
            rest.by(method);
            let open = std::mem::replace(&mut rest.left, above);
            rest.by(method);
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
