//! The non-backtracking walk.

use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::walker_block::{Moves, NOWHERE, WALKERS, WalkerBlock, choose, unit};
use fermiac_base::Result;

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
    fn propose<P: NeighbourSource, H: History>(
        &self,
        o: &mut WalkerBlock,
        words: &[[u64; WALKERS]],
        source: &P,
        _: &H,
    ) {
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
    fn fetch<P: NeighbourSource, H: History>(
        &self,
        o: &mut WalkerBlock,
        source: &P,
        history: &H,
    ) -> Result<()> {
        for l in 0..o.n {
            let (place, by) = (o.place[l], o.candidate[l]);
            o.candidate[l] = o.at[l];
            if place != NOWHERE {
                let mut node = source.node(place);
                if node == o.before[l] && o.degree[l] > 1 {
                    let (start, degree) = (o.start[l], o.degree[l]);
                    let slot = place - start + by;
                    node = source.node(start + if slot < degree { slot } else { slot - degree });
                }
                o.candidate[l] = node;
            }
            source.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        source.require(o.candidate[..o.n].iter().copied())
    }
}
