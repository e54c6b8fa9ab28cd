//! Bindings of `fermiac_target::diagnostics`.

use crate::common::enter::compute;
use fermiac_target::diagnostics::{
    Statistic, convergence, judgement, khat_threshold, psis_columns,
};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyReadonlyArray3, PyUntypedArrayMethods, ToPyArray,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(diagnostics_psis, m)?)?;
    m.add_function(wrap_pyfunction!(diagnostics_khat_threshold, m)?)?;
    m.add_function(wrap_pyfunction!(diagnostics_convergence, m)?)?;
    m.add_function(wrap_pyfunction!(diagnostics_judgement, m)?)
}

type Smoothed<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// Smooths each row of a C-contiguous (columns, n) array; `r_eff` has one entry for each row.
#[door]
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
    let (log_weights, khat) =
        compute(py, n_threads, |context| psis_columns(values, n, r_eff, normalize, context))?;
    Ok((log_weights.into_pyarray(py).reshape([columns, n])?, khat.into_pyarray(py)))
}

/// Returns the k-hat above which averages over `n` weights are unreliable.
#[door]
#[pyfunction]
fn diagnostics_khat_threshold(n: usize) -> f64 {
    khat_threshold(n)
}

/// Returns a statistic of each column of a C-contiguous (chains, draws, columns) array. Statistics
/// of one quantile use the first probability and those of two use both. For the windowed time the
/// first one is the window.
#[door]
#[pyfunction]
fn diagnostics_convergence<'py>(
    py: Python<'py>,
    draws: PyReadonlyArray3<'py, f64>,
    statistic: &str,
    probabilities: (f64, f64),
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (low, high) = probabilities;
    let statistic = match statistic {
        "rhat_rank" => Statistic::RhatRank,
        "rhat_split" => Statistic::RhatSplit,
        "rhat_folded" => Statistic::RhatFolded,
        "rhat_unsplit" => Statistic::RhatUnsplit,
        "ess_bulk" => Statistic::EssBulk,
        "ess_tail" => Statistic::EssTail(low, high),
        "ess_quantile" => Statistic::EssQuantile(low),
        "ess_local" => Statistic::EssLocal(low, high),
        "ess_mean" => Statistic::EssMean,
        "ess_sd" => Statistic::EssSd,
        "ess_mad" => Statistic::EssMad,
        "ess_unsplit" => Statistic::EssUnsplit,
        "mcse_mean" => Statistic::McseMean,
        "mcse_sd" => Statistic::McseSd,
        "mcse_quantile" => Statistic::McseQuantile(low),
        "bfmi" => Statistic::Bfmi,
        "windowed_time" => Statistic::WindowedTime(low),
        other => return Err(PyValueError::new_err(format!("unknown statistic '{other}'"))),
    };
    let shape = [draws.shape()[0], draws.shape()[1], draws.shape()[2]];
    let values = draws.as_slice()?;
    let found = compute(py, n_threads, |context| convergence(values, shape, statistic, context))?;
    Ok(found.into_pyarray(py))
}

/// Returns R-hat, bulk and tail effective sample sizes, (columns, 3), of some columns of a C-contiguous
/// (chains, draws, columns) array, from the first to the one before the last; the tails are outside
/// the two probabilities.
#[door]
#[pyfunction]
fn diagnostics_judgement<'py>(
    py: Python<'py>,
    draws: PyReadonlyArray3<'py, f64>,
    columns: (usize, usize),
    probabilities: [f64; 2],
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let shape = [draws.shape()[0], draws.shape()[1], draws.shape()[2]];
    let (values, columns) = (draws.as_slice()?, columns.0.min(shape[2])..columns.1.min(shape[2]));
    let found = compute(py, n_threads, |context| {
        judgement(values, shape, columns.clone(), probabilities, context)
    })?;
    found.as_flattened().to_pyarray(py).reshape([found.len(), 3])
}
