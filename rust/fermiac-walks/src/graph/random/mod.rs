//! Random graphs as lists of edges, each a function of the seed alone.

mod blocks;
mod growth;
mod permutation;
mod regular;
mod rmat;
mod uniform;

pub use blocks::stochastic_block;
pub use growth::{barabasi_albert, watts_strogatz};
pub use regular::random_regular;
pub use rmat::{Rmat, rmat};
pub use uniform::{erdos_renyi, pairs_of};

use fermiac_base::alloc::room;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// An edge, from and to.
pub type Pair = [u32; 2];

/// The number of edges of a task.
const TASK: u64 = 1 << 15;
/// Nodes between two polls of signals.
const NODES: usize = 1 << 12;

/// The random graph models, as blocks of stream addresses.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
enum Model {
    Uniform = 0,
    Rmat = 1,
    Growth = 2,
    SmallWorld = 3,
    Blocks = 4,
    Regular = 5,
}

fn stream(key: u64, model: Model, task: u64) -> Stream {
    Stream::new(key, Domain::Graph, task, model as u32)
}

/// Refuses more nodes than 32 bits can number.
fn check_nodes(n: u64) -> Result<()> {
    if n == 0 || n > 1 << 32 {
        return Err(Error::argument("n", format!("{n} nodes asked for; 1 to 2³² can be made")));
    }
    Ok(())
}

/// An empty list with room for `m` edges.
fn list(m: u64) -> Result<Vec<Pair>> {
    room(&format!("{m} edges"), usize::try_from(m).unwrap_or(usize::MAX))
}

/// Runs `make` over the tasks of the edges `from` to `to`, and keeps only these edges.
/// It takes the number of a task and the numbers of its edges.
fn in_tasks(
    from: u64,
    to: u64,
    context: &Context<'_>,
    make: impl Fn(u64, std::ops::Range<u64>) -> Vec<Pair> + Sync,
) -> Result<Vec<Pair>> {
    let (first, last) = (from / TASK, to.div_ceil(TASK));
    let mut all = list(to.saturating_sub(from))?;
    context.ordered(
        last.saturating_sub(first) as usize,
        |i| {
            let task = first + i as u64;
            Ok(make(task, from.max(task * TASK)..to.min((task + 1) * TASK)))
        },
        |_, part| {
            all.extend(part);
            Ok(())
        },
    )?;
    Ok(all)
}
