//! Graphs over NumPy arrays, which are copied unless nobody can write them.
#![allow(unsafe_code)]

use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_base::Result;
use fermiac_base::alloc::room;
use fermiac_base::par::Context;
use fermiac_walks::graph::{
    EdgeWeights, Edges, Graph, Id, IdSlice, Ids, Parts, Rigour, Shared, WeightSlice, from_edges,
    one_way, parts, strengths, strong_parts, survey,
};
use numpy::ndarray::ArrayView1;
use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use numpy::npyffi::objects::_PyArray_GET_ITEM_DATA;
use numpy::{
    Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
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

/// A NumPy array that is kept alive while it is read, and that nobody can write.
struct Held<T> {
    start: *const T,
    len: usize,
    _array: Py<PyAny>,
}

// SAFETY: the data are only read; the array is kept alive, and `is_fixed` holds for it.
unsafe impl<T: Sync> Send for Held<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Held<T> {}

impl<T> AsRef<[T]> for Held<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: `start` and `len` are those of a contiguous array that `_array` keeps alive.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// The numbers of an array: a copy, unless nobody can write them.
fn shared<T: Element + Copy + Send + Sync + 'static>(
    name: &str,
    array: &PyReadonlyArray1<'_, T>,
) -> PyResult<Shared<T>> {
    let slice = array.as_slice()?;
    if !is_fixed(array.as_untyped().clone())? {
        let mut copy = check(array.py(), room(name, slice.len()))?;
        fermiac_base::simd::prefer_huge_pages(copy.spare_capacity_mut());
        copy.extend_from_slice(slice);
        return Ok(Arc::new(copy));
    }
    Ok(Arc::new(Held {
        start: slice.as_ptr(),
        len: slice.len(),
        _array: (**array).clone().into_any().unbind(),
    }))
}

/// Returns whether nobody in this process can write an array: neither it nor any array that it is
/// a view of is writeable, and the memory is that of a graph, or of a file mapped read-only.
///
/// An array that owns its memory does not count, as its owner may make it writeable again.
fn is_fixed(array: Bound<'_, PyUntypedArray>) -> PyResult<bool> {
    let py = array.py();
    let mut at = array.into_any();
    while let Ok(array) = at.cast::<PyUntypedArray>() {
        // Subclasses can redefine the attributes `flags` and `base`, so their fields are read.
        // SAFETY: the object is an array, and the interpreter is held.
        let (flags, base) = unsafe {
            let array = _PyArray_GET_ITEM_DATA(array.as_array_ptr());
            ((*array).flags, Bound::from_borrowed_ptr_or_opt(py, (*array).base))
        };
        match base {
            Some(base) if flags & NPY_ARRAY_WRITEABLE == 0 => at = base,
            Some(_) | None => return Ok(false),
        }
    }
    if at.cast::<PyGraph>().is_ok() {
        return Ok(true);
    }
    let map = py.import("mmap")?.getattr("mmap")?;
    if !at.get_type().is(&map) {
        return Ok(false);
    }
    PyMemoryView::from(&at)?.getattr("readonly")?.extract()
}

/// A read-only array over numbers of a graph, which it keeps alive.
fn shown_array<'py, T: Element>(
    graph: &Bound<'py, PyGraph>,
    numbers: &[T],
) -> PyResult<Bound<'py, PyArray1<T>>> {
    let numbers = ArrayView1::from(numbers);
    // SAFETY: the numbers are those of the graph, which never changes and which the array keeps.
    let array = unsafe { PyArray1::borrow_from_array(&numbers, graph.clone().into_any()) };
    drop(array.try_readwrite()?.make_nonwriteable());
    Ok(array)
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

#[door]
#[pymethods]
impl PyGraph {
    /// Creates a graph of `indptr`, `indices` and the weights of the edges or None. What others can
    /// write is copied.
    #[new]
    #[pyo3(signature = (starts, ids, weights=None))]
    fn new(
        py: Python<'_>,
        starts: PyReadonlyArray1<'_, u64>,
        ids: PyIds<'_>,
        weights: Option<PyWeights<'_>>,
    ) -> PyResult<Self> {
        let ids = match &ids {
            PyIds::Short(ids) => Ids::Short(shared("indices", ids)?),
            PyIds::Long(ids) => Ids::Long(shared("indices", ids)?),
        };
        let weights = match &weights {
            None => None,
            Some(PyWeights::Short(weights)) => {
                Some(EdgeWeights::Short(shared("weights", weights)?))
            }
            Some(PyWeights::Long(weights)) => Some(EdgeWeights::Long(shared("weights", weights)?)),
        };
        check(py, Graph::new(shared("indptr", &starts)?, ids, weights)).map(Self)
    }

    /// The number of nodes.
    #[getter]
    fn n_nodes(&self) -> usize {
        self.0.n_nodes()
    }

    /// The start of each row, and the end; read-only, as the other arrays.
    #[getter]
    fn indptr<'py>(graph: &Bound<'py, Self>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        shown_array(graph, graph.get().0.view().starts)
    }

    /// The rows, one after the other.
    #[getter]
    fn indices<'py>(graph: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match graph.get().0.view().ids {
            IdSlice::Short(ids) => shown_array(graph, ids)?.into_any(),
            IdSlice::Long(ids) => shown_array(graph, ids)?.into_any(),
        })
    }

    /// The weights of the edges, or None.
    #[getter]
    fn weights<'py>(graph: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match graph.get().0.view().weights {
            None => None,
            Some(WeightSlice::Short(weights)) => Some(shown_array(graph, weights)?.into_any()),
            Some(WeightSlice::Long(weights)) => Some(shown_array(graph, weights)?.into_any()),
        })
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

/// The compressed rows of an (m, 2) array of edges.
#[door]
#[pyfunction]
#[pyo3(signature = (edges, weights, n_nodes, directed, merge, n_threads))]
fn walks_rows(
    py: Python<'_>,
    edges: PyPairs<'_>,
    weights: Option<PyReadonlyArray1<'_, f64>>,
    n_nodes: usize,
    directed: bool,
    merge: bool,
    n_threads: usize,
) -> PyResult<PyGraph> {
    let weights = weights.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
    let list = (weights, n_nodes, directed, merge, n_threads);
    match &edges {
        PyPairs::Short(pairs) => rows(py, pairs, Ids::Short, list),
        PyPairs::Long(pairs) => rows(py, pairs, Ids::Long, list),
    }
}

/// The edges of a C-contiguous (m, 2) array.
pub(super) fn pairs<'a, T: Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<&'a [[T; 2]]> {
    if array.shape()[1] != 2 {
        return Err(PyValueError::new_err("edges have two ends"));
    }
    Ok(array.as_slice()?.as_chunks().0)
}

fn rows<T: Element + Id>(
    py: Python<'_>,
    array: &PyReadonlyArray2<'_, T>,
    wrap: fn(Shared<T>) -> Ids,
    (weights, n_nodes, directed, merge, n_threads): (Option<&[f64]>, usize, bool, bool, usize),
) -> PyResult<PyGraph> {
    let edges = Edges { pairs: pairs(array)?, weights, directed, merge };
    entered(py, n_threads, |context| {
        let rows = from_edges(n_nodes, edges, context)?;
        let weights = rows.weights.map(|weights| EdgeWeights::Long(Arc::new(weights)));
        Graph::new(Arc::new(rows.starts), wrap(Arc::new(rows.ids)), weights)
    })
    .map(PyGraph)
}
