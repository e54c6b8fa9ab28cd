//! Bindings of `fermiac_core::nested`, one file for each of its parts.

pub(crate) mod surrogate;

use pyo3::prelude::*;

/// Adds this directory's classes and functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    surrogate::register(m)
}
