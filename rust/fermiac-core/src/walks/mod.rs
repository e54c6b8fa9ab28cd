//! Random walks on graphs that know where they have been, and what is estimated with them.
//!
//! Eight walkers make an [`octet`], which has one stream of random numbers; octets move side by
//! side in stages, so that each finds in the cache what the stage before asked the memory for.

pub mod graph;
mod history;
mod metropolis;
mod octet;
mod places;
mod plan;
mod record;
mod scan;
mod simple;
mod target;
pub mod token;
mod walkers;

pub use plan::{Base, Kernel, Plan, Schedule};
pub use record::{Paths, Record};
pub use target::Target;
pub use walkers::{Memory, Walkers};
