//! Conditional laws drawn by Python callables, and their random numbers: one stream per row.

use super::laws::PyBlockLaw;
use crate::common::call::call_python;
use crate::common::enter::Raised;
use crate::common::error::check;
use crate::common::random::stream_at;
use crate::targets::target::points;
use fermiac_base::alloc::room;
use fermiac_base::linalg::Rows;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::{Conditional, Dispatch};
use numpy::{
    Element, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The streams of the chains of a draw, in the order of the rows. They are here during the draw.
#[pyclass(name = "RowStreams", module = "fermiac._core", frozen)]
pub(super) struct PyRowStreams(Mutex<Vec<Stream>>);

impl PyRowStreams {
    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the rows in order, each from its own stream. Each number has `N` parameters.
    fn fill<T: Element, const N: usize>(
        &self,
        out: &mut PyReadwriteArray2<'_, T>,
        parameters: [&PyReadonlyArray2<'_, f64>; N],
        draw: impl Fn(&mut Stream, [f64; N]) -> T,
    ) -> PyResult<()> {
        let shape = [out.shape()[0], out.shape()[1]];
        let mut streams = self.lock();
        if streams.len() != shape[0] {
            return Err(ended());
        }
        if parameters.iter().any(|array| array.shape() != shape) {
            return Err(PyValueError::new_err("parameters: a number for every draw is needed"));
        }
        let numbers: Vec<&[f64]> = parameters
            .iter()
            .map(|array| array.as_slice())
            .collect::<std::result::Result<_, _>>()?;
        let width = shape[1].max(1);
        let mut at = 0;
        for (row, stream) in out.as_slice_mut()?.chunks_exact_mut(width).zip(streams.iter_mut()) {
            for to in row {
                *to = draw(stream, std::array::from_fn(|k| numbers[k][at]));
                at += 1;
            }
        }
        Ok(())
    }
}

type In<'py> = PyReadonlyArray2<'py, f64>;
type Out<'py> = PyReadwriteArray2<'py, f64>;

#[door]
#[pymethods]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
impl PyRowStreams {
    /// Makes streams of the domain of users, for trying a draw out.
    #[new]
    fn new(py: Python<'_>, key: u64, n: u64) -> PyResult<Self> {
        let stream = |i| Stream::new(key, Domain::User, i, 0);
        let mut streams = check(py, room("n", n as usize))?;
        streams.extend((0..n).map(stream));
        Ok(Self(Mutex::new(streams)))
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// The position of the stream of a row.
    fn position<'py>(&self, py: Python<'py>, row: usize) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let position = self.lock().get(row).map(Stream::position).ok_or_else(ended)?;
        Ok(PyArray1::from_slice(py, &position))
    }

    fn set_position(
        &self,
        py: Python<'_>,
        row: usize,
        position: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let moved = stream_at(py, &position)?;
        *self.lock().get_mut(row).ok_or_else(ended)? = moved;
        Ok(())
    }

    fn fill_uniform(&self, mut out: Out<'_>) -> PyResult<()> {
        self.fill(&mut out, [], |stream, []| stream.uniform())
    }

    fn fill_normal(&self, mut out: Out<'_>) -> PyResult<()> {
        self.fill(&mut out, [], |stream, []| stream.normal())
    }

    fn fill_exponential(&self, mut out: Out<'_>) -> PyResult<()> {
        self.fill(&mut out, [], |stream, []| stream.exponential())
    }

    fn fill_gamma(&self, mut out: Out<'_>, shape: In<'_>) -> PyResult<()> {
        self.fill(&mut out, [&shape], |stream, [shape]| stream.gamma(shape))
    }

    fn fill_log_gamma(&self, mut out: Out<'_>, shape: In<'_>) -> PyResult<()> {
        self.fill(&mut out, [&shape], |stream, [shape]| stream.log_gamma_variate(shape))
    }

    fn fill_beta(&self, mut out: Out<'_>, a: In<'_>, b: In<'_>) -> PyResult<()> {
        self.fill(&mut out, [&a, &b], |stream, [a, b]| stream.beta(a, b))
    }

    fn fill_student_t(&self, mut out: Out<'_>, df: In<'_>) -> PyResult<()> {
        self.fill(&mut out, [&df], |stream, [df]| stream.student_t(df))
    }

    /// Fills in whole numbers below `n`, which are whole numbers up to 2⁵³.
    fn fill_below(&self, mut out: PyReadwriteArray2<'_, i64>, n: In<'_>) -> PyResult<()> {
        self.fill(&mut out, [&n], |stream, [n]| stream.below(n as u64) as i64)
    }
}

fn ended() -> PyErr {
    PyRuntimeError::new_err("the random numbers of a draw were asked for after it had ended")
}

/// Makes a conditional law of a `BlockLaw` or of (call, dim, outputs), where `call(x, streams, chains)` returns a checked
/// C-contiguous (n, outputs) array.
pub(super) fn conditional(
    object: &Bound<'_, PyAny>,
    raised: &Raised,
) -> PyResult<Arc<dyn Conditional>> {
    if let Ok(law) = object.cast::<PyBlockLaw>() {
        return Ok(Arc::clone(&law.get().inner));
    }
    let (call, dim, outputs) = object
        .extract::<(Py<PyAny>, usize, usize)>()
        .map_err(|_| PyTypeError::new_err("a conditional draw is (call, dim, outputs)"))?;
    Ok(Arc::new(CallableDraw { call, dim, outputs, raised: raised.clone() }))
}

struct CallableDraw {
    call: Py<PyAny>,
    dim: usize,
    outputs: usize,
    raised: Raised,
}

impl CallableDraw {
    fn call(
        &self,
        py: Python<'_>,
        x: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> PyResult<()> {
        let lent = streams.iter().map(|stream| (**stream).clone()).collect();
        let lent = Bound::new(py, PyRowStreams(Mutex::new(lent)))?;
        let chains = PyArray1::from_slice(py, chains);
        let result = call_python(self.call.bind(py), (points(py, x)?, &lent, chains));
        // Even after an exception the chains continue after the numbers that were drawn.
        let back = std::mem::take(&mut *lent.get().lock());
        for (stream, moved) in streams.iter_mut().zip(back) {
            **stream = moved;
        }
        let drawn: PyReadonlyArray2<'_, f64> = result?.extract()?;
        out.copy_from_slice(drawn.as_slice()?);
        Ok(())
    }
}

impl Conditional for CallableDraw {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn draw(
        &self,
        x: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()> {
        if out.len() != x.len() * self.outputs {
            return Err(Error::Internal("a draw of another size".into()));
        }
        Python::attach(|py| self.call(py, x, chains, streams, out))
            .map_err(|error| self.raised.keep(error, "in the conditional draw"))
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}
