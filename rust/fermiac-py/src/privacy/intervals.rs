//! Bindings of the intervals of ε, of ε, δ and the advantage at given rates, and of Gaussian
//! differential privacy.

use crate::common::columns::{Column, rows};
use fermiac_base::par::CHUNK;
use fermiac_privacy::{
    Counts, Direction, Gaussian, Method, Sides, advantage_bound, delta_of, epsilon_of, intervals,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(privacy_gaussian, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_intervals, m)?)?;
    m.add_function(wrap_pyfunction!(privacy_rates, m)?)
}

pub(super) fn direction(name: &str) -> PyResult<Direction> {
    Ok(match name {
        "both" => Direction::Both,
        "attack" => Direction::Attack,
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        _ => return Err(PyValueError::new_err(format!("no direction '{name}'"))),
    })
}

type Ends<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// The ends of `n` intervals; `columns` are tp, fp, fn, tn, delta and the probability beyond each
/// limit, each one number or `n`. `sides` says which of the two ends are wanted.
#[door]
#[pyfunction]
fn privacy_intervals<'py>(
    py: Python<'py>,
    method: &str,
    direction: &str,
    sides: (bool, bool),
    columns: [PyReadonlyArray1<'py, f64>; 6],
    n: usize,
    n_threads: usize,
) -> PyResult<Ends<'py>> {
    let method = match method {
        "clopper-pearson" => Method::ClopperPearson,
        "jeffreys" => Method::Jeffreys,
        "katz-log" => Method::KatzLog,
        _ => return Err(PyValueError::new_err(format!("no method '{method}'"))),
    };
    let direction = self::direction(direction)?;
    let sides = Sides { lower: sides.0, upper: sides.1 };
    let columns =
        columns.iter().map(|array| Column::new(array, n)).collect::<PyResult<Vec<_>>>()?;
    let parts = rows(py, n.div_ceil(CHUNK), 1, n_threads, |chunk| {
        let range = chunk * CHUNK..n.min((chunk + 1) * CHUNK);
        let [tp, fp, fn_, tn, delta, tail] =
            std::array::from_fn(|k| range.clone().map(|i| columns[k].at(i)).collect::<Vec<f64>>());
        let counts = Counts { tp: &tp, fp: &fp, fn_: &fn_, tn: &tn, delta: &delta, tail: &tail };
        Ok(intervals(method, direction, sides, &counts))
    })?;
    let (mut lower, mut upper) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for (low, high) in parts {
        lower.extend(low);
        upper.extend(high);
    }
    Ok((PyArray1::from_vec(py, lower), PyArray1::from_vec(py, upper)))
}

/// "epsilon" of (fnr, fpr, delta), "delta" of (fnr, fpr, epsilon), or "advantage" of (epsilon,
/// delta) at `n` rows; an argument has one number, or `n`.
#[door]
#[pyfunction]
fn privacy_rates<'py>(
    py: Python<'py>,
    name: &str,
    direction: &str,
    arguments: Vec<PyReadonlyArray1<'py, f64>>,
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let direction = self::direction(direction)?;
    let columns =
        arguments.iter().map(|array| Column::new(array, n)).collect::<PyResult<Vec<_>>>()?;
    let of = match (name, &columns[..]) {
        ("epsilon", [_, _, _]) => epsilon_of,
        ("delta", [_, _, _]) => delta_of,
        ("advantage", [epsilon, delta]) => {
            let at = |i| Ok(advantage_bound(epsilon.at(i), delta.at(i)));
            return Ok(PyArray1::from_vec(py, rows(py, n, CHUNK, n_threads, at)?));
        }
        _ => return Err(PyValueError::new_err(format!("{name} is not called like this"))),
    };
    let at = |i| Ok(of(direction, columns[0].at(i), columns[1].at(i), columns[2].at(i)));
    Ok(PyArray1::from_vec(py, rows(py, n, CHUNK, n_threads, at)?))
}

/// "delta" of (epsilon, mu), "epsilon" of (delta, mu) or "mu" of (epsilon, delta) at `n` rows; an
/// argument has one number, or `n`.
#[door]
#[pyfunction]
fn privacy_gaussian<'py>(
    py: Python<'py>,
    name: &str,
    arguments: [PyReadonlyArray1<'py, f64>; 2],
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let conversion = match name {
        "delta" => Gaussian::Delta,
        "epsilon" => Gaussian::Epsilon,
        "mu" => Gaussian::Mu,
        _ => return Err(PyValueError::new_err(format!("no conversion '{name}'"))),
    };
    let x = Column::new(&arguments[0], n)?;
    let y = Column::new(&arguments[1], n)?;
    let values = rows(py, n, 512, n_threads, |i| Ok(conversion.at(x.at(i), y.at(i))))?;
    Ok(PyArray1::from_vec(py, values))
}
