//! Bindings of `fermiac_privacy::posterior`.

use super::intervals::direction;
use crate::common::columns::Column;
use crate::common::enter::{Raised, enter_whole};
use fermiac_privacy::posterior::{Kind, Query, evaluate};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

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
        "moments" => Query::Moments,
        "mode" => Query::Mode,
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

/// The query `name` of `n` posteriors, some numbers each; a column has one number, or `n`.
#[door]
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
#[pyo3(signature = (name, of, side, columns, n, n_threads, progress=None))]
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
    let wrong = || PyValueError::new_err(format!("{name} of {of} is not called like this"));
    let (query, kind) = query(name).zip(kind(of)).ok_or_else(wrong)?;
    let direction = direction(side)?;
    let columns =
        columns.iter().map(|column| Column::new(column, n)).collect::<PyResult<Vec<_>>>()?;
    let columns: [Column<'_>; 6] = columns.try_into().map_err(|_| wrong())?;
    let row = |i| columns.map(|column| column.at(i));
    let values = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        evaluate(row, n, kind, direction, query, context)
    });
    Ok(PyArray1::from_vec(py, values?))
}
