//! Walkers that leave each node by its neighbours in turn.

use fermiac_base::Result;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::prefetch;

use super::graph::View;
use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, choose};
use super::places::Places;

/// To the neighbour whose turn it is at the node.
///
/// Reference: J. N. Cooper, J. Spencer (2006), "Simulating a random walk with constant error",
/// Combinatorics, Probability and Computing 15(6).
pub(super) struct Rotor {
    pub(super) n_nodes: usize,
}

/// The block of an octet's streams that first turns are drawn from.
const TURNS: u32 = 1;

impl Octet {
    /// Draws whose turn it is at each node.
    pub(super) fn draw_turns(&mut self, view: &View<'_>, key: u64, index: u64) {
        let n_nodes = view.n_nodes();
        let mut stream = Stream::new(key, Domain::Walk, index, TURNS);
        self.turns = vec![0; n_nodes * OCTET];
        let mut words = [0; OCTET];
        for node in 0..n_nodes {
            let (_, degree) = view.row(node);
            stream.fill_u64(&mut words);
            for l in 0..OCTET {
                self.turns[l * n_nodes + node] = choose(words[l], degree).0 as u32;
            }
        }
    }
}

impl Moves for Rotor {
    const VECTORS: bool = false;
    const WORDS: usize = 0;

    #[inline(always)]
    fn propose<P: Places, H: History>(&self, o: &mut Octet, _: &[[u64; OCTET]], places: &P, _: &H) {
        for l in 0..o.n {
            o.place[l] = NOWHERE;
            if o.degree[l] > 0 {
                let turn = &mut o.turns[l * self.n_nodes + o.at[l]];
                o.place[l] = o.start[l] + *turn as usize;
                *turn = if *turn as usize + 1 == o.degree[l] { 0 } else { *turn + 1 };
                places.touch_place(o.place[l]);
            }
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        for l in 0..o.n {
            o.candidate[l] = if o.place[l] == NOWHERE { o.at[l] } else { places.node(o.place[l]) };
            places.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
            prefetch(&o.turns, l * self.n_nodes + o.candidate[l]);
        }
        places.require(o.candidate[..o.n].iter().copied())
    }
}
