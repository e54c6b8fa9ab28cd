//! The built-in laws: independent coordinates, multivariate normal and t, Dirichlet, LKJ, Gaussian
//! copulas, counts, mixtures and products.
//!
//! Densities are evaluated on tiles of eight rows, one row a lane. Rows that do not fill a tile (a
//! chain asks for one at a time) are evaluated one by one, by the same operations in the same
//! order, so that the value of a row depends on the row alone.

mod compound;
mod copula;
mod cut;
mod dirichlet;
mod discrete;
mod ellipse;
mod independent;
mod kernels;
mod lkj;
mod marginal;
mod multivariate;
mod orthogonal;
mod tails;

pub use compound::{Mixture, Product};
pub use copula::GaussianCopula;
pub use dirichlet::Dirichlet;
pub use discrete::{Count, Counts};
pub use independent::Independent;
pub use lkj::Lkj;
pub use marginal::Marginal;
pub use multivariate::{MultivariateNormal, MultivariateT};
pub use orthogonal::{Families, Orthogonal, Polynomials};

use crate::check_dim;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};

/// Refuses a batch whose rows are not points of a `dim`-dimensional law.
fn check_rows(x: Rows<'_>, dim: usize, out: &[f64]) -> Result<()> {
    check_dim(x, dim, "law")?;
    if x.len() != out.len() {
        let why = format!("{} numbers for the densities of {} rows", out.len(), x.len());
        return Err(Error::argument("out", why));
    }
    Ok(())
}

/// Refuses a buffer that is not a whole number of `dim`-dimensional rows.
fn check_draws(out: &[f64], dim: usize) -> Result<()> {
    if out.len().is_multiple_of(dim) {
        return Ok(());
    }
    let why = format!("{} numbers are no whole number of rows of {dim}", out.len());
    Err(Error::argument("out", why))
}

/// A finite number, or an error in the name of the argument.
pub(crate) fn finite(name: &str, x: f64) -> Result<f64> {
    if x.is_finite() {
        return Ok(x);
    }
    Err(Error::argument(name, format!("{x} was given; a finite number is needed")))
}

/// A finite number above zero, or an error in the name of the argument.
pub(crate) fn positive(name: &str, x: f64) -> Result<f64> {
    if x > 0.0 && x < f64::INFINITY {
        return Ok(x);
    }
    Err(Error::argument(name, format!("{x} was given; a finite number above 0 is needed")))
}

/// Writes one coordinate of eight rows to a tile.
#[inline(always)]
pub(crate) fn scatter(column: V, tile: &mut [f64], dim: usize, j: usize) {
    for l in 0..LANES {
        tile[l * dim + j] = column.0[l];
    }
}

/// A log-density of eight rows, and of one, with the gradient if `SLOPES`; else `slopes` is empty. A
/// trait and not a closure, because a closure that is not inlined would be compiled for the baseline
/// instruction set (there `mul_add` is a library call). Everything must be `inline(always)`.
trait Tile {
    /// The log-densities of eight rows, which lie one after the other, and coordinate by coordinate
    /// their derivatives.
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V;

    /// That of one row, with the same bits.
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64;
}

/// Evaluates every row by a tile; `gradient`, if it is not empty, means nothing where the density
/// is 0.
fn evaluate(
    tile: impl Tile,
    x: Rows<'_>,
    dim: usize,
    out: &mut [f64],
    gradient: &mut [f64],
) -> Result<()> {
    check_rows(x, dim, out)?;
    if gradient.is_empty() {
        dispatch(Evaluate::<_, false> { tile, x, out, gradient });
    } else {
        dispatch(Evaluate::<_, true> { tile, x, out, gradient });
    }
    Ok(())
}

struct Evaluate<'a, T, const SLOPES: bool> {
    tile: T,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl<T: Tile, const SLOPES: bool> Kernel for Evaluate<'_, T, SLOPES> {
    type Output = ();

    /// Runs the tile on eight rows at a time and on the last ones alone. A row without NaN always has
    /// a density: where a sum of infinities is NaN, it is -inf.
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { mut tile, x, out, gradient } = self;
        let dim = x.dim();
        let mut slopes = if SLOPES { tile_space(x) } else { Vec::new() };
        let mut whole = x.data().chunks_exact(LANES * dim);
        let mut outs = out.chunks_exact_mut(LANES);
        let mut gradients = gradient.chunks_exact_mut(LANES * dim);
        for (rows, out) in (&mut whole).zip(&mut outs) {
            store(&tile.rows::<FMA, SLOPES>(rows, &mut slopes).0, rows, out);
            if SLOPES && let Some(gradient) = gradients.next() {
                for (j, slope) in slopes.iter().enumerate() {
                    scatter(*slope, gradient, dim, j);
                }
            }
        }
        let outs = outs.into_remainder().chunks_exact_mut(1);
        let mut gradients = gradients.into_remainder().chunks_exact_mut(dim);
        for (row, out) in whole.remainder().chunks_exact(dim).zip(outs) {
            let slopes = if SLOPES { gradients.next().unwrap_or_default() } else { &mut [] };
            store(&[tile.row::<FMA, SLOPES>(row, slopes)], row, out);
        }
    }
}

/// The densities of [`Law`](crate::Law) for a law with a method `tile`, which gives its tile for a
/// batch.
macro_rules! densities_by_tiles {
    () => {
        fn log_density(
            &self,
            x: fermiac_base::linalg::Rows<'_>,
            out: &mut [f64],
        ) -> fermiac_base::Result<()> {
            $crate::law::evaluate(self.tile(x), x, $crate::Law::dim(self), out, &mut [])
        }

        fn has_gradient(&self) -> bool {
            true
        }

        fn log_density_gradient(
            &self,
            x: fermiac_base::linalg::Rows<'_>,
            out: &mut [f64],
            gradient: &mut [f64],
        ) -> fermiac_base::Result<()> {
            $crate::law::evaluate(self.tile(x), x, $crate::Law::dim(self), out, gradient)
        }
    };
}
use densities_by_tiles;

/// A vector for each coordinate, where there is a tile that needs them.
#[inline(always)]
fn tile_space(x: Rows<'_>) -> Vec<V> {
    vec![V::ZERO; if x.len() < LANES { 0 } else { x.dim() }]
}

#[inline(always)]
fn store(values: &[f64], rows: &[f64], out: &mut [f64]) {
    out.copy_from_slice(values);
    if values.iter().any(|v| v.is_nan()) {
        settle(rows, out);
    }
}

#[cold]
fn settle(rows: &[f64], out: &mut [f64]) {
    let dim = rows.len() / out.len();
    for (value, row) in out.iter_mut().zip(rows.chunks_exact(dim)) {
        if value.is_nan() && !row.iter().any(|x| x.is_nan()) {
            *value = f64::NEG_INFINITY;
        }
    }
}
