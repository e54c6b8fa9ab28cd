//! Bindings of `fermiac_core::walks`.

mod graph;
mod persist;
mod walkers;

use pyo3::prelude::*;

/// Adds this folder's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    graph::register(m)?;
    persist::register(m)?;
    walkers::register(m)
}
