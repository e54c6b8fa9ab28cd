//! Bindings of `fermiac_privacy`, one file for each of its parts.

mod gaussian;
mod intervals;
mod one_run;
mod posterior;
mod scores;
mod stream;
mod watermark;

use pyo3::prelude::*;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    gaussian::register(m)?;
    intervals::register(m)?;
    one_run::register(m)?;
    posterior::register(m)?;
    scores::register(m)?;
    stream::register(m)?;
    watermark::register(m)
}
