//! Free run: each chain on a worker, every request answered on the spot.

use super::chain::Chain;
use super::oracle::Oracle;
use super::record::Track;
use fermiac_base::Result;
use fermiac_base::par::Context;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time that a worker stays with a chain while others wait, and the requests that it answers
/// between two readings of the clock.
const TURN: Duration = Duration::from_millis(10);
const ANSWERS: u32 = 16;

/// A chain that waits for a worker. The one with the fewest transitions comes first.
struct Waiting<'a, 'b> {
    chain: &'a mut Chain,
    track: &'a mut Track<'b>,
}

impl Waiting<'_, '_> {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.chain.done, self.chain.index))
    }
}

impl Ord for Waiting<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Waiting<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting<'_, '_> {}

/// Runs every chain to `goal` transitions, or until the deadline. Chains take turns, so that all
/// have made about the same number of transitions whenever a run ends.
pub(super) fn free_run(
    chains: &mut [Chain],
    tracks: &mut [Track<'_>],
    oracles: &[Oracle],
    goal: u64,
    deadline: Option<Instant>,
    context: &Context<'_>,
) -> Result<()> {
    let queue: BinaryHeap<Waiting<'_, '_>> = chains
        .iter_mut()
        .zip(tracks)
        .map(|(chain, track)| Waiting { chain, track })
        .filter(|waiting| waiting.chain.done < goal)
        .collect();
    let workers = context.n_threads().min(queue.len());
    let queue = Mutex::new(queue);
    context.each(vec![(); workers], deadline, |(), signal| {
        // A worker that finds no chain is not needed any more: chains are put back only by workers
        // that continue.
        while let Some(mut waiting) = next(&queue) {
            let end = Instant::now() + TURN;
            let mut answers = 0_u32;
            let Waiting { chain, track } = &mut waiting;
            while chain.advance(goal, track, || signal.count(1))? {
                chain.answer(oracles)?;
                answers += 1;
                if signal.is_set() {
                    return Ok(());
                }
                if answers.is_multiple_of(ANSWERS) && Instant::now() >= end {
                    lock(&queue).push(waiting);
                    break;
                }
            }
            if signal.is_set() {
                return Ok(());
            }
        }
        Ok(())
    })
}

fn next<'a, 'b>(queue: &Mutex<BinaryHeap<Waiting<'a, 'b>>>) -> Option<Waiting<'a, 'b>> {
    lock(queue).pop()
}

fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
