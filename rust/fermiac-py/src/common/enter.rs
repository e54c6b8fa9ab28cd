//! Entry of long calls into the core.
//!
//! [`enter`] releases the interpreter, passes a context that checks signals and reports progress
//! every 50 ms, and turns panics and errors into typed exceptions.

use crate::common::call::call_python;
use crate::common::door::error_of;
use crate::common::error::to_py;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two calls of a progress callback.
const REPORT: Duration = Duration::from_millis(100);

/// The exception of a Python callback, kept until the call returns to Python.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps the first exception, and returns the error that passes through the core.
    pub(crate) fn keep(&self, error: PyErr, context: &str) -> Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        Error::Callback { context: context.to_owned() }
    }

    fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The exception and the partial result of a call that stopped early.
pub(crate) struct Stopped<T> {
    /// The exception to raise.
    pub(crate) error: PyErr,
    /// The result of the work done so far.
    pub(crate) partial: Option<Box<T>>,
}

/// Runs `call` with the interpreter released; `progress` is called with (done, total).
pub(crate) fn enter<T: Send>(
    py: Python<'_>,
    n_threads: usize,
    progress: Option<&Py<PyAny>>,
    raised: &Raised,
    call: impl FnOnce(&Context<'_>) -> std::result::Result<T, (Error, Option<Box<T>>)> + Send,
) -> std::result::Result<T, Stopped<T>> {
    let (mut call, mut outcome) = (Some(call), None);
    let error = run(py, n_threads, progress, raised, &mut |context| {
        if let Some(call) = call.take() {
            outcome = Some(call(context));
        }
        match &outcome {
            Some(Err((error, _))) => Err(error.clone()),
            Some(Ok(_)) | None => Ok(()),
        }
    });
    match (error, outcome) {
        (None, Some(Ok(value))) => Ok(value),
        (None, _) => Err(Stopped { error: lost(py), partial: None }),
        (Some(error), Some(Err((_, partial)))) => Err(Stopped { error, partial }),
        (Some(error), _) => Err(Stopped { error, partial: None }),
    }
}

/// Runs a call that has no partial results, as [`enter`] does.
pub(crate) fn enter_whole<T: Send>(
    py: Python<'_>,
    n_threads: usize,
    progress: Option<&Py<PyAny>>,
    raised: &Raised,
    call: impl FnOnce(&Context<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let call = |context: &Context<'_>| call(context).map_err(|error| (error, None));
    enter(py, n_threads, progress, raised, call).map_err(|stopped| stopped.error)
}

/// Runs a call as [`enter_whole`] does, without progress and callbacks.
pub(crate) fn compute<T: Send>(
    py: Python<'_>,
    n_threads: usize,
    call: impl FnOnce(&Context<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    enter_whole(py, n_threads, None, &Raised::default(), call)
}

/// Returns the time of a call from seconds, which the Python layer has checked; more than a clock
/// can count is no limit.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cold]
fn lost(py: Python<'_>) -> PyErr {
    to_py(py, &Error::Internal("a call gave no result".into()))
}

/// Runs a call and returns the exception that stopped it. It is not generic, as it would be compiled
/// for every call.
fn run(
    py: Python<'_>,
    n_threads: usize,
    progress: Option<&Py<PyAny>>,
    raised: &Raised,
    call: &mut (dyn FnMut(&Context<'_>) -> Result<()> + Send),
) -> Option<PyErr> {
    let outcome = py.detach(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut last = Instant::now();
            let poll = |done, total| poll(raised, progress, &mut last, done, total);
            call(&Context::new(n_threads, poll)?)
        }))
    });
    match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(raised.take().unwrap_or_else(|| to_py(py, &error))),
        Err(panic) => Some(to_py(py, &error_of(&*panic))),
    }
}

fn poll(
    raised: &Raised,
    progress: Option<&Py<PyAny>>,
    last: &mut Instant,
    done: u64,
    total: u64,
) -> Result<()> {
    Python::attach(|py| {
        py.check_signals().map_err(|error| raised.keep(error, "at a signal"))?;
        if let Some(report) = progress
            && last.elapsed() >= REPORT
        {
            *last = Instant::now();
            call_python(report.bind(py), (done, total))
                .map_err(|error| raised.keep(error, "in the progress callback"))?;
        }
        Ok(())
    })
}
