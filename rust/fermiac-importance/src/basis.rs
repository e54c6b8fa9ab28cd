//! Polynomials of the coordinates that are orthonormal under the law, as control variates.

use super::points::Points;
use super::proposal::Control;
use super::regress::{self, Columns};
use super::space::Space;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::V;
use fermiac_target::Law;
use fermiac_target::law::Polynomials;

/// The degree at most, over both coordinates of a polynomial.
const DEGREE: usize = 6;
/// Polynomials at most, and points of the adaptation that each of them takes.
const MOST: usize = 256;
const POINTS: usize = 10;
/// Parts of the points that the degree is chosen by, each in turn left out of the fit.
const FOLDS: usize = 5;

/// Polynomials as functions of working coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    polynomials: Polynomials,
    space: Space,
    /// What it was made for.
    pub(crate) points: usize,
}

impl Basis {
    /// All of the largest degree at which `points` points suffice for the fit.
    pub(crate) fn new(law: &dyn Law, space: &Space, points: usize) -> Result<Self> {
        let most = MOST.min(points / POINTS);
        let polynomials = Polynomials::new(law, DEGREE, most, "controls")?;
        Ok(Self { polynomials, space: space.clone(), points })
    }

    pub(crate) fn len(&self) -> usize {
        self.polynomials.len()
    }

    /// Fills `out` with all polynomials at the eight points of a tile of working coordinates.
    #[inline(always)]
    pub(crate) fn fill<const FMA: bool>(&self, z: &[V], scratch: &mut Scratch, out: &mut [V]) {
        scratch.x.resize(z.len(), V::ZERO);
        for (k, (x, z)) in scratch.x.iter_mut().zip(z).enumerate() {
            *x = self.space.point::<FMA>(k, *z);
        }
        self.polynomials.fill::<FMA>(&mut scratch.x, &mut scratch.powers, out);
    }
}

/// What [`Basis::fill`] works in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    x: Vec<V>,
    powers: Vec<V>,
}

/// The controls of all expectations: for each the degree, possibly 0, at which the values of points
/// that were left out of the fit vary least.
pub(crate) fn controls(
    context: &Context<'_>,
    points: &Points,
    columns: &Columns<'_>,
    basis: &Basis,
) -> Result<Vec<Control>> {
    let j = points.layout.len;
    let folds = regress::grams(context, points, columns, FOLDS)?;
    let mut total = folds[0].clone();
    for fold in &folds[1..] {
        total.iter_mut().zip(fold).for_each(|(t, f)| *t += f);
    }
    let mut best = vec![(f64::INFINITY, 0); j];
    for (degree, terms) in basis.polynomials.upto().iter().enumerate() {
        let mut left = vec![0.0; j];
        for fold in &folds {
            let train: Vec<f64> = total.iter().zip(fold).map(|(t, f)| t - f).collect();
            let fit = regress::fit(&train, columns, *terms)?;
            left.iter_mut().enumerate().for_each(|(k, l)| *l += fit.rest(fold, columns, k));
        }
        for (best, left) in best.iter_mut().zip(left) {
            if left < best.0 {
                *best = (left, degree);
            }
        }
    }
    let mut out = vec![Control::default(); j];
    for (degree, terms) in basis.polynomials.upto().iter().enumerate() {
        let wanted: Vec<usize> = (0..j).filter(|k| best[*k].1 == degree).collect();
        if wanted.is_empty() {
            continue;
        }
        let fit = regress::fit(&total, columns, *terms)?;
        for k in wanted {
            out[k] = fit.control(columns, k);
        }
    }
    Ok(out)
}
