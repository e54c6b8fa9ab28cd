//! Streams of noise for answers to adaptive queries, and of draws from posteriors.

use fermiac_base::rng::{Domain, Stream};
use pyo3::prelude::*;

use crate::common::random::PyStream;

/// The block of these streams within the domain; the index says what they are for.
const BLOCK: u32 = 0x5000;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_stream, m)?)
}

/// The stream `index`: 0 for Thresholdout, 1 for Laplace, 2 for Gaussian answers, from 2³² on those of
/// draws from posteriors, two for each.
#[pyfunction]
fn privacy_stream(key: u64, index: u64) -> PyStream {
    PyStream::of(Stream::new(key, Domain::Privacy, index, BLOCK))
}
