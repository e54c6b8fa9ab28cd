//! Thread pools, a few for each process.
//!
//! A pool is kept for the next call with as many threads. When another is asked for, pools that no
//! call uses are dropped, the one used longest ago first, until at most [`KEPT`] are left and those
//! beside the newest have no more threads than [`spare`] says. So a call that alternates between two
//! thread counts starts no threads, and one that tries them all leaves few.
//!
//! After `fork()` the threads of a pool are gone although its memory looks intact, and work given to
//! it would wait for ever. So the lists of pools are looked up by process id: a child makes a list
//! of its own and leaks those of its parents. The chain of lists is append-only and read without a
//! lock, and each process has a lock of its own, so that a lock held across a fork harms nobody.

use crate::alloc::check_room;
use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The largest number of threads of a pool.
pub const MAX_THREADS: usize = 1024;

/// The most pools that are kept.
const KEPT: usize = 3;

/// Memory of a thread in bytes: its stack, and some room for what it allocates as it starts.
const THREAD: usize = (2 << 20) + (1 << 18);

/// The most threads of pools that are kept beside the newest: two for each core.
fn spare() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The pools of a process, the newest last.
struct Node {
    pid: u32,
    pools: Mutex<Vec<Arc<ThreadPool>>>,
    next: OnceLock<Box<Node>>,
}

static HEAD: OnceLock<Box<Node>> = OnceLock::new();

/// Returns the pools of this process.
fn pools() -> &'static Mutex<Vec<Arc<ThreadPool>>> {
    let pid = std::process::id();
    let mut slot = &HEAD;
    loop {
        let fresh = || Box::new(Node { pid, pools: Mutex::default(), next: OnceLock::new() });
        // Another thread may set the slot first: then its node is checked as any other.
        let node = slot.get_or_init(fresh);
        if node.pid == pid {
            return &node.pools;
        }
        slot = &node.next;
    }
}

/// Returns a pool of this process with `n_threads` threads.
pub(super) fn pool(n_threads: usize) -> Result<Arc<ThreadPool>> {
    if n_threads == 0 || n_threads > MAX_THREADS {
        return Err(Error::argument(
            "n_threads",
            format!("{n_threads} given; it must be from 1 to {MAX_THREADS}"),
        ));
    }
    let mut pools = pools().lock().unwrap_or_else(PoisonError::into_inner);
    let pool = match pools.iter().position(|pool| pool.current_num_threads() == n_threads) {
        Some(at) => pools.remove(at),
        None => Arc::new(start(n_threads)?),
    };
    pools.push(Arc::clone(&pool));
    let unused = excess(&mut pools);
    drop(pools);
    // Their threads end by themselves; nobody waits for them, and no lock is held meanwhile.
    drop(unused);
    Ok(pool)
}

fn start(n_threads: usize) -> Result<ThreadPool> {
    // A thread that finds no memory as it starts would end the process.
    check_room::<u8>(&format!("n_threads={n_threads}"), &[n_threads, THREAD])?;
    ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|i| format!("fermiac-{i}"))
        .build()
        .map_err(|error| {
            let why = format!("{n_threads} threads could not be started ({error}); ask for fewer");
            Error::argument("n_threads", why)
        })
}

/// Takes the pools that are not kept out of a list; those in use and the newest stay.
fn excess(pools: &mut Vec<Arc<ThreadPool>>) -> Vec<Arc<ThreadPool>> {
    let mut unused = Vec::new();
    let (mut at, spare) = (0, spare());
    while at + 1 < pools.len() {
        let others: usize =
            pools[..pools.len() - 1].iter().map(|pool| pool.current_num_threads()).sum();
        if pools.len() <= KEPT && others <= spare {
            break;
        }
        // A pool in use is held by its call as well; no call can take it while the list is locked.
        if Arc::strong_count(&pools[at]) == 1 {
            unused.push(pools.remove(at));
        } else {
            at += 1;
        }
    }
    unused
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(counts: &[usize]) -> Vec<Arc<ThreadPool>> {
        counts.iter().map(|&n| Arc::new(start(n).unwrap())).collect()
    }

    fn counts(pools: &[Arc<ThreadPool>]) -> Vec<usize> {
        pools.iter().map(|pool| pool.current_num_threads()).collect()
    }

    #[test]
    fn few_pools_are_kept_and_none_in_use_is_dropped() {
        let mut pools = list(&[1, 1, 1, 1, 1]);
        assert_eq!(excess(&mut pools).len(), 2);
        let mut pools = list(&[1, 1, 1, 1, 1]);
        let used: Vec<_> = pools[..3].to_vec();
        assert_eq!(excess(&mut pools).len(), 1);
        assert!(used.iter().zip(&pools).all(|(a, b)| Arc::ptr_eq(a, b)));
        drop(used);
        assert_eq!(excess(&mut pools).len(), 1);
    }

    #[test]
    fn large_pools_are_not_kept_beside_the_newest() {
        let large = spare() + 1;
        let mut pools = list(&[large, 1, large + 1]);
        assert_eq!(counts(&excess(&mut pools)), [large]);
        assert_eq!(counts(&pools), [1, large + 1]);
    }
}
