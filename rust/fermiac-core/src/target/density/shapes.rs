//! Test densities of difficult shape with known normalisation: a banana and a funnel.

use super::tiles::{Tile, density_by_tiles};
use crate::simd::{V, expv, ln};
use crate::special::LN_SQRT_2PI;
use crate::{Error, Result};

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
    /// At least two coordinates; b = `curvature`, s = `scale` > 0.
    pub fn new(dim: usize, curvature: f64, scale: f64) -> Result<Self> {
        if dim < 2 {
            return Err(Error::argument("dim", format!("{dim} was given; 2 or more is needed")));
        }
        if !curvature.is_finite() {
            let why = format!("{curvature} was given; a finite number is needed");
            return Err(Error::argument("curvature", why));
        }
        check_scale(scale)?;
        Ok(Self { dim, curvature, scale, constant: -(dim as f64) * LN_SQRT_2PI - ln(scale) })
    }
}

fn check_scale(scale: f64) -> Result<()> {
    if scale > 0.0 && scale < f64::INFINITY {
        return Ok(());
    }
    Err(Error::argument("scale", format!("{scale} was given; a finite number above 0 is needed")))
}

impl Tile for Banana {
    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], slopes: &mut [V]) -> V {
        let z = x[0] * V::splat(1.0 / self.scale);
        let bend = V::splat(self.curvature * self.scale * self.scale);
        let w = bend.mul_add::<FMA>(z * z - V::splat(1.0), x[1]);
        let mut square = z.mul_add::<FMA>(z, w * w);
        slopes[0] = (z + V::splat(2.0) * bend * z * w) * V::splat(-1.0 / self.scale);
        slopes[1] = w.map(|w| -w);
        for (slope, x) in slopes[2..].iter_mut().zip(&x[2..]) {
            square = x.mul_add::<FMA>(*x, square);
            *slope = x.map(|x| -x);
        }
        square.mul_add::<FMA>(V::splat(-0.5), V::splat(self.constant))
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
    /// At least two coordinates; s = `scale` > 0.
    pub fn new(dim: usize, scale: f64) -> Result<Self> {
        if dim < 2 {
            return Err(Error::argument("dim", format!("{dim} was given; 2 or more is needed")));
        }
        check_scale(scale)?;
        Ok(Self { dim, scale, constant: -(dim as f64) * LN_SQRT_2PI - ln(scale) })
    }
}

impl Tile for Funnel {
    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], slopes: &mut [V]) -> V {
        let others = (self.dim - 1) as f64;
        let v = x[0];
        let z = v * V::splat(1.0 / self.scale);
        // The root of the precision: it overflows at half the depth of the precision itself.
        let shrink = expv::<FMA>(v * V::splat(-0.5));
        let mut square = V::ZERO;
        for (slope, x) in slopes[1..].iter_mut().zip(&x[1..]) {
            let scaled = *x * shrink;
            square = scaled.mul_add::<FMA>(scaled, square);
            *slope = (scaled * shrink).map(|s| -s);
        }
        let half = V::splat(0.5);
        slopes[0] = half * (square - V::splat(others)) - z * V::splat(1.0 / self.scale);
        let prior = (half * z).mul_add::<FMA>(z, V::splat(0.5 * others) * v);
        V::splat(self.constant) - prior - half * square
    }
}

density_by_tiles!(Funnel);
