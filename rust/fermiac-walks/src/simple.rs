//! Chains that choose a neighbour, uniformly or by weight, and go there.

use super::alias::{AliasRows, TWO_32};
use super::history::History;
use super::neighbour_source::{Arrays, NeighbourSource};
use super::packed_rows::unpacked;
use super::plan::Plan;
use super::walker_block::{
    Member, Moves, NOWHERE, WALKERS, WalkerBlock, Words, choose, choose_of, unit,
};

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
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
        for l in 0..WALKERS {
            let (slot, rest) = choose(words[0][l], o.degree[l].max(self.least));
            let stays = slot >= o.degree[l] || (self.laziness > 0.0 && unit(rest) < self.laziness);
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            source.touch_place(o.place[l]);
        }
    }

    #[inline(always)]
    fn leaps<H: History>(&self, _: &H, source: Arrays<'_>) -> bool {
        self.laziness == 0.0 && self.least == 0 && source.are_full()
    }

    /// Two stages instead of four: a row is read by the step after, which chooses a place in it.
    #[inline(always)]
    fn leap<H: History>(
        &self,
        members: &mut [Member<'_, '_, H>],
        source: Arrays<'_>,
        plan: &Plan,
        steps: usize,
    ) {
        members.iter_mut().for_each(|m| m.leap.begin(m.block, source));
        for t in 0..steps {
            for m in members.iter_mut() {
                let (leap, words) = (&mut m.leap, &m.words[t]);
                let at = *leap.at(t);
                for l in 0..WALKERS {
                    let (start, length) = unpacked(source.row_of(at[l]));
                    let place = start + choose_of(words[l], length).0;
                    leap.place[l] = place;
                    source.touch_node_at(place);
                }
            }
            for m in members.iter_mut() {
                let leap = &mut m.leap;
                let place = leap.place;
                let to = leap.at_mut(t + 1);
                for l in 0..WALKERS {
                    to[l] = source.node_at(place[l]);
                    source.touch_row_of(to[l]);
                }
            }
        }
        for m in members.iter_mut() {
            let (o, leap) = (&mut *m.block, &mut m.leap);
            for l in 0..WALKERS {
                leap.row[l] = source.row_of(leap.at(steps)[l]);
                o.before[l] = leap.at(steps - 1)[l] as usize;
            }
            leap.end(o, steps);
            o.moved += (steps * o.n) as u64;
            for at in leap.steps(steps) {
                for l in o.lanes() {
                    m.history.visit(&plan.target, l, at[l] as usize, o.degree[l], 0.0);
                }
            }
        }
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
    fn propose(&self, o: &mut WalkerBlock, words: &Words, source: &impl NeighbourSource) {
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
    fn candidate(&self, o: &WalkerBlock, l: usize, source: &impl NeighbourSource) -> usize {
        if o.place[l] == NOWHERE {
            return o.at[l];
        }
        let cell = self.rows.at(o.place[l]);
        let own = o.rest[l] * TWO_32 < f64::from(cell.threshold);
        source.node(if own { o.place[l] } else { o.start[l] + cell.other as usize })
    }
}
