//! The shapes of a mixture's covariances, as the loops over rows and components see them.

use std::ops::Range;

use fermiac_base::simd::{Real, V};

use super::tile::{Lane, WIDE};

/// A block of components as eight rows see it.
pub(super) struct View<'a, L> {
    /// The components.
    pub(super) block: Range<usize>,
    /// The rows, column by column.
    pub(super) y: &'a [V],
    /// What [`Shape::squares`] found.
    pub(super) space: &'a [V],
    /// What [`Shape::table`] found.
    pub(super) table: &'a [L],
}

/// The components of a mixture with covariances of one kind. `scratch` has a number for every
/// coordinate.
pub(super) trait Shape: Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// The number of components.
    fn len(&self) -> usize;

    /// Numbers that a noise level fixes.
    fn table_len(&self) -> usize;

    /// Numbers of a component that rows fix, whatever the level.
    fn space_len(&self) -> usize;

    /// Computes what the squared noise level fixes.
    fn table<R: Real, const FMA: bool>(&self, square: R, table: &mut [R]);

    /// Computes what rows fix: squared distances, or distances along eigenvectors.
    fn squares<const FMA: bool>(
        &self,
        block: Range<usize>,
        y: &[V],
        space: &mut [V],
        scratch: &mut [V],
    );

    /// The logarithms of weight times density of the components of a block.
    fn logs<L: Lane, const FMA: bool>(
        &self,
        block: Range<usize>,
        space: &[V],
        table: &[L],
        logs: &mut [V],
    );

    /// Adds weight times posterior mean of the `active` components (counted within the block), each
    /// of which has a weight; the weights are used up.
    fn add_means<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        active: &[usize],
        weights: &mut [V],
        sums: &mut [V],
        scratch: &mut [V],
    );

    /// Adds weight times score of the `active` components; the weights are used up.
    fn add_scores<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        active: &[usize],
        weights: &mut [V],
        sums: &mut [V],
        scratch: &mut [V],
    );

    /// The posterior mean of component `at` of the block, and the trace of its derivative.
    fn mean<L: Lane, const FMA: bool>(
        &self,
        view: &View<'_, L>,
        at: usize,
        mean: &mut [V],
        scratch: &mut [V],
    ) -> V;
}

/// Adds, to every column, the sum of factor times number less shift: each factor has a row of
/// numbers, one for each column, from its place on; `shift(j)` is of all rows and must be inlined.
#[inline(always)]
pub(super) fn add_products<const FMA: bool>(
    places: &(impl Iterator<Item = usize> + Clone),
    factors: &[V],
    numbers: &[f64],
    shift: impl Fn(usize) -> V,
    sums: &mut [V],
) {
    let (blocks, rest) = sums.as_chunks_mut::<WIDE>();
    let whole = WIDE * blocks.len();
    for (b, sums) in blocks.iter_mut().enumerate() {
        let mut kept = *sums;
        for (place, factor) in places.clone().zip(factors) {
            let from = &numbers[place + b * WIDE..][..WIDE];
            for w in 0..WIDE {
                let term = V::splat(from[w]) - shift(b * WIDE + w);
                kept[w] = factor.mul_add::<FMA>(term, kept[w]);
            }
        }
        *sums = kept;
    }
    for (r, sum) in rest.iter_mut().enumerate() {
        let (j, mut kept) = (whole + r, *sum);
        for (place, factor) in places.clone().zip(factors) {
            kept = factor.mul_add::<FMA>(V::splat(numbers[place + j]) - shift(j), kept);
        }
        *sum = kept;
    }
}
