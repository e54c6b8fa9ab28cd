//! Tokens beside the recursion written out, on any number of threads, and after failures.
#![allow(clippy::unwrap_used)]

use super::{Curvature, Foreign, Loss, Nodes, Projection, Quadratic, Rule, StepSizes, Tokens};
use super::{Data, Link, Trace};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn rule() -> Rule {
    Rule {
        sizes: StepSizes::Power { scale: 1.0, exponent: 0.9 },
        momentum: 0.3,
        clip: None,
        projection: Projection::Nothing,
        local_steps: 1,
        batch: usize::MAX,
        average_after: Some(3),
        sync: Some(5),
    }
}

/// Nodes in an order that nothing has.
fn paths(tokens: usize, steps: usize) -> Vec<u32> {
    (0..tokens * steps).map(|i| (i * i * 7 % 11 % 4) as u32).collect()
}

fn loss() -> Loss {
    let b = [1.0, 2.0, -1.0, 0.5, 3.0, 0.0, 4.0, -2.0];
    Loss::Quadratic(Arc::new(Quadratic::new(2, &b, Curvature::Scalars(vec![1.0; 4])).unwrap()))
}

fn run(tokens: &mut Tokens, loss: &Loss, paths: &[u32], first: u64, threads: usize) -> Result<()> {
    let context = Context::new(threads, |_, _| Ok(())).unwrap();
    let trace = Trace { first: 0, every: 1, values: &mut [] };
    tokens.run(loss, Nodes::Short(paths), first, trace, &context)
}

/// Fails at a call, and gives θ otherwise.
struct Failing {
    calls: AtomicUsize,
    at: usize,
    dispatch: Dispatch,
}

impl Foreign for Failing {
    fn dim(&self) -> usize {
        2
    }

    fn dispatch(&self) -> Dispatch {
        self.dispatch
    }

    fn gradients(&self, theta: &[f64], nodes: &[i64], out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(theta);
        if self.calls.fetch_add(nodes.len(), Ordering::Relaxed) >= self.at {
            return Err(Error::target("no"));
        }
        Ok(())
    }
}

#[test]
fn the_recursion_written_out() {
    let steps = 40;
    let path = paths(1, steps);
    let mut tokens = Tokens::new(Rule { sync: None, ..rule() }, 2, &[0.0, 1.0], 7).unwrap();
    run(&mut tokens, &loss(), &path, 0, 1).unwrap();
    let b = [[1.0, 2.0], [-1.0, 0.5], [3.0, 0.0], [4.0, -2.0]];
    let (mut theta, mut v, mut mean) = ([0.0, 1.0], [0.0; 2], [0.0; 2]);
    for (n, node) in path.iter().enumerate() {
        for k in 0..2 {
            v[k] = 0.3 * v[k] + (theta[k] - b[*node as usize][k]);
            theta[k] -= (n as f64 + 2.0).powf(-0.9) * v[k];
            if n >= 3 {
                mean[k] += (theta[k] - mean[k]) / (n as f64 - 2.0);
            }
        }
    }
    for k in 0..2 {
        assert!((tokens.theta()[k] - theta[k]).abs() < 1e-13);
        assert!((tokens.mean()[k] - mean[k]).abs() < 1e-13);
    }
}

#[test]
fn threads_and_parts_change_no_bit() {
    let (n, steps) = (13, 64);
    let path = paths(n, steps);
    let theta: Vec<f64> = (0..2 * n).map(|i| i as f64).collect();
    let mut whole = Tokens::new(rule(), 2, &theta, 7).unwrap();
    run(&mut whole, &loss(), &path, 0, 1).unwrap();
    for threads in [2, 3, 8] {
        let mut other = Tokens::new(rule(), 2, &theta, 7).unwrap();
        run(&mut other, &loss(), &path, 0, threads).unwrap();
        assert_eq!(other.save(), whole.save());
    }
    // The path of the second part begins where that of the first ends.
    let cut = |from: usize, to: usize| -> Vec<u32> {
        path.chunks(steps).flat_map(|row| row[from..to].to_vec()).collect()
    };
    let mut first = Tokens::new(rule(), 2, &theta, 7).unwrap();
    run(&mut first, &loss(), &cut(0, 23), 0, 2).unwrap();
    let mut second = Tokens::new(rule(), 2, &theta, 7).unwrap();
    second.load(&first.save()).unwrap();
    run(&mut second, &loss(), &cut(23, steps), 23, 2).unwrap();
    assert_eq!(second.save(), whole.save());
    assert!(second.load(&first.save()[1..]).is_err());
}

#[test]
fn after_a_failure_all_tokens_are_at_one_step() {
    let (n, steps) = (6, 50);
    let path = paths(n, steps);
    for dispatch in [Dispatch::AnyThread, Dispatch::CallingThread] {
        let failing =
            |at| Loss::Foreign(Arc::new(Failing { calls: AtomicUsize::new(0), at, dispatch }));
        let mut tokens = Tokens::new(rule(), 2, &[1.0; 12], 1).unwrap();
        let outcome = run(&mut tokens, &failing(120), &path, 0, 1);
        assert_eq!(outcome, Err(Error::target("no")));
        assert!(tokens.n_done() < 50);
        run(&mut tokens, &failing(usize::MAX), &path, 0, 1).unwrap();
        let mut whole = Tokens::new(rule(), 2, &[1.0; 12], 1).unwrap();
        run(&mut whole, &failing(usize::MAX), &path, 0, 1).unwrap();
        assert_eq!(tokens.save(), whole.save());
    }
}

#[test]
fn lost_parameters_are_found_at_the_first_step() {
    let centers = [0.0, 0.0, 0.0, f64::MAX];
    let made = Quadratic::new(1, &centers, Curvature::Same(4.0)).unwrap();
    let loss = Loss::Quadratic(Arc::new(made));
    let path: Vec<u32> = (0..3 * 20).map(|i| u32::from(i == 15 || i == 32) * 3).collect();
    let rule = Rule { sync: None, momentum: 0.0, average_after: None, ..rule() };
    for threads in [1, 2] {
        let mut tokens = Tokens::new(rule.clone(), 1, &[1.0; 3], 1).unwrap();
        assert!(matches!(run(&mut tokens, &loss, &path, 0, threads), Err(Error::Numerical(_))));
        let lost = tokens.lost().unwrap();
        assert_eq!((lost.step, lost.token, lost.node), (13, 1, 3));
        assert_eq!(tokens.n_done(), 12);
    }
}

#[test]
fn long_gradients_are_cut_and_parameters_brought_back() {
    let made = Quadratic::new(2, &[-3e200, -4e200], Curvature::Same(1e100)).unwrap();
    let loss = Loss::Quadratic(Arc::new(made));
    let sizes = StepSizes::Table(vec![1.0]);
    let plain = Rule { sync: None, momentum: 0.0, average_after: None, sizes, ..rule() };
    let mut tokens =
        Tokens::new(Rule { clip: Some(5.0), ..plain.clone() }, 2, &[0.0; 2], 1).unwrap();
    run(&mut tokens, &loss, &[0], 0, 1).unwrap();
    assert!((tokens.theta()[0] + 3.0).abs() < 1e-14 && (tokens.theta()[1] + 4.0).abs() < 1e-14);
    let projection = Projection::Ball(10.0);
    let mut tokens = Tokens::new(Rule { projection, ..plain.clone() }, 2, &[0.0; 2], 1).unwrap();
    run(&mut tokens, &loss, &[0], 0, 1).unwrap();
    assert!((tokens.theta()[0] + 6.0).abs() < 1e-14 && (tokens.theta()[1] + 8.0).abs() < 1e-14);
    assert!(run(&mut tokens, &loss, &[0], 1, 1).is_err()); // no size for a second step
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(Quadratic::new(2, &[1.0; 3], Curvature::Same(1.0)).is_err());
    assert!(Quadratic::new(2, &[1.0; 4], Curvature::Full(vec![1.0; 4])).is_err());
    let data =
        |starts: Vec<usize>| Data::new(1, &[1.0; 3], vec![0.0; 3], starts, Link::Square, 0.0);
    assert!(data(vec![0, 1, 3]).is_ok());
    for starts in [vec![0, 2], vec![0, 0, 3], vec![0, 4, 3], vec![3]] {
        assert!(data(starts).is_err());
    }
    let mut tokens = Tokens::new(rule(), 2, &[0.0; 2], 1).unwrap();
    assert!(run(&mut tokens, &loss(), &[4], 0, 1).is_err()); // no such node
    assert!(run(&mut tokens, &loss(), &[1], 5, 1).is_err()); // not where tokens are
    assert!(Tokens::new(rule(), 2, &[0.0; 3], 1).is_err());
}
