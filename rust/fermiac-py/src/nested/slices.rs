//! The parts that the Python classes of nested runs share: slices of time, the counts over them, and the
//! frame of a checkpoint.

use super::problem::{Ports, Rules};
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter_whole};
use crate::common::error::check;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_nested::importance::Importance;
use fermiac_nested::problem::Problem;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A run behind a lock, which Python advances in slices of time.
pub(super) struct Sliced<R> {
    run: Mutex<R>,
    rules: Rules,
    counts: Mutex<Counts>,
}

/// Counts over the slices of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    n_nan: u64,
    n_coded: u64,
    seconds: f64,
}

impl<R: Send> Sliced<R> {
    /// A run that `begin` makes for a problem and its options.
    pub(super) fn new(
        py: Python<'_>,
        ports: Ports<'_, '_>,
        options: &Bound<'_, PyAny>,
        begin: impl FnOnce(&Problem) -> PyResult<R>,
    ) -> PyResult<Self> {
        let (edges, on_nan) =
            (entry::<String>(options, "edges")?, entry::<String>(options, "on_nan")?);
        let rules = Rules::read(&edges, &on_nan)?;
        let run = begin(&rules.problem(py, ports, &Raised::default())?)?;
        Ok(Self { run: Mutex::new(run), rules, counts: Mutex::new(Counts::default()) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, R> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds counts of NaN, of coded values, and seconds.
    pub(super) fn count(&self, (n_nan, n_coded, seconds): (u64, u64, f64)) {
        let mut counts = self.lock_counts();
        counts.n_nan += n_nan;
        counts.n_coded += n_coded;
        counts.seconds += seconds;
    }

    /// Writes the counts into the state of the run.
    pub(super) fn counts_to(&self, raw: &Bound<'_, PyDict>) -> PyResult<()> {
        let counts = *self.lock_counts();
        items! { raw <- counts: n_nan n_coded seconds }
        Ok(())
    }

    /// The problem of a call.
    pub(super) fn problem(
        &self,
        py: Python<'_>,
        ports: Ports<'_, '_>,
        raised: &Raised,
    ) -> PyResult<Problem> {
        self.rules.problem(py, ports, raised)
    }

    /// Advances the run by `call` for at most `budget` seconds; returns the exception that stopped it,
    /// or None.
    pub(super) fn advance<S: Send>(
        &self,
        py: Python<'_>,
        ports: Ports<'_, '_>,
        budget: Option<f64>,
        n_threads: usize,
        progress: Option<&Py<PyAny>>,
        call: impl FnOnce(&mut R, &Problem, Option<Instant>, &Context<'_>) -> Result<S> + Send,
    ) -> PyResult<Option<PyErr>> {
        let raised = Raised::default();
        let problem = self.problem(py, ports, &raised)?;
        let deadline = budget.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
        let outcome = enter_whole(py, n_threads, progress, &raised, |context| {
            call(&mut self.lock(), &problem, deadline, context)
        });
        self.count((problem.n_nan(), problem.n_coded(), problem.seconds()));
        Ok(outcome.err())
    }

    /// What `persist` writes of the run, and the counts, as words.
    pub(super) fn save<'py>(
        &self,
        py: Python<'py>,
        persist: impl FnOnce(&mut R, &mut Codec) -> Result<()>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = persist(&mut self.lock(), &mut codec);
        check(py, saved)?;
        let mut words = codec.into_words();
        let counts = *self.lock_counts();
        words.extend([counts.n_nan, counts.n_coded, counts.seconds.to_bits()]);
        Ok(PyArray1::from_vec(py, words))
    }

    /// Lets `persist` read the words of `save`.
    pub(super) fn load(
        &self,
        py: Python<'_>,
        words: &PyReadonlyArray1<'_, u64>,
        persist: impl FnOnce(&mut R, &mut Codec) -> Result<()>,
    ) -> PyResult<()> {
        let Some((rest, &[n_nan, n_coded, seconds])) = words.as_slice()?.split_last_chunk::<3>()
        else {
            return check(py, Err(Error::argument("state", "it is cut short")));
        };
        let mut codec = Codec::reader(rest.to_vec());
        let read = || persist(&mut self.lock(), &mut codec).and_then(|()| codec.finish());
        check(py, decoded(read))?;
        *self.lock_counts() = Counts { n_nan, n_coded, seconds: f64::from_bits(seconds) };
        Ok(())
    }
}

/// Coordinates, log-likelihoods and blobs of points, as columns.
pub(super) fn columns<'py>(
    py: Python<'py>,
    problem: &Problem,
    u: &[f64],
    x: Vec<f64>,
    ell: Vec<f64>,
    extras: Vec<f64>,
) -> PyResult<Bound<'py, PyDict>> {
    let (n, d, b) = (ell.len(), problem.dim(), problem.n_extras());
    let raw = PyDict::new(py);
    raw.set_item("unit_draws", problem.unfold(u).into_pyarray(py).reshape([n, d])?)?;
    raw.set_item("draws", x.into_pyarray(py).reshape([n, d])?)?;
    raw.set_item("log_likelihoods", ell.into_pyarray(py))?;
    if b > 0 {
        raw.set_item("blobs", extras.into_pyarray(py).reshape([n, b])?)?;
    }
    Ok(raw)
}

/// An importance estimate of the evidence with its points, whose parameters are `x`.
pub(super) fn estimate<'py>(
    py: Python<'py>,
    problem: &Problem,
    all: Importance,
    x: Vec<f64>,
) -> PyResult<Bound<'py, PyDict>> {
    let (n, d) = (all.ell.len(), problem.dim());
    let raw = PyDict::new(py);
    raw.set_item("draws", x.into_pyarray(py).reshape([n, d])?)?;
    raw.set_item("log_likelihoods", all.ell.into_pyarray(py))?;
    raw.set_item("counts", signed(all.counts).into_pyarray(py))?;
    raw.set_item("test_counts", signed(all.test_counts).into_pyarray(py))?;
    arrays! { raw <- all: log_weights log_volumes }
    items! { raw <- all: log_evidence log_evidence_stderr cut_share n_cut lost_share
    log_evidence_tests log_evidence_tests_stderr }
    Ok(raw)
}

pub(super) fn signed(numbers: Vec<u64>) -> Vec<i64> {
    numbers.into_iter().map(u64::cast_signed).collect()
}
