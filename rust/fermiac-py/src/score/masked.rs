//! Tokens of masked diffusion.

use crate::common::enter::{Raised, enter};
use fermiac_score::masked::choose_tokens;
use numpy::{Element, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

/// The logits of a batch, in the precision of the network.
#[derive(FromPyObject)]
enum Logits<'py> {
    Single(PyReadonlyArray2<'py, f32>),
    Double(PyReadonlyArray2<'py, f64>),
}

/// Returns a token for each row of logits (rows, tokens), by a uniform number of the row.
#[door]
#[pyfunction]
fn score_choose_tokens<'py>(
    py: Python<'py>,
    logits: Logits<'py>,
    temperature: f64,
    uniforms: PyReadonlyArray1<'py, f64>,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let call = (temperature, uniforms.as_slice()?, n_threads);
    match &logits {
        Logits::Single(logits) => chosen(py, logits, call),
        Logits::Double(logits) => chosen(py, logits, call),
    }
}

/// The tokens of all rows, for a call of (temperature, uniforms, n_threads).
fn chosen<'py, T: Copy + Into<f64> + Sync + Element>(
    py: Python<'py>,
    logits: &PyReadonlyArray2<'_, T>,
    (temperature, uniforms, n_threads): (f64, &[f64], usize),
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (row, logits) = (logits.as_array().ncols(), logits.as_slice()?);
    let mut out = vec![0; uniforms.len()];
    enter(py, n_threads, None, &Raised::default(), |context| {
        choose_tokens(context, logits, row, temperature, uniforms, &mut out)
            .map_err(|error| (error, None))
    })
    .map_err(|stopped| stopped.error)?;
    Ok(PyArray1::from_vec(py, out))
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_choose_tokens, m)?)
}
