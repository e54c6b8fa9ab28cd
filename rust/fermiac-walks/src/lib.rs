//! Random walks on graphs that know where they have been, and what is estimated with them.
//!
//! Eight walkers make an octet, which has one stream of random numbers; octets move side by
//! side in stages, so that each finds in the cache what the stage before asked the memory for.

mod alias;
mod choose;
mod crawl;
mod crawlers;
mod crews;
pub mod graph;
mod hashed;
mod history;
mod metropolis;
mod multiple;
mod octet;
mod onward;
mod persist;
mod places;
mod plan;
mod rare;
mod recent;
mod record;
mod restart;
mod rotor;
mod saw;
mod scan;
mod second;
mod shared;
mod simple;
mod target;
#[cfg(test)]
mod tests;
pub mod token;
mod walkers;
mod weighted;

pub use crawl::Oracle;
pub use crawlers::Crawlers;
pub use persist::{RowSlices, Rows};
pub use plan::{Base, Kernel, Plan, Schedule, Stuck};
pub use record::{Paths, Record};
pub use saw::{Avoided, self_avoiding};
pub use target::Target;
pub use walkers::{Memory, Walkers};
