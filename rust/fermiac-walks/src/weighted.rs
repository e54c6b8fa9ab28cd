//! Chains that choose a neighbour by the weight of the edge.

use fermiac_base::Result;

use super::alias::{AliasRows, TWO_32};
use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, choose, unit};
use super::places::Places;

/// To a neighbour, by the weights of the edges.
pub(super) struct Weighted<'a> {
    pub(super) rows: &'a AliasRows,
    /// The probability to stay.
    pub(super) laziness: f64,
}

impl Moves for Weighted<'_> {
    const CREW: usize = 8;
    const VECTORS: bool = false;
    const WORDS: usize = 1;

    #[inline(always)]
    fn propose<P: Places, H: History>(
        &self,
        o: &mut Octet,
        words: &[[u64; OCTET]],
        places: &P,
        _: &H,
    ) {
        for l in 0..OCTET {
            let (slot, rest) = choose(words[0][l], o.degree[l]);
            let u = unit(rest);
            let stays = slot >= o.degree[l] || u < self.laziness;
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            // What is left of the uniform is one again.
            o.rest[l] =
                if self.laziness > 0.0 { (u - self.laziness) / (1.0 - self.laziness) } else { u };
            self.rows.touch(o.place[l]);
            places.touch_place(o.place[l]);
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        for l in 0..o.n {
            o.candidate[l] = o.at[l];
            if o.place[l] != NOWHERE {
                let cell = self.rows.at(o.place[l]);
                let own = o.rest[l] * TWO_32 < f64::from(cell.threshold);
                let place = if own { o.place[l] } else { o.start[l] + cell.other as usize };
                o.candidate[l] = places.node(place);
            }
            places.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        places.require(o.candidate[..o.n].iter().copied())
    }
}
