//! Bindings of `fermiac_core::nested`.

pub(crate) mod surrogate;

use pyo3::prelude::*;

/// Adds this folder's classes and functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    surrogate::register(m)
}
