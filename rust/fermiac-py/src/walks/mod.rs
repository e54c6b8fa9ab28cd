//! Bindings of `fermiac_core::walks`.

mod gradient;
mod graph;
mod tokens;
mod walkers;

use pyo3::prelude::*;

/// Adds this folder's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    graph::register(m)?;
    walkers::register(m)?;
    tokens::register(m)
}
