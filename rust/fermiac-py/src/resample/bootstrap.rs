//! Bindings of replicates of statistics.

use crate::common::dict::entry;
use crate::common::enter::{Raised, Stopped, compute, enter};
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::alloc::room;
use fermiac_resample::{
    Law, Replicates, Scheme, SeriesStatistic, Sieve, Statistics, bootstrap, draw, evaluate,
    leave_one_out, of_samples, statistics, stream, weighted,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(resample_bootstrap, m)?)?;
    m.add_function(wrap_pyfunction!(resample_leave_one_out, m)?)?;
    m.add_function(wrap_pyfunction!(resample_evaluate, m)?)?;
    m.add_function(wrap_pyfunction!(resample_weighted, m)?)?;
    m.add_function(wrap_pyfunction!(resample_of_samples, m)?)?;
    m.add_function(wrap_pyfunction!(resample_sieve_fit, m)?)?;
    m.add_function(wrap_pyfunction!(resample_sieve, m)?)?;
    m.add_function(wrap_pyfunction!(resample_sieve_samples, m)?)?;
    m.add_function(wrap_pyfunction!(resample_rows, m)?)?;
    m.add_function(wrap_pyfunction!(resample_weights, m)?)
}

type Column<'py> = PyReadonlyArray1<'py, f64>;
type Vector<'py> = Bound<'py, PyArray1<f64>>;

/// The scheme of a dictionary: law, length, draws, shares, strata, members, starts, n.
fn scheme(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Scheme> {
    let length: f64 = entry(options, "length")?;
    let law = match entry::<String>(options, "law")?.as_str() {
        "counts" => Law::Counts,
        "dirichlet" => Law::Dirichlet,
        "stationary" => Law::Stationary { mean: length },
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
    let made = check(py, Scheme::new(law, strata, members, starts, entry(options, "n")?))?;
    let made = match list("draws")?.as_ref().map(whole).transpose()? {
        Some(draws) => check(py, made.with_draws(draws))?,
        None => made,
    };
    let shares: Option<PyReadonlyArray1<'_, f64>> = entry(options, "shares")?;
    match shares {
        Some(shares) => check(py, made.with_shares(shares.as_slice()?.to_vec())),
        None => Ok(made),
    }
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
) -> PyResult<Drawn<'py>> {
    let (statistics, scheme) = problem(py, name, &parameters, &columns, scheme)?;
    let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        bootstrap(&statistics, &scheme, first, n, errors, key, context)
    });
    Ok(arrays(py, outcome))
}

/// (values, standard errors, replicates without a unique value, exception or None).
type Drawn<'py> = (Vector<'py>, Vector<'py>, u64, Option<PyErr>);

fn arrays(py: Python<'_>, outcome: Result<Replicates, Stopped<Replicates>>) -> Drawn<'_> {
    let (found, error) = match outcome {
        Ok(found) => (found, None),
        Err(Stopped { error, partial }) => {
            (partial.map_or_else(Replicates::default, |p| *p), Some(error))
        }
    };
    let Replicates { values, stderrs, deficient } = found;
    (PyArray1::from_vec(py, values), PyArray1::from_vec(py, stderrs), deficient, error)
}

/// The values at given weights of the units, a row of weights for each replicate.
#[door]
#[pyfunction]
#[pyo3(signature = (name, parameters, columns, scheme, weights, errors, n_threads))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_weighted<'py>(
    py: Python<'py>,
    name: &str,
    parameters: Vec<f64>,
    columns: Vec<Column<'py>>,
    scheme: &Bound<'py, PyAny>,
    weights: Column<'py>,
    errors: bool,
    n_threads: usize,
) -> PyResult<Drawn<'py>> {
    let (statistics, scheme) = problem(py, name, &parameters, &columns, scheme)?;
    let weights = weights.as_slice()?;
    if !weights.len().is_multiple_of(scheme.units()) {
        return Err(PyValueError::new_err("weights that do not fit the scheme"));
    }
    let outcome = enter(py, n_threads, None, &Raised::default(), |context| {
        weighted(&statistics, &scheme, weights, errors, context)
    });
    Ok(arrays(py, outcome))
}

/// The values of `n` samples: each column has a row for each sample, or one that they share.
#[door]
#[pyfunction]
#[pyo3(signature = (name, parameters, columns, scheme, n, errors, n_threads))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_of_samples<'py>(
    py: Python<'py>,
    name: &str,
    parameters: Vec<f64>,
    columns: Vec<Column<'py>>,
    scheme: &Bound<'py, PyAny>,
    n: usize,
    errors: bool,
    n_threads: usize,
) -> PyResult<Drawn<'py>> {
    let scheme = self::scheme(py, scheme)?;
    let columns = columns.iter().map(|c| Ok(c.as_slice()?)).collect::<PyResult<Vec<_>>>()?;
    let outcome = enter(py, n_threads, None, &Raised::default(), |context| {
        of_samples(name, &parameters, &columns, &scheme, n, errors, context)
    });
    Ok(arrays(py, outcome))
}

/// The sieve of a series: of its mean, or of its autocorrelation at a lag above 0.
fn sieve(py: Python<'_>, x: &Column<'_>, lag: usize, most: usize, key: u64) -> PyResult<Sieve> {
    let x = x.as_slice()?;
    let statistic =
        if lag == 0 { SeriesStatistic::Mean } else { SeriesStatistic::Autocorrelation(lag) };
    compute(py, 1, |context| {
        context.apart(250 * x.len(), || Sieve::new(x, statistic, most, key))?
    })
}

/// (order, estimate, its standard error, the statistic of the law of the series, independent
/// observations whose mean has the same variance).
#[door]
#[pyfunction]
fn resample_sieve_fit<'py>(
    py: Python<'py>,
    x: Column<'py>,
    lag: usize,
    most: usize,
    key: u64,
) -> PyResult<(usize, f64, f64, f64, f64)> {
    let made = sieve(py, &x, lag, most, key)?;
    Ok((made.order, made.estimate, made.stderr, made.centre, made.effective))
}

/// Replicates `first` to `first + n - 1` of the sieve, with their standard errors.
#[door]
#[pyfunction]
#[pyo3(signature = (x, lag, most, first, n, key, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_sieve<'py>(
    py: Python<'py>,
    x: Column<'py>,
    lag: usize,
    most: usize,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Drawn<'py>> {
    let made = sieve(py, &x, lag, most, key)?;
    let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        made.replicates(first, n, key, context)
    });
    Ok(arrays(py, outcome))
}

/// Series `first` to `first + n - 1` of the sieve, one after the other.
#[door]
#[pyfunction]
fn resample_sieve_samples<'py>(
    py: Python<'py>,
    x: Column<'py>,
    most: usize,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Vector<'py>> {
    let made = sieve(py, &x, 0, most, key)?;
    let outcome = enter(py, n_threads, None, &Raised::default(), |context| {
        made.samples(first, n, key, context)
    });
    match outcome {
        Ok(found) => Ok(PyArray1::from_vec(py, found.values)),
        Err(stopped) => Err(stopped.error),
    }
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
                let mut room = scheme.room()?;
                draw(&scheme, key, first + i as u64, &mut room);
                Ok(room.weights)
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
