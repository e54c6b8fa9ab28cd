//! Components with one variance for all directions, which depend on a distance only.

use super::shape::{Shape, View, add_products};
use super::tile::{Lane, WIDE, total, update};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Real, V};
use fermiac_base::special::LN_SQRT_2PI;
use std::ops::Range;

/// Numbers of a variance in the table: ½ / v, the constant of the log-density, λ / v, s² / v and
/// 1 / v, where v = λ + s².
const ENTRIES: usize = 5;
const HALF_PRECISION: usize = 0;
const CONSTANT: usize = 1;
const GAIN: usize = 2;
const LOSS: usize = 3;
const PRECISION: usize = 4;

/// Components that share the load of a row.
const TOGETHER: usize = 4;

/// Isotropic components.
#[derive(Debug, Clone)]
pub(super) struct Isotropic {
    dim: usize,
    means: Vec<f64>,
    pub(super) log_weights: Vec<f64>,
    /// The different variances, ascending.
    variances: Vec<f64>,
    /// The variances of the components, as numbers times [`ENTRIES`].
    which: Vec<usize>,
}

impl Isotropic {
    /// Components with these means and variances.
    pub(super) fn new(means: Rows<'_>, log_weights: Vec<f64>, each: &[f64]) -> Self {
        let mut variances = each.to_vec();
        variances.sort_unstable_by(f64::total_cmp);
        variances.dedup();
        let place = |v: &f64| ENTRIES * variances.partition_point(|other| other < v);
        let which = each.iter().map(place).collect();
        Self { dim: means.dim(), means: means.data().to_vec(), log_weights, variances, which }
    }

    /// The mean of a component.
    pub(super) fn mean_of(&self, k: usize) -> &[f64] {
        &self.means[k * self.dim..(k + 1) * self.dim]
    }

    /// The variance of a component.
    pub(super) fn variance(&self, k: usize) -> f64 {
        self.variances[self.which[k] / ENTRIES]
    }

    /// An entry of the table for component `at` of a block.
    #[inline(always)]
    fn entry<L: Lane>(&self, view: &View<'_, L>, at: usize, entry: usize) -> V {
        view.table[self.which[view.block.start + at] + entry].spread()
    }
}

impl Shape for Isotropic {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.which.len()
    }

    fn table_len(&self) -> usize {
        ENTRIES * self.variances.len()
    }

    fn space_len(&self) -> usize {
        1
    }

    #[inline(always)]
    fn table<R: Real, const FMA: bool>(&self, square: R, table: &mut [R]) {
        let dim = self.dim as f64;
        for (entries, variance) in table.chunks_exact_mut(ENTRIES).zip(&self.variances) {
            let noisy = R::of(*variance) + square;
            let precision = R::of(1.0) / noisy;
            entries[HALF_PRECISION] = R::of(0.5) * precision;
            entries[CONSTANT] =
                R::of(-0.5 * dim) * noisy.ln_fma::<FMA>() - R::of(dim * LN_SQRT_2PI);
            entries[GAIN] = R::of(*variance) * precision;
            entries[LOSS] = square * precision;
            entries[PRECISION] = precision;
        }
    }

    #[inline(always)]
    fn squares<const FMA: bool>(
        &self,
        block: Range<usize>,
        y: &[V],
        space: &mut [V],
        _scratch: &mut [V],
    ) {
        let dim = self.dim;
        let means = &self.means[block.start * dim..block.end * dim];
        let (fours, rest) = space[..block.len()].as_chunks_mut::<TOGETHER>();
        for (means, to) in means.chunks_exact(TOGETHER * dim).zip(fours.iter_mut()) {
            let (m0, more) = means.split_at(dim);
            let (m1, more) = more.split_at(dim);
            let (m2, m3) = more.split_at(dim);
            let mut sums = [V::ZERO; TOGETHER];
            for ((((y, m0), m1), m2), m3) in y.iter().zip(m0).zip(m1).zip(m2).zip(m3) {
                for (sum, m) in sums.iter_mut().zip([m0, m1, m2, m3]) {
                    let off = *y - V::splat(*m);
                    *sum = off.mul_add::<FMA>(off, *sum);
                }
            }
            *to = sums;
        }
        let means = &means[TOGETHER * dim * fours.len()..];
        for (mean, to) in means.chunks_exact(dim).zip(rest) {
            *to = total!(dim, |j, sum| {
                let off = y[j] - V::splat(mean[j]);
                off.mul_add::<FMA>(off, sum)
            });
        }
    }

    #[inline(always)]
    fn logs<L: Lane, const FMA: bool>(&self, view: &View<'_, L>, logs: &mut [V]) {
        let (block, space, table) = (view.block.clone(), view.space, view.table);
        let (which, weights) = (&self.which[block.clone()], &self.log_weights[block]);
        update!(logs, |at, _old| {
            let constant = table[which[at] + CONSTANT].spread() + V::splat(weights[at]);
            let minus = V::ZERO - table[which[at] + HALF_PRECISION].spread();
            minus.mul_add::<FMA>(space[at], constant)
        });
    }

    #[inline(always)]
    fn add<L: Lane, const SCORES: bool, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        active: &[usize],
        weights: &mut [V],
        sums: &mut [V],
        _scratch: &mut [V],
    ) {
        let places = active.iter().map(|at| (view.block.start + at) * self.dim);
        if SCORES {
            for (at, weight) in active.iter().zip(&mut *weights) {
                *weight = *weight * self.entry(view, *at, PRECISION);
            }
            add_products::<FMA>(&places, weights, &self.means, |j| view.y[j], sums);
            return;
        }
        // A posterior mean is (s² μ + λ y) / v; the parts of y are added up first.
        let mut of_y = V::ZERO;
        for (at, weight) in active.iter().zip(&mut *weights) {
            of_y = weight.mul_add::<FMA>(self.entry(view, *at, GAIN), of_y);
            *weight = *weight * self.entry(view, *at, LOSS);
        }
        update!(sums, |j, sum| of_y.mul_add::<FMA>(view.y[j], sum));
        add_products::<FMA>(&places, weights, &self.means, |_| V::ZERO, sums);
    }

    #[inline(always)]
    fn mean<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        at: usize,
        mean: &mut [V],
        _scratch: &mut [V],
    ) -> V {
        let (gain, loss) = (self.entry(view, at, GAIN), self.entry(view, at, LOSS));
        let known = self.mean_of(view.block.start + at);
        update!(mean, |j, _old| loss.mul_add::<FMA>(V::splat(known[j]), gain * view.y[j]));
        gain * V::splat(self.dim as f64)
    }
}
