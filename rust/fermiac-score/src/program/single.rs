//! Methods that evaluate within the step: Euler, Heun, midpoint, Runge-Kutta, DPM-Solver++.

use fermiac_base::simd::exp;
use fermiac_base::special::expm1;

use super::builder::{Builder, Level};
use super::exponential::Weights;

/// An explicit Runge-Kutta scheme: the nodes of the stages as shares of the step, the weights of the
/// earlier slopes in each stage, and the weights of the slopes at the end.
pub(super) struct Scheme {
    nodes: Vec<f64>,
    stages: Vec<Vec<f64>>,
    end: Vec<f64>,
}

impl Scheme {
    /// The step of the scheme between two levels.
    pub(super) fn step(self, from: Level, to: Level) -> impl FnOnce(&mut Builder) {
        move |b| runge_kutta(b, from, to, &self)
    }

    pub(super) fn euler() -> Self {
        Self { nodes: vec![0.0], stages: vec![vec![]], end: vec![1.0] }
    }

    pub(super) fn heun() -> Self {
        Self { nodes: vec![0.0, 1.0], stages: vec![vec![], vec![1.0]], end: vec![0.5, 0.5] }
    }

    /// The slope at the geometric mean of the levels `from` and `to`, the middle in log s.
    pub(super) fn midpoint(from: f64, to: f64) -> Self {
        let node = from.sqrt() / (from.sqrt() + to.sqrt());
        Self { nodes: vec![0.0, node], stages: vec![vec![], vec![node]], end: vec![0.0, 1.0] }
    }

    /// Kutta's schemes of order 3 and 4, and the lower ones that they end with.
    pub(super) fn kutta(order: usize) -> Self {
        match order {
            1 => return Self::euler(),
            2 => return Self::heun(),
            _ => {}
        }
        if order == 3 {
            return Self {
                nodes: vec![0.0, 0.5, 1.0],
                stages: vec![vec![], vec![0.5], vec![-1.0, 2.0]],
                end: [1.0, 4.0, 1.0].map(|w| w / 6.0).to_vec(),
            };
        }
        Self {
            nodes: vec![0.0, 0.5, 0.5, 1.0],
            stages: vec![vec![], vec![0.5], vec![0.0, 0.5], vec![0.0, 0.0, 1.0]],
            end: [1.0, 2.0, 2.0, 1.0].map(|w| w / 6.0).to_vec(),
        }
    }
}

/// A step of a Runge-Kutta scheme in s. Slopes are (y - D) / s, so every stage is a combination of
/// the point at the start and of the denoised points so far: no slope needs a register.
fn runge_kutta(b: &mut Builder, from: Level, to: Level, scheme: &Scheme) {
    let width = to.s - from.s;
    let n = scheme.nodes.len();
    let stage = n + 1;
    // Slope j as coefficients of y and of the denoised points in registers 1..=n.
    let mut slopes: Vec<Vec<f64>> = Vec::with_capacity(n);
    let sum = |slopes: &[Vec<f64>], weights: &[f64]| {
        let mut form = vec![0.0; slopes.len() + 1];
        form[0] = 1.0;
        for (slope, weight) in slopes.iter().zip(weights) {
            form.iter_mut().zip(slope).for_each(|(f, c)| *f += width * weight * c);
        }
        form
    };
    for j in 0..n {
        let form = sum(&slopes, &scheme.stages[j]);
        let (register, level) = match j {
            0 => (0, from),
            _ => (
                stage,
                if scheme.nodes[j] == 1.0 { to } else { b.level(from.s + scheme.nodes[j] * width) },
            ),
        };
        if j > 0 {
            b.combine(stage, &terms(&form));
        }
        b.denoise(register, j + 1, level);
        let mut slope: Vec<f64> = form.iter().map(|c| c / level.s).collect();
        slope.push(-1.0 / level.s);
        slopes.push(slope);
    }
    b.combine(0, &terms(&sum(&slopes, &scheme.end)));
}

fn terms(form: &[f64]) -> Vec<(usize, f64)> {
    form.iter().copied().enumerate().collect()
}

/// Registers of a step of DPM-Solver++: the denoised point at its start (which is there already),
/// and two of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    pub(super) first: usize,
    pub(super) stage: usize,
    pub(super) denoised: usize,
}

/// A step of single-step DPM-Solver++ of order 1 to 3 from a point that is denoised already.
pub(super) fn dpm_solver(b: &mut Builder, i: usize, order: usize, r: Registers) {
    let (from, to) = (b.node(i), b.node(i + 1));
    let ratio = to.s / from.s;
    if order == 1 {
        b.combine(0, &[(0, ratio), (r.first, (from.s - to.s) / from.s)]);
        return;
    }
    let h = b.length(i);
    if order == 2 {
        let middle = b.level((from.s * to.s).sqrt());
        b.combine(r.stage, &[(0, middle.s / from.s), (r.first, -expm1(-0.5 * h))]);
        b.denoise(r.stage, r.denoised, middle);
        b.combine(0, &[(0, ratio), (r.denoised, -expm1(-h))]);
        return;
    }
    let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
    let s1 = b.level(from.s * exp(-r1 * h));
    b.combine(r.stage, &[(0, s1.s / from.s), (r.first, -expm1(-r1 * h))]);
    b.denoise(r.stage, r.denoised, s1);
    let s2 = b.level(from.s * exp(-r2 * h));
    let part = Weights::new(r2 * h);
    let bend = r2 / r1 * part.slope;
    b.combine(r.stage, &[(0, s2.s / from.s), (r.first, part.level - bend), (r.denoised, bend)]);
    b.denoise(r.stage, r.denoised, s2);
    let whole = Weights::new(h);
    let slope = whole.slope / r2;
    b.combine(0, &[(0, ratio), (r.first, whole.level - slope), (r.denoised, slope)]);
}
