//! Bindings of `fermiac_core::diagnostics`.

use fermiac_core::diagnostics::{khat_threshold, psis_columns};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::enter::{Raised, enter};

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(diagnostics_psis, m)?)?;
    m.add_function(wrap_pyfunction!(diagnostics_khat_threshold, m)?)
}

type Smoothed<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// Smooths each row of a C-contiguous (columns, n) array; `r_eff` has one entry a row.
#[pyfunction]
fn diagnostics_psis<'py>(
    py: Python<'py>,
    log_ratios: PyReadonlyArray2<'py, f64>,
    r_eff: PyReadonlyArray1<'py, f64>,
    normalize: bool,
    n_threads: usize,
) -> PyResult<Smoothed<'py>> {
    let (columns, n) = (log_ratios.shape()[0], log_ratios.shape()[1]);
    let (values, r_eff) = (log_ratios.as_slice()?, r_eff.as_slice()?);
    let (log_weights, khat) = enter(py, n_threads, None, &Raised::default(), |context| {
        psis_columns(values, n, r_eff, normalize, context).map_err(|error| (error, None))
    })
    .map_err(|stopped| stopped.error)?;
    Ok((log_weights.into_pyarray(py).reshape([columns, n])?, khat.into_pyarray(py)))
}

/// The k-hat above which `n` weights are not to be relied on.
#[pyfunction]
fn diagnostics_khat_threshold(n: usize) -> f64 {
    khat_threshold(n)
}
