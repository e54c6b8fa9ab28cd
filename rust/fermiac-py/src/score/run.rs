//! Runs of integrators, whole or step by step.

use super::models::model;
use super::programs::PyProgram;
use crate::common::door::decoded;
use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::store::Codec;
use fermiac_score::brownian::Brownian;
use fermiac_score::run::{Norm, OnNan, Plan, Reached, Run, State, Stride, Threshold, integrate};
use numpy::{
    PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The settings of a run, as Python gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Settings {
    key: u64,
    first: u64,
    /// ("static", bound, 1) or ("dynamic", bound, probability).
    threshold: Option<(String, f64, f64)>,
    on_nan: String,
    /// The length of Langevin steps, as `stride_of` takes it.
    langevin: (f64, String),
    /// The lowest and the highest level of Brownian paths, and their tolerance in log s.
    brownian: Option<(f64, f64, f64)>,
}

fn plan<'a>(
    py: Python<'_>,
    program: &'a PyProgram,
    settings: &Settings,
    dim: usize,
) -> PyResult<Plan<'a>> {
    let threshold = settings.threshold.as_ref().map(|(kind, bound, probability)| {
        if kind == "static" {
            Threshold::Static(*bound)
        } else {
            Threshold::Dynamic { probability: *probability, bound: *bound }
        }
    });
    let on_nan = match settings.on_nan.as_str() {
        "raise" => OnNan::Raise,
        "freeze" => OnNan::Freeze,
        "ignore" => OnNan::Ignore,
        other => return Err(PyValueError::new_err(format!("unknown policy '{other}'"))),
    };
    let brownian = settings
        .brownian
        .map(|(low, high, tolerance)| {
            check(py, Brownian::new(settings.key, low, high, dim, tolerance))
        })
        .transpose()?;
    Ok(Plan {
        threshold,
        on_nan,
        stride: stride_of(&settings.langevin)?,
        brownian,
        ..Plan::new(&program.inner, &program.coefficients, settings.key)
    })
}

/// The length of Langevin steps, from (ratio, norm).
pub(super) fn stride_of((snr, norm): &(f64, String)) -> PyResult<Stride> {
    let norm = match norm.as_str() {
        "level" => Norm::Level,
        "row" => Norm::Row,
        "batch" => Norm::Batch,
        other => return Err(PyValueError::new_err(format!("unknown norm '{other}'"))),
    };
    Ok(Stride { snr: *snr, norm })
}

/// Points (rows, dim), levels (rows,), and the path (rows, levels, dim) if requested.
type Outcome<'py> =
    (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Option<Bound<'py, PyArray3<f64>>>);

fn outcome(py: Python<'_>, reached: Reached, dim: usize, nodes: usize) -> PyResult<Outcome<'_>> {
    let n = reached.sigma.len();
    let path = if reached.path.is_empty() {
        None
    } else {
        Some(PyArray1::from_vec(py, reached.path).reshape([n, nodes, dim])?)
    };
    let y = PyArray1::from_vec(py, reached.y).reshape([n, dim])?;
    Ok((y, PyArray1::from_vec(py, reached.sigma), path))
}

/// Executes a program for the rows of `y`. Returns the points reached, and the exception that
/// stopped it or None.
#[door]
#[pyfunction]
#[pyo3(signature = (spec, program, y, settings, keep_path, n_threads, progress=None))]
#[allow(clippy::too_many_arguments)] // arguments of a Python call
fn score_integrate<'py>(
    py: Python<'py>,
    spec: &Bound<'py, PyAny>,
    program: &PyProgram,
    y: PyReadonlyArray2<'py, f64>,
    settings: Settings,
    keep_path: bool,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Outcome<'py>>, Option<PyErr>)> {
    let raised = Raised::default();
    let model = model(spec, &raised)?;
    let (y, dim) = (y.as_slice()?, model.dim());
    let plan = plan(py, program, &settings, dim)?;
    let run = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        integrate(&plan, model.as_ref(), y, settings.first, keep_path, context)
    });
    let (reached, error) = match run {
        Ok(reached) => (Some(reached), None),
        Err(stopped) => (stopped.partial.map(|partial| *partial), Some(stopped.error)),
    };
    let nodes = program.inner.n_steps + 1;
    let reached = reached.map(|reached| outcome(py, reached, dim, nodes)).transpose()?;
    Ok((reached, error))
}

/// A run step by step, behind a lock.
#[pyclass(name = "ScoreRun", module = "fermiac._core", frozen)]
struct PyRun {
    program: Py<PyProgram>,
    settings: Settings,
    states: Mutex<Vec<State>>,
    dim: usize,
}

impl PyRun {
    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[door]
#[pymethods]
impl PyRun {
    /// The rows of `y` before the first step.
    #[new]
    fn new(
        py: Python<'_>,
        spec: &Bound<'_, PyAny>,
        program: Py<PyProgram>,
        y: PyReadonlyArray2<'_, f64>,
        settings: Settings,
    ) -> PyResult<Self> {
        let model = model(spec, &Raised::default())?;
        let plan = plan(py, program.get(), &settings, model.dim())?;
        let run = Run::new(plan, model.as_ref(), y.as_slice()?, settings.first);
        let states = Mutex::new(run.into_states());
        Ok(Self { program, settings, states, dim: y.shape()[1] })
    }

    /// Makes the next step of all rows.
    #[pyo3(signature = (spec, n_threads))]
    fn step(&self, py: Python<'_>, spec: &Bound<'_, PyAny>, n_threads: usize) -> PyResult<()> {
        let raised = Raised::default();
        let model = model(spec, &raised)?;
        let plan = plan(py, self.program.get(), &self.settings, self.dim)?;
        enter(py, n_threads, None, &raised, |context| {
            let mut states = self.lock();
            let mut run = Run::from_states(plan, std::mem::take(&mut *states));
            let outcome = run.step(model.as_ref(), context);
            *states = run.into_states();
            outcome.map_err(|error| (error, None))
        })
        .map_err(|stopped| stopped.error)
    }

    /// Points and levels, and the number of steps made by all rows.
    fn reached<'py>(&self, py: Python<'py>) -> PyResult<(Outcome<'py>, usize)> {
        let plan = plan(py, self.program.get(), &self.settings, self.dim)?;
        let mut states = self.lock();
        let run = Run::from_states(plan, std::mem::take(&mut *states));
        let (reached, n_steps) = (run.reached(), run.n_steps());
        *states = run.into_states();
        Ok((outcome(py, reached, self.dim, 0)?, n_steps))
    }

    /// The state, as words.
    fn save(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        let mut codec = Codec::writer();
        let written = self.lock().iter_mut().try_for_each(|state| state.persist(&mut codec));
        check(py, written)?;
        Ok(codec.into_words())
    }

    /// Restores a state of `save`.
    fn restore(&self, py: Python<'_>, words: Vec<u64>) -> PyResult<()> {
        let mut codec = Codec::reader(words);
        let mut states = self.lock();
        let read = || {
            states
                .iter_mut()
                .try_for_each(|state| state.persist(&mut codec))
                .and_then(|()| codec.finish())
        };
        check(py, decoded(read))?;
        let program = &self.program.get().inner;
        if states.iter().all(|state| state.stands_in(program)) {
            return Ok(());
        }
        check(py, Err(Error::argument("state", "it stands between no two steps of this run")))
    }
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_integrate, m)?)?;
    m.add_class::<PyRun>()
}
