//! Sources of neighbours: the arrays of a graph, or the answers of an oracle.

use super::graph::{IdSlice, View};
use super::packed_rows::PackedRows;
use fermiac_base::Result;
use fermiac_base::simd::prefetch;

/// The start and the length of a row.
pub(super) type Row = (usize, usize);

/// The rows of a graph. Walkers [`require`](Self::require) a node before they read its row.
pub(super) trait NeighbourSource {
    /// The arrays of a graph, if its rows are packed and can be read at any time.
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

/// The arrays of a [`View`] for [`leap`](super::walker_block::Moves::leap).
#[derive(Clone, Copy)]
pub(super) struct Arrays<'a> {
    rows: &'a PackedRows,
    ids: &'a [u32],
}

impl Arrays<'_> {
    /// Whether every node has a neighbour.
    pub(super) fn are_full(&self) -> bool {
        self.rows.are_full
    }

    /// The number of nodes.
    #[inline(always)]
    pub(super) fn n_nodes(&self) -> usize {
        self.rows.words.len()
    }

    /// The packed row of a node.
    #[inline(always)]
    pub(super) fn row_of(&self, node: u32) -> u64 {
        self.rows.words[node as usize]
    }

    /// The node at a place.
    #[inline(always)]
    pub(super) fn node_at(&self, place: u64) -> u32 {
        self.ids[place as usize]
    }

    /// Prefetches a row.
    #[inline(always)]
    pub(super) fn touch_row_of(&self, node: u32) {
        prefetch(&self.rows.words, node as usize);
    }

    /// Prefetches the node at a place.
    #[inline(always)]
    pub(super) fn touch_node_at(&self, place: u64) {
        prefetch(self.ids, place as usize);
    }
}

impl NeighbourSource for View<'_> {
    #[inline(always)]
    fn arrays(&self) -> Option<Arrays<'_>> {
        match (self.ids, self.packed) {
            (IdSlice::Short(ids), Some(rows)) => Some(Arrays { rows, ids }),
            _ => None,
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
        // The end of the row, on one of eight nodes on another cache line.
        prefetch(self.starts, node + 1);
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
