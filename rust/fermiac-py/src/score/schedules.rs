//! Grids of noise levels.

use pyo3::prelude::*;

/// Adds this file's names to the module.
pub(super) fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
