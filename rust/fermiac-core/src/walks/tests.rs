//! First steps of walkers beside the law of whole paths.
#![allow(clippy::unwrap_used)]

use super::graph::Graph;
use super::{Base, Kernel, Memory, Paths, Plan, Record, Schedule, Stuck, Target, Walkers};
use crate::par::Context;

/// The edges of an undirected graph with a tail, a triangle and a hub, and weights for its places.
fn rows() -> Vec<Vec<(u32, f64)>> {
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
    let mut nodes = vec![0; n_walkers * n_steps];
    let record = Record { first: 1, thin: 1, n_slots: n_steps, paths: Paths::Short(&mut nodes) };
    let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
    assert!(walkers.run(n_steps as u64, record, None, &context).unwrap());
    (nodes, walkers)
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

/// A walk's paths follow a law.
fn obeys(plan: Plan, n_steps: usize, law: &dyn Fn(&[usize]) -> Vec<f64>) {
    for memory in [Memory::Table, Memory::Hashed] {
        let (nodes, _) = paths(graph(), plan.clone(), memory, (40_000, n_steps), 2);
        follows(&nodes, n_steps, law);
    }
}

fn weighted_row(node: usize) -> Vec<f64> {
    let row = &rows()[node];
    let sum: f64 = row.iter().map(|(_, w)| w).sum();
    let mut law = vec![0.0; 6];
    row.iter().for_each(|(to, w)| law[*to as usize] += w / sum);
    law
}

fn lazy(mut law: Vec<f64>, node: usize, laziness: f64) -> Vec<f64> {
    law.iter_mut().for_each(|p| *p *= 1.0 - laziness);
    law[node] += laziness;
    law
}

#[test]
fn weighted_walks_follow_the_weights() {
    for laziness in [0.0, 0.3] {
        let plan = Plan { laziness, ..plan(Kernel::Plain, Base::Weighted) };
        obeys(plan, 3, &|path| {
            let at = path[path.len() - 1];
            lazy(weighted_row(at), at, laziness)
        });
    }
}

#[test]
fn hashed_histories_give_the_same_bits() {
    let bases = [Base::Metropolis, Base::Delayed, Base::Barker, Base::Simple];
    let mut kernels: Vec<_> = bases[..3].iter().map(|base| plan(Kernel::Target, *base)).collect();
    kernels.extend(bases.iter().map(|base| plan(Kernel::Repellent, *base)));
    kernels.push(plan(Kernel::Avoiding, Base::Metropolis));
    kernels.push(plan(Kernel::Plain, Base::Weighted));
    let (starts, ids) = circulant(3000);
    for mut plan in kernels {
        let n = 3000;
        let weights: Vec<f64> = (0..n).map(|i| 1.0 + f64::from(i % 5)).collect();
        plan.target = Target::table(&weights, &weights).unwrap();
        for step_exponent in [1.0, 0.7] {
            let plan = Plan { step_exponent, ..plan.clone() };
            let graph = Graph::from_vecs(starts.clone(), ids.clone(), None).unwrap();
            let one = paths(graph.clone(), plan.clone(), Memory::Table, (19, 400), 1);
            let two = paths(graph, plan, Memory::Hashed, (19, 400), 2);
            assert_eq!(one.0, two.0);
            let (mut one, mut two) = (one.1, two.1);
            for walker in 0..19 {
                assert_eq!(one.visited(walker).unwrap(), two.visited(walker).unwrap());
            }
        }
    }
}

/// A ring with chords.
pub(super) fn circulant(n: u32) -> (Vec<u64>, Vec<u32>) {
    let ids = (0..n).flat_map(|i| [1, 7, n - 7, n - 1].map(|by| (i + by) % n)).collect();
    ((0..=u64::from(n)).map(|i| 4 * i).collect(), ids)
}

#[test]
fn restarts_lead_home() {
    let plan = Plan { restart: 0.25, ..plan(Kernel::Plain, Base::Weighted) };
    obeys(plan, 3, &|path| {
        let at = path[path.len() - 1];
        lazy(weighted_row(at), 0, 0.25)
    });
}

#[test]
fn sinks_hold_walkers_or_send_them_home() {
    let rows = vec![vec![(1, 1.0), (2, 2.0)], vec![(2, 1.0)], vec![]];
    for (stuck, from_sink) in [(Stuck::Stay, [0.0, 0.0, 1.0]), (Stuck::Restart, [1.0, 0.0, 0.0])] {
        for base in [Base::Simple, Base::Weighted] {
            let plan = Plan { stuck, ..plan(Kernel::Plain, base) };
            let (nodes, _) = paths(graph_of(&rows), plan, Memory::Nothing, (5000, 3), 1);
            let p = if base == Base::Simple { 0.5 } else { 1.0 / 3.0 };
            follows(&nodes, 3, &|path| match path[path.len() - 1] {
                0 => vec![0.0, p, 1.0 - p],
                1 => vec![0.0, 0.0, 1.0],
                _ => from_sink.to_vec(),
            });
        }
    }
}
