//! Integrals of a density of one rate against a tail or a density of the other, along a border.
//!
//! Over t the integrand is a smooth hump that dies out on both sides at least exponentially, so the
//! plain trapezoid sum converges geometrically (L. N. Trefethen and J. A. C. Weideman, "The
//! exponentially convergent trapezoidal rule", SIAM Review 56, 2014).

use super::path::Path;
use crate::simd::{Kernel, LANES, V, dispatch, exp, ln};
use crate::special::{IncompleteBeta, Part};

/// What is integrated over t.
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

/// Nodes in one go at most.
const BLOCK: usize = 4 * LANES;
/// What is this far below the top, in its logarithm, is left out.
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

    /// The top, to a third of the spread about it, from a start near it.
    pub(super) fn peak(&self) -> Peak {
        let mut t = match self.integrand {
            Integrand::DensityOfY(_) => self.path.find(false, mean(&self.laws.y)),
            _ => self.path.find(true, mean(&self.laws.x)),
        };
        let (mut value, mut slope) = self.at(t);
        let (mut low, mut high) = (None, None);
        let mut stride = 0.5;
        let mut curvature = 1.0;
        for count in 0..80 {
            if slope > 0.0 {
                low = Some((t, slope));
            } else {
                high = Some((t, slope));
            }
            let next = match (low, high) {
                (Some((l, dl)), Some((h, dh))) => {
                    let secant = l + (h - l) * (dl / (dl - dh));
                    let middle = 0.5 * (l + h);
                    if count % 3 == 2 || !secant.is_finite() { middle } else { secant }
                }
                (None, _) => t - stride,
                (_, None) => t + stride,
            };
            stride *= 2.0;
            let (new_value, new_slope) = self.at(next);
            let found = (slope - new_slope) / (next - t);
            if found > 0.0 {
                curvature = found;
            }
            let moved = (next - t).abs();
            (t, value, slope) = (next, new_value, new_slope);
            let spread = 1.0 / curvature.sqrt();
            if found > 0.0 && slope.abs() * spread < 0.3 && moved < 2.0 * spread {
                break;
            }
        }
        // The curvature over the spread itself, on either side.
        let reach = 0.5 / curvature.sqrt().max(1.0);
        let (left, right) = (self.at(t - reach).1, self.at(t + reach).1);
        let curvature = ((left - right) / (2.0 * reach)).max(0.0);
        let spread = (1.0 / curvature.sqrt()).min(P::SMOOTH);
        Peak { t, ln: value, step: self.share * spread }
    }

    /// The logarithm of the integral.
    pub(super) fn ln_value(&self, peak: Peak) -> f64 {
        let mut scratch = Scratch::default();
        let right = self.side(peak, 0.0, 1.0, &mut scratch);
        let left = self.side(peak, -1.0, -1.0, &mut scratch);
        peak.ln + ln(peak.step * (left + right))
    }

    /// The sum of the terms from node `first` on, in one direction, over the top.
    fn side(&self, peak: Peak, first: f64, direction: f64, scratch: &mut Scratch) -> f64 {
        // As many nodes as a normal hump has; then a few at a time.
        let expected = (2.0 * DEPTH).sqrt() / self.share;
        let mut n = ((expected / LANES as f64).ceil() as usize * LANES).clamp(LANES, BLOCK);
        let (mut sum, mut start) = (0.0, first);
        for _ in 0..10_000 {
            for (k, t) in scratch.t[..n].iter_mut().enumerate() {
                *t = peak.t + peak.step * (start + direction * k as f64);
            }
            self.fill(n, scratch);
            let values = &scratch.value[..n];
            sum += dispatch(Exponentials { values, less: peak.ln });
            let [.., c, b, a] = *values else { break };
            let depth = a - peak.ln;
            if depth < -DEPTH || !depth.is_finite() {
                break;
            }
            // Where the integrand is an exponential, what follows is a geometric series.
            let (last, before) = (a - b, b - c);
            if last < 0.0 && (last - before).abs() < 1.0e-13 {
                let ratio = exp(last);
                sum += exp(depth) * ratio / (1.0 - ratio);
                break;
            }
            start += direction * n as f64;
            n = 2 * LANES;
        }
        sum
    }

    /// The logarithm of the integrand at the nodes.
    fn fill(&self, n: usize, scratch: &mut Scratch) {
        let Laws { x, y } = self.laws;
        dispatch(Nodes { path: self.path, integrand: self.integrand, n, scratch });
        let Scratch { x: xs, y: ys, value, part, .. } = scratch;
        let (xs, ys) = ((&xs.0[..n], &xs.1[..n]), (&ys.0[..n], &ys.1[..n]));
        let part = &mut part[..n];
        let mut add = |part: &[f64]| {
            for (value, part) in value[..n].iter_mut().zip(part) {
                *value += part;
            }
        };
        match self.integrand {
            Integrand::DensityOfX(of) => {
                x.fill_ln_logit_density(xs.0, xs.1, part);
                add(part);
                y.fill_points(of, ys.0, ys.1, part);
                add(part);
            }
            Integrand::DensityOfY(of) => {
                y.fill_ln_logit_density(ys.0, ys.1, part);
                add(part);
                x.fill_points(of, xs.0, xs.1, part);
                add(part);
            }
            Integrand::Density => {
                x.fill_ln_logit_density(xs.0, xs.1, part);
                add(part);
                y.fill_ln_logit_density(ys.0, ys.1, part);
                add(part);
            }
        }
    }
}

fn mean(law: &IncompleteBeta) -> f64 {
    let (a, b) = law.parameters();
    a / (a + b)
}

/// The columns of one block of nodes.
struct Scratch {
    t: [f64; BLOCK],
    x: ([f64; BLOCK], [f64; BLOCK]),
    y: ([f64; BLOCK], [f64; BLOCK]),
    value: [f64; BLOCK],
    part: [f64; BLOCK],
}

impl Default for Scratch {
    fn default() -> Self {
        let column = [0.0; BLOCK];
        let pair = (column, column);
        Self { t: column, x: pair, y: pair, value: column, part: column }
    }
}

/// The points of the border, and the logarithm of what turns the densities.
struct Nodes<'a, P> {
    path: &'a P,
    integrand: Integrand,
    n: usize,
    scratch: &'a mut Scratch,
}

impl<P: Path> Kernel for Nodes<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { path, integrand, n, scratch } = self;
        for tile in 0..n / LANES {
            let at = tile * LANES..(tile + 1) * LANES;
            let mut t = V::ZERO;
            t.0.copy_from_slice(&scratch.t[at.clone()]);
            let node = path.node(t);
            let turn = match integrand {
                Integrand::DensityOfX(_) => node.dx,
                Integrand::DensityOfY(_) => node.dy,
                Integrand::Density => node.dx * node.dp,
            };
            let turn = crate::simd::Real::ln(turn);
            scratch.x.0[at.clone()].copy_from_slice(&node.x.0.0);
            scratch.x.1[at.clone()].copy_from_slice(&node.x.1.0);
            scratch.y.0[at.clone()].copy_from_slice(&node.y.0.0);
            scratch.y.1[at.clone()].copy_from_slice(&node.y.1.0);
            scratch.value[at].copy_from_slice(&turn.0);
        }
    }
}

/// Σ exp(value - less).
struct Exponentials<'a> {
    values: &'a [f64],
    less: f64,
}

impl Kernel for Exponentials<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let mut sum = V::ZERO;
        for tile in self.values.chunks_exact(LANES) {
            let mut v = V::ZERO;
            v.0.copy_from_slice(tile);
            sum = sum + crate::simd::Real::exp(v - V::splat(self.less));
        }
        sum.sum()
    }
}
