//! The built-in integrands as one Python class, on which `fermiac.targets` builds its own.

use crate::common::array::rows;
use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::alloc::table_room;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::{Error, Result};
use fermiac_target::density::show;
use fermiac_target::integrand::{
    Cantilever, GFunction, Genz, Indicator, Ishigami, Linear, PickFreeze, Powers,
};
use fermiac_target::{Integrand as CoreIntegrand, RowStatus, unwritten};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;
use std::sync::Arc;

/// A built-in integrand.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct Integrand {
    pub(crate) inner: Arc<dyn CoreIntegrand>,
    outputs: usize,
    scalar: bool,
}

impl Integrand {
    /// `scalar`: the one output is given as (n,), not as (n, 1).
    pub(crate) fn new(
        py: Python<'_>,
        inner: Result<Arc<dyn CoreIntegrand>>,
        scalar: bool,
    ) -> PyResult<Self> {
        let inner = check(py, inner)?;
        let outputs = inner
            .outputs()
            .ok_or_else(|| Error::Internal("a built-in integrand of unknown outputs".into()));
        Ok(Self { outputs: check(py, outputs)?, inner, scalar })
    }
}

fn shared<T: CoreIntegrand + 'static>(made: Result<T>) -> Result<Arc<dyn CoreIntegrand>> {
    made.map(|integrand| Arc::new(integrand) as Arc<dyn CoreIntegrand>)
}

#[door]
#[pymethods]
impl Integrand {
    /// Monomials, from the rows of a matrix of exponents.
    #[staticmethod]
    fn powers(py: Python<'_>, exponents: Vec<u32>, dim: usize, scalar: bool) -> PyResult<Self> {
        Self::new(py, shared(Powers::new(&exponents, dim)), scalar)
    }

    /// Members of one of Genz's families, from the rows of two matrices.
    #[staticmethod]
    fn genz(
        py: Python<'_>,
        kind: &str,
        a: Vec<f64>,
        w: Vec<f64>,
        dim: usize,
        scalar: bool,
    ) -> PyResult<Self> {
        let made = kind.parse().and_then(|kind| Genz::new(kind, &a, &w, dim));
        Self::new(py, shared(made), scalar)
    }

    /// The displacement of a cantilever beam.
    #[staticmethod]
    fn cantilever(py: Python<'_>) -> PyResult<Self> {
        Self::new(py, shared(Ok(Cantilever)), true)
    }

    /// Ishigami's function.
    #[staticmethod]
    fn ishigami(py: Python<'_>, a: f64, b: f64) -> PyResult<Self> {
        Self::new(py, shared(Ishigami::new(a, b)), true)
    }

    /// Sobol's g-function.
    #[staticmethod]
    fn g_function(py: Python<'_>, a: Vec<f64>) -> PyResult<Self> {
        Self::new(py, shared(GFunction::new(&a)), true)
    }

    /// Linear forms, from the rows of a matrix and one intercept a row.
    #[staticmethod]
    fn linear(
        py: Python<'_>,
        coefficients: Vec<f64>,
        intercept: Vec<f64>,
        dim: usize,
        scalar: bool,
    ) -> PyResult<Self> {
        Self::new(py, shared(Linear::new(&coefficients, &intercept, dim)), scalar)
    }

    /// 1 where another integrand is at most 0, else 0.
    #[staticmethod]
    fn indicator(py: Python<'_>, of: &Self) -> PyResult<Self> {
        Self::new(py, shared(Ok(Indicator::new(Arc::clone(&of.inner)))), of.scalar)
    }

    /// The joint integrand of a model's first-order Sobol' indices.
    #[staticmethod]
    fn sobol_pick_freeze(py: Python<'_>, model: &Self) -> PyResult<Self> {
        Self::new(py, shared(PickFreeze::new(Arc::clone(&model.inner))), false)
    }

    /// Coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Numbers per point.
    #[getter]
    fn n_outputs(&self) -> usize {
        self.outputs
    }

    /// Whether the one output comes as (n,).
    #[getter]
    fn scalar(&self) -> bool {
        self.scalar
    }

    /// The values at the rows of a C-contiguous (n, d) array: (n,) or (n, `n_outputs`).
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let x = rows(&x, self.inner.dim())?;
        let values = compute(py, n_threads, |context| {
            let mut values = table_room("n_outputs", x.len(), self.outputs)?;
            context.ordered(
                x.len().div_ceil(CHUNK),
                |c| evaluate(self.inner.as_ref(), x, c),
                |_, part| {
                    values.extend_from_slice(&part);
                    Ok(())
                },
            )?;
            Ok(values)
        })?;
        let values = PyArray1::from_vec(py, values);
        if self.scalar {
            return Ok(values.into_any());
        }
        Ok(values.reshape([x.len(), self.outputs])?.into_any())
    }
}

/// The values at chunk `c` of the points.
fn evaluate(integrand: &dyn CoreIntegrand, x: Rows<'_>, c: usize) -> Result<Vec<f64>> {
    let d = x.dim();
    let part = Rows::new(&x.data()[c * CHUNK * d..((c + 1) * CHUNK).min(x.len()) * d], d);
    let mut values = Vec::new();
    let mut status = vec![RowStatus::Good; part.len()];
    integrand.eval(part, &mut values, &mut status)?;
    let Some(i) = status.iter().position(|status| *status != RowStatus::Good) else {
        return Ok(values);
    };
    let (name, row) = (integrand.describe(), c * CHUNK + i);
    let what = format!("row {row} of the batch");
    if status[i] == RowStatus::Unwritten {
        return Err(unwritten(&name, row, &what, part.row(i)));
    }
    let why = format!("{name} cannot be evaluated at {what}, x = {}", show(part.row(i)));
    Err(Error::Target { row: Some(row), why })
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Integrand>()
}
