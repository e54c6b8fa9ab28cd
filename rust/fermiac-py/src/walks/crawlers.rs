//! Crawling walkers as a Python class.

use super::walkers::{PyPaths, Settings};
use crate::common::call::call_python;
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter};
use crate::common::error::check;
use fermiac_base::store::Codec;
use fermiac_walks::{Crawlers, Oracle};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyCrawlers>()
}

/// Walkers on a graph behind an oracle, behind a lock.
#[pyclass(name = "Crawlers", module = "fermiac._core", frozen)]
struct PyCrawlers(Mutex<Crawlers>);

impl PyCrawlers {
    fn lock(&self) -> MutexGuard<'_, Crawlers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Python functions of a graph: from nodes (n,) to (indptr, neighbours), and to weights. Their
/// results are checked in Python.
struct Functions {
    rows: Py<PyAny>,
    weights: Option<Py<PyAny>>,
    raised: Raised,
}

impl Oracle for Functions {
    fn rows(&mut self, nodes: &[i64]) -> fermiac_base::Result<(Vec<i64>, Vec<i64>)> {
        Python::attach(|py| -> PyResult<(Vec<i64>, Vec<i64>)> {
            let given = call_python(self.rows.bind(py), (PyArray1::from_slice(py, nodes),))?;
            let (starts, ids): (PyReadonlyArray1<'_, i64>, PyReadonlyArray1<'_, i64>) =
                given.extract()?;
            Ok((starts.as_slice()?.to_vec(), ids.as_slice()?.to_vec()))
        })
        .map_err(|error| self.raised.keep(error, "that gives neighbours"))
    }

    fn weights(&mut self, nodes: &[i64]) -> fermiac_base::Result<Vec<f64>> {
        let Some(weights) = &self.weights else {
            return Err(fermiac_base::Error::Internal(
                "a crawl without a function of the weights".into(),
            ));
        };
        Python::attach(|py| -> PyResult<Vec<f64>> {
            let given = call_python(weights.bind(py), (PyArray1::from_slice(py, nodes),))?;
            Ok(given.extract::<PyReadonlyArray1<'_, f64>>()?.as_slice()?.to_vec())
        })
        .map_err(|error| self.raised.keep(error, "that gives weights"))
    }
}

/// The starts of rows, their nodes, and visits.
type Visited<'py> =
    (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u32>>);

#[door]
#[pymethods]
impl PyCrawlers {
    /// Creates walkers at given nodes, by their original numbers.
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

    /// Moves all walkers to step `until`, for at most `budget` seconds. Returns whether they got
    /// there, and the exception that stopped them or None. Paths use the order of discovery.
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
        let budget = budget.map(duration);
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

    /// The number of steps that each walker has made.
    #[getter]
    fn n_done(&self) -> u64 {
        self.lock().n_done()
    }

    /// The number of moves in all steps of all walkers.
    #[getter]
    fn n_moves(&self) -> u64 {
        self.lock().n_moves()
    }

    /// The current nodes, in the order of discovery.
    fn positions<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, self.lock().positions().into_iter().map(|node| node as i64))
    }

    /// The number of nodes whose rows were requested.
    #[getter]
    fn n_asked(&self) -> usize {
        self.lock().n_asked()
    }

    /// The original numbers of the nodes, in the order of discovery.
    fn names<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_slice(py, self.lock().names())
    }

    /// The weights of all nodes in the target; NaN if not requested.
    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.lock().weights())
    }

    /// The known rows: `indptr` and `indices`; rows that were not requested are empty.
    fn known<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u32>>) {
        let (starts, ids) = self.lock().known();
        (starts.into_pyarray(py), ids.into_pyarray(py))
    }

    /// The nodes that each walker has visited, in rows, and the visits.
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

    /// Restores a state of `save`.
    fn load(&self, py: Python<'_>, words: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        let mut codec = Codec::reader(words.as_slice()?.to_vec());
        check(py, decoded(|| self.lock().persist(&mut codec)))
    }
}
