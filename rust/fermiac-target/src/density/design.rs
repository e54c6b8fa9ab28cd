//! A design matrix laid out for the SIMD evaluation of a likelihood and its gradient.
//!
//! The lanes of a vector are eight rows of the matrix (observations), so that a single point uses
//! them all. Points are taken four at a time if possible, so that each load of the matrix serves
//! four points. The sums run over the observations in the same order either way, and have the same
//! bits.

use crate::space::with_space;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Number of blocks whose predictors are summed together, for one point and for [`POINTS`].
const TOGETHER: [usize; 2] = [4, 2];
/// Number of coefficients whose slopes are summed together, likewise. The compiler keeps eight sums
/// in registers.
const COLUMNS: [usize; 2] = [4, 2];
/// Blocks of observations between the two passes, few enough that the second reads from the cache.
const PANEL: usize = 16;
/// Number of points evaluated together.
const POINTS: usize = 4;
/// Number of blocks after which a likelihood folds its running product into the sum.
const FOLD: usize = 512;

/// Running sums of one point over the observations, by lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    /// The sum of the terms.
    pub(super) sum: V,
    /// A running product, for likelihoods that take one logarithm of many factors.
    pub(super) product: V,
}

impl Sums {
    const START: Self = Self { sum: V::ZERO, product: V::splat(1.0) };
}

/// A likelihood of observations that are independent given their linear predictors.
pub(super) trait Likelihood: Send + Sync {
    /// Number of parameters after the coefficients.
    fn extra(&self) -> usize {
        0
    }

    /// Adds the terms of block `block` of eight observations at their linear predictors and returns
    /// the derivatives of the terms. A padded observation adds 0. Must be `inline(always)`.
    fn observe<const FMA: bool>(&self, block: usize, predictor: V, sums: &mut Sums) -> V;

    /// Folds the product into the sum. Must be `inline(always)`.
    #[inline(always)]
    fn fold<const FMA: bool>(_sums: &mut Sums) {}

    /// Returns the log-density from the sum of the terms at a point, without the prior of the
    /// coefficients, and rescales the gradient (all parameters; 0 on entry after the coefficients).
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
    /// Lays out a matrix of `dim` columns and one offset per row; padded rows are 0 and have the
    /// offset `padding`.
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

    /// Returns the linear predictors of `B` blocks at `R` points.
    #[inline(always)]
    fn predict<const FMA: bool, const B: usize, const R: usize>(
        &self,
        first: usize,
        points: [&[f64]; R],
    ) -> [[V; R]; B] {
        let columns: [&[V]; B] =
            std::array::from_fn(|k| &self.blocks[(first + k) * self.dim..][..self.dim]);
        let mut values = [[V::ZERO; R]; B];
        for k in 0..B {
            values[k] = [self.offset[first + k]; R];
        }
        for j in 0..self.dim {
            for r in 0..R {
                let coefficient = V::splat(points[r][j]);
                for k in 0..B {
                    values[k][r] = columns[k][j].mul_add::<FMA>(coefficient, values[k][r]);
                }
            }
        }
        values
    }

    /// Adds the contributions of the blocks from `first` on, one for each of `scores`, to the slopes
    /// of `C` coefficients from `j` on.
    #[inline(always)]
    #[expect(clippy::manual_memcpy, reason = "a call would keep the sums out of the registers")]
    fn gather<const FMA: bool, const C: usize, const R: usize>(
        &self,
        first: usize,
        scores: &[[V; R]],
        j: usize,
        slopes: &mut [[V; R]],
    ) {
        let mut sums = [[V::ZERO; R]; C];
        let slopes = &mut slopes[j..j + C];
        for c in 0..C {
            sums[c] = slopes[c];
        }
        // The inner loop must be the one with dependent additions: a loop over coefficients would be
        // vectorised across them, with gathers.
        for k in 0..scores.len() {
            let block = &self.blocks[(first + k) * self.dim + j..][..C];
            for c in 0..C {
                for r in 0..R {
                    sums[c][r] = block[c].mul_add::<FMA>(scores[k][r], sums[c][r]);
                }
            }
        }
        for c in 0..C {
            slopes[c] = sums[c];
        }
    }

    /// Adds the terms of the blocks from `first` on, as many as there are `scores`.
    #[inline(always)]
    fn panel<
        const FMA: bool,
        const B: usize,
        const C: usize,
        const R: usize,
        const SLOPES: bool,
    >(
        &self,
        likelihood: &impl Likelihood,
        first: usize,
        points: [&[f64]; R],
        sums: &mut [Sums; R],
        scores: &mut [[V; R]],
        slopes: &mut [[V; R]],
    ) {
        let (groups, rest) = scores.as_chunks_mut::<B>();
        let mut at = first;
        for scores in groups {
            *scores = self.predict::<FMA, B, R>(at, points);
            at += B;
        }
        for scores in rest {
            [*scores] = self.predict::<FMA, 1, R>(at, points);
            at += 1;
        }
        for (k, scores) in scores.iter_mut().enumerate() {
            for r in 0..R {
                scores[r] = likelihood.observe::<FMA>(first + k, scores[r], &mut sums[r]);
            }
        }
        if SLOPES {
            let whole = self.dim - self.dim % C;
            for j in (0..whole).step_by(C) {
                self.gather::<FMA, C, R>(first, scores, j, slopes);
            }
            for j in whole..self.dim {
                self.gather::<FMA, 1, R>(first, scores, j, slopes);
            }
        }
    }

    /// Sums over all observations at `R` points; `slopes` receives those of the coefficients.
    #[inline(always)]
    fn pass<
        const FMA: bool,
        const B: usize,
        const C: usize,
        const R: usize,
        const SLOPES: bool,
        L: Likelihood,
    >(
        &self,
        likelihood: &L,
        points: [&[f64]; R],
        slopes: &mut [[V; R]],
    ) -> [Sums; R] {
        let mut sums = [Sums::START; R];
        let mut scores = [[V::ZERO; R]; PANEL];
        slopes.fill([V::ZERO; R]);
        let n = self.offset.len();
        for first in (0..n).step_by(PANEL) {
            let scores = &mut scores[..PANEL.min(n - first)];
            self.panel::<FMA, B, C, R, SLOPES>(
                likelihood, first, points, &mut sums, scores, slopes,
            );
            if (first + PANEL).is_multiple_of(FOLD) {
                sums.iter_mut().for_each(L::fold::<FMA>);
            }
        }
        sums.iter_mut().for_each(L::fold::<FMA>);
        sums
    }
}

/// Returns numbers in vectors of eight, the last one padded.
pub(super) fn in_blocks(values: &[f64], padding: f64) -> Vec<V> {
    values.chunks(LANES).map(|part| V::padded(part, padding)).collect()
}

/// Evaluates a likelihood at every row of `x`, with gradients if `gradient` is not empty.
pub(super) fn evaluate<L: Likelihood>(
    design: &Design,
    likelihood: &L,
    x: Rows<'_>,
    out: &mut [f64],
    gradient: &mut [f64],
) {
    if gradient.is_empty() {
        let slopes = &mut [];
        dispatch(Evaluate::<L, false> { design, likelihood, x, out, gradient, slopes });
        return;
    }
    let together = if x.len() < POINTS { 1 } else { POINTS };
    with_space(V::ZERO, together * design.dim, |slopes| {
        dispatch(Evaluate::<L, true> { design, likelihood, x, out, gradient, slopes });
    });
}

struct Evaluate<'a, L, const SLOPES: bool> {
    design: &'a Design,
    likelihood: &'a L,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
    /// The slopes of each coefficient, for the points evaluated together.
    slopes: &'a mut [V],
}

impl<L: Likelihood, const SLOPES: bool> Evaluate<'_, L, SLOPES> {
    /// Evaluates `R` points from row `first` on.
    #[inline(always)]
    fn points<const FMA: bool, const B: usize, const C: usize, const R: usize>(
        &mut self,
        first: usize,
    ) {
        let (dim, width) = (self.design.dim, self.x.dim());
        let points: [&[f64]; R] = std::array::from_fn(|r| self.x.row(first + r));
        let (slopes, _) = self.slopes.as_chunks_mut::<R>();
        let slopes = &mut slopes[..if SLOPES { dim } else { 0 }];
        let sums = self.design.pass::<FMA, B, C, R, SLOPES, L>(self.likelihood, points, slopes);
        for r in 0..R {
            let gradient = if SLOPES {
                let gradient = &mut self.gradient[(first + r) * width..][..width];
                for (j, slope) in gradient.iter_mut().enumerate() {
                    *slope = if j < dim { slopes[j][r].sum() } else { 0.0 };
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
        let whole = n - n % POINTS;
        for first in (0..whole).step_by(POINTS) {
            self.points::<FMA, { TOGETHER[1] }, { COLUMNS[1] }, POINTS>(first);
        }
        for first in whole..n {
            self.points::<FMA, { TOGETHER[0] }, { COLUMNS[0] }, 1>(first);
        }
    }
}
