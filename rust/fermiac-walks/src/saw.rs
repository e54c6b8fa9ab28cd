//! Self-avoiding walks.

use super::graph::{Graph, View};
use super::hashed::{Open, require_short};
use super::walker_block::choose;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::ln;
use fermiac_base::{Error, Result};

/// Self-avoiding walks, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Avoided {
    /// The starts of the walks in `nodes`, and the end.
    pub starts: Vec<i64>,
    /// The nodes, including the first of each walk.
    pub nodes: Vec<u32>,
    /// ln of the product of the numbers of choices of each walk: its weight in a mean over all
    /// walks of its length, equally likely (M. N. Rosenbluth, A. W. Rosenbluth, 1955, "Monte Carlo
    /// calculation of the average extension of molecular chains", Journal of Chemical Physics 23).
    pub log_weights: Vec<f64>,
    /// Whether a walk ended where all neighbours had been visited.
    pub trapped: Vec<bool>,
}

/// The block of a walker's streams that these walks use.
const AVOIDING: u32 = 2;
/// About the number of steps of one task; signals are polled between tasks.
const TASK: u64 = 1 << 16;
/// Walks of one task.
const WALKS: usize = 64;

/// Walks at most `n_steps` steps from each start: to a neighbour not yet visited, each equally
/// likely, until there is none.
pub fn self_avoiding(
    graph: &Graph,
    start: &[usize],
    n_steps: u64,
    key: u64,
    context: &Context<'_>,
) -> Result<Avoided> {
    let view = graph.view();
    require_short(view.n_nodes())?;
    if let Some(node) = start.iter().find(|node| **node >= view.n_nodes()) {
        let why = format!("node {node} given; nodes go from 0 to {}", view.n_nodes() - 1);
        return Err(Error::argument("init", why));
    }
    let mut all = Avoided {
        starts: vec![0],
        nodes: Vec::new(),
        log_weights: Vec::new(),
        trapped: Vec::new(),
    };
    let size = (TASK / n_steps.max(1)).clamp(1, WALKS as u64) as usize;
    context.ordered(
        start.len().div_ceil(size),
        |task| {
            let walkers = task * size..start.len().min((task + 1) * size);
            Ok(walkers.map(|i| walk(&view, start[i], n_steps, key, i as u64)).collect::<Vec<_>>())
        },
        |_, walks| {
            for (nodes, log_weight, trapped) in walks {
                context.advance(nodes.len() as u64 - 1);
                all.nodes.extend(nodes);
                all.starts.push(all.nodes.len() as i64);
                all.log_weights.push(log_weight);
                all.trapped.push(trapped);
            }
            Ok(())
        },
    )?;
    Ok(all)
}

fn walk(
    view: &View<'_>,
    start: usize,
    n_steps: u64,
    key: u64,
    index: u64,
) -> (Vec<u32>, f64, bool) {
    let mut stream = Stream::new(key, Domain::Walk, index, AVOIDING);
    let mut visited = Open::<()>::new();
    let (mut at, mut nodes, mut log_weight) = (start, vec![start as u32], 0.0);
    visited.visit(at, || ());
    let mut free = Vec::new();
    for _ in 0..n_steps {
        free.clear();
        free.extend(view.neighbours(at).filter(|node| visited.get(*node).visits == 0));
        if free.is_empty() {
            return (nodes, log_weight, true);
        }
        at = free[choose(stream.next_u64(), free.len()).0];
        log_weight += ln(free.len() as f64);
        visited.visit(at, || ());
        nodes.push(at as u32);
    }
    let trapped = view.neighbours(at).all(|node| visited.get(node).visits > 0);
    (nodes, log_weight, trapped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::{follows, graph, uniform};

    #[test]
    fn walks_go_on_to_fresh_nodes() {
        let start = vec![0; 20_000];
        let one = self_avoiding(&graph(), &start, 3, 3, &Context::serial()).unwrap();
        let context = Context::new(3, |_, _| Ok(())).unwrap();
        assert_eq!(one, self_avoiding(&graph(), &start, 3, 3, &context).unwrap());
        let graph = graph();
        let view = graph.view();
        let fresh = |path: &[usize]| {
            view.neighbours(path[path.len() - 1])
                .filter(|node| !path.contains(node))
                .collect::<Vec<_>>()
        };
        // A trapped walk stays, so that all have one length.
        let mut padded = Vec::new();
        for (i, ends) in one.starts.windows(2).enumerate() {
            let path = &one.nodes[ends[0] as usize..ends[1] as usize];
            let last = path[path.len() - 1];
            padded.extend(path[1..].iter().copied().chain(std::iter::repeat(last)).take(3));
            let path: Vec<_> = path.iter().map(|node| *node as usize).collect();
            let weight: f64 = (1..path.len()).map(|k| (fresh(&path[..k]).len() as f64).ln()).sum();
            assert!((one.log_weights[i] - weight).abs() < 1e-12);
            assert_eq!(one.trapped[i], fresh(&path).is_empty());
            assert!(one.trapped[i] || path.len() == 4);
        }
        follows(&padded, 3, &|path| {
            let next = fresh(path);
            uniform(if next.is_empty() { &path[path.len() - 1..] } else { &next })
        });
    }
}
