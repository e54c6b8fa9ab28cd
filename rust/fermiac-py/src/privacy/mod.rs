//! Bindings of `fermiac_privacy`, one file for each of its parts.

mod intervals;
mod one_run;
mod posterior;
mod scores;
mod watermark;

use crate::common::random::PyStream;
use fermiac_base::rng::{Domain, Stream};
use pyo3::prelude::*;

/// The block of the streams of [`privacy_stream`] within the domain.
const STREAM_BLOCK: u32 = 0x5000;

/// Adds this directory's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    intervals::register(m)?;
    one_run::register(m)?;
    posterior::register(m)?;
    scores::register(m)?;
    m.add_function(wrap_pyfunction!(privacy_stream, m)?)?;
    watermark::register(m)
}

/// The stream `index`: 0 for Thresholdout, 1 for Laplace answers, 2 for Gaussian answers, and from
/// 2³² on two for each posterior of a batch.
#[door]
#[pyfunction]
fn privacy_stream(key: u64, index: u64) -> PyStream {
    PyStream::of(Stream::new(key, Domain::Privacy, index, STREAM_BLOCK))
}
