//! The model of the tests.

use crate::model::{Model, level};
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_target::Dispatch;

/// A normal law about 0 with independent coordinates, of which everything is known.
pub(crate) struct Normal {
    pub(crate) dim: usize,
    /// The variance τ² of a coordinate.
    pub(crate) variance: fn(usize) -> f64,
    pub(crate) dispatch: Dispatch,
    /// Whether a coordinate of a point is denoised to NaN at a level.
    pub(crate) breaks: fn(&[f64], usize, f64) -> bool,
}

impl Model for Normal {
    fn dim(&self) -> usize {
        self.dim
    }

    /// D(y, s) = y τ² / (τ² + s²).
    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        for (i, (row, y)) in out.chunks_exact_mut(self.dim).zip(y.iter()).enumerate() {
            let s = level(sigma, i);
            for (c, d) in row.iter_mut().enumerate() {
                let u = (self.variance)(c);
                *d = if (self.breaks)(y, c, s) { f64::NAN } else { y[c] * u / (u + s * s) };
            }
        }
        Ok(())
    }

    fn log_density(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        for (i, (out, y)) in out.iter_mut().zip(y.iter()).enumerate() {
            let square = level(sigma, i).powi(2);
            let each = y.iter().enumerate().map(|(c, y)| (y * y, (self.variance)(c) + square));
            *out = each.map(|(y2, v)| -0.5 * (y2 / v + v.ln())).sum();
        }
        Ok(())
    }

    fn has_trace(&self) -> bool {
        true
    }

    fn denoise_with_trace(
        &self,
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        trace: &mut [f64],
    ) -> Result<()> {
        for (i, trace) in trace.iter_mut().enumerate() {
            let v = level(sigma, i).powi(2);
            *trace = (0..self.dim).map(self.variance).map(|u| u / (u + v)).sum();
        }
        self.denoise(y, sigma, out)
    }

    fn dispatch(&self) -> Dispatch {
        self.dispatch
    }
}
