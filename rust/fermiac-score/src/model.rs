//! The trait of score models: the mean of the data behind noisy points, and optional quantities.

use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;

/// A law of data, seen through Gaussian noise of any level.
///
/// Noise levels are one number for all rows or one per row. If [`Model::dispatch`] is
/// [`Dispatch::AnyThread`], the value of a row never depends on its batch.
pub trait Model: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// The denoised rows, E[x | x + s z = y] (rows × dim); the caller checks that they are finite.
    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()>;

    /// The score of the noisy law (rows × dim). Models with a formula override this: the difference
    /// cancels at low levels.
    fn score(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.denoise(y, sigma, out)?;
        let dim = self.dim();
        for (i, (to, y)) in out.chunks_exact_mut(dim).zip(y.iter()).enumerate() {
            let s = level(sigma, i);
            to.iter_mut().zip(y).for_each(|(d, y)| *d = (*d - y) / (s * s));
        }
        Ok(())
    }

    /// The log-density of the noisy law at every row, if the model knows it.
    fn log_density(&self, _y: Rows<'_>, _sigma: &[f64], _out: &mut [f64]) -> Result<()> {
        Err(Error::argument("model", "it does not know its log-density"))
    }

    /// The log-density of every row at every level (rows × levels).
    fn level_log_densities(&self, y: Rows<'_>, levels: &[f64], out: &mut [f64]) -> Result<()> {
        let mut column = vec![0.0; y.len()];
        for (k, s) in levels.iter().enumerate() {
            self.log_density(y, std::slice::from_ref(s), &mut column)?;
            for (row, value) in out.chunks_exact_mut(levels.len()).zip(&column) {
                row[k] = *value;
            }
        }
        Ok(())
    }

    /// Whether [`Model::denoise_with_trace`] can be called.
    fn has_trace(&self) -> bool {
        false
    }

    /// The denoised rows, and the trace of their derivative ∂D/∂y at each.
    fn denoise_with_trace(
        &self,
        _y: Rows<'_>,
        _sigma: &[f64],
        _out: &mut [f64],
        _trace: &mut [f64],
    ) -> Result<()> {
        Err(Error::argument("model", "it does not know its derivative"))
    }

    /// The threads on which it may run: any, unless a model says otherwise.
    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }

    /// Its name in messages.
    fn describe(&self) -> String {
        "the score model".into()
    }
}

/// The noise level of row `i`, from one level for all rows or one per row.
#[inline(always)]
pub fn level(sigma: &[f64], i: usize) -> f64 {
    if sigma.len() == 1 { sigma[0] } else { sigma[i] }
}
