//! Thread pools, one for each process and thread count, kept for the life of the process.
//!
//! After `fork()` the threads of a pool are gone although its memory looks intact, and work given to
//! it would wait for ever. So pools are looked up by process id: a child builds its own pools and
//! leaks those of its parent. The list is append-only and read without a lock, so that no lock can
//! be held across a fork.

use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// The largest number of threads of a pool.
pub const MAX_THREADS: usize = 1024;

struct Node {
    pid: u32,
    n_threads: usize,
    pool: ThreadPool,
    next: OnceLock<Box<Node>>,
}

static HEAD: OnceLock<Box<Node>> = OnceLock::new();

/// Returns the pool of this process with `n_threads` threads.
pub(super) fn pool(n_threads: usize) -> Result<&'static ThreadPool> {
    if n_threads == 0 || n_threads > MAX_THREADS {
        return Err(Error::argument(
            "n_threads",
            format!("{n_threads} given; it must be from 1 to {MAX_THREADS}"),
        ));
    }
    let pid = std::process::id();
    let mut slot = &HEAD;
    let mut fresh: Option<Box<Node>> = None;
    loop {
        if let Some(node) = slot.get() {
            if node.pid == pid && node.n_threads == n_threads {
                return Ok(&node.pool);
            }
            slot = &node.next;
            continue;
        }
        let node = match fresh.take() {
            Some(node) => node,
            None => Box::new(Node {
                pid,
                n_threads,
                pool: ThreadPoolBuilder::new()
                    .num_threads(n_threads)
                    .thread_name(|i| format!("fermiac-{i}"))
                    .build()
                    .map_err(|e| Error::Internal(format!("no thread pool: {e}")))?,
                next: OnceLock::new(),
            }),
        };
        // Another thread may have set the slot first: then check its node and go on.
        fresh = slot.set(node).err();
    }
}
