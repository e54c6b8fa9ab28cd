//! Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests.
//! Bindings of `fermiac_core::privacy`, one file for each of its parts.

mod columns;
mod gaussian;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    gaussian::register(m)
}
