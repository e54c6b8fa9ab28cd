//! Sources of neighbours: the arrays of a graph, or the answers of an oracle.

use fermiac_base::Result;

use super::graph::View;

/// The rows of a graph. Walkers [`require`](Self::require) a node before they read its row.
pub(super) trait Places {
    /// Where the row of a node begins, and how long it is.
    fn row(&self, node: usize) -> (usize, usize);
    /// The node at a place.
    fn node(&self, place: usize) -> usize;
    /// Asks the memory for a row that is read soon.
    fn touch_row(&self, node: usize);
    /// Asks the memory for a place that is read soon.
    fn touch_place(&self, place: usize);
    /// Sees to it that the rows of these nodes can be read, once [`settle`](Self::settle) is done.
    fn require(&self, nodes: impl Iterator<Item = usize>) -> Result<()>;
    /// Fails where a row that was required cannot be read yet.
    #[inline(always)]
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

impl Places for View<'_> {
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
