//! The Python module `fermiac._core`: thin bindings over the crates of fermiac, nothing else.
#![allow(clippy::needless_pass_by_value, reason = "arguments of Python functions arrive by value")]

mod common;
mod importance;
mod mcmc;
mod nested;
mod privacy;
mod score;
mod targets;
mod walks;

use pyo3::prelude::*;

/// The compiled core of fermiac.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("isa_level", fermiac_base::simd::level_name())?;
    m.add("CHUNK", fermiac_base::par::CHUNK)?;
    m.add("MAX_THREADS", fermiac_base::par::MAX_THREADS)?;
    common::register(m)?;
    targets::register(m)?;
    importance::register(m)?;
    mcmc::register(m)?;
    nested::register(m)?;
    privacy::register(m)?;
    score::register(m)?;
    walks::register(m)
}
