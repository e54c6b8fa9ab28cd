//! Bindings shared by all domains: arrays, calls into the core, streams, special functions, files.

pub(crate) mod array;
mod averages;
pub(crate) mod call;
pub(crate) mod columns;
mod diagnostics;
pub(crate) mod dict;
pub(crate) mod door;
pub(crate) mod enter;
pub(crate) mod error;
mod qmc;
pub(crate) mod random;
mod special;
mod store;

use pyo3::prelude::*;

/// Adds the functions of this folder to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    averages::register(m)?;
    diagnostics::register(m)?;
    qmc::register(m)?;
    random::register(m)?;
    special::register(m)?;
    store::register(m)
}
