//! Self-avoiding walks, as ragged arrays.

use fermiac_core::walks::self_avoiding;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::graph::PyGraph;
use crate::enter::{Raised, enter};

/// Adds this file's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(walks_self_avoiding, m)?)
}

/// Where walks begin, their nodes, logarithms of their weights, and whether they were trapped.
type Walks<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<bool>>,
);

/// A walk of at most `n_steps` steps from each start, to nodes that it has not visited.
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
) -> PyResult<Walks<'py>> {
    let start: Vec<usize> = start.as_slice()?.iter().map(|&node| node as usize).collect();
    let graph = graph.0.clone();
    let walks = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        self_avoiding(&graph, &start, n_steps, key, context).map_err(|error| (error, None))
    })
    .map_err(|stopped| stopped.error)?;
    Ok((
        walks.starts.into_pyarray(py),
        walks.nodes.into_pyarray(py),
        walks.log_weights.into_pyarray(py),
        walks.trapped.into_pyarray(py),
    ))
}
