//! The final phase: fresh points from a fixed sampler, of which only sums are kept.

use super::accumulate::{Fill, Filled, Part, Shape};
use super::fit::symmetric;
use super::layout::Layout;
use super::layout::{lanes, n_tiles};
use super::problem::{Batch, Plan, Problem};
use super::proposal::Sampler;
use super::seen::Seen;
use super::{Expectations, Stopped};
use fermiac_base::linalg::packed;
use fermiac_base::par::{CHUNK, Context, Tree};
use fermiac_base::simd::dispatch;
use fermiac_base::{Error, Result};
use std::ops::Range;

/// The block of the final phase's streams; adaptation stages use 0, 1, ….
const FINAL_BLOCK: u32 = 1 << 20;
/// Weights per expectation that k-hat is computed from, and the sum of them over expectations.
const KHAT_POINTS: usize = 1 << 17;
const KHAT_TOTAL: usize = 1 << 22;

/// The final phase: its sampler, its size and what it keeps.
pub(crate) struct Estimation<'a> {
    pub(crate) problem: &'a Problem<'a>,
    pub(crate) sampler: &'a Sampler,
    pub(crate) n: usize,
    pub(crate) before: usize,
    /// What the points of the adaptation have shown.
    pub(crate) seen: Seen,
    pub(crate) full: bool,
    pub(crate) keep_draws: bool,
}

/// What the result is made of, beside the sums.
pub(crate) struct Known {
    pub(crate) shape: Shape,
    /// The units of the outputs.
    pub(crate) units: Vec<f64>,
    pub(crate) before: usize,
    pub(crate) seen: Seen,
    pub(crate) n_bad: u64,
    pub(crate) n_at_bound: u64,
}

impl Estimation<'_> {
    /// Runs it. An error comes with the results of the chunks before it.
    pub(crate) fn run(&self, context: &Context<'_>) -> std::result::Result<Expectations, Stopped> {
        let (first, shape) = self.first(context).map_err(|error| (error, None))?;
        let mut total = Tree::default();
        total.push(first, Part::join);
        let outcome = self.add(context, &shape, 1..self.n.div_ceil(CHUNK), &mut total);
        let done = total
            .root(Part::join)
            .ok_or_else(|| Error::Internal("an empty final sample".into()))
            .and_then(|total| finish(total, &self.known(shape)?));
        match (outcome, done) {
            (Ok(()), done) => done.map_err(|error| (error, None)),
            (Err(error), done) => Err((error, done.ok().map(Box::new))),
        }
    }

    pub(crate) fn known(&self, shape: Shape) -> Result<Known> {
        Ok(Known {
            shape,
            units: self.problem.units()?,
            before: self.before,
            seen: self.seen.clone(),
            n_bad: self.problem.n_bad(),
            n_at_bound: self.problem.n_at_bound(),
        })
    }

    fn plan(&self, chunks: Range<usize>) -> Plan {
        let densities = !self.sampler.proposal.alpha.is_empty()
            || self.problem.laws.len() > 1
            || self.sampler.basis.is_some()
            || self.keep_draws;
        Plan { block: FINAL_BLOCK, n: self.n, chunks, densities, before: self.before }
    }

    /// The first chunk gives shifts and scales: with them the sums of squares lose nothing by
    /// cancellation and cannot overflow, whatever the magnitude of an expectation.
    pub(crate) fn first(&self, context: &Context<'_>) -> Result<(Part, Shape)> {
        let mut first = None;
        self.problem.sweep(
            context,
            &self.sampler.proposal,
            &self.plan(0..1),
            |_, batch| Ok(batch.clone()),
            |_, batch| {
                first = Some(batch);
                Ok(())
            },
        )?;
        let mut first = first.ok_or_else(|| Error::Internal("no first chunk".into()))?;
        if self.before == 0 {
            self.problem.choose_units(&mut first)?;
        }
        let shape = self.shape(&first)?;
        Ok((Part::of(self.sampler, &shape, &first, 0), shape))
    }

    /// Adds chunks to a tree, in order.
    pub(crate) fn add(
        &self,
        context: &Context<'_>,
        shape: &Shape,
        chunks: Range<usize>,
        total: &mut Tree<Part>,
    ) -> Result<()> {
        self.problem.sweep(
            context,
            &self.sampler.proposal,
            &self.plan(chunks),
            |c, batch| {
                shape.layout.require(batch)?;
                Ok(Part::of(self.sampler, shape, batch, c))
            },
            |_, part| {
                total.push(part, Part::join);
                Ok(())
            },
        )
    }

    fn shape(&self, batch: &Batch) -> Result<Shape> {
        let layout = Layout::new(self.problem)?;
        let j = layout.len;
        let mut shape = Shape {
            layout,
            shift: vec![0.0; j],
            unit: vec![1.0; j],
            khat_chunks: khat_chunks(layout),
            full: self.full,
            keep_draws: self.keep_draws,
        };
        // With no shift and unit scale a part holds the plain values.
        let mut filled = Filled::default();
        let tiles = 0..n_tiles(batch.n);
        let mut part = Part::new(&shape, 0);
        let part = &mut part;
        dispatch(Fill {
            sampler: self.sampler,
            shape: &shape,
            batch,
            tiles,
            filled: &mut filled,
            part,
        });
        let y = filled.y;
        for k in 0..j {
            let mut sum = 0.0;
            let mut largest = 0.0_f64;
            for t in 0..n_tiles(batch.n) {
                for lane in 0..lanes(t, batch.n) {
                    sum += y[t * j + k].0[lane] / batch.n as f64;
                    largest = largest.max(y[t * j + k].0[lane].abs());
                }
            }
            shape.shift[k] = sum;
            // A power of two, so that scaling rounds nothing.
            if largest.is_normal() {
                shape.unit[k] = f64::from_bits(largest.to_bits() & 0x7ff0_0000_0000_0000);
            }
        }
        Ok(shape)
    }
}

/// The chunks whose values k-hat is computed from.
pub(crate) fn khat_chunks(layout: Layout) -> usize {
    (KHAT_TOTAL / layout.len).clamp(CHUNK, KHAT_POINTS) / CHUNK
}

/// The result of the sums over all chunks.
pub(crate) fn finish(total: Part, known: &Known) -> Result<Expectations> {
    let (shape, units) = (&known.shape, &known.units);
    let (layout, full) = (shape.layout, shape.full);
    let j = layout.len;
    let (mut mean, upper) = (total.moments.mean(), total.moments.covariance_of_mean());
    let of_output = |k: usize| units[layout.output(k)];
    let at = |k: usize| upper[if full { packed(j, k, k) } else { k }];
    let mut stderr: Vec<f64> =
        (0..j).map(|k| at(k).max(0.0).sqrt() * shape.unit[k] * of_output(k)).collect();
    for k in 0..j {
        mean[k] = (mean[k] * shape.unit[k] + shape.shift[k]) * of_output(k);
        if !(mean[k].is_finite() && stderr[k].is_finite() && at(k).is_finite()) {
            return Err(Error::Numerical(format!(
                "expectation {k} or its error overflows: values of the integrand times f / g \
                     are beyond 1e308; divide the integrand by a constant"
            )));
        }
    }
    let scale: Vec<f64> = (0..j).map(|k| shape.unit[k] * of_output(k)).collect();
    let mut covariance = if full {
        symmetric(j, |a, b| upper[packed(j, a, b)] * scale[a] * scale[b])
    } else {
        upper.iter().zip(&scale).map(|(c, u)| c * u * u).collect()
    };
    let all_zero: Vec<bool> = total.abs_sum.iter().map(|s| *s == 0.0).collect();
    for k in (0..j).filter(|k| all_zero[*k]) {
        // Nothing but zeros: exactly zero, not the rounding of a control.
        (mean[k], stderr[k]) = (0.0, 0.0);
        for l in 0..j {
            if full {
                covariance[k * j + l] = 0.0;
                covariance[l * j + k] = 0.0;
            } else {
                covariance[k] = 0.0;
            }
        }
    }
    let rows = total.tail.len() / j;
    let khat = (0..j)
        .map(|k| {
            let mut column: Vec<f64> = (0..rows).map(|i| total.tail[i * j + k]).collect();
            fermiac_target::diagnostics::khat(&mut column)
        })
        .collect();
    let safe = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let n = total.moments.n();
    let mut seen = known.seen.clone();
    seen.add(&total.seen);
    let weight_mean: Vec<f64> = total.weight_sum.iter().map(|s| s / n).collect();
    let draws = total.draws.unwrap_or_default();
    Ok(Expectations {
        unseen: (0..j).map(|k| seen.unseen(layout, k) * of_output(k)).collect(),
        sparse: (0..j).map(|k| seen.is_sparse(layout, k)).collect(),
        n_from_law: (0..j).map(|k| seen.drawn(layout, k)).collect(),
        n_final: n as usize,
        n_evals: known.before + n as usize,
        n_non_finite: known.n_bad,
        n_at_bound: known.n_at_bound,
        mean,
        stderr,
        covariance,
        ess: (0..j)
            .map(|k| safe(total.abs_sum[k] * total.abs_sum[k], total.square_sum[k]))
            .collect(),
        khat,
        max_variance_share: (0..j)
            .map(|k| safe(total.largest_square[k], total.moments.square(k)))
            .collect(),
        max_share: (0..j).map(|k| safe(total.largest[k], total.abs_sum[k])).collect(),
        no_weight: (0..j).map(|k| total.weight_sum[layout.law(k)] == 0.0).collect(),
        all_zero,
        weight_stderr: weight_mean
            .iter()
            .zip(&total.weight_square)
            .map(|(mean, square)| ((square / n - mean * mean).max(0.0) / n).sqrt())
            .collect(),
        weight_mean,
        draws: draws.x,
        log_weights: draws.log_weights,
        ..Expectations::default()
    })
}
