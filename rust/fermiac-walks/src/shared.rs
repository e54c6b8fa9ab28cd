//! A history that all walkers share.

use super::dyn_history::DynHistory;
use super::hashed::{Hashed, log_add};
use super::history::History;
use super::target::Target;
use fermiac_base::Result;
use fermiac_base::simd::{ln, prefetch};
use fermiac_base::store::Codec;
use std::sync::atomic::{AtomicU64, Ordering};

/// The visits of all walkers together.
pub(super) struct SharedCounts {
    pub(super) visits: Vec<AtomicU64>,
    /// ln of masses, as bits; NaN for nodes without visits. Empty if all visits weigh the same.
    pub(super) logs: Vec<AtomicU64>,
    pub(super) n_walkers: usize,
    /// Whether visits count as they come, in no fixed order, and not after each step.
    pub(super) unordered: bool,
}

impl SharedCounts {
    pub(super) fn new(n_nodes: usize, n_walkers: usize, weighs: bool, unordered: bool) -> Self {
        let fill = |n: usize, value: u64| (0..n).map(|_| AtomicU64::new(value)).collect();
        let n_logs = if weighs { n_nodes } else { 0 };
        let logs = fill(n_logs, f64::NAN.to_bits());
        Self { visits: fill(n_nodes, 0), logs, n_walkers, unordered }
    }

    pub(super) fn totals(&self) -> Vec<u64> {
        self.visits.iter().map(|visits| visits.load(Ordering::Relaxed)).collect()
    }

    /// Writes the state to a codec, or reads it.
    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.visits.iter_mut().chain(&mut self.logs).try_for_each(|word| codec.word(word.get_mut()))
    }
}

/// The visits of each walker, one table per block, if wanted.
pub(super) type Counts = Option<Vec<Hashed>>;

pub(super) fn new_counts(n_blocks: usize, counts: bool) -> Counts {
    counts.then(|| (0..n_blocks).map(|_| Hashed::new()).collect())
}

/// The shared history of each block, with its own counts.
pub(super) fn histories<'a>(
    common: &'a SharedCounts,
    counts: &'a mut Counts,
    when: Counting,
    n_blocks: usize,
) -> Vec<DynHistory<'a>> {
    let shared = |own| DynHistory::Shared(Shared::new(common, own, when));
    match counts {
        Some(counts) => counts.iter_mut().map(|own| shared(Some(own))).collect(),
        None => (0..n_blocks).map(|_| shared(None)).collect(),
    }
}

/// The way in which a visit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// At once, by one thread.
    Plain,
    /// At once, by several threads.
    Atomic,
    /// After the step, by the scheduler.
    Deferred,
}

/// The visits of all walkers, as one block uses them.
///
/// Only [`Counting::Atomic`] reads and counts at the same time; any order is allowed there.
pub(super) struct Shared<'a> {
    common: &'a SharedCounts,
    own: Option<&'a mut Hashed>,
    when: Counting,
    /// Whether later visits weigh more.
    weighs: bool,
    log_walkers: f64,
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        common: &'a SharedCounts,
        own: Option<&'a mut Hashed>,
        when: Counting,
    ) -> Self {
        let (weighs, n) = (!common.logs.is_empty(), common.n_walkers as f64);
        Self { common, own, when, weighs, log_walkers: ln(n) }
    }
}

impl History for Shared<'_> {
    #[inline(always)]
    fn has_counts(&self) -> bool {
        !self.weighs
    }

    #[inline(always)]
    fn is_log(&self) -> bool {
        self.weighs
    }

    #[inline(always)]
    fn touch(&self, _: usize, node: usize) {
        if self.weighs {
            prefetch(&self.common.logs, node);
        } else {
            prefetch(&self.common.visits, node);
        }
    }

    #[inline(always)]
    fn log_mass(&self, _: usize, node: usize) -> f64 {
        f64::from_bits(self.common.logs[node].load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn visits(&self, _: usize, node: usize) -> f64 {
        self.common.visits[node].load(Ordering::Relaxed) as f64
    }

    #[inline(always)]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        if let Some(own) = &mut self.own {
            own.visit(target, lane, node, degree, weight);
        }
        let visits = &self.common.visits[node];
        match self.when {
            Counting::Deferred => return,
            Counting::Plain => visits.store(visits.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            Counting::Atomic => {
                visits.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.weighs {
            let cell = &self.common.logs[node];
            let mut log = f64::from_bits(cell.load(Ordering::Relaxed));
            if log.is_nan() {
                log = ln(target.pseudo(node, degree));
            }
            // One round of all walkers is one step of the measure.
            log = log_add(log, weight - self.log_walkers);
            cell.store(log.to_bits(), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn walkers(&self) -> f64 {
        self.common.n_walkers as f64
    }
}
