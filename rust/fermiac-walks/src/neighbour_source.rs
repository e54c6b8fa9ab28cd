//! Sources of neighbours: the arrays of a graph, or the answers of an oracle.

use super::graph::View;
use fermiac_base::Result;

/// The start and the length of a row.
pub(super) type Row = (usize, usize);

/// The rows of a graph. Walkers [`require`](Self::require) a node before they read its row.
pub(super) trait NeighbourSource {
    /// Whether all rows can be read at any time.
    const IS_WHOLE: bool = false;
    /// The start and the length of the row of a node.
    fn row(&self, node: usize) -> (usize, usize);
    /// The node at a place, an index into all rows.
    fn node(&self, place: usize) -> usize;
    /// Prefetches the bounds of a row.
    fn touch_row(&self, node: usize);
    /// Prefetches a place.
    fn touch_place(&self, place: usize);
    /// Requires the rows of these nodes; they can be read after [`settle`](Self::settle).
    fn require(&self, nodes: impl Iterator<Item = usize>) -> Result<()>;
    /// Fails if a required row cannot be read yet.
    #[inline(always)]
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

impl NeighbourSource for View<'_> {
    const IS_WHOLE: bool = true;

    #[inline(always)]
    fn row(&self, node: usize) -> (usize, usize) {
        View::row(self, node)
    }

    #[inline(always)]
    fn node(&self, place: usize) -> usize {
        self.ids.at(place)
    }

    #[inline(always)]
    fn touch_row(&self, node: usize) {
        fermiac_base::simd::prefetch(self.starts, node);
    }

    #[inline(always)]
    fn touch_place(&self, place: usize) {
        self.ids.touch(place);
    }

    #[inline(always)]
    fn require(&self, _nodes: impl Iterator<Item = usize>) -> Result<()> {
        Ok(())
    }
}
