//! Chains that choose a neighbour and go there.

use fermiac_base::Result;

use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, choose, unit};
use super::places::Places;

/// To a neighbour, each as likely.
pub(super) struct Simple {
    /// The probability to stay.
    pub(super) laziness: f64,
    /// Places are chosen among so many, and beyond the row the walker stays; 0 for the row alone.
    pub(super) among: usize,
}

impl Moves for Simple {
    const CREW: usize = 8;
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
            let among = if self.among == 0 { o.degree[l] } else { self.among };
            let (slot, rest) = choose(words[0][l], among);
            let stays = slot >= o.degree[l] || (self.laziness > 0.0 && unit(rest) < self.laziness);
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            places.touch_place(o.place[l]);
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        for l in 0..o.n {
            o.candidate[l] = if o.place[l] == NOWHERE { o.at[l] } else { places.node(o.place[l]) };
            places.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        places.require(o.candidate[..o.n].iter().copied())
    }
}
