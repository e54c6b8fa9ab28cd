//! Random walks on graphs that know where they have been, and what is estimated with them.
//!
//! Eight walkers make an [`octet`], which has one stream of random numbers; octets move side by
//! side in stages, so that each finds in the cache what the stage before asked the memory for.

mod alias;
pub mod graph;
mod hashed;
mod history;
mod metropolis;
mod octet;
mod persist;
mod places;
mod plan;
mod record;
mod restart;
mod scan;
mod simple;
mod target;
#[cfg(test)]
mod tests;
pub mod token;
mod walkers;
mod weighted;

pub use persist::{RowSlices, Rows};
pub use plan::{Base, Kernel, Plan, Schedule, Stuck};
pub use record::{Paths, Record};
pub use target::Target;
pub use walkers::{Memory, Walkers};
