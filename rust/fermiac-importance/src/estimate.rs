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
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::simd::dispatch;
use fermiac_base::{Error, Result};

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
    /// The values observed in the adaptation.
    pub(crate) seen: Seen,
    pub(crate) full: bool,
    pub(crate) keep_draws: bool,
}

impl Estimation<'_> {
    /// Runs it. An error comes with the results of the chunks before it.
    pub(crate) fn run(&self, context: &Context<'_>) -> std::result::Result<Expectations, Stopped> {
        let mut total: Option<Part> = None;
        let mut shape = None;
        let outcome = self.accumulate(context, &mut total, &mut shape);
        let finish = |total: Option<Part>, shape: Option<Shape>| match (total, shape) {
            (Some(total), Some(shape)) => self.finish(total, &shape).map(Some),
            (None, _) | (_, None) => Ok(None),
        };
        match outcome {
            Ok(()) => match finish(total, shape) {
                Ok(Some(done)) => Ok(done),
                Ok(None) => Err((Error::Internal("an empty final sample".into()), None)),
                Err(error) => Err((error, None)),
            },
            Err(error) => Err((error, finish(total, shape).ok().flatten().map(Box::new))),
        }
    }

    fn accumulate(
        &self,
        context: &Context<'_>,
        total: &mut Option<Part>,
        shape: &mut Option<Shape>,
    ) -> Result<()> {
        let n_chunks = self.n.div_ceil(CHUNK);
        let densities = !self.sampler.proposal.alpha.is_empty()
            || self.problem.laws.len() > 1
            || self.sampler.basis.is_some()
            || self.keep_draws;
        let mut plan =
            Plan { block: FINAL_BLOCK, n: self.n, chunks: 0..1, densities, before: self.before };
        // The first chunk gives shifts and scales: with them the sums of squares lose nothing by
        // cancellation and cannot overflow, whatever the magnitude of an expectation.
        let source = &self.sampler.proposal;
        let mut first = None;
        self.problem.sweep(
            context,
            source,
            &plan,
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
        let fixed = self.shape(&first)?;
        *total = Some(Part::of(self.sampler, &fixed, &first, 0));
        *shape = Some(fixed);
        let (Some(shape), Some(total)) = (shape.as_ref(), total.as_mut()) else {
            return Err(Error::Internal("no first chunk".into()));
        };
        plan.chunks = 1..n_chunks;
        self.problem.sweep(
            context,
            source,
            &plan,
            |c, batch| Ok(Part::of(self.sampler, shape, batch, c)),
            |_, part| {
                total.add(part);
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
            khat_chunks: (KHAT_TOTAL / layout.len).clamp(CHUNK, KHAT_POINTS) / CHUNK,
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

    fn finish(&self, total: Part, shape: &Shape) -> Result<Expectations> {
        let layout = shape.layout;
        let j = layout.len;
        let (mut mean, upper) = (total.moments.mean(), total.moments.covariance_of_mean());
        let units = self.problem.units()?;
        let of_output = |k: usize| units[layout.output(k)];
        let at = |k: usize| upper[if self.full { packed(j, k, k) } else { k }];
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
        let mut covariance = if self.full {
            symmetric(j, |a, b| upper[packed(j, a, b)] * scale[a] * scale[b])
        } else {
            upper.iter().zip(&scale).map(|(c, u)| c * u * u).collect()
        };
        let all_zero: Vec<bool> = total.abs_sum.iter().map(|s| *s == 0.0).collect();
        for k in (0..j).filter(|k| all_zero[*k]) {
            // Nothing but zeros: exactly zero, not the rounding of a control.
            (mean[k], stderr[k]) = (0.0, 0.0);
            for l in 0..j {
                if self.full {
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
        let mut seen = self.seen.clone();
        seen.add(&total.seen);
        let weight_mean: Vec<f64> = total.weight_sum.iter().map(|s| s / n).collect();
        let draws = total.draws.unwrap_or_default();
        Ok(Expectations {
            unseen: (0..j).map(|k| seen.unseen(layout, k) * of_output(k)).collect(),
            sparse: (0..j).map(|k| seen.is_sparse(layout, k)).collect(),
            n_from_law: (0..j).map(|k| seen.drawn(layout, k)).collect(),
            n_final: n as usize,
            n_evals: self.before + n as usize,
            n_non_finite: self.problem.n_bad(),
            n_at_bound: self.problem.n_at_bound(),
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
}
