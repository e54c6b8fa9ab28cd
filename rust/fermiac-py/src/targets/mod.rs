//! Bindings of laws, densities and integrands, and the conversion of Python objects into targets.

pub(crate) mod densities;
pub(crate) mod distributions;
pub(crate) mod integrands;
mod native;
pub(crate) mod target;
pub(crate) mod transforms;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    densities::register(m)?;
    distributions::register(m)?;
    integrands::register(m)?;
    native::register(m)?;
    transforms::register(m)
}
