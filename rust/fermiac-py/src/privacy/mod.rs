//! Bindings of `fermiac_core::privacy`, one file for each of its parts.

mod columns;
mod gaussian;
mod intervals;
mod posterior;
mod scores;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    posterior::register(m)?;
    gaussian::register(m)?;
    intervals::register(m)?;
    scores::register(m)
}
