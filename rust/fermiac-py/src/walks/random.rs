//! Random graphs as (m, 2) arrays of edges.

use super::graph::entered;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_walks::graph::random::{
    Pair, Rmat, barabasi_albert, erdos_renyi, random_regular, rmat, stochastic_block,
    watts_strogatz,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(walks_erdos_renyi, m)?)?;
    m.add_function(wrap_pyfunction!(walks_rmat, m)?)?;
    m.add_function(wrap_pyfunction!(walks_barabasi_albert, m)?)?;
    m.add_function(wrap_pyfunction!(walks_watts_strogatz, m)?)?;
    m.add_function(wrap_pyfunction!(walks_stochastic_block, m)?)?;
    m.add_function(wrap_pyfunction!(walks_random_regular, m)?)
}

type PyEdges<'py> = Bound<'py, PyArray2<u32>>;

fn made(
    py: Python<'_>,
    n_threads: usize,
    make: impl FnOnce(&Context<'_>) -> Result<Vec<Pair>> + Send,
) -> PyResult<PyEdges<'_>> {
    let edges = entered(py, n_threads, make)?;
    let m = edges.len();
    let flat: Bound<'_, PyArray1<u32>> = edges.into_flattened().into_pyarray(py);
    flat.reshape([m, 2])
}

/// Edges `range` of G(n, m).
#[door]
#[pyfunction]
fn walks_erdos_renyi(
    py: Python<'_>,
    n: u64,
    m: u64,
    directed: bool,
    range: (u64, u64),
    key: u64,
    n_threads: usize,
) -> PyResult<PyEdges<'_>> {
    made(py, n_threads, |context| erdos_renyi(n, m, directed, range, key, context))
}

/// The edges of the draws `range` of R-MAT.
#[door]
#[pyfunction]
fn walks_rmat(
    py: Python<'_>,
    scale: u32,
    shares: [f64; 3],
    range: (u64, u64),
    key: u64,
    n_threads: usize,
) -> PyResult<PyEdges<'_>> {
    made(py, n_threads, |context| rmat(Rmat { scale, shares }, range, key, context))
}

/// A graph of preferential attachment.
#[door]
#[pyfunction]
fn walks_barabasi_albert(py: Python<'_>, n: u64, m: u64, key: u64) -> PyResult<PyEdges<'_>> {
    made(py, 1, |context| barabasi_albert(n, m, key, context))
}

/// A small-world graph.
#[door]
#[pyfunction]
fn walks_watts_strogatz(py: Python<'_>, n: u64, k: u64, p: f64, key: u64) -> PyResult<PyEdges<'_>> {
    made(py, 1, |context| watts_strogatz(n, k, p, key, context))
}

/// The stochastic block model; `p` has the probabilities, row by row.
#[door]
#[pyfunction]
fn walks_stochastic_block(
    py: Python<'_>,
    sizes: Vec<u64>,
    p: Vec<f64>,
    directed: bool,
    key: u64,
    n_threads: usize,
) -> PyResult<PyEdges<'_>> {
    made(py, n_threads, |context| stochastic_block(&sizes, &p, directed, key, context))
}

/// A random regular graph.
#[door]
#[pyfunction]
fn walks_random_regular(py: Python<'_>, n: u64, d: u64, key: u64) -> PyResult<PyEdges<'_>> {
    made(py, 1, |context| random_regular(n, d, key, context))
}
