//! Row views of NumPy arrays.

use fermiac_base::linalg::Rows;
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
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
