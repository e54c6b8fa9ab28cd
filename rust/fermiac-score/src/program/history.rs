//! Methods on earlier slopes: Adams-Bashforth in any variable, and momentum.

use super::Variable;
use super::builder::{Builder, log_ratio};
use crate::schedule::VpLinear;
use fermiac_base::simd::exp;
use fermiac_base::special::GAUSS_LEGENDRE;

/// Registers with one entry for each of the last steps; a step replaces the oldest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    pub(super) first: usize,
    pub(super) len: usize,
}

impl Ring {
    /// The register of step `i`.
    pub(super) fn at(self, i: usize) -> usize {
        self.first + i % self.len
    }

    /// The first register behind the ring.
    pub(super) fn end(self) -> usize {
        self.first + self.len
    }
}

/// Writes step `i` with the integral of the polynomial through the last `order` slopes.
pub(super) fn adams(
    b: &mut Builder,
    i: usize,
    order: usize,
    variable: (Variable, VpLinear),
    ring: Ring,
) {
    let mut terms = vec![(0, 1.0)];
    for (j, weight) in integrals(b, i, order, variable).into_iter().enumerate() {
        terms.push((ring.at(i - j), weight));
    }
    b.combine(0, &terms);
}

/// ∫ from node i to node i + 1 of the Lagrange polynomials at the last `order` nodes, by a rule of
/// 32 points. The integral runs over log s where the variable is no multiple of s.
fn integrals(
    b: &Builder,
    i: usize,
    order: usize,
    (variable, vp): (Variable, VpLinear),
) -> Vec<f64> {
    let (from, to) = (b.node(i).s, b.node(i + 1).s);
    let h = b.length(i);
    // The variable after a share of the step, and the derivative of s by the share.
    let along = |share: f64| {
        let s = from * exp(-h * share);
        match variable {
            Variable::Sigma => ((to - from) * share, to - from),
            Variable::Log => (-h * share, -h * s),
            Variable::VpTime => (vp.time(s), -h * s),
        }
    };
    let nodes: Vec<f64> = (0..order)
        .map(|k| {
            let s = b.node(i - k).s;
            match variable {
                Variable::Sigma => s - from,
                Variable::Log if k == 0 => 0.0,
                Variable::Log => log_ratio(s, from),
                Variable::VpTime => vp.time(s),
            }
        })
        .collect();
    let mut sums = vec![0.0; order];
    for (points, weights) in &GAUSS_LEGENDRE {
        for (point, weight) in points.0.iter().zip(weights.0) {
            let (u, rate) = along(*point);
            for (j, sum) in sums.iter_mut().enumerate() {
                let others = (0..order).filter(|k| *k != j);
                let basis: f64 = others.map(|k| (u - nodes[k]) / (nodes[j] - nodes[k])).product();
                *sum += weight * rate * basis;
            }
        }
    }
    sums
}

/// The weights of generalised heavy-ball momentum for the last `order` velocities, divided by β;
/// those of Adams and Bashforth on even steps where β is 1.
pub(super) fn momentum(order: usize, beta: f64) -> Vec<f64> {
    let (scale, weights) = match order {
        1 => (1.0, vec![beta]),
        2 => (2.0, vec![2.0 + beta, -(2.0 - beta)]),
        3 => (12.0, vec![18.0 + 5.0 * beta, -(24.0 - 8.0 * beta), 6.0 - beta]),
        _ => (
            24.0,
            vec![46.0 + 9.0 * beta, -(78.0 - 19.0 * beta), 42.0 - 5.0 * beta, -(10.0 - beta)],
        ),
    };
    weights.into_iter().map(|w| w / (scale * beta)).collect()
}

/// Writes the velocity of step `i`, (1 - β) v + β (y - D) / s; at the start it is the slope.
pub(super) fn velocity(b: &mut Builder, i: usize, beta: f64, denoised: usize, ring: Ring) {
    let s = b.node(i).s;
    let part = if i == 0 { 1.0 } else { beta };
    let mut terms = vec![(0, part / s), (denoised, -part / s)];
    if part < 1.0 {
        terms.push((ring.at(i - 1), 1.0 - beta));
    }
    b.combine(ring.at(i), &terms);
}

/// Writes step `i` along the last `order` registers of a ring, with the given weights.
pub(super) fn along(b: &mut Builder, i: usize, weights: &[f64], ring: Ring) {
    let width = b.node(i + 1).s - b.node(i).s;
    let mut terms = vec![(0, 1.0)];
    terms.extend(weights.iter().enumerate().map(|(j, w)| (ring.at(i - j), width * w)));
    b.combine(0, &terms);
}

/// Writes the velocity of the heavy ball of step `i`: (1 - β) v + β times the weighted slopes, in register `ball`.
pub(super) fn heavy_ball(
    b: &mut Builder,
    i: usize,
    beta: f64,
    weights: &[f64],
    ball: usize,
    ring: Ring,
) {
    let part = if i == 0 { 1.0 } else { beta };
    let mut terms: Vec<(usize, f64)> =
        weights.iter().enumerate().map(|(j, w)| (ring.at(i - j), part * w)).collect();
    if part < 1.0 {
        terms.push((ball, 1.0 - beta));
    }
    b.combine(ball, &terms);
}
