//! The noise of answers to adaptive queries.

use fermiac_core::rng::{Domain, Stream};
use pyo3::prelude::*;

use crate::random::PyStream;

/// The block of these streams within the domain; the index says which mechanism.
const BLOCK: u32 = 0x5000;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_answer_stream, m)?)
}

/// The stream of mechanism `index`: 0 for Thresholdout, 1 for Laplace, 2 for Gaussian answers.
#[pyfunction]
fn privacy_answer_stream(key: u64, index: u64) -> PyStream {
    PyStream::of(Stream::new(key, Domain::Privacy, index, BLOCK))
}
