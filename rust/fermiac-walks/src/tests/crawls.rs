//! Crawls against walks on the whole graph.
#![allow(clippy::unwrap_used)]

use super::super::graph::Graph;
use super::super::{Base, Crawlers, Kernel, Memory, Oracle, Paths, Plan, Record, Target, Walkers};
use super::{circulant, last_steps, plan};
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// A graph with shifted names of nodes.
struct Known {
    graph: Graph,
    asked: Vec<i64>,
    calls: usize,
    /// The call that fails.
    fails: usize,
}

const LESS: i64 = 1_000_000_007;

impl Known {
    fn new() -> Self {
        Self { graph: circulant(200), asked: Vec::new(), calls: 0, fails: usize::MAX }
    }
}

fn weight(node: usize) -> f64 {
    [1.0, 2.0, 0.5, 4.0][node % 4]
}

impl Oracle for Known {
    fn rows(&mut self, nodes: &[i64]) -> Result<(Vec<i64>, Vec<i64>)> {
        self.calls += 1;
        if self.calls == self.fails {
            return Err(Error::Callback { context: "in a test".into() });
        }
        self.asked.extend(nodes);
        let (mut starts, mut ids) = (vec![0], Vec::new());
        for name in nodes {
            let view = self.graph.view();
            ids.extend(view.neighbours((name + LESS) as usize).map(|id| id as i64 - LESS));
            starts.push(ids.len() as i64);
        }
        Ok((starts, ids))
    }

    fn weights(&mut self, nodes: &[i64]) -> Result<Vec<f64>> {
        Ok(nodes.iter().map(|name| weight((name + LESS) as usize)).collect())
    }
}

const N_STEPS: usize = 50;
const STARTS: [i64; 11] = [0, 8, 3, 0, 0, 100, 100, 7, 199, 8, 0];

/// Steps `from` to `until`, as nodes of the whole graph, a row for each walker.
fn go(walkers: &mut Crawlers, oracle: &mut Known, from: u64, until: u64) -> (Vec<u32>, bool) {
    let n_slots = (until - from) as usize;
    let mut nodes = vec![0; 11 * n_slots];
    let record = Record { first: from + 1, thin: 1, n_slots, paths: Paths::Short(&mut nodes) };
    let reached = walkers.run(until, record, None, oracle, &Context::serial()).is_ok();
    let names = walkers.names();
    let outside = |node: u32| (names[node as usize] + LESS) as u32;
    (nodes.into_iter().map(outside).collect(), reached)
}

fn cases() -> Vec<Plan> {
    let weights: Vec<f64> = (0..200).map(weight).collect();
    let whole = Target::table(&weights, &weights).unwrap();
    let degrees = Target::Degree { pseudo: 0.25, total: 800.0 };
    let multiple = Base::MultipleTry { tries: 3, root: true };
    [
        (Kernel::HistoryDrivenTarget, Base::Metropolis, whole.clone()),
        (Kernel::HistoryDrivenTarget, Base::DelayedAcceptance, whole.clone()),
        (Kernel::HistoryDrivenTarget, multiple, whole.clone()),
        (Kernel::SelfRepellent, Base::Barker, whole.clone()),
        (Kernel::SelfRepellent, Base::Simple, degrees.clone()),
        (Kernel::Plain, Base::DelayedAcceptance, Target::Uniform { pseudo: 1.0 }),
        (Kernel::Plain, Base::NonBacktracking, degrees.clone()),
        (Kernel::Plain, Base::Node2Vec { back: 0.5, out: 2.0 }, degrees),
    ]
    .into_iter()
    .map(|(kernel, base, target)| {
        let restart = if kernel == Kernel::Plain { 0.02 } else { 0.0 };
        Plan { restart, target, ..plan(kernel, base) }
    })
    .collect()
}

fn crawlers(plan: &Plan) -> Crawlers {
    let mut plan = plan.clone();
    if let Target::Table { .. } = plan.target {
        plan.target = Target::unknown();
    }
    Crawlers::new(plan, &STARTS.map(|node| node - LESS), 7).unwrap()
}

#[test]
fn crawls_are_walks_on_the_whole_graph() {
    for plan in cases() {
        let start = STARTS.map(|node| node as usize);
        let mut walkers =
            Walkers::new(circulant(200), plan.clone(), &start, Memory::Table, 7).unwrap();
        let whole = last_steps(&mut walkers, N_STEPS, N_STEPS, 1);
        let mut oracle = Known::new();
        let mut crawl = crawlers(&plan);
        let (nodes, reached) = go(&mut crawl, &mut oracle, 0, N_STEPS as u64);
        assert!(reached);
        assert_eq!(nodes, whole, "{:?} {:?}", plan.kernel, plan.base);
        assert_eq!(walkers.n_moves(), crawl.n_moves());
        // No node is requested twice.
        let mut asked = oracle.asked.clone();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), oracle.asked.len());
        assert_eq!(asked.len(), crawl.n_asked());
        let rows = crawl.rows().unwrap();
        assert_eq!(rows.counts.iter().sum::<u32>() as usize, 11 * N_STEPS);
    }
}

#[test]
fn crawls_go_on_after_errors_and_from_what_was_saved() {
    for plan in cases() {
        let (whole, _) = go(&mut crawlers(&plan), &mut Known::new(), 0, N_STEPS as u64);
        let mut oracle = Known::new();
        oracle.fails = 4;
        let mut crawl = crawlers(&plan);
        let (_, reached) = go(&mut crawl, &mut oracle, 0, N_STEPS as u64);
        assert!(!reached);
        let done = crawl.n_done();
        assert!(done < N_STEPS as u64);
        let mut codec = Codec::writer();
        crawl.persist(&mut codec).unwrap();
        let words = codec.into_words();
        let mut other = crawlers(&plan);
        other.persist(&mut Codec::reader(words)).unwrap();
        for crawl in [&mut crawl, &mut other] {
            let (nodes, reached) = go(crawl, &mut oracle, done, N_STEPS as u64);
            assert!(reached);
            let left = N_STEPS - done as usize;
            for (walker, path) in nodes.chunks(left).enumerate() {
                assert_eq!(path, &whole[walker * N_STEPS + done as usize..][..left]);
            }
        }
        assert_eq!(crawl.rows(), other.rows());
        assert_eq!(crawl.names(), other.names());
    }
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    struct Odd(Vec<i64>, Vec<i64>, f64);
    impl Oracle for Odd {
        fn rows(&mut self, _: &[i64]) -> Result<(Vec<i64>, Vec<i64>)> {
            Ok((self.0.clone(), self.1.clone()))
        }
        fn weights(&mut self, nodes: &[i64]) -> Result<Vec<f64>> {
            Ok(vec![self.2; nodes.len()])
        }
    }
    let mut plan = plan(Kernel::HistoryDrivenTarget, Base::Metropolis);
    plan.target = Target::unknown();
    for (starts, ids, weight) in [
        (vec![0, 3], vec![1, 2], 1.0),
        (vec![0], vec![], 1.0),
        (vec![1, 2], vec![1, 2], 1.0),
        (vec![0, 0], vec![], 1.0),
        (vec![0, 2], vec![1, 2], 0.0),
        (vec![0, 2], vec![1, 2], f64::NAN),
    ] {
        let mut crawl = Crawlers::new(plan.clone(), &[0], 1).unwrap();
        let mut oracle = Odd(starts, ids, weight);
        let run = crawl.run(1, Record::nothing(), None, &mut oracle, &Context::serial());
        assert!(matches!(run, Err(Error::Target { .. })), "{run:?}");
    }
}
