//! Drivers of chains: they answer the requests of suspended kernels on the spot or in batches.
//!
//! Both drivers give the same bits. A chain is a state machine with its own stream; it depends on
//! the answers alone, and an answer never depends on the other requests in its batch.

mod chain;
mod free_run;
mod lock_step;
mod oracle;
mod plan;
mod record;
mod sampler;

pub use chain::Chain;
pub use oracle::Oracle;
pub use plan::{Plan, Segment, windows};
pub use record::{Record, Track};
pub use sampler::{Driver, Progress, Sampler};
