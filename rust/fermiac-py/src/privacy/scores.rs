//! Bindings of the ROC curves of attack scores and of rank tests.

use crate::common::enter::{Raised, enter_whole};
use fermiac_privacy::ranks::{Pairs, curve_pairs, shifts};
use fermiac_privacy::{Curve, Statistic, bootstrap};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_roc, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_rank_replicates, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_bootstrap, m)?)
}

type Integers<'py> = Bound<'py, PyArray1<i64>>;
type Roc<'py> = (Bound<'py, PyArray1<f64>>, Integers<'py>, Integers<'py>, Integers<'py>, f64, f64);

/// Thresholds, true positives, false positives, points of the hull, the area and that of the hull.
#[door]
#[pyfunction]
fn privacy_roc<'py>(
    py: Python<'py>,
    members: PyReadonlyArray1<'py, f64>,
    nonmembers: PyReadonlyArray1<'py, f64>,
) -> PyResult<Roc<'py>> {
    let (members, nonmembers) = (members.as_slice()?, nonmembers.as_slice()?);
    let (curve, hull, areas) = enter_whole(py, 1, None, &Raised::default(), |context| {
        context.apart(members.len() + nonmembers.len(), || {
            let curve = Curve::new(members, nonmembers);
            let hull = curve.hull();
            let areas = (curve.area(0..curve.tp.len()), curve.area(hull.iter().copied()));
            (curve, hull, areas)
        })
    })?;
    let whole = |counts: Vec<u64>| PyArray1::from_iter(py, counts.into_iter().map(|k| k as i64));
    let hull = PyArray1::from_iter(py, hull.into_iter().map(|k| k as i64));
    let thresholds = PyArray1::from_vec(py, curve.thresholds);
    Ok((thresholds, whole(curve.tp), whole(curve.fp), hull, areas.0, areas.1))
}

type Bootstrapped<'py> = (f64, Bound<'py, PyArray1<f64>>, f64);

/// The estimate, its replicates `first` to `first + n - 1` and the acceleration; `rate` is that of the statistic "tpr_at_fpr".
#[door]
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "they are those of the Python function")]
fn privacy_bootstrap<'py>(
    py: Python<'py>,
    members: PyReadonlyArray1<'py, f64>,
    nonmembers: PyReadonlyArray1<'py, f64>,
    statistic: &str,
    rate: f64,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Bootstrapped<'py>> {
    let statistic = match statistic {
        "auc" => Statistic::Auc,
        "advantage" => Statistic::Advantage,
        "tpr_at_fpr" => Statistic::TprAt(rate),
        _ => return Err(PyValueError::new_err(format!("no statistic '{statistic}'"))),
    };
    let (members, nonmembers) = (members.as_slice()?, nonmembers.as_slice()?);
    let found = enter_whole(py, n_threads, None, &Raised::default(), |context| {
        bootstrap(&Curve::new(members, nonmembers), statistic, first, n, key, context)
    })?;
    let replicates = PyArray1::from_vec(py, found.replicates);
    Ok((found.estimate, replicates, found.acceleration))
}

/// Shifts of normal scores that order as many pairs as an attack, or with a `curve`, (fpr, fnr),
/// the numbers of pairs that the best attack on it orders. `sizes` are those of members and of
/// non-members.
#[door]
#[pyfunction]
fn privacy_rank_replicates<'py>(
    py: Python<'py>,
    sizes: (usize, usize),
    ordered: u64,
    curve: Option<(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>)>,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let pairs = Pairs { members: sizes.0, nonmembers: sizes.1, ordered };
    let curve = match &curve {
        Some((fpr, fnr)) => Some((fpr.as_slice()?, fnr.as_slice()?)),
        None => None,
    };
    let found = enter_whole(py, n_threads, None, &Raised::default(), |context| match curve {
        Some((fpr, fnr)) => curve_pairs(pairs, fpr, fnr, n, key, context),
        None => shifts(pairs, n, key, context),
    })?;
    Ok(PyArray1::from_vec(py, found))
}
