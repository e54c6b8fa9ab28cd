//! Python objects as targets of the core: handles of built-in ones, adapters for callables.

use crate::common::call::call_python;
use crate::common::enter::Raised;
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, Integrand, Law, LogDensity, RowStatus, Support};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::sync::{Arc, OnceLock};

/// An integrand: a built-in one, or (callable, dim) of an adapter that checks what the user's
/// function returns and gives a C-contiguous (n, k) array.
pub(crate) fn integrand(
    object: &Bound<'_, PyAny>,
    raised: &Raised,
) -> PyResult<Arc<dyn Integrand>> {
    if let Ok(handle) = object.cast::<crate::targets::integrands::Integrand>() {
        return Ok(Arc::clone(&handle.borrow().inner));
    }
    let (call, dim) = object.extract::<(Py<PyAny>, usize)>().map_err(|_| {
        PyTypeError::new_err("an integrand is a built-in handle or (callable, dim)")
    })?;
    Ok(Arc::new(Callable { call, dim, outputs: OnceLock::new(), raised: raised.clone() }))
}

/// A log-density: a handle of one that runs in Rust or behind a surrogate, or (evaluate, dim,
/// has_gradient) of an adapter whose `evaluate(x, with_gradient)` gives checked C-contiguous arrays,
/// (n,) and (n, d) or None.
pub(crate) fn log_density(
    object: &Bound<'_, PyAny>,
    raised: &Raised,
) -> PyResult<Arc<dyn LogDensity>> {
    if let Ok(handle) = object.cast::<crate::targets::densities::LogDensity>() {
        return Ok(Arc::clone(&handle.borrow().inner));
    }
    if let Ok(guarded) = object.cast::<crate::nested::surrogate::GuardedDensity>() {
        return guarded.borrow().density(object.py(), raised);
    }
    let (call, dim, has_gradient) = object.extract::<(Py<PyAny>, usize, bool)>().map_err(|_| {
        PyTypeError::new_err("a log-density is a built-in handle or (evaluate, dim, has_gradient)")
    })?;
    Ok(Arc::new(CallableDensity { call, dim, has_gradient, raised: raised.clone() }))
}

/// `log_density`, `draw`, the dimension, the bounds of each coordinate, and `from_unit` if it has one.
type LawParts = (Py<PyAny>, Py<PyAny>, usize, Vec<(f64, f64)>, Option<Py<PyAny>>);

/// A law: a built-in one, or (log_density, draw, dim, bounds, from_unit) of an adapter.
pub(crate) fn law(object: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn Law>> {
    if let Ok(handle) = object.cast::<crate::targets::distributions::Law>() {
        return Ok(Arc::clone(&handle.borrow().inner));
    }
    let (log_density, draw, dim, bounds, from_unit) =
        object.extract::<LawParts>().map_err(|_| {
            PyTypeError::new_err(
                "a law is a built-in handle or (log_density, draw, dim, bounds, from_unit)",
            )
        })?;
    let support = bounds.into_iter().map(support).collect();
    Ok(Arc::new(ForeignLaw { log_density, draw, dim, support, from_unit, raised: raised.clone() }))
}

fn support(bounds: (f64, f64)) -> Support {
    match (bounds.0.is_finite(), bounds.1.is_finite()) {
        (false, false) => Support::Real,
        (true, false) => Support::Above(bounds.0),
        (false, true) => Support::Below(bounds.1),
        (true, true) => Support::Between(bounds.0, bounds.1),
    }
}

struct Callable {
    call: Py<PyAny>,
    dim: usize,
    outputs: OnceLock<usize>,
    raised: Raised,
}

impl Callable {
    fn call(&self, py: Python<'_>, x: Rows<'_>, out: &mut Vec<f64>) -> PyResult<usize> {
        let points = points(py, x)?;
        let result = call_python(self.call.bind(py), (points,))?;
        let values: PyReadonlyArray2<'_, f64> = result.extract()?;
        out.clear();
        out.extend_from_slice(values.as_slice()?);
        Ok(values.shape()[1])
    }
}

impl Integrand for Callable {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> Option<usize> {
        self.outputs.get().copied()
    }

    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, _status: &mut [RowStatus]) -> Result<()> {
        let outputs = Python::attach(|py| self.call(py, x, out))
            .map_err(|error| self.raised.keep(error, "in the integrand"))?;
        let first = *self.outputs.get_or_init(|| outputs);
        if outputs == first {
            return Ok(());
        }
        Err(Error::target(format!(
            "the integrand gave {outputs} outputs for a batch of {} points, {first} before; the \
             number must not change",
            x.len()
        )))
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

struct CallableDensity {
    call: Py<PyAny>,
    dim: usize,
    has_gradient: bool,
    raised: Raised,
}

impl CallableDensity {
    fn evaluate(&self, x: Rows<'_>, out: &mut [f64], gradient: Option<&mut [f64]>) -> Result<()> {
        Python::attach(|py| -> PyResult<()> {
            let result = call_python(self.call.bind(py), (points(py, x)?, gradient.is_some()))?;
            let (values, slopes) = result
                .extract::<(PyReadonlyArray1<'_, f64>, Option<PyReadonlyArray2<'_, f64>>)>()?;
            out.copy_from_slice(values.as_slice()?);
            if let (Some(gradient), Some(slopes)) = (gradient, slopes) {
                gradient.copy_from_slice(slopes.as_slice()?);
            }
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the log-density"))
    }
}

impl LogDensity for CallableDensity {
    fn dim(&self) -> usize {
        self.dim
    }

    fn has_gradient(&self) -> bool {
        self.has_gradient
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], _status: &mut [RowStatus]) -> Result<()> {
        self.evaluate(x, out, None)
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        _status: &mut [RowStatus],
    ) -> Result<()> {
        self.evaluate(x, out, Some(gradient))
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

struct ForeignLaw {
    log_density: Py<PyAny>,
    draw: Py<PyAny>,
    dim: usize,
    support: Vec<Support>,
    from_unit: Option<Py<PyAny>>,
    raised: Raised,
}

impl Law for ForeignLaw {
    fn dim(&self) -> usize {
        self.dim
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()> {
        Python::attach(|py| -> PyResult<()> {
            let result = call_python(self.log_density.bind(py), (points(py, x)?,))?;
            let values: PyReadonlyArray1<'_, f64> = result.extract()?;
            out.copy_from_slice(values.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the law's log-density"))
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        // The law turns uniforms into points, or seeds a generator of its own with the key.
        rng.fill_uniform(out);
        let key = rng.next_u64();
        Python::attach(|py| -> PyResult<()> {
            let uniforms = points(py, Rows::new(out, self.dim))?;
            let result = call_python(self.draw.bind(py), (uniforms, key))?;
            let values: PyReadonlyArray2<'_, f64> = result.extract()?;
            out.copy_from_slice(values.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the law's sampler"))
    }

    fn has_unit_map(&self) -> bool {
        self.from_unit.is_some()
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        let Some(from_unit) = &self.from_unit else {
            return Err(Error::argument("law", "it has no map from the unit cube"));
        };
        Python::attach(|py| -> PyResult<()> {
            let result = call_python(from_unit.bind(py), (points(py, u)?,))?;
            let values: PyReadonlyArray2<'_, f64> = result.extract()?;
            out.copy_from_slice(values.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the law's from_unit"))
    }

    fn support(&self) -> Vec<Support> {
        self.support.clone()
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

/// A fresh (n, d) array, which the user's function may keep.
pub(crate) fn points<'py>(py: Python<'py>, x: Rows<'_>) -> PyResult<Bound<'py, PyArray2<f64>>> {
    PyArray1::from_slice(py, x.data()).reshape([x.len(), x.dim()])
}
