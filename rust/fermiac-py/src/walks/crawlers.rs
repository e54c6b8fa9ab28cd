//! Crawling walkers as a Python class.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermiac_base::store::Codec;
use fermiac_walks::{Crawlers, Oracle};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::walkers::{PyPaths, Settings};
use crate::common::enter::{Raised, enter};
use crate::common::error::check;

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyCrawlers>()
}

/// Walkers on a graph that is asked for, behind a lock.
#[pyclass(name = "Crawlers", module = "fermiac._core", frozen)]
struct PyCrawlers(Mutex<Crawlers>);

impl PyCrawlers {
    fn lock(&self) -> MutexGuard<'_, Crawlers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Python functions that know the graph: nodes (n,) to (indptr, neighbours), and to weights; what
/// they give was checked in Python.
struct Functions {
    rows: Py<PyAny>,
    weights: Option<Py<PyAny>>,
    raised: Raised,
}

impl Oracle for Functions {
    fn rows(&mut self, nodes: &[i64]) -> fermiac_base::Result<(Vec<i64>, Vec<i64>)> {
        Python::attach(|py| -> PyResult<(Vec<i64>, Vec<i64>)> {
            let given = self.rows.bind(py).call1((PyArray1::from_slice(py, nodes),))?;
            let (starts, ids): (PyReadonlyArray1<'_, i64>, PyReadonlyArray1<'_, i64>) =
                given.extract()?;
            Ok((starts.as_slice()?.to_vec(), ids.as_slice()?.to_vec()))
        })
        .map_err(|error| self.raised.keep(error, "that gives neighbours"))
    }

    fn weights(&mut self, nodes: &[i64]) -> fermiac_base::Result<Vec<f64>> {
        let Some(weights) = &self.weights else {
            return Err(fermiac_base::Error::Internal("nobody knows the weights".into()));
        };
        Python::attach(|py| -> PyResult<Vec<f64>> {
            let given = weights.bind(py).call1((PyArray1::from_slice(py, nodes),))?;
            Ok(given.extract::<PyReadonlyArray1<'_, f64>>()?.as_slice()?.to_vec())
        })
        .map_err(|error| self.raised.keep(error, "that gives weights"))
    }
}

/// Where rows begin, their nodes, and visits.
type Visited<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u32>>);

#[pymethods]
impl PyCrawlers {
    /// Walkers that start at given nodes, called as outside.
    #[new]
    fn new(
        py: Python<'_>,
        settings: &Bound<'_, PyAny>,
        start: PyReadonlyArray1<'_, i64>,
        key: u64,
    ) -> PyResult<Self> {
        let plan = settings.extract::<Settings<'_>>()?.plan(py)?;
        Ok(Self(Mutex::new(check(py, Crawlers::new(plan, start.as_slice()?, key))?)))
    }

    /// Moves all to `until` steps, at most for `budget` seconds. Returns whether they got there,
    /// and the exception that stopped them or None. Paths are of nodes as they were discovered.
    #[pyo3(signature = (rows, weights, until, paths, first, thin, budget, total, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are those of a Python call
    fn run(
        &self,
        py: Python<'_>,
        rows: Py<PyAny>,
        weights: Option<Py<PyAny>>,
        until: u64,
        mut paths: Option<PyPaths<'_>>,
        first: u64,
        thin: u64,
        budget: Option<f64>,
        total: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(bool, Option<PyErr>)> {
        let budget = budget.map(Duration::from_secs_f64);
        let record = PyPaths::record(&mut paths, first, thin)?;
        let raised = Raised::default();
        let mut oracle = Functions { rows, weights, raised: raised.clone() };
        let outcome = enter(py, 1, progress.as_ref(), &raised, |context| {
            let mut walkers = self.lock();
            context.set_total(total);
            context.advance(walkers.n_done() * walkers.n_walkers() as u64);
            walkers.run(until, record, budget, &mut oracle, context).map_err(|error| (error, None))
        });
        Ok(match outcome {
            Ok(reached) => (reached, None),
            Err(stopped) => (false, Some(stopped.error)),
        })
    }

    /// Steps that each walker has made.
    #[getter]
    fn n_done(&self) -> u64 {
        self.lock().n_done()
    }

    /// Moves, of all steps of all walkers.
    #[getter]
    fn n_moves(&self) -> u64 {
        self.lock().n_moves()
    }

    /// Where walkers stand, as numbered here.
    fn positions<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, self.lock().positions().into_iter().map(|node| node as i64))
    }

    /// Nodes whose rows were asked for.
    #[getter]
    fn n_asked(&self) -> usize {
        self.lock().n_asked()
    }

    /// The nodes as they are called outside, in the order of their discovery.
    fn names<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_slice(py, self.lock().names())
    }

    /// Weights of all nodes in the target; NaN where nobody has asked, or there are none.
    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.lock().weights())
    }

    /// What is known of the graph: `indptr` and `indices`; rows that nobody asked for are empty.
    fn known<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u32>>) {
        let (starts, ids) = self.lock().known();
        (starts.into_pyarray(py), ids.into_pyarray(py))
    }

    /// The nodes that each walker has visited, in rows, and how often.
    fn visited<'py>(&self, py: Python<'py>) -> PyResult<Visited<'py>> {
        let rows = check(py, self.lock().rows())?;
        Ok((
            rows.starts.into_pyarray(py),
            rows.nodes.into_pyarray(py),
            rows.counts.into_pyarray(py),
        ))
    }

    /// The state, in words.
    fn save<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = self.lock().persist(&mut codec);
        check(py, saved)?;
        Ok(PyArray1::from_vec(py, codec.into_words()))
    }

    /// Takes a state that `save` gave.
    fn load(&self, py: Python<'_>, words: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        let mut codec = Codec::reader(words.as_slice()?.to_vec());
        let loaded = self.lock().persist(&mut codec);
        check(py, loaded)
    }
}
