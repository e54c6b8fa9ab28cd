//! Bindings of permutation tests.

use crate::common::enter::{Raised, compute, enter_whole};
use fermiac_resample::{
    Columns, Design, Permutations, choices, coefficients, exceedances, group_choices, group_law,
    group_tails, log_groups_above, middle_tails, pair_tails, sign_law, sign_tails, sums,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(resample_permute, m)?)?;
    m.add_function(wrap_pyfunction!(resample_coefficients, m)?)?;
    m.add_function(wrap_pyfunction!(resample_exceedances, m)?)?;
    m.add_function(wrap_pyfunction!(resample_rank_law, m)?)?;
    m.add_function(wrap_pyfunction!(resample_tails, m)?)?;
    m.add_function(wrap_pyfunction!(resample_choices, m)?)?;
    m.add_function(wrap_pyfunction!(resample_group_choices, m)?)?;
    m.add_function(wrap_pyfunction!(resample_log_groups_above, m)?)
}

type Column<'py> = PyReadonlyArray1<'py, f64>;
type Vector<'py> = Bound<'py, PyArray1<f64>>;

/// The permutations of a kind: "groups" with the first group's share of each block, "signs", or
/// "pairs" with the values of the other variable.
fn permutations(
    kind: &str,
    blocks: Vec<usize>,
    firsts: Vec<usize>,
    x: Option<&[f64]>,
) -> fermiac_base::Result<Permutations> {
    let design = match (kind, x) {
        ("groups", _) => Design::Groups(firsts),
        ("pairs", Some(x)) => Design::Pairs(x.to_vec()),
        _ => Design::Signs,
    };
    Permutations::new(design, blocks)
}

/// The sums Σ c y of permutations `first` to `first + n - 1`.
#[door]
#[pyfunction]
#[pyo3(signature = (kind, blocks, firsts, x, y, first, n, key, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_permute<'py>(
    py: Python<'py>,
    kind: &str,
    blocks: Vec<usize>,
    firsts: Vec<usize>,
    x: Option<Column<'py>>,
    y: Column<'py>,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vector<'py>> {
    let x = x.as_ref().map(|x| x.as_slice()).transpose()?;
    let y = y.as_slice()?;
    if blocks.last() != Some(&y.len()) {
        return Err(PyValueError::new_err("blocks that do not fit the data"));
    }
    let found = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        sums(&permutations(kind, blocks, firsts, x)?, y, first, n, key, context)
    })?;
    Ok(PyArray1::from_vec(py, found))
}

/// The coefficients of permutations `first` to `first + n - 1`, one after the other.
#[door]
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_coefficients<'py>(
    py: Python<'py>,
    kind: &str,
    blocks: Vec<usize>,
    firsts: Vec<usize>,
    x: Option<Column<'py>>,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
) -> PyResult<Vector<'py>> {
    let x = x.as_ref().map(|x| x.as_slice()).transpose()?;
    let found = compute(py, n_threads, |context| {
        coefficients(&permutations(kind, blocks, firsts, x)?, first, n, key, context)
    })?;
    Ok(PyArray1::from_vec(py, found))
}

type Counts<'py> = Bound<'py, PyArray1<u64>>;

/// Counts for many columns, whose data have a row for each observation: (at least, at most, the
/// largest so far at least the observed statistic, the largest of each permutation).
#[door]
#[pyfunction]
#[pyo3(signature = (
    kind, blocks, firsts, x, data, observed, shifts, scales, squares, absolute, tolerance, first, n,
    key, n_threads, progress=None
))]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python call")]
fn resample_exceedances<'py>(
    py: Python<'py>,
    kind: &str,
    blocks: Vec<usize>,
    firsts: Vec<usize>,
    x: Option<Column<'py>>,
    data: Column<'py>,
    observed: Column<'py>,
    shifts: Column<'py>,
    scales: Column<'py>,
    squares: Column<'py>,
    absolute: bool,
    tolerance: f64,
    first: u64,
    n: usize,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Counts<'py>, Counts<'py>, Counts<'py>, Vector<'py>)> {
    let x = x.as_ref().map(|x| x.as_slice()).transpose()?;
    let columns = Columns {
        data: data.as_slice()?,
        observed: observed.as_slice()?,
        shifts: shifts.as_slice()?,
        scales: scales.as_slice()?,
        squares: squares.as_slice()?,
        absolute,
        tolerance,
    };
    let width = columns.observed.len();
    let rows = blocks.last().copied().unwrap_or(0);
    let fits = |x: &[f64]| x.len() == width;
    if rows.checked_mul(width) != Some(columns.data.len())
        || !(fits(columns.shifts) && fits(columns.scales))
        || !(fits(columns.squares) || columns.squares.is_empty())
    {
        return Err(PyValueError::new_err("columns that do not fit together"));
    }
    let found = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        exceedances(&permutations(kind, blocks, firsts, x)?, &columns, first, n, key, context)
    })?;
    let counts = |c: Vec<u64>| PyArray1::from_vec(py, c);
    Ok((
        counts(found.at_least),
        counts(found.at_most),
        counts(found.largest),
        PyArray1::from_vec(py, found.maxima),
    ))
}

/// The law of the sum of `first` of whole scores, or without `first` of those with the sign +.
#[door]
#[pyfunction]
#[pyo3(signature = (scores, first=None))]
fn resample_rank_law(
    py: Python<'_>,
    scores: Vec<u32>,
    first: Option<usize>,
) -> PyResult<Vector<'_>> {
    let law = compute(py, 1, |context| {
        context.apart(usize::MAX, || match first {
            Some(first) => group_law(&scores, first),
            None => sign_law(&scores),
        })?
    })?;
    Ok(PyArray1::from_vec(py, law))
}

/// (upper, lower) shares of all outcomes: of "signs" of y, of "groups" of `first` values of y one by
/// one or from the "middle", or of "pairs" of x and y.
#[door]
#[pyfunction]
#[pyo3(signature = (kind, x, y, first, observed, near))]
fn resample_tails(
    py: Python<'_>,
    kind: &str,
    x: Option<Column<'_>>,
    y: Column<'_>,
    first: usize,
    observed: f64,
    near: f64,
) -> PyResult<(f64, f64)> {
    let x = x.as_ref().map(|x| x.as_slice()).transpose()?;
    let y = y.as_slice()?;
    let tails = compute(py, 1, |context| {
        context.apart(usize::MAX, || match (kind, x) {
            ("groups", _) => Ok(group_tails(y, first, observed, near)),
            ("middle", _) => middle_tails(y, first, observed, near),
            ("pairs", Some(x)) => Ok(pair_tails(x, y, observed, near)),
            _ => sign_tails(y, observed, near),
        })?
    })?;
    Ok((tails.upper, tails.lower))
}

/// The number of choices of rising costs within a budget, None if there are more than `most`.
#[door]
#[pyfunction]
fn resample_choices(
    py: Python<'_>,
    costs: Column<'_>,
    budget: f64,
    most: u64,
) -> PyResult<Option<u64>> {
    let costs = costs.as_slice()?;
    compute(py, 1, |context| context.apart(usize::MAX, || choices(costs, budget, most)))
}

/// The number of groups of `first` of the falling values whose sum is at most `budget` below the
/// largest one, None if there are more than `most`.
#[door]
#[pyfunction]
fn resample_group_choices(
    py: Python<'_>,
    falling: Column<'_>,
    first: usize,
    budget: f64,
    most: u64,
) -> PyResult<Option<u64>> {
    let falling = falling.as_slice()?;
    if first > falling.len() {
        return Err(PyValueError::new_err("a group that is larger than all"));
    }
    compute(py, 1, |context| {
        context.apart(usize::MAX, || group_choices(falling, first, budget, most))
    })
}

/// ln of the number of groups of `first` of the values whose sum is at least `observed`, None if the
/// series does not converge.
#[door]
#[pyfunction]
fn resample_log_groups_above(
    py: Python<'_>,
    y: Column<'_>,
    first: usize,
    observed: f64,
    unit: f64,
) -> PyResult<Option<f64>> {
    let y = y.as_slice()?;
    compute(py, 1, |context| {
        context.apart(usize::MAX, || log_groups_above(y, first, observed, unit))?
    })
}
