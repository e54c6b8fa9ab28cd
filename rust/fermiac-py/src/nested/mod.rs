//! Bindings of `fermiac_nested`: runs, chains of their batches, surrogates, and prior masses.

mod chains;
mod learnt;
mod problem;
mod run;
mod slices;
pub(crate) mod surrogate;
mod volumes;

use pyo3::prelude::*;

/// Adds this directory's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    chains::register(m)?;
    learnt::register(m)?;
    run::register(m)?;
    surrogate::register(m)?;
    volumes::register(m)
}
