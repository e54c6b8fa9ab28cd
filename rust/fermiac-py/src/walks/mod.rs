//! Bindings of `fermiac_walks`.

mod crawlers;
mod external;
mod gradient;
mod graph;
mod persist;
mod random;
mod saw;
mod tokens;
mod walkers;

use pyo3::prelude::*;

/// Adds this folder's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    crawlers::register(m)?;
    external::register(m)?;
    graph::register(m)?;
    persist::register(m)?;
    random::register(m)?;
    saw::register(m)?;
    tokens::register(m)?;
    walkers::register(m)?;
    Ok(())
}
