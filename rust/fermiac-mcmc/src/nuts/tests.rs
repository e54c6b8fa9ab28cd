//! The iteration of the tree compared with the recursion, with leapfrog steps and with steps that are
//! halved where needed.
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

/// A leapfrog step.
fn leapfrog(from: &State, step: f64) -> State {
    let mut s = from.clone();
    for i in 0..3 {
        s.p[i] += 0.5 * step * s.g[i];
        s.x[i] += step * s.p[i];
    }
    density(&s.x, &mut s.g);
    for i in 0..3 {
        s.p[i] += 0.5 * step * s.g[i];
    }
    s.energy = energy(&s.x, &s.p, &mut s.g);
    s
}

/// The outcomes of macro steps.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Reached,
    Irreversible,
    Diverged,
}

/// The rule of macro steps, word by word.
#[derive(Debug, Clone, Copy)]
struct Rule {
    tolerance: f64,
    most: usize,
    /// The energy of the first state of the trajectory.
    start: f64,
}

impl Rule {
    /// 2^k leapfrog steps while they are accurate, or at the largest k if they do not diverge, and
    /// the evaluations.
    fn attempt(self, from: &State, step: f64, k: usize, n: &mut usize) -> Option<State> {
        let (mut s, mut low, mut high) = (from.clone(), from.energy, from.energy);
        let size = step / f64::from(1 << k);
        for _ in 0..1 << k {
            let before = s;
            s = leapfrog(&before, size);
            *n += 1;
            (low, high) = (low.min(s.energy), high.max(s.energy));
            let mut square = 0.0;
            for i in 0..3 {
                let middle = 0.5 * (before.p[i] + s.p[i]) + 0.25 * size * (before.g[i] - s.g[i]);
                let work = (middle * (s.g[i] - before.g[i])).abs();
                let force = before.g[i] * before.g[i] + s.g[i] * s.g[i];
                square += (0.125 * size.abs() * work + 0.0625 * size * size * force).powi(2);
            }
            let is_accurate = high - low <= self.tolerance && square.sqrt() <= 0.8 * self.tolerance;
            let is_allowed =
                if k < self.most { is_accurate } else { s.energy - self.start <= 1000.0 };
            if !is_allowed {
                return None;
            }
        }
        Some(s)
    }

    /// The least number of halvings, and the end of the step if its energies allow it.
    fn reach(self, from: &State, step: f64, n: &mut usize) -> (usize, Option<State>) {
        for k in 0..self.most {
            if let Some(s) = self.attempt(from, step, k, n) {
                return (k, Some(s));
            }
        }
        (self.most, self.attempt(from, step, self.most, n))
    }

    /// The end of a macro step, its number of halvings, and its evaluations.
    fn step(self, from: &State, step: f64) -> (Outcome, State, usize, usize) {
        let mut n = 0;
        let (k, end) = self.reach(from, step, &mut n);
        let Some(end) = end else { return (Outcome::Diverged, from.clone(), k, n) };
        let coarser = (0..k).any(|j| self.attempt(&end, -step, j, &mut n).is_some());
        let outcome = if coarser { Outcome::Irreversible } else { Outcome::Reached };
        (outcome, end, k, n)
    }
}

struct Recursion<'a> {
    stream: &'a mut Stream,
    step: f64,
    rule: Option<Rule>,
    n_gradients: usize,
    halvings: [usize; 2],
    outcome: Outcome,
    coarse: f64,
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

impl<'a> Recursion<'a> {
    fn new(stream: &'a mut Stream, step: f64, rule: Option<Rule>) -> Self {
        Self {
            stream,
            step,
            rule,
            n_gradients: 0,
            halvings: [usize::MAX, 0],
            outcome: Outcome::Reached,
            coarse: 0.0,
            start: 0.0,
            n_steps: 0,
            accept: 0.0,
            diverging: false,
        }
    }

    fn build(&mut self, from: &State, depth: usize) -> Option<Built> {
        if depth == 0 {
            let s = match self.rule {
                None => leapfrog(from, self.step),
                Some(rule) => {
                    let rule = Rule { start: self.start, ..rule };
                    let (outcome, s, k, n) = rule.step(from, self.step);
                    self.n_gradients += n;
                    self.halvings = [self.halvings[0].min(k), self.halvings[1].max(k)];
                    let coarse = leapfrog(from, self.step).energy;
                    self.coarse += (self.start - coarse).exp().min(1.0);
                    self.outcome = outcome;
                    if outcome != Outcome::Reached {
                        self.n_steps += 1;
                        return None;
                    }
                    s
                }
            };
            self.n_steps += 1;
            let error = s.energy - self.start;
            if self.rule.is_none() && error > 1000.0 {
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
fn run(kernel: &mut dyn Kernel, stream: &mut Stream) {
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
            let mut recursion = Recursion::new(&mut twin, step, None);
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

#[test]
fn the_iteration_with_macro_steps_is_the_recursion() {
    let mut counts = [0; 3];
    let mut most = 0;
    for (i, step) in [0.1, 0.3, 0.6, 0.9, 1.5, 4.0].into_iter().enumerate() {
        let rule = Rule {
            tolerance: [0.3, 0.05, 1.0][i % 3],
            most: if i == 5 { 2 } else { 8 },
            start: 0.0,
        };
        let options = WalnutsOptions {
            max_depth: if i % 2 == 0 { 10 } else { 4 },
            energy_tolerance: rule.tolerance,
            max_halvings: rule.most,
        };
        let scale = Scale::new(3, MetricKind::Fixed, Metric::Unit);
        let mut kernel = Walnuts::new(StepSize::fixed(step), &options, scale);
        let mut stream = Stream::new(8, Domain::Chain, i as u64, 0);
        let mut twin = stream.clone();
        let mut x = vec![0.3, -0.2, 0.1];
        kernel.begin(&x);
        for t in 0..60 {
            if t == 30 {
                // The far tail.
                x = vec![12.0, -3.0, 0.1];
                kernel.begin(&x);
            }
            run(&mut kernel, &mut stream);
            let mut recursion = Recursion::new(&mut twin, step, Some(rule));
            let (state, depth) = recursion.transition(&x, options.max_depth);
            let mut stats = [0.0; 12];
            kernel.write_stats(&mut stats);
            let n_steps = recursion.n_steps as f64;
            assert_eq!(stats[8], n_steps);
            assert_eq!(stats[4], recursion.n_gradients as f64);
            assert_eq!(stats[5], depth as f64);
            assert_eq!(stats[9..11], recursion.halvings.map(|k| k as f64));
            let outcome = recursion.outcome;
            assert_eq!(stats[3] == 1.0, outcome == Outcome::Diverged);
            assert_eq!(stats[11] == 1.0, outcome == Outcome::Irreversible);
            assert!((stats[0] - recursion.accept / n_steps).abs() < 1e-7);
            assert!((kernel.coarse_sum - recursion.coarse).abs() < 1e-6 * n_steps);
            let point = kernel.point(0);
            for (a, b) in point.x.iter().zip(&state.x) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
            counts[outcome as usize] += 1;
            most = most.max(recursion.halvings[1]);
            x = point.x.to_vec();
        }
    }
    assert!(counts.iter().all(|n| *n > 5) && most == 8, "{counts:?} {most}");
}

#[test]
fn an_orbit_is_the_same_from_each_of_its_states() {
    let mut stream = Stream::new(9, Domain::Chain, 0, 0);
    let (mut n_reached, mut n_irreversible, mut halved) = (0, 0, 0);
    for _ in 0..2000 {
        let rule = Rule { tolerance: 0.1, most: 6, start: 0.0 };
        let step = 0.2 + stream.uniform();
        let (mut x, mut p, mut g) = (vec![0.0; 3], vec![0.0; 3], vec![0.0; 3]);
        stream.fill_normal(&mut x);
        stream.fill_normal(&mut p);
        x[1] += x[0] * x[0];
        let energy = energy(&x, &p, &mut g);
        let mut s = State { x, p, g, energy };
        for _ in 0..8 {
            let (outcome, end, k, _) = rule.step(&s, step);
            if outcome == Outcome::Diverged {
                break;
            }
            let (back, start, j, _) = rule.step(&end, -step);
            // The step back is the same step if and only if the step is reversible.
            if outcome == Outcome::Irreversible {
                assert!(j < k);
                n_irreversible += 1;
                break;
            }
            assert_eq!((back, j), (Outcome::Reached, k));
            for (a, b) in start.x.iter().zip(&s.x).chain(start.p.iter().zip(&s.p)) {
                assert!((a - b).abs() < 1e-9, "{a} {b}");
            }
            n_reached += 1;
            halved += usize::from(k > 0);
            s = end;
        }
    }
    let counts = (n_reached, halved, n_irreversible);
    assert!(n_reached > 5000 && halved > 1000 && n_irreversible > 20, "{counts:?}");
}
