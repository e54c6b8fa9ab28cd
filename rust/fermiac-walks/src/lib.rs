//! Random walks on graphs, with and without history.
//!
//! Eight walkers make a block, which has one stream of random numbers. Blocks move side by side in
//! stages, so that each finds in the cache what the stage before has prefetched.

mod alias;
mod crawl;
mod crawlers;
mod dispatch;
mod dyn_history;
pub mod graph;
mod hashed;
mod history;
mod metropolis;
mod multiple_try;
mod neighbour_source;
mod node2vec;
mod nonbacktracking;
mod persist;
mod plan;
mod recent;
mod record;
mod rotor;
mod saw;
mod scan;
mod schedulers;
mod shared;
mod simple;
mod target;
#[cfg(test)]
mod tests;
pub mod token;
mod walker_block;
mod walkers;

pub use crawl::Oracle;
pub use crawlers::Crawlers;
pub use persist::{RowSlices, Rows};
pub use plan::{Base, Kernel, Plan, Schedule, Stuck};
pub use record::{Paths, Record};
pub use saw::{Avoided, self_avoiding};
pub use target::Target;
pub use walkers::{Memory, Walkers};
