//! Models from the literature on uncertainty and sensitivity: cantilever beam, Ishigami, G-function.

use super::{Tile, check_matrix, integrand_by_tiles};
use fermiac_base::simd::{V, sinv};
use fermiac_base::{Error, Result};

/// The displacement of a cantilever beam's tip under two forces, at
/// x = (`F_X`, `F_Y`, E in GPa, width w, thickness t, length L):
/// `4 L³ / (10⁹ E w t) · √((F_X / w²)² + (F_Y / t²)²)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cantilever;

impl Tile for Cantilever {
    fn dim(&self) -> usize {
        6
    }

    fn outputs(&self) -> usize {
        1
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], _scratch: &mut [V], out: &mut [V]) {
        let &[fx, fy, e, w, t, l] = x else { return };
        let (p, q) = (fx / (w * w), fy / (t * t));
        let root = p.mul_add::<FMA>(p, q * q).map(f64::sqrt);
        out[0] = V::splat(4.0) * l * l * l / (V::splat(1.0e9) * e * w * t) * root;
    }
}

integrand_by_tiles!(Cantilever);

/// sin x₁ + a sin² x₂ + b x₃⁴ sin x₁.
///
/// T. Ishigami and T. Homma, "An importance quantification technique in uncertainty analysis for
/// computer models", 1990.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ishigami {
    a: f64,
    b: f64,
}

impl Ishigami {
    /// Returns the function with these coefficients.
    pub fn new(a: f64, b: f64) -> Result<Self> {
        check_matrix("a", &[a], 1)?;
        check_matrix("b", &[b], 1)?;
        Ok(Self { a, b })
    }
}

impl Tile for Ishigami {
    fn dim(&self) -> usize {
        3
    }

    fn outputs(&self) -> usize {
        1
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], _scratch: &mut [V], out: &mut [V]) {
        let (s1, s2) = (sinv::<FMA>(x[0]), sinv::<FMA>(x[1]));
        let square = x[2] * x[2];
        let first = s1 * V::splat(self.b).mul_add::<FMA>(square * square, V::splat(1.0));
        out[0] = V::splat(self.a).mul_add::<FMA>(s2 * s2, first);
    }
}

integrand_by_tiles!(Ishigami);

/// Π (|4 xᵢ - 2| + aᵢ) / (1 + aᵢ) on the unit cube.
///
/// A. Saltelli and I. M. Sobol', "About the use of rank transformation in sensitivity analysis of
/// model output", 1995.
#[derive(Debug, Clone)]
pub struct GFunction {
    a: Vec<f64>,
    /// 1 / (1 + aᵢ).
    scale: Vec<f64>,
}

impl GFunction {
    /// Returns the function with one coefficient per coordinate, none below 0; the larger it is, the
    /// less the coordinate matters.
    pub fn new(a: &[f64]) -> Result<Self> {
        check_matrix("a", a, 1)?;
        if let Some(a) = a.iter().find(|a| **a < 0.0) {
            return Err(Error::argument("a", format!("{a} was given; 0 or more is needed")));
        }
        Ok(Self { a: a.to_vec(), scale: a.iter().map(|a| 1.0 / (1.0 + a)).collect() })
    }
}

impl Tile for GFunction {
    fn dim(&self) -> usize {
        self.a.len()
    }

    fn outputs(&self) -> usize {
        1
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], _scratch: &mut [V], out: &mut [V]) {
        let mut product = V::splat(1.0);
        for (x, (a, scale)) in x.iter().zip(self.a.iter().zip(&self.scale)) {
            let distance = V::splat(4.0).mul_add::<FMA>(*x, V::splat(-2.0)).map(f64::abs);
            product = product * ((distance + V::splat(*a)) * V::splat(*scale));
        }
        out[0] = product;
    }
}

integrand_by_tiles!(GFunction);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{scattered, values};
    use super::*;

    #[test]
    fn agree_with_the_formulas() {
        let x = scattered(61, 6, 0.1, 2.0);
        for (x, value) in x.chunks_exact(6).zip(values(&Cantilever, &x)) {
            let (p, q) = (x[0] / x[3].powi(2), x[1] / x[4].powi(2));
            let truth = 4.0 * x[5].powi(3) / (1.0e9 * x[2] * x[3] * x[4]) * p.hypot(q);
            assert!((value / truth - 1.0).abs() < 1.0e-14);
        }
        let x = scattered(61, 3, -3.1, 3.1);
        for (x, value) in x.chunks_exact(3).zip(values(&Ishigami::new(7.0, 0.1).unwrap(), &x)) {
            let truth = x[0].sin() * (1.0 + 0.1 * x[2].powi(4)) + 7.0 * x[1].sin().powi(2);
            assert!((value - truth).abs() < 1.0e-14 * 20.0);
        }
        let a = [0.0, 1.0, 4.5, 99.0];
        let x = scattered(61, 4, 0.0, 1.0);
        for (x, value) in x.chunks_exact(4).zip(values(&GFunction::new(&a).unwrap(), &x)) {
            let terms = x.iter().zip(&a).map(|(x, a)| ((4.0 * x - 2.0).abs() + a) / (1.0 + a));
            assert!((value - terms.product::<f64>()).abs() < 1.0e-14);
        }
    }

    #[test]
    fn arguments_are_checked() {
        assert!(Ishigami::new(f64::NAN, 0.1).is_err());
        assert!(Ishigami::new(7.0, f64::INFINITY).is_err());
        assert!(GFunction::new(&[]).is_err());
        assert!(GFunction::new(&[0.0, -0.5]).is_err());
        assert!(GFunction::new(&[0.0, f64::NAN]).is_err());
    }
}
