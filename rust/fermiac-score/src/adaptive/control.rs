//! The error of a step, and the length of the next.

use super::Settings;
use super::tableau::Tableau;
use fermiac_base::simd::{Kernel, dispatch, exp, ln};

/// The factor by which a step is shortened, so that it is likely to be accepted.
const SAFETY: f64 = 0.9;
/// The limits of the ratio of successive steps.
const LEAST_FACTOR: f64 = 0.2;
const LARGEST_FACTOR: f64 = 10.0;
/// Numbers that are summed at a time: all their stages stay in the first-level cache.
const STRIP: usize = 256;

/// Σ c stages\[j\], for as many numbers as `out` has.
pub(super) fn sum(terms: &[(usize, f64)], stages: &[Vec<f64>], out: &mut [f64]) {
    dispatch(Combine { terms, stages, out });
}

struct Combine<'a> {
    terms: &'a [(usize, f64)],
    stages: &'a [Vec<f64>],
    out: &'a mut [f64],
}

impl Kernel for Combine<'_> {
    type Output = ();

    // Not fused, so that the bits are the same at every level.
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (k, out) in self.out.chunks_mut(STRIP).enumerate() {
            out.fill(0.0);
            for &(stage, c) in self.terms {
                let from = &self.stages[stage][k * STRIP..k * STRIP + out.len()];
                for (to, x) in out.iter_mut().zip(from) {
                    *to += c * x;
                }
            }
        }
    }
}

/// The error of a step of length `h` relative to the tolerances; a step is accepted up to 1.
///
/// With two estimates it is the error of Hairer, Nørsett and Wanner (1993), section II.10:
/// e₅² / √(e₅² + e₃² / 100).
pub(super) fn error(
    settings: &Settings,
    (old, new): (&[f64], &[f64]),
    fine: &[f64],
    coarse: Option<&[f64]>,
    h: f64,
) -> f64 {
    let (mut first, mut second) = (0.0, 0.0);
    for (i, (old, new)) in old.iter().zip(new).enumerate() {
        let scale = scale(settings, old.abs().max(new.abs()));
        let e = fine[i] / scale;
        first += e * e;
        if let Some(coarse) = coarse {
            let e = coarse[i] / scale;
            second += e * e;
        }
    }
    if first == 0.0 {
        return 0.0;
    }
    let n = old.len() as f64;
    match coarse {
        None => h * (first / n).sqrt(),
        Some(_) => h * first / ((first + 0.01 * second) * n).sqrt(),
    }
}

fn scale(settings: &Settings, size: f64) -> f64 {
    // A value of 0 without an absolute tolerance has no scale of its own.
    (settings.atol + settings.rtol * size).max(f64::MIN_POSITIVE)
}

/// The root mean square of x relative to the tolerances at y.
fn norm(settings: &Settings, x: impl Iterator<Item = f64>, y: &[f64]) -> f64 {
    let total: f64 = x.zip(y).map(|(x, y)| (x / scale(settings, y.abs())).powi(2)).sum();
    (total / y.len() as f64).sqrt()
}

/// The length with which Euler's rule changes the point by a hundredth, to estimate the curvature.
pub(super) fn trial_step(settings: &Settings, y: &[f64], slope: &[f64]) -> f64 {
    let (size, speed) =
        (norm(settings, y.iter().copied(), y), norm(settings, slope.iter().copied(), y));
    if size < 1e-5 || speed < 1e-5 { 1e-6 } else { 0.01 * size / speed }
}

/// The first step, from the slopes at both ends of the trial step (Hairer, Nørsett and Wanner
/// (1993), section II.4).
pub(super) fn first_step(
    settings: &Settings,
    tableau: &Tableau,
    y: &[f64],
    (slope, next): (&[f64], &[f64]),
    trial: f64,
) -> f64 {
    let speed = norm(settings, slope.iter().copied(), y);
    let bend = norm(settings, slope.iter().zip(next).map(|(a, b)| b - a), y) / trial;
    let most = speed.max(bend);
    let step = if most <= 1e-15 {
        (trial * 1e-3).max(1e-6)
    } else {
        exp(ln(0.01 / most) / tableau.error_order)
    };
    step.min(100.0 * trial)
}

/// The step size control of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Controller {
    /// Whether the last step was rejected; then the next does not grow.
    rejected: bool,
}

impl Controller {
    /// Returns whether a step of length `h` is accepted, given its error, and the next length.
    pub(super) fn judge(&mut self, tableau: &Tableau, error: f64, h: f64) -> (bool, f64) {
        // An error that is NaN leads to the smallest step.
        let factor = SAFETY * exp(-ln(error) / tableau.error_order);
        let accepted = error <= 1.0;
        let most = if accepted && !self.rejected { LARGEST_FACTOR } else { 1.0 };
        self.rejected = !accepted;
        (accepted, h * if factor > LEAST_FACTOR { factor.min(most) } else { LEAST_FACTOR })
    }
}
