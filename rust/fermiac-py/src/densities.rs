//! Log-densities that run in Rust as one Python class; `fermiac.targets` gives them their faces.

use std::sync::Arc;

use fermiac_core::linalg::Rows;
use fermiac_core::par::CHUNK;
use fermiac_core::target::LogDensity as CoreLogDensity;
use fermiac_core::target::density::{evaluate, evaluate_gradient};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::array::rows;
use crate::enter::{Raised, enter};

/// A log-density that runs in Rust.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct LogDensity {
    pub(crate) inner: Arc<dyn CoreLogDensity>,
}

impl LogDensity {
    /// Evaluates chunk by chunk on the threads.
    fn run(
        &self,
        py: Python<'_>,
        x: Rows<'_>,
        n_threads: usize,
        with_gradient: bool,
    ) -> PyResult<(Vec<f64>, Vec<f64>)> {
        let (n, d) = (x.len(), x.dim());
        let target = self.inner.as_ref();
        enter(py, n_threads, None, &Raised::default(), |context| {
            let mut values = Vec::with_capacity(n);
            let mut gradients = Vec::with_capacity(if with_gradient { n * d } else { 0 });
            let done = context.ordered(
                n.div_ceil(CHUNK),
                |c| {
                    let end = ((c + 1) * CHUNK).min(n);
                    let part = Rows::new(&x.data()[c * CHUNK * d..end * d], d);
                    let mut out = vec![0.0; part.len()];
                    let mut slopes = vec![0.0; if with_gradient { part.len() * d } else { 0 }];
                    if with_gradient {
                        evaluate_gradient(target, part, c * CHUNK, &mut out, &mut slopes)?;
                    } else {
                        evaluate(target, part, c * CHUNK, &mut out)?;
                    }
                    Ok((out, slopes))
                },
                |_, (out, slopes)| {
                    values.extend_from_slice(&out);
                    gradients.extend_from_slice(&slopes);
                    Ok(())
                },
            );
            done.map(|()| (values, gradients)).map_err(|error| (error, None))
        })
        .map_err(|stopped| stopped.error)
    }
}

#[pymethods]
impl LogDensity {
    /// Coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Whether the gradient can be asked for.
    #[getter]
    fn has_gradient(&self) -> bool {
        self.inner.has_gradient()
    }

    /// The log-densities of the rows of a C-contiguous (n, d) array.
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = rows(&x, self.inner.dim())?;
        let (values, _) = self.run(py, x, n_threads, false)?;
        Ok(PyArray1::from_vec(py, values))
    }

    /// The log-densities and their gradients, (n,) and (n, d).
    fn log_density_gradient<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>)> {
        let x = rows(&x, self.inner.dim())?;
        let (values, gradients) = self.run(py, x, n_threads, true)?;
        let gradients = PyArray1::from_vec(py, gradients).reshape([x.len(), x.dim()])?;
        Ok((PyArray1::from_vec(py, values), gradients))
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LogDensity>()
}
