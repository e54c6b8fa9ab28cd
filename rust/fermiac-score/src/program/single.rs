//! Methods that evaluate within the step: Runge-Kutta schemes, single-step DPM-Solver++, and steps
//! with noise.

use super::builder::{Builder, Level};
use super::exponential::Weights;
use fermiac_base::simd::exp;
use fermiac_base::special::expm1;

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

    /// Kutta's schemes of order 3 and 4, and the lower ones of last steps.
    pub(super) fn kutta(order: usize) -> Self {
        match order {
            1 => Self::euler(),
            2 => Self::heun(),
            3 => Self {
                nodes: vec![0.0, 0.5, 1.0],
                stages: vec![vec![], vec![0.5], vec![-1.0, 2.0]],
                end: [1.0, 4.0, 1.0].map(|w| w / 6.0).to_vec(),
            },
            _ => Self {
                nodes: vec![0.0, 0.5, 0.5, 1.0],
                stages: vec![vec![], vec![0.5], vec![0.0, 0.5], vec![0.0, 0.0, 1.0]],
                end: [1.0, 2.0, 2.0, 1.0].map(|w| w / 6.0).to_vec(),
            },
        }
    }
}

/// Writes a step of a Runge-Kutta scheme in s. Slopes are (y - D) / s, so that every stage is a
/// combination of the first point and of the denoised points so far: no slope needs a register.
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

/// Registers of a step of DPM-Solver++: the denoised point at its start, which is known, and two
/// for the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Registers {
    pub(super) first: usize,
    pub(super) stage: usize,
    pub(super) denoised: usize,
}

/// Writes a step of single-step DPM-Solver++ of order 1 to 3; the denoised point at its start is
/// known.
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

/// Adds noise before step `i` and returns the level to which it goes up. Rows that get none have a
/// coefficient of 0.
pub(super) fn churn(
    b: &mut Builder,
    i: usize,
    churn: f64,
    [low, high]: [f64; 2],
    noise: f64,
) -> Level {
    let from = b.node(i);
    let gamma = if low <= from.s && from.s <= high {
        (churn / b.n_steps() as f64).min(std::f64::consts::SQRT_2 - 1.0)
    } else {
        0.0
    };
    let level = b.level((1.0 + gamma) * from.s);
    let scale = from.s * (gamma * (2.0 + gamma)).sqrt() * noise;
    b.combine_with_noise(0, &[(0, 1.0)], scale, (level, level));
    level
}

/// Writes Euler's step to a level below node `i + 1`, and noise up to it; with `eta` 1 the two levels are
/// those of the exact law of the reverse chain.
pub(super) fn ancestral(b: &mut Builder, i: usize, eta: f64) {
    let (from, to) = (b.node(i), b.node(i + 1));
    b.denoise(0, 1, from);
    let ratio = to.s / from.s;
    let up = (eta * to.s * ((1.0 - ratio) * (1.0 + ratio)).sqrt()).min(to.s);
    let down = ((to.s - up) * (to.s + up)).sqrt();
    let terms = [(0, down / from.s), (1, (from.s - down) / from.s)];
    if eta == 0.0 {
        b.combine(0, &terms);
    } else {
        b.combine_with_noise(0, &terms, up, (from, to));
    }
}

/// Writes the Euler-Maruyama step of dy = 2 s (D - y) / s² ds + √(2 s) dw, whose coefficients are
/// integrated over the step.
pub(super) fn euler_maruyama(b: &mut Builder, i: usize) {
    let (from, to) = (b.node(i), b.node(i + 1));
    b.denoise(0, 1, from);
    let variance = (from.s - to.s) * (from.s + to.s);
    let share = variance / (from.s * from.s);
    let keep = (to.s / from.s) * (to.s / from.s);
    b.combine_with_noise(0, &[(0, keep), (1, share)], variance.sqrt(), (from, to));
}

/// Writes `n_steps` Langevin steps at node `i + 1`, the end of step `i`.
pub(super) fn correct(b: &mut Builder, i: usize, n_steps: usize, scratch: usize) {
    let level = b.node(i + 1);
    for _ in 0..n_steps {
        b.denoise(0, scratch, level);
        b.langevin(scratch, level);
    }
}
