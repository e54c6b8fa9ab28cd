//! The Python class of a run with learnt densities, which `fermiac.nested` advances in time slices.

use super::run::{Counts, edges, on_nan, problem, signed};
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter_whole};
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::store::Codec;
use fermiac_nested::learnt::{Run, Settings, Status};
use fermiac_nested::problem::{Edge, EvalBuffer, OnNan, Problem};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Adds this file's class to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LearntRun>()
}

/// A run, behind a lock.
#[pyclass(module = "fermiac._core", frozen)]
struct LearntRun {
    inner: Mutex<Run>,
    edges: Vec<Edge>,
    on_nan: OnNan,
    counts: Mutex<Counts>,
}

fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    Ok(Settings {
        n_round: entry(options, "n_live")?,
        n_effective: entry(options, "n_effective")?,
        max_evals: entry(options, "max_evals")?,
        max_init_blocks: entry(options, "max_init_blocks")?,
        key: entry(options, "key")?,
    })
}

impl LearntRun {
    fn lock(&self) -> MutexGuard<'_, Run> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        raised: &Raised,
    ) -> PyResult<Problem> {
        problem(py, prior, likelihood, &self.edges, self.on_nan, raised)
    }
}

#[door]
#[pymethods]
impl LearntRun {
    /// A run before its first point.
    #[new]
    fn new(
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let edges = edges(&entry::<String>(options, "edges")?)?;
        let on_nan = on_nan(&entry::<String>(options, "on_nan")?)?;
        let problem = problem(py, prior, likelihood, &edges, on_nan, &Raised::default())?;
        let run = check(py, Run::new(&problem, settings(options)?))?;
        Ok(Self { inner: Mutex::new(run), edges, on_nan, counts: Mutex::new(Counts::default()) })
    }

    /// Runs for at most `budget` seconds; returns the exception that stopped it, or None.
    #[pyo3(signature = (prior, likelihood, budget, n_threads, progress=None))]
    fn run(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        budget: Option<f64>,
        n_threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Option<PyErr>> {
        let raised = Raised::default();
        let problem = self.problem(py, prior, likelihood, &raised)?;
        let deadline = budget.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
        let outcome = enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
            self.lock().run(&problem, deadline, context)
        });
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.add(&problem);
        Ok(outcome.err())
    }

    /// Continues a run that has ended, with another limit; the others are those of other runs.
    fn prolong(&self, _dlogz: f64, max_evals: u64, _max_iter: u64) {
        self.lock().prolong(max_evals);
    }

    /// The state of the run.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let run = self.lock();
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = PyDict::new(py);
        raw.set_item(
            "status",
            match run.status() {
                Status::Running => "running",
                Status::Converged => "converged",
                Status::Evals => "max_evals",
            },
        )?;
        items! { raw <- run(): n_evals n_points n_known n_batches power n_wanted n_open is_open_above n_given_up }
        items! { raw <- counts: n_nan n_coded seconds }
        Ok(raw)
    }

    /// The figures of every round.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trace = self.lock().trace().clone();
        let raw = PyDict::new(py);
        arrays! { raw <- trace: power n_points efficiency defence level }
        Ok(raw)
    }

    /// The points with their prior masses.
    fn points<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'py, PyAny>,
        likelihood: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let points = self.lock().weighted();
        let (n, d, b) = (points.ell.len(), problem.dim(), problem.n_extras());
        let raw = PyDict::new(py);
        raw.set_item("unit_draws", problem.unfold(&points.u).into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("draws", points.x.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("log_likelihoods", points.ell.into_pyarray(py))?;
        raw.set_item("log_prior_masses", points.log_prior_masses.into_pyarray(py))?;
        if b > 0 {
            raw.set_item("blobs", points.extras.into_pyarray(py).reshape([n, b])?)?;
        }
        Ok(raw)
    }

    /// The estimate from the last sample, and its points; None before it.
    fn importance<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'py, PyAny>,
        likelihood: &Bound<'py, PyAny>,
        _n_threads: usize,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let Some(all) = self.lock().importance() else { return Ok(None) };
        let mut answers = EvalBuffer::default();
        check(py, problem.transform(&all.u, &mut answers))?;
        let (n, d) = (all.ell.len(), problem.dim());
        let raw = PyDict::new(py);
        raw.set_item("draws", answers.x.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("log_likelihoods", all.ell.into_pyarray(py))?;
        raw.set_item("counts", signed(all.counts).into_pyarray(py))?;
        raw.set_item("test_counts", signed(all.test_counts).into_pyarray(py))?;
        arrays! { raw <- all: log_weights log_volumes }
        items! { raw <- all: log_evidence log_evidence_stderr cut_share n_cut log_evidence_tests
        log_evidence_tests_stderr }
        Ok(Some(raw))
    }

    /// The points of the run, as words.
    fn save<'py>(
        &self,
        py: Python<'py>,
        _prior: &Bound<'_, PyAny>,
        _likelihood: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = self.lock().persist(&mut codec);
        check(py, saved)?;
        let mut words = codec.into_words();
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(counts.words());
        Ok(PyArray1::from_vec(py, words))
    }

    /// Lets the run make the same steps as the one that was saved, with its answers.
    #[allow(clippy::needless_pass_by_value)]
    fn load(
        &self,
        py: Python<'_>,
        _prior: &Bound<'_, PyAny>,
        _likelihood: &Bound<'_, PyAny>,
        words: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let words = words.as_slice()?;
        let Some((rest, last)) = words.split_last_chunk::<3>() else {
            return check(py, Err(Error::argument("state", "it is cut short")));
        };
        let mut codec = Codec::reader(rest.to_vec());
        let read = || self.lock().persist(&mut codec).and_then(|()| codec.finish());
        check(py, decoded(read))?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Counts::of_words(*last);
        Ok(())
    }
}
