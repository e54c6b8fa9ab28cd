//! The interface of the shapes of covariances for the loops over rows and components.

use super::tile::{Lane, WIDE};
use fermiac_base::simd::{Real, V};
use std::ops::Range;

/// A block of components and eight rows.
pub(super) struct View<'a, L> {
    /// The components.
    pub(super) block: Range<usize>,
    /// The rows, column by column.
    pub(super) y: &'a [V],
    /// The results of [`Shape::squares`].
    pub(super) space: &'a [V],
    /// The results of [`Shape::table`].
    pub(super) table: &'a [L],
}

/// The components of a mixture with covariances of one kind. `scratch` has a number for every
/// coordinate.
pub(super) trait Shape: Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// The number of components.
    fn len(&self) -> usize;

    /// The numbers that depend only on the noise level.
    fn table_len(&self) -> usize;

    /// The numbers of a component that depend only on rows.
    fn space_len(&self) -> usize;

    /// Computes the numbers that depend only on the squared noise level.
    fn table<R: Real, const FMA: bool>(&self, square: R, table: &mut [R]);

    /// Computes the numbers that depend only on rows: squared distances, or distances along
    /// eigenvectors.
    fn squares<const FMA: bool>(
        &self,
        block: Range<usize>,
        y: &[V],
        space: &mut [V],
        scratch: &mut [V],
    );

    /// The logarithms of weight times density of the components of a block.
    fn logs<L: Lane, const FMA: bool>(&self, view: &View<'_, L>, logs: &mut [V]);

    /// Adds weight times posterior mean, or weight times score, of the `active` components (numbers
    /// within the block), each with a weight; the weights are overwritten.
    fn add<L: Lane, const SCORES: bool, const FMA: bool>(
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

/// Adds, to every column, the sum of factor × (number - shift). Each factor has a row of numbers,
/// one for each column, from its place on; `shift(j)` is the same for all rows and must be inlined.
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
