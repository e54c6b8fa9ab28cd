//! Steps with noise: churn before a step, ancestral, Euler-Maruyama, Langevin correctors.

use super::builder::{Builder, Level};

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

/// Euler's step to a level below node `i + 1`, and noise up to it; with `eta` 1 the two levels are
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

/// The Euler-Maruyama step of dy = 2 s (D - y) / s² ds + √(2 s) dw, whose coefficients are
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
