//! Score models: handles of exact ones, adapters of Python callables.

use crate::common::array::rows;
use crate::common::call::call_python;
use crate::common::columns::Column;
use crate::common::enter::{Raised, enter};
use crate::targets::target::points;
use fermiac_base::alloc::table_room;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::{Error, Result};
use fermiac_score::Model;
use fermiac_target::Dispatch;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// A model that runs in Rust.
#[pyclass(name = "ScoreModel", module = "fermiac._core", frozen)]
pub(crate) struct PyModel {
    pub(crate) inner: Arc<dyn Model>,
}

/// Points of a call, (n, d).
pub(super) type Points<'py> = PyReadonlyArray2<'py, f64>;

/// Their levels, one or n.
pub(super) type Levels<'py> = PyReadonlyArray1<'py, f64>;

/// Numbers for every row, (n, width).
pub(super) type Table = Py<PyArray2<f64>>;

/// Fills a table on the threads, `chunk` rows at a time: `work` fills those of a range of rows.
pub(super) fn table(
    py: Python<'_>,
    (n, width): (usize, usize),
    chunk: usize,
    n_threads: usize,
    work: impl Fn(Range<usize>, &mut [f64]) -> Result<()> + Sync,
) -> PyResult<Table> {
    let values = enter(py, n_threads, None, &Raised::default(), |context| {
        let mut values = table_room("y", n, width).map_err(|error| (error, None))?;
        let part = |c: usize| {
            let rows = c * chunk..n.min((c + 1) * chunk);
            let mut out = vec![0.0; rows.len() * width];
            work(rows, &mut out)?;
            Ok(out)
        };
        let fold = |_, part: Vec<f64>| {
            values.extend_from_slice(&part);
            Ok(())
        };
        let done = context.ordered(n.div_ceil(chunk), part, fold);
        done.map(|()| values).map_err(|error| (error, None))
    })
    .map_err(|stopped| stopped.error)?;
    Ok(PyArray1::from_vec(py, values).reshape([n, width])?.unbind())
}

/// The levels of a range of rows, of one level for all rows or one per row.
pub(super) fn levels_of(sigma: &[f64], rows: Range<usize>) -> &[f64] {
    if sigma.len() == 1 { sigma } else { &sigma[rows] }
}

/// Evaluates chunk by chunk on the threads: `work` fills `width` numbers for each row.
pub(super) fn by_chunks(
    dim: usize,
    (y, sigma): (&Points<'_>, &Levels<'_>),
    width: usize,
    n_threads: usize,
    work: impl Fn(Rows<'_>, &[f64], &mut [f64]) -> Result<()> + Sync,
) -> PyResult<Table> {
    let (py, y) = (y.py(), rows(y, dim)?);
    let sigma = Column::new(sigma, y.len())?.0;
    let n = y.len();
    // Enough chunks for all threads, and none so small that its overhead exceeds its work.
    let chunk = n.div_ceil(4 * n_threads).next_multiple_of(64).clamp(64, CHUNK);
    table(py, (n, width), chunk, n_threads, |part, out| {
        let points = Rows::new(&y.data()[part.start * dim..part.end * dim], dim);
        work(points, levels_of(sigma, part), out)
    })
}

#[door]
#[pymethods]
impl PyModel {
    /// The denoised rows.
    fn denoise(&self, y: Points<'_>, sigma: Levels<'_>, n_threads: usize) -> PyResult<Table> {
        let (model, dim) = (&self.inner, self.inner.dim());
        by_chunks(dim, (&y, &sigma), dim, n_threads, |y, s, out| model.denoise(y, s, out))
    }

    /// The scores of the noisy law.
    fn score(&self, y: Points<'_>, sigma: Levels<'_>, n_threads: usize) -> PyResult<Table> {
        let (model, dim) = (&self.inner, self.inner.dim());
        by_chunks(dim, (&y, &sigma), dim, n_threads, |y, s, out| model.score(y, s, out))
    }

    /// The log-densities of the noisy law, (n, 1).
    fn log_density(&self, y: Points<'_>, sigma: Levels<'_>, n_threads: usize) -> PyResult<Table> {
        let (model, dim) = (&self.inner, self.inner.dim());
        by_chunks(dim, (&y, &sigma), 1, n_threads, |y, s, out| model.log_density(y, s, out))
    }

    /// The log-densities of every row at every level, (n, levels).
    fn level_log_densities(
        &self,
        y: Points<'_>,
        levels: Levels<'_>,
        n_threads: usize,
    ) -> PyResult<Table> {
        let (model, all) = (&self.inner, levels.as_slice()?);
        let any = PyArray1::zeros(y.py(), 1, false).readonly();
        let work = |y: Rows<'_>, _: &[f64], out: &mut [f64]| model.level_log_densities(y, all, out);
        by_chunks(model.dim(), (&y, &any), all.len(), n_threads, work)
    }

    /// The denoised rows, and in a last column the traces of their derivatives, (n, d + 1).
    fn denoise_with_trace(
        &self,
        y: Points<'_>,
        sigma: Levels<'_>,
        n_threads: usize,
    ) -> PyResult<Table> {
        let (model, dim) = (&self.inner, self.inner.dim());
        by_chunks(dim, (&y, &sigma), dim + 1, n_threads, |y, s, out| {
            let (mut means, mut traces) = (vec![0.0; y.data().len()], vec![0.0; y.len()]);
            model.denoise_with_trace(y, s, &mut means, &mut traces)?;
            let both = means.chunks_exact(dim).zip(&traces);
            for (to, (mean, trace)) in out.chunks_exact_mut(dim + 1).zip(both) {
                to[..dim].copy_from_slice(mean);
                to[dim] = *trace;
            }
            Ok(())
        })
    }
}

/// A model: a handle of one that runs in Rust, or (denoise, dim, log_density, with_trace) of an
/// adapter. `denoise(y, sigma)` takes (n, d) and (1,) or (n,) and gives a checked C-contiguous
/// (n, d); `log_density(y, sigma)`, or None, gives (n,); `with_trace(y, sigma)`, or None, gives
/// both (n, d) and (n,).
pub(crate) fn model(object: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn Model>> {
    if let Ok(handle) = object.cast::<PyModel>() {
        return Ok(Arc::clone(&handle.get().inner));
    }
    let (denoise, dim, log_density, with_trace) =
        object.extract::<ForeignParts>().map_err(|_| {
            PyTypeError::new_err(
                "a score model is a built-in handle or (denoise, dim, log_density, with_trace)",
            )
        })?;
    Ok(Arc::new(Foreign { denoise, dim, log_density, with_trace, raised: raised.clone() }))
}

/// `denoise`, the dimension, and the optional functions of the model.
type ForeignParts = (Py<PyAny>, usize, Option<Py<PyAny>>, Option<Py<PyAny>>);

/// The most rows of a call of a callable, if they are repeated for every level.
const ROWS_OF_A_CALL: usize = 1 << 16;

struct Foreign {
    denoise: Py<PyAny>,
    dim: usize,
    log_density: Option<Py<PyAny>>,
    with_trace: Option<Py<PyAny>>,
    raised: Raised,
}

impl Foreign {
    fn call<T>(
        &self,
        call: Option<&Py<PyAny>>,
        y: Rows<'_>,
        sigma: &[f64],
        take: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        let call =
            call.ok_or_else(|| Error::Internal("the score model has no such part".into()))?;
        Python::attach(|py| {
            let given = (points(py, y)?, PyArray1::from_slice(py, sigma));
            take(&call_python(call.bind(py), given)?)
        })
        .map_err(|error| self.raised.keep(error, "in the score model"))
    }
}

impl Model for Foreign {
    fn dim(&self) -> usize {
        self.dim
    }

    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.call(Some(&self.denoise), y, sigma, |given| {
            out.copy_from_slice(given.extract::<PyReadonlyArray2<'_, f64>>()?.as_slice()?);
            Ok(())
        })
    }

    fn log_density(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.call(self.log_density.as_ref(), y, sigma, |given| {
            out.copy_from_slice(given.extract::<PyReadonlyArray1<'_, f64>>()?.as_slice()?);
            Ok(())
        })
    }

    fn level_log_densities(&self, y: Rows<'_>, levels: &[f64], out: &mut [f64]) -> Result<()> {
        // One call for all levels, of a bounded number of rows.
        let (dim, width) = (self.dim, levels.len());
        let rows = (ROWS_OF_A_CALL / width.max(1)).max(1);
        let parts = y.data().chunks(rows * dim).zip(out.chunks_mut(rows * width));
        for (y, out) in parts {
            let points: Vec<f64> = y.chunks(dim).flat_map(|row| row.repeat(width)).collect();
            let sigma = levels.repeat(y.len() / dim);
            self.log_density(Rows::new(&points, dim), &sigma, out)?;
        }
        Ok(())
    }

    fn has_trace(&self) -> bool {
        self.with_trace.is_some()
    }

    fn denoise_with_trace(
        &self,
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        trace: &mut [f64],
    ) -> Result<()> {
        type Both<'py> = (PyReadonlyArray2<'py, f64>, PyReadonlyArray1<'py, f64>);
        self.call(self.with_trace.as_ref(), y, sigma, |given| {
            let (denoised, traces) = given.extract::<Both<'_>>()?;
            out.copy_from_slice(denoised.as_slice()?);
            trace.copy_from_slice(traces.as_slice()?);
            Ok(())
        })
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyModel>()
}
