//! A history that all walkers share.

use std::sync::atomic::{AtomicU64, Ordering};

use fermiac_base::Result;
use fermiac_base::simd::{ln, prefetch};
use fermiac_base::store::Codec;

use super::choose::Driver;
use super::crews::{Call, step_together};
use super::graph::View;
use super::hashed::{Hashed, log_add};
use super::history::History;
use super::octet::{Member, Moves, Octet};
use super::rare::Rare;
use super::record::Track;
use super::target::Target;

/// The visits of all walkers together.
pub(super) struct Common {
    pub(super) visits: Vec<AtomicU64>,
    /// ln of masses, as bits; NaN where nobody was. Empty where all visits weigh the same.
    pub(super) logs: Vec<AtomicU64>,
    pub(super) n_walkers: usize,
}

impl Common {
    pub(super) fn new(n_nodes: usize, n_walkers: usize, weighs: bool) -> Self {
        let fill = |n: usize, value: u64| (0..n).map(|_| AtomicU64::new(value)).collect();
        let n_logs = if weighs { n_nodes } else { 0 };
        Self { visits: fill(n_nodes, 0), logs: fill(n_logs, f64::NAN.to_bits()), n_walkers }
    }

    pub(super) fn totals(&self) -> Vec<u64> {
        self.visits.iter().map(|visits| visits.load(Ordering::Relaxed)).collect()
    }

    /// Writes all to an codec, or reads it.
    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.visits.iter_mut().chain(&mut self.logs).try_for_each(|word| codec.word(word.get_mut()))
    }
}

/// The visits of each walker, where they are asked for: one for each octet, or nothing.
pub(super) type Counts = Option<Vec<Hashed>>;

pub(super) fn new_counts(n_octets: usize, counts: bool) -> Counts {
    counts.then(|| (0..n_octets).map(|_| Hashed::new()).collect())
}

/// What each octet sees, with its own counts.
fn histories<'a>(
    common: &'a Common,
    counts: &'a mut Counts,
    when: When,
    n_octets: usize,
) -> Vec<Rare<'a>> {
    let shared = |own| Rare::Shared(Shared::new(common, own, when));
    match counts {
        Some(counts) => counts.iter_mut().map(|own| shared(Some(own))).collect(),
        None => (0..n_octets).map(|_| shared(None)).collect(),
    }
}

/// When a visit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At once; nobody else counts.
    Now,
    /// At once, while others count too.
    Meanwhile,
    /// By somebody else.
    Later,
}

/// What one octet sees of the visits of all.
///
/// Nobody reads while somebody counts but under [`When::Meanwhile`], where any order will do.
pub(super) struct Shared<'a> {
    common: &'a Common,
    own: Option<&'a mut Hashed>,
    when: When,
    /// Whether visits weigh the more the later they are.
    weighs: bool,
    log_walkers: f64,
}

impl<'a> Shared<'a> {
    fn new(common: &'a Common, own: Option<&'a mut Hashed>, when: When) -> Self {
        let (weighs, n) = (!common.logs.is_empty(), common.n_walkers as f64);
        Self { common, own, when, weighs, log_walkers: ln(n) }
    }
}

impl History for Shared<'_> {
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
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        if !self.weighs {
            return target.ratio(node, degree, self.visits(lane, node));
        }
        let log = f64::from_bits(self.common.logs[node].load(Ordering::Relaxed));
        if log.is_nan() {
            ln(target.ratio(node, degree, 0.0))
        } else {
            log - target.log(node, degree)
        }
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
            When::Later => return,
            When::Now => visits.store(visits.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            When::Meanwhile => {
                visits.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.weighs {
            let cell = &self.common.logs[node];
            let mut log = f64::from_bits(cell.load(Ordering::Relaxed));
            if log.is_nan() {
                log = ln(target.pseudo(node, degree));
            }
            // A round of all walkers is one step of the measure.
            log = log_add(log, weight - self.log_walkers);
            cell.store(log.to_bits(), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn walkers(&self) -> f64 {
        self.common.n_walkers as f64
    }
}

/// Octets that all see the visits of the steps before, and none of the step that is made.
pub(super) struct Together<'a, 'c, 't> {
    pub(super) call: &'a Call<'a, 'c>,
    pub(super) view: &'a View<'a>,
    pub(super) octets: &'a mut [Octet],
    pub(super) common: &'a Common,
    pub(super) counts: &'a mut Counts,
    pub(super) tracks: &'a mut [Track<'t>],
}

/// Octets for each thread from which on it is worth to hand out every step.
const WORTHWHILE: usize = if cfg!(test) { 2 } else { 1024 };

impl Driver for Together<'_, '_, '_> {
    fn drive<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { call, view, octets, common, counts, tracks } = self;
        let n_threads = call.context.n_threads().min(octets.len() / WORTHWHILE).max(1);
        let when = if n_threads == 1 { When::Now } else { When::Later };
        let mut histories = histories(common, counts, when, octets.len());
        let mut members: Vec<_> = octets
            .iter_mut()
            .zip(&mut histories)
            .zip(tracks)
            .map(|((octet, history), track)| Member { octet, history, track, words: Vec::new() })
            .collect();
        if n_threads == 1 {
            return call.each(moves, view, vec![members]);
        }
        // Sums do not depend on the order, but logarithms of sums do.
        let weighs = !common.logs.is_empty();
        let (n_counters, count) =
            if weighs { (1, When::Now) } else { (n_threads, When::Meanwhile) };
        let size = members.len().div_ceil(n_threads);
        let counted = members.len().div_ceil(n_counters);
        while members.first().is_some_and(|first| first.octet.done < call.until) && !call.is_late()
        {
            let step = members.first().map(|first| call.plan.step(first.octet));
            let log_weight = step.map_or(0.0, |step| step.log_weight);
            // All go through with the step and are counted, whatever happens meanwhile.
            let moved = step_together(call, moves, view, members.chunks_mut(size).collect());
            let count = |chunk: &mut [Member<'_, '_, Rare<'_>>]| {
                let mut history = Shared::new(common, None, count);
                for m in chunk {
                    let o = &*m.octet;
                    for l in 0..o.n {
                        history.visit(&call.plan.target, l, o.at[l], o.degree[l], log_weight);
                    }
                }
            };
            let chunks = members.chunks_mut(counted).collect();
            moved.and(call.context.each(chunks, None, |chunk, _| {
                count(chunk);
                Ok(())
            }))?;
        }
        Ok(())
    }
}

/// Octets that see the visits of the others as they come.
pub(super) struct Meanwhile<'a, 'c, 't> {
    pub(super) call: &'a Call<'a, 'c>,
    pub(super) view: &'a View<'a>,
    pub(super) octets: &'a mut [Octet],
    pub(super) common: &'a Common,
    pub(super) counts: &'a mut Counts,
    pub(super) tracks: &'a mut [Track<'t>],
}

impl Driver for Meanwhile<'_, '_, '_> {
    fn drive<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { call, view, octets, common, counts, tracks } = self;
        let when = if call.context.n_threads() == 1 { When::Now } else { When::Meanwhile };
        let mut histories = histories(common, counts, when, octets.len());
        call.crews(moves, view, octets, &mut histories, tracks)
    }
}
