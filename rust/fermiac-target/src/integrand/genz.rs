//! Genz's six families of test integrands on the unit cube.
//!
//! A. Genz, "Testing multidimensional integration routines", in *Tools, Methods and Languages for
//! Scientific and Engineering Computation*, 1984.

use super::{Tile, check_matrix, integrand_by_tiles};
use fermiac_base::simd::{V, cosv, expv};
use fermiac_base::{Error, Result};
use std::f64::consts::PI;
use std::str::FromStr;

/// A family, with difficulties a and places w.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenzKind {
    /// cos(2π w₁ + Σ aᵢ xᵢ)
    Oscillatory,
    /// Π 1 / (aᵢ⁻² + (xᵢ - wᵢ)²)
    ProductPeak,
    /// (1 + Σ aᵢ xᵢ)^-(d + 1)
    Corner,
    /// exp(-Σ aᵢ² (xᵢ - wᵢ)²)
    Gaussian,
    /// exp(-Σ aᵢ |xᵢ - wᵢ|)
    Continuous,
    /// exp(Σ aᵢ xᵢ) if x₁ < w₁ and x₂ < w₂, else 0
    Discontinuous,
}

impl GenzKind {
    /// All families.
    pub const ALL: [Self; 6] = [
        Self::Oscillatory,
        Self::ProductPeak,
        Self::Corner,
        Self::Gaussian,
        Self::Continuous,
        Self::Discontinuous,
    ];

    /// Returns the name that [`FromStr`] accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oscillatory => "oscillatory",
            Self::ProductPeak => "product_peak",
            Self::Corner => "corner",
            Self::Gaussian => "gaussian",
            Self::Continuous => "continuous",
            Self::Discontinuous => "discontinuous",
        }
    }
}

impl FromStr for GenzKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::argument("kind", format!("{name:?} was given; it must be one of {names}"))
        })
    }
}

/// Members of one of Genz's families, one per output.
#[derive(Debug, Clone)]
pub struct Genz {
    kind: GenzKind,
    dim: usize,
    a: Vec<f64>,
    w: Vec<f64>,
}

impl Genz {
    /// Returns integrands with the given difficulties and places, one row of `dim` per output.
    pub fn new(kind: GenzKind, a: &[f64], w: &[f64], dim: usize) -> Result<Self> {
        let rows = check_matrix("a", a, dim)?;
        let given = check_matrix("w", w, dim)?;
        if rows != given {
            let why = format!("{given} rows were given, {rows} of a; they must be as many");
            return Err(Error::argument("w", why));
        }
        Ok(Self { kind, dim, a: a.to_vec(), w: w.to_vec() })
    }
}

/// start + Σ aᵢ xᵢ
#[inline(always)]
fn dot<const FMA: bool>(start: f64, a: &[f64], x: &[V]) -> V {
    let mut sum = V::splat(start);
    for (a, x) in a.iter().zip(x) {
        sum = V::splat(*a).mul_add::<FMA>(*x, sum);
    }
    sum
}

/// Folds term(aᵢ, xᵢ - wᵢ, value so far) from `start`.
#[inline(always)]
fn fold(start: f64, a: &[f64], w: &[f64], x: &[V], term: impl Fn(V, V, V) -> V) -> V {
    let mut value = V::splat(start);
    for ((a, w), x) in a.iter().zip(w).zip(x) {
        value = term(V::splat(*a), *x - V::splat(*w), value);
    }
    value
}

#[inline(always)]
fn power(mut base: V, mut k: usize) -> V {
    let mut product = V::splat(1.0);
    while k > 0 {
        if k & 1 == 1 {
            product = product * base;
        }
        base = base * base;
        k >>= 1;
    }
    product
}

#[inline(always)]
fn negated(x: V) -> V {
    x.map(|x| -x)
}

impl Tile for Genz {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.a.len() / self.dim
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], _scratch: &mut [V], out: &mut [V]) {
        let one = V::splat(1.0);
        let members = self.a.chunks_exact(self.dim).zip(self.w.chunks_exact(self.dim));
        for (out, (a, w)) in out.iter_mut().zip(members) {
            *out = match self.kind {
                GenzKind::Oscillatory => cosv::<FMA>(dot::<FMA>(2.0 * PI * w[0], a, x)),
                GenzKind::ProductPeak => {
                    one / fold(1.0, a, w, x, |a, x, product| {
                        product * x.mul_add::<FMA>(x, one / (a * a))
                    })
                }
                GenzKind::Corner => one / power(dot::<FMA>(1.0, a, x), self.dim + 1),
                GenzKind::Gaussian => expv::<FMA>(negated(fold(0.0, a, w, x, |a, x, sum| {
                    let y = a * x;
                    y.mul_add::<FMA>(y, sum)
                }))),
                GenzKind::Continuous => expv::<FMA>(negated(fold(0.0, a, w, x, |a, x, sum| {
                    a.mul_add::<FMA>(x.map(f64::abs), sum)
                }))),
                GenzKind::Discontinuous => {
                    let mut value = expv::<FMA>(dot::<FMA>(0.0, a, x));
                    for (x, w) in x.iter().zip(w).take(2) {
                        // NaN stays NaN on either side of the edge.
                        value = value.zip(*x, |v, x| if x >= *w && !v.is_nan() { 0.0 } else { v });
                    }
                    value
                }
            };
        }
    }
}

integrand_by_tiles!(Genz);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{scattered, values};
    use super::*;

    fn formula(kind: GenzKind, a: &[f64], w: &[f64], x: &[f64]) -> f64 {
        let sum = |f: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
            (0..a.len()).map(|i| f(a[i], w[i], x[i])).sum()
        };
        match kind {
            GenzKind::Oscillatory => (2.0 * PI * w[0] + sum(&|a, _, x| a * x)).cos(),
            GenzKind::ProductPeak => {
                (0..a.len()).map(|i| 1.0 / (a[i].powi(-2) + (x[i] - w[i]).powi(2))).product()
            }
            GenzKind::Corner => (1.0 + sum(&|a, _, x| a * x)).powi(-(a.len() as i32) - 1),
            GenzKind::Gaussian => (-sum(&|a, w, x| (a * (x - w)).powi(2))).exp(),
            GenzKind::Continuous => (-sum(&|a, w, x| a * (x - w).abs())).exp(),
            GenzKind::Discontinuous if x.iter().zip(w).take(2).all(|(x, w)| x < w) => {
                sum(&|a, _, x| a * x).exp()
            }
            GenzKind::Discontinuous => 0.0,
        }
    }

    #[test]
    fn agree_with_the_formulas() {
        for dim in [1, 2, 5] {
            let a: Vec<f64> = (1..=2 * dim).map(|i| 0.5 * i as f64).collect();
            let w: Vec<f64> = (1..=2 * dim).map(|i| 0.09 * i as f64).collect();
            let x = scattered(203, dim, 0.0, 1.0);
            for kind in GenzKind::ALL {
                assert_eq!(kind.name().parse::<GenzKind>().unwrap(), kind);
                let given = values(&Genz::new(kind, &a, &w, dim).unwrap(), &x);
                for (k, value) in given.iter().enumerate() {
                    let (i, j) = (k / 2, k % 2);
                    let members = j * dim..(j + 1) * dim;
                    let x = &x[i * dim..(i + 1) * dim];
                    let truth = formula(kind, &a[members.clone()], &w[members], x);
                    assert!((value - truth).abs() <= 2.0e-14 * truth.abs().max(0.1), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_nan_is_never_hidden() {
        for kind in GenzKind::ALL {
            let f = Genz::new(kind, &[1.0, 2.0, 0.0], &[0.5; 3], 3).unwrap();
            for i in 0..3 {
                // The other coordinates lie beyond the edge of the discontinuous family.
                let mut x = [0.9; 3];
                x[i] = f64::NAN;
                assert!(values(&f, &x)[0].is_nan(), "{kind:?}, coordinate {i}");
            }
        }
    }

    #[test]
    fn arguments_are_checked() {
        assert!("corners".parse::<GenzKind>().is_err());
        assert!(Genz::new(GenzKind::Corner, &[1.0; 4], &[1.0; 2], 2).is_err());
        assert!(Genz::new(GenzKind::Corner, &[1.0, f64::INFINITY], &[1.0; 2], 2).is_err());
        assert!(Genz::new(GenzKind::Corner, &[1.0; 2], &[f64::NAN, 0.0], 2).is_err());
    }
}
