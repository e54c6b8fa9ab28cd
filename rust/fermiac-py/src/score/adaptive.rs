//! The adaptive integrators, likelihoods, and Brownian noise.

use super::models::model;
use crate::common::array::rows;
use crate::common::call::call_python;
use crate::common::enter::{Raised, enter};
use crate::common::error::to_py;
use crate::targets::target::points;
use fermiac_base::Result;
use fermiac_base::alloc::table_of;
use fermiac_base::linalg::Rows;
use fermiac_score::adaptive::{Levels, OnNan, Pair, RowTraces, Settings, Solution, Trace, solve};
use fermiac_score::brownian::Brownian;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The control of the steps.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    method: String,
    rtol: f64,
    atol: f64,
    max_steps: u32,
    freeze: bool,
}

impl Options {
    fn settings(&self) -> PyResult<Settings> {
        let pair = match self.method.as_str() {
            "dopri5" => Pair::Dopri5,
            "dop853" => Pair::Dop853,
            other => return Err(PyValueError::new_err(format!("there is no pair {other:?}"))),
        };
        Ok(Settings {
            pair,
            rtol: self.rtol,
            atol: self.atol,
            max_steps: self.max_steps,
            on_nan: if self.freeze { OnNan::Freeze } else { OnNan::Raise },
        })
    }
}

/// Estimates of the trace from Python: `call(rows, y, sigma)` gives a checked C-contiguous (n, d)
/// and (n, count).
struct Estimates {
    call: Py<PyAny>,
    count: usize,
    raised: Raised,
}

impl RowTraces for Estimates {
    fn count(&self) -> usize {
        self.count
    }

    fn denoise_with_traces(
        &self,
        numbers: &[usize],
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        traces: &mut [f64],
    ) -> Result<()> {
        type Both<'py> = (PyReadonlyArray2<'py, f64>, PyReadonlyArray2<'py, f64>);
        Python::attach(|py| {
            let numbers: Vec<i64> = numbers.iter().map(|&row| row as i64).collect();
            let sigma = PyArray1::from_slice(py, sigma);
            let given =
                call_python(self.call.bind(py), (numbers.into_pyarray(py), points(py, y)?, sigma))?;
            let (denoised, estimates) = given.extract::<Both<'_>>()?;
            out.copy_from_slice(denoised.as_slice()?);
            traces.copy_from_slice(estimates.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the trace of the score model"))
    }
}

/// Integrates `y` (n, d) through `levels`, (L,) or (n, L). `trace` is None, (None, 1) for that of
/// the model, or (callable, count). Returns (result or None, exception or None): an interrupted call may
/// have both.
#[door]
#[pyfunction]
#[pyo3(signature = (model, y, levels, options, trace, trajectory, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "the arguments of the Python function")]
fn score_adaptive<'py>(
    py: Python<'py>,
    model: &Bound<'py, PyAny>,
    y: PyReadonlyArray2<'py, f64>,
    levels: PyReadonlyArray2<'py, f64>,
    options: &Bound<'py, PyAny>,
    trace: Option<(Option<Py<PyAny>>, usize)>,
    trajectory: bool,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Bound<'py, PyDict>>, Option<PyErr>)> {
    let settings = options.extract::<Options>()?.settings()?;
    let raised = Raised::default();
    let model = self::model(model, &raised)?;
    let dim = model.dim();
    let start = rows(&y, dim)?.data().to_vec();
    let (count, nodes) = (levels.shape()[1], levels.as_slice()?);
    let levels = Levels::new(nodes, count).map_err(|error| to_py(py, &error))?;
    let estimates = match &trace {
        Some((Some(call), count)) => {
            Some(Estimates { call: call.clone_ref(py), count: *count, raised: raised.clone() })
        }
        _ => None,
    };
    let which = match (&trace, &estimates) {
        (None, _) => Trace::None,
        (_, Some(estimates)) => Trace::Rows(estimates),
        _ => Trace::Exact,
    };
    let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        solve(model.as_ref(), which, start, levels, &settings, trajectory, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (Some(done), None),
        Err(stopped) => (stopped.partial.map(|p| *p), Some(stopped.error)),
    };
    let raw = done.map(|done| to_dict(py, done, dim, count)).transpose()?;
    Ok((raw, error))
}

fn to_dict(py: Python<'_>, s: Solution, dim: usize, count: usize) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    let n = s.level.len();
    let width = s.log_change.len().checked_div(n).unwrap_or(0);
    raw.set_item("y", s.y.into_pyarray(py).reshape([n, dim])?)?;
    raw.set_item("sigma", s.level.into_pyarray(py))?;
    raw.set_item("log_change", s.log_change.into_pyarray(py).reshape([n, width])?)?;
    let kept = if s.trajectory.is_empty() { 0 } else { count };
    raw.set_item("trajectory", s.trajectory.into_pyarray(py).reshape([n, kept, dim])?)?;
    let per_row = |get: fn(&fermiac_score::adaptive::Counts) -> i64| {
        s.counts.iter().map(get).collect::<Vec<i64>>().into_pyarray(py)
    };
    raw.set_item("n_evals", per_row(|c| c.evals as i64))?;
    raw.set_item("n_accepted", per_row(|c| i64::from(c.accepted)))?;
    raw.set_item("n_rejected", per_row(|c| i64::from(c.rejected)))?;
    Ok(raw)
}

/// Standard normal increments, (n, d), of the Brownian paths of rows between the levels `s_hi` and
/// `s_lo`, one for all rows or one per row.
#[door]
#[pyfunction]
#[pyo3(signature = (key, first_row, n_rows, dim, s_hi, s_lo, low, high, tolerance=1e-5))]
#[expect(clippy::too_many_arguments, reason = "the arguments of the Python function")]
fn score_brownian<'py>(
    py: Python<'py>,
    key: u64,
    first_row: u64,
    n_rows: usize,
    dim: usize,
    s_hi: PyReadonlyArray1<'py, f64>,
    s_lo: PyReadonlyArray1<'py, f64>,
    low: f64,
    high: f64,
    tolerance: f64,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (s_hi, s_lo) = (s_hi.as_slice()?, s_lo.as_slice()?);
    if s_hi.len() != s_lo.len() || (s_hi.len() != 1 && s_hi.len() != n_rows) {
        return Err(PyValueError::new_err("one pair of levels, or one a row, is needed"));
    }
    let done = py.detach(|| -> Result<Vec<f64>> {
        let path = Brownian::new(key, low, high, dim, tolerance)?;
        let mut out = table_of("n", 0.0, n_rows, dim)?;
        let (mut increment, mut room) = (None, Vec::new());
        for (i, out) in out.chunks_exact_mut(dim).enumerate() {
            if i < s_hi.len() {
                increment = Some(path.between(s_hi[i], s_lo[i])?);
            }
            if let Some(increment) = &increment {
                path.fill_with(first_row + i as u64, increment, out, &mut room);
            }
        }
        Ok(out)
    });
    let out = done.map_err(|error| to_py(py, &error))?;
    PyArray1::from_vec(py, out).reshape([n_rows, dim])
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_adaptive, m)?)?;
    m.add_function(wrap_pyfunction!(score_brownian, m)?)
}
