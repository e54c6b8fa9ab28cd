//! Integrals of a density of one rate against a tail or a density of the other, along a border.
//!
//! Over t the integrand is a smooth hump that dies out on both sides at least exponentially, so the
//! plain trapezoid sum converges geometrically (L. N. Trefethen and J. A. C. Weideman, "The
//! exponentially convergent trapezoidal rule", SIAM Review 56, 2014).

use super::path::Path;
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch, exp, ln};
use fermiac_base::special::{IncompleteBeta, Part};

/// The integrand over t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Integrand {
    /// The density of x against a part of y.
    DensityOfX(Part),
    /// The density of y against a part of x.
    DensityOfY(Part),
    /// The density of the parameter of the border.
    Density,
}

/// The laws of the rates: of x, which grows along the border, and of y.
#[derive(Debug, Clone, Copy)]
pub(super) struct Laws {
    pub(super) x: IncompleteBeta,
    pub(super) y: IncompleteBeta,
}

/// The top of an integrand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    t: f64,
    /// The logarithm of the integrand there.
    pub(super) ln: f64,
    /// The distance of the nodes.
    step: f64,
}

/// An integral over a border.
pub(super) struct Integral<'a, P> {
    pub(super) path: &'a P,
    pub(super) laws: &'a Laws,
    pub(super) integrand: Integrand,
    /// The distance of the nodes over the spread of the integrand about its top.
    pub(super) share: f64,
}

/// Terms whose logarithm is this far below the top are left out.
const DEPTH: f64 = 38.0;

impl<P: Path> Integral<'_, P> {
    /// The integrand's logarithm and its derivative.
    fn at(&self, t: f64) -> (f64, f64) {
        let node = self.path.node(t);
        let slopes = self.path.slopes(t);
        let Laws { x, y } = self.laws;
        let (along_x, along_y) =
            (x.ln_logit_density(node.x.0, node.x.1), { y.ln_logit_density(node.y.0, node.y.1) });
        let turn = |law: &IncompleteBeta, at: (f64, f64)| {
            let (a, b) = law.parameters();
            (a - 1.0) * at.1 - (b - 1.0) * at.0
        };
        match self.integrand {
            Integrand::DensityOfX(part) => {
                let tail = y.part(part, node.y.0, node.y.1);
                let flow = exp(along_y + ln(node.dy) - tail);
                let sign = if part == Part::LnLower { -1.0 } else { 1.0 };
                let slope = turn(x, node.x) * node.dx + slopes.dx + sign * flow;
                (along_x + ln(node.dx) + tail, slope)
            }
            Integrand::DensityOfY(part) => {
                let tail = x.part(part, node.x.0, node.x.1);
                let flow = exp(along_x + ln(node.dx) - tail);
                let sign = if part == Part::LnLower { 1.0 } else { -1.0 };
                let slope = -turn(y, node.y) * node.dy + slopes.dy + sign * flow;
                (along_y + ln(node.dy) + tail, slope)
            }
            Integrand::Density => {
                let slope = turn(x, node.x) * node.dx - turn(y, node.y) * node.dy;
                (along_x + along_y + ln(node.dx * node.dp), slope + slopes.dx + slopes.dp)
            }
        }
    }

    /// The top, to half of the spread about it.
    pub(super) fn peak(&self) -> Peak {
        let mut t = match self.integrand {
            Integrand::DensityOfY(_) => self.path.find(false, mean(&self.laws.y)),
            Integrand::DensityOfX(_) | Integrand::Density => {
                self.path.find(true, mean(&self.laws.x))
            }
        };
        let (mut low, mut high) = self.path.range();
        t = t.clamp(low, high);
        let (mut value, mut slope) = self.at(t);
        let mut curvature = self.bend(t);
        for count in 0..100 {
            if slope.abs() < 0.4 * curvature.sqrt() {
                // The curvature over half of the spread, on either side.
                let reach = 0.5 / curvature.sqrt().max(1.0);
                let (left, right) = (self.at(t - reach).1, self.at(t + reach).1);
                curvature = ((left - right) / (2.0 * reach)).max(1.0e-3);
                if slope.abs() < 0.7 * curvature.sqrt() {
                    break;
                }
            }
            if slope > 0.0 {
                low = t;
            } else {
                high = t;
            }
            let newton = t + slope / curvature;
            let inside = newton > low && newton < high && (newton - t).abs() < 8.0;
            let next = if inside && count % 6 != 5 { newton } else { 0.5 * (low + high) };
            let (new_value, new_slope) = self.at(next);
            let found = (slope - new_slope) / (next - t);
            // Bounded below, or this point would be taken for the top.
            curvature = if found > 0.0 { found } else { 0.1 * curvature };
            (t, value, slope) = (next, new_value, new_slope);
        }
        let spread = (1.0 / curvature.sqrt()).min(self.path.smooth(t));
        Peak { t, ln: value, step: self.share * spread }
    }

    /// About the curvature of the densities, from the spreads of their laws.
    fn bend(&self, t: f64) -> f64 {
        let node = self.path.node(t);
        let of = |law: &IncompleteBeta, at: (f64, f64), speed: f64| {
            let (a, b) = law.parameters();
            (a + b) * at.0 * at.1 * speed * speed
        };
        let along_x = of(&self.laws.x, node.x, node.dx);
        let along_y = of(&self.laws.y, node.y, node.dy);
        0.3 + match self.integrand {
            Integrand::DensityOfX(_) => along_x,
            Integrand::DensityOfY(_) => along_y,
            Integrand::Density => along_x + along_y,
        }
    }

    /// The logarithm of the integral.
    pub(super) fn ln_value(&self, peak: Peak) -> f64 {
        let right = dispatch(Side { integral: self, peak, first: 0.0, direction: 1.0 });
        let left = dispatch(Side { integral: self, peak, first: -1.0, direction: -1.0 });
        peak.ln + ln(peak.step * (left + right))
    }

    /// The logarithm of the integrand at eight nodes.
    #[inline(always)]
    fn eight(&self, t: V) -> V {
        let node = self.path.node(t);
        let Laws { x, y } = self.laws;
        let (part, is_x) = match self.integrand {
            Integrand::DensityOfX(part) => (part, true),
            Integrand::DensityOfY(part) => (part, false),
            Integrand::Density => {
                let along_x = x.ln_logit_density_eight(node.x.0, node.x.1);
                let along_y = y.ln_logit_density_eight(node.y.0, node.y.1);
                return along_x + along_y + Real::ln(node.dx * node.dp);
            }
        };
        let (own, at, turn, other, beside) =
            if is_x { (x, node.x, node.dx, y, node.y) } else { (y, node.y, node.dy, x, node.x) };
        let along = own.ln_logit_density_eight(at.0, at.1) + Real::ln(turn);
        along + other.part_eight(part, beside.0, beside.1)
    }
}

/// The sum of the terms from node `first` on, in one direction, over the top.
struct Side<'a, P> {
    integral: &'a Integral<'a, P>,
    peak: Peak,
    first: f64,
    direction: f64,
}

impl<P: Path> Kernel for Side<'_, P> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let Self { integral, peak, first, direction } = self;
        let step = V::splat(direction * peak.step);
        let (top, mut sum, mut tail) = (V::splat(peak.ln), V::ZERO, 0.0);
        for tile in 0..40_000 {
            let start = direction * first + (tile * LANES) as f64;
            let places = V([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) + V::splat(start);
            let depths = integral.eight(V::splat(peak.t) + step * places) - top;
            // Past rates that are no normal numbers there is nothing; NaN is not below anything.
            let none = V::splat(f64::NEG_INFINITY);
            sum = sum + Real::exp(depths.below(V::splat(f64::INFINITY), depths, none));
            let [.., c, b, a] = depths.0;
            if a < -DEPTH || !a.is_finite() {
                break;
            }
            // Where the integrand is an exponential, what follows is a geometric series.
            let (last, before) = (a - b, b - c);
            if last < 0.0 && (last - before).abs() < 1.0e-13 {
                let ratio = exp(last);
                tail = exp(a) * ratio / (1.0 - ratio);
                break;
            }
        }
        sum.sum() + tail
    }
}

/// The mean of a law.
pub(super) fn mean(law: &IncompleteBeta) -> f64 {
    let (a, b) = law.parameters();
    a / (a + b)
}
