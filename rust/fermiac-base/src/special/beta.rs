//! The regularised incomplete beta function, its logarithm and its inverse, accurate in both tails.

use super::arithmetic::{cross, log1p_less, power_ln, two_sum};
use super::batch::{Tails, inside};
use super::elementary::ln1p;
use super::expansion::Expansion;
use super::gamma::{LN_SQRT_2PI, ln_beta, ln_gamma, ln_gamma_1p, ln_rising, stirling_correction};
use super::solve::{Point, solve};
use super::tail::{Exponent, LARGE, QUADRATURE, SMOOTH, Tail};
use crate::simd::{Real, exp, ln, ln1p_pos, normal_quantile};

/// I_x(a, b) at fixed a and b: the distribution function of the beta law.
///
/// Every method takes x and `y` = 1 - x, so that neither loses digits near 1. The
/// smaller tail has a relative error of about 1e-14, plus a few roundings times its condition
/// number x f(x) / I; the logarithms are finite where the tails underflow.
///
/// If both parameters are at least 16, a tail is a normal tail with a polynomial correction, out to
/// four standard deviations and more (see `expansion.rs`). Otherwise it is the density times a
/// ratio: by quadrature if the parameter of its side is at least 40 (see `tail.rs`), by a continued
/// fraction of some ten terms if the parameter is less or the tail farther out, and by the power
/// series if it is at most 1.
///
/// # References
/// A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
/// incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992): the
/// continued fraction. C. Loader, "Fast and accurate computation of binomial probabilities"
/// (2000): the density by Stirling's remainders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncompleteBeta {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) n: f64,
    /// The part of the log-density that does not depend on x.
    constant: f64,
    /// -ln(a B(a, b)) if a ≤ 1, and the same for b.
    leading: (f64, f64),
    pub(super) expansion: Option<Expansion>,
}

impl IncompleteBeta {
    /// The parameters a and b.
    pub fn parameters(&self) -> (f64, f64) {
        (self.a, self.b)
    }

    /// Returns the function for these parameters; NaN everywhere unless both are positive and finite.
    pub fn new(a: f64, b: f64) -> Self {
        let valid = a > 0.0 && b > 0.0 && a < f64::INFINITY && b < f64::INFINITY;
        if !valid {
            let nan = f64::NAN;
            return Self {
                a: nan,
                b: nan,
                n: nan,
                constant: nan,
                leading: (nan, nan),
                expansion: None,
            };
        }
        let n = a + b;
        let (small, large) = if a <= b { (a, b) } else { (b, a) };
        let mut expansion = None;
        let constant = if small >= LARGE {
            let kappa = small * (large / n);
            let correction =
                stirling_correction(n) - (stirling_correction(a) + stirling_correction(b));
            let w = 4.0 * (small / n) * (large / n);
            expansion = Expansion::new(small, kappa, (b - a) / n, w, correction);
            0.5 * ln(kappa) - LN_SQRT_2PI + correction
        } else if large >= LARGE {
            // ln Γ(n) - ln Γ(large) - small ln n - ln Γ(small)
            (large - 0.5) * ln1p_pos(small / large) - small + stirling_correction(n)
                - stirling_correction(large)
                - ln_gamma(small)
        } else {
            -ln_beta(a, b) - small * ln(n)
        };
        let leading = |a, b| if a <= 1.0 { ln_rising(b, a) - ln_gamma_1p(a) } else { 0.0 };
        Self { a, b, n, constant, leading: (leading(a, b), leading(b, a)), expansion }
    }

    #[inline(always)]
    pub(super) fn fall<R: Real>(&self, x: R, y: R, d: R) -> R {
        fall(R::of(self.a), R::of(self.b), R::of(self.n), (x, y), d)
    }

    /// Returns the logarithm of x^a y^b / B(a, b), the density over the logit of x, in two doubles, if
    /// `x n` (with x of the smaller parameter) is not extreme.
    #[inline(always)]
    pub(super) fn ln_logit_density_inside<R: Real>(&self, x: R, y: R, d: R) -> (R, R) {
        let Self { a, b, n, constant, .. } = *self;
        let constant = R::of(constant);
        if a.min(b) >= LARGE {
            return (constant + self.fall(x, y, d), R::of(0.0));
        }
        let (small, x, large, y) = if a <= b { (a, x, b, y) } else { (b, y, a, x) };
        uneven_density((R::of(small), R::of(large), R::of(n)), constant, x, y)
    }

    /// Returns true if [`Self::ln_logit_density_inside`] covers a number.
    pub(super) const INSIDE: std::ops::Range<f64> = 1.0e-30..1.0e30;

    /// Returns the logarithm of x^a y^b / B(a, b), the density over the logit of x, inside (0, 1).
    pub fn ln_logit_density(&self, x: f64, y: f64) -> f64 {
        let (ln, rest) = self.ln_logit_density_split(x, y);
        ln + rest
    }

    /// The logarithm of the density over the logit of x, in two doubles.
    fn ln_logit_density_split(&self, x: f64, y: f64) -> (f64, f64) {
        let Self { a, b, n, constant, .. } = *self;
        let (small, z, large, other) = if a <= b { (a, x, b, y) } else { (b, y, a, x) };
        if small >= LARGE || Self::INSIDE.contains(&(z * n)) {
            return self.ln_logit_density_inside(x, y, cross(x, b, y, a));
        }
        let (head, low) = power_ln(small, z * n);
        let rest = large * if z < 0.5 { ln1p(-z) } else { ln(other) } + constant;
        let (ln, left) = two_sum(head, rest);
        (ln, left + low)
    }

    /// Returns true for the lower tail, and the tail that is computed. Both arguments are above 0.
    fn tail(&self, x: f64, y: f64) -> (bool, Tail) {
        let Self { a, b, .. } = *self;
        let d = cross(x, b, y, a);
        if let Some(expansion) = &self.expansion {
            let fall = self.fall(x, y, d);
            if -2.0 * fall <= expansion.reach {
                let (ratio, height) = (expansion.ratio(fall, d), expansion.height);
                let tail = Tail { ln: fall, rest: 0.0, ratio, near_one: false, height };
                return (d < 0.0, tail);
            }
        }
        // The tail on the side of the mode where x lies; a parameter below 1 moves the border outwards.
        let is_lower = if a.min(b) >= 1.0 { d <= 0.0 } else { d + (x - y) <= 0.0 };
        let tail = if is_lower {
            self.one_tail((a, b), (x, y), -d, self.leading.0, (x, y))
        } else {
            self.one_tail((b, a), (y, x), d, self.leading.1, (x, y))
        };
        (is_lower, tail)
    }

    /// Returns the lower tail of the law with parameters (a, b) at (x, y), with `slope` = a y - b x;
    /// `own` is the point in the coordinates of this law.
    fn one_tail(
        &self,
        (a, b): (f64, f64),
        (x, y): (f64, f64),
        slope: f64,
        leading: f64,
        own: (f64, f64),
    ) -> Tail {
        if a <= 1.0 {
            let (head, low) = power_ln(a, x);
            let rest = leading + ln1p(a * power_series(a, b, x));
            let (ln, left) = two_sum(head, rest);
            return Tail { ln, rest: left + low, ratio: 1.0, near_one: true, height: 1.0 };
        }
        let ratio = if a < QUADRATURE || slope * slope > 16.0 * (self.n * x * y) {
            continued_fraction(a, b, x, y, slope)
        } else {
            let (sign, t, linear) = if x <= 0.5 { (-1.0, x, a) } else { (1.0, y, -b) };
            let nt = self.n * t;
            let exponent = Exponent {
                slope,
                curvature: self.n * x * y,
                skew: y - x,
                sign,
                n: self.n,
                t,
                nt,
                linear,
                rough: b < LARGE,
                smooth: a.min(b) >= SMOOTH,
            };
            exponent.integral::<true>()
        };
        let (ln, rest) = self.ln_logit_density_split(own.0, own.1);
        Tail { ln, rest, ratio, near_one: false, height: 1.0 }
    }

    /// Applies `of` to the tail; at the ends of the interval the values are exact.
    fn at(&self, x: f64, y: f64, end: (f64, f64), of: impl Fn(bool, Tail) -> f64) -> f64 {
        if self.n.is_nan() || !(x >= 0.0 && y >= 0.0 && x <= 1.0 && y <= 1.0) {
            f64::NAN
        } else if x == 0.0 {
            end.0
        } else if y == 0.0 {
            end.1
        } else {
            let (is_lower, tail) = self.tail(x, y);
            of(is_lower, tail)
        }
    }

    /// I_x(a, b), the probability below x.
    pub fn lower(&self, x: f64, y: f64) -> f64 {
        self.at(x, y, (0.0, 1.0), |is, tail| if is { tail.value() } else { tail.complement() })
    }

    /// 1 - I_x(a, b), the probability above x.
    pub fn upper(&self, x: f64, y: f64) -> f64 {
        self.at(x, y, (1.0, 0.0), |is, tail| if is { tail.complement() } else { tail.value() })
    }

    /// ln I_x(a, b).
    pub fn ln_lower(&self, x: f64, y: f64) -> f64 {
        let of = |is, tail: Tail| if is { tail.ln_value() } else { tail.ln_complement() };
        self.at(x, y, (f64::NEG_INFINITY, 0.0), of)
    }

    /// ln(1 - I_x(a, b)).
    pub fn ln_upper(&self, x: f64, y: f64) -> f64 {
        let of = |is, tail: Tail| if is { tail.ln_complement() } else { tail.ln_value() };
        self.at(x, y, (0.0, f64::NEG_INFINITY), of)
    }

    /// The logarithm of the density x^(a-1) y^(b-1) / B(a, b).
    pub fn ln_density(&self, x: f64, y: f64) -> f64 {
        if self.n.is_nan() || x.is_nan() || y.is_nan() {
            return f64::NAN;
        }
        if !(x >= 0.0 && y >= 0.0) {
            return f64::NEG_INFINITY;
        }
        if x == 0.0 || y == 0.0 {
            let power = if x == 0.0 { self.a } else { self.b } - 1.0;
            // With an exponent of zero the density is 1/B(1, b) = b there.
            return match power.total_cmp(&0.0) {
                std::cmp::Ordering::Less => f64::INFINITY,
                std::cmp::Ordering::Equal => ln(self.n - 1.0),
                std::cmp::Ordering::Greater => f64::NEG_INFINITY,
            };
        }
        let (head, low) = self.ln_logit_density_split(x, y);
        head + (low - ln(x) - ln(y))
    }

    /// The density x^(a-1) y^(b-1) / B(a, b).
    pub fn density(&self, x: f64, y: f64) -> f64 {
        exp(self.ln_density(x, y))
    }

    /// The point (x, y) with probability `p` below it; NaN unless `p` is in [0, 1].
    pub fn quantile(&self, p: f64) -> (f64, f64) {
        self.quantile_of(true, p)
    }

    /// The point (x, y) with probability `q` above it; NaN unless `q` is in [0, 1].
    pub fn upper_quantile(&self, q: f64) -> (f64, f64) {
        self.quantile_of(false, q)
    }

    /// The point (x, y) with probability `p` below (`lower`) or above it.
    pub(super) fn quantile_of(&self, lower: bool, p: f64) -> (f64, f64) {
        if let Some(found) = self.quick_quantile(lower, p) {
            return found;
        }
        let (lower, p) = if p <= 0.5 { (lower, p) } else { (!lower, 1.0 - p) };
        if lower { self.point_below(p) } else { self.point_above(p) }
    }

    /// Returns the law of 1 - X, with the parameters exchanged.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Self {
            a: self.b,
            b: self.a,
            leading: (self.leading.1, self.leading.0),
            expansion: self.expansion.map(Expansion::mirrored),
            ..*self
        }
    }

    fn point_above(&self, q: f64) -> (f64, f64) {
        let (y, x) = self.mirrored().point_below(q);
        (x, y)
    }

    /// The point with probability `p` ≤ ½ below it.
    fn point_below(&self, p: f64) -> (f64, f64) {
        if self.n.is_nan() || !(0.0..=1.0).contains(&p) {
            return (f64::NAN, f64::NAN);
        }
        if p == 0.0 {
            return (0.0, 1.0);
        }
        let ln_p = ln(p);
        let Self { a, b, .. } = *self;
        let from_odds = |r: f64| {
            if r <= 1.0 {
                (r / (1.0 + r), 1.0 / (1.0 + r))
            } else {
                let inverse = 1.0 / r;
                (1.0 / (1.0 + inverse), inverse / (1.0 + inverse))
            }
        };
        let start = self.start(p, ln_p);
        if start < -745.0 {
            return (0.0, 1.0);
        }
        let odds = solve(exp(start), 40.0, |r| {
            let (x, y) = from_odds(r);
            let (is_lower, tail) = self.tail(x, y);
            let (density, low) = if tail.near_one {
                self.ln_logit_density_split(x, y)
            } else {
                (tail.ln, tail.rest)
            };
            let (off, ratio) = if is_lower && tail.near_one {
                (tail.ln + tail.rest - ln_p, exp(tail.ln_value() - density - low))
            } else if is_lower {
                (tail.ln - ln_p + (tail.rest + ln(tail.ratio)), tail.ratio / tail.height)
            } else {
                let value = tail.complement();
                (ln(value / p), value / (exp(density) * tail.height))
            };
            Point { off, rate: 1.0 / ratio, slope: a * y - b * x }
        });
        from_odds(odds)
    }

    /// Returns the initial logit.
    fn start(&self, p: f64, ln_p: f64) -> f64 {
        let Self { a, b, .. } = *self;
        if a > 1.0 && b > 1.0 {
            // Abramowitz and Stegun, 26.5.22, for the lower tail.
            let z = normal_quantile(p);
            let (ra, rb) = (1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
            let lambda = (z * z - 3.0) / 6.0;
            let h = 2.0 / (ra + rb);
            let w = z * (h + lambda).max(0.0).sqrt() / h
                + (rb - ra) * (lambda + 5.0 / 6.0 - 2.0 / (3.0 * h));
            if h + lambda > 0.0 && w.abs() < 20.0 {
                return ln(a / b) + 2.0 * w;
            }
        }
        // The first term of the power series, x^a / (a B(a, b)).
        let ln_b = if a <= 1.0 { -self.leading.0 } else { ln(a) + ln_beta(a, b) };
        ((ln_p + ln_b) / a).min(ln(a / b).max(-1.0))
    }
}

/// Returns the fall of the log-density from the mode, for parameters of at least 12; `d` is
/// x b - y a.
#[inline(always)]
pub(super) fn fall<R: Real>(a: R, b: R, n: R, (x, y): (R, R), d: R) -> R {
    let (below, above) = (x * (n / a), y * (n / b));
    // The order of summation gives the same bits if a and b are swapped.
    let lower = a * log1p_less(d / a, below);
    lower + b * log1p_less((R::of(0.0) - d) / b, above)
}

/// Returns the logarithm of the density over the logit if a parameter is below 12; x belongs to the
/// smaller one.
#[inline(always)]
fn uneven_density<R: Real>((small, large, n): (R, R, R), constant: R, x: R, y: R) -> (R, R) {
    // ln(1 - x), from the more accurate of x and y.
    let (zero, one, half) = (R::of(0.0), R::of(1.0), R::of(0.5));
    let u = one - x;
    let lost = x.below(half, (zero - x - (u - one)) / u, zero);
    let other = x.below(half, u, y).ln() + lost;
    two_sum(small * (x * n).ln(), large * other + constant)
}

/// Returns the tails by the continued fraction at (x, y) with d = x b - y a; `density` is the
/// logarithm of the density over the logit, and `least` is x or y, that of the smaller parameter.
#[inline(always)]
pub(super) fn fraction_tails<R: Real>(
    (a, b, n): (R, R, R),
    (x, y): (R, R),
    d: R,
    (ln, rest): (R, R),
    least: R,
) -> Tails<R> {
    let (zero, one) = (R::of(0.0), R::of(1.0));
    // The mode itself counts as below it.
    let side = zero.below(d, one, zero - one);
    let own = side.below(zero, a, b);
    let size = d.abs();
    let steep = (R::of(16.0) * (n * x * y)).below(size * size, one, zero);
    let serves = own.below(R::of(QUADRATURE), one, steep);
    let scaled = least * n;
    let range = IncompleteBeta::INSIDE;
    let usual = R::of(range.start).below(scaled, scaled.below(R::of(range.end), one, zero), zero);
    let good = inside(x, y) * serves * usual;
    // Other lanes get harmless numbers, so that the fraction ends.
    let (mut p, mut q, mut s) = (side.below(zero, x, y), side.below(zero, y, x), size);
    p = zero.below(good, p, R::of(0.5));
    q = zero.below(good, q, R::of(0.5));
    s = zero.below(good, s, zero);
    let ratio = continued_fraction(own, side.below(zero, b, a), p, q, s);
    Tails { side, ln, rest, ratio, height: one, slope: d, good }
}

/// Returns [`fraction_tails`] of laws with both parameters between 1 and 12; `constant` is the
/// constant of their log-densities.
#[inline(always)]
pub(super) fn moderate<R: Real>(law: (R, R, R), constant: R, x: R, y: R) -> Tails<R> {
    let (zero, one, large) = (R::of(0.0), R::of(1.0), R::of(LARGE));
    let (a, b, n) = law;
    let (least, most) = (b.below(a, b, a), b.below(a, a, b));
    let good = one.below(least, most.below(large, one, zero), zero);
    let (z, other) = (b.below(a, y, x), b.below(a, x, y));
    let density = uneven_density((least, most, n), constant, z, other);
    let tails = fraction_tails(law, (x, y), cross(x, b, y, a), density, z);
    Tails { good: good * tails.good, ..tails }
}

/// Σ (1 - b)_k x^k / (k! (a + k)) over k ≥ 1, for b x up to about 2.
fn power_series(a: f64, b: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 0.0);
    let mut k = 0.0;
    loop {
        k += 1.0;
        term *= (k - b) * (x / k);
        let part = term / (a + k);
        sum += part;
        if part.abs() <= 1.0e-17 * sum.abs() || k > 5000.0 {
            return sum;
        }
    }
}

/// Returns I_x(a, b) over the density of the logit by DiDonato and Morris's continued fraction and
/// Steed's method; `slope` is a y - b x. A lane stays fixed after its last term.
#[inline(always)]
fn continued_fraction<R: Real>(a: R, b: R, x: R, y: R, slope: R) -> R {
    let (zero, one, two) = (R::of(0.0), R::of(1.0), R::of(2.0));
    let (n, rise, turn) = (a + b, slope + one, y + one);
    let mut inner = one / (a + one);
    let mut value = a * inner * rise;
    let (mut d, mut step, mut open) = (zero, one, one);
    let mut count = 0.0;
    while zero.any_below(open) && count < 5000.0 {
        count += 1.0;
        let k = R::of(count);
        let next = one / (a + (two * k + one));
        let t = k * (b - k) * x * inner;
        let alpha = (a + (k - one)) * (n + (k - one)) * x * inner * t;
        let beta = k + t + (a + k) * next * (rise + k * turn);
        d = one / (beta + alpha * d);
        let change = alpha * d * step;
        step = zero - d * change;
        inner = next;
        value = value + zero.below(open, change, zero);
        open = (value.abs() * R::of(1.1e-16)).below(change.abs(), open, zero);
    }
    one / value
}

/// I_x(a, b), with x and `y` = 1 - x; for many arguments at the same parameters use
/// [`IncompleteBeta`].
pub fn beta_lower(a: f64, b: f64, x: f64, y: f64) -> f64 {
    IncompleteBeta::new(a, b).lower(x, y)
}

/// 1 - I_x(a, b), with x and `y` = 1 - x.
pub fn beta_upper(a: f64, b: f64, x: f64, y: f64) -> f64 {
    IncompleteBeta::new(a, b).upper(x, y)
}
