//! Bindings of `fermiac_core::privacy`, one file for each of its parts.

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
