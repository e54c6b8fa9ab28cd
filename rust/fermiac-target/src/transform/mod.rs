//! Smooth maps from the whole space to constrained parameters, with Jacobians and the chain rule.
//!
//! Coordinates stay inside open sets: if rounding would put one on a bound, it takes the nearest
//! number inside, so that a density is never evaluated on the bound.

use crate::Support;
use fermiac_base::simd::{exp, ln, ln1p_pos};
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::{Error, Result};

/// Tolerance of the sum of a simplex, wide enough for single precision; only ratios are used.
const SUM_TOLERANCE: f64 = 1.0e-6;

/// The constraint of a block of coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// No constraint.
    Identity,
    /// Above a bound: x = low + eᶻ.
    Above(f64),
    /// Below a bound: x = high - eᶻ.
    Below(f64),
    /// An interval: x = low + (high - low) / (1 + e⁻ᶻ).
    Between(f64, f64),
    /// Increasing numbers: x₁ = z₁, and every further step is eᶻ.
    Ordered,
    /// Positive numbers with sum 1, by additive log-ratios: zₖ = ln(xₖ / `x_K`) for k < K. The
    /// Jacobian is that of the first K - 1 coordinates.
    ///
    /// # References
    /// J. Aitchison, *The Statistical Analysis of Compositional Data*, 1986.
    Simplex,
    /// The entries below the diagonal of the Cholesky factor of a correlation matrix, row by row:
    /// partial correlations t = tanh z, `rⱼ` = `tⱼ` √(1 - r₁² - … - `rⱼ₋₁²`).
    ///
    /// # References
    /// D. Lewandowski, D. Kurowicka and H. Joe, "Generating random correlation matrices based on
    /// vines and extended onion method", Journal of Multivariate Analysis 100 (2009).
    CholeskyCorr,
}

/// A block of coordinates with the same constraint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    kind: Kind,
    size: usize,
}

impl Block {
    /// Returns a block of `size` constrained coordinates.
    pub fn new(kind: Kind, size: usize) -> Result<Self> {
        let least = if kind == Kind::Simplex { 2 } else { 1 };
        if size < least {
            let why = format!("{size} coordinates were given; {least} or more are needed");
            return Err(Error::argument("transforms", why));
        }
        if kind == Kind::CholeskyCorr && row_lengths(size).sum::<usize>() != size {
            let why = format!("{size} coordinates were given; 1, 3, 6, 10, ... are needed");
            return Err(Error::argument("transforms", why));
        }
        let fine = match kind {
            Kind::Above(bound) | Kind::Below(bound) => bound.is_finite(),
            Kind::Between(low, high) => low.next_up() < high && (high - low).is_finite(),
            Kind::Identity | Kind::Ordered | Kind::Simplex | Kind::CholeskyCorr => true,
        };
        if fine {
            return Ok(Self { kind, size });
        }
        let why = format!("{kind:?} was given; finite bounds, the lower one first, are needed");
        Err(Error::argument("transforms", why))
    }

    /// Number of unconstrained coordinates.
    fn free(&self) -> usize {
        if self.kind == Kind::Simplex { self.size - 1 } else { self.size }
    }

    /// Returns true if the image contains all points with coordinates in these sets.
    fn reaches_all_of(&self, sets: &[Support]) -> bool {
        sets.iter().all(|set| match (self.kind, *set) {
            (Kind::Identity, _) => true,
            (Kind::Ordered, _) => self.size == 1,
            (Kind::Above(low), Support::Above(a) | Support::Between(a, _)) => a >= low,
            (Kind::Below(high), Support::Below(b) | Support::Between(_, b)) => b <= high,
            (Kind::Between(low, high), Support::Between(a, b)) => a >= low && b <= high,
            (_, _) => false,
        })
    }
}

/// A map of points, block by block.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    blocks: Vec<Block>,
    dim: usize,
    free_dim: usize,
}

impl Transform {
    /// Returns the transform of these blocks, at least one.
    pub fn new(blocks: Vec<Block>) -> Result<Self> {
        if blocks.is_empty() {
            return Err(Error::argument("transforms", "no block was given; one or more is needed"));
        }
        let dim = blocks.iter().map(|block| block.size).sum();
        let free_dim = blocks.iter().map(Block::free).sum();
        Ok(Self { blocks, dim, free_dim })
    }

    /// Coordinates of a constrained point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Coordinates of an unconstrained point.
    pub fn free_dim(&self) -> usize {
        self.free_dim
    }

    /// Returns true if the image contains all points with coordinates in these sets, except on
    /// bounds.
    pub fn reaches_all_of(&self, mut sets: &[Support]) -> bool {
        self.blocks.iter().all(|block| {
            let (these, rest) = sets.split_at(block.size);
            sets = rest;
            block.reaches_all_of(these)
        })
    }

    /// Writes the constrained point and returns the logarithm of the Jacobian determinant.
    pub fn constrain(&self, z: &[f64], x: &mut [f64]) -> f64 {
        let (mut z, mut x) = (z, x);
        let mut log_jacobian = 0.0;
        for block in &self.blocks {
            let (zs, z_rest) = z.split_at(block.free());
            let (xs, x_rest) = x.split_at_mut(block.size);
            log_jacobian += constrain(block.kind, zs, xs);
            (z, x) = (z_rest, x_rest);
        }
        log_jacobian
    }

    /// Writes the unconstrained point; it is an error if `x` is not inside.
    pub fn unconstrain(&self, x: &[f64], z: &mut [f64]) -> Result<()> {
        let (mut x, mut z, mut first) = (x, z, 0);
        for block in &self.blocks {
            let (xs, x_rest) = x.split_at(block.size);
            let (zs, z_rest) = z.split_at_mut(block.free());
            unconstrain(block.kind, xs, zs, first)?;
            (x, z, first) = (x_rest, z_rest, first + block.size);
        }
        Ok(())
    }

    /// Turns the gradient in x of a log-density into that in z of the log-density with the Jacobian.
    pub fn pull_back(&self, z: &[f64], x_gradient: &[f64], z_gradient: &mut [f64]) {
        let (mut z, mut from, mut to) = (z, x_gradient, z_gradient);
        for block in &self.blocks {
            let (zs, z_rest) = z.split_at(block.free());
            let (froms, from_rest) = from.split_at(block.size);
            let (tos, to_rest) = to.split_at_mut(block.free());
            pull_back(block.kind, zs, froms, tos);
            (z, from, to) = (z_rest, from_rest, to_rest);
        }
    }
}

/// The lengths of the rows below the diagonal that together have at most `size` entries.
fn row_lengths(size: usize) -> impl Iterator<Item = usize> {
    let mut left = size;
    (1..).map_while(move |length: usize| {
        left = left.checked_sub(length)?;
        Some(length)
    })
}

/// Returns tanh z, 1 / cosh z and the logarithm of the latter.
fn tanh(z: f64) -> (f64, f64, f64) {
    let size = z.abs();
    let e = exp(-2.0 * size);
    let t = if size < 0.1 { -expm1(-2.0 * size) / (1.0 + e) } else { (1.0 - e) / (1.0 + e) };
    let log = std::f64::consts::LN_2 - size - ln1p_pos(e);
    (if z < 0.0 { -t } else { t }, 2.0 * exp(-size) / (1.0 + e), log)
}

/// Returns eᶻ, kept positive and finite.
fn step(z: f64) -> f64 {
    // NaN stays NaN.
    exp(z).clamp(f64::MIN_POSITIVE, f64::MAX)
}

/// Moves a number that rounding put on or beyond a bound back inside.
fn inside(x: f64, low: f64, high: f64) -> f64 {
    if x <= low {
        low.next_up()
    } else if x >= high {
        high.next_down()
    } else {
        x
    }
}

/// Returns p = 1 / (1 + e⁻ᶻ) and 1 - p, both to full relative accuracy, and the logarithm of the
/// smaller.
fn logistic(z: f64) -> (f64, f64, f64) {
    let e = exp(-z.abs());
    let (large, small) = (1.0 / (1.0 + e), e / (1.0 + e));
    let log_small = -z.abs() - ln1p_pos(e);
    if z < 0.0 { (small, large, log_small) } else { (large, small, log_small) }
}

/// Returns the maximum of `z` and 0, and the sum of the exponentials relative to it.
fn log_ratios(z: &[f64]) -> (f64, f64) {
    let top = z.iter().fold(0.0, |top: f64, z| if *z > top { *z } else { top });
    (top, z.iter().fold(exp(-top), |sum, z| sum + exp(z - top)))
}

/// Returns the share of a simplex with this log-ratio.
fn share(z: f64, (top, sum): (f64, f64)) -> f64 {
    // NaN stays NaN.
    (exp(z - top) / sum).clamp(f64::MIN_POSITIVE, 1.0)
}

fn constrain(kind: Kind, z: &[f64], x: &mut [f64]) -> f64 {
    let mut log_jacobian = 0.0;
    match kind {
        Kind::Identity => x.copy_from_slice(z),
        Kind::Above(low) => {
            for (x, z) in x.iter_mut().zip(z) {
                *x = inside(low + step(*z), low, f64::INFINITY);
                log_jacobian += z;
            }
        }
        Kind::Below(high) => {
            for (x, z) in x.iter_mut().zip(z) {
                *x = inside(high - step(*z), f64::NEG_INFINITY, high);
                log_jacobian += z;
            }
        }
        Kind::Between(low, high) => {
            let width = high - low;
            let log_width = ln(width);
            for (x, z) in x.iter_mut().zip(z) {
                let (below, above, log_small) = logistic(*z);
                // From the nearer end, where a small distance is accurate.
                let place = if below < 0.5 { low + width * below } else { high - width * above };
                *x = inside(place, low, high);
                log_jacobian += log_width + 2.0 * log_small + z.abs();
            }
        }
        Kind::Ordered => {
            let mut last = z[0];
            x[0] = last;
            for (x, z) in x[1..].iter_mut().zip(&z[1..]) {
                last = inside(last + step(*z), last, f64::INFINITY);
                *x = last;
                log_jacobian += z;
            }
        }
        Kind::Simplex => {
            let scale = log_ratios(z);
            for (x, z) in x.iter_mut().zip(z.iter().chain(&[0.0])) {
                *x = share(*z, scale);
                log_jacobian += z - scale.0;
            }
            log_jacobian -= x.len() as f64 * ln(scale.1);
        }
        Kind::CholeskyCorr => {
            let mut first = 0;
            for length in row_lengths(x.len()) {
                let row = &mut x[first..first + length];
                let (mut rest, mut square) = (1.0, 0.0);
                for (k, (x, z)) in row.iter_mut().zip(&z[first..]).enumerate() {
                    let (t, left, log) = tanh(*z);
                    *x = t * rest;
                    square += *x * *x;
                    rest *= left;
                    // Of the partial correlation, and in the entries after it.
                    log_jacobian += (1 + length - k) as f64 * log;
                }
                // Rounding may put a row on the sphere or beyond.
                if square >= 1.0 {
                    let shrink = (1.0 - 2.0 * f64::EPSILON) / square.sqrt();
                    row.iter_mut().for_each(|x| *x *= shrink);
                }
                first += length;
            }
        }
    }
    log_jacobian
}

fn unconstrain(kind: Kind, x: &[f64], z: &mut [f64], first: usize) -> Result<()> {
    let refuse = |k: usize, needed: &str| {
        let why = format!("coordinate {} is {}; {needed} is needed", first + k, x[k]);
        Err(Error::argument("x", why))
    };
    if let Some(k) = x.iter().position(|x| !x.is_finite()) {
        return refuse(k, "a finite number");
    }
    match kind {
        Kind::Identity => z.copy_from_slice(x),
        Kind::Above(low) => {
            for (k, (x, z)) in x.iter().zip(z).enumerate() {
                if *x <= low {
                    return refuse(k, &format!("a number above {low}"));
                }
                *z = ln(x - low);
            }
        }
        Kind::Below(high) => {
            for (k, (x, z)) in x.iter().zip(z).enumerate() {
                if *x >= high {
                    return refuse(k, &format!("a number below {high}"));
                }
                *z = ln(high - x);
            }
        }
        Kind::Between(low, high) => {
            for (k, (x, z)) in x.iter().zip(z).enumerate() {
                if *x <= low || *x >= high {
                    return refuse(k, &format!("a number between {low} and {high}"));
                }
                *z = ln(x - low) - ln(high - x);
            }
        }
        Kind::Ordered => {
            z[0] = x[0];
            for k in 1..x.len() {
                if x[k] <= x[k - 1] {
                    return refuse(k, &format!("a number above the one before it, {},", x[k - 1]));
                }
                z[k] = ln(x[k] - x[k - 1]);
            }
        }
        Kind::Simplex => {
            let sum = x.iter().fold(0.0, |sum, x| sum + x);
            if let Some(k) = x.iter().position(|x| *x <= 0.0) {
                return refuse(k, "a number above 0");
            }
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                let last = first + x.len() - 1;
                let why = format!("coordinates {first} to {last} sum to {sum}; 1 is needed");
                return Err(Error::argument("x", why));
            }
            let reference = ln(x[x.len() - 1]);
            for (x, z) in x.iter().zip(z) {
                *z = ln(*x) - reference;
            }
        }
        Kind::CholeskyCorr => {
            let mut start = 0;
            for length in row_lengths(x.len()) {
                let mut rest = 1.0_f64;
                for k in start..start + length {
                    let t = x[k] / rest;
                    if t.abs() >= 1.0 {
                        return refuse(
                            k,
                            "a row of a Cholesky factor, with squares below 1 in sum,",
                        );
                    }
                    z[k] = 0.5 * (ln1p(t) - ln1p(-t));
                    rest *= ((1.0 - t) * (1.0 + t)).sqrt();
                }
                start += length;
            }
        }
    }
    Ok(())
}

fn pull_back(kind: Kind, z: &[f64], from: &[f64], to: &mut [f64]) {
    match kind {
        Kind::Identity => to.copy_from_slice(from),
        Kind::Above(_) => {
            for (to, (z, from)) in to.iter_mut().zip(z.iter().zip(from)) {
                *to = from * step(*z) + 1.0;
            }
        }
        Kind::Below(_) => {
            for (to, (z, from)) in to.iter_mut().zip(z.iter().zip(from)) {
                *to = 1.0 - from * step(*z);
            }
        }
        Kind::Between(low, high) => {
            for (to, (z, from)) in to.iter_mut().zip(z.iter().zip(from)) {
                let (below, above, _) = logistic(*z);
                *to = from * ((high - low) * below * above) + (above - below);
            }
        }
        Kind::Ordered => {
            // Every step moves its own coordinate and all that come after it.
            let mut sum = 0.0;
            for k in (1..z.len()).rev() {
                sum += from[k];
                to[k] = sum * step(z[k]) + 1.0;
            }
            to[0] = sum + from[0];
        }
        Kind::Simplex => {
            let scale = log_ratios(z);
            let shares = || z.iter().chain(&[0.0]).map(|z| share(*z, scale));
            let mean = shares().zip(from).fold(0.0, |sum, (x, from)| sum + x * from);
            let size = from.len() as f64;
            for (to, (x, from)) in to.iter_mut().zip(shares().zip(from)) {
                *to = x * (from - mean) + (1.0 - size * x);
            }
        }
        Kind::CholeskyCorr => {
            let mut first = 0;
            for length in row_lengths(z.len()) {
                // Each partial correlation moves its entry and shrinks those after it.
                let mut rest = 1.0;
                for k in first..first + length {
                    let (_, left, _) = tanh(z[k]);
                    to[k] = rest;
                    rest *= left;
                }
                let mut after = 0.0;
                for k in (first..first + length).rev() {
                    let (t, left, _) = tanh(z[k]);
                    let slope = from[k] * to[k];
                    to[k] = slope * left * left - t * (after + (1 + first + length - k) as f64);
                    after += slope * t;
                }
                first += length;
            }
        }
    }
}

#[cfg(test)]
mod tests;
