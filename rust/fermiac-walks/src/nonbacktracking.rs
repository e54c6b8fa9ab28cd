//! The non-backtracking walk.

use super::neighbour_source::NeighbourSource;
use super::walker_block::{Moves, NOWHERE, WalkerBlock, Words, choose, unit};

/// To a neighbour other than the previous node, each equally likely; back if there is no other.
///
/// Reference: C.-H. Lee, X. Xu, D. Y. Eun (2012), "Beyond random walk and Metropolis-Hastings
/// samplers: why you should not backtrack for unbiased graph sampling", SIGMETRICS.
pub(super) struct NonBacktracking {
    /// The probability to stay.
    pub(super) laziness: f64,
}

impl Moves for NonBacktracking {
    const VECTORS: bool = false;
    const WORDS: usize = 2;

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
        for l in 0..o.n {
            let (slot, rest) = choose(words[0][l], o.degree[l]);
            let stays = slot >= o.degree[l] || (self.laziness > 0.0 && unit(rest) < self.laziness);
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            source.touch_place(o.place[l]);
            // The offset of another slot, uniform, in case this one leads back.
            o.candidate[l] = choose(words[1][l], o.degree[l].saturating_sub(1)).0 + 1;
        }
    }

    #[inline(always)]
    fn candidate(&self, o: &WalkerBlock, l: usize, source: &impl NeighbourSource) -> usize {
        let (place, start, degree) = (o.place[l], o.start[l], o.degree[l]);
        if place == NOWHERE {
            return o.at[l];
        }
        let node = source.node(place);
        if node != o.before[l] || degree <= 1 {
            return node;
        }
        let slot = place - start + o.candidate[l];
        source.node(start + if slot < degree { slot } else { slot - degree })
    }
}
