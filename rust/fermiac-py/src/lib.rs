//! The Python module `fermiac._core`: thin bindings over `fermiac-core`, nothing else.
#![allow(clippy::needless_pass_by_value, reason = "arguments of Python functions arrive by value")]

mod array;
mod averages;
mod columns;
mod densities;
mod diagnostics;
mod distributions;
mod enter;
mod error;
mod evidence;
mod importance;
mod integrands;
mod mcmc;
mod native;
mod nested;
mod privacy;
mod random;
mod score;
mod special;
mod store;
mod target;
mod transforms;
mod walks;

use pyo3::prelude::*;

/// The compiled core of fermiac.
#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("isa_level", fermiac_core::simd::level_name())?;
    m.add("CHUNK", fermiac_core::par::CHUNK)?;
    m.add("MAX_THREADS", fermiac_core::par::MAX_THREADS)?;
    random::register(m)?;
    distributions::register(m)?;
    densities::register(m)?;
    transforms::register(m)?;
    integrands::register(m)?;
    native::register(m)?;
    nested::register(m)?;
    privacy::register(m)?;
    mcmc::register(m)?;
    importance::register(m)?;
    store::register(m)?;
    evidence::register(m)?;
    diagnostics::register(m)?;
    averages::register(m)?;
    score::register(m)?;
    special::register(m)?;
    walks::register(m)?;
    Ok(())
}
