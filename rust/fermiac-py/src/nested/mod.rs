//! Bindings of `fermiac_nested`: runs, surrogates, and prior masses.

mod learnt;
mod run;
pub(crate) mod surrogate;
mod volumes;

use pyo3::prelude::*;

/// Adds this directory's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    learnt::register(m)?;
    run::register(m)?;
    surrogate::register(m)?;
    volumes::register(m)
}
