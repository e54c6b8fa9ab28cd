//! Bindings of `fermiac_core::privacy`, one file for each of its parts.

mod watermark;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    watermark::register(m)
}
