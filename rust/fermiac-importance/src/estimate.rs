//! The final phase: fresh points from a fixed sampler, of which only sums are kept.

use super::accumulate::{Fill, Filled, Part, Shape, Strata};
use super::fit::symmetric;
use super::integrate::{FAIL, FIRST_LOOK, JUMP, LOOKS, Points, student};
use super::layout::Layout;
use super::layout::{lanes, n_tiles};
use super::nets::{self, Nets};
use super::pooled::{Pooled, Stages};
use super::problem::{Batch, Plan, Problem};
use super::proposal::Sampler;
use super::seen::Seen;
use super::settings::Settings;
use super::{Expectations, Stopped};
use fermiac_base::alloc::check_room;
use fermiac_base::linalg::packed;
use fermiac_base::par::{CHUNK, Context, Tree};
use fermiac_base::simd::dispatch;
use fermiac_base::{Error, Result};
use std::ops::Range;

/// The block of the final phase's streams; adaptation stages use 0, 1, ….
const FINAL_BLOCK: u32 = 1 << 20;
/// The first replicate of the addresses of these nets; those of `integrate` are below.
const NETS: u64 = 1 << 41;
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
    /// The points of the adaptation, where they are to count as well.
    pub(crate) stages: Option<Stages>,
    pub(crate) settings: &'a Settings,
    /// Whether the outputs are the real and then the imaginary parts of complex ones.
    pub(crate) pairs: &'a dyn Fn() -> bool,
}

/// The sums of the final phase.
#[derive(Default)]
struct Sums {
    /// Of all points, where they come in replicates, or at the last look.
    total: Option<Part>,
    /// Of independent points, chunk by chunk.
    tree: Tree<Part>,
    shape: Option<Shape>,
    /// Replicates and the points of each that are complete; none where points are random.
    replicates: Option<usize>,
    /// Evaluations that were done.
    n: usize,
    /// The points of a replicate at the first look.
    n_first: usize,
    /// All points of all stages.
    pooled: Option<Part>,
    /// Looks that were allowed, and whether the tolerance was met.
    n_looks: usize,
    converged: bool,
}

/// What the result is made of, beside the sums.
pub(crate) struct Known {
    pub(crate) shape: Shape,
    /// The units of the outputs.
    pub(crate) units: Vec<f64>,
    pub(crate) dim: usize,
    pub(crate) before: usize,
    pub(crate) seen: Seen,
    pub(crate) n_bad: u64,
    pub(crate) n_at_bound: u64,
}

impl Estimation<'_> {
    /// Runs it. An error comes with the results of the chunks before it.
    pub(crate) fn run(&self, context: &Context<'_>) -> std::result::Result<Expectations, Stopped> {
        let mut sums = Sums::default();
        let outcome = match self.settings.points {
            Points::Random => self.draw(context, &mut sums),
            Points::Sobol => self.draw_nets(context, &mut sums),
        };
        match outcome {
            Ok(()) => match self.conclude(sums) {
                Ok(Some(done)) => Ok(done),
                Ok(None) => Err((Error::Internal("an empty final sample".into()), None)),
                Err(error) => Err((error, None)),
            },
            Err(error) => {
                (sums.converged, sums.pooled) = (false, None);
                Err((error, self.conclude(sums).ok().flatten().map(Box::new)))
            }
        }
    }

    fn conclude(&self, mut sums: Sums) -> Result<Option<Expectations>> {
        if let Some(total) = std::mem::take(&mut sums.tree).root(Part::join) {
            sums.total = Some(total);
        }
        match sums.shape.take() {
            Some(shape) => finish(sums, &self.known(shape)?),
            None => Ok(None),
        }
    }

    pub(crate) fn known(&self, shape: Shape) -> Result<Known> {
        Ok(Known {
            shape,
            units: self.problem.units()?,
            dim: self.problem.dim(),
            before: self.before,
            seen: self.seen.clone(),
            n_bad: self.problem.n_bad(),
            n_at_bound: self.problem.n_at_bound(),
        })
    }

    pub(crate) fn plan(&self) -> Plan<'_> {
        let densities = self.sampler.proposal.bank.len() > 0
            || self.sampler.proposal.given > 0.0
            || self.problem.laws.len() > 1
            || self.sampler.basis.is_some()
            || self.settings.keep_draws;
        let (block, n, before) = (FINAL_BLOCK, self.n, self.before);
        Plan { block, n, chunks: 0..1, densities, before, nets: None }
    }

    /// Independent points; with a tolerance, looks at numbers of chunks that double.
    fn draw(&self, context: &Context<'_>, sums: &mut Sums) -> Result<()> {
        let n_chunks = self.n.div_ceil(CHUNK);
        let mut plan = self.plan();
        let looks = match self.settings.tolerance {
            Some(_) => (n_chunks.ilog2() as usize + 1).min(LOOKS),
            None => 1,
        };
        sums.n_looks = if self.settings.tolerance.is_some() { looks } else { 0 };
        let pool = self
            .stages
            .as_ref()
            .map(|stages| (stages, Pooled::new(stages, &self.sampler.proposal, self.n)));
        let mut pooled = None;
        let (first, shape) = self.first(context, &plan, Strata::Components, |shape, batch| {
            if let Some((_, pool)) = &pool {
                let start = pool.starts[pool.starts.len() - 1];
                let by = Strata::Stages(pool, start);
                pooled = Some(Part::of(self.sampler, shape, batch, 0, by));
            }
        })?;
        sums.n += plan.points(0);
        sums.tree.push(first, Part::join);
        sums.shape = Some(shape);
        let mut done = 1;
        for look in (0..looks).rev() {
            plan.chunks = done..(n_chunks >> look).max(done);
            if look == 0 {
                plan.chunks.end = n_chunks;
            }
            let Sums { tree, shape: Some(shape), n, .. } = &mut *sums else {
                return Err(Error::Internal("no first chunk".into()));
            };
            self.problem.sweep(
                context,
                &self.sampler.proposal,
                &plan,
                |c, batch| {
                    let of = |by| Part::of(self.sampler, shape, batch, c, by);
                    let joined = pool.as_ref().map(|(_, pool)| {
                        of(Strata::Stages(pool, pool.starts[pool.starts.len() - 1]))
                    });
                    Ok((of(Strata::Components), joined))
                },
                |c, (part, joined)| {
                    tree.push(part, Part::join);
                    if let (Some(pooled), Some(joined)) = (&mut pooled, joined) {
                        pooled.add(joined);
                    }
                    *n += plan.points(c);
                    Ok(())
                },
            )?;
            done = plan.chunks.end;
            if self.settings.tolerance.is_some() {
                sums.total = sums.tree.clone().root(Part::join);
            }
            sums.converged = self.is_met(sums, looks, look == 0)?;
            if look > 0 && sums.converged {
                return Ok(());
            }
        }
        if let (Some((stages, pool)), Some(mut all), Some(shape)) = (pool, pooled, &sums.shape) {
            for (batches, start) in stages.batches.iter().zip(&pool.starts) {
                context.ordered(
                    batches.len(),
                    |i| {
                        let by = Strata::Stages(&pool, *start);
                        Ok(Part::of(self.sampler, shape, &batches[i], i, by))
                    },
                    |_, part| {
                        all.add(part);
                        Ok(())
                    },
                )?;
            }
            sums.pooled = Some(all);
        }
        Ok(())
    }

    /// Replicates of scrambled nets; with a tolerance, looks at sizes that double.
    fn draw_nets(&self, context: &Context<'_>, sums: &mut Sums) -> Result<()> {
        let (count, size) = nets::sizes(self.n, self.settings.n_replicates);
        let numbers = if self.settings.keep_draws { self.problem.dim() + 1 } else { 0 };
        check_room::<f64>("n", &[count, size, numbers])?;
        let source = &self.sampler.proposal;
        let mut nets = Nets::new(context, source, self.problem.key, NETS, count)?;
        let looks = match self.settings.tolerance {
            Some(_) => (size.ilog2() - FIRST_LOOK.min(size.ilog2()) + 1).min(LOOKS as u32) as usize,
            None => 1,
        };
        sums.n_looks = if self.settings.tolerance.is_some() { looks } else { 0 };
        sums.n_first = size >> (looks - 1);
        let (mut done, mut chunks_before) = (0, 0);
        for look in (0..looks).rev() {
            let next = size >> look;
            nets.go_on(done..next);
            let by = |c: usize| Strata::Replicate {
                of: nets.replicate(c),
                count,
                is_first: nets.rows(c).start == 0,
            };
            let mut plan = Plan { nets: Some(&nets), ..self.plan() };
            let mark = (done > 0).then(|| sums.total.as_ref().map(Part::sums)).flatten();
            // Until the whole look is done, its complete replicates count in the first look only.
            sums.replicates = Some(if done > 0 { done } else { next });
            let mut swept = Ok(());
            if done == 0 {
                swept = self.first(context, &plan, by(0), |_, _| ()).map(|(first, shape)| {
                    sums.n += plan.points(0);
                    (sums.total, sums.shape) = (Some(first), Some(shape));
                });
                plan.chunks = 1..nets.n_chunks();
            } else {
                plan.chunks = 0..nets.n_chunks();
            }
            if swept.is_ok() {
                let Sums { total: Some(total), shape: Some(shape), n, .. } = &mut *sums else {
                    return Err(Error::Internal("no first chunk".into()));
                };
                plan.before += *n - if done == 0 { plan.points(0) } else { 0 };
                swept = self.problem.sweep(
                    context,
                    source,
                    &plan,
                    |c, batch| Ok(Part::of(self.sampler, shape, batch, chunks_before + c, by(c))),
                    |c, part| {
                        total.add(part);
                        *n += plan.points(c);
                        Ok(())
                    },
                );
            }
            if let Err(error) = swept {
                if let Some(mark) = mark {
                    sums.total = Some(mark);
                }
                return Err(error);
            }
            (done, chunks_before) = (next, chunks_before + nets.n_chunks());
            sums.replicates = Some(done);
            if self.is_met(sums, looks, look == 0)? {
                sums.converged = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first chunk gives shifts and scales: with them the sums of squares lose nothing by
    /// cancellation and cannot overflow, whatever the magnitude of an expectation.
    pub(crate) fn first(
        &self,
        context: &Context<'_>,
        plan: &Plan<'_>,
        by: Strata<'_>,
        also: impl FnOnce(&Shape, &Batch),
    ) -> Result<(Part, Shape)> {
        let mut first = None;
        self.problem.sweep(
            context,
            &self.sampler.proposal,
            plan,
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
        also(&shape, &first);
        Ok((Part::of(self.sampler, &shape, &first, 0, by), shape))
    }

    /// Adds chunks of independent points to a tree, in order.
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
            &Plan { chunks, ..self.plan() },
            |c, batch| {
                shape.layout.require(batch)?;
                Ok(Part::of(self.sampler, shape, batch, c, Strata::Components))
            },
            |_, part| {
                total.push(part, Part::join);
                Ok(())
            },
        )
    }

    /// Whether the half-widths of all estimates are within the tolerance, at the level of one look.
    /// Those that are 0 at every point are exempt, but a run that has met nothing else goes on to the
    /// last look.
    fn is_met(&self, sums: &Sums, looks: usize, is_last: bool) -> Result<bool> {
        let (Some((relative, absolute)), Some(total), Some(shape)) =
            (self.settings.tolerance, &sums.total, &sums.shape)
        else {
            return Ok(self.settings.tolerance.is_none());
        };
        if !is_last && total.abs_sum.iter().all(|sum| *sum == 0.0) {
            return Ok(false);
        }
        let units = self.problem.units()?;
        let Estimates { mean, stderr, .. } = estimates(total, shape, &units, sums.replicates)?;
        let df = match sums.replicates {
            Some(_) => total.moments.counts.len() as f64 - 1.0,
            None => total.moments.n() - 1.0,
        };
        let factor = student(df, FAIL / looks as f64);
        let zero = |j: usize| total.abs_sum[j] == 0.0;
        let met = |mean: f64, error: f64, zero: bool| {
            zero || factor * error <= absolute.max(relative * mean.abs())
        };
        let j = shape.layout.len;
        Ok(if (self.pairs)() {
            (0..j / 2).all(|a| {
                let b = a + j / 2;
                met(mean[a].hypot(mean[b]), stderr[a].hypot(stderr[b]), zero(a) && zero(b))
            })
        } else {
            (0..j).all(|a| met(mean[a], stderr[a], zero(a)))
        })
    }

    fn shape(&self, batch: &Batch) -> Result<Shape> {
        let layout = Layout::new(self.problem)?;
        let j = layout.len;
        let mut shape = Shape {
            layout,
            shift: vec![0.0; j],
            unit: vec![1.0; j],
            khat_chunks: khat_chunks(layout),
            full: self.settings.full_covariance,
            keep_draws: self.settings.keep_draws,
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
            pooled: None,
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

/// The result of the sums over all chunks of independent points.
pub(crate) fn of_total(total: Part, known: &Known) -> Result<Expectations> {
    let n = total.moments.n() as usize;
    let sums = Sums { total: Some(total), n, converged: true, ..Sums::default() };
    finish(sums, known)?.ok_or_else(|| Error::Internal("no complete block".into()))
}

/// The estimates of a part, with their errors and covariance, as the user's numbers.
fn estimates(
    total: &Part,
    shape: &Shape,
    units: &[f64],
    replicates: Option<usize>,
) -> Result<Estimates> {
    let layout = shape.layout;
    let (j, full) = (layout.len, shape.full);
    let mut mean = total.moments.mean();
    let upper = match replicates {
        Some(_) => total.moments.covariance_of_replicates(),
        None => total.moments.covariance_of_mean(),
    };
    let scale: Vec<f64> = (0..j).map(|k| shape.unit[k] * units[layout.output(k)]).collect();
    let at = |k: usize| upper[if full { packed(j, k, k) } else { k }];
    let mut stderr: Vec<f64> = (0..j).map(|k| at(k).max(0.0).sqrt() * scale[k]).collect();
    for k in 0..j {
        mean[k] = (mean[k] * shape.unit[k] + shape.shift[k]) * units[layout.output(k)];
        if !(mean[k].is_finite() && stderr[k].is_finite() && at(k).is_finite()) {
            return Err(Error::Numerical(format!(
                "expectation {k} or its error overflows: values of the integrand times f / g \
                 are beyond 1e308; divide the integrand by a constant"
            )));
        }
    }
    let mut covariance = if full {
        symmetric(j, |a, b| upper[packed(j, a, b)] * scale[a] * scale[b])
    } else {
        upper.iter().zip(&scale).map(|(c, u)| c * u * u).collect()
    };
    let diagonal = |k: usize| if full { k * j + k } else { k };
    if let Some(size) = replicates {
        // Replicates may be equal by chance: an error is at least what one point makes of it, where
        // the values differ by more than rounding, and what a jump makes of it on one axis.
        let points = size as f64 * (total.moments.counts.len() as f64).sqrt();
        for k in 0..j {
            let step = total.largest_square[k].sqrt() * scale[k];
            let differ = step > 1e-12 * mean[k].abs();
            let alike = if stderr[k] == 0.0 && differ { step / points } else { 0.0 };
            let least = alike.max(JUMP * total.jump[k] * scale[k] / points);
            if stderr[k] < least {
                stderr[k] = least;
                covariance[diagonal(k)] = least * least;
            }
        }
    }
    for k in (0..j).filter(|k| total.abs_sum[*k] == 0.0) {
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
    Ok(Estimates { mean, stderr, covariance })
}

/// The result of sums, None where there is not one complete replicate.
fn finish(sums: Sums, known: &Known) -> Result<Option<Expectations>> {
    let Some(mut total) = sums.total else {
        return Ok(None);
    };
    let (shape, units) = (&known.shape, &known.units);
    let layout = shape.layout;
    let j = layout.len;
    let of_output = |k: usize| units[layout.output(k)];
    let mut draws = total.draws.take().unwrap_or_default();
    let mut replicates = Vec::new();
    // Replicates that are not complete still count for the mean of the weights.
    let mut n_weights = total.moments.n();
    if let Some(size) = sums.replicates {
        total.moments.keep_complete(size);
        let count = total.moments.counts.len();
        if count == 0 {
            return Ok(None);
        }
        let means = total.moments.replicates();
        replicates.extend(means.chunks_exact(j).flat_map(|row| {
            let of = |(k, y): (usize, &f64)| (y * shape.unit[k] + shape.shift[k]) * of_output(k);
            row.iter().enumerate().map(of).collect::<Vec<_>>()
        }));
        if draws.x.len() > count * size * known.dim {
            draws.x.truncate(count * size * known.dim);
            draws.log_weights.truncate(count * size * layout.n_laws);
        }
    }
    let mut seen = known.seen.clone();
    seen.add(&total.seen);
    let mut apart = None;
    if let Some(all) = sums.pooled {
        n_weights = all.moments.n();
        apart = Some(estimates(&total, shape, units, None)?);
        total = all;
    }
    let Estimates { mean, stderr, covariance } = estimates(&total, shape, units, sums.replicates)?;
    let rows = total.tail.len() / j;
    let khat = (0..j)
        .map(|k| {
            let mut column: Vec<f64> = (0..rows).map(|i| total.tail[i * j + k]).collect();
            fermiac_target::diagnostics::khat(&mut column)
        })
        .collect();
    let safe = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let n = n_weights;
    let weight_mean: Vec<f64> = total.weight_sum.iter().map(|s| s / n).collect();
    Ok(Some(Expectations {
        unseen: (0..j).map(|k| seen.unseen(layout, k) * of_output(k)).collect(),
        sparse: (0..j).map(|k| seen.is_sparse(layout, k)).collect(),
        always: (0..j)
            .map(|k| seen.are_events() && seen.is_everywhere(k) && !seen.is_nothing(k))
            .collect(),
        equal: (0..j).map(|k| seen.is_equal(k)).collect(),
        n_from_law: (0..j).map(|k| seen.drawn(layout, k)).collect(),
        n_final: total.moments.n() as usize,
        n_evals: known.before + sums.n,
        n_non_finite: known.n_bad,
        n_at_bound: known.n_at_bound,
        ess: (0..j)
            .map(|k| safe(total.abs_sum[k] * total.abs_sum[k], total.square_sum[k]))
            .collect(),
        khat,
        max_variance_share: (0..j)
            .map(|k| safe(total.largest_square[k], total.moments.square(k)))
            .collect(),
        max_share: (0..j).map(|k| safe(total.largest[k], total.abs_sum[k])).collect(),
        no_weight: (0..j).map(|k| total.weight_sum[layout.law(k)] == 0.0).collect(),
        all_zero: total.abs_sum.iter().map(|s| *s == 0.0).collect(),
        weight_stderr: weight_mean
            .iter()
            .zip(&total.weight_square)
            .map(|(mean, square)| ((square / n - mean * mean).max(0.0) / n).sqrt())
            .collect(),
        weight_mean,
        draws: draws.x,
        log_weights: draws.log_weights,
        n_per_replicate: sums.replicates.unwrap_or(0),
        n_first: sums.n_first,
        replicates,
        n_looks: sums.n_looks,
        converged: sums.converged,
        final_mean: apart.as_ref().map_or_else(Vec::new, |e| e.mean.clone()),
        final_stderr: apart.map_or_else(Vec::new, |e| e.stderr),
        mean,
        stderr,
        covariance,
        ..Expectations::default()
    }))
}

/// Estimates as the user's numbers.
struct Estimates {
    mean: Vec<f64>,
    stderr: Vec<f64>,
    covariance: Vec<f64>,
}
