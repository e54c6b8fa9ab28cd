//! Log-densities written once for one point and for eight, one point per lane.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch};

/// A log-density of one point, or of eight.
pub(super) trait Tile {
    /// Returns the log-densities of points, given by coordinate, and writes the gradients if
    /// `SLOPES`; else `slopes` is empty. Must be `inline(always)`.
    fn tile<R: Real, const FMA: bool, const SLOPES: bool>(&self, x: &[R], slopes: &mut [R]) -> R;
}

/// Implements [`LogDensity`](crate::LogDensity) for a [`Tile`] with a normalised density and a field
/// `dim`.
macro_rules! density_by_tiles {
    ($type:ty) => {
        impl $crate::density::Smooth for $type {
            fn dim(&self) -> usize {
                self.dim
            }

            fn evaluate(
                &self,
                x: fermiac_base::linalg::Rows<'_>,
                out: &mut [f64],
                gradient: &mut [f64],
            ) {
                $crate::density::tiles::evaluate(self, x, out, gradient);
            }
        }

        $crate::density::smooth_density!($type);
    };
}
pub(super) use density_by_tiles;

/// Evaluates every row of `x`; `gradient` may be empty.
pub(super) fn evaluate<T: Tile>(density: &T, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]) {
    if gradient.is_empty() {
        dispatch(Evaluate::<T, false> { density, x, out, gradient });
    } else {
        dispatch(Evaluate::<T, true> { density, x, out, gradient });
    }
}

struct Evaluate<'a, T, const SLOPES: bool> {
    density: &'a T,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl<T: Tile, const SLOPES: bool> Kernel for Evaluate<'_, T, SLOPES> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let dim = self.x.dim();
        let whole = self.out.len() - self.out.len() % LANES;
        let (outs, rest) = self.out.split_at_mut(whole);
        let gradient_of = |rows: usize| if SLOPES { rows * dim } else { 0 };
        let (gradients, rest_gradient) = self.gradient.split_at_mut(gradient_of(whole));
        if whole > 0 {
            let mut space = vec![V::ZERO; if SLOPES { 2 * dim } else { dim }];
            let (points, slopes) = space.split_at_mut(dim);
            for (t, out) in outs.chunks_exact_mut(LANES).enumerate() {
                let first = t * LANES * dim;
                for (j, point) in points.iter_mut().enumerate() {
                    *point = V::column(&self.x.data()[first..first + LANES * dim], dim, j);
                }
                let values = self.density.tile::<V, FMA, SLOPES>(points, slopes);
                out.copy_from_slice(&values.0);
                if SLOPES {
                    let rows = gradients[first..first + LANES * dim].chunks_exact_mut(dim);
                    for (l, row) in rows.enumerate() {
                        for (slope, column) in row.iter_mut().zip(&*slopes) {
                            *slope = column.0[l];
                        }
                    }
                }
            }
        }
        // A single row needs no copy of its point or gradient.
        for (i, out) in rest.iter_mut().enumerate() {
            let slopes = &mut rest_gradient[gradient_of(i)..gradient_of(i + 1)];
            *out = self.density.tile::<f64, FMA, SLOPES>(self.x.row(whole + i), slopes);
        }
    }
}
