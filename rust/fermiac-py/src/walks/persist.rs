//! The visits and the positions of walkers, as arrays, for results and checkpoints.

use super::walkers::PyWalkers;
use crate::common::door::decoded;
use crate::common::error::check;
use fermiac_base::store::Codec;
use fermiac_walks::{RowSlices, Rows};
use numpy::{Element, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(walkers_save, m)?)?;
    m.add_function(wrap_pyfunction!(walkers_load, m)?)?;
    m.add_function(wrap_pyfunction!(walkers_visited, m)?)?;
    m.add_function(wrap_pyfunction!(walkers_remember, m)?)
}

/// The positions of walkers, in words.
#[door]
#[pyfunction]
fn walkers_save<'py>(py: Python<'py>, walkers: &PyWalkers) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let mut codec = Codec::writer();
    let saved = walkers.lock().persist(&mut codec);
    check(py, saved)?;
    Ok(PyArray1::from_vec(py, codec.into_words()))
}

/// Restores positions of `walkers_save`.
#[door]
#[pyfunction]
fn walkers_load(
    py: Python<'_>,
    walkers: &PyWalkers,
    words: PyReadonlyArray1<'_, u64>,
) -> PyResult<()> {
    let mut codec = Codec::reader(words.as_slice()?.to_vec());
    check(py, decoded(|| walkers.lock().persist(&mut codec)))
}

/// The starts of rows, their nodes, visits, and logarithms of masses if there are any.
type Visited<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyAny>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<f64>>,
);

/// The nodes that each walker has visited, in its first steps if `until` is given, in rows of
/// ascending nodes; None if visits are not counted, or not known. Nodes have 32 bits if that suffices.
#[door]
#[pyfunction]
#[pyo3(signature = (walkers, until=None))]
fn walkers_visited<'py>(
    py: Python<'py>,
    walkers: &PyWalkers,
    until: Option<u64>,
) -> Option<Visited<'py>> {
    fn arrays<I: Element>(py: Python<'_>, rows: Rows<I>) -> Visited<'_> {
        (
            PyArray1::from_vec(py, rows.starts),
            PyArray1::from_vec(py, rows.nodes).into_any(),
            PyArray1::from_vec(py, rows.counts),
            PyArray1::from_vec(py, rows.logs),
        )
    }
    fn found<I: TryFrom<usize>>(walkers: &PyWalkers, until: Option<u64>) -> Option<Rows<I>> {
        let walkers = walkers.lock();
        until.map_or_else(|| walkers.rows(), |until| walkers.rows_at(until))
    }
    match py.detach(|| found::<i32>(walkers, until)) {
        Some(rows) => Some(arrays(py, rows)),
        None => py.detach(|| found::<i64>(walkers, until)).map(|rows| arrays(py, rows)),
    }
}

#[derive(FromPyObject)]
enum PyNodes<'py> {
    Short(PyReadonlyArray1<'py, i32>),
    Long(PyReadonlyArray1<'py, i64>),
}

/// Restores the visits of `walkers_visited`.
#[door]
#[pyfunction]
fn walkers_remember(
    py: Python<'_>,
    walkers: &PyWalkers,
    starts: PyReadonlyArray1<'_, i64>,
    nodes: PyNodes<'_>,
    counts: PyReadonlyArray1<'_, u32>,
    logs: PyReadonlyArray1<'_, f64>,
) -> PyResult<()> {
    let (starts, counts, logs) = (starts.as_slice()?, counts.as_slice()?, logs.as_slice()?);
    let mut walkers = walkers.lock();
    let taken = match &nodes {
        PyNodes::Short(nodes) => {
            walkers.remember(RowSlices { starts, nodes: nodes.as_slice()?, counts, logs })
        }
        PyNodes::Long(nodes) => {
            walkers.remember(RowSlices { starts, nodes: nodes.as_slice()?, counts, logs })
        }
    };
    check(py, taken)
}
