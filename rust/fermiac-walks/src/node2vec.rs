//! The second-order walk of node2vec.

use super::alias::{AliasRows, TWO_32};
use super::graph::WeightSlice;
use super::neighbour_source::{NeighbourSource, Row};
use super::walker_block::{Moves, NOWHERE, WALKERS, WalkerBlock, Words, choose, unit};

/// To a neighbour by the weight of the edge, times 1 / `back` for the previous node, 1 for its
/// neighbours, and 1 / `out` for others.
///
/// Neighbours are proposed by the weights until one is accepted; after some tries all are
/// weighed. Tries are independent, so that the law is exact.
///
/// Reference: A. Grover, J. Leskovec (2016), "node2vec: scalable feature learning for networks",
/// KDD.
pub(super) struct Node2Vec<'a> {
    /// Alias tables of the `weights`, if these differ.
    pub(super) rows: Option<&'a AliasRows>,
    pub(super) weights: Option<WeightSlice<'a>>,
    /// Whether rows are in ascending order.
    pub(super) sorted: bool,
    pub(super) back: f64,
    pub(super) out: f64,
    /// The probability to stay.
    pub(super) laziness: f64,
}

/// The number of proposals before all neighbours are weighed.
const TRIES: usize = 6;
/// Rows up to this length are searched linearly.
const SHORT: usize = 16;

impl Node2Vec<'_> {
    /// Whether a row contains a node.
    #[inline(always)]
    fn holds(&self, source: &impl NeighbourSource, (start, degree): Row, node: usize) -> bool {
        if degree <= SHORT || !self.sorted {
            return (start..start + degree).any(|place| source.node(place) == node);
        }
        let (mut low, mut n) = (start, degree);
        while n > 1 {
            let half = n / 2;
            if source.node(low + half) <= node {
                low += half;
            }
            n -= half;
        }
        source.node(low) == node
    }

    /// The number of times that a row contains a node.
    #[inline(always)]
    fn count(&self, source: &impl NeighbourSource, (start, degree): Row, node: usize) -> usize {
        let places_of = start..start + degree;
        if degree <= SHORT || !self.sorted {
            return places_of.filter(|place| source.node(*place) == node).count();
        }
        if !self.holds(source, (start, degree), node) {
            return 0;
        }
        // The first of them, in case there are several.
        let (mut low, mut n) = (start, degree);
        while n > 0 {
            let half = n / 2;
            if source.node(low + half) < node {
                low += half + 1;
                n -= half + 1;
            } else {
                n = half;
            }
        }
        (low..start + degree).take_while(|place| source.node(*place) == node).count()
    }

    /// The factor of the weight of the edge to a node, after the node `before`.
    #[inline(always)]
    fn bias(&self, source: &impl NeighbourSource, before: usize, row: Row, node: usize) -> f64 {
        if node == before {
            1.0 / self.back
        } else if self.holds(source, row, node) {
            1.0
        } else {
            1.0 / self.out
        }
    }

    /// The next node of walker `l`.
    #[inline(always)]
    fn outcome(&self, o: &WalkerBlock, l: usize, source: &impl NeighbourSource) -> usize {
        let words = &o.tries;
        let (start, degree, before) = (o.start[l], o.degree[l], o.before[l]);
        let first = before == NOWHERE;
        let row = if first { (0, 0) } else { source.row(before) };
        let mut bound = (1.0 / self.out).max(1.0);
        // The probability to go back by the part of its weight that is above the bound.
        let mut ahead = 0.0;
        if 1.0 / self.back > bound {
            if self.rows.is_some() || first {
                bound = 1.0 / self.back;
            } else {
                let back = self.count(source, (start, degree), before) as f64;
                let above = back * (1.0 / self.back - bound);
                ahead = above / (above + bound * degree as f64);
            }
        }
        for word in &words[..TRIES] {
            let (slot, rest) = choose(word[l], degree);
            let mut u = unit(rest);
            if u < ahead {
                return before;
            }
            u = (u - ahead) / (1.0 - ahead);
            let mut place = start + slot;
            if let Some(rows) = self.rows {
                let cell = rows.at(place);
                let own = f64::from(cell.threshold) / TWO_32;
                if u < own {
                    u /= own;
                } else {
                    place = start + cell.other as usize;
                    u = (u - own) / (1.0 - own);
                }
            }
            let node = source.node(place);
            if first || u * bound < self.bias(source, before, row, node).min(bound) {
                return node;
            }
        }
        let mass = |place: usize| {
            let weight = self.weights.map_or(1.0, |weights| weights.at(place));
            weight * self.bias(source, before, row, source.node(place))
        };
        let places_of = start..start + degree;
        let mut left = unit(words[TRIES][l]) * places_of.clone().map(mass).sum::<f64>();
        let mut chosen = start;
        for place in places_of {
            chosen = place;
            left -= mass(place);
            if left < 0.0 {
                break;
            }
        }
        source.node(chosen)
    }
}

impl Moves for Node2Vec<'_> {
    const VECTORS: bool = false;
    const WORDS: usize = TRIES + 1;

    fn words(&self) -> usize {
        Self::WORDS + usize::from(self.laziness > 0.0)
    }

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
        o.tries.resize(Self::WORDS, [0; WALKERS]);
        o.tries.copy_from_slice(&words[..Self::WORDS]);
        for l in 0..o.n {
            let lazy = self.laziness > 0.0 && unit(words[Self::WORDS][l]) < self.laziness;
            o.place[l] = if lazy || o.degree[l] == 0 { NOWHERE } else { o.start[l] };
            for word in &words[..TRIES] {
                let place = o.start[l] + choose(word[l], o.degree[l]).0;
                source.touch_place(place);
                if let Some(rows) = self.rows {
                    rows.touch(place);
                }
            }
        }
    }

    #[inline(always)]
    fn candidate(&self, o: &WalkerBlock, l: usize, source: &impl NeighbourSource) -> usize {
        if o.place[l] == NOWHERE { o.at[l] } else { self.outcome(o, l, source) }
    }
}
