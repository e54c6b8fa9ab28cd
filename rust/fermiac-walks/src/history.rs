//! The visit counts of the walkers of a block.

use super::hashed::log_add;
use super::leap::Eight;
use super::neighbour_degrees::unpacked;
use super::neighbour_source::NeighbourSource;
use super::powers::PowerView;
use super::target::Target;
use super::visit_log::{VisitLog, steps_of_a_table};
use super::walker_block::{WALKERS, WalkerBlock};
use fermiac_base::simd::{LANES, Unsigned, V, Zeros, ln, prefetch};
use std::ops::AddAssign;

/// The counts of eight walkers, or those of all walkers.
pub(super) trait History: Send {
    /// Whether it is that of the block alone, and fast enough for a [`leap`](super::walker_block::Moves::leap).
    const IS_OWN: bool = false;
    /// Whether [`level`](Self::level) is a logarithm.
    #[inline(always)]
    fn is_log(&self) -> bool {
        false
    }
    /// Prefetches a count.
    fn touch(&self, lane: usize, node: usize);
    /// Prefetches the counts of some nodes.
    #[inline(always)]
    fn touch_each(&self, lane: usize, nodes: impl Iterator<Item = usize>) {
        nodes.for_each(|node| self.touch(lane, node));
    }
    /// ln of the mass of a node, if [`level`](Self::level) is a logarithm; NaN without visits.
    #[inline(always)]
    fn log_mass(&self, _lane: usize, _node: usize) -> f64 {
        f64::NAN
    }
    /// The ratio c / w, or its logarithm, of a node of this degree.
    #[inline(always)]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        if !self.is_log() {
            return target.ratio(node, degree, self.visits(lane, node));
        }
        let log = self.log_mass(lane, node);
        if log.is_nan() {
            ln(target.ratio(node, degree, 0.0))
        } else {
            log - target.log(node, degree)
        }
    }
    /// The visits of a node.
    fn visits(&self, lane: usize, node: usize) -> f64;
    /// The visits of a tile of nodes.
    #[inline(always)]
    fn gather(&self, lane: usize, nodes: &[usize; LANES]) -> V {
        V(nodes.map(|node| self.visits(lane, node)))
    }
    /// Whether the level of a node is that of its visits and of nothing else.
    #[inline(always)]
    fn has_counts(&self) -> bool {
        false
    }
    /// The visits of a node as a whole number.
    #[inline(always)]
    fn count(&self, lane: usize, node: usize) -> u64 {
        self.visits(lane, node) as u64
    }
    /// As [`PowerView::weigh`], with the visits of one walker.
    #[inline(always)]
    fn weigh<const SUMS: bool>(
        &self,
        lane: usize,
        words: &[u32],
        table: PowerView<'_>,
        to: &mut [f64],
    ) -> f64 {
        let mut sum = 0.0;
        for (to, word) in to.iter_mut().zip(words) {
            let (node, degree) = unpacked(*word);
            let weight = table.at(degree, self.count(lane, node));
            sum += weight;
            *to = if SUMS { sum } else { weight };
        }
        sum
    }
    /// Counts a visit, with the weight of the step.
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64);
    /// Notes where the walkers are after some steps, once all their visits are counted.
    #[inline(always)]
    fn note(&mut self, _: &[Eight<u32>]) {}
    /// The tables of a history that is that of the block alone, by lane.
    #[inline(always)]
    fn tables(&mut self) -> Option<Tables<'_>> {
        None
    }
    /// Widens the tables, once a count is the largest that they hold.
    fn widen(&mut self) {}
    /// Reads the neighbourhoods of the walkers before candidates are judged.
    #[inline(always)]
    fn survey<P: NeighbourSource>(&mut self, _: &Target, _: &WalkerBlock, _: &P) {}
    /// The number of walkers whose visits are counted together.
    #[inline(always)]
    fn walkers(&self) -> f64 {
        1.0
    }
}

/// No history: visits are not counted.
pub(super) struct NoHistory;

impl History for NoHistory {
    #[inline(always)]
    fn is_log(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, _: usize, _: usize) {}

    #[inline(always)]
    fn level(&self, _: &Target, _: usize, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visits(&self, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, _: usize, _: usize, _: usize, _: f64) {}
}

/// A table of visits for each walker.
///
/// Counts are bytes until one is full, and wider from then on: small tables stay in the cache,
/// where random reads cost a tenth of those from memory.
pub(super) struct Dense {
    counts: Counts,
    pub(super) n_nodes: usize,
    /// All visits once more, while that takes no more memory than the table: their sums over all
    /// walkers are then faster.
    pub(super) log: Option<VisitLog>,
}

/// Counts that are read at once.
const TILE: usize = 64;
/// Nodes whose counts are added up at once: few enough for the sums to stay in the nearest cache.
pub(super) const PART: usize = 4096;

/// Counts of one width.
enum Counts {
    Byte(Zeros<u8>),
    Short(Zeros<u16>),
    Long(Zeros<u32>),
}

/// A count.
pub(super) trait Count: Copy + AddAssign + PartialEq + From<u8> + Into<u64> {
    /// The largest.
    const MAX: Self;
}

impl Count for u8 {
    const MAX: Self = Self::MAX;
}

impl Count for u16 {
    const MAX: Self = Self::MAX;
}

impl Count for u32 {
    const MAX: Self = Self::MAX;
}

/// The counts of eight walkers, one after the other.
pub(super) enum Tables<'a> {
    Byte(&'a mut [u8]),
    Short(&'a mut [u16]),
    Long(&'a mut [u32]),
}

/// Counts as wider numbers.
fn widened<T: Copy + Into<W>, W: Unsigned>(counts: &[T]) -> Zeros<W> {
    let mut wider = Zeros::new(counts.len());
    wider.iter_mut().zip(counts).for_each(|(to, &count)| *to = count.into());
    wider
}

impl Dense {
    /// Tables of some blocks, in one piece of memory.
    pub(super) fn all(n_blocks: usize, n_nodes: usize) -> Vec<Self> {
        // Logs have nodes of 32 bits.
        let log = || u32::try_from(n_nodes).is_ok().then(VisitLog::default);
        let parts = Zeros::parts(n_blocks, n_nodes * WALKERS).into_iter();
        parts.map(|counts| Self { counts: Counts::Byte(counts), n_nodes, log: log() }).collect()
    }

    /// A table without a log.
    pub(super) fn unlogged(n_nodes: usize) -> Self {
        let counts = Zeros::new(n_nodes * WALKERS);
        Self { counts: Counts::Byte(counts), n_nodes, log: None }
    }

    /// Counts visits of one walker.
    pub(super) fn count_all(&mut self, lane: usize, nodes: impl Iterator<Item = u32>) {
        /// Counts until one is `full`; whether one is.
        fn until_full<T: Copy + AddAssign + PartialEq + From<u8>>(
            counts: &mut [T],
            nodes: &mut impl Iterator<Item = u32>,
            full: T,
        ) -> bool {
            nodes.any(|node| {
                let count = &mut counts[node as usize];
                *count += T::from(1);
                *count == full
            })
        }
        let own = lane * self.n_nodes..(lane + 1) * self.n_nodes;
        let mut left = nodes;
        while match &mut self.counts {
            Counts::Byte(counts) => until_full(&mut counts[own.clone()], &mut left, u8::MAX),
            Counts::Short(counts) => until_full(&mut counts[own.clone()], &mut left, u16::MAX),
            Counts::Long(counts) => until_full(&mut counts[own.clone()], &mut left, u32::MAX),
        } {
            self.widen();
        }
    }

    /// The counts of one walker.
    pub(super) fn of(&self, lane: usize) -> Vec<u32> {
        let all = lane * self.n_nodes..(lane + 1) * self.n_nodes;
        match &self.counts {
            Counts::Byte(counts) => counts[all].iter().map(|&count| count.into()).collect(),
            Counts::Short(counts) => counts[all].iter().map(|&count| count.into()).collect(),
            Counts::Long(counts) => counts[all].to_vec(),
        }
    }

    /// The number of visited nodes, each as often as walkers were there.
    pub(super) fn n_visited(&self) -> usize {
        fn count<T: Default + PartialEq>(counts: &[T]) -> usize {
            let tile = |tile: &[T]| -> u32 {
                tile.iter().map(|count| u32::from(*count != T::default())).sum()
            };
            counts.chunks(1 << 16).map(|part| tile(part) as usize).sum()
        }
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => count(counts))
    }

    /// Calls `keep(node, visits)` for the nodes that one walker has visited, in ascending order.
    pub(super) fn each(&self, lane: usize, mut keep: impl FnMut(usize, u32)) {
        fn scan<T: Copy + Default + PartialEq + Into<u32>>(
            counts: &[T],
            keep: &mut impl FnMut(usize, u32),
        ) {
            let mut seen = [0; TILE];
            for (t, tile) in counts.chunks(TILE).enumerate() {
                // No branch depends on a count, as no predictor knows which nodes were visited.
                let mut n = 0;
                for (k, &count) in tile.iter().enumerate() {
                    seen[n % TILE] = k;
                    n += usize::from(count != T::default());
                }
                for &k in &seen[..n] {
                    keep(t * TILE + k, tile[k].into());
                }
            }
        }
        let own = lane * self.n_nodes..(lane + 1) * self.n_nodes;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => scan(&counts[own], &mut keep));
    }

    /// Adds the counts of all walkers at the nodes from `first` on, at most [`PART`] of them.
    pub(super) fn add_to(&self, first: usize, sums: &mut [u64]) {
        /// Sums of eight counts fit in `S`.
        fn add<T: Copy + Into<S>, S: Copy + Default + AddAssign + Into<u64>>(
            counts: &[T],
            (first, n_nodes): (usize, usize),
            sums: &mut [u64],
        ) {
            let mut room = [S::default(); PART];
            let all = &mut room[..sums.len()];
            for row in counts.chunks_exact(n_nodes) {
                for (sum, &count) in all.iter_mut().zip(&row[first..]) {
                    *sum += count.into();
                }
            }
            for (sum, &more) in sums.iter_mut().zip(&*all) {
                *sum += more.into();
            }
        }
        let nodes = (first, self.n_nodes);
        match &self.counts {
            Counts::Byte(counts) => add::<_, u16>(counts, nodes, sums),
            Counts::Short(counts) => add::<_, u32>(counts, nodes, sums),
            Counts::Long(counts) => add::<_, u64>(counts, nodes, sums),
        }
    }

    /// Sets a count.
    pub(super) fn set(&mut self, lane: usize, node: usize, visits: u32) {
        self.log = None;
        let at = lane * self.n_nodes + node;
        loop {
            // As in counting: a width is too small once its largest count is reached.
            match &mut self.counts {
                Counts::Byte(counts) if visits < u8::MAX.into() => counts[at] = visits as u8,
                Counts::Short(counts) if visits < u16::MAX.into() => counts[at] = visits as u16,
                Counts::Long(counts) => counts[at] = visits,
                _ => {
                    self.widen();
                    continue;
                }
            }
            return;
        }
    }
}

impl History for Dense {
    const IS_OWN: bool = true;

    #[inline(always)]
    fn has_counts(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        let at = lane * self.n_nodes + node;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => prefetch(counts, at));
    }

    #[inline(always)]
    fn touch_each(&self, lane: usize, nodes: impl Iterator<Item = usize>) {
        let first = lane * self.n_nodes;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => {
            nodes.for_each(|node| prefetch(counts, first + node));
        });
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        let at = lane * self.n_nodes + node;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => counts[at].into())
    }

    #[inline(always)]
    fn gather(&self, lane: usize, nodes: &[usize; LANES]) -> V {
        let base = lane * self.n_nodes;
        let counts = &self.counts;
        V(each!(counts, Counts::{Byte, Short, Long}, all => {
            nodes.map(|node| all[base + node].into())
        }))
    }

    #[inline(always)]
    fn count(&self, lane: usize, node: usize) -> u64 {
        let at = lane * self.n_nodes + node;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => counts[at].into())
    }

    #[inline(always)]
    fn weigh<const SUMS: bool>(
        &self,
        lane: usize,
        words: &[u32],
        table: PowerView<'_>,
        to: &mut [f64],
    ) -> f64 {
        let own = lane * self.n_nodes..(lane + 1) * self.n_nodes;
        each!(&self.counts, Counts::{Byte, Short, Long}, counts => {
            table.weigh::<_, SUMS>(words, &counts[own], to)
        })
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, lane: usize, node: usize, _: usize, _: f64) {
        let at = lane * self.n_nodes + node;
        let full = match &mut self.counts {
            Counts::Byte(counts) => {
                counts[at] += 1;
                counts[at] == u8::MAX
            }
            Counts::Short(counts) => {
                counts[at] += 1;
                counts[at] == u16::MAX
            }
            Counts::Long(counts) => {
                counts[at] += 1;
                false
            }
        };
        if full {
            self.widen();
        }
    }

    #[inline(always)]
    fn tables(&mut self) -> Option<Tables<'_>> {
        Some(match &mut self.counts {
            Counts::Byte(counts) => Tables::Byte(counts),
            Counts::Short(counts) => Tables::Short(counts),
            Counts::Long(counts) => Tables::Long(counts),
        })
    }

    #[cold]
    fn widen(&mut self) {
        self.counts = match &mut self.counts {
            Counts::Byte(counts) => Counts::Short(widened(counts)),
            Counts::Short(counts) => Counts::Long(widened(counts)),
            // Runs of 2³² steps are refused.
            Counts::Long(_) => return,
        };
    }

    #[inline(always)]
    fn note(&mut self, steps: &[Eight<u32>]) {
        if let Some(log) = &mut self.log {
            log.extend(steps);
            if log.len() > steps_of_a_table(self.n_nodes) {
                self.log = None;
            }
        }
    }
}

/// Visits with weights that grow with the step (step exponents below 1), as logarithms of masses
/// relative to the rest of the first one; the masses themselves would overflow.
pub(super) struct Masses {
    pub(super) dense: Dense,
    /// ln of the masses; NaN for nodes that were not visited.
    pub(super) logs: Vec<f64>,
}

impl Masses {
    pub(super) fn new(n_nodes: usize) -> Self {
        Self { dense: Dense::unlogged(n_nodes), logs: vec![f64::NAN; n_nodes * WALKERS] }
    }
}

impl History for Masses {
    #[inline(always)]
    fn is_log(&self) -> bool {
        true
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        prefetch(&self.logs, lane * self.dense.n_nodes + node);
        self.dense.touch(lane, node);
    }

    #[inline(always)]
    fn log_mass(&self, lane: usize, node: usize) -> f64 {
        self.logs[lane * self.dense.n_nodes + node]
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        self.dense.visits(lane, node)
    }

    #[inline(always)]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        let log = &mut self.logs[lane * self.dense.n_nodes + node];
        if log.is_nan() {
            *log = ln(target.pseudo(node, degree));
        }
        *log = log_add(*log, weight);
        self.dense.visit(target, lane, node, degree, weight);
    }
}
