//! Chains that choose a neighbour, uniformly or by weight, and go there.

use super::alias::{AliasRows, TWO_32};
use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::walker_block::{Moves, NOWHERE, WALKERS, WalkerBlock, choose, unit};
use fermiac_base::Result;

/// To a neighbour, each equally likely.
pub(super) struct Simple {
    /// The probability to stay.
    pub(super) laziness: f64,
    /// The least number of slots; beyond the row the walker stays.
    pub(super) least: usize,
}

impl Moves for Simple {
    const BATCH: usize = 8;
    const WORDS: usize = 1;

    #[inline(always)]
    fn propose<P: NeighbourSource, H: History>(
        &self,
        o: &mut WalkerBlock,
        words: &[[u64; WALKERS]],
        source: &P,
        _: &H,
    ) {
        for l in 0..WALKERS {
            let (slot, rest) = choose(words[0][l], o.degree[l].max(self.least));
            let stays = slot >= o.degree[l] || (self.laziness > 0.0 && unit(rest) < self.laziness);
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            source.touch_place(o.place[l]);
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
            o.candidate[l] = if o.place[l] == NOWHERE { o.at[l] } else { source.node(o.place[l]) };
            source.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        source.require(o.candidate[..o.n].iter().copied())
    }
}

/// To a neighbour by the weights of the edges.
pub(super) struct Weighted<'a> {
    pub(super) rows: &'a AliasRows,
    /// The probability to stay.
    pub(super) laziness: f64,
}

impl Moves for Weighted<'_> {
    const BATCH: usize = 8;
    const VECTORS: bool = false;
    const WORDS: usize = 1;

    #[inline(always)]
    fn propose<P: NeighbourSource, H: History>(
        &self,
        o: &mut WalkerBlock,
        words: &[[u64; WALKERS]],
        source: &P,
        _: &H,
    ) {
        for l in 0..WALKERS {
            let (slot, rest) = choose(words[0][l], o.degree[l]);
            let u = unit(rest);
            let stays = slot >= o.degree[l] || u < self.laziness;
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            // The rest of the uniform is uniform again.
            o.rest[l] =
                if self.laziness > 0.0 { (u - self.laziness) / (1.0 - self.laziness) } else { u };
            self.rows.touch(o.place[l]);
            source.touch_place(o.place[l]);
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
            o.candidate[l] = o.at[l];
            if o.place[l] != NOWHERE {
                let cell = self.rows.at(o.place[l]);
                let own = o.rest[l] * TWO_32 < f64::from(cell.threshold);
                let place = if own { o.place[l] } else { o.start[l] + cell.other as usize };
                o.candidate[l] = source.node(place);
            }
            source.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        source.require(o.candidate[..o.n].iter().copied())
    }
}
