//! Evaluation of eight rows at a time and of components block by block, by a running log-sum-exp.

use super::shape::{Shape, View};
use super::tile::{Lane, WIDE, any, load, store, total, update};
use crate::model::level;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch, expv, lnv};
use std::marker::PhantomData;

/// Weights whose logarithm is below this, relative to the largest so far, count as 0: 10⁶ of them
/// would not change a sum.
const CUT: f64 = -60.0;
/// The most numbers of eight rows that a block of components keeps.
const BLOCK_SPACE: usize = 2048;
/// The most components of a block.
const BLOCK: usize = 256;

/// A quantity of a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// The posterior means.
    Denoised,
    /// The scores.
    Scores,
    /// The log-densities only.
    LogDensities,
    /// The posterior means and, as values, the traces of their derivatives.
    Traces,
    /// The logarithms of weight times density of all components, and as values the log-densities.
    Terms,
}

/// The evaluation of a quantity of rows.
pub(super) struct Query<'a> {
    pub(super) quantity: Quantity,
    pub(super) y: Rows<'a>,
    pub(super) sigma: &'a [f64],
    /// (rows × dim), (rows × components) or empty.
    pub(super) out: &'a mut [f64],
    /// One per row, or empty.
    pub(super) values: &'a mut [f64],
    /// The level of lanes without a row or without noise.
    pub(super) idle: f64,
}

impl Query<'_> {
    /// Evaluates the components of a shape.
    pub(super) fn run<S: Shape>(self, shape: &S) {
        if self.sigma.len() == 1 {
            dispatch(Evaluate { shape, query: self, lane: PhantomData::<f64> });
        } else {
            dispatch(Evaluate { shape, query: self, lane: PhantomData::<V> });
        }
    }
}

/// A query of a shape; if `L` is a number, the rows have one level.
struct Evaluate<'a, S, L> {
    shape: &'a S,
    query: Query<'a>,
    lane: PhantomData<L>,
}

/// A running log-sum-exp of eight rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    max: V,
    sum: V,
}

impl Sum {
    pub(super) const EMPTY: Self = Self { max: V::splat(f64::NEG_INFINITY), sum: V::ZERO };

    /// Adds terms by their logarithms, which become weights relative to the largest so far. Returns
    /// the factor of earlier sums, and the sum of the weights; None if no term counts in any row.
    #[inline(always)]
    pub(super) fn add<const FMA: bool>(&mut self, logs: &mut [V]) -> Option<(V, V)> {
        let n = logs.len();
        let mut largest = [V::splat(f64::NEG_INFINITY); 2];
        for at in 0..n / 2 {
            largest[0] = largest[0].max(logs[2 * at]);
            largest[1] = largest[1].max(logs[2 * at + 1]);
        }
        let max = largest[0].max(largest[1]).max(logs[n - 1]);
        if !any(max.zip(self.max, |new, old| new - old), |ahead| ahead > CUT || ahead.is_nan()) {
            return None;
        }
        let max = max.max(self.max);
        let keep = expv::<FMA>(self.max - max);
        let mut sum = V::ZERO;
        for log in logs {
            let below = *log - max;
            *log = below.below(V::splat(CUT), V::ZERO, expv::<FMA>(below));
            sum = sum + *log;
        }
        self.max = max;
        self.sum = self.sum.mul_add::<FMA>(keep, sum);
        Some((keep, sum))
    }

    /// The logarithm of the sum.
    #[inline(always)]
    pub(super) fn log<const FMA: bool>(&self) -> V {
        self.max + lnv::<FMA>(self.sum)
    }
}

/// The number of components of a block.
pub(super) fn block_of<S: Shape>(shape: &S) -> usize {
    (BLOCK_SPACE / shape.space_len()).clamp(1, BLOCK).min(shape.len())
}

/// Memory for one tile and one block.
struct Space {
    y: Vec<V>,
    sums: Vec<V>,
    scratch: Vec<V>,
    kept: Vec<V>,
    logs: Vec<V>,
    active: Vec<usize>,
    /// Posterior means of a block and their average, if traces are requested.
    means: Vec<V>,
    average: Vec<V>,
}

impl<S: Shape, L: Lane> Kernel for Evaluate<'_, S, L> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let (shape, dim) = (self.shape, self.shape.dim());
        let traces = self.query.quantity == Quantity::Traces;
        let block =
            block_of(shape).min(if traces { (BLOCK_SPACE / dim).max(LANES) } else { BLOCK });
        let wide = |n: usize| vec![V::ZERO; n];
        let mut space = Space {
            y: wide(dim),
            sums: wide(dim),
            scratch: wide(dim),
            kept: wide(block * shape.space_len()),
            logs: wide(block),
            active: Vec::with_capacity(block),
            means: wide(if traces { block * dim } else { 0 }),
            average: wide(if traces { dim } else { 0 }),
        };
        let mut table = vec![L::of(0.0); shape.table_len()];
        let mut square = V::splat(self.query.sigma.first().map_or(0.0, |s| s * s));
        if L::SHARED {
            shape.table::<L, FMA>(L::gather(square), &mut table);
        }
        for first in (0..self.query.y.len()).step_by(LANES) {
            let rows = LANES.min(self.query.y.len() - first);
            if !L::SHARED {
                for l in 0..LANES {
                    let s =
                        if l < rows { level(self.query.sigma, first + l) } else { self.query.idle };
                    let s = if s < super::NO_NOISE { self.query.idle } else { s };
                    square.0[l] = s * s;
                }
                shape.table::<L, FMA>(L::gather(square), &mut table);
            }
            load(&self.query.y.data()[first * dim..(first + rows) * dim], dim, &mut space.y);
            self.tile::<FMA>(first, rows, block, square, &table, &mut space);
        }
    }
}

impl<S: Shape, L: Lane> Evaluate<'_, S, L> {
    #[inline(always)]
    fn tile<const FMA: bool>(
        &mut self,
        first: usize,
        rows: usize,
        block: usize,
        square: V,
        table: &[L],
        space: &mut Space,
    ) {
        let (shape, dim) = (self.shape, self.shape.dim());
        let Space { y, sums, scratch, kept, logs, active, means, average } = space;
        let (mut sum, mut traces) = (Sum::EMPTY, Traces::NONE);
        sums.fill(V::ZERO);
        for start in (0..shape.len()).step_by(block) {
            let block = start..shape.len().min(start + block);
            let logs = &mut logs[..block.len()];
            shape.squares::<FMA>(block.clone(), y, kept, scratch);
            let view = View { block, y, space: kept, table };
            shape.logs::<L, FMA>(&view, logs);
            if self.query.quantity == Quantity::Terms {
                let width = shape.len();
                let all = self.query.out[first * width..].chunks_exact_mut(width).take(rows);
                for (l, row) in all.enumerate() {
                    row[view.block.clone()].iter_mut().zip(&*logs).for_each(|(t, v)| *t = v.0[l]);
                }
            }
            let before = sum.sum;
            let Some((keep, added)) = sum.add::<FMA>(logs) else { continue };
            if matches!(self.query.quantity, Quantity::LogDensities | Quantity::Terms) {
                continue;
            }
            active.clear();
            for at in 0..logs.len() {
                if any(logs[at], |weight| weight != 0.0) {
                    logs[active.len()] = logs[at];
                    active.push(at);
                }
            }
            let logs = &mut logs[..active.len()];
            if start > 0 {
                update!(sums, |_j, sum| sum * keep);
            }
            match self.query.quantity {
                Quantity::Denoised => {
                    shape.add::<L, false, FMA>(&view, active, logs, sums, scratch);
                }
                Quantity::Scores => {
                    shape.add::<L, true, FMA>(&view, active, logs, sums, scratch);
                }
                _ => {
                    let room = (&mut sums[..], &mut means[..], &mut average[..], &mut scratch[..]);
                    let weights = (before * keep, keep, added);
                    traces.add::<S, L, FMA>(shape, &view, active, logs, weights, room);
                }
            }
        }
        if matches!(self.query.quantity, Quantity::Denoised | Quantity::Scores | Quantity::Traces) {
            let inverse = V::splat(1.0) / sum.sum;
            update!(sums, |_j, sum| sum * inverse);
            store(sums, dim, &mut self.query.out[first * dim..(first + rows) * dim]);
        }
        let values = match self.query.quantity {
            Quantity::Denoised | Quantity::Scores => return,
            Quantity::Traces => (traces.own + traces.between / square) / sum.sum,
            _ => sum.log::<FMA>(),
        };
        self.query.values[first..first + rows].copy_from_slice(&values.0[..rows]);
    }
}

/// Running sums of the trace of the derivative of the posterior mean: the average trace of the
/// components, and the scatter of their posterior means over s².
struct Traces {
    own: V,
    between: V,
}

impl Traces {
    const NONE: Self = Self { own: V::ZERO, between: V::ZERO };

    /// Adds the active components of a block, and their posterior means to `sums`. `totals` are
    /// the weight before (rescaled), the factor of the rescaling and the weight of the block.
    ///
    /// Scatters about the averages of blocks are merged pairwise, without cancellation.
    #[inline(always)]
    fn add<S: Shape, L: Lane, const FMA: bool>(
        &mut self,
        shape: &S,
        view: &View<'_, L>,
        active: &[usize],
        weights: &[V],
        (before, keep, added): (V, V, V),
        (sums, means, average, scratch): (&mut [V], &mut [V], &mut [V], &mut [V]),
    ) {
        let dim = shape.dim();
        let (mut own, mut within) = (V::ZERO, V::ZERO);
        average.fill(V::ZERO);
        let each = means.chunks_exact_mut(dim).zip(active).zip(weights);
        for ((mean, &at), weight) in each {
            let trace = shape.mean::<L, FMA>(view, at, mean, scratch);
            own = weight.mul_add::<FMA>(trace, own);
            update!(average, |j, average| weight.mul_add::<FMA>(mean[j], average));
        }
        let inverse = |weight: V| weight.map(|w| if w > 0.0 { 1.0 / w } else { 0.0 });
        let (of_added, of_before) = (inverse(added), inverse(before));
        let apart = total!(dim, |j, apart| {
            let off = average[j] * of_added - sums[j] * of_before;
            off.mul_add::<FMA>(off, apart)
        });
        update!(sums, |j, sum| sum + average[j]);
        update!(average, |_j, average| average * of_added);
        for (mean, weight) in means.chunks_exact(dim).zip(weights) {
            let square = total!(dim, |j, square| {
                let off = mean[j] - average[j];
                off.mul_add::<FMA>(off, square)
            });
            within = weight.mul_add::<FMA>(square, within);
        }
        let share = before * added * inverse(before + added);
        self.own = self.own.mul_add::<FMA>(keep, own);
        self.between = self.between.mul_add::<FMA>(keep, within);
        self.between = share.mul_add::<FMA>(apart, self.between);
    }
}

/// The most numbers of the tables of a stretch of levels: they stay in the second-level cache.
const TABLES: usize = 1 << 16;

/// The log-densities of every row at every level (rows × levels). Terms that depend only on the
/// rows are computed once for all levels.
pub(super) fn log_densities<S: Shape>(shape: &S, y: Rows<'_>, levels: &[f64], out: &mut [f64]) {
    dispatch(AtLevels { shape, y, levels, out });
}

struct AtLevels<'a, S> {
    shape: &'a S,
    y: Rows<'a>,
    levels: &'a [f64],
    out: &'a mut [f64],
}

impl<S: Shape> Kernel for AtLevels<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (shape, dim, n_levels) = (self.shape, self.shape.dim(), self.levels.len());
        let (block, width) = (block_of(shape), shape.table_len());
        let stretch = (TABLES / width).clamp(1, n_levels.max(1));
        let mut tables = vec![0.0; stretch * width];
        let mut sums = vec![Sum::EMPTY; stretch];
        let mut y = vec![V::ZERO; dim];
        let mut scratch = vec![V::ZERO; dim];
        let mut kept = vec![V::ZERO; block * shape.space_len()];
        let mut logs = vec![V::ZERO; block];
        for (s, levels) in self.levels.chunks(stretch).enumerate() {
            for (table, level) in tables.chunks_exact_mut(width).zip(levels) {
                shape.table::<f64, FMA>(level * level, table);
            }
            for first in (0..self.y.len()).step_by(LANES) {
                let rows = LANES.min(self.y.len() - first);
                load(&self.y.data()[first * dim..(first + rows) * dim], dim, &mut y);
                sums.fill(Sum::EMPTY);
                for start in (0..shape.len()).step_by(block) {
                    let block = start..shape.len().min(start + block);
                    let logs = &mut logs[..block.len()];
                    shape.squares::<FMA>(block.clone(), &y, &mut kept, &mut scratch);
                    let tables = tables.chunks_exact(width).take(levels.len());
                    for (table, sum) in tables.zip(&mut sums) {
                        let view = View { block: block.clone(), y: &y, space: &kept, table };
                        shape.logs::<f64, FMA>(&view, logs);
                        sum.add::<FMA>(logs);
                    }
                }
                for (k, sum) in sums[..levels.len()].iter().enumerate() {
                    let values = sum.log::<FMA>();
                    for l in 0..rows {
                        self.out[(first + l) * n_levels + s * stretch + k] = values.0[l];
                    }
                }
            }
        }
    }
}
