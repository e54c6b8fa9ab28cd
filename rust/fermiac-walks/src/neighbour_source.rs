//! Sources of neighbours: the arrays of a graph, or the answers of an oracle.

use super::graph::{IdSlice, View};
use fermiac_base::Result;
use fermiac_base::simd::prefetch;

/// The start and the length of a row.
pub(super) type Row = (usize, usize);

/// The rows of a graph. Walkers [`require`](Self::require) a node before they read its row.
pub(super) trait NeighbourSource {
    /// The arrays of a graph of below 2³² nodes, all rows of which can be read at any time.
    #[inline(always)]
    fn arrays(&self) -> Option<Arrays<'_>> {
        None
    }
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

/// The arrays of a [`View`], of known types.
#[derive(Clone, Copy)]
pub(super) struct Arrays<'a> {
    starts: &'a [u64],
    ids: &'a [u32],
}

impl NeighbourSource for Arrays<'_> {
    #[inline(always)]
    fn row(&self, node: usize) -> (usize, usize) {
        let (start, end) = (self.starts[node], self.starts[node + 1]);
        (start as usize, end.wrapping_sub(start) as usize)
    }

    #[inline(always)]
    fn node(&self, place: usize) -> usize {
        self.ids[place] as usize
    }

    #[inline(always)]
    fn touch_row(&self, node: usize) {
        prefetch(self.starts, node);
    }

    #[inline(always)]
    fn touch_place(&self, place: usize) {
        prefetch(self.ids, place);
    }

    #[inline(always)]
    fn require(&self, _nodes: impl Iterator<Item = usize>) -> Result<()> {
        Ok(())
    }
}

impl NeighbourSource for View<'_> {
    #[inline(always)]
    fn arrays(&self) -> Option<Arrays<'_>> {
        match self.ids {
            IdSlice::Short(ids) => Some(Arrays { starts: self.starts, ids }),
            IdSlice::Long(_) => None,
        }
    }

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
        prefetch(self.starts, node);
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
