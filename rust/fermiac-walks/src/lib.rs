//! Random walks on graphs, with and without history.
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
//! Eight walkers make a block, which has one stream of random numbers. Blocks move side by side in
//! stages, so that each finds in the cache what the stage before has prefetched.

/// The same expression for the variants of an enum, of different types.
macro_rules! each {
    ($value:expr, $kind:ident::{$($variant:ident),+}, $name:ident => $call:expr) => {
        match $value {
            $($kind::$variant($name) => $call,)+
        }
    };
}

mod alias;
mod crawl;
mod crawlers;
mod dispatch;
mod dyn_history;
pub mod graph;
mod hashed;
mod history;
mod leap;
mod metropolis;
mod multiple_try;
mod neighbour_degrees;
mod neighbour_source;
mod node2vec;
mod nonbacktracking;
mod packed_rows;
mod persist;
mod plan;
mod powers;
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
mod visit_log;
mod walk;
mod walker_block;
mod walkers;

pub use crawl::Oracle;
pub use crawlers::Crawlers;
pub use persist::{RowSlices, Rows};
pub use plan::{Base, Kernel, Plan, Schedule, Stuck};
pub use record::{Paths, Record};
pub use saw::{Avoided, self_avoiding};
pub use target::Target;
pub use walk::{Options, walk};
pub use walkers::{Memory, Walkers};
