//! The Python class of a run with learnt densities, which `fermiac.nested` advances in time slices.

use super::slices::{Sliced, columns, estimate};
use crate::common::dict::{arrays, entry, items};
use crate::common::enter::Raised;
use crate::common::error::check;
use fermiac_nested::learnt::{Run, Settings, Status};
use fermiac_nested::problem::EvalBuffer;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's class to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LearntRun>()
}

/// A run with learnt densities.
#[pyclass(module = "fermiac._core", frozen)]
struct LearntRun(Sliced<Run>);

fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    Ok(Settings {
        n_round: entry(options, "n_live")?,
        n_effective: entry(options, "n_effective")?,
        max_evals: entry(options, "max_evals")?,
        max_init_blocks: entry(options, "max_init_blocks")?,
        key: entry(options, "key")?,
    })
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
        let begin = |problem: &_| check(py, Run::new(problem, settings(options)?));
        Ok(Self(Sliced::new(py, (prior, likelihood), options, begin)?))
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
        let ports = (prior, likelihood);
        self.0.advance(py, ports, budget, n_threads, progress.as_ref(), Run::run)
    }

    /// Continues a run that has ended, with another limit; the others are those of other runs.
    fn prolong(&self, _dlogz: f64, max_evals: u64, _max_iter: u64) {
        self.0.lock().prolong(max_evals);
    }

    /// The state of the run.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let run = self.0.lock();
        let raw = PyDict::new(py);
        raw.set_item(
            "status",
            match run.status() {
                Status::Running => "running",
                Status::Converged => "converged",
                Status::Evals => "max_evals",
            },
        )?;
        items! { raw <- run():
        n_evals n_points n_known n_batches power n_wanted n_open is_open_above n_given_up
        n_lacking }
        self.0.counts_to(&raw)?;
        Ok(raw)
    }

    /// The figures of every round.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trace = self.0.lock().trace().clone();
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
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        let points = self.0.lock().weighted();
        let raw = columns(py, &problem, &points.u, points.x, points.ell, points.extras)?;
        raw.set_item("log_prior_masses", points.log_prior_masses.into_pyarray(py))?;
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
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        let Some(all) = self.0.lock().importance() else { return Ok(None) };
        let mut answers = EvalBuffer::default();
        check(py, problem.transform(&all.u, &mut answers))?;
        estimate(py, &problem, all, answers.x).map(Some)
    }

    /// The points of the run, as words.
    fn save<'py>(
        &self,
        py: Python<'py>,
        _prior: &Bound<'_, PyAny>,
        _likelihood: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        self.0.save(py, Run::persist)
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
        self.0.load(py, &words, Run::persist)
    }
}
