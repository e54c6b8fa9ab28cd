//! Self-avoiding walks.

use super::graph::PyGraph;
use crate::common::enter::{Raised, enter};
use fermiac_walks::self_avoiding;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(walks_self_avoiding, m)?)
}

/// The starts of walks in the list of nodes, the nodes, log-weights, and whether each was trapped.
type Avoided<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
);

/// A walk of at most `n_steps` steps from each start that visits no node twice.
#[door]
#[pyfunction]
#[pyo3(signature = (graph, start, n_steps, key, n_threads, progress=None))]
fn walks_self_avoiding<'py>(
    py: Python<'py>,
    graph: &PyGraph,
    start: PyReadonlyArray1<'_, i64>,
    n_steps: u64,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Avoided<'py>> {
    let start: Vec<usize> = start.as_slice()?.iter().map(|&node| node as usize).collect();
    let graph = graph.0.clone();
    let total = n_steps.saturating_mul(start.len() as u64);
    let walks = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        context.set_total(total);
        self_avoiding(&graph, &start, n_steps, key, context).map_err(|error| (error, None))
    });
    let walks = walks.map_err(|stopped| stopped.error)?;
    Ok((
        PyArray1::from_vec(py, walks.starts),
        PyArray1::from_vec(py, walks.nodes),
        PyArray1::from_vec(py, walks.log_weights),
        PyArray1::from_vec(py, walks.trapped),
    ))
}
