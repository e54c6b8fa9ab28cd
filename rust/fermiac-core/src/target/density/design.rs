//! A design matrix laid out for the SIMD evaluation of a likelihood and its gradient.
//!
//! The lanes of a vector are eight observations, so that a single point (one chain's ask) keeps
//! them all busy. Points are taken four at a time where there are as many, so that what is loaded
//! of the matrix serves all four; a point's sums run over the observations in the same order
//! either way, and have the same bits.

use crate::linalg::Rows;
use crate::simd::{Kernel, LANES, V, dispatch};

/// Blocks of observations that are taken together.
const TOGETHER: usize = 4;
/// Points that are taken together.
const POINTS: usize = 4;
/// After so many blocks a likelihood folds its running product into the sum.
const FOLD: usize = 512;

/// What one point has gathered over the observations so far, lane by lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    /// The sum of the terms.
    pub(super) sum: V,
    /// A running product, for likelihoods that take the logarithm of many factors at once.
    pub(super) product: V,
}

impl Sums {
    const START: Self = Self { sum: V::ZERO, product: V::splat(1.0) };
}

/// A likelihood of observations that are independent given their linear predictors.
pub(super) trait Likelihood: Send + Sync {
    /// Parameters beside the coefficients, after them.
    const EXTRA: usize = 0;

    /// Adds the terms of block `block` of eight observations at their linear predictors; gives
    /// the derivatives of the terms. A padded observation adds nothing. Must be `inline(always)`.
    fn observe<const FMA: bool>(&self, block: usize, predictor: V, sums: &mut Sums) -> V;

    /// Takes the product into the sum. Must be `inline(always)`.
    #[inline(always)]
    fn fold<const FMA: bool>(_sums: &mut Sums) {}

    /// From the sum of the terms at a point to the log-density, without the prior of the
    /// coefficients; brings the gradient (all parameters; those beyond the coefficients are 0 on
    /// entry) to the same scale.
    fn finish(&self, _point: &[f64], sum: f64, _gradient: Option<&mut [f64]>) -> f64 {
        sum
    }
}

/// Rows of a matrix in blocks of eight, each block column by column, and the constants to which
/// the linear predictors add.
#[derive(Debug, Clone)]
pub(super) struct Design {
    dim: usize,
    blocks: Vec<V>,
    offset: Vec<V>,
}

impl Design {
    /// Takes a matrix of `dim` columns and one offset a row; padded rows are 0 and have the offset
    /// `padding`.
    pub(super) fn new(x: Rows<'_>, offset: &[f64], padding: f64) -> Self {
        let dim = x.dim();
        let mut blocks = vec![V::ZERO; x.len().div_ceil(LANES) * dim];
        for (i, row) in x.iter().enumerate() {
            let block = &mut blocks[i / LANES * dim..][..dim];
            for (column, value) in block.iter_mut().zip(row) {
                column.0[i % LANES] = *value;
            }
        }
        Self { dim, blocks, offset: in_blocks(offset, padding) }
    }

    /// The number of coefficients.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    #[inline(always)]
    fn panel<const FMA: bool, const B: usize, const R: usize, const SLOPES: bool>(
        &self,
        likelihood: &impl Likelihood,
        first: usize,
        points: [&[f64]; R],
        sums: &mut [Sums; R],
        slopes: &mut [V],
    ) {
        let columns: [&[V]; B] =
            std::array::from_fn(|k| &self.blocks[(first + k) * self.dim..][..self.dim]);
        let mut values = [[V::ZERO; B]; R];
        for of_point in &mut values {
            of_point.copy_from_slice(&self.offset[first..first + B]);
        }
        for j in 0..self.dim {
            for r in 0..R {
                let coefficient = V::splat(points[r][j]);
                for k in 0..B {
                    values[r][k] = columns[k][j].mul_add::<FMA>(coefficient, values[r][k]);
                }
            }
        }
        for r in 0..R {
            for k in 0..B {
                values[r][k] = likelihood.observe::<FMA>(first + k, values[r][k], &mut sums[r]);
            }
        }
        if SLOPES {
            for (j, slopes) in slopes.as_chunks_mut::<R>().0.iter_mut().enumerate() {
                for r in 0..R {
                    let mut slope = slopes[r];
                    for k in 0..B {
                        slope = columns[k][j].mul_add::<FMA>(values[r][k], slope);
                    }
                    slopes[r] = slope;
                }
            }
        }
    }

    /// The sums over all observations at `R` points; `slopes` holds `R` vectors a coefficient.
    #[inline(always)]
    fn pass<const FMA: bool, const R: usize, const SLOPES: bool, L: Likelihood>(
        &self,
        likelihood: &L,
        points: [&[f64]; R],
        slopes: &mut [V],
    ) -> [Sums; R] {
        let mut sums = [Sums::START; R];
        slopes.fill(V::ZERO);
        let n = self.offset.len();
        let whole = n - n % TOGETHER;
        for b in (0..whole).step_by(TOGETHER) {
            self.panel::<FMA, TOGETHER, R, SLOPES>(likelihood, b, points, &mut sums, slopes);
            if (b + TOGETHER).is_multiple_of(FOLD) {
                sums.iter_mut().for_each(L::fold::<FMA>);
            }
        }
        for b in whole..n {
            self.panel::<FMA, 1, R, SLOPES>(likelihood, b, points, &mut sums, slopes);
        }
        sums.iter_mut().for_each(L::fold::<FMA>);
        sums
    }
}

/// Numbers in vectors of eight, the last one padded.
pub(super) fn in_blocks(values: &[f64], padding: f64) -> Vec<V> {
    let block = |part: &[f64]| {
        let mut block = V::splat(padding);
        block.0[..part.len()].copy_from_slice(part);
        block
    };
    values.chunks(LANES).map(block).collect()
}

/// Evaluates a likelihood at every row of `x`: the terms' sums, finished, and where `gradient` is
/// not empty the gradients.
pub(super) fn evaluate<L: Likelihood>(
    design: &Design,
    likelihood: &L,
    x: Rows<'_>,
    out: &mut [f64],
    gradient: &mut [f64],
) {
    if gradient.is_empty() {
        dispatch(Evaluate::<L, false> { design, likelihood, x, out, gradient });
    } else {
        dispatch(Evaluate::<L, true> { design, likelihood, x, out, gradient });
    }
}

struct Evaluate<'a, L, const SLOPES: bool> {
    design: &'a Design,
    likelihood: &'a L,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl<L: Likelihood, const SLOPES: bool> Evaluate<'_, L, SLOPES> {
    /// `R` points from row `first` on.
    #[inline(always)]
    fn points<const FMA: bool, const R: usize>(&mut self, first: usize, slopes: &mut [V]) {
        let (dim, width) = (self.design.dim, self.x.dim());
        let points: [&[f64]; R] = std::array::from_fn(|r| self.x.row(first + r));
        let slopes = &mut slopes[..if SLOPES { R * dim } else { 0 }];
        let sums = self.design.pass::<FMA, R, SLOPES, L>(self.likelihood, points, slopes);
        for r in 0..R {
            let gradient = if SLOPES {
                let gradient = &mut self.gradient[(first + r) * width..][..width];
                for (j, slope) in gradient.iter_mut().enumerate() {
                    *slope = if j < dim { slopes[j * R + r].sum() } else { 0.0 };
                }
                Some(gradient)
            } else {
                None
            };
            self.out[first + r] = self.likelihood.finish(points[r], sums[r].sum.sum(), gradient);
        }
    }
}

impl<L: Likelihood, const SLOPES: bool> Kernel for Evaluate<'_, L, SLOPES> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        let n = self.x.len();
        let together = if n < POINTS { 1 } else { POINTS };
        let mut slopes = vec![V::ZERO; if SLOPES { together * self.design.dim } else { 0 }];
        let whole = n - n % POINTS;
        for first in (0..whole).step_by(POINTS) {
            self.points::<FMA, POINTS>(first, &mut slopes);
        }
        for first in whole..n {
            self.points::<FMA, 1>(first, &mut slopes);
        }
    }
}
