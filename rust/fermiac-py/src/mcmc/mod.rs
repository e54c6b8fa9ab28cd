//! Bindings of `fermiac_mcmc` and its drivers.

mod compose;
mod conditional;
mod gradient_free;
mod hamiltonian;
mod kernels;
mod langevin;
mod metric;
mod sampler;

use pyo3::prelude::*;

/// Adds this folder's classes and functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<sampler::PySampler>()?;
    m.add_class::<conditional::PyRowStreams>()?;
    m.add_function(wrap_pyfunction!(sampler::mcmc_windows, m)?)
}
