//! Bindings of `fermiac_nested`, one file for each of its parts.

mod run;
pub(crate) mod surrogate;
mod volumes;

use pyo3::prelude::*;

/// Adds this directory's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    run::register(m)?;
    surrogate::register(m)?;
    volumes::register(m)
}
