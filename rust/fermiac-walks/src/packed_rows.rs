//! The rows of a graph, each in one word, so that a step reads one cache line of them.

use super::graph::View;
use fermiac_base::simd::prefer_huge_pages;

/// The start and the length of the row of each node.
#[derive(Debug)]
pub(super) struct PackedRows {
    pub(super) words: Vec<u64>,
    /// Whether every node has a neighbour.
    pub(super) are_full: bool,
}

/// The bits of a length, below those of a start.
const LENGTH: u32 = 32;
/// Nodes of the largest graph whose rows are packed: 128 MiB.
const MOST: usize = 1 << 24;

impl PackedRows {
    /// The rows of a graph; `None` if it is too large.
    pub(super) fn new(view: &View<'_>) -> Option<Self> {
        if !Self::fit(view) {
            return None;
        }
        let mut words: Vec<u64> = Vec::with_capacity(view.n_nodes());
        prefer_huge_pages(words.spare_capacity_mut());
        let mut are_full = true;
        words.extend(view.starts.windows(2).map(|ends| {
            // Ends are not checked, and may descend.
            let length = ends[1].wrapping_sub(ends[0]) & u64::from(u32::MAX);
            are_full &= length > 0;
            ends[0] << LENGTH | length
        }));
        Some(Self { words, are_full })
    }

    /// Whether the rows of a graph can be packed.
    pub(super) fn fit(view: &View<'_>) -> bool {
        view.n_nodes() <= MOST && u32::try_from(view.ids.len()).is_ok()
    }
}

/// The start and the length of a packed row, both below 2³².
#[inline(always)]
pub(super) fn unpacked(word: u64) -> (u64, u64) {
    (word >> LENGTH, word & u64::from(u32::MAX))
}
