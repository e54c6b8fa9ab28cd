//! Distribution functions and densities of epsilon, delta and mu: regions of the unit square.

use super::integral::{Integral, Integrand, Laws, Peak, mean};
use super::path::{Curve, Line, Moved, Path};
use crate::Direction;
use fermiac_base::simd::{exp, ln, normal_cdf, normal_quantile};
use fermiac_base::special::{IncompleteBeta, LN_SQRT_2PI, Part, expm1, ln1p};
use fermiac_base::{Error, Result};

/// The measure of privacy, with the number that it is given at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Epsilon at this delta.
    Epsilon(f64),
    /// Delta at this epsilon.
    Delta(f64),
    /// Mu of Gaussian differential privacy.
    Mu,
}

/// The probabilities on both sides of a value, by their logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tails {
    /// ln P(≤ value).
    pub ln_lower: f64,
    /// ln P(> value).
    pub ln_upper: f64,
}

/// The posterior of a measure of privacy.
#[derive(Debug, Clone, Copy)]
pub struct Posterior {
    /// The laws of the rates of false negatives and false positives.
    rates: Laws,
    mirrored: Laws,
    measure: Measure,
    direction: Direction,
    /// A bound on ln P(the mirrored rates lie below any border).
    ln_mirrored: f64,
    share: f64,
}

/// The pseudo-count of Jeffreys' prior of a rate.
const JEFFREYS: f64 = 0.5;
/// The spread of a law over which nodes lie, in spreads.
const SHARE: f64 = 0.36;
/// Where a tail is above exp of this, the other is found by itself.
const LN_MOST: f64 = -0.1;
/// Beyond this epsilon the tails are powers of e^ε to the last place.
const POWERS: f64 = 600.0;
/// A term whose logarithm is this far below that of another is negligible beside it, even if only
/// the top of its integrand is known.
const NOTHING: f64 = 45.0;

/// One straight piece of the border, on which `laws.x` is the law of the rate along it.
#[derive(Clone, Copy)]
struct Piece {
    line: Line,
    laws: Laws,
}

impl Posterior {
    /// Returns the posterior of epsilon at `delta` from an attack's counts of true positives, false
    /// positives, false negatives and true negatives, with Jeffreys' prior of both error rates.
    ///
    /// # Errors
    /// For counts that are negative or not finite, and a delta outside [0, 1).
    pub fn epsilon(tp: f64, fp: f64, fn_: f64, tn: f64, delta: f64) -> Result<Self> {
        if let Some(bad) = [tp, fp, fn_, tn].into_iter().find(|n| !(*n >= 0.0 && n.is_finite())) {
            let why = format!("{bad} was given; finite numbers from 0 on are needed");
            return Err(Error::argument("counts", why));
        }
        if !(0.0..1.0).contains(&delta) {
            return Err(Error::argument("delta", format!("{delta} was given; [0, 1) is needed")));
        }
        let fnr = IncompleteBeta::new(fn_ + JEFFREYS, tp + JEFFREYS);
        let fpr = IncompleteBeta::new(fp + JEFFREYS, tn + JEFFREYS);
        Ok(Self::new(fnr, fpr, Measure::Epsilon(delta), Direction::Both))
    }

    /// The posterior for these laws of the rates of false negatives and of false positives.
    pub fn new(
        fnr: IncompleteBeta,
        fpr: IncompleteBeta,
        measure: Measure,
        direction: Direction,
    ) -> Self {
        let rates = Laws { x: fnr, y: fpr };
        let mirrored = Laws { x: fnr.mirrored(), y: fpr.mirrored() };
        let inverted = mean(&fnr) + mean(&fpr) > 1.0;
        let (rates, mirrored) = if inverted && direction == Direction::Both {
            (mirrored, rates)
        } else {
            (rates, mirrored)
        };
        let ln_mirrored = match measure {
            Measure::Epsilon(delta) => ln_far(&mirrored, delta),
            Measure::Delta(_) | Measure::Mu => ln_far(&mirrored, 0.0),
        };
        Self { rates, mirrored, measure, direction, ln_mirrored, share: SHARE }
    }

    /// The same with nodes this much closer to each other, to check what the quadrature leaves.
    #[must_use]
    pub fn refined(mut self, factor: f64) -> Self {
        self.share /= factor;
        self
    }

    pub(super) fn measure(&self) -> Measure {
        self.measure
    }

    /// The center and the spread of the measure, by first derivatives at the means of the rates.
    pub(super) fn rough(&self) -> (f64, f64) {
        let (x, y) = (mean(&self.rates.x), mean(&self.rates.y));
        let (sx, sy) = (spread(&self.rates.x), spread(&self.rates.y));
        // Values of the two lines, with their derivatives over the rates.
        let (reverse, forward) = match self.measure {
            Measure::Mu => {
                let (zx, zy) = (normal_quantile(x), normal_quantile(y));
                let speed = |z: f64| exp(0.5 * z * z + LN_SQRT_2PI);
                return (-(zx + zy), (sx * speed(zx)).hypot(sy * speed(zy)));
            }
            Measure::Epsilon(delta) => {
                let of = |own: f64, other: f64| {
                    let gap = (1.0 - delta - other).max(1.0e-3 * (1.0 - other));
                    (ln(gap / own), 1.0 / own, 1.0 / gap)
                };
                let ((reverse, rx, ry), (forward, fy, fx)) = (of(x, y), of(y, x));
                ((reverse, rx, ry), (forward, fx, fy))
            }
            Measure::Delta(epsilon) => {
                // Its square is a number, too.
                let e = exp(epsilon.min(0.5 * POWERS));
                ((1.0 - y - e * x, e, 1.0), (1.0 - x - e * y, 1.0, e))
            }
        };
        let variance =
            |p: (f64, f64, f64), q: (f64, f64, f64)| p.1 * q.1 * sx * sx + p.2 * q.2 * sy * sy;
        let alone = |p: (f64, f64, f64)| (p.0, variance(p, p).sqrt());
        match self.direction {
            Direction::Forward => alone(forward),
            Direction::Reverse => alone(reverse),
            Direction::Both | Direction::Attack => {
                larger(alone(reverse), alone(forward), variance(reverse, forward))
            }
        }
    }

    /// Epsilon, what is beyond [`POWERS`] of it, and delta.
    fn border(&self, value: f64) -> (f64, f64, f64) {
        match self.measure {
            Measure::Epsilon(delta) => (value.min(POWERS), (value - POWERS).max(0.0), delta),
            Measure::Delta(epsilon) => (epsilon.min(POWERS), (epsilon - POWERS).max(0.0), value),
            Measure::Mu => (0.0, 0.0, 0.0),
        }
    }

    /// Whether the attack with exchanged answers counts.
    pub(super) fn is_folded(&self) -> bool {
        self.direction == Direction::Both
    }

    /// ln P(≤ value) and ln P(> value), the smaller one to its own digits but where it is what
    /// two nearly equal numbers leave.
    pub fn tails(&self, value: f64) -> Tails {
        if self.is_beyond(value) {
            return Tails { ln_lower: 0.0, ln_upper: f64::NEG_INFINITY };
        }
        if value == 0.0 && !self.has_atom() {
            return Tails { ln_lower: f64::NEG_INFINITY, ln_upper: 0.0 };
        }
        let is_upper = value > self.rough().0;
        let tails = self.tails_by(is_upper, value);
        let direct = if is_upper { tails.ln_upper } else { tails.ln_lower };
        if direct > LN_MOST { self.tails_by(!is_upper, value) } else { tails }
    }

    /// The tails from one of them.
    fn tails_by(&self, is_upper: bool, value: f64) -> Tails {
        if is_upper {
            let mut sum = LnSum::EMPTY;
            self.upper(&self.rates, value, &mut sum);
            if self.is_folded() && self.ln_mirrored > sum.ln() - NOTHING {
                self.upper(&self.mirrored, value, &mut sum);
            }
            let ln_upper = sum.ln().min(0.0);
            Tails { ln_lower: ln_complement(ln_upper), ln_upper }
        } else {
            let mut sum = LnSum::EMPTY;
            self.lower(&self.rates, value, &mut sum);
            if self.is_folded() && self.ln_mirrored > sum.ln() - NOTHING {
                let mut other = LnSum::EMPTY;
                self.upper_beside(&self.mirrored, value, sum.ln(), &mut other);
                sum.add(other.ln(), -1.0);
            }
            let ln_lower = sum.ln().min(0.0);
            Tails { ln_lower, ln_upper: ln_complement(ln_lower) }
        }
    }

    /// Whether 0 has positive probability. Otherwise it has that of the rates lying on a line: none.
    fn has_atom(&self) -> bool {
        match self.measure {
            Measure::Epsilon(given) | Measure::Delta(given) => !self.is_folded() || given > 0.0,
            Measure::Mu => !self.is_folded(),
        }
    }

    fn is_beyond(&self, value: f64) -> bool {
        match self.measure {
            Measure::Epsilon(_) => false,
            Measure::Delta(_) => value >= 1.0,
            Measure::Mu => value >= Curve::END,
        }
    }

    /// Adds P(the rates lie below the border).
    fn upper(&self, laws: &Laws, value: f64, sum: &mut LnSum) {
        self.upper_beside(laws, value, sum.ln(), sum);
    }

    /// Adds P(the rates lie below the border), less what is nothing beside exp(`beside`).
    fn upper_beside(&self, laws: &Laws, value: f64, beside: f64, sum: &mut LnSum) {
        if self.measure == Measure::Mu {
            let (curve, laws) = curve(laws, value);
            let integral = self.over(&curve, &laws, Integrand::DensityOfX(Part::LnLower));
            add(&integral, 0.0, beside, sum);
            return;
        }
        let (epsilon, more, delta) = self.border(value);
        let mut corner = 0.0;
        for piece in self.pieces(laws, epsilon, delta) {
            let Piece { line, laws } = &piece;
            let power = laws.x.parameters().0 * more;
            let integrand = if piece.y_is_narrow() {
                corner += 1.0;
                Integrand::DensityOfY(Part::LnLower)
            } else {
                Integrand::DensityOfX(Part::LnLower)
            };
            add(&self.over(line, laws, integrand), power, beside, sum);
        }
        if self.is_kinked() {
            let line = kink(epsilon, delta);
            let both = laws.x.parameters().0 + laws.y.parameters().0;
            let x = laws.x.ln_lower(line.end.0, line.end.1);
            let y = laws.y.ln_lower(line.end.0, line.end.1);
            sum.add(x + y - both * more, corner - 1.0);
        }
    }

    /// Adds P(the rates do not lie below the border).
    fn lower(&self, laws: &Laws, value: f64, sum: &mut LnSum) {
        if self.measure == Measure::Mu {
            let (curve, laws) = curve(laws, value);
            let integral = self.over(&curve, &laws, Integrand::DensityOfX(Part::LnUpper));
            add(&integral, 0.0, f64::NEG_INFINITY, sum);
            return;
        }
        let (epsilon, _, delta) = self.border(value);
        let mut corner = 1.0;
        for piece in self.pieces(laws, epsilon, delta) {
            let Piece { line, laws } = &piece;
            let integrand = if piece.y_is_narrow() {
                corner -= 1.0;
                sum.add(laws.y.ln_upper(1.0 - delta, delta), 1.0);
                Integrand::DensityOfY(Part::LnUpper)
            } else {
                Integrand::DensityOfX(Part::LnUpper)
            };
            add(&self.over(line, laws, integrand), 0.0, f64::NEG_INFINITY, sum);
            if !self.is_kinked() {
                sum.add(laws.x.ln_upper(line.end.0, line.end.1), corner);
            }
        }
        if self.is_kinked() {
            let line = kink(epsilon, delta);
            let x = laws.x.ln_upper(line.end.0, line.end.1);
            let y = laws.y.ln_upper(line.end.0, line.end.1);
            sum.add(x + y, corner);
        }
    }

    /// The logarithm of the density of the continuous part.
    pub fn ln_density(&self, value: f64) -> f64 {
        if self.is_beyond(value) || value < 0.0 {
            return f64::NEG_INFINITY;
        }
        let mut sum = LnSum::EMPTY;
        self.density_below(&self.rates, value, &mut sum);
        if self.is_folded() {
            self.density_below(&self.mirrored, value, &mut sum);
        }
        sum.ln()
    }

    fn density_below(&self, laws: &Laws, value: f64, sum: &mut LnSum) {
        let beside = sum.ln();
        if self.measure == Measure::Mu {
            let (curve, laws) = curve(laws, value);
            add(&self.over(&curve, &laws, Integrand::Density), 0.0, beside, sum);
            return;
        }
        let (epsilon, more, delta) = self.border(value);
        for Piece { line, laws } in self.pieces(laws, epsilon, delta) {
            let power = laws.x.parameters().0 * more;
            add(&self.over(&line, &laws, Integrand::Density), power, beside, sum);
        }
    }

    fn over<'a, P: Path>(
        &self,
        path: &'a P,
        laws: &'a Laws,
        integrand: Integrand,
    ) -> Integral<'a, P> {
        Integral { path, laws, integrand, share: self.share }
    }

    /// Whether the border is two lines that meet on the diagonal.
    fn is_kinked(&self) -> bool {
        match self.direction {
            Direction::Both | Direction::Attack => true,
            Direction::Forward | Direction::Reverse => false,
        }
    }

    /// The pieces of the border: two up to the diagonal, or one from axis to axis.
    fn pieces(&self, laws: &Laws, epsilon: f64, delta: f64) -> impl Iterator<Item = Piece> {
        let swapped = Laws { x: laws.y, y: laws.x };
        let moved =
            if let Measure::Delta(_) = self.measure { Moved::Delta } else { Moved::Epsilon };
        let line = if self.is_kinked() { kink(epsilon, delta) } else { axis(epsilon, delta) };
        let line = Line { moved, ..line };
        let (first, second) = match self.direction {
            Direction::Both | Direction::Attack => (Some(*laws), Some(swapped)),
            Direction::Forward => (Some(swapped), None),
            Direction::Reverse => (Some(*laws), None),
        };
        [first, second].into_iter().flatten().map(move |laws| Piece { line, laws })
    }
}

/// Adds an integral over exp(`power`), less what is nothing beside exp(`beside`).
fn add<P: Path>(integral: &Integral<'_, P>, power: f64, beside: f64, sum: &mut LnSum) {
    let peak: Peak = integral.peak();
    if peak.ln - power > beside - NOTHING {
        sum.add(integral.ln_value(peak) - power, 1.0);
    }
}

/// A bound on ln P(X + Y < 1 - δ): one of the rates is below the point that splits the distance of
/// the means from that line as their spreads do.
fn ln_far(laws: &Laws, delta: f64) -> f64 {
    let (x, y) = (mean(&laws.x), mean(&laws.y));
    let gap = x + y - (1.0 - delta);
    let (sx, sy) = (spread(&laws.x), spread(&laws.y));
    if gap <= 0.0 {
        return 0.0;
    }
    let split = gap * (sx / (sx + sy));
    let below = |law: &IncompleteBeta, at: f64| {
        if at > 0.0 { law.ln_lower(at, 1.0 - at) } else { f64::NEG_INFINITY }
    };
    ln(2.0) + below(&laws.x, x - split).max(below(&laws.y, y - (gap - split)))
}

/// The line from the y-axis to the diagonal.
fn kink(epsilon: f64, delta: f64) -> Line {
    let e = exp(epsilon);
    let c = 1.0 - delta;
    let end = c / (1.0 + e);
    Line {
        end: (end, (e + delta) / (1.0 + e)),
        y_end: end,
        fall: e * end,
        delta,
        moved: Moved::Epsilon,
    }
}

/// The line from axis to axis.
fn axis(epsilon: f64, delta: f64) -> Line {
    let e = exp(epsilon);
    let c = 1.0 - delta;
    Line {
        end: (c / e, (expm1(epsilon) + delta) / e),
        y_end: 0.0,
        fall: c,
        delta,
        moved: Moved::Epsilon,
    }
}

/// The curve of mu, along the narrower law.
fn curve(laws: &Laws, mu: f64) -> (Curve, Laws) {
    let width = |law: &IncompleteBeta| {
        let z = normal_quantile(mean(law));
        spread(law) * exp(0.5 * z * z)
    };
    let swapped = Laws { x: laws.y, y: laws.x };
    (Curve { mu }, if width(&laws.x) <= width(&laws.y) { *laws } else { swapped })
}

impl Piece {
    /// Whether the law of y is the narrower one, over x.
    fn y_is_narrow(&self) -> bool {
        spread(&self.laws.y) * self.line.end.0 < spread(&self.laws.x) * self.line.fall
    }
}

/// The mean and the spread of the larger of two normal numbers with this covariance (C. E. Clark,
/// "The greatest of a finite set of random variables", Operations Research 9, 1961).
fn larger(p: (f64, f64), q: (f64, f64), covariance: f64) -> (f64, f64) {
    let gap = (p.1 * p.1 + q.1 * q.1 - 2.0 * covariance).max(0.0).sqrt();
    let z = (p.0 - q.0) / gap;
    if z.is_nan() || z.abs() > 8.0 {
        return if p.0 > q.0 { p } else { q };
    }
    let (share, height) = (normal_cdf(z), exp(-0.5 * z * z - LN_SQRT_2PI));
    let first = p.0 * share + q.0 * (1.0 - share) + gap * height;
    let second = (p.0 * p.0 + p.1 * p.1) * share
        + (q.0 * q.0 + q.1 * q.1) * (1.0 - share)
        + (p.0 + q.0) * gap * height;
    (first, (second - first * first).max(0.01 * p.1 * q.1).sqrt())
}

fn spread(law: &IncompleteBeta) -> f64 {
    let (a, b) = law.parameters();
    let n = a + b;
    ((a / n) * (b / n) / (n + 1.0)).sqrt()
}

/// A sum of signed terms, kept by their logarithms.
#[derive(Debug, Clone, Copy)]
struct LnSum {
    terms: [(f64, f64); 8],
    n: usize,
}

impl LnSum {
    const EMPTY: Self = Self { terms: [(f64::NEG_INFINITY, 0.0); 8], n: 0 };

    /// Adds `sign` · exp(`ln`).
    fn add(&mut self, ln: f64, sign: f64) {
        if sign != 0.0 && ln > f64::NEG_INFINITY && self.n < self.terms.len() {
            self.terms[self.n] = (ln, sign);
            self.n += 1;
        }
    }

    /// The logarithm of the sum; -inf where rounding has left nothing.
    fn ln(&self) -> f64 {
        let terms = &self.terms[..self.n];
        let top = terms.iter().fold(f64::NEG_INFINITY, |top, t| top.max(t.0));
        if top == f64::NEG_INFINITY {
            return top;
        }
        let sum: f64 = terms.iter().map(|(ln, sign)| sign * exp(ln - top)).sum();
        if sum > 0.0 { top + ln(sum) } else { f64::NEG_INFINITY }
    }
}

/// ln(1 - exp(x)) for x ≤ 0.
fn ln_complement(x: f64) -> f64 {
    if x > -0.693 { ln(-expm1(x)) } else { ln1p(-exp(x)) }
}
