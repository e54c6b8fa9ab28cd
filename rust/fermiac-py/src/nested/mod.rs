//! Bindings of `fermiac_core::nested`, one file for each of its parts.

mod volumes;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    volumes::register(m)
}
