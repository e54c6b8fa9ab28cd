//! Helpers of the walker tests: small graphs, and the law of whole paths.
#![allow(clippy::unwrap_used)]

use super::graph::Graph;
use super::{Base, Kernel, Memory, Paths, Plan, Record, Schedule, Stuck, Target, Walkers};
use fermiac_base::par::Context;

mod crawls;
mod histories;
mod moves;

/// The edges of an undirected graph with a tail, a triangle and a hub, and weights for its places.
pub(super) fn rows() -> Vec<Vec<(u32, f64)>> {
    vec![
        vec![(1, 1.0), (2, 2.0), (3, 0.5), (4, 4.0)],
        vec![(0, 1.0), (2, 3.0)],
        vec![(0, 2.0), (1, 3.0), (3, 1.5)],
        vec![(0, 0.5), (2, 1.5)],
        vec![(0, 4.0), (5, 1.0)],
        vec![(4, 1.0)],
    ]
}

pub(super) fn graph_of(rows: &[Vec<(u32, f64)>]) -> Graph {
    let mut starts = vec![0];
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for row in rows {
        ids.extend(row.iter().map(|(node, _)| *node));
        weights.extend(row.iter().map(|(_, weight)| *weight));
        starts.push(ids.len() as u64);
    }
    Graph::from_vecs(starts, ids, Some(weights)).unwrap()
}

pub(super) fn graph() -> Graph {
    graph_of(&rows())
}

pub(super) fn plan(kernel: Kernel, base: Base) -> Plan {
    Plan {
        base,
        kernel,
        alpha: Schedule::Constant(2.0),
        laziness: 0.0,
        restart: 0.0,
        stuck: Stuck::Stay,
        target: Target::table(&TARGET, &[1.0; 6]).unwrap(),
        pseudo_total: 6.0,
        step_exponent: 1.0,
    }
}

pub(super) const TARGET: [f64; 6] = [1.0, 2.0, 0.5, 1.5, 3.0, 1.0];

/// Paths of walkers that all start at node 0, a row each.
pub(super) fn paths(
    graph: Graph,
    plan: Plan,
    memory: Memory,
    (n_walkers, n_steps): (usize, usize),
    n_threads: usize,
) -> (Vec<u32>, Walkers) {
    let mut walkers = Walkers::new(graph, plan, &vec![0; n_walkers], memory, 7).unwrap();
    (last_steps(&mut walkers, n_steps, n_steps, n_threads), walkers)
}

/// Moves walkers to step `until`, and gives the paths of their last steps.
pub(super) fn last_steps(
    walkers: &mut Walkers,
    until: usize,
    n_slots: usize,
    n_threads: usize,
) -> Vec<u32> {
    let mut nodes = vec![0; walkers.n_walkers() * n_slots];
    let first = (until + 1 - n_slots) as u64;
    let record = Record { first, thin: 1, n_slots, paths: Paths::Short(&mut nodes) };
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    assert!(walkers.run(until as u64, record, None, &context).unwrap());
    nodes
}

/// Compares the paths of many walkers with `law`, which gives the probabilities of the next node
/// after a path that begins at 0.
pub(super) fn follows(nodes: &[u32], n_steps: usize, law: &dyn Fn(&[usize]) -> Vec<f64>) {
    let n_walkers = nodes.len() / n_steps;
    let mut counts = std::collections::BTreeMap::<Vec<usize>, f64>::new();
    for path in nodes.chunks(n_steps) {
        let path = std::iter::once(0).chain(path.iter().map(|node| *node as usize)).collect();
        *counts.entry(path).or_default() += 1.0;
    }
    let mut total = 0.0;
    let mut open = vec![(vec![0], 1.0)];
    while let Some((path, mass)) = open.pop() {
        if path.len() == n_steps + 1 {
            let expected = mass * n_walkers as f64;
            let seen = counts.remove(&path).unwrap_or(0.0);
            let error = (expected * (1.0 - mass)).sqrt() + 1.0;
            let z = (seen - expected) / error;
            assert!(z.abs() < 5.0, "{path:?}: {seen} of {expected}, z {z}");
            total += mass;
            continue;
        }
        let next = law(&path);
        assert!((next.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{path:?}: {next:?}");
        for (node, p) in next.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            let mut longer = path.clone();
            longer.push(node);
            open.push((longer, mass * p));
        }
    }
    assert!(counts.is_empty(), "impossible paths: {counts:?}");
    assert!((total - 1.0).abs() < 1e-9);
}

/// A ring with chords.
pub(super) fn circulant(n: u32) -> Graph {
    let ids = (0..n).flat_map(|i| [1, 7, n - 7, n - 1].map(|by| (i + by) % n)).collect();
    Graph::from_vecs((0..=u64::from(n)).map(|i| 4 * i).collect(), ids, None).unwrap()
}

/// The law of equally likely nodes.
pub(super) fn uniform(next: &[usize]) -> Vec<f64> {
    let mut law = vec![0.0; 6];
    next.iter().for_each(|to| law[*to] = 1.0 / next.len() as f64);
    law
}

/// ln (w / d) of a node, and of the last node of a path where history bends the target.
pub(super) fn potential(node: usize, log_level: f64) -> f64 {
    (TARGET[node] / rows()[node].len() as f64).ln() - 2.0 * log_level
}

/// The neighbours of a node.
pub(super) fn next_to(node: usize) -> Vec<usize> {
    rows()[node].iter().map(|(to, _)| *to as usize).collect()
}

/// Metropolis' law of the next node, with potentials of all.
pub(super) fn metropolis(at: usize, potentials: &[f64]) -> Vec<f64> {
    let next = next_to(at);
    let mut law = vec![0.0; 6];
    for to in &next {
        law[*to] += (potentials[*to] - potentials[at]).exp().min(1.0) / next.len() as f64;
    }
    law[at] += 1.0 - law.iter().sum::<f64>();
    law
}
