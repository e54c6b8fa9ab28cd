//! The Python module `fermiac._core`: thin bindings over the crates of fermiac, nothing else.
#![allow(clippy::needless_pass_by_value, reason = "arguments of Python functions arrive by value")]

#[macro_use]
extern crate fermiac_door;

mod common;
mod importance;
mod mcmc;
mod nested;
mod privacy;
mod resample;
mod score;
mod targets;
mod walks;

use fermiac_base::simd;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The compiled core of fermiac.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    let levels: Vec<_> = simd::levels().map(simd::Level::name).collect();
    if levels.is_empty() {
        return Err(PyImportError::new_err(
            "fermiac was built for other CPUs than this one; build it again, here or with \
             FERMIAC_BUILD_LEVELS=all",
        ));
    }
    m.add("isa_level", simd::level().name())?;
    m.add("isa_levels", levels)?;
    m.add("CHUNK", fermiac_base::par::CHUNK)?;
    m.add("MAX_THREADS", fermiac_base::par::MAX_THREADS)?;
    // NumPy's functions are looked up at the first use, where a signal in between would be a panic.
    drop(PyArray1::<f64>::zeros(m.py(), 1, false).readwrite());
    common::register(m)?;
    targets::register(m)?;
    importance::register(m)?;
    mcmc::register(m)?;
    nested::register(m)?;
    privacy::register(m)?;
    resample::register(m)?;
    score::register(m)?;
    walks::register(m)
}
