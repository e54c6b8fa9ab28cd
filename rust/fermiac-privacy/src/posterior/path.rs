//! Borders in the square of the two error rates: curves along which tails are integrated.

use fermiac_base::simd::{Real, exp, ln};
use fermiac_base::special::LN_SQRT_2PI;

/// A point of a border, and what turns densities over the rates into densities over t.
pub(super) struct Node<R> {
    /// The rate that grows with t, and 1 less it.
    pub(super) x: (R, R),
    /// The rate that falls with t, and 1 less it.
    pub(super) y: (R, R),
    /// x' / (x (1 - x)).
    pub(super) dx: R,
    /// |y'| / (y (1 - y)).
    pub(super) dy: R,
    /// |∂y/∂θ| / (y (1 - y)), θ being the parameter of the family of borders.
    pub(super) dp: R,
}

/// Logarithmic derivatives over t.
pub(super) struct Slopes {
    /// Of x'.
    pub(super) dx: f64,
    /// Of |y'|.
    pub(super) dy: f64,
    /// Of |∂y/∂θ|.
    pub(super) dp: f64,
}

/// A border, on the whole line of its parameter t.
pub(super) trait Path {
    /// The distance over which every integrand here is smooth at t, however wide it is.
    fn smooth(&self, t: f64) -> f64;

    /// The least and the largest t at which rates are normal numbers.
    fn range(&self) -> (f64, f64);

    fn node<R: Real>(&self, t: R) -> Node<R>;

    fn slopes(&self, t: f64) -> Slopes;

    /// The approximate t at which x (or else y) has this value.
    fn find(&self, is_x: bool, value: f64) -> f64;
}

/// The parameter that moves a straight border.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Moved {
    Epsilon,
    Delta,
}

/// A piece of the line y = 1 - δ - e^ε x from x = 0 to x = `end`; t + e^t is the logit of x / `end`:
/// so every integrand dies out fast at that end, at which there is nothing special, and like a power
/// of x at the other one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// The end of x, and 1 less it.
    pub(super) end: (f64, f64),
    /// y at that end.
    pub(super) y_end: f64,
    /// e^ε `end`: the length of y.
    pub(super) fall: f64,
    pub(super) delta: f64,
    pub(super) moved: Moved,
}

impl Path for Line {
    fn smooth(&self, t: f64) -> f64 {
        0.45 / (1.0 + exp(t))
    }

    fn range(&self) -> (f64, f64) {
        ((-690.0 - ln(self.end.0)).max(-600.0), 6.2)
    }

    #[inline(always)]
    fn node<R: Real>(&self, t: R) -> Node<R> {
        let (zero, one) = (R::of(0.0), R::of(1.0));
        let growth = t.exp();
        let (logit, speed) = (t + growth, one + growth);
        let e = (zero - logit.abs()).exp();
        let large = one / (one + e);
        let small = e * large;
        let (s, r) = (logit.below(zero, small, large), logit.below(zero, large, small));
        let (end, fall) = (R::of(self.end.0), R::of(self.fall));
        let least = |z: R| z.below(one, z, one);
        let x = (end * s, least(R::of(self.end.1) + end * r));
        let y = (least(R::of(self.y_end) + fall * r), least(R::of(self.delta) + fall * s));
        let over = one / (y.0 * y.1);
        let dp = match self.moved {
            Moved::Epsilon => fall * s * over,
            Moved::Delta => over,
        };
        Node { x, y, dx: speed * r / x.1, dy: speed * fall * s * r * over, dp }
    }

    fn slopes(&self, t: f64) -> Slopes {
        let growth = exp(t);
        let speed = 1.0 + growth;
        let r = 1.0 / (1.0 + exp(t + growth));
        let turn = speed * (r - (1.0 - r)) + growth / speed;
        let dp = if self.moved == Moved::Epsilon { speed * r } else { 0.0 };
        Slopes { dx: turn, dy: turn, dp }
    }

    fn find(&self, is_x: bool, value: f64) -> f64 {
        let share = if is_x { value / self.end.0 } else { 1.0 - (value - self.y_end) / self.fall };
        let s = share.clamp(1.0e-12, 1.0 - 1.0e-6);
        let logit = ln(s / (1.0 - s));
        // Roughly where t + e^t is that.
        if logit > 0.7 {
            ln(logit) - ln(logit) / (1.0 + logit)
        } else {
            logit - exp(logit.min(-0.6))
        }
    }
}

/// The border Φ⁻¹(x) + Φ⁻¹(y) = -μ; t is Φ⁻¹(x).
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub(super) mu: f64,
}

/// Beyond this the normal law's tail is not a normal number.
const FAR: f64 = 37.0;

impl Curve {
    /// Beyond this mu one of the rates is no normal number wherever the other one is.
    pub(super) const END: f64 = 2.0 * (FAR - 1.0) - 0.5;
}

impl Path for Curve {
    fn smooth(&self, t: f64) -> f64 {
        // A rate next to 0 or 1 falls off like exp(-t²/2), by a factor e over 1/t.
        (0.85 / t.abs().max((t + self.mu).abs())).min(0.45)
    }

    fn range(&self) -> (f64, f64) {
        (1.0 - FAR, FAR - 1.0 - self.mu)
    }

    #[inline(always)]
    fn node<R: Real>(&self, t: R) -> Node<R> {
        let (zero, one, half, far) = (R::of(0.0), R::of(1.0), R::of(0.5), R::of(FAR));
        let u = t + R::of(self.mu);
        let near = t.abs().below(far, u.abs().below(far, one, zero), zero);
        let (t, u) = (t * near, u * near);
        let sides = |z: R| (z.normal_cdf(), (zero - z).normal_cdf());
        let height = |z: R| (zero - half * z * z - R::of(LN_SQRT_2PI)).exp();
        let (x, (y_rest, y)) = (sides(t), sides(u));
        let dx = near * height(t) / (x.0 * x.1);
        let dy = near * height(u) / (y * y_rest);
        Node { x, y: (y, y_rest), dx, dy, dp: dy }
    }

    fn slopes(&self, t: f64) -> Slopes {
        let u = t + self.mu;
        Slopes { dx: -t, dy: -u, dp: -u }
    }

    fn find(&self, is_x: bool, value: f64) -> f64 {
        let z = fermiac_base::simd::normal_quantile(value.clamp(1.0e-300, 1.0 - 1.0e-16));
        let t = if is_x { z } else { -self.mu - z };
        let (least, most) = self.range();
        t.clamp(least, most)
    }
}
