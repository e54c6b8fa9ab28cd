//! Bindings of averages over weighted samples and of resampling, for `fermiac.Sample`.

use crate::common::array::rows;
use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::linalg::Rows;
use fermiac_base::rng::{Domain, Scheme, Stream, resample};
use fermiac_target::controls::{Controls, average};
use fermiac_target::diagnostics;
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Returns the k-hat of weights.
#[door]
#[pyfunction]
fn khat(py: Python<'_>, weights: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
    let weights = weights.as_slice()?;
    aside(py, weights.len(), || diagnostics::khat(&mut weights.to_vec()))
}

/// Returns weights that sum to one, and the logarithm of the mean of the given weights.
#[door]
#[pyfunction]
fn normalize_weights<'py>(
    py: Python<'py>,
    log_weights: PyReadonlyArray1<'py, f64>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, f64)> {
    let log_weights = log_weights.as_slice()?;
    let (weights, log_mean) = aside(py, log_weights.len(), || diagnostics::normalize(log_weights))?;
    Ok((PyArray1::from_vec(py, weights), log_mean))
}

/// Returns weighted averages of the columns of `values`. Controls are given as values, or for
/// Stein's identity as (points, gradients, degree).
#[door]
#[pyfunction]
#[pyo3(signature = (weights, values, n_threads, given=None, stein=None))]
#[allow(clippy::type_complexity, reason = "arrays as Python passes them")]
fn weighted_average<'py>(
    py: Python<'py>,
    weights: PyReadonlyArray1<'py, f64>,
    values: PyReadonlyArray2<'py, f64>,
    n_threads: usize,
    given: Option<PyReadonlyArray2<'py, f64>>,
    stein: Option<(PyReadonlyArray2<'py, f64>, PyReadonlyArray2<'py, f64>, usize)>,
) -> PyResult<Bound<'py, PyDict>> {
    let k = values.shape()[1];
    let weights = weights.as_slice()?;
    let values = rows(&values, k)?;
    let controls = match (&given, &stein) {
        (Some(given), _) => Controls::Given(rows(given, given.shape()[1])?),
        (None, Some((points, gradients, degree))) => {
            let d = points.shape()[1];
            let (points, gradients) = (rows(points, d)?, rows(gradients, d)?);
            same_length(py, gradients, weights.len())?;
            Controls::Stein { points, gradients, degree: *degree }
        }
        (None, None) => Controls::None,
    };
    same_length(py, values, weights.len())?;
    if let Controls::Given(rows) | Controls::Stein { points: rows, .. } = controls {
        same_length(py, rows, weights.len())?;
    }
    let done = compute(py, n_threads, |context| average(context, weights, values, controls))?;
    let out = PyDict::new(py);
    out.set_item("mean", PyArray1::from_vec(py, done.mean))?;
    out.set_item("cov", PyArray1::from_vec(py, done.cov).reshape([k, k])?)?;
    out.set_item("parts", PyArray1::from_vec(py, done.parts).reshape([weights.len(), k])?)?;
    out.set_item("scatter", PyArray1::from_vec(py, done.scatter).reshape([k, k])?)?;
    out.set_item("plain_variance", PyArray1::from_vec(py, done.plain_variance))?;
    out.set_item("khat", PyArray1::from_vec(py, done.khat))?;
    out.set_item("rank", done.rank)?;
    out.set_item("max_leverage", done.max_leverage)?;
    out.set_item("drift", done.drift)?;
    Ok(out)
}

/// Returns the indices that sort finite values; equal ones keep their order.
#[door]
#[pyfunction]
fn sorted_indices<'py>(
    py: Python<'py>,
    values: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let values = values.as_slice()?;
    let order = aside(py, values.len(), || diagnostics::sorted_indices(values))?;
    Ok(PyArray1::from_vec(py, order.into_iter().map(|at| at as i64).collect()))
}

/// Returns the value of serial work on `size` numbers that pauses.
fn aside<T: Send>(py: Python<'_>, size: usize, work: impl Fn() -> T + Sync + Send) -> PyResult<T> {
    compute(py, 1, |context| context.apart(size, work))
}

fn same_length(py: Python<'_>, rows: Rows<'_>, n: usize) -> PyResult<()> {
    let right = rows.len() == n;
    let error = || Error::Internal(format!("{} rows where {n} are needed", rows.len()));
    check(py, if right { Ok(()) } else { Err(error()) })
}

/// Returns the indices of `n` rows drawn in proportion to the weights.
#[door]
#[pyfunction]
fn resample_indices<'py>(
    py: Python<'py>,
    weights: PyReadonlyArray1<'py, f64>,
    n: usize,
    method: &str,
    key: u64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let scheme = match method {
        "systematic" => Ok(Scheme::Systematic),
        "stratified" => Ok(Scheme::Stratified),
        "multinomial" => Ok(Scheme::Multinomial),
        "residual" => Ok(Scheme::Residual),
        _ => Err(Error::Internal(format!("no resampling method {method}"))),
    };
    let scheme = check(py, scheme)?;
    let weights = weights.as_slice()?;
    let chosen = aside(py, n.max(weights.len()), || {
        let mut stream = Stream::new(key, Domain::Resample, 0, 0);
        let chosen = resample(weights, n, scheme, &mut stream)?;
        Ok(chosen.into_iter().map(|i| i as i64).collect())
    })?;
    Ok(PyArray1::from_vec(py, check(py, chosen)?))
}

/// Adds the functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(khat, m)?)?;
    m.add_function(wrap_pyfunction!(normalize_weights, m)?)?;
    m.add_function(wrap_pyfunction!(weighted_average, m)?)?;
    m.add_function(wrap_pyfunction!(resample_indices, m)?)?;
    m.add_function(wrap_pyfunction!(sorted_indices, m)?)?;
    Ok(())
}
