//! Graphs over NumPy arrays, without a copy.
#![allow(unsafe_code)]

use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_walks::graph::{
    EdgeWeights, Edges, Graph, Id, Ids, Parts, Rigour, Shared, from_edges, one_way, parts,
    strengths, strong_parts, survey,
};
use numpy::{
    Element, IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyGraph>()?;
    m.add_function(wrap_pyfunction!(walks_rows, m)?)
}

/// Enters the core without a progress report.
pub(super) fn entered<T: Send>(
    py: Python<'_>,
    n_threads: usize,
    call: impl FnOnce(&Context<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    enter(py, n_threads, None, &Raised::default(), |context| {
        call(context).map_err(|error| (error, None))
    })
    .map_err(|stopped| stopped.error)
}

/// A NumPy array that is kept alive while it is read.
struct Held<T> {
    start: *const T,
    len: usize,
    _array: Py<PyAny>,
}

// SAFETY: the data are only read, and the array is kept alive and never written (the Python layer
// passes arrays that it has made read-only or mapped read-only).
unsafe impl<T: Sync> Send for Held<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Held<T> {}

impl<T> AsRef<[T]> for Held<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: `start` and `len` are those of a contiguous array that `_array` keeps alive.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

fn held<T: Element + Sync + 'static>(array: &PyReadonlyArray1<'_, T>) -> PyResult<Shared<T>> {
    let slice = array.as_slice()?;
    Ok(Arc::new(Held {
        start: slice.as_ptr(),
        len: slice.len(),
        _array: (**array).clone().into_any().unbind(),
    }))
}

#[derive(FromPyObject)]
enum PyIds<'py> {
    Short(PyReadonlyArray1<'py, u32>),
    Long(PyReadonlyArray1<'py, u64>),
}

#[derive(FromPyObject)]
enum PyWeights<'py> {
    Short(PyReadonlyArray1<'py, f32>),
    Long(PyReadonlyArray1<'py, f64>),
}

/// A graph in compressed rows.
#[pyclass(name = "Graph", module = "fermiac._core", frozen)]
pub(crate) struct PyGraph(pub(crate) Graph);

#[pymethods]
impl PyGraph {
    /// Creates a graph of `indptr`, `indices` and the weights of the edges or None.
    #[new]
    #[pyo3(signature = (starts, ids, weights=None))]
    fn new(
        py: Python<'_>,
        starts: PyReadonlyArray1<'_, u64>,
        ids: PyIds<'_>,
        weights: Option<PyWeights<'_>>,
    ) -> PyResult<Self> {
        let ids = match &ids {
            PyIds::Short(ids) => Ids::Short(held(ids)?),
            PyIds::Long(ids) => Ids::Long(held(ids)?),
        };
        let weights = match &weights {
            None => None,
            Some(PyWeights::Short(weights)) => Some(EdgeWeights::Short(held(weights)?)),
            Some(PyWeights::Long(weights)) => Some(EdgeWeights::Long(held(weights)?)),
        };
        check(py, Graph::new(held(&starts)?, ids, weights)).map(Self)
    }

    /// The number of nodes.
    #[getter]
    fn n_nodes(&self) -> usize {
        self.0.n_nodes()
    }

    /// Checks all rows or a sample: returns whether each is in ascending order, whether one has
    /// repeated entries, and the number of loops.
    fn survey(
        &self,
        py: Python<'_>,
        full: bool,
        signed: bool,
        n_threads: usize,
    ) -> PyResult<(bool, bool, u64)> {
        let rigour = if full { Rigour::Full } else { Rigour::Sample };
        let found =
            entered(py, n_threads, |context| survey(self.0.view(), rigour, signed, context))?;
        Ok((found.sorted, found.repeated, found.loops))
    }

    /// The sum of the weights of each row.
    fn strengths<'py>(
        &self,
        py: Python<'py>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let found = entered(py, n_threads, |context| strengths(self.0.view(), context))?;
        Ok(found.into_pyarray(py))
    }

    /// The first edge that differs from its reverse: from, to, the weights of both.
    fn one_way(
        &self,
        py: Python<'_>,
        sorted: bool,
        n_threads: usize,
    ) -> PyResult<Option<(usize, usize, f64, f64)>> {
        let found = entered(py, n_threads, |context| one_way(self.0.view(), sorted, context))?;
        Ok(found.map(|edge| (edge.from, edge.to, edge.there, edge.back)))
    }

    /// The components without regard to directions: the label of each node, the sizes, and
    /// whether each is bipartite.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<PyParts<'py>> {
        let found = entered(py, 1, |context| parts(self.0.view(), context))?;
        Ok(shown(py, found))
    }

    /// The strongly connected components, without bipartiteness.
    fn strong_parts<'py>(&self, py: Python<'py>) -> PyResult<PyParts<'py>> {
        let found = entered(py, 1, |context| strong_parts(self.0.view(), context))?;
        Ok(shown(py, found))
    }
}

type PyParts<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

fn shown(py: Python<'_>, parts: Parts) -> PyParts<'_> {
    (
        signed(parts.labels).into_pyarray(py),
        signed(parts.sizes).into_pyarray(py),
        parts.bipartite.into_pyarray(py),
    )
}

/// Unsigned indices as signed ones, in place: both types have the same layout.
fn signed(numbers: Vec<u64>) -> Vec<i64> {
    numbers.into_iter().map(|number| number as i64).collect()
}

/// An (m, 2) array of edges.
#[derive(FromPyObject)]
pub(super) enum PyPairs<'py> {
    Short(PyReadonlyArray2<'py, u32>),
    Long(PyReadonlyArray2<'py, u64>),
}

type PyRows<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyAny>, Option<Bound<'py, PyArray1<f64>>>);

/// The compressed rows of an (m, 2) array of edges.
#[pyfunction]
#[pyo3(signature = (edges, weights, n_nodes, directed, merge, n_threads))]
fn walks_rows<'py>(
    py: Python<'py>,
    edges: PyPairs<'py>,
    weights: Option<PyReadonlyArray1<'py, f64>>,
    n_nodes: usize,
    directed: bool,
    merge: bool,
    n_threads: usize,
) -> PyResult<PyRows<'py>> {
    let weights = weights.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
    let list = (weights, n_nodes, directed, merge, n_threads);
    match &edges {
        PyPairs::Short(pairs) => rows(py, pairs, list),
        PyPairs::Long(pairs) => rows(py, pairs, list),
    }
}

/// The edges of a C-contiguous (m, 2) array.
pub(super) fn pairs<'a, T: Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<&'a [[T; 2]]> {
    if array.shape()[1] != 2 {
        return Err(PyValueError::new_err("edges have two ends"));
    }
    Ok(array.as_slice()?.as_chunks().0)
}

fn rows<'py, T: Element + Id>(
    py: Python<'py>,
    array: &PyReadonlyArray2<'py, T>,
    (weights, n_nodes, directed, merge, n_threads): (Option<&[f64]>, usize, bool, bool, usize),
) -> PyResult<PyRows<'py>> {
    let edges = Edges { pairs: pairs(array)?, weights, directed, merge };
    let rows = entered(py, n_threads, |context| from_edges(n_nodes, edges, context))?;
    Ok((
        signed(rows.starts).into_pyarray(py),
        rows.ids.into_pyarray(py).into_any(),
        rows.weights.map(|weights| weights.into_pyarray(py)),
    ))
}
