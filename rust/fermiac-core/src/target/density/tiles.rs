//! Log-densities that are written for eight points at a time, one point a lane.

use crate::linalg::Rows;
use crate::simd::{Kernel, LANES, V, dispatch};

/// A log-density of eight points.
pub(super) trait Tile {
    /// The log-densities of eight points, given coordinate by coordinate, and the gradients.
    /// Must be `inline(always)`.
    fn tile<const FMA: bool>(&self, x: &[V], slopes: &mut [V]) -> V;
}

/// Makes a [`LogDensity`](crate::target::LogDensity) of a [`Tile`] with a normalised density and
/// a field `dim`.
macro_rules! density_by_tiles {
    ($type:ty) => {
        impl crate::target::LogDensity for $type {
            fn dim(&self) -> usize {
                self.dim
            }

            fn has_gradient(&self) -> bool {
                true
            }

            fn log_density(
                &self,
                x: $crate::linalg::Rows<'_>,
                out: &mut [f64],
                status: &mut [crate::target::RowStatus],
            ) -> $crate::Result<()> {
                crate::target::LogDensity::log_density_gradient(self, x, out, &mut [], status)
            }

            fn log_density_gradient(
                &self,
                x: $crate::linalg::Rows<'_>,
                out: &mut [f64],
                gradient: &mut [f64],
                status: &mut [crate::target::RowStatus],
            ) -> $crate::Result<()> {
                $crate::target::density::check_rows(x, self.dim)?;
                $crate::target::density::tiles::evaluate(self, x, out, gradient);
                $crate::target::density::settle_overflow(x, out, gradient, status);
                Ok(())
            }

            fn log_evidence(&self) -> Option<f64> {
                Some(0.0)
            }

            fn style(&self) -> crate::target::Style {
                crate::target::Style::Threaded
            }
        }
    };
}
pub(super) use density_by_tiles;

/// Evaluates every row of `x`; `gradient` may be empty.
pub(super) fn evaluate<T: Tile>(density: &T, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]) {
    dispatch(Evaluate { density, x, out, gradient });
}

struct Evaluate<'a, T> {
    density: &'a T,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl<T: Tile> Kernel for Evaluate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let dim = self.x.dim();
        let mut space = vec![V::ZERO; 2 * dim];
        let (points, slopes) = space.split_at_mut(dim);
        let mut gradients = self.gradient.chunks_mut(LANES * dim);
        let tiles = self.x.data().chunks(LANES * dim).zip(self.out.chunks_mut(LANES));
        for (rows, out) in tiles {
            // Lanes without a row keep what they had: no lane sees another.
            for (l, row) in rows.chunks_exact(dim).enumerate() {
                for (point, x) in points.iter_mut().zip(row) {
                    point.0[l] = *x;
                }
            }
            let values = self.density.tile::<FMA>(points, slopes);
            out.copy_from_slice(&values.0[..out.len()]);
            for (l, row) in
                gradients.next().into_iter().flat_map(|g| g.chunks_exact_mut(dim)).enumerate()
            {
                for (slope, column) in row.iter_mut().zip(&*slopes) {
                    *slope = column.0[l];
                }
            }
        }
    }
}
