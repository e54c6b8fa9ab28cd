//! Random walks on graphs, with and without memory, and estimates from their visits.
//!
//! ```
//! use fermiac_walks::{Options, graph::Graph, walk};
//!
//! // A star with four leaves: a simple walk would spend half of its time at the centre.
//! let graph = Graph::from_vecs(vec![0, 4, 5, 6, 7, 8], vec![1, 2, 3, 4, 0, 0, 0, 0], None)?;
//! let shares = walk(&graph, &Options::default())?;
//! assert!(shares.iter().all(|share| (share - 0.2).abs() < 0.01));
//! # Ok::<(), fermiac_base::Error>(())
//! ```
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
mod walk;
mod walkers;
mod weighted;

pub use crawl::Oracle;
pub use crawlers::Crawlers;
pub use persist::{RowSlices, Rows};
pub use plan::{Base, Kernel, Plan, Schedule, Stuck};
pub use record::{Paths, Record};
pub use saw::{Avoided, self_avoiding};
pub use target::Target;
pub use walk::{Options, walk};
pub use walkers::{Memory, Walkers};
