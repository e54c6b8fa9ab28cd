//! Steps of blocks by code for the most frequent case alone.

use super::history::Count;
use super::neighbour_source::Arrays;
use super::packed_rows::unpacked;
use super::powers::PowerView;
use super::walker_block::{BLOCK, WALKERS, WalkerBlock, choose_of};
use fermiac_base::simd::prefetch;

/// Numbers of eight walkers.
pub(super) type Eight<T> = [T; WALKERS];

/// What eight walkers keep between the stages of a leap, in as few bytes as it takes.
#[derive(Debug, Default)]
pub(super) struct Leap {
    /// The nodes before the first step, and after each.
    trail: [Eight<u32>; BLOCK + 1],
    /// The packed rows of the nodes, and of the candidates.
    pub(super) row: Eight<u64>,
    pub(super) next: Eight<u64>,
    pub(super) place: Eight<u64>,
    pub(super) candidate: Eight<u32>,
    /// The words of a step that no choice has used.
    pub(super) rest: Eight<u64>,
    /// The weights of the nodes, and of the candidates.
    pub(super) old: Eight<f64>,
    pub(super) new: Eight<f64>,
}

impl Leap {
    /// Begins at the nodes of a block.
    #[inline(always)]
    pub(super) fn begin(&mut self, o: &WalkerBlock, source: Arrays<'_>) {
        self.trail[0] = o.at.map(|node| node as u32);
        for l in 0..WALKERS {
            self.row[l] = source.row_of(self.trail[0][l]);
        }
    }

    /// The nodes after some steps.
    #[inline(always)]
    pub(super) fn at(&self, step: usize) -> &Eight<u32> {
        &self.trail[step.min(BLOCK)]
    }

    /// The nodes after some steps, to be written.
    #[inline(always)]
    pub(super) fn at_mut(&mut self, step: usize) -> &mut Eight<u32> {
        &mut self.trail[step.min(BLOCK)]
    }

    /// The nodes after each of some steps.
    #[inline(always)]
    pub(super) fn steps(&self, n: usize) -> &[Eight<u32>] {
        &self.trail[1..=n]
    }

    /// Chooses and prefetches places.
    #[inline(always)]
    pub(super) fn choose(&mut self, words: &Eight<u64>, source: Arrays<'_>) {
        for l in 0..WALKERS {
            let (start, length) = unpacked(self.row[l]);
            let (slot, rest) = choose_of(words[l], length);
            (self.place[l], self.rest[l]) = (start + slot, rest);
            source.touch_node_at(start + slot);
        }
    }

    /// Reads the candidates, and prefetches their rows and counts.
    #[inline(always)]
    pub(super) fn fetch<T>(&mut self, source: Arrays<'_>, counts: &[T]) {
        let (n_nodes, place) = (source.n_nodes(), self.place);
        for l in 0..WALKERS {
            let to = source.node_at(place[l]);
            self.candidate[l] = to;
            source.touch_row_of(to);
            prefetch(counts, l * n_nodes + to as usize);
        }
    }

    /// Reads the weights of the candidates, NaN where the table has none.
    #[inline(always)]
    pub(super) fn weigh<T: Count>(
        &mut self,
        source: Arrays<'_>,
        table: PowerView<'_>,
        counts: &[T],
    ) {
        let n_nodes = source.n_nodes();
        for l in 0..WALKERS {
            let to = self.candidate[l];
            let (row, seen) = (source.row_of(to), counts[l * n_nodes + to as usize]);
            self.next[l] = row;
            self.new[l] = table.at(unpacked(row).1 as usize, seen.into());
        }
    }

    /// Makes a step of those who go.
    #[inline(always)]
    pub(super) fn go(&mut self, step: usize, goes: Eight<bool>) {
        *self.at_mut(step + 1) = pick(goes, self.candidate, *self.at(step));
        self.row = pick(goes, self.next, self.row);
    }

    /// Counts the visits of the first `n` walkers after a step, and reads the weights of their nodes.
    /// Returns whether a count is the largest of its type.
    #[inline(always)]
    pub(super) fn visit<T: Count>(
        &mut self,
        step: usize,
        n: usize,
        source: Arrays<'_>,
        table: PowerView<'_>,
        counts: &mut [T],
    ) -> bool {
        let (n_nodes, at, mut is_full) = (source.n_nodes(), *self.at(step + 1), false);
        for l in 0..n.min(WALKERS) {
            let count = &mut counts[l * n_nodes + at[l] as usize];
            *count += T::from(1);
            is_full |= *count == T::MAX;
            self.old[l] = table.at(unpacked(self.row[l]).1 as usize, (*count).into());
        }
        is_full
    }

    /// Moves a block to the nodes after some steps.
    #[inline(always)]
    pub(super) fn end(&mut self, o: &mut WalkerBlock, steps: usize) {
        o.at = self.at(steps).map(|node| node as usize);
        for l in 0..WALKERS {
            let (start, length) = unpacked(self.row[l]);
            (o.start[l], o.degree[l]) = (start as usize, length as usize);
        }
        o.done += steps as u64;
    }
}

/// The first number of those who go, and the second one of others.
#[inline(always)]
pub(super) fn pick<T: Copy>(goes: Eight<bool>, first: Eight<T>, second: Eight<T>) -> Eight<T> {
    let mut out = second;
    for l in 0..WALKERS {
        out[l] = if goes[l] { first[l] } else { second[l] };
    }
    out
}
