//! Positions and visits of walkers for results and checkpoints.

use super::hashed::{Hashed, HashedMasses, Open};
use super::history::{Dense, Masses, PART};
use super::neighbour_source::NeighbourSource;
use super::recent::Recent;
use super::visit_log::{VisitLog, steps_of_a_table};
use super::walker_block::{WALKERS, WalkerBlock};
use super::walkers::{Histories, Walkers};
use fermiac_base::rng::Stream;
use fermiac_base::simd::prefer_huge_pages;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::ops::Range;

/// The visited nodes of walkers, in rows: those of walker `i` are at
/// `starts[i]..starts[i + 1]`, in ascending order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows<I> {
    /// The starts of the rows, and the end.
    pub starts: Vec<i64>,
    /// The nodes.
    pub nodes: Vec<I>,
    /// The visits of each node.
    pub counts: Vec<u32>,
    /// ln of the mass of each node, if later visits weigh more; else empty.
    pub logs: Vec<f64>,
}

/// Borrowed [`Rows`].
#[derive(Debug, Clone, Copy)]
pub struct RowSlices<'a, I> {
    /// The starts of the rows, and the end.
    pub starts: &'a [i64],
    /// The nodes.
    pub nodes: &'a [I],
    /// The visits of each node.
    pub counts: &'a [u32],
    /// ln of the mass of each node, or empty.
    pub logs: &'a [f64],
}

/// A history that can be saved and restored.
pub(super) trait Visited {
    /// Whether visits have masses.
    const WEIGHTED: bool = false;

    /// Calls `keep(node, visits, ln of the mass)` for each node that a walker has visited, in
    /// ascending order; the mass is NaN where there are none.
    fn visited(&self, lane: usize, keep: impl FnMut(usize, u32, f64));

    /// The number of calls of `keep` for all walkers, or 0 if counting takes as long.
    fn n_visited(&self) -> usize {
        0
    }

    /// Adds the visits of all walkers, but for those in the table.
    fn add_to(&self, sums: &mut [u64]) {
        for lane in 0..WALKERS {
            self.visited(lane, |node, visits, _| sums[node] += u64::from(visits));
        }
    }

    /// The table of visits, if there is one.
    fn table(&self) -> Option<&Dense> {
        None
    }

    /// The log of all visits from the first step on, if there is one.
    fn log(&self) -> Option<&VisitLog> {
        None
    }

    /// Restores a node in an empty history.
    fn restore(&mut self, lane: usize, node: usize, visits: u32, log: f64);
    /// Removes all visits.
    fn clear(&mut self);
}

/// A log of fewer steps than one for so many nodes is sorted sooner than a table is read.
const FEW: usize = 8;

impl Dense {
    /// The log, if it is short against the table.
    fn short_log(&self) -> Option<&VisitLog> {
        self.log.as_ref().filter(|log| log.len() * FEW < self.n_nodes)
    }
}

impl Visited for Dense {
    fn n_visited(&self) -> usize {
        // At most.
        self.short_log().map_or_else(|| Self::n_visited(self), |log| log.len() * WALKERS)
    }

    fn add_to(&self, _: &mut [u64]) {}

    fn table(&self) -> Option<&Dense> {
        Some(self)
    }

    fn log(&self) -> Option<&VisitLog> {
        self.log.as_ref()
    }

    fn visited(&self, lane: usize, mut keep: impl FnMut(usize, u32, f64)) {
        if let Some(log) = self.short_log() {
            let runs = log.runs(lane, usize::MAX, self.n_nodes);
            runs.into_iter().for_each(|(node, visits)| keep(node as usize, visits, f64::NAN));
            return;
        }
        self.each(lane, |node, visits| keep(node, visits, f64::NAN));
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, _: f64) {
        self.set(lane, node, visits);
    }

    fn clear(&mut self) {
        let log = self.log.take().map(|_| VisitLog::default());
        *self = Self::unlogged(self.n_nodes);
        self.log = log;
    }
}

impl Visited for Masses {
    const WEIGHTED: bool = true;

    fn add_to(&self, _: &mut [u64]) {}

    fn table(&self) -> Option<&Dense> {
        Some(&self.dense)
    }

    fn visited(&self, lane: usize, mut keep: impl FnMut(usize, u32, f64)) {
        let logs = &self.logs[lane * self.dense.n_nodes..];
        self.dense.visited(lane, |node, visits, _| keep(node, visits, logs[node]));
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, log: f64) {
        self.dense.set(lane, node, visits);
        self.logs[lane * self.dense.n_nodes + node] = log;
    }

    fn clear(&mut self) {
        self.dense.clear();
        self.logs.fill(f64::NAN);
    }
}

impl Visited for Hashed {
    fn visited(&self, lane: usize, mut keep: impl FnMut(usize, u32, f64)) {
        self.tables[lane].each(|node, visits, ()| keep(node, visits, f64::NAN));
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, _: f64) {
        self.tables[lane].put(node, visits, ());
    }

    fn clear(&mut self) {
        self.tables.fill(Open::new());
    }
}

impl Visited for Recent {
    fn visited(&self, lane: usize, mut keep: impl FnMut(usize, u32, f64)) {
        if let Some(counts) = &self.counts {
            counts[lane].each(|node, visits, ()| keep(node, visits, f64::NAN));
        }
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, _: f64) {
        if let Some(counts) = &mut self.counts {
            counts[lane].put(node, visits, ());
        }
    }

    fn clear(&mut self) {
        if let Some(counts) = &mut self.counts {
            counts.fill(Open::new());
        }
    }
}

impl Visited for HashedMasses {
    const WEIGHTED: bool = true;

    fn visited(&self, lane: usize, keep: impl FnMut(usize, u32, f64)) {
        self.tables[lane].each(keep);
    }

    fn restore(&mut self, lane: usize, node: usize, visits: u32, log: f64) {
        self.tables[lane].put(node, visits, log);
    }

    fn clear(&mut self) {
        self.tables.fill(Open::new());
    }
}

impl WalkerBlock {
    /// Writes positions, steps and the stream to a codec, or reads them.
    pub(super) fn persist(
        &mut self,
        codec: &mut Codec,
        n_nodes: usize,
        source: &impl NeighbourSource,
    ) -> Result<()> {
        for l in 0..self.n {
            codec.index(&mut self.at[l], n_nodes)?;
            // `NOWHERE` is the largest number, and becomes 0.
            let mut before = self.before[l].wrapping_add(1);
            codec.index(&mut before, n_nodes + 1)?;
            self.before[l] = before.wrapping_sub(1);
            codec.index(&mut self.home[l], n_nodes)?;
        }
        for turns in self.turns.chunks_mut(n_nodes) {
            for (node, turn) in turns.iter_mut().enumerate() {
                let mut at = *turn as usize;
                codec.index(&mut at, source.row(node).1)?;
                *turn = at as u32;
            }
        }
        codec.word(&mut self.done)?;
        codec.word(&mut self.moved)?;
        codec.number(&mut self.log_scale)?;
        let mut position = self.stream.position();
        position.iter_mut().try_for_each(|word| codec.word(word))?;
        if codec.is_reading() {
            self.stream = Stream::from_position(&position)?;
            self.arrive(source)?;
        }
        Ok(())
    }
}

/// The same expression for histories of the blocks that count visits; then other arms.
macro_rules! visited {
    ($histories:expr, $all:ident => $call:expr; $($rest:tt)+) => {
        match $histories {
            Histories::Recent($all) if $all.iter().all(|recent| recent.counts.is_some()) => $call,
            Histories::Logged($all) => $call,
            Histories::Dense($all) => $call,
            Histories::Masses($all) => $call,
            Histories::Hashed($all) => $call,
            Histories::HashedMasses($all) => $call,
            $($rest)+
        }
    };
}

impl Walkers {
    /// Writes positions to a codec, or reads them; visits are saved by
    /// [`rows`](Self::rows).
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let Self { graph, blocks, histories, .. } = self;
        let (view, n_nodes) = (graph.view(), graph.n_nodes());
        blocks.iter_mut().try_for_each(|block| block.persist(codec, n_nodes, &view))?;
        match histories {
            Histories::Recent(all) => {
                all.iter_mut().try_for_each(|recent| recent.persist(codec, n_nodes))?;
            }
            Histories::Shared(common, _) => common.persist(codec)?,
            _ => {}
        }
        codec.finish()
    }

    /// The visits of walkers, if counted; also `None` if `I` is too small for nodes.
    pub fn rows<I: TryFrom<usize>>(&self) -> Option<Rows<I>> {
        let n = self.n_walkers();
        visited!(&self.histories, all => rows_of(all, n);
            Histories::Shared(_, counts) => rows_of(counts.as_ref()?, n),
            _ => None)
    }

    /// The visits of all walkers to each node, if counted.
    pub fn totals(&self) -> Option<Vec<u64>> {
        let n = self.graph.n_nodes();
        let steps = 0..usize::MAX;
        visited!(&self.histories, all => Some(sum_of(all, self.totals_of_logs(all, &steps), n));
            Histories::Shared(common, _) => Some(common.totals()),
            _ => None)
    }

    /// The visits of all walkers to each node after the first `from` steps and up to step `until`, if
    /// the core knows them.
    pub fn totals_between(&self, from: u64, until: u64) -> Option<Vec<u64>> {
        let steps = from as usize..until as usize;
        visited!(&self.histories, all => self.totals_of_logs(all, &steps); _ => None)
    }

    /// As [`rows`](Self::rows), in the first `until` steps; `None` if the core does not know them.
    pub fn rows_at<I: TryFrom<usize>>(&self, until: u64) -> Option<Rows<I>> {
        visited!(&self.histories, all => self.rows_of_logs(all, until as usize); _ => None)
    }

    /// The step up to which [`totals_between`](Self::totals_between) and [`rows_at`](Self::rows_at)
    /// know the visits of all earlier steps.
    pub fn logged_until(&self) -> u64 {
        fn all_have<H: Visited>(all: &[H]) -> bool {
            all.iter().all(|history| history.log().is_some())
        }
        let has_logs = visited!(&self.histories, all => all_have(all); _ => false);
        if has_logs { steps_of_a_table(self.graph.n_nodes()) as u64 } else { 0 }
    }

    /// The logs of all steps, one for each block; `None` without these.
    fn logs<'a, H: Visited>(&self, all: &'a [H]) -> Option<Vec<&'a VisitLog>> {
        let whole = |(history, block): (&'a H, &WalkerBlock)| {
            history.log().filter(|log| log.len() as u64 == block.done)
        };
        all.iter().zip(&self.blocks).map(whole).collect()
    }

    /// The visits of all walkers in some steps, from logs.
    fn totals_of_logs<H: Visited>(&self, all: &[H], steps: &Range<usize>) -> Option<Vec<u64>> {
        let (logs, n_nodes) = (self.logs(all)?, self.graph.n_nodes());
        let each = || logs.iter().zip(&self.blocks);
        let n_visits = each().map(|(log, block)| log.n_visits(steps, block.n)).sum::<usize>();
        if u32::try_from(n_visits).is_err() {
            let mut sums = zeros(n_nodes);
            each().for_each(|(log, block)| log.add_to(steps, block.n, &mut sums));
            return Some(sums);
        }
        // Half as much memory, which the cache holds.
        let mut sums: Vec<u32> = zeros(n_nodes);
        each().for_each(|(log, block)| log.add_to(steps, block.n, &mut sums));
        Some(sums.into_iter().map(u64::from).collect())
    }

    /// The visits of each walker in its first steps, from logs.
    fn rows_of_logs<I: TryFrom<usize>, H: Visited>(
        &self,
        all: &[H],
        until: usize,
    ) -> Option<Rows<I>> {
        let (logs, n_nodes) = (self.logs(all)?, self.graph.n_nodes());
        let mut rows =
            Rows { starts: vec![0], nodes: Vec::new(), counts: Vec::new(), logs: Vec::new() };
        for walker in 0..self.n_walkers() {
            let log = logs.get(walker / WALKERS)?;
            for (node, visits) in log.runs(walker % WALKERS, until, n_nodes) {
                rows.nodes.push(I::try_from(node as usize).ok()?);
                rows.counts.push(visits);
            }
            rows.starts.push(rows.counts.len() as i64);
        }
        Some(rows)
    }

    /// Replaces the visits by those of [`rows`](Self::rows).
    pub fn remember<I: Copy + TryInto<usize>>(&mut self, rows: RowSlices<'_, I>) -> Result<()> {
        let (n_walkers, n_nodes) = (self.n_walkers(), self.graph.n_nodes());
        visited!(&mut self.histories, all => restore(all, rows, n_walkers, n_nodes);
            Histories::Shared(_, Some(all)) => restore(all, rows, n_walkers, n_nodes),
            _ => Ok(()))
    }
}

/// Sums of visits, before any.
fn zeros<T: Copy + From<u8>>(n_nodes: usize) -> Vec<T> {
    let sums = vec![T::from(0); n_nodes];
    prefer_huge_pages(&sums);
    sums
}

fn sum_of<H: Visited>(all: &[H], logged: Option<Vec<u64>>, n_nodes: usize) -> Vec<u64> {
    if let Some(sums) = logged {
        return sums;
    }
    let mut sums = zeros(n_nodes);
    all.iter().for_each(|history| history.add_to(&mut sums));
    // Part by part, so that the sums are read and written once, and not once for every block.
    let tables: Vec<&Dense> = all.iter().filter_map(Visited::table).collect();
    for (part, some) in sums.chunks_mut(PART).enumerate() {
        tables.iter().for_each(|table| table.add_to(part * PART, some));
    }
    sums
}

/// The visits in histories; `None` if `I` is too small for nodes.
pub(super) fn rows_of<I: TryFrom<usize>, H: Visited>(
    all: &[H],
    n_walkers: usize,
) -> Option<Rows<I>> {
    let mut rows =
        Rows { starts: vec![0], nodes: Vec::new(), counts: Vec::new(), logs: Vec::new() };
    let mut fits = true;
    let n = all.iter().map(Visited::n_visited).sum();
    rows.nodes.reserve_exact(n);
    rows.counts.reserve_exact(n);
    for walker in 0..n_walkers {
        all.get(walker / WALKERS)?.visited(walker % WALKERS, |node, visits, log| {
            match I::try_from(node) {
                Ok(node) => rows.nodes.push(node),
                Err(_) => fits = false,
            }
            rows.counts.push(visits);
            if H::WEIGHTED {
                rows.logs.push(log);
            }
        });
        rows.starts.push(rows.counts.len() as i64);
    }
    fits.then_some(rows)
}

/// Writes visits to a codec, or reads them.
pub(super) fn persist_rows<H: Visited>(
    all: &mut [H],
    codec: &mut Codec,
    n_walkers: usize,
    n_nodes: usize,
) -> Result<()> {
    let rows = rows_of::<u64, H>(all, n_walkers).ok_or_else(unfit)?;
    let mut starts: Vec<u64> = rows.starts.iter().map(|start| *start as u64).collect();
    let mut nodes = rows.nodes;
    let mut counts: Vec<u64> = rows.counts.into_iter().map(u64::from).collect();
    codec.words(&mut starts)?;
    codec.words(&mut nodes)?;
    codec.words(&mut counts)?;
    if !codec.is_reading() {
        return Ok(());
    }
    let starts: Vec<i64> = starts.into_iter().map(|start| start as i64).collect();
    let counts: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
    let rows = RowSlices { starts: &starts, nodes: &nodes, counts: &counts, logs: &[] };
    restore(all, rows, n_walkers, n_nodes)
}

fn restore<I: Copy + TryInto<usize>, H: Visited>(
    all: &mut [H],
    rows: RowSlices<'_, I>,
    n_walkers: usize,
    n_nodes: usize,
) -> Result<()> {
    let RowSlices { starts, nodes, counts, logs } = rows;
    let weighed = !H::WEIGHTED || logs.len() == counts.len();
    if starts.len() != n_walkers + 1 || nodes.len() != counts.len() || !weighed {
        return Err(unfit());
    }
    all.iter_mut().for_each(H::clear);
    for (walker, ends) in starts.windows(2).enumerate() {
        let history = all.get_mut(walker / WALKERS).ok_or_else(unfit)?;
        for at in ends[0]..ends[1] {
            let at = at as usize;
            let (node, visits) = nodes.get(at).zip(counts.get(at)).ok_or_else(unfit)?;
            let node = (*node).try_into().ok().filter(|node| *node < n_nodes).ok_or_else(unfit)?;
            let log = logs.get(at).copied().unwrap_or(f64::NAN);
            history.restore(walker % WALKERS, node, *visits, log);
        }
    }
    Ok(())
}

fn unfit() -> Error {
    Error::argument("state", "its visits are not those of these walkers on this graph")
}
