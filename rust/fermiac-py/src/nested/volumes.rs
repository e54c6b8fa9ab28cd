//! Bindings of prior masses, simulations and bootstraps of nested sampling.

use crate::common::array;
use crate::common::dict::{arrays, items};
use crate::common::enter::{Raised, enter_whole};
use crate::common::error::check;
use fermiac_base::linalg::Rows;
use fermiac_nested::{Simulated, bootstrap_for, n_alive, simulate, volumes};
use numpy::{
    IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(nested_volumes, m)?)?;
    m.add_function(wrap_pyfunction!(nested_simulate, m)?)?;
    m.add_function(wrap_pyfunction!(nested_bootstrap, m)?)
}

/// Prior masses, live points and evidence of dead points sorted by log-likelihood.
#[door]
#[pyfunction]
fn nested_volumes<'py>(
    py: Python<'py>,
    log_likelihoods: PyReadonlyArray1<'py, f64>,
    births: PyReadonlyArray1<'py, f64>,
) -> PyResult<Bound<'py, PyDict>> {
    let (ell, births) = (log_likelihoods.as_slice()?, births.as_slice()?);
    let found = py.detach(|| {
        let alive = n_alive(ell, births)?;
        let volumes = volumes(ell, &alive);
        Ok((alive, volumes))
    });
    let (alive, volumes) = check(py, found)?;
    let out = PyDict::new(py);
    out.set_item("n_alive", PyArray1::from_iter(py, alive.into_iter().map(|n| n as i64)))?;
    arrays! { out <- volumes: log_x log_prior_masses }
    items! { out <- volumes: log_evidence log_evidence_stderr information ess }
    Ok(out)
}

/// Evidences, informations and means of `values` (one row for each point) under simulated shrinkage.
#[door]
#[pyfunction]
#[pyo3(signature = (log_likelihoods, n_alive, n_sets, key, n_threads, values=None, progress=None))]
#[expect(clippy::too_many_arguments, reason = "as Python gives them")]
fn nested_simulate<'py>(
    py: Python<'py>,
    log_likelihoods: PyReadonlyArray1<'py, f64>,
    n_alive: PyReadonlyArray1<'py, i64>,
    n_sets: usize,
    key: u64,
    n_threads: usize,
    values: Option<PyReadonlyArray2<'py, f64>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let ell = log_likelihoods.as_slice()?;
    // Negative numbers become 0, which is refused.
    let alive = n_alive.as_slice()?.iter().map(|n| u64::try_from(*n).unwrap_or(0));
    let alive: Vec<u64> = alive.collect();
    let values = rows(values.as_ref())?;
    let found = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        simulate(ell, &alive, n_sets, key, values, context)
    })?;
    to_dict(py, found, n_sets)
}

/// Evidences, informations and means of `values` (one row for each point) of bootstrapped groups,
/// for the likelihood or another `target`.
#[door]
#[pyfunction]
#[pyo3(signature = (
    log_likelihoods, births, groups, n_sets, key, n_threads, values=None, progress=None, target=None
))]
#[expect(clippy::too_many_arguments, reason = "as Python gives them")]
fn nested_bootstrap<'py>(
    py: Python<'py>,
    log_likelihoods: PyReadonlyArray1<'py, f64>,
    births: PyReadonlyArray1<'py, f64>,
    groups: PyReadonlyArray1<'py, i64>,
    n_sets: usize,
    key: u64,
    n_threads: usize,
    values: Option<PyReadonlyArray2<'py, f64>>,
    progress: Option<Py<PyAny>>,
    target: Option<PyReadonlyArray1<'py, f64>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (ell, births) = (log_likelihoods.as_slice()?, births.as_slice()?);
    let groups = groups.as_slice()?;
    let target = match &target {
        Some(target) => target.as_slice()?,
        None => ell,
    };
    let values = rows(values.as_ref())?;
    let found = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        bootstrap_for(target, ell, births, groups, n_sets, key, values, context)
    })?;
    to_dict(py, found, n_sets)
}

fn rows<'a>(values: Option<&'a PyReadonlyArray2<'_, f64>>) -> PyResult<Option<Rows<'a>>> {
    // Rows without columns count as no values.
    let some = values.filter(|values| values.shape()[1] > 0);
    some.map(|values| array::rows(values, values.shape()[1])).transpose()
}

fn to_dict(py: Python<'_>, found: Simulated, n_sets: usize) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    let n_values = found.means.len() / n_sets.max(1);
    arrays! { out <- found: log_evidence information }
    out.set_item("means", found.means.into_pyarray(py).reshape([n_sets, n_values])?)?;
    Ok(out)
}
