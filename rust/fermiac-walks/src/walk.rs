//! A walk on a graph in one call, and the visits of its nodes.

use crate::graph::Graph;
use crate::{Base, Kernel, Memory, Plan, Record, Schedule, Stuck, Target, Walkers};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// The numbers of a walk.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Steps of each walker.
    pub n_steps: u64,
    /// Number of walkers.
    pub n_walkers: usize,
    /// How strongly visited nodes repel walkers; 0 for the plain chain.
    pub alpha: f64,
    /// Key of the random streams: equal keys give equal walks.
    pub key: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { n_steps: 100_000, n_walkers: 8, alpha: 5.0, key: 0 }
    }
}

/// Walks on an undirected graph by the self-repellent chain on Metropolis–Hastings with delayed
/// acceptance, whose visits tend to the uniform law, and returns the share of visits of each node.
///
/// # Errors
/// For no walkers or steps, a negative `alpha`, or a graph with a node that no edge leaves.
pub fn walk(graph: &Graph, options: &Options) -> Result<Vec<f64>> {
    let Options { n_steps, n_walkers, alpha, key } = *options;
    if !(alpha >= 0.0 && alpha.is_finite()) || n_steps == 0 || n_walkers == 0 {
        let why = format!(
            "n_steps = {n_steps}, n_walkers = {n_walkers}, alpha = {alpha} were given; positive \
             counts and a finite alpha from 0 on are needed"
        );
        return Err(Error::argument("options", why));
    }
    let n_nodes = graph.n_nodes();
    let plan = Plan {
        base: Base::DelayedAcceptance,
        kernel: if alpha == 0.0 { Kernel::Plain } else { Kernel::SelfRepellent },
        alpha: Schedule::Constant(alpha),
        laziness: 0.0,
        restart: 0.0,
        stuck: Stuck::Stay,
        target: Target::Uniform { pseudo: 1.0 },
        pseudo_total: n_nodes as f64,
        step_exponent: 1.0,
    };
    let mut stream = Stream::new(key, Domain::Start, 0, 0);
    let start: Vec<usize> = (0..n_walkers).map(|_| stream.below(n_nodes as u64) as usize).collect();
    let mut walkers = Walkers::new(graph.clone(), plan, &start, Memory::Table, key)?;
    walkers.run(n_steps, Record::nothing(), None, &Context::parallel()?)?;
    let visits = walkers.totals().unwrap_or_default();
    let total = visits.iter().sum::<u64>() as f64;
    Ok(visits.into_iter().map(|n| n as f64 / total).collect())
}
