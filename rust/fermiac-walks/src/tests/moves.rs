//! First steps of all chains against their laws.
#![allow(clippy::unwrap_used)]

use super::super::graph::Graph;
use super::super::neighbour_source::NeighbourSource;
use super::super::{Base, Kernel, Memory, Plan, Stuck, Target, Walkers};
use super::{
    circulant, follows, graph, graph_of, last_steps, next_to, paths, plan, potential, rows, uniform,
};
use fermiac_base::store::Codec;

/// Checks that paths follow a law.
fn obeys(plan: &Plan, n_steps: usize, law: &dyn Fn(&[usize]) -> Vec<f64>) {
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

/// The node before the last move: a lazy walker keeps its previous node.
fn before(path: &[usize]) -> Option<usize> {
    path.windows(2).rfind(|two| two[0] != two[1]).map(|two| two[0])
}

#[test]
fn weighted_walks_follow_the_weights() {
    for laziness in [0.0, 0.3] {
        let plan = Plan { laziness, ..plan(Kernel::Plain, Base::Weighted) };
        obeys(&plan, 3, &|path| {
            let at = path[path.len() - 1];
            lazy(weighted_row(at), at, laziness)
        });
    }
}

#[test]
fn restarts_lead_home() {
    let plan = Plan { restart: 0.25, ..plan(Kernel::Plain, Base::Weighted) };
    obeys(&plan, 3, &|path| {
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

#[test]
fn onward_walks_turn_back_only_at_ends() {
    for laziness in [0.0, 0.25] {
        let plan = Plan { laziness, ..plan(Kernel::Plain, Base::NonBacktracking) };
        obeys(&plan, 4, &|path| {
            let at = path[path.len() - 1];
            let before = before(path);
            let mut next: Vec<_> =
                next_to(at).into_iter().filter(|to| Some(*to) != before).collect();
            if next.is_empty() {
                next = next_to(at);
            }
            lazy(uniform(&next), at, laziness)
        });
    }
}

#[test]
fn second_order_walks_follow_their_weights() {
    let plain: Vec<Vec<(u32, f64)>> =
        rows().into_iter().map(|row| row.into_iter().map(|(to, _)| (to, 1.0)).collect()).collect();
    let backward: Vec<Vec<(u32, f64)>> =
        rows().into_iter().map(|row| row.into_iter().rev().collect()).collect();
    for edges in [rows(), plain, backward] {
        for (back, out) in [(0.1, 3.0), (4.0, 0.5), (0.5, 0.25), (1.0, 1.0), (1e6, 1e5)] {
            let laziness = if back == 4.0 { 0.2 } else { 0.0 };
            let base = Base::Node2Vec { back, out };
            let plan = Plan { laziness, ..plan(Kernel::Plain, base) };
            let (nodes, _) = paths(graph_of(&edges), plan, Memory::Nothing, (30_000, 3), 2);
            follows(&nodes, 3, &|path| {
                let at = path[path.len() - 1];
                let before = before(path);
                let mut law = [0.0; 6];
                for (to, weight) in &edges[at] {
                    let to = *to as usize;
                    law[to] = weight
                        * match before {
                            None => 1.0,
                            Some(before) if to == before => 1.0 / back,
                            Some(before) if next_to(before).contains(&to) => 1.0,
                            Some(_) => 1.0 / out,
                        };
                }
                let sum: f64 = law.iter().sum();
                lazy(law.iter().map(|p| p / sum).collect(), at, laziness)
            });
        }
    }
}

#[test]
fn second_order_walks_search_long_rows() {
    // Two hubs that share their leaves, and one leaf of each alone.
    let n = 40;
    let mut edges: Vec<Vec<(u32, f64)>> = vec![Vec::new(); n + 4];
    let mut join = |a: usize, b: usize| {
        edges[a].push((b as u32, 1.0));
        edges[b].push((a as u32, 1.0));
    };
    join(0, 1);
    for leaf in 2..n + 2 {
        join(0, leaf);
        join(1, leaf);
    }
    join(0, n + 2);
    join(1, n + 3);
    edges.iter_mut().for_each(|row| row.sort_by_key(|(to, _)| *to));
    let plan = plan(Kernel::Plain, Base::Node2Vec { back: 0.05, out: 0.02 });
    let n_walkers = 60_000;
    let (nodes, _) = paths(graph_of(&edges), plan, Memory::Nothing, (n_walkers, 2), 1);
    // Of those that went to the other hub first.
    let (mut seen, mut all) = ([0.0; 3], 0.0);
    for path in nodes.chunks(2).filter(|path| path[0] == 1) {
        all += 1.0;
        seen[match path[1] {
            0 => 0,
            to if to as usize == n + 3 => 1,
            _ => 2,
        }] += 1.0;
    }
    let masses = [20.0, 50.0, n as f64];
    let sum: f64 = masses.iter().sum();
    for (seen, mass) in seen.iter().zip(masses) {
        let p = mass / sum;
        let z = (seen - all * p) / (all * p * (1.0 - p)).sqrt();
        assert!(z.abs() < 5.0, "{seen} {p} {all} {z}");
    }
}

/// All ways to choose `n` of some nodes, with repetition, in order.
fn choices(of: &[usize], n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |all, _| {
        all.iter().flat_map(|some| of.iter().map(|one| [&some[..], &[*one]].concat())).collect()
    })
}

fn multiple(at: usize, tries: usize, root: bool, potentials: &[f64]) -> Vec<f64> {
    let h = |a: usize, b: usize| {
        let ratio = (potentials[b] - potentials[a]).exp();
        if root { ratio.sqrt() } else { ratio / (1.0 + ratio) }
    };
    let mut law = vec![0.0; 6];
    let here = next_to(at);
    for ys in choices(&here, tries) {
        let total: f64 = ys.iter().map(|y| h(at, *y)).sum();
        for y in &ys {
            let chosen = h(at, *y) / total / (here.len() as f64).powi(tries as i32);
            let there = next_to(*y);
            for xs in choices(&there, tries - 1) {
                let back = xs.iter().map(|x| h(*y, *x)).sum::<f64>() + h(*y, at);
                let mass = chosen / (there.len() as f64).powi(tries as i32 - 1);
                let taken = (total / back).min(1.0);
                law[*y] += mass * taken;
                law[at] += mass * (1.0 - taken);
            }
        }
    }
    law
}

#[test]
fn several_tries_follow_their_law() {
    for (tries, root, laziness) in
        [(1, false, 0.0), (2, false, 0.3), (2, true, 0.0), (3, false, 0.0)]
    {
        for kernel in [Kernel::Plain, Kernel::HistoryDrivenTarget] {
            let plan = Plan { laziness, ..plan(kernel, Base::MultipleTry { tries, root }) };
            obeys(&plan, 2, &|path| {
                let at = path[path.len() - 1];
                let potentials: Vec<f64> = (0..6)
                    .map(|node| {
                        let visits = path[1..].iter().filter(|other| **other == node).count();
                        let bent = ((1.0 + visits as f64) / super::TARGET[node]).ln();
                        potential(node, if kernel == Kernel::Plain { 0.0 } else { bent })
                    })
                    .collect();
                lazy(multiple(at, tries, root, &potentials), at, laziness)
            });
        }
    }
}

/// The law of the next node of a walk whose weights of nodes are powers of -2 of their levels.
fn by_powers(plan: &Plan, path: &[usize]) -> Vec<f64> {
    let at = path[path.len() - 1];
    let degree = |node: usize| next_to(node).len() as f64;
    let weight = |node: usize| {
        let visits = path[1..].iter().filter(|other| **other == node).count() as f64;
        let level = match plan.target {
            Target::Degree { pseudo, .. } => pseudo + visits / degree(node),
            _ => 1.0 + visits,
        };
        level.powi(-2)
    };
    let by_degree = matches!(plan.target, Target::Degree { .. });
    let repels = plan.kernel == Kernel::SelfRepellent;
    let mut law = vec![0.0; 6];
    for to in next_to(at) {
        let mut odds = if by_degree { 1.0 } else { degree(at) / degree(to) };
        if !repels {
            odds *= weight(to) / weight(at);
        }
        law[to] = match plan.base {
            Base::MaxDegree { largest } => 1.0 / largest as f64,
            Base::Simple => 1.0 / degree(at),
            Base::Barker => odds / (1.0 + odds) / degree(at),
            _ => odds.min(1.0) / degree(at),
        };
    }
    law[at] += 1.0 - law.iter().sum::<f64>();
    law = lazy(law, at, plan.laziness);
    if repels {
        law.iter_mut().enumerate().for_each(|(node, p)| *p *= weight(node));
        let sum: f64 = law.iter().sum();
        law.iter_mut().for_each(|p| *p /= sum);
    }
    law
}

#[test]
fn weights_from_tables_give_the_law_of_repellence() {
    let uniform = Target::Uniform { pseudo: 1.0 };
    let degree = Target::Degree { pseudo: 0.4, total: 14.0 };
    let max_degree = Base::MaxDegree { largest: 4 };
    for (kernel, base, target, laziness) in [
        (Kernel::SelfRepellent, Base::Simple, degree.clone(), 0.0),
        (Kernel::SelfRepellent, Base::Simple, degree.clone(), 0.3),
        (Kernel::SelfRepellent, Base::Barker, degree.clone(), 0.0),
        (Kernel::SelfRepellent, Base::Metropolis, uniform.clone(), 0.0),
        (Kernel::SelfRepellent, Base::Metropolis, uniform.clone(), 0.2),
        (Kernel::SelfRepellent, Base::Barker, uniform.clone(), 0.0),
        (Kernel::SelfRepellent, max_degree, uniform.clone(), 0.0),
        (Kernel::HistoryDrivenTarget, Base::Metropolis, uniform.clone(), 0.0),
        (Kernel::HistoryDrivenTarget, Base::Metropolis, degree.clone(), 0.2),
        (Kernel::HistoryDrivenTarget, Base::Barker, uniform, 0.0),
        (Kernel::HistoryDrivenTarget, Base::Barker, degree, 0.0),
    ] {
        let plan = Plan { laziness, target, ..plan(kernel, base) };
        assert!(plan.exponent().is_some());
        // Five steps have nodes with so many visits that all neighbours are weighed at once.
        obeys(&plan, 5, &|path| by_powers(&plan, path));
    }
}

/// Two hubs with more leaves in common than tables have degrees.
fn hubs(n: u32) -> Graph {
    let mut edges: Vec<Vec<(u32, f64)>> = vec![Vec::new(); n as usize + 2];
    for leaf in 2..n + 2 {
        for hub in 0..2 {
            edges[hub as usize].push((leaf, 1.0));
            edges[leaf as usize].push((hub, 1.0));
        }
    }
    graph_of(&edges)
}

#[test]
fn many_visits_are_beyond_the_tables() {
    let (n, n_steps) = (300, 120_000);
    let hub = Target::Degree { pseudo: 1.0, total: 1200.0 };
    for (graph, base, target, law) in [
        (hubs(n), Base::Simple, hub, [0.25, 1.0 / 600.0]),
        (graph(), Base::Metropolis, Target::Uniform { pseudo: 1.0 }, [1.0 / 6.0; 2]),
    ] {
        let plan = Plan { target, ..plan(Kernel::SelfRepellent, base) };
        let (nodes, walkers) = paths(graph, plan, Memory::Table, (16, n_steps), 2);
        assert!(walkers.visits(0).unwrap()[..2].iter().all(|visits| *visits > 5000));
        let late: Vec<u32> =
            nodes.chunks(n_steps).flat_map(|path| path[n_steps / 2..].to_vec()).collect();
        for node in 0..4 {
            let seen = late.iter().filter(|other| **other == node).count() as f64;
            let share = seen / late.len() as f64 / law[usize::from(node > 1)];
            assert!((share - 1.0).abs() < 0.03, "{base:?}, node {node}: {share}");
        }
    }
}

#[test]
fn hubs_are_beyond_the_tables() {
    let n = 300;
    let target = Target::Uniform { pseudo: 1.0 };
    let plan = Plan { target, ..plan(Kernel::SelfRepellent, Base::Metropolis) };
    let n_walkers = 60_000;
    let (nodes, _) = paths(hubs(n), plan, Memory::Hashed, (n_walkers, 2), 2);
    // The first step leads to a leaf, where a walker that stays has one visit.
    let leaves = 2.0 / f64::from(n);
    let p = leaves / (leaves + (1.0 - leaves) / 4.0);
    let seen = nodes.chunks(2).filter(|path| path[0] > 1 && path[1] <= 1).count() as f64;
    let z = (seen - n_walkers as f64 * p) / (n_walkers as f64 * p * (1.0 - p)).sqrt();
    assert!(z.abs() < 5.0, "{seen} of {n_walkers}, {p} expected, z {z}");
}

#[test]
fn rotors_take_turns() {
    let (nodes, _) =
        paths(graph(), plan(Kernel::Rotor, Base::Simple), Memory::Table, (20_000, 4), 2);
    follows(&nodes, 4, &|path| {
        // The exit after the last one; any exit if there was none.
        let at = path[path.len() - 1];
        let next = next_to(at);
        match path.windows(2).rfind(|two| two[0] == at) {
            Some(two) => {
                let turn = next.iter().position(|to| *to == two[1]).unwrap();
                uniform(&[next[(turn + 1) % next.len()]])
            }
            None => uniform(&next),
        }
    });
}

#[test]
fn rotors_visit_by_degree_with_bounded_error() {
    let n_steps = 10_000;
    let (nodes, _) =
        paths(graph(), plan(Kernel::Rotor, Base::Simple), Memory::Nothing, (16, n_steps), 1);
    let total: usize = rows().iter().map(Vec::len).sum();
    for path in nodes.chunks(n_steps) {
        for node in 0..6 {
            let visits = path.iter().filter(|other| **other as usize == node).count() as f64;
            let expected = n_steps as f64 * rows()[node].len() as f64 / total as f64;
            assert!((visits - expected).abs() < 12.0, "{node}: {visits} of {expected}");
        }
    }
}

#[test]
fn leaps_are_the_steps_of_the_stages() {
    // Node 3 leads nowhere.
    let sink = graph_of(&[
        vec![(1, 1.0), (2, 1.0)],
        vec![(0, 1.0), (2, 1.0), (3, 1.0)],
        vec![(0, 1.0), (1, 1.0), (2, 1.0)],
        vec![],
    ]);
    for graph in [sink, circulant(500)] {
        // So small a probability to stay that it changes the stages alone.
        let [leaps, stages] = [0.0, f64::MIN_POSITIVE].map(|laziness| {
            let plan = Plan { laziness, ..plan(Kernel::Plain, Base::Simple) };
            let (nodes, mut walkers) = paths(graph.clone(), plan, Memory::Table, (75, 100), 2);
            let mut codec = Codec::writer();
            walkers.persist(&mut codec).unwrap();
            (nodes, codec.into_words(), walkers.rows::<u32>(), walkers.n_moves())
        });
        assert_eq!(leaps, stages);
    }
}

#[test]
fn leaps_with_a_history_are_the_steps_of_the_stages() {
    let uniform = || Target::Uniform { pseudo: 0.5 };
    let degree = || Target::Degree { pseudo: 0.2, total: 20.0 };
    // Counts and degrees beyond the tables, and fewer walkers than lanes in the last block.
    for (graph, target, n_steps) in [
        (graph(), uniform(), 3000),
        (graph(), degree(), 3000),
        (hubs(200), degree(), 400),
        (circulant(500), uniform(), 400),
    ] {
        let [leaps, stages] = [0.0, f64::MIN_POSITIVE].map(|laziness| {
            let target = target.clone();
            let chain = plan(Kernel::HistoryDrivenTarget, Base::Metropolis);
            let plan = Plan { laziness, target, ..chain };
            let size = (75, n_steps);
            let (nodes, mut walkers) = paths(graph.clone(), plan, Memory::Table, size, 2);
            let mut codec = Codec::writer();
            walkers.persist(&mut codec).unwrap();
            (nodes, codec.into_words(), walkers.rows::<u32>(), walkers.n_moves())
        });
        assert_eq!(leaps, stages);
    }
}

#[test]
fn short_walks_on_large_graphs_have_no_packed_rows() {
    let (graph, chain) = (circulant(1000), plan(Kernel::Plain, Base::Simple));
    let mut walkers =
        Walkers::new(graph.clone(), chain.clone(), &[0; 9], Memory::Table, 7).unwrap();
    let short = last_steps(&mut walkers, 100, 100, 1);
    assert!(graph.view().arrays().is_none());
    let (long, _) = paths(graph.clone(), chain, Memory::Table, (9, 200), 1);
    assert!(graph.view().arrays().is_some());
    for (short, long) in short.chunks(100).zip(long.chunks(200)) {
        assert_eq!(short, &long[..100]);
    }
}
