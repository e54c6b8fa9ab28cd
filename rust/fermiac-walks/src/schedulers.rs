//! The schedulers of walkers on threads, by the way in which histories are shared.

use super::dispatch::Scheduler;
use super::dyn_history::DynHistory;
use super::graph::View;
use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::plan::Plan;
use super::record::Record;
use super::shared::{Counting, Counts, Shared, SharedCounts, histories};
use super::walker_block::{Batch, Member, Moves, WalkerBlock};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, dispatch};
use std::time::{Duration, Instant};

/// About the time between two polls of signals.
const TURN: Duration = Duration::from_millis(5);

/// One call of [`Walkers::run`](super::Walkers::run).
pub(super) struct Call<'a, 'c> {
    pub(super) plan: &'a Plan,
    pub(super) until: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) context: &'a Context<'c>,
}

impl Call<'_, '_> {
    /// Whether the deadline has passed.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Runs blocks in batches, each on a thread.
    pub(super) fn batches<M: Moves, P: NeighbourSource + Sync, H: History>(
        &self,
        moves: &M,
        source: &P,
        blocks: &mut [WalkerBlock],
        histories: &mut [H],
        tracks: &mut [Record<'_>],
    ) -> Result<()> {
        let size = blocks.len().div_ceil(self.context.n_threads()).clamp(1, M::BATCH);
        let mut batches: Vec<Vec<Member<'_, '_, H>>> = Vec::new();
        for member in Member::each(blocks, histories, tracks) {
            let done = member.block.done;
            match batches.last_mut() {
                // After an interrupt some blocks are further.
                Some(batch) if batch.len() < size && batch[0].block.done == done => {
                    batch.push(member);
                }
                _ => batches.push(vec![member]),
            }
        }
        self.each(moves, source, batches)
    }

    /// Runs batches, each on a thread.
    pub(super) fn each<M: Moves, P: NeighbourSource + Sync, H: History>(
        &self,
        moves: &M,
        source: &P,
        batches: Vec<Vec<Member<'_, '_, H>>>,
    ) -> Result<()> {
        let (until, plan) = (self.until, self.plan);
        self.context.each(batches, self.deadline, |mut members, signal| {
            let walkers = members.iter().map(|m| m.block.n as u64).sum::<u64>();
            let mut turn = 1;
            while let Some(first) = members.first()
                && first.block.done < until
                && !signal.is_set()
            {
                let n_steps = until.min(first.block.done + turn) - first.block.done;
                let begun = Instant::now();
                run(Batch { moves, source, plan, members: &mut members, n_steps })?;
                signal.count(n_steps * walkers);
                turn = if begun.elapsed() < TURN { turn * 2 } else { (turn / 2).max(1) };
            }
            Ok(())
        })
    }
}

/// Runs the steps of a batch, compiled for this machine if that pays.
pub(super) fn run<M: Moves, P: NeighbourSource, H: History>(
    batch: Batch<'_, '_, '_, M, P, H>,
) -> Result<()> {
    if M::VECTORS { dispatch(batch) } else { batch.run::<false>() }
}

/// Blocks with histories of their own.
pub(super) struct Private<'a, 'c, 't, P, H> {
    pub(super) call: &'a Call<'a, 'c>,
    pub(super) source: &'a P,
    pub(super) blocks: &'a mut [WalkerBlock],
    pub(super) histories: &'a mut [H],
    pub(super) tracks: &'a mut [Record<'t>],
}

impl<P: NeighbourSource + Sync, H: History> Scheduler for Private<'_, '_, '_, P, H> {
    fn run<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { call, source, blocks, histories, tracks } = self;
        call.batches(moves, source, blocks, histories, tracks)
    }
}

/// Blocks that share the visits of all earlier steps, but not those of the current step; or visits
/// as they come, in no fixed order.
pub(super) struct Sharing<'a, 'c, 't> {
    pub(super) call: &'a Call<'a, 'c>,
    pub(super) view: &'a View<'a>,
    pub(super) blocks: &'a mut [WalkerBlock],
    pub(super) common: &'a SharedCounts,
    pub(super) counts: &'a mut Counts,
    pub(super) tracks: &'a mut [Record<'t>],
}

/// From so many blocks per thread, several threads pay off for every step.
const WORTHWHILE: usize = if cfg!(test) { 2 } else { 1024 };

impl Scheduler for Sharing<'_, '_, '_> {
    fn run<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { call, view, blocks, common, counts, tracks } = self;
        let n_threads = call.context.n_threads();
        if common.unordered {
            let when = if n_threads == 1 { Counting::Plain } else { Counting::Atomic };
            let mut histories = histories(common, counts, when, blocks.len());
            return call.batches(moves, view, blocks, &mut histories, tracks);
        }
        let n_threads = n_threads.min(blocks.len() / WORTHWHILE).max(1);
        let when = if n_threads == 1 { Counting::Plain } else { Counting::Deferred };
        let mut histories = histories(common, counts, when, blocks.len());
        let mut members: Vec<_> = Member::each(blocks, &mut histories, tracks).collect();
        if n_threads == 1 {
            return call.each(moves, view, vec![members]);
        }
        // Sums do not depend on the order; logarithms of sums do.
        let weighs = !common.logs.is_empty();
        let (n_counters, count) =
            if weighs { (1, Counting::Plain) } else { (n_threads, Counting::Atomic) };
        let size = members.len().div_ceil(n_threads);
        let counted = members.len().div_ceil(n_counters);
        while members.first().is_some_and(|first| first.block.done < call.until) && !call.is_late()
        {
            let step = members.first().map(|first| call.plan.step(first.block));
            let log_weight = step.map_or(0.0, |step| step.log_weight);
            // All blocks finish the step and are counted, even after a signal.
            let batches = members.chunks_mut(size).collect();
            let moved =
                call.context.each(batches, None, |members: &mut [Member<'_, '_, _>], signal| {
                    let walkers = members.iter().map(|m| m.block.n as u64).sum::<u64>();
                    run(Batch { moves, source: view, plan: call.plan, members, n_steps: 1 })?;
                    signal.count(walkers);
                    Ok(())
                });
            let count = |chunk: &mut [Member<'_, '_, DynHistory<'_>>]| {
                let mut history = Shared::new(common, None, count);
                for m in chunk {
                    let o = &*m.block;
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
