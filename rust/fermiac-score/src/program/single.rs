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

/// The level below `to` to which a step with noise goes down, and the noise that brings it up to `to`.
/// With `eta` 1 both are those of the exact law of the reverse chain.
fn down_and_up(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let ratio = to / from;
    let up = (eta * to * ((1.0 - ratio) * (1.0 + ratio)).sqrt()).min(to);
    (((to - up) * (to + up)).sqrt(), up)
}

/// Writes Euler's step to a level below node `i + 1`, and noise up to it.
pub(super) fn ancestral(b: &mut Builder, i: usize, eta: f64) {
    let (from, to) = (b.node(i), b.node(i + 1));
    b.denoise(0, 1, from);
    let (down, up) = down_and_up(from.s, to.s, eta);
    let terms = [(0, down / from.s), (1, (from.s - down) / from.s)];
    if eta == 0.0 {
        b.combine(0, &terms);
    } else {
        b.combine_with_noise(0, &terms, up, (from, to));
    }
}

/// Writes a step of DPM-Solver++ of order 2 to a level below node `i + 1`, and noise up to it; `eta` is
/// at most 1.
pub(super) fn dpm_ancestral(b: &mut Builder, i: usize, eta: f64, r: Registers) {
    let (from, to) = (b.node(i), b.node(i + 1));
    b.denoise(0, r.first, from);
    if eta == 0.0 {
        return dpm_solver(b, i, 2, r);
    }
    let (down, up) = down_and_up(from.s, to.s, eta);
    // The middle in log s of `from` and `down`, from down / to without cancellation. It is `to` if
    // `eta` is 1, and never below it but for rounding.
    let ratio = to.s / from.s;
    let share = ((1.0 - eta) * (1.0 + eta) + (eta * ratio) * (eta * ratio)).sqrt();
    let middle = b.level((from.s * ratio.sqrt() * share.sqrt()).max(to.s));
    let terms = [(0, middle.s / from.s), (r.first, (from.s - middle.s) / from.s)];
    b.combine(r.stage, &terms);
    b.denoise(r.stage, r.denoised, middle);
    let terms = [(0, down / from.s), (r.denoised, (from.s - down) / from.s)];
    b.combine_with_noise(0, &terms, up, (from, to));
}

/// Writes a step of stochastic DPM-Solver++ of order 2: an ancestral step to the middle in log s, and
/// one over the whole step with the denoised point of the middle. The noise of both is that of one
/// Brownian path in s, so that they have the correlation √((s - m) / (s - s')) at levels s > m > s'.
pub(super) fn dpm_sde(b: &mut Builder, i: usize, eta: f64, r: Registers) {
    let (from, to) = (b.node(i), b.node(i + 1));
    b.denoise(0, r.first, from);
    if eta == 0.0 {
        return dpm_solver(b, i, 2, r);
    }
    let middle = b.level(from.s.sqrt() * to.s.sqrt());
    let (half_down, half_up) = down_and_up(from.s, middle.s, eta);
    let half = (half_down / from.s, (from.s - half_down) / from.s);
    let terms = [(0, half.0), (r.first, half.1)];
    b.combine_with_noise(r.stage, &terms, half_up, (from, middle));
    b.denoise(r.stage, r.denoised, middle);
    let (down, up) = down_and_up(from.s, to.s, eta);
    let width = from.s - to.s;
    // The point of the middle less its mean is its noise, which is a part of the noise of the step.
    let shared =
        if half_up > 0.0 { ((from.s - middle.s) / width).sqrt() * up / half_up } else { 0.0 };
    let own = ((middle.s - to.s) / width).sqrt() * up;
    let terms = [
        (0, down / from.s - shared * half.0),
        (r.first, -shared * half.1),
        (r.stage, shared),
        (r.denoised, (from.s - down) / from.s),
    ];
    b.combine_with_noise(0, &terms, own, (middle, to));
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
