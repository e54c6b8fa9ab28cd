//! Bindings of `fermiac_base::store`.

use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::store::{Container, Tensor, digest_of, read, write};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use std::path::PathBuf;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(store_write, m)?)?;
    m.add_function(wrap_pyfunction!(store_read, m)?)?;
    m.add_function(wrap_pyfunction!(store_digest, m)?)
}

/// A tensor to write: name, dtype, shape and bytes.
type Given<'py> = (String, String, Vec<usize>, PyReadonlyArray1<'py, u8>);
/// A tensor that was read: name, dtype, shape and bytes.
type Found<'py> = (String, String, Vec<usize>, Bound<'py, PyArray1<u8>>);

/// Writes or replaces a file as a whole.
#[door]
#[pyfunction]
fn store_write(
    py: Python<'_>,
    path: PathBuf,
    kind: String,
    text: String,
    tensors: Vec<Given<'_>>,
) -> PyResult<()> {
    let tensors = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let bytes = bytes.as_slice()?;
            let made = dtype.parse().and_then(|dtype| Tensor::new(dtype, shape.clone(), bytes));
            Ok((name.clone(), check(py, made)?))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let content = Container { kind, text, tensors };
    compute(py, 1, |context| context.apart(usize::MAX, || write(&path, &content))?)
}

/// Reads a file of the given kind, and returns its text and its tensors.
#[door]
#[pyfunction]
fn store_read(py: Python<'_>, path: PathBuf, kind: String) -> PyResult<(String, Vec<Found<'_>>)> {
    let content = compute(py, 1, |context| context.apart(usize::MAX, || read(&path, &kind))?)?;
    let tensors = content.tensors.into_iter().map(|(name, tensor)| {
        let (dtype, shape) = (tensor.dtype().to_string(), tensor.shape().to_vec());
        (name, dtype, shape, tensor.into_bytes().into_pyarray(py))
    });
    Ok((content.text, tensors.collect()))
}

/// Returns the digest of a file, or of so many parts of it.
#[door]
#[pyfunction]
#[pyo3(signature = (path, parts))]
fn store_digest(py: Python<'_>, path: PathBuf, parts: Option<u64>) -> PyResult<String> {
    compute(py, 1, |context| context.apart(usize::MAX, || digest_of(&path, parts))?)
}
