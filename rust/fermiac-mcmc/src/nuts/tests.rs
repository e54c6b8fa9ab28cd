//! The iteration of the tree compared with the recursion.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernel::{Metric, MetricKind};
use fermiac_base::rng::Domain;

/// A correlated law with a bend, so that trajectories turn, diverge and continue.
fn density(x: &[f64], gradient: &mut [f64]) -> f64 {
    let (a, b, c) = (x[0], x[1] - x[0] * x[0], x[2]);
    gradient.copy_from_slice(&[-a + 4.0 * a * b, -2.0 * b, -9.0 * c]);
    -0.5 * a * a - b * b - 4.5 * c * c
}

#[derive(Clone)]
struct State {
    x: Vec<f64>,
    p: Vec<f64>,
    g: Vec<f64>,
    energy: f64,
}

struct Built {
    first: State,
    last: State,
    sum: Vec<f64>,
    sample: State,
    log_weight: f64,
}

struct Recursion<'a> {
    stream: &'a mut Stream,
    step: f64,
    start: f64,
    n_steps: usize,
    accept: f64,
    diverging: bool,
}

fn energy(x: &[f64], p: &[f64], g: &mut [f64]) -> f64 {
    0.5 * dot(p, p) - density(x, g)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn log_add(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}

fn goes_on(a: &Built, b: &Built) -> bool {
    let whole = plus(&a.sum, &b.sum);
    let early = plus(&a.sum, &b.first.p);
    let late = plus(&b.sum, &a.last.p);
    [
        dot(&a.first.p, &whole),
        dot(&b.last.p, &whole),
        dot(&a.first.p, &early),
        dot(&b.first.p, &early),
        dot(&a.last.p, &late),
        dot(&b.last.p, &late),
    ]
    .into_iter()
    .all(|product| product > 0.0)
}

impl Recursion<'_> {
    fn build(&mut self, from: &State, depth: usize) -> Option<Built> {
        if depth == 0 {
            let mut s = from.clone();
            for i in 0..3 {
                s.p[i] += 0.5 * self.step * s.g[i];
                s.x[i] += self.step * s.p[i];
            }
            density(&s.x, &mut s.g);
            for i in 0..3 {
                s.p[i] += 0.5 * self.step * s.g[i];
            }
            s.energy = energy(&s.x, &s.p, &mut s.g);
            self.n_steps += 1;
            let error = s.energy - self.start;
            if error > 1000.0 {
                self.diverging = true;
                return None;
            }
            self.accept += (-error).exp().min(1.0);
            let sum = s.p.clone();
            let (first, last) = (s.clone(), s.clone());
            return Some(Built { first, last, sum, sample: s, log_weight: -error });
        }
        let a = self.build(from, depth - 1)?;
        let b = self.build(&a.last, depth - 1)?;
        if !goes_on(&a, &b) {
            return None;
        }
        let log_weight = log_add(a.log_weight, b.log_weight);
        let sum = plus(&a.sum, &b.sum);
        let take = self.stream.uniform().ln() < b.log_weight - log_weight;
        let sample = if take { b.sample } else { a.sample };
        Some(Built { first: a.first, last: b.last, sum, sample, log_weight })
    }

    fn transition(&mut self, x: &[f64], max_depth: usize) -> (State, usize) {
        let mut p = vec![0.0; 3];
        self.stream.fill_normal(&mut p);
        let mut g = vec![0.0; 3];
        self.start = energy(x, &p, &mut g);
        let s = State { x: x.to_vec(), p: p.clone(), g, energy: self.start };
        let mut whole =
            Built { first: s.clone(), last: s.clone(), sum: p, sample: s, log_weight: 0.0 };
        for depth in 0..max_depth {
            if self.stream.uniform() < 0.5 {
                std::mem::swap(&mut whole.first, &mut whole.last);
                self.step = -self.step;
            }
            let last = whole.last.clone();
            let Some(more) = self.build(&last, depth) else {
                return (whole.sample, depth);
            };
            let stays = goes_on(&whole, &more);
            if self.stream.uniform().ln() < more.log_weight - whole.log_weight {
                whole.sample = more.sample;
            }
            whole.log_weight = log_add(whole.log_weight, more.log_weight);
            whole.sum = plus(&whole.sum, &more.sum);
            whole.last = more.last;
            if !stays {
                return (whole.sample, depth + 1);
            }
        }
        (whole.sample, max_depth)
    }
}

/// One transition with the answers of `density`.
fn run(kernel: &mut Nuts, stream: &mut Stream) {
    while let Step::Request(_) = kernel.advance(stream).unwrap() {
        let buffer = kernel.eval_buffer();
        buffer.values[0] = density(buffer.points, buffer.gradients);
    }
}

#[test]
fn the_iteration_is_the_recursion() {
    let (mut n_diverging, mut n_abandoned) = (0, 0);
    for (i, step) in [0.02, 0.1, 0.3, 0.6, 0.9, 1.5].into_iter().enumerate() {
        let max_depth = if i % 2 == 0 { 10 } else { 4 };
        let scale = Scale::new(3, MetricKind::Fixed, Metric::Unit);
        let mut kernel = Nuts::new(StepSize::fixed(step), max_depth, scale);
        let mut stream = Stream::new(7, Domain::Chain, i as u64, 0);
        let mut twin = stream.clone();
        let mut x = vec![0.3, -0.2, 0.1];
        kernel.begin(&x);
        for _ in 0..60 {
            run(&mut kernel, &mut stream);
            let mut recursion = Recursion {
                stream: &mut twin,
                step,
                start: 0.0,
                n_steps: 0,
                accept: 0.0,
                diverging: false,
            };
            let (state, depth) = recursion.transition(&x, max_depth);
            let mut stats = [0.0; 8];
            kernel.write_stats(&mut stats);
            let [accept, energy, error, diverging, n_steps, tree_depth, reached, _] = stats;
            assert_eq!(n_steps, recursion.n_steps as f64);
            assert_eq!(tree_depth, depth as f64);
            assert_eq!(diverging == 1.0, recursion.diverging);
            assert_eq!(reached == 1.0, depth == max_depth);
            let mean = recursion.accept / recursion.n_steps as f64;
            assert!((accept - mean).abs() < 1e-8, "{accept} {mean}");
            assert!((energy - state.energy).abs() < 1e-7 * (1.0 + energy.abs()));
            assert!((error - (state.energy - recursion.start)).abs() < 1e-7);
            let point = kernel.point(0);
            for (a, b) in point.x.iter().zip(&state.x) {
                assert!((a - b).abs() < 1e-8, "{a} {b}");
            }
            n_diverging += usize::from(recursion.diverging);
            n_abandoned += usize::from(recursion.n_steps + 1 != 1 << depth);
            // Rounding errors must not add up over transitions.
            x = point.x.to_vec();
        }
    }
    assert!(n_diverging > 5 && n_abandoned > 50, "{n_diverging} {n_abandoned}");
}

#[test]
fn weights_far_above_the_first_do_not_overflow() {
    // From a start with an energy of 5e5, of which a step on a parabola loses most.
    let scale = Scale::new(1, MetricKind::Fixed, Metric::Unit);
    let mut kernel = Nuts::new(StepSize::fixed(1.0), 10, scale);
    let mut stream = Stream::new(3, Domain::Chain, 0, 0);
    kernel.begin(&[1000.0]);
    while let Step::Request(_) = kernel.advance(&mut stream).unwrap() {
        let buffer = kernel.eval_buffer();
        // A cliff: beyond 600 the density is lower by 1e5 than a parabola says.
        let x = buffer.points[0];
        buffer.values[0] = -0.5 * x * x - if x.abs() > 600.0 { 1e5 } else { 0.0 };
        buffer.gradients[0] = -x;
    }
    let mut stats = [0.0; 8];
    kernel.write_stats(&mut stats);
    assert!(stats[0].is_finite() && stats[1].is_finite());
    assert!(kernel.point(0).x[0].abs() <= 600.0);
}
