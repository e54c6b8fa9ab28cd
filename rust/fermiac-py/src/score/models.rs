//! Score models: handles of exact ones, adapters of Python callables.

use std::sync::Arc;

use fermiac_core::linalg::Rows;
use fermiac_core::score::Model;
use fermiac_core::target::Style;
use fermiac_core::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::enter::Raised;
use crate::target::points;

/// A model that runs in Rust.
#[pyclass(name = "ScoreModel", module = "fermiac._core", frozen)]
pub(crate) struct PyModel {
    pub(crate) inner: Arc<dyn Model>,
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

/// `denoise`, the dimension, and what else the model can say.
type ForeignParts = (Py<PyAny>, usize, Option<Py<PyAny>>, Option<Py<PyAny>>);

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
            take(&call.bind(py).call1(given)?)
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

    fn has_log_density(&self) -> bool {
        self.log_density.is_some()
    }

    fn log_density(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.call(self.log_density.as_ref(), y, sigma, |given| {
            out.copy_from_slice(given.extract::<PyReadonlyArray1<'_, f64>>()?.as_slice()?);
            Ok(())
        })
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

    fn style(&self) -> Style {
        Style::Central
    }
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyModel>()
}
