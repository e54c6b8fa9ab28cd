//! Histories of all kinds against each other and against their laws.
#![allow(clippy::unwrap_used)]

use super::super::{Base, Kernel, Memory, Plan, RowSlices, Rows, Target, Walkers};
use super::{
    TARGET, circulant, follows, graph, last_steps, metropolis, next_to, paths, plan, potential,
};
use fermiac_base::store::Codec;
use std::ops::Range;

#[test]
fn hashed_histories_give_the_same_bits() {
    let bases = [Base::Metropolis, Base::DelayedAcceptance, Base::Barker, Base::Simple];
    let mut kernels: Vec<_> =
        bases[..3].iter().map(|base| plan(Kernel::HistoryDrivenTarget, *base)).collect();
    kernels.extend(bases.iter().map(|base| plan(Kernel::SelfRepellent, *base)));
    kernels.push(plan(Kernel::TrueSelfAvoiding, Base::Metropolis));
    kernels.push(plan(Kernel::Plain, Base::Weighted));
    let graph = circulant(3000);
    for mut plan in kernels {
        let n = 3000;
        let weights: Vec<f64> = (0..n).map(|i| 1.0 + f64::from(i % 5)).collect();
        plan.target = Target::table(&weights, &weights).unwrap();
        for step_exponent in [1.0, 0.7] {
            let plan = Plan { step_exponent, ..plan.clone() };
            let one = paths(graph.clone(), plan.clone(), Memory::Table, (19, 400), 1);
            let two = paths(graph.clone(), plan, Memory::Hashed, (19, 400), 2);
            assert_eq!(one.0, two.0);
            assert_eq!(one.1.rows::<u32>().unwrap(), two.1.rows().unwrap());
        }
    }
}

/// ln of the level of each node after visits.
fn log_levels(visits: &[usize]) -> Vec<f64> {
    (0..6)
        .map(|node| {
            let n = visits.iter().filter(|other| **other == node).count() as f64;
            ((1.0 + n) / TARGET[node]).ln()
        })
        .collect()
}

fn bent(at: usize, log_levels: &[f64]) -> Vec<f64> {
    let potentials: Vec<f64> = (0..6).map(|node| potential(node, log_levels[node])).collect();
    metropolis(at, &potentials)
}

#[test]
fn one_walker_shares_its_history_with_nobody() {
    for base in [Base::Metropolis, Base::DelayedAcceptance] {
        for kernel in [Kernel::HistoryDrivenTarget, Kernel::SelfRepellent] {
            for step_exponent in [1.0, 0.8] {
                let plan = Plan { step_exponent, ..plan(kernel, base) };
                let one = paths(graph(), plan.clone(), Memory::Table, (1, 300), 1);
                let two =
                    paths(graph(), plan.clone(), Memory::Shared { counts: false }, (1, 300), 1);
                assert_eq!(one.0, two.0);
                if step_exponent == 1.0 {
                    let three =
                        paths(graph(), plan, Memory::Unordered { counts: true }, (1, 300), 1);
                    assert_eq!(one.0, three.0);
                }
            }
        }
    }
}

#[test]
fn shared_histories_show_what_steps_before_have_left() {
    let mut joint = Vec::new();
    for key in 0..30_000 {
        let plan = plan(Kernel::HistoryDrivenTarget, Base::Metropolis);
        let mut walkers =
            Walkers::new(graph(), plan, &[0, 4], Memory::Shared { counts: false }, key).unwrap();
        let nodes = last_steps(&mut walkers, 2, 2, 1);
        assert_eq!(walkers.totals().unwrap().iter().sum::<u64>(), 4);
        // Both, step by step.
        joint.extend([nodes[0], nodes[2], nodes[1], nodes[3]]);
    }
    // The law of the four nodes, each after those before it.
    follows(&joint, 4, &|path| match path {
        [_] => bent(0, &log_levels(&[])),
        [_, _] => bent(4, &log_levels(&[])),
        [_, a, b] => bent(*a, &log_levels(&[*a, *b])),
        [_, a, b, _] => bent(*b, &log_levels(&[*a, *b])),
        _ => unreachable!(),
    });
}

#[test]
fn shared_histories_are_the_same_on_any_number_of_threads() {
    for kernel in [Kernel::HistoryDrivenTarget, Kernel::SelfRepellent, Kernel::TrueSelfAvoiding] {
        for step_exponent in [1.0, 0.7] {
            let mut plan = Plan { step_exponent, ..plan(kernel, Base::Metropolis) };
            plan.target = Target::Uniform { pseudo: 1.0 };
            plan.pseudo_total = 500.0;
            let memory = Memory::Shared { counts: true };
            let run = |n_threads| {
                let (nodes, walkers) =
                    paths(circulant(500), plan.clone(), memory, (61, 60), n_threads);
                (nodes, walkers.totals().unwrap(), walkers.rows::<u32>())
            };
            let one = run(1);
            assert_eq!(one.1.iter().sum::<u64>(), 61 * 60);
            for n_threads in [2, 3, 8] {
                assert_eq!(one, run(n_threads), "{kernel:?} {step_exponent} {n_threads}");
            }
        }
    }
}

#[test]
fn unordered_visits_are_all_counted() {
    for n_threads in [1, 3] {
        let plan = plan(Kernel::HistoryDrivenTarget, Base::DelayedAcceptance);
        let (nodes, walkers) =
            paths(graph(), plan, Memory::Unordered { counts: true }, (40, 500), n_threads);
        let mut totals = vec![0; 6];
        nodes.iter().for_each(|node| totals[*node as usize] += 1);
        assert_eq!(walkers.totals().unwrap(), totals);
        assert_eq!(walkers.rows::<u32>().unwrap().counts.iter().sum::<u32>(), 20_000);
    }
    let plan =
        Plan { step_exponent: 0.7, ..plan(Kernel::HistoryDrivenTarget, Base::DelayedAcceptance) };
    assert!(Walkers::new(graph(), plan, &[0], Memory::Unordered { counts: true }, 1).is_err());
}

/// The law of a walker that remembers `size` nodes.
fn forgetful(path: &[usize], size: usize) -> Vec<f64> {
    let mut ring: Vec<(usize, f64)> = Vec::new();
    let mean = |ring: &[(usize, f64)], at: usize| {
        let near = [&next_to(at)[..], &[at]].concat();
        let known: Vec<f64> =
            ring.iter().filter(|(node, _)| near.contains(node)).map(|of| of.1).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    for two in path.windows(2) {
        let level = match ring.iter().position(|(node, _)| *node == two[1]) {
            Some(at) => ring.remove(at).1,
            None => mean(&ring, two[0]).unwrap_or(1.0 / TARGET[two[1]]),
        };
        ring.push((two[1], level + 1.0 / TARGET[two[1]]));
        if ring.len() > size {
            ring.remove(0);
        }
    }
    let at = path[path.len() - 1];
    let mean = mean(&ring, at);
    let levels: Vec<f64> = (0..6)
        .map(|node| {
            let known = ring.iter().find(|(other, _)| *other == node).map(|of| of.1);
            known.or(mean).unwrap_or(1.0 / TARGET[node]).ln()
        })
        .collect();
    bent(at, &levels)
}

#[test]
fn forgetful_walkers_estimate_what_they_have_forgotten() {
    for size in [1, 2, 4] {
        let plan = plan(Kernel::HistoryDrivenTarget, Base::Metropolis);
        let memory = Memory::Recent { size, counts: true };
        let (nodes, walkers) = paths(graph(), plan, memory, (30_000, 4), 2);
        follows(&nodes, 4, &|path| forgetful(path, size));
        let rows = walkers.rows::<u32>().unwrap();
        assert_eq!(rows.counts.iter().sum::<u32>(), 120_000);
    }
}

#[test]
fn walkers_go_on_where_they_were_saved() {
    let (bent, several) =
        (Kernel::HistoryDrivenTarget, Base::MultipleTry { tries: 3, root: false });
    let cases = [
        (bent, Base::DelayedAcceptance, Memory::Hashed, 1.0),
        (bent, Base::Metropolis, Memory::Hashed, 0.7),
        (bent, Base::Metropolis, Memory::Recent { size: 3, counts: true }, 1.0),
        (bent, several, Memory::Shared { counts: false }, 1.0),
        (Kernel::SelfRepellent, Base::Metropolis, Memory::Shared { counts: true }, 0.7),
        (Kernel::Rotor, Base::Simple, Memory::Nothing, 1.0),
        (Kernel::Plain, Base::Node2Vec { back: 0.5, out: 2.0 }, Memory::Hashed, 1.0),
        (Kernel::Plain, Base::NonBacktracking, Memory::Table, 1.0),
    ];
    for (kernel, base, memory, step_exponent) in cases {
        let plan = Plan { step_exponent, restart: 0.05, ..plan(kernel, base) };
        let new = || Walkers::new(graph(), plan.clone(), &[0; 11], memory, 3).unwrap();
        let mut one = new();
        let whole = last_steps(&mut one, 80, 40, 1);
        let mut half = new();
        last_steps(&mut half, 40, 0, 1);
        let mut codec = Codec::writer();
        half.persist(&mut codec).unwrap();
        let rows = half.rows::<u32>();
        let mut two = new();
        two.persist(&mut Codec::reader(codec.into_words())).unwrap();
        if let Some(rows) = &rows {
            let Rows { starts, nodes, counts, logs } = rows;
            two.remember(RowSlices { starts, nodes, counts, logs }).unwrap();
        }
        assert_eq!(last_steps(&mut two, 80, 40, 1), whole, "{kernel:?} {base:?} {memory:?}");
        assert_eq!(one.rows::<u32>(), two.rows());
        assert_eq!(one.totals(), two.totals());
    }
}

/// The visits of all walkers in some of `n_steps` steps.
fn counted(nodes: &[u32], steps: Range<usize>, n_steps: usize, n_nodes: usize) -> Vec<u64> {
    let mut out = vec![0; n_nodes];
    for path in nodes.chunks(n_steps) {
        path[steps.clone()].iter().for_each(|node| out[*node as usize] += 1);
    }
    out
}

#[test]
fn logs_and_tables_have_the_visits_of_paths() {
    // A log to the end, and tables that take a log several times, with wider counts.
    for (n_nodes, n_steps) in [(9000, 500), (9000, 3000), (100, 3000), (100, 40_000)] {
        for (kernel, base) in [
            (Kernel::Plain, Base::Simple),
            (Kernel::Plain, Base::NonBacktracking),
            (Kernel::HistoryDrivenTarget, Base::Metropolis),
        ] {
            let mut plan = Plan { base, ..plan(kernel, base) };
            plan.target = Target::Uniform { pseudo: 1.0 };
            let (nodes, walkers) =
                paths(circulant(n_nodes), plan.clone(), Memory::Table, (11, n_steps), 2);
            let n_nodes = n_nodes as usize;
            let totals = counted(&nodes, 0..n_steps, n_steps, n_nodes);
            assert_eq!(walkers.totals().unwrap(), totals);
            let rows = walkers.rows::<u32>().unwrap();
            for (walker, path) in nodes.chunks(n_steps).enumerate() {
                let mut own = vec![0; n_nodes];
                path.iter().for_each(|node| own[*node as usize] += 1);
                assert_eq!(walkers.visits(walker).unwrap(), own);
                let row = rows.starts[walker] as usize..rows.starts[walker + 1] as usize;
                let seen: Vec<_> = (0..).zip(&own).filter(|(_, visits)| **visits > 0).collect();
                let (found, counts) = (&rows.nodes[row.clone()], &rows.counts[row]);
                assert!(found.iter().zip(counts).eq(seen.iter().map(|(node, n)| (node, *n))));
            }
            if (n_steps as u64) <= walkers.logged_until() {
                for (from, until) in [(0, 0), (0, 1), (76, 77), (3, n_steps), (0, n_steps)] {
                    let some = counted(&nodes, from..until, n_steps, n_nodes);
                    assert_eq!(walkers.totals_between(from as u64, until as u64), Some(some));
                }
                let until = n_steps / 2;
                let half = paths(circulant(n_nodes as u32), plan, Memory::Table, (11, until), 1).1;
                assert_eq!(walkers.rows_at::<u32>(until as u64), half.rows());
                assert_eq!(walkers.rows_at::<u32>(n_steps as u64), Some(rows));
            } else {
                assert_eq!(walkers.totals_between(0, n_steps as u64), None);
                assert!(walkers.rows_at::<u32>(1).is_none());
            }
        }
    }
}

#[test]
fn restored_visits_are_added_to_later_ones() {
    for (n_nodes, n_steps) in [(9000_u32, 500), (9000, 3000), (100, 3000)] {
        let plan = Plan { base: Base::Simple, ..plan(Kernel::Plain, Base::Simple) };
        let new =
            || Walkers::new(circulant(n_nodes), plan.clone(), &[0; 11], Memory::Table, 7).unwrap();
        let (mut whole, mut half, mut other) = (new(), new(), new());
        last_steps(&mut whole, 2 * n_steps, 1, 1);
        last_steps(&mut half, n_steps, 1, 1);
        let mut codec = Codec::writer();
        half.persist(&mut codec).unwrap();
        other.persist(&mut Codec::reader(codec.into_words())).unwrap();
        let rows = half.rows::<u32>().unwrap();
        let Rows { starts, nodes, counts, logs } = &rows;
        other.remember(RowSlices { starts, nodes, counts, logs }).unwrap();
        assert_eq!(other.rows::<u32>().as_ref(), Some(&rows));
        assert_eq!(other.totals_between(0, 1), None);
        last_steps(&mut other, 2 * n_steps, 1, 1);
        assert_eq!(whole.rows::<u32>(), other.rows());
        assert_eq!(whole.totals(), other.totals());
    }
}
