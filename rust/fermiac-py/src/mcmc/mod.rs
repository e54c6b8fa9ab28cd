//! Bindings of `fermiac_mcmc`.

mod conditional;
mod kernels;
mod laws;
mod sampler;

use pyo3::prelude::*;

/// Adds the classes of this folder to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<sampler::PySampler>()?;
    laws::register(m)?;
    m.add_class::<conditional::PyRowStreams>()
}
