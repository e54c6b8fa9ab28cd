//! Chains that run freely: each on a worker, every question answered on the spot.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fermiac_base::Result;
use fermiac_base::par::Context;

use super::chain::Chain;
use super::ports::Port;
use super::record::Track;

/// How long a worker stays with a chain while others wait, and how many questions it answers
/// between two looks at the clock.
const TURN: Duration = Duration::from_millis(10);
const ANSWERS: u32 = 16;

/// A chain that waits for a worker; one that has made fewer transitions comes first.
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
/// of them have come about as far whenever a run ends.
pub(super) fn free_run(
    chains: &mut [Chain],
    tracks: &mut [Track<'_>],
    ports: &[Port],
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
        // Whoever finds nobody waiting is not needed any more: chains are only put back by
        // workers that go on.
        while let Some(mut waiting) = next(&queue) {
            let end = Instant::now() + TURN;
            let mut answers = 0_u32;
            let Waiting { chain, track } = &mut waiting;
            while chain.advance(goal, track, || signal.count(1))? {
                chain.answer(ports)?;
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
