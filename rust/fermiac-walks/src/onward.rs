//! The walk that does not turn back where it need not.

use fermiac_base::Result;

use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, choose, unit};
use super::places::Places;

/// To a neighbour other than the node before, each as likely, or back where there is no other.
///
/// Reference: C.-H. Lee, X. Xu, D. Y. Eun (2012), "Beyond random walk and Metropolis-Hastings
/// samplers: why you should not backtrack for unbiased graph sampling", SIGMETRICS.
pub(super) struct Onward {
    /// The probability to stay.
    pub(super) laziness: f64,
}

impl Moves for Onward {
    const VECTORS: bool = false;
    const WORDS: usize = 2;

    #[inline(always)]
    fn propose<P: Places, H: History>(
        &self,
        o: &mut Octet,
        words: &[[u64; OCTET]],
        places: &P,
        _: &H,
    ) {
        for l in 0..o.n {
            let (slot, rest) = choose(words[0][l], o.degree[l]);
            let stays = slot >= o.degree[l] || (self.laziness > 0.0 && unit(rest) < self.laziness);
            o.place[l] = if stays { NOWHERE } else { o.start[l] + slot };
            places.touch_place(o.place[l]);
            // The slot after this one, by so many, should this one lead back: each as likely.
            o.candidate[l] = choose(words[1][l], o.degree[l].saturating_sub(1)).0 + 1;
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        for l in 0..o.n {
            let (place, by) = (o.place[l], o.candidate[l]);
            o.candidate[l] = o.at[l];
            if place != NOWHERE {
                let mut node = places.node(place);
                if node == o.before[l] && o.degree[l] > 1 {
                    let (start, degree) = (o.start[l], o.degree[l]);
                    let slot = place - start + by;
                    node = places.node(start + if slot < degree { slot } else { slot - degree });
                }
                o.candidate[l] = node;
            }
            places.touch_row(o.candidate[l]);
            history.touch(l, o.candidate[l]);
        }
        places.require(o.candidate[..o.n].iter().copied())
    }
}
