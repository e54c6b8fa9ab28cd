//! Multistep DPM-Solver++, for the ordinary and the stochastic equation.

use super::SdeSolver;
use super::builder::{Builder, log_ratio};
use super::exponential::Weights;
use super::history::Ring;
use fermiac_base::simd::exp;
use fermiac_base::special::expm1;

/// The settings of the multistep method and the registers of its denoised points.
pub(super) struct Multistep {
    pub(super) eta: f64,
    pub(super) sde: SdeSolver,
    pub(super) corrected: bool,
    /// Whether the method is of order 3, even if this step has a lower order.
    pub(super) third: bool,
    pub(super) ring: Ring,
}

/// Writes step `i` with `order` denoised points, of which the newest is known.
///
/// The stochastic equation has the weights of a step that is longer by 1 + η, and noise.
pub(super) fn step(b: &mut Builder, i: usize, order: usize, m: &Multistep) {
    let (from, to) = (b.node(i), b.node(i + 1));
    let h = log_ratio(from.s, to.s);
    let w = Weights::new((1.0 + m.eta) * h);
    let keep = if m.eta == 0.0 { to.s / from.s } else { to.s / from.s * exp(-m.eta * h) };
    let newest = m.ring.at(i);
    let terms = match order {
        1 => vec![(0, keep), (newest, w.level)],
        2 => {
            let r = b.length(i - 1) / h;
            let slope =
                if m.third || m.sde == SdeSolver::Heun { w.slope / r } else { 0.5 * w.level / r };
            vec![(0, keep), (newest, w.level + slope), (m.ring.at(i - 1), -slope)]
        }
        _ => {
            let (r0, r1) = (b.length(i - 1) / h, b.length(i - 2) / h);
            // The first and half of the second derivative are sums of the two differences
            // a = (D_i - D_{i-1}) / r0 and b = (D_{i-1} - D_{i-2}) / r1.
            let bend = if m.corrected { 2.0 * w.bend } else { w.bend };
            let second = (w.slope * r0 - bend) / (r0 + r1);
            let (a, b) = ((w.slope + second) / r0, -second / r1);
            vec![
                (0, keep),
                (newest, w.level + a),
                (m.ring.at(i - 1), b - a),
                (m.ring.at(i - 2), -b),
            ]
        }
    };
    if m.eta > 0.0 {
        let scale = to.s * (-expm1(-2.0 * m.eta * h)).sqrt();
        b.combine_with_noise(0, &terms, scale, (from, to));
    } else {
        b.combine(0, &terms);
    }
}
