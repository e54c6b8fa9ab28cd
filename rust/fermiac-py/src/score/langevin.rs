//! Denoising Langevin Gibbs as a Python class that `fermiac.score` drives.

use pyo3::prelude::*;

/// Adds this file's names to the module.
pub(super) fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
