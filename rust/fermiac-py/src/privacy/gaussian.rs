//! Bindings of the conversions of Gaussian differential privacy.

use fermiac_privacy::Gaussian;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::common::columns::{Column, rows};

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_gaussian, m)?)
}

/// "delta" of (epsilon, mu), "epsilon" of (delta, mu) or "mu" of (epsilon, delta) at `n` rows; an
/// argument has one number, or `n`.
#[pyfunction]
fn privacy_gaussian<'py>(
    py: Python<'py>,
    name: &str,
    arguments: [PyReadonlyArray1<'py, f64>; 2],
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let conversion = match name {
        "delta" => Gaussian::Delta,
        "epsilon" => Gaussian::Epsilon,
        "mu" => Gaussian::Mu,
        _ => return Err(PyValueError::new_err(format!("no conversion '{name}'"))),
    };
    let x = Column::new(&arguments[0], n)?;
    let y = Column::new(&arguments[1], n)?;
    let values = rows(py, n, 512, n_threads, |i| Ok(conversion.at(x.at(i), y.at(i))))?;
    Ok(PyArray1::from_vec(py, values))
}
