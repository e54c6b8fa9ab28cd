//! Deterministic parallel work: chunks folded in index order, cancellation, progress, and thread
//! pools that survive `fork`.

mod context;
mod each;
mod pause;
mod pool;
mod tree;

pub use context::{Context, Poll};
pub use each::Signal;
pub use pause::{MANY, PAUSE_EVERY, pause, pausing};
pub use pool::MAX_THREADS;
pub use tree::{Tree, joined};

/// Points in one chunk, the unit of scheduling and of random streams on any number of threads.
pub const CHUNK: usize = 4096;
