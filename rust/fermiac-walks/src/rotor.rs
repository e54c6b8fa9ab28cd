//! The rotor-router walk.

use super::graph::View;
use super::neighbour_source::NeighbourSource;
use super::walker_block::{Moves, NOWHERE, WALKERS, WalkerBlock, Words, choose};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::prefetch;

/// To the neighbours of each node in turn.
///
/// Reference: J. N. Cooper, J. Spencer (2006), "Simulating a random walk with constant error",
/// Combinatorics, Probability and Computing 15(6).
pub(super) struct Rotor {
    pub(super) n_nodes: usize,
}

/// The block of the streams that draws the first turns.
const TURNS: u32 = 1;

impl WalkerBlock {
    /// Draws the first turn at each node.
    pub(super) fn draw_turns(&mut self, view: &View<'_>, key: u64, index: u64) {
        let n_nodes = view.n_nodes();
        let mut stream = Stream::new(key, Domain::Walk, index, TURNS);
        self.turns = vec![0; n_nodes * WALKERS];
        let mut words = [0; WALKERS];
        for node in 0..n_nodes {
            let (_, degree) = view.row(node);
            stream.fill_u64(&mut words);
            for l in 0..WALKERS {
                self.turns[l * n_nodes + node] = choose(words[l], degree).0 as u32;
            }
        }
    }
}

impl Moves for Rotor {
    const VECTORS: bool = false;
    const WORDS: usize = 0;

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, _: &Words, source: &impl NeighbourSource) {
        for l in 0..o.n {
            o.place[l] = NOWHERE;
            if o.degree[l] > 0 {
                let turn = &mut o.turns[l * self.n_nodes + o.at[l]];
                o.place[l] = o.start[l] + *turn as usize;
                *turn = if *turn as usize + 1 == o.degree[l] { 0 } else { *turn + 1 };
                source.touch_place(o.place[l]);
            }
        }
    }

    #[inline(always)]
    fn touch(&self, o: &WalkerBlock, l: usize) {
        prefetch(&o.turns, l * self.n_nodes + o.candidate[l]);
    }
}
