//! The degrees of the neighbours of all nodes, by place.

use super::graph::View;
use super::neighbour_source::NeighbourSource;
use fermiac_base::simd::{prefer_huge_pages, prefetch};
use std::ops::Range;

/// The degree of the node at every place of a graph, so that a step need not read its row.
///
/// A word has the node as well where 24 bits hold it, so that a step reads one array, not two.
#[derive(Debug, Default)]
pub(super) struct NeighbourDegrees {
    words: Vec<u32>,
    /// Whether the lower bits of the words are nodes, and the upper ones degrees.
    has_nodes: bool,
}

/// The bits of a node in a word that has a degree too.
const NODE: u32 = 24;
/// The degree in a word that stands for itself and for all above.
pub(super) const MANY: u32 = (1 << (32 - NODE)) - 1;

impl NeighbourDegrees {
    /// Those of a graph.
    pub(super) fn new(view: &View<'_>) -> Self {
        Self::of(view, view.n_nodes() <= 1 << NODE)
    }

    fn of(view: &View<'_>, has_nodes: bool) -> Self {
        let mut words = Vec::with_capacity(view.ids.len());
        prefer_huge_pages(words.spare_capacity_mut());
        words.extend((0..view.ids.len()).map(|place| {
            let node = view.ids.at(place);
            let degree = u32::try_from(view.row(node).1).unwrap_or(u32::MAX);
            if has_nodes { node as u32 | degree.min(MANY) << NODE } else { degree }
        }));
        Self { words, has_nodes }
    }

    /// Whether they are not known; the rows have them then.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The largest degree of a neighbour, or a smaller number if that is large.
    pub(super) fn largest(&self) -> usize {
        let degree = |word: &u32| if self.has_nodes { word >> NODE } else { *word };
        self.words.iter().map(degree).max().unwrap_or(0) as usize
    }

    /// The words of some places, if they have nodes; see [`unpacked`].
    #[inline(always)]
    pub(super) fn packed(&self, places: Range<usize>) -> Option<&[u32]> {
        if self.has_nodes { self.words.get(places) } else { None }
    }

    /// Prefetches the node and the degree at a place.
    #[inline(always)]
    pub(super) fn touch(&self, source: &impl NeighbourSource, place: usize) {
        prefetch(&self.words, place);
        if !self.has_nodes {
            source.touch_place(place);
        }
    }

    /// The node at a place.
    #[inline(always)]
    pub(super) fn node(&self, source: &impl NeighbourSource, place: usize) -> usize {
        if self.has_nodes { unpacked(self.words[place]).0 } else { source.node(place) }
    }

    /// The node at a place, and its degree.
    #[inline(always)]
    pub(super) fn pair(&self, source: &impl NeighbourSource, place: usize) -> (usize, usize) {
        let node = self.node(source, place);
        let degree = match self.words.get(place) {
            Some(word) if !self.has_nodes => *word as usize,
            Some(word) if unpacked(*word).1 < MANY as usize => unpacked(*word).1,
            _ => source.row(node).1,
        };
        (node, degree)
    }
}

/// The node of a word, and its degree or [`MANY`].
#[inline(always)]
pub(super) fn unpacked(word: u32) -> (usize, usize) {
    ((word & ((1 << NODE) - 1)) as usize, (word >> NODE) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::circulant;

    #[test]
    fn words_have_the_nodes_and_degrees_of_the_graph() {
        let graph = circulant(700);
        let view = graph.view();
        for degrees in [
            NeighbourDegrees::default(),
            NeighbourDegrees::of(&view, true),
            NeighbourDegrees::of(&view, false),
        ] {
            for place in 0..view.ids.len() {
                let node = view.ids.at(place);
                assert_eq!(degrees.pair(&view, place), (node, view.row(node).1));
            }
        }
    }

    #[test]
    fn the_degree_of_a_hub_is_that_of_its_row() {
        let n = MANY + 50;
        let mut rows = vec![(1..n).map(|node| (node, 1.0)).collect()];
        rows.extend((1..n).map(|_| vec![(0, 1.0)]));
        let graph = crate::tests::graph_of(&rows);
        let view = graph.view();
        let degrees = NeighbourDegrees::new(&view);
        assert_eq!(degrees.largest(), MANY as usize);
        let (place, _) = view.row(1);
        assert_eq!(degrees.pair(&view, place), (0, n as usize - 1));
    }
}
