//! Bindings of `fermiac_score`.

mod adaptive;
mod langevin;
mod masked;
mod mixture;
pub(crate) mod models;
mod native;
mod programs;
mod run;
mod schedules;

use pyo3::prelude::*;

/// Adds this directory's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    adaptive::register(m)?;
    langevin::register(m)?;
    masked::register(m)?;
    mixture::register(m)?;
    models::register(m)?;
    native::register(m)?;
    programs::register(m)?;
    run::register(m)?;
    schedules::register(m)
}
