//! Bindings of importance sampling.

mod evidence;
mod expect;
mod integrate;
mod polynomials;
mod rare;
mod trained;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    evidence::register(m)?;
    expect::register(m)?;
    integrate::register(m)?;
    rare::register(m)?;
    trained::register(m)?;
    polynomials::register(m)
}
