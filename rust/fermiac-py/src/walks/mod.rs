//! Bindings of `fermiac_core::walks`.

mod external;
mod graph;
mod random;

use pyo3::prelude::*;

/// Adds this folder's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    graph::register(m)?;
    external::register(m)?;
    random::register(m)
}
