//! Bindings of audits in one run.

use crate::common::columns::{Column, rows};
use fermiac_privacy::one_run::{Counts, Curve, Method};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_one_run_bounds, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_one_run_curve_p_values, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_one_run_p_values, m)?)
}

type Arguments<'py> = [PyReadonlyArray1<'py, f64>; 5];
type Bounds<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// Rows of a task: a row may be a long recursion, and only between tasks can a call be stopped.
const CHUNK: usize = 1;

fn method(name: &str) -> PyResult<Method> {
    match name {
        "binomial" => Ok(Method::Binomial),
        "f-dp" => Ok(Method::FDp),
        _ => Err(PyValueError::new_err(format!("no method '{name}'"))),
    }
}

fn columns<'a>(arguments: &'a Arguments<'_>, n: usize) -> PyResult<Vec<Column<'a>>> {
    arguments.iter().map(|argument| Column::new(argument, n)).collect()
}

fn counts(columns: &[Column<'_>], i: usize) -> Counts {
    Counts {
        n_canaries: columns[0].at(i),
        n_guesses: columns[1].at(i),
        n_correct: columns[2].at(i),
    }
}

/// (epsilon, mu) of (canaries, guesses, right ones, delta, alpha) at `n` rows; an argument has one
/// number, or `n`.
#[door]
#[pyfunction]
fn privacy_one_run_bounds<'py>(
    py: Python<'py>,
    name: &str,
    arguments: Arguments<'py>,
    n: usize,
    n_threads: usize,
) -> PyResult<Bounds<'py>> {
    let (method, columns) = (method(name)?, columns(&arguments, n)?);
    let bounds = rows(py, n, CHUNK, n_threads, |i| {
        Ok(method.bounds(counts(&columns, i), columns[3].at(i), columns[4].at(i)))
    })?;
    let (epsilon, mu) = bounds.into_iter().unzip();
    Ok((PyArray1::from_vec(py, epsilon), PyArray1::from_vec(py, mu)))
}

/// The p-value of (canaries, guesses, right ones, delta, epsilon) at `n` rows.
#[door]
#[pyfunction]
fn privacy_one_run_p_values<'py>(
    py: Python<'py>,
    name: &str,
    arguments: Arguments<'py>,
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (method, columns) = (method(name)?, columns(&arguments, n)?);
    let values = rows(py, n, CHUNK, n_threads, |i| {
        Ok(method.p_value(counts(&columns, i), columns[4].at(i), columns[3].at(i)))
    })?;
    Ok(PyArray1::from_vec(py, values))
}

/// The p-value of (canaries, guesses, right ones, -, -) at `n` rows, for a symmetric trade-off curve.
#[door]
#[pyfunction]
fn privacy_one_run_curve_p_values<'py>(
    py: Python<'py>,
    fpr: PyReadonlyArray1<'py, f64>,
    fnr: PyReadonlyArray1<'py, f64>,
    arguments: Arguments<'py>,
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (fpr, fnr) = (fpr.as_slice()?, fnr.as_slice()?);
    if fpr.len() != fnr.len() || fpr.len() < 2 {
        return Err(PyValueError::new_err("a curve has two corners at least"));
    }
    let (curve, columns) = (Curve { fpr, fnr }, columns(&arguments, n)?);
    let values = rows(py, n, CHUNK, n_threads, |i| Ok(curve.p_value(counts(&columns, i))))?;
    Ok(PyArray1::from_vec(py, values))
}
