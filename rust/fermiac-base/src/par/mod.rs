//! Parallel work with one answer: a pool that survives `fork`, chunks folded in index order,
//! cancelling and progress.

mod context;
mod each;
mod pool;

pub use context::{Context, Poll};
pub use each::Signal;
pub use pool::MAX_THREADS;

/// Points in one chunk: the unit of scheduling and of random streams, whatever the threads.
pub const CHUNK: usize = 4096;
