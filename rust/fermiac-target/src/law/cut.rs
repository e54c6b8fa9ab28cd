//! Univariate laws that are restricted to an interval.
//!
//! Masses of intervals come from the tail on the interval's side of the median, by its logarithm,
//! so that nothing is lost or underflows far out; those of narrow intervals, where two tails would
//! cancel, from quadrature of the density.

use super::Marginal;
use super::marginal::Form;
use super::tails::Tail;
use crate::Support;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{GAUSS_LEGENDRE, LN_SQRT_2PI, expm1, mills};
use fermiac_base::{Error, Result};

/// Below this share of a tail an interval is narrow, if the log-density changes by less than
/// [`FLAT`] on it.
const NARROW: f64 = 0.05;
const FLAT: f64 = 1.0;
/// Below this probability a tail's quantile is found by its logarithm.
const TINY: f64 = 1.0e-280;
/// From this share of the law on, draws of the whole law are repeated until one is inside.
const WIDE: f64 = 0.25;
/// The most repetitions; that many are needed with probability 1e-25.
const TRIES: usize = 200;

/// An interval that holds a part of a law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) low: f64,
    pub(super) high: f64,
    /// The tail whose differences are the masses; none where the interval holds the median.
    tail: Option<Tail>,
    /// ln of the interval's mass, relative to the tail at the end nearest to the median, or to 1.
    ln_mass: f64,
    /// The mass.
    mass: f64,
    /// The constant of the whole law.
    constant: f64,
}

impl Cut {
    pub(super) fn support(&self) -> Support {
        match (self.low > f64::NEG_INFINITY, self.high < f64::INFINITY) {
            (true, true) => Support::Between(self.low, self.high),
            (true, false) => Support::Above(self.low),
            (false, true) => Support::Below(self.high),
            (false, false) => Support::Real,
        }
    }

    /// The end of the interval nearest to the median.
    fn near(&self, tail: Tail) -> f64 {
        if tail == Tail::Upper { self.low } else { self.high }
    }
}

impl Marginal {
    /// The law restricted to the interval from `low` to `high`, which may be infinite.
    pub fn truncated(self, low: f64, high: f64) -> Result<Self> {
        if low.is_nan() {
            return Err(Error::argument("low", "NaN was given; a number is needed"));
        }
        if high.is_nan() || high <= low {
            let why = format!("{high} was given; a number above low = {low} is needed");
            return Err(Error::argument("high", why));
        }
        let (first, last) = self.support().ends();
        let (low, high) = (low.max(first), high.min(last));
        if low == first && high == last {
            return Ok(self);
        }
        let nothing = || {
            let why = format!(
                "{low} to {high} holds no probability that a double can tell from 0; an interval \
                 inside the support, from {first} to {last}, is needed"
            );
            Error::argument("low, high", why)
        };
        if low >= high {
            return Err(nothing());
        }
        let mut law = self.without_fold()?;
        if let Form::Uniform { .. } = law.form {
            return Self::uniform(low, high);
        }
        let tail = if law.form_tail(Tail::Upper, low) <= 0.5 {
            Some(Tail::Upper)
        } else if law.form_tail(Tail::Lower, high) <= 0.5 {
            Some(Tail::Lower)
        } else {
            None
        };
        let mut cut = Cut { low, high, tail, ln_mass: 0.0, mass: 1.0, constant: law.constant };
        cut.ln_mass = law.ln_mass(&cut, low, high);
        let ln_near = tail.map_or(0.0, |tail| law.form_ln_tail(tail, cut.near(tail)));
        cut.mass = exp(ln_near + cut.ln_mass);
        if !(cut.ln_mass.is_finite() && ln_near.is_finite()) {
            return Err(nothing());
        }
        law.constant -= ln_near + cut.ln_mass;
        law.anchor(&cut);
        law.cut = Some(cut);
        Ok(law)
    }

    /// A folded law as the law that was folded: restricted to a part, they are the same.
    fn without_fold(self) -> Result<Self> {
        match self.form {
            Form::HalfNormal { scale, .. } => Self::normal(0.0, scale),
            Form::HalfCauchy { scale, .. } => Self::cauchy(0.0, scale),
            _ => Ok(self.whole()),
        }
    }

    /// The law that was restricted.
    fn whole(&self) -> Self {
        let Some(cut) = self.cut else { return *self };
        let mut law = Self { cut: None, constant: cut.constant, ..*self };
        if let Form::Normal { mean, sd, inv_sd, .. } = self.form {
            law.form = Form::Normal { mean, sd, inv_sd, anchor: mean, lean: 0.0 };
        }
        law
    }

    /// Moves the anchor of a normal density to the end of the cut where it is largest.
    fn anchor(&mut self, cut: &Cut) {
        if let (Form::Normal { mean, sd, inv_sd, .. }, Some(tail)) = (self.form, cut.tail) {
            let anchor = cut.near(tail);
            let lean = (anchor - mean) / sd;
            self.form = Form::Normal { mean, sd, inv_sd, anchor, lean };
            self.constant = -ln(sd * mills(lean.abs())) - LN_SQRT_2PI - cut.ln_mass;
        }
    }

    /// ln of the mass from `a` to `b`, both in the interval of the cut, relative to the tail at the
    /// end nearest to the median, or to 1; of the whole law.
    fn ln_mass(&self, cut: &Cut, a: f64, b: f64) -> f64 {
        if a >= b {
            return f64::NEG_INFINITY;
        }
        let (start, share) = match cut.tail {
            None => {
                // The interval of the cut holds the median, this one may not.
                let (above, below) =
                    (self.form_tail(Tail::Upper, a), self.form_tail(Tail::Lower, b));
                let (near, far) = if above <= 0.5 {
                    (above, self.form_tail(Tail::Upper, b))
                } else if below <= 0.5 {
                    (below, self.form_tail(Tail::Lower, a))
                } else {
                    (1.0, self.form_tail(Tail::Lower, a) + self.form_tail(Tail::Upper, b))
                };
                (ln(near), 1.0 - far / near)
            }
            Some(tail) => {
                let (near, far) = if tail == Tail::Upper { (a, b) } else { (b, a) };
                let start = self.form_ln_tail_ratio(tail, near, cut.near(tail));
                (start, -expm1(self.form_ln_tail_ratio(tail, far, near)))
            }
        };
        if share < NARROW
            && let Some(mass) = self.narrow_ln_mass(cut, a, b)
        {
            return mass;
        }
        start + ln(share)
    }

    /// The same by quadrature, if the density has no end, peak or pole in the interval.
    fn narrow_ln_mass(&self, cut: &Cut, a: f64, b: f64) -> Option<f64> {
        let density = |x: f64| self.log_density::<f64, false>(x);
        let (at_a, at_b) = (density(a), density(b));
        let kink = match self.form {
            Form::Laplace { loc, .. } => loc > a && loc < b,
            Form::Triangular { mode, .. } => mode > a && mode < b,
            _ => false,
        };
        let is_flat = (at_a - at_b).abs() < FLAT;
        if kink || !is_flat {
            return None;
        }
        let mut sum = 0.0;
        for (nodes, weights) in &GAUSS_LEGENDRE {
            for (node, weight) in nodes.0.iter().zip(&weights.0) {
                sum += weight * exp(self.ln_change(a, a + (b - a) * node, at_a));
            }
        }
        let at_a = match cut.tail {
            None => at_a,
            Some(tail) => {
                let near = cut.near(tail);
                self.form_ln_tail_ratio(tail, a, near) + self.form_ln_hazard(tail, a)
            }
        };
        Some(at_a + ln((b - a) * sum))
    }

    /// ln(density at `x` / density at `from`), where the log-density at `from` is known.
    fn ln_change(&self, from: f64, x: f64, at_from: f64) -> f64 {
        if let Form::Normal { mean, sd, .. } = self.form {
            return -0.5 * ((x - from) / sd) * ((x - mean) / sd + (from - mean) / sd);
        }
        self.log_density::<f64, false>(x) - at_from
    }

    /// The probability of a tail inside the cut.
    pub(super) fn cut_tail(&self, cut: &Cut, tail: Tail, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        let x = x.clamp(cut.low, cut.high);
        let (a, b) = if tail == Tail::Lower { (cut.low, x) } else { (x, cut.high) };
        exp(self.whole().ln_mass(cut, a, b) - cut.ln_mass).min(1.0)
    }

    /// The point inside the cut with a tail of probability `p`.
    pub(super) fn cut_point(&self, cut: &Cut, tail: Tail, p: f64) -> f64 {
        if p == 0.0 || p == 1.0 {
            return if (tail == Tail::Lower) == (p == 0.0) { cut.low } else { cut.high };
        }
        let whole = self.whole();
        let mut x = whole.rough_point(cut, tail, p).clamp(cut.low, cut.high);
        // Newton's method on the mass between the point and its end of the interval.
        for _ in 0..2 {
            let (a, b) = if tail == Tail::Lower { (cut.low, x) } else { (x, cut.high) };
            let off = p - exp(whole.ln_mass(cut, a, b) - cut.ln_mass);
            let step = off * exp(-self.log_density::<f64, false>(x));
            let moved = if tail == Tail::Lower { x + step } else { x - step };
            if !(moved >= cut.low && moved <= cut.high) {
                break;
            }
            let done = (moved - x).abs() <= 1.0e-9 * (x - cut.low).min(cut.high - x);
            x = moved;
            if done {
                break;
            }
        }
        x
    }

    /// The same from the quantiles of the whole law, which is this one.
    fn rough_point(&self, cut: &Cut, tail: Tail, p: f64) -> f64 {
        // The tail beyond the point: what is beyond the interval, and its part inside.
        let side = cut.tail.unwrap_or(tail);
        let part = if side == tail { p } else { 1.0 - p };
        let (near, far) =
            if side == Tail::Upper { (cut.low, cut.high) } else { (cut.high, cut.low) };
        let Some(_) = cut.tail else {
            return self.form_point(side, (self.form_tail(side, far) + part * cut.mass).min(1.0));
        };
        let beyond = exp(self.form_ln_tail_ratio(side, far, near));
        let ln_wanted = ln(beyond + part * exp(cut.ln_mass));
        let wanted = (self.form_tail(side, near) * exp(ln_wanted)).min(1.0);
        if wanted > TINY {
            return self.form_point(side, wanted);
        }
        // Newton's method on ln of the tail, from the near end.
        let mut x = near;
        for _ in 0..100 {
            let off = self.form_ln_tail_ratio(side, x, near) - ln_wanted;
            let step = off * exp(-self.form_ln_hazard(side, x));
            let moved = (if side == Tail::Upper { x + step } else { x - step })
                .clamp(cut.low.max(f64::MIN), cut.high.min(f64::MAX));
            let done = (moved - x).abs() <= 1.0e-15 * x.abs();
            x = moved;
            if done || !step.is_finite() {
                break;
            }
        }
        x
    }

    /// A draw inside the cut.
    pub(super) fn draw_inside(&self, cut: Cut, rng: &mut Stream) -> f64 {
        if cut.mass < WIDE {
            return self.quantile(rng.uniform());
        }
        let whole = self.whole();
        for _ in 0..TRIES {
            let x = whole.draw(rng);
            if x >= cut.low && x <= cut.high {
                return x;
            }
        }
        // Where draws overflow, as those of laws with the heaviest tails do.
        self.quantile(rng.uniform())
    }
}
