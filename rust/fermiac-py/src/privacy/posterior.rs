//! Bindings of `fermiac_core::privacy::posterior`.

use fermiac_core::privacy::posterior::{Column, Direction, Kind, Query, Rows, evaluate};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::enter::{Raised, enter};

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_posterior, m)?)
}

fn query(name: &str) -> Option<Query> {
    Some(match name {
        "cdf" => Query::Lower,
        "sf" => Query::Upper,
        "logcdf" => Query::LnLower,
        "logsf" => Query::LnUpper,
        "logpdf" => Query::LnDensity,
        "ppf" => Query::Quantile,
        "isf" => Query::UpperQuantile,
        "shortest" => Query::Shortest,
        "summary" => Query::Summary,
        "refined" => Query::Refined,
        _ => return None,
    })
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "epsilon" => Kind::Epsilon,
        "delta" => Kind::Delta,
        "mu" => Kind::Mu,
        _ => return None,
    })
}

fn direction(name: &str) -> Option<Direction> {
    Some(match name {
        "both" => Direction::Both,
        "attack" => Direction::Attack,
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        _ => return None,
    })
}

/// What is asked of `n` posteriors, some numbers each; a column has one number, or `n`.
#[pyfunction]
#[pyo3(name = "privacy_posterior", signature = (name, of, side, columns, n, n_threads, progress=None))]
fn privacy_posterior<'py>(
    py: Python<'py>,
    name: &str,
    of: &str,
    side: &str,
    columns: Vec<PyReadonlyArray1<'py, f64>>,
    n: usize,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let wrong = || PyValueError::new_err(format!("{name} of {of}, {side}, is not called like this"));
    let query = query(name).ok_or_else(wrong)?;
    let (kind, direction) = kind(of).zip(direction(side)).ok_or_else(wrong)?;
    let columns = columns
        .iter()
        .map(|column| Ok(Column(column.as_slice()?)))
        .collect::<PyResult<Vec<_>>>()?;
    let columns: [Column<'_>; 6] = columns.try_into().map_err(|_| wrong())?;
    if columns.iter().any(|column| column.0.len() != 1 && column.0.len() != n) {
        return Err(wrong());
    }
    let rows = Rows { columns, n };
    let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        evaluate(&rows, kind, direction, query, context).map_err(|error| (error, None))
    });
    match outcome {
        Ok(values) => Ok(PyArray1::from_vec(py, values)),
        Err(stopped) => Err(stopped.error),
    }
}
