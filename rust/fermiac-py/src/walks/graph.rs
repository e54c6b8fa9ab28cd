//! A graph over NumPy's arrays, without a copy.
#![allow(unsafe_code)]

use std::sync::Arc;

use fermiac_core::walks::graph::{EdgeWeights, Graph, Ids, Shared};
use numpy::{Element, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::error::check;

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyGraph>()
}

/// An array of NumPy that is held for as long as it is read.
struct Held<T> {
    start: *const T,
    len: usize,
    _array: Py<PyAny>,
}

// SAFETY: what lies there is only read, and the array is kept alive and nobody's to write (the
// Python layer hands over arrays that it has made read-only or mapped read-only).
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
    /// Of `indptr`, `indices` and the weights of the edges or None.
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

    /// Nodes.
    #[getter]
    fn n_nodes(&self) -> usize {
        self.0.n_nodes()
    }
}
