//! Bindings of `fermiac_resample`, one file for each of its parts.

mod bootstrap;
mod permute;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    bootstrap::register(m)?;
    permute::register(m)
}
