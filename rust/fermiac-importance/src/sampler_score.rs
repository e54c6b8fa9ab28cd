//! The score of a sampler: its variance criterion, estimated from all points of the adaptation.

use super::points::{Points, Table, relative};
use super::proposal::{Proposal, weight};
use super::stage::Measured;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv};
use std::ops::Range;

/// The criterion for one evaluation from a sampler, Σ w_j times the variance of the corrected
/// value of expectation j, with the share of the largest point in it. It is estimated from all
/// points, whichever sampler drew them, so that a sampler cannot score well by missing a region
/// that other samplers found.
///
/// Sampler 0 is the laws; of the others only the last two are available.
pub(crate) fn criterion(
    context: &Context<'_>,
    points: &Points,
    sampler: usize,
    measured: &[Measured],
    centres: &[f64],
    weights: &[f64],
) -> Result<(f64, f64)> {
    let (proposal, table) = points.source(sampler)?;
    let mut all = Assessed { first: vec![0.0; points.layout.len], ..Assessed::default() };
    points.spans(
        context,
        |span| dispatch(Assess { points, span, proposal, table, measured, centres, weights }),
        |part| all.add(&part),
    )?;
    let squares = all.second / all.total;
    let means: f64 = all.first.iter().zip(weights).map(|(f, w)| w * (f / all.total).powi(2)).sum();
    let share = if all.second > 0.0 { all.largest / all.second } else { 0.0 };
    Ok(((squares - means).max(0.0), share))
}

/// Sums over points, w = g / h and c the corrected values about their centres.
#[derive(Debug, Default)]
struct Assessed {
    /// Σ w
    total: f64,
    /// Σ w c_j of every expectation.
    first: Vec<f64>,
    /// Σ w Σ_j w_j c_j², and the largest term.
    second: f64,
    largest: f64,
}

impl Assessed {
    fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.first.iter_mut().zip(&other.first).for_each(|(a, b)| *a += b);
        self.second += other.second;
        self.largest = self.largest.max(other.largest);
    }
}

struct Assess<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
    table: &'a Table,
    measured: &'a [Measured],
    centres: &'a [f64],
    weights: &'a [f64],
}

impl Kernel for Assess<'_> {
    type Output = Assessed;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Assessed {
        let (points, table) = (self.points, self.table);
        let layout = points.layout;
        let groups = self.proposal.n_groups();
        let mut first = vec![V::ZERO; layout.len];
        let (mut total, mut second, mut largest) = (V::ZERO, V::ZERO, V::ZERO);
        let mut of_laws = vec![V::ZERO; layout.n_laws];
        for t in self.span {
            let log_laws = points.laws_at(t);
            let sum = relative::<FMA>(self.proposal, table, t, log_laws);
            let inverse = V::splat(1.0) / sum;
            let mut w = expv::<FMA>(table.log_ref[t] - points.log_h(t)) * sum;
            w.0[usize::from(points.lanes[t])..LANES].fill(0.0);
            for (w, log) in of_laws.iter_mut().zip(log_laws) {
                *w = weight::<FMA>(*log, table.log_ref[t]) * inverse;
            }
            let values = &points.values[t * layout.outputs..(t + 1) * layout.outputs];
            let rho = &table.rho[t * groups..(t + 1) * groups];
            let mut squares = V::ZERO;
            for j in 0..layout.len {
                let v = of_laws[layout.law(j)] * values[layout.output(j)];
                let mut c = v - V::splat(self.centres[j]);
                for (group, beta) in &self.measured[j].control.terms {
                    let ratio = rho[*group] * inverse - V::splat(1.0);
                    c = ratio.mul_add::<FMA>(V::splat(-beta), c);
                }
                for (law, beta) in &self.measured[j].control.laws {
                    let ratio = of_laws[*law] - V::splat(1.0);
                    c = ratio.mul_add::<FMA>(V::splat(-beta), c);
                }
                // Where the sampler never goes (w = 0) c may overflow.
                for lane in 0..LANES {
                    c.0[lane] = if w.0[lane] > 0.0 { c.0[lane] } else { 0.0 };
                }
                first[j] = w.mul_add::<FMA>(c, first[j]);
                squares = (c * V::splat(self.weights[j])).mul_add::<FMA>(c, squares);
            }
            let term = w * squares;
            second = second + term;
            largest = largest.max(term);
            total = total + w;
        }
        Assessed {
            total: total.sum(),
            first: first.into_iter().map(V::sum).collect(),
            second: second.sum(),
            largest: largest.0.into_iter().fold(0.0, f64::max),
        }
    }
}
