//! Components with covariances by eigenvalues, along the axes or along their eigenvectors.

use super::shape::{Shape, View, add_products};
use super::tile::{Lane, WIDE, total, update};
use fermiac_base::simd::{Real, V};
use fermiac_base::special::LN_SQRT_2PI;
use std::ops::Range;

/// Within these bounds a product of [`TOGETHER`] variances has full precision.
const SMALL: f64 = 1e-280;
const LARGE: f64 = 1e280;
/// Variances whose logarithms are computed as that of their product.
const TOGETHER: usize = 4;

/// Components by the eigenvalues of their covariances.
#[derive(Debug, Clone)]
pub(super) struct Spectral {
    pub(super) dim: usize,
    pub(super) means: Vec<f64>,
    pub(super) log_weights: Vec<f64>,
    /// Eigenvalues, (components × dim).
    pub(super) variances: Vec<f64>,
    pub(super) vectors: Option<Vectors>,
}

/// Eigenvectors of all components, component by component.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    /// Row-major matrices with eigenvectors as columns.
    pub(super) columns: Vec<f64>,
    /// Row-major matrices with eigenvectors as rows.
    pub(super) rows: Vec<f64>,
}

impl Spectral {
    /// The range of component `k` in arrays with a number for every coordinate.
    #[inline(always)]
    pub(super) fn own(&self, k: usize) -> Range<usize> {
        k * self.dim..(k + 1) * self.dim
    }

    /// The matrix of component `k`.
    #[inline(always)]
    pub(super) fn matrix<'a>(&self, matrices: &'a [f64], k: usize) -> &'a [f64] {
        &matrices[k * self.dim * self.dim..(k + 1) * self.dim * self.dim]
    }

    /// The entries of a component in the table: its constant, and along eigenvectors its precisions
    /// and the factors of distances in the posterior mean.
    #[inline(always)]
    fn entries<'a, L>(&self, table: &'a [L], k: usize) -> (&'a L, &'a [L], &'a [L]) {
        let stride = 2 * self.dim + 1;
        let (constant, rest) = table[k * stride..(k + 1) * stride].split_at(1);
        let (precisions, gains) = rest.split_at(self.dim);
        (&constant[0], precisions, gains)
    }

    /// Adds V f, where f is a number for each eigenvector.
    #[inline(always)]
    fn add_turned<const FMA: bool>(&self, vectors: &Vectors, k: usize, f: &[V], sums: &mut [V]) {
        let rows = self.matrix(&vectors.rows, k);
        let places = (0..self.dim).map(|i| i * self.dim);
        add_products::<FMA>(&places, f, rows, |_| V::ZERO, sums);
    }

    /// Adds weight times the posterior mean of component `at` of the block.
    #[inline(always)]
    fn add_mean<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        at: usize,
        weight: V,
        sums: &mut [V],
        scratch: &mut [V],
    ) {
        let k = view.block.start + at;
        let (_, _, gains) = self.entries(view.table, k);
        let z = &view.space[at * self.dim..(at + 1) * self.dim];
        let mean = &self.means[self.own(k)];
        update!(sums, |j, sum| weight.mul_add::<FMA>(V::splat(mean[j]), sum));
        if let Some(vectors) = &self.vectors {
            update!(scratch, |i, _old| weight * gains[i].spread() * z[i]);
            self.add_turned::<FMA>(vectors, k, scratch, sums);
        } else {
            update!(sums, |j, sum| (weight * gains[j].spread()).mul_add::<FMA>(z[j], sum));
        }
    }
}

impl Shape for Spectral {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.log_weights.len()
    }

    fn table_len(&self) -> usize {
        self.len() * (2 * self.dim + 1)
    }

    fn space_len(&self) -> usize {
        self.dim
    }

    #[inline(always)]
    fn table<R: Real, const FMA: bool>(&self, square: R, table: &mut [R]) {
        let constant = R::of(self.dim as f64 * LN_SQRT_2PI);
        let stride = 2 * self.dim + 1;
        for (entries, variances) in
            table.chunks_exact_mut(stride).zip(self.variances.chunks_exact(self.dim))
        {
            let (constant_entry, rest) = entries.split_at_mut(1);
            let (precisions, gains) = rest.split_at_mut(self.dim);
            let mut log_det = R::of(0.0);
            let groups = precisions.chunks_mut(TOGETHER).zip(variances.chunks(TOGETHER));
            for (precisions, variances) in groups {
                let mut product = R::of(1.0);
                for (precision, variance) in precisions.iter_mut().zip(variances) {
                    let noisy = R::of(*variance) + square;
                    product = product * noisy;
                    *precision = R::of(1.0) / noisy;
                }
                let mut log = product.ln_fma::<FMA>();
                if product.any_below(R::of(SMALL)) || R::of(LARGE).any_below(product) {
                    let mut apart = R::of(0.0);
                    for variance in variances {
                        apart = apart + (R::of(*variance) + square).ln_fma::<FMA>();
                    }
                    let checked = R::of(LARGE).below(product, apart, log);
                    log = product.below(R::of(SMALL), apart, checked);
                }
                log_det = log_det + log;
            }
            constant_entry[0] = R::of(-0.5) * log_det - constant;
            for ((gain, precision), variance) in gains.iter_mut().zip(precisions).zip(variances) {
                *gain = R::of(*variance) * *precision;
            }
        }
    }

    #[inline(always)]
    fn squares<const FMA: bool>(
        &self,
        block: Range<usize>,
        y: &[V],
        space: &mut [V],
        scratch: &mut [V],
    ) {
        let dim = self.dim;
        for (k, z) in block.zip(space.chunks_exact_mut(dim)) {
            let off = if self.vectors.is_some() { &mut *scratch } else { &mut *z };
            let mean = &self.means[self.own(k)];
            update!(off, |j, _old| y[j] - V::splat(mean[j]));
            if let Some(vectors) = &self.vectors {
                z.fill(V::ZERO);
                let columns = self.matrix(&vectors.columns, k);
                let places = (0..dim).map(|j| j * dim);
                add_products::<FMA>(&places, scratch, columns, |_| V::ZERO, z);
            }
        }
    }

    #[inline(always)]
    fn logs<L: Lane, const FMA: bool>(&self, view: &View<'_, L>, logs: &mut [V]) {
        let components = view.block.clone().zip(view.space.chunks_exact(self.dim));
        for ((k, z), to) in components.zip(logs) {
            let (constant, precisions, _) = self.entries(view.table, k);
            let square = total!(self.dim, |i, sum| (z[i] * precisions[i].spread())
                .mul_add::<FMA>(z[i], sum));
            let constant = constant.spread() + V::splat(self.log_weights[k]);
            *to = V::splat(-0.5).mul_add::<FMA>(square, constant);
        }
    }

    #[inline(always)]
    fn add<L: Lane, const SCORES: bool, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        active: &[usize],
        weights: &mut [V],
        sums: &mut [V],
        scratch: &mut [V],
    ) {
        for (&at, weight) in active.iter().zip(weights) {
            if !SCORES {
                self.add_mean::<L, FMA>(view, at, *weight, sums, scratch);
                continue;
            }
            let (k, minus) = (view.block.start + at, V::ZERO - *weight);
            let (_, precisions, _) = self.entries(view.table, k);
            let z = &view.space[at * self.dim..(at + 1) * self.dim];
            if let Some(vectors) = &self.vectors {
                update!(scratch, |i, _old| minus * precisions[i].spread() * z[i]);
                self.add_turned::<FMA>(vectors, k, scratch, sums);
            } else {
                update!(sums, |j, sum| (minus * precisions[j].spread()).mul_add::<FMA>(z[j], sum));
            }
        }
    }

    #[inline(always)]
    fn mean<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        at: usize,
        mean: &mut [V],
        scratch: &mut [V],
    ) -> V {
        mean.fill(V::ZERO);
        let k = view.block.start + at;
        self.add_mean::<L, FMA>(view, at, V::splat(1.0), mean, scratch);
        let (_, _, gains) = self.entries(view.table, k);
        total!(self.dim, |i, trace| trace + gains[i].spread())
    }
}
