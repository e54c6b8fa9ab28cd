//! Bindings of replicates of statistics.

use crate::common::dict::entry;
use crate::common::enter::{Raised, Stopped, compute, enter};
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::alloc::room;
use fermiac_resample::{
    Law, Replicates, Scheme, Statistics, bootstrap, evaluate, leave_one_out, statistics, stream,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(resample_bootstrap, m)?)?;
    m.add_function(wrap_pyfunction!(resample_leave_one_out, m)?)?;
    m.add_function(wrap_pyfunction!(resample_evaluate, m)?)?;
    m.add_function(wrap_pyfunction!(resample_rows, m)?)?;
    m.add_function(wrap_pyfunction!(resample_weights, m)?)
}

type Column<'py> = PyReadonlyArray1<'py, f64>;
type Vector<'py> = Bound<'py, PyArray1<f64>>;

/// The scheme of a dictionary: law, strata, members, starts, n.
fn scheme(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Scheme> {
    let law = match entry::<String>(options, "law")?.as_str() {
        "counts" => Law::Counts,
        "dirichlet" => Law::Dirichlet,
        other => return Err(PyValueError::new_err(format!("no law '{other}'"))),
    };
    let list = |name: &str| -> PyResult<Option<PyReadonlyArray1<'_, i64>>> { entry(options, name) };
    let whole = |list: &PyReadonlyArray1<'_, i64>| -> PyResult<Vec<usize>> {
        Ok(list.as_slice()?.iter().map(|i| *i as usize).collect())
    };
    let strata = list("strata")?.as_ref().map_or_else(|| Ok(Vec::new()), whole)?;
    let starts = list("starts")?.as_ref().map(whole).transpose()?;
    let members = match list("members")? {
        Some(list) => Some(list.as_slice()?.iter().map(|i| *i as u32).collect()),
        None => None,
    };
    check(py, Scheme::new(law, strata, members, starts, entry(options, "n")?))
}

/// A statistic with its data, and the scheme that draws their weights.
fn problem(
    py: Python<'_>,
    name: &str,
    parameters: &[f64],
    columns: &[Column<'_>],
    options: &Bound<'_, PyAny>,
) -> PyResult<(Statistics, Scheme)> {
    let scheme = scheme(py, options)?;
    let columns = columns.iter().map(|c| Ok(c.as_slice()?)).collect::<PyResult<Vec<_>>>()?;
    if columns.iter().any(|c| c.len() != scheme.n()) {
        return Err(PyValueError::new_err("columns that do not fit the scheme"));
    }
    let made = compute(py, 1, |context| {
        let size = columns.len() * scheme.n();
        context.apart(size, || statistics(name, parameters, &columns, scheme.is_whole()))?
    })?;
    Ok((made, scheme))
}

/// (values, standard errors, exception or None) of replicates `first` to `first + n - 1`.
#[door]
#[pyfunction]
#[pyo3(signature = (
    name, parameters, columns, scheme, first, n, errors, key, n_threads, progress=None
))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_bootstrap<'py>(
    py: Python<'py>,
    name: &str,
    parameters: Vec<f64>,
    columns: Vec<Column<'py>>,
    scheme: &Bound<'py, PyAny>,
    first: u64,
    n: usize,
    errors: bool,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Vector<'py>, Vector<'py>, Option<PyErr>)> {
    let (statistics, scheme) = problem(py, name, &parameters, &columns, scheme)?;
    let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        bootstrap(&statistics, &scheme, first, n, errors, key, context)
    });
    Ok(arrays(py, outcome))
}

fn arrays(
    py: Python<'_>,
    outcome: Result<Replicates, Stopped<Replicates>>,
) -> (Vector<'_>, Vector<'_>, Option<PyErr>) {
    let (found, error) = match outcome {
        Ok(found) => (found, None),
        Err(Stopped { error, partial }) => {
            let nothing = || Replicates { values: Vec::new(), stderrs: Vec::new() };
            (partial.map_or_else(nothing, |p| *p), Some(error))
        }
    };
    (PyArray1::from_vec(py, found.values), PyArray1::from_vec(py, found.stderrs), error)
}

/// The values with one unit left out, a row for each unit.
#[door]
#[pyfunction]
fn resample_leave_one_out<'py>(
    py: Python<'py>,
    name: &str,
    parameters: Vec<f64>,
    columns: Vec<Column<'py>>,
    scheme: &Bound<'py, PyAny>,
    n_threads: usize,
) -> PyResult<Vector<'py>> {
    let (statistics, scheme) = problem(py, name, &parameters, &columns, scheme)?;
    let outcome = enter(py, n_threads, None, &Raised::default(), |context| {
        leave_one_out(&statistics, &scheme, context)
    });
    match outcome {
        Ok(found) => Ok(PyArray1::from_vec(py, found.values)),
        Err(stopped) => Err(stopped.error),
    }
}

/// The values at given weights, and for each the influences or None.
#[door]
#[pyfunction]
fn resample_evaluate<'py>(
    py: Python<'py>,
    name: &str,
    parameters: Vec<f64>,
    columns: Vec<Column<'py>>,
    weights: Column<'py>,
    whole: bool,
) -> PyResult<(Vec<f64>, Vec<Option<Vector<'py>>>)> {
    let columns = columns.iter().map(|c| Ok(c.as_slice()?)).collect::<PyResult<Vec<_>>>()?;
    let weights = weights.as_slice()?;
    if columns.iter().any(|c| c.len() != weights.len()) {
        return Err(PyValueError::new_err("columns that do not fit the weights"));
    }
    let found = compute(py, 1, |context| {
        context.apart(columns.len() * weights.len(), || {
            evaluate(&statistics(name, &parameters, &columns, whole)?, weights)
        })?
    })?;
    let vector = |influence: Option<Vec<f64>>| influence.map(|u| PyArray1::from_vec(py, u));
    Ok(found.into_iter().map(|(value, influence)| (value, vector(influence))).unzip())
}

type Rows<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

/// The observations of replicates `first` to `first + n - 1`, one after the other, and where each
/// begins.
#[door]
#[pyfunction]
fn resample_rows<'py>(
    py: Python<'py>,
    scheme: &Bound<'py, PyAny>,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Rows<'py>> {
    let scheme = self::scheme(py, scheme)?;
    let (mut all, mut starts) = (Vec::new(), vec![0_i64]);
    compute(py, n_threads, |context| {
        context.ordered_apart(
            n,
            scheme.n(),
            |i| {
                let mut row = room("x", scheme.n())?;
                scheme.draw_indices(
                    &mut stream(key, first + i as u64),
                    &mut scheme.room()?,
                    &mut row,
                );
                Ok(row)
            },
            |_, row| {
                all.try_reserve(row.len())
                    .map_err(|_| Error::Memory("batch: no memory for so many indices".into()))?;
                all.extend(row);
                starts.push(all.len() as i64);
                Ok(())
            },
        )
    })?;
    Ok((PyArray1::from_vec(py, all), PyArray1::from_vec(py, starts)))
}

/// The weights of replicates `first` to `first + n - 1`, one after the other.
#[door]
#[pyfunction]
fn resample_weights<'py>(
    py: Python<'py>,
    scheme: &Bound<'py, PyAny>,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Vector<'py>> {
    let scheme = self::scheme(py, scheme)?;
    let mut all = Vec::new();
    compute(py, n_threads, |context| {
        context.ordered_apart(
            n,
            scheme.n(),
            |i| {
                let mut draw = scheme.room()?;
                scheme.draw(&mut stream(key, first + i as u64), &mut draw);
                Ok(draw.weights)
            },
            |_, row| {
                all.try_reserve(row.len())
                    .map_err(|_| Error::Memory("batch: no memory for so many weights".into()))?;
                all.extend(row);
                Ok(())
            },
        )
    })?;
    Ok(PyArray1::from_vec(py, all))
}
