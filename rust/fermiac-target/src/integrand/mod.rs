//! The built-in integrands: monomials, test families, engineering models, linear forms, and
//! integrands made from others (indicators, the joint integrand of Sobol' indices).
//!
//! Rows are evaluated eight at a time, one row per lane. The last rows are padded and run the same
//! kernel, so the values of a row depend only on the row.

mod derived;
mod genz;
mod linear;
mod models;
mod powers;

pub use derived::{Indicator, PickFreeze};
pub use genz::{Genz, GenzKind};
pub use linear::Linear;
pub use models::{Cantilever, GFunction, Ishigami};
pub use powers::Powers;

pub use crate::function::integrand as from_fn;

use crate::check_dim;
use crate::law::scatter;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{LANES, Real, Shuffle, V, WideKernel, dispatch_wide};
use fermiac_base::{Error, Result};

/// An integrand written for eight points at a time.
trait Tile {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Numbers per point.
    fn outputs(&self) -> usize;

    /// Number of vectors of working space.
    fn scratch(&self) -> usize {
        0
    }

    /// Writes all outputs at eight points, given by coordinate. Must be `#[inline(always)]`.
    fn tile<const FMA: bool>(&self, x: &[V], scratch: &mut [V], out: &mut [V]);
}

/// Implements [`Integrand`](super::Integrand) for a [`Tile`].
macro_rules! integrand_by_tiles {
    ($type:ty) => {
        impl crate::Integrand for $type {
            fn dim(&self) -> usize {
                $crate::integrand::Tile::dim(self)
            }

            fn outputs(&self) -> Option<usize> {
                Some($crate::integrand::Tile::outputs(self))
            }

            fn eval(
                &self,
                x: fermiac_base::linalg::Rows<'_>,
                out: &mut Vec<f64>,
                _status: &mut [crate::RowStatus],
            ) -> fermiac_base::Result<()> {
                $crate::integrand::eval_tiles(self, x, out)
            }

            fn dispatch(&self) -> crate::Dispatch {
                crate::Dispatch::AnyThread
            }
        }
    };
}
use integrand_by_tiles;

struct Batch<'a, T> {
    integrand: &'a T,
    x: Rows<'a>,
    out: &'a mut [f64],
}

/// Buffers of one tile: its points, its values and the working space of the integrand.
struct Buffers {
    points: Vec<V>,
    values: Vec<V>,
    scratch: Vec<V>,
}

impl Buffers {
    // A function and not a closure, which might not be inlined into the clone when called twice.
    #[inline(always)]
    fn evaluate<const FMA: bool>(
        &mut self,
        shuffle: impl Shuffle,
        integrand: &impl Tile,
        rows: &[f64],
        out: &mut [f64],
    ) {
        let (dim, outputs) = (self.points.len(), self.values.len());
        for (i, points) in self.points.chunks_mut(4).enumerate() {
            let first = 4 * i;
            if let Ok(points) = <&mut [V; 4]>::try_from(&mut *points) {
                let mut of = [&[0.0; 4]; LANES];
                for (l, of) in of.iter_mut().enumerate() {
                    *of = &rows[l * dim + first..].as_chunks().0[0];
                }
                *points = shuffle.columns(of);
            } else {
                for (j, point) in points.iter_mut().enumerate() {
                    *point = column(rows, dim, first + j);
                }
            }
        }
        integrand.tile::<FMA>(&self.points, &mut self.scratch, &mut self.values);
        for (j, value) in self.values.iter().enumerate() {
            put_column(*value, out, outputs, j);
        }
    }
}

impl<T: Tile> WideKernel for Batch<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
        let Self { integrand, x, out } = self;
        let (dim, outputs) = (integrand.dim(), integrand.outputs());
        let mut buffers = Buffers {
            points: vec![V::ZERO; dim],
            values: vec![V::ZERO; outputs],
            scratch: vec![V::ZERO; integrand.scratch()],
        };
        let tiles = x.data().chunks_exact(LANES * dim);
        let last = tiles.remainder();
        let mut outs = out.chunks_exact_mut(LANES * outputs);
        for (rows, out) in tiles.zip(&mut outs) {
            buffers.evaluate::<FMA>(shuffle, integrand, rows, out);
        }
        if !last.is_empty() {
            let mut rows = vec![0.0; LANES * dim];
            rows[..last.len()].copy_from_slice(last);
            let mut padded = vec![0.0; LANES * outputs];
            buffers.evaluate::<FMA>(shuffle, integrand, &rows, &mut padded);
            let rest = outs.into_remainder();
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }
}

fn eval_tiles<T: Tile>(integrand: &T, x: Rows<'_>, out: &mut Vec<f64>) -> Result<()> {
    check_dim(x, integrand.dim(), "integrand")?;
    out.resize(x.len() * integrand.outputs(), 0.0);
    dispatch_wide(Batch { integrand, x, out });
    Ok(())
}

/// Returns column `j` of eight rows, `width` apart.
#[inline(always)]
fn column(rows: &[f64], width: usize, j: usize) -> V {
    if width == 1 { V::load(rows) } else { V::column(rows, width, j) }
}

/// Writes a column of eight rows back.
#[inline(always)]
fn put_column(column: V, rows: &mut [f64], width: usize, j: usize) {
    if width == 1 {
        rows[..LANES].copy_from_slice(&column.0);
    } else {
        scatter(column, rows, width, j);
    }
}

/// Refuses numbers that are not finite or no matrix of `dim` columns, and returns the number of rows.
fn check_matrix(name: &str, values: &[f64], dim: usize) -> Result<usize> {
    if let Some((i, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        let why = format!("{v} was given at place {i}; finite numbers are needed");
        return Err(Error::argument(name, why));
    }
    check_shape(name, values.len(), dim)
}

/// Returns the number of rows of a matrix of `len` numbers and `dim` columns, at least one of each.
fn check_shape(name: &str, len: usize, dim: usize) -> Result<usize> {
    if dim == 0 || len == 0 || !len.is_multiple_of(dim) {
        let why =
            format!("{len} numbers were given; one or more rows of {dim} (at least 1) are needed");
        return Err(Error::argument(name, why));
    }
    Ok(len / dim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::{Integrand, RowStatus};

    /// The values of a batch.
    pub(super) fn values(integrand: &dyn Integrand, x: &[f64]) -> Vec<f64> {
        let x = Rows::new(x, integrand.dim());
        let mut out = vec![7.0; 3];
        integrand.eval(x, &mut out, &mut vec![RowStatus::Good; x.len()]).unwrap();
        assert_eq!(out.len(), x.len() * integrand.outputs().unwrap());
        out
    }

    /// `n` points that fill the box (low, high)ᵈ without order.
    pub(super) fn scattered(n: usize, dim: usize, low: f64, high: f64) -> Vec<f64> {
        let place = |k: usize| (k as f64 * 0.754_877_666_246_692_8 + 0.213).fract();
        (0..n * dim).map(|k| low + (high - low) * place(k)).collect()
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let a = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0];
        let w = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        let beam: Arc<dyn Integrand> = Arc::new(Cantilever);
        let mut all: Vec<Arc<dyn Integrand>> = vec![
            Arc::clone(&beam),
            Arc::new(PickFreeze::new(Arc::clone(&beam)).unwrap()),
            Arc::new(Indicator::new(Arc::new(Linear::new(&a, &[-2.0, 0.0], 3).unwrap()))),
            Arc::new(Ishigami::new(7.0, 0.1).unwrap()),
            Arc::new(GFunction::new(&a).unwrap()),
            Arc::new(Powers::new(&[0, 3, 2, 7, 0, 1], 2).unwrap()),
            Arc::new(Powers::new(&[0, 3, 2, 7, 0, 1], 1).unwrap()),
        ];
        for kind in GenzKind::ALL {
            all.push(Arc::new(Genz::new(kind, &a, &w, 3).unwrap()));
        }
        for integrand in all {
            let (dim, outputs) = (integrand.dim(), integrand.outputs().unwrap());
            let x = scattered(2000, dim, 0.05, 0.95);
            let batch = values(integrand.as_ref(), &x);
            for (start, n) in [(0, 1), (3, 1), (5, 9), (11, 16), (1990, 10), (7, 1993)] {
                let part = values(integrand.as_ref(), &x[start * dim..(start + n) * dim]);
                let same = part.iter().zip(&batch[start * outputs..]);
                assert!(same.clone().all(|(a, b)| a.to_bits() == b.to_bits()));
                assert_eq!(same.len(), n * outputs);
            }
            assert!(values(integrand.as_ref(), &[]).is_empty());
        }
    }

    #[test]
    fn rows_of_another_dimension_are_refused() {
        let x = [0.5; 8];
        let given = Rows::new(&x, 4);
        let beam: Arc<dyn Integrand> = Arc::new(Cantilever);
        for integrand in [Arc::clone(&beam), Arc::new(PickFreeze::new(beam).unwrap())] {
            let error =
                integrand.eval(given, &mut Vec::new(), &mut [RowStatus::Good; 2]).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    #[test]
    fn matrices_are_checked() {
        assert_eq!(check_matrix("a", &[1.0; 6], 3).unwrap(), 2);
        for (values, dim) in [(vec![], 2), (vec![1.0; 3], 2), (vec![1.0], 0), (vec![f64::NAN], 1)] {
            assert!(check_matrix("a", &values, dim).is_err());
        }
    }
}
