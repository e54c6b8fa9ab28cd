//! NumPy arrays of rows.

use fermiac_base::linalg::Rows;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Returns the rows of a C-contiguous (n, d) array; the Python layer passes no other arrays.
pub(crate) fn rows<'a>(array: &'a PyReadonlyArray2<'_, f64>, dim: usize) -> PyResult<Rows<'a>> {
    let given = array.shape()[1];
    if given != dim {
        return Err(PyValueError::new_err(format!(
            "an array with {given} columns was given where {dim} are needed"
        )));
    }
    Ok(Rows::new(array.as_slice()?, dim))
}

/// Returns rows of `dim` numbers as a new (n, d) array.
pub(crate) fn matrix(
    py: Python<'_>,
    data: Vec<f64>,
    dim: usize,
) -> PyResult<Bound<'_, PyArray2<f64>>> {
    let n = data.len() / dim;
    PyArray1::from_vec(py, data).reshape([n, dim])
}
