//! Bindings of random streams, for `fermiac.random`.

use crate::common::error::check;
use fermiac_base::rng::{Alias, Domain, POSITION_WORDS, Stream};
use numpy::{Element, PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of values drawn between two checks of signals, a few milliseconds of work.
const PART: usize = 1 << 18;

/// A stream behind a lock, which threads may share. The Python layer checks the arguments.
#[pyclass(name = "Stream", module = "fermiac._core", frozen)]
pub(crate) struct PyStream(Mutex<Stream>);

impl PyStream {
    /// Returns the stream behind a lock.
    pub(crate) fn of(stream: Stream) -> Self {
        Self(Mutex::new(stream))
    }

    /// Locks the stream. No thread waits for the interpreter while it holds the lock, so there is
    /// no deadlock; the lock is held for one part at most.
    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one<T: Send>(&self, py: Python<'_>, draw: impl Fn(&mut Stream) -> T + Sync) -> T {
        // Releasing the interpreter costs more than a draw, so it is done only if the lock is held.
        if let Ok(mut stream) = self.0.try_lock() {
            return draw(&mut stream);
        }
        py.detach(|| draw(&mut self.lock()))
    }

    fn fill<T: Element>(
        &self,
        py: Python<'_>,
        mut out: PyReadwriteArray1<'_, T>,
        draw: impl Fn(&mut Stream, &mut [T]) + Sync,
    ) -> PyResult<()> {
        for part in out.as_slice_mut()?.chunks_mut(PART) {
            py.detach(|| draw(&mut self.lock(), part));
            py.check_signals()?;
        }
        Ok(())
    }

    fn fill_each<T: Element>(
        &self,
        py: Python<'_>,
        out: PyReadwriteArray1<'_, T>,
        draw: impl Fn(&mut Stream) -> T + Sync,
    ) -> PyResult<()> {
        self.fill(py, out, |stream, part| part.fill_with(|| draw(stream)))
    }
}

/// Returns the stream at a position.
pub(crate) fn stream_at(py: Python<'_>, position: &PyReadonlyArray1<'_, u64>) -> PyResult<Stream> {
    let words: &[u64; POSITION_WORDS] = position.as_slice()?.try_into().map_err(|_| {
        PyValueError::new_err(format!("position: {POSITION_WORDS} words are needed"))
    })?;
    check(py, Stream::from_position(words))
}

#[door]
#[pymethods]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
impl PyStream {
    #[new]
    fn new(key: u64, index: u64, block: u32) -> Self {
        Self(Mutex::new(Stream::new(key, Domain::User, index, block)))
    }

    /// Returns the stream of a starting point.
    #[staticmethod]
    fn start(key: u64, index: u64) -> Self {
        Self(Mutex::new(Stream::new(key, Domain::Start, index, 0)))
    }

    #[staticmethod]
    fn from_position(py: Python<'_>, position: PyReadonlyArray1<'_, u64>) -> PyResult<Self> {
        Ok(Self(Mutex::new(stream_at(py, &position)?)))
    }

    fn position<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.one(py, |stream| stream.position()))
    }

    fn uniform(&self, py: Python<'_>) -> f64 {
        self.one(py, Stream::uniform)
    }

    fn fill_uniform(&self, py: Python<'_>, out: PyReadwriteArray1<'_, f64>) -> PyResult<()> {
        self.fill(py, out, Stream::fill_uniform)
    }

    fn normal(&self, py: Python<'_>) -> f64 {
        self.one(py, Stream::normal)
    }

    fn fill_normal(&self, py: Python<'_>, out: PyReadwriteArray1<'_, f64>) -> PyResult<()> {
        self.fill(py, out, Stream::fill_normal)
    }

    fn exponential(&self, py: Python<'_>) -> f64 {
        self.one(py, Stream::exponential)
    }

    fn fill_exponential(&self, py: Python<'_>, out: PyReadwriteArray1<'_, f64>) -> PyResult<()> {
        self.fill(py, out, Stream::fill_exponential)
    }

    fn gamma(&self, py: Python<'_>, shape: f64) -> f64 {
        self.one(py, |stream| stream.gamma(shape))
    }

    fn fill_gamma(
        &self,
        py: Python<'_>,
        out: PyReadwriteArray1<'_, f64>,
        shape: f64,
    ) -> PyResult<()> {
        self.fill_each(py, out, |stream| stream.gamma(shape))
    }

    fn beta(&self, py: Python<'_>, a: f64, b: f64) -> f64 {
        self.one(py, |stream| stream.beta(a, b))
    }

    fn fill_beta(
        &self,
        py: Python<'_>,
        out: PyReadwriteArray1<'_, f64>,
        a: f64,
        b: f64,
    ) -> PyResult<()> {
        self.fill_each(py, out, |stream| stream.beta(a, b))
    }

    fn student_t(&self, py: Python<'_>, df: f64) -> f64 {
        self.one(py, |stream| stream.student_t(df))
    }

    fn fill_student_t(
        &self,
        py: Python<'_>,
        out: PyReadwriteArray1<'_, f64>,
        df: f64,
    ) -> PyResult<()> {
        self.fill_each(py, out, |stream| stream.student_t(df))
    }

    fn below(&self, py: Python<'_>, n: u64) -> u64 {
        self.one(py, |stream| stream.below(n))
    }

    /// `n` is at most 2⁶³, so that every value fits.
    fn fill_below(&self, py: Python<'_>, out: PyReadwriteArray1<'_, i64>, n: u64) -> PyResult<()> {
        self.fill_each(py, out, |stream| stream.below(n) as i64)
    }

    fn fill_categorical(
        &self,
        py: Python<'_>,
        out: PyReadwriteArray1<'_, i64>,
        weights: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        let table = check(py, Alias::new(weights.as_slice()?))?;
        self.fill_each(py, out, |stream| table.sample(stream) as i64)
    }
}

/// Adds the class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyStream>()
}
