//! Walkers that go where they have never been.

use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, choose};
use super::places::Places;
use super::plan::Step;
use crate::Result;

/// To a neighbour that the walker has not visited, each as likely; it stays where there is none.
pub(super) struct Fresh;

/// Neighbours of a hub that are asked for ahead.
const AHEAD: usize = 128;
/// Places on a cache line, at least.
const LINE: usize = 8;

/// The places of a row where the walker has not been, its start among those where it has.
#[inline(always)]
fn free<'a, P: Places, H: History>(
    o: &'a Octet,
    l: usize,
    places: &'a P,
    history: &'a H,
) -> impl Iterator<Item = usize> + 'a {
    (o.start[l]..o.start[l] + o.degree[l]).filter(move |place| {
        let node = places.node(*place);
        node != o.home[l] && history.visits(l, node) == 0.0
    })
}

impl Moves for Fresh {
    const WORDS: usize = 1;
    const TWICE: bool = true;

    #[inline(always)]
    fn propose<P: Places, H: History>(&self, o: &mut Octet, _: &[[u64; OCTET]], places: &P, _: &H) {
        for l in 0..o.n {
            for k in (0..o.degree[l].min(AHEAD)).step_by(LINE) {
                places.touch_place(o.start[l] + k);
            }
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        for l in 0..o.n {
            for place in o.start[l]..o.start[l] + o.degree[l].min(AHEAD) {
                history.touch(l, places.node(place));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decide<const FMA: bool, P: Places, H: History>(
        &self,
        o: &mut Octet,
        words: &[[u64; OCTET]],
        places: &P,
        history: &H,
        _: &Step,
    ) {
        for l in 0..o.n {
            let n_free = free(o, l, places, history).count();
            let chosen = choose(words[0][l], n_free).0;
            let place = free(o, l, places, history).nth(chosen);
            o.candidate[l] = place.map_or(NOWHERE, |place| places.node(place));
            if o.candidate[l] != NOWHERE {
                places.touch_row(o.candidate[l]);
            }
        }
    }

    #[inline(always)]
    fn look_again<P: Places, H: History>(&self, o: &mut Octet, places: &P, _: &H) -> Result<()> {
        places.require(o.candidate[..o.n].iter().copied().filter(|node| *node != NOWHERE))
    }

    #[inline(always)]
    fn decide_again<const FMA: bool, P: Places, H: History>(
        &self,
        o: &mut Octet,
        _: &[[u64; OCTET]],
        places: &P,
        _: &H,
        _: &Step,
    ) {
        for l in 0..o.n {
            if o.candidate[l] != NOWHERE {
                o.go(l, o.candidate[l], places.row(o.candidate[l]));
            }
        }
    }
}
