//! Bindings and helpers of every domain: arrays, the door into Rust, streams, special functions, files.

pub(crate) mod array;
mod averages;
pub(crate) mod columns;
mod diagnostics;
pub(crate) mod enter;
pub(crate) mod error;
pub(crate) mod random;
mod special;
mod store;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    averages::register(m)?;
    diagnostics::register(m)?;
    random::register(m)?;
    special::register(m)?;
    store::register(m)
}
