//! Drivers: chains of suspended kernels, their questions answered on the spot or in batches.
//!
//! Both drivers give the same bits. A chain is a state machine with a stream of its own; what it
//! does depends on the answers alone, and an answer never depends on who asks beside it.

mod chain;
mod free_run;
mod lock_step;
mod plan;
mod ports;
mod record;
mod sampler;

pub use chain::Chain;
pub use plan::{Plan, Segment, windows};
pub use ports::Port;
pub use record::{Record, Track};
pub use sampler::{Driver, Progress, Sampler};
