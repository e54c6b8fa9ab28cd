//! Test densities of difficult shape with known normalisation: banana, funnel, Rosenbrock.

use super::tiles::{Tile, density_by_tiles};
use crate::law::{finite, positive};
use fermiac_base::simd::{Real, ln};
use fermiac_base::special::LN_SQRT_2PI;
use fermiac_base::{Error, Result};

/// A normal law bent along a parabola: x₁ ~ N(0, s²), x₂ + b (x₁² - s²) ~ N(0, 1), and
/// standard normal coordinates after them.
///
/// # References
/// H. Haario, E. Saksman and J. Tamminen, "Adaptive proposal distribution for random walk
/// Metropolis algorithm", Computational Statistics 14 (1999).
#[derive(Debug, Clone, PartialEq)]
pub struct Banana {
    dim: usize,
    curvature: f64,
    scale: f64,
    constant: f64,
}

impl Banana {
    /// Returns the law in at least two coordinates, with b = `curvature` and s = `scale` > 0.
    pub fn new(dim: usize, curvature: f64, scale: f64) -> Result<Self> {
        if dim < 2 {
            return Err(Error::argument("dim", format!("{dim} was given; 2 or more is needed")));
        }
        finite("curvature", curvature)?;
        positive("scale", scale)?;
        Ok(Self { dim, curvature, scale, constant: -(dim as f64) * LN_SQRT_2PI - ln(scale) })
    }
}

impl Tile for Banana {
    #[inline(always)]
    fn tile<R: Real, const FMA: bool, const SLOPES: bool>(&self, x: &[R], slopes: &mut [R]) -> R {
        let z = x[0] * R::of(1.0 / self.scale);
        let bend = R::of(self.curvature * self.scale * self.scale);
        let w = bend.fma::<FMA>(z * z - R::of(1.0), x[1]);
        let mut square = z.fma::<FMA>(z, w * w);
        for x in &x[2..] {
            square = x.fma::<FMA>(*x, square);
        }
        if SLOPES {
            slopes[0] = (z + R::of(2.0) * bend * z * w) * R::of(-1.0 / self.scale);
            slopes[1] = w.each(|w| -w);
            for (slope, x) in slopes[2..].iter_mut().zip(&x[2..]) {
                *slope = x.each(|x| -x);
            }
        }
        square.fma::<FMA>(R::of(-0.5), R::of(self.constant))
    }
}

density_by_tiles!(Banana);

/// v ~ N(0, s²) and, given v, the other coordinates N(0, eᵛ); v comes first.
///
/// # References
/// R. M. Neal, "Slice sampling", The Annals of Statistics 31 (2003).
#[derive(Debug, Clone, PartialEq)]
pub struct Funnel {
    dim: usize,
    scale: f64,
    constant: f64,
}

impl Funnel {
    /// Returns the law in at least two coordinates, with s = `scale` > 0.
    pub fn new(dim: usize, scale: f64) -> Result<Self> {
        if dim < 2 {
            return Err(Error::argument("dim", format!("{dim} was given; 2 or more is needed")));
        }
        positive("scale", scale)?;
        Ok(Self { dim, scale, constant: -(dim as f64) * LN_SQRT_2PI - ln(scale) })
    }
}

impl Tile for Funnel {
    #[inline(always)]
    fn tile<R: Real, const FMA: bool, const SLOPES: bool>(&self, x: &[R], slopes: &mut [R]) -> R {
        let others = (self.dim - 1) as f64;
        let v = x[0];
        let z = v * R::of(1.0 / self.scale);
        // The root of the precision overflows at half the depth of the precision.
        let shrink = (v * R::of(-0.5)).exp_fma::<FMA>();
        let mut square = R::of(0.0);
        for x in &x[1..] {
            let scaled = *x * shrink;
            square = scaled.fma::<FMA>(scaled, square);
        }
        let half = R::of(0.5);
        if SLOPES {
            for (slope, x) in slopes[1..].iter_mut().zip(&x[1..]) {
                *slope = (*x * shrink * shrink).each(|s| -s);
            }
            slopes[0] = half * (square - R::of(others)) - z * R::of(1.0 / self.scale);
        }
        let prior = (half * z).fma::<FMA>(z, R::of(0.5 * others) * v);
        R::of(self.constant) - prior - half * square
    }
}

density_by_tiles!(Funnel);

/// x₁ ~ N(μ, 1 / 2a), followed by blocks of coordinates, each of which is N(y², 1 / 2b) given the
/// coordinate y before it; the first of a block follows x₁.
///
/// # References
/// F. Pagani, M. Wiegand and S. Nadarajah, "An n-dimensional Rosenbrock distribution for Markov
/// chain Monte Carlo testing", Scandinavian Journal of Statistics 49 (2022).
#[derive(Debug, Clone, PartialEq)]
pub struct Rosenbrock {
    dim: usize,
    block: usize,
    mean: f64,
    a: f64,
    b: f64,
    constant: f64,
}

impl Rosenbrock {
    /// Returns the law with `blocks` blocks of `size` coordinates, with x₁ as the first of all blocks;
    /// `a`, `b` > 0.
    pub fn new(blocks: usize, size: usize, mean: f64, a: f64, b: f64) -> Result<Self> {
        for (name, value, least) in [("n_blocks", blocks, 1), ("block_size", size, 2)] {
            if value < least {
                let why = format!("{value} was given; {least} or more is needed");
                return Err(Error::argument(name, why));
            }
        }
        finite("mean", mean)?;
        positive("a", a)?;
        positive("b", b)?;
        let others = blocks * (size - 1);
        let log_pi = 2.0 * LN_SQRT_2PI - std::f64::consts::LN_2;
        let constant = 0.5 * (ln(a) - log_pi) + 0.5 * others as f64 * (ln(b) - log_pi);
        Ok(Self { dim: 1 + others, block: size - 1, mean, a, b, constant })
    }
}

impl Tile for Rosenbrock {
    #[inline(always)]
    fn tile<R: Real, const FMA: bool, const SLOPES: bool>(&self, x: &[R], slopes: &mut [R]) -> R {
        let z = x[0] - R::of(self.mean);
        let mut square = R::of(0.0);
        if SLOPES {
            slopes[0] = R::of(-2.0 * self.a) * z;
        }
        for j in 1..self.dim {
            let before = if (j - 1).is_multiple_of(self.block) { 0 } else { j - 1 };
            let w = x[j] - x[before] * x[before];
            square = w.fma::<FMA>(w, square);
            if SLOPES {
                let pull = R::of(-2.0 * self.b) * w;
                slopes[j] = pull;
                slopes[before] = slopes[before] - R::of(2.0) * pull * x[before];
            }
        }
        let value = (z * z).fma::<FMA>(R::of(-self.a), R::of(self.constant));
        square.fma::<FMA>(R::of(-self.b), value)
    }
}

density_by_tiles!(Rosenbrock);
