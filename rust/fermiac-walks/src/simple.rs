//! Chains that choose a neighbour, uniformly or by weight, and go there.

use super::alias::{AliasRows, TWO_32};
use super::history::History;
use super::neighbour_source::{Arrays, NeighbourSource};
use super::plan::Plan;
use super::walker_block::{Member, Moves, NOWHERE, WALKERS, WalkerBlock, Words, choose, unit};

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
    fn leaps<H: History>(&self, _: &H) -> bool {
        self.laziness == 0.0 && self.least == 0
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
        for t in 0..steps {
            for m in members.iter_mut() {
                let (o, words) = (&mut *m.block, &m.words[t]);
                for l in 0..WALKERS {
                    let (start, degree) = source.row(o.at[l]);
                    let (slot, _) = choose(words[l], degree);
                    o.place[l] = if degree > 0 { start + slot } else { NOWHERE };
                    source.touch_place(o.place[l]);
                }
            }
            for m in members.iter_mut() {
                let o = &mut *m.block;
                let mut n_moves = 0;
                for l in o.lanes() {
                    if o.place[l] != NOWHERE {
                        o.before[l] = o.at[l];
                        o.at[l] = source.node(o.place[l]);
                        source.touch_row(o.at[l]);
                        n_moves += 1;
                    }
                    m.history.visit(&plan.target, l, o.at[l], o.degree[l], 0.0);
                }
                o.moved += n_moves;
                o.done += 1;
            }
            // In a loop of its own: a vector of nodes that have just been stored one by one cannot
            // be read at once.
            for m in members.iter_mut() {
                m.history.note(m.block);
                m.track.keep(m.block);
            }
        }
        for m in members.iter_mut() {
            for l in m.block.lanes() {
                (m.block.start[l], m.block.degree[l]) = source.row(m.block.at[l]);
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
