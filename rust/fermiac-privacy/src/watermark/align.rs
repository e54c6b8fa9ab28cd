//! The cost of the best alignment of a block of tokens with a block of key rows.

use super::table::{TILE, Table};
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch};
use std::ops::Range;

/// Vectors in a tile of the plain cost.
const WIDE: usize = TILE / LANES;
/// Tokens that one pass of the edit cost takes along, so that the row of costs is read and written
/// once for all of them.
const TOKENS: usize = 4;

/// The lowest cost, and the first token and key row that have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The cost.
    pub cost: f64,
    /// The first token of the block.
    pub token: usize,
    /// The key row that it is aligned with.
    pub row: usize,
}

impl Best {
    /// The start of a search: no alignment yet.
    pub const NONE: Self = Self { cost: f64::INFINITY, token: usize::MAX, row: usize::MAX };

    /// The better of two: the lower cost, then the earlier token, then the earlier row.
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let earlier = (other.token, other.row) < (self.token, self.row);
        if other.cost < self.cost || (other.cost == self.cost && earlier) { other } else { self }
    }
}

/// A text, whose tokens are rows of a table, with the cost of its alignment.
pub(super) struct Alignment<'a> {
    pub(super) ids: &'a [u32],
    pub(super) block: usize,
    /// Whether tokens and key rows may be left out. The table's costs are then less twice the cost
    /// of doing so.
    pub(super) edit: bool,
    pub(super) n: usize,
}

impl Alignment<'_> {
    fn n_starts(&self) -> usize {
        self.ids.len() + 1 - self.block
    }

    /// The parts into which the work can be cut.
    pub(super) fn n_units(&self) -> usize {
        if self.edit {
            self.n_starts() * self.n.div_ceil(LANES)
        } else {
            self.n_starts().div_ceil(self.block)
        }
    }

    /// About the number of costs that each part computes.
    pub(super) fn unit_size(&self) -> f64 {
        let block = self.block as f64;
        if self.edit {
            block * block * LANES as f64
        } else {
            (block + 2.0 * self.n_starts().min(self.block) as f64) * self.n as f64
        }
    }

    /// The best alignment in some of the parts.
    pub(super) fn best(&self, table: &Table, units: Range<usize>) -> Best {
        if self.edit {
            dispatch(Edit { text: self, table, units })
        } else {
            dispatch(Plain { text: self, table, groups: units })
        }
    }
}

#[inline(always)]
fn load(row: &[f64], at: usize) -> V {
    // A copy_from_slice is a call here, which costs more than all the rest.
    V(row[at..at + LANES].as_chunks().0[0])
}

#[inline(always)]
fn least(a: V, b: V) -> V {
    a.zip(b, |a, b| if a < b { a } else { b })
}

/// Sums along diagonals: lane `c` of the group that starts at token `g` holds the block of token
/// `i` and key row `c + i - g`, so that a step to the next token drops one cost and adds one.
///
/// A group is as long as a block and begins with a fresh sum, so errors are those of three sums.
struct Plain<'a> {
    text: &'a Alignment<'a>,
    table: &'a Table,
    groups: Range<usize>,
}

impl Kernel for Plain<'_> {
    type Output = Best;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Best {
        let Alignment { ids, block, n, .. } = *self.text;
        let next = |row: usize| if row + 1 == n { 0 } else { row + 1 };
        let mut best = Best::NONE;
        for group in self.groups {
            let first = group * block;
            let last = (first + block).min(self.text.n_starts());
            for c in (0..n).step_by(TILE) {
                let mut sums = [V::ZERO; WIDE];
                // The key rows of the costs that enter the sums, and of those that leave them.
                let (mut to, mut from) = (0, 0);
                for &id in &ids[first..first + block] {
                    let row = self.table.row(id);
                    for (w, sum) in sums.iter_mut().enumerate() {
                        *sum = *sum + load(row, to + c + w * LANES);
                    }
                    to = next(to);
                }
                let mut low = sums;
                let mut at = [V::ZERO; WIDE];
                for i in 1..last - first {
                    let (out, into) = (
                        self.table.row(ids[first + i - 1]),
                        self.table.row(ids[first + i + block - 1]),
                    );
                    for w in 0..WIDE {
                        let lane = c + w * LANES;
                        let s = sums[w] - load(out, from + lane) + load(into, to + lane);
                        sums[w] = s;
                        at[w] = s.below(low[w], V::splat(i as f64), at[w]);
                        low[w] = least(s, low[w]);
                    }
                    (from, to) = (next(from), next(to));
                }
                for k in 0..TILE {
                    let i = at[k / LANES].0[k % LANES] as usize;
                    let cost = low[k / LANES].0[k % LANES];
                    best = best.or(Best { cost, token: first + i, row: (c + k + i) % n });
                }
            }
        }
        best
    }
}

/// The edit cost, eight key rows to begin with at once.
///
/// Costs are held less what leaving out all tokens and key rows so far would have cost: to leave
/// one out is then free, and a match costs its distance less that of leaving out both.
struct Edit<'a> {
    text: &'a Alignment<'a>,
    table: &'a Table,
    units: Range<usize>,
}

impl Kernel for Edit<'_> {
    type Output = Best;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Best {
        let Alignment { ids, block, n, .. } = *self.text;
        let tiles = n.div_ceil(LANES);
        let mut best = Best::NONE;
        let mut above = vec![V::ZERO; block];
        for unit in self.units {
            let (token, c) = (unit / tiles, unit % tiles * LANES);
            above.fill(V::ZERO);
            let (fours, rest) = ids[token..token + block].as_chunks::<TOKENS>();
            for four in fours {
                take(four.map(|id| &self.table.row(id)[c..]), &mut above, n);
            }
            for &id in rest {
                take([&self.table.row(id)[c..]], &mut above, n);
            }
            let cost = above[block - 1];
            for lane in 0..LANES {
                best = best.or(Best { cost: cost.0[lane], token, row: (c + lane) % n });
            }
        }
        best
    }
}

/// Takes the next tokens along: `above` holds the costs up to each key row, without them and then
/// with them.
#[inline(always)]
fn take<const R: usize>(rows: [&[f64]; R], above: &mut [V], n: usize) {
    let mut left = [V::ZERO; R];
    let mut corner = V::ZERO;
    // The key repeats after n rows.
    for part in above.chunks_mut(n) {
        let rows = rows.map(|row| &row[..part.len() + LANES - 1]);
        for (b, cell) in part.iter_mut().enumerate() {
            let mut cost = *cell;
            let mut diagonal = std::mem::replace(&mut corner, cost);
            for r in 0..R {
                cost = least(least(cost, diagonal + load(rows[r], b)), left[r]);
                diagonal = std::mem::replace(&mut left[r], cost);
            }
            *cell = cost;
        }
    }
}
