//! Exact mixtures of normal laws: their handles, responsibilities, derivatives and draws.

use super::models::{PyModel, by_chunks};
use crate::common::columns::Column;
use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_base::linalg::Rows;
use fermiac_score::Model;
use fermiac_score::mixture::{Covariances, GaussianMixture};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;

/// Rows of a task.
const ROWS: usize = 1024;

/// An exact mixture of normal laws.
#[pyclass(name = "GaussianMixture", module = "fermiac._core", frozen)]
pub(crate) struct PyMixture {
    inner: Arc<GaussianMixture>,
}

#[pymethods]
impl PyMixture {
    /// The mixture of (k,) weights, (k, d) means and covariances in one row: of kind "isotropic"
    /// k or one, "diagonal" k d, "full" k d².
    #[new]
    fn new(
        py: Python<'_>,
        weights: PyReadonlyArray1<'_, f64>,
        means: PyReadonlyArray2<'_, f64>,
        covariances: PyReadonlyArray1<'_, f64>,
        kind: &str,
    ) -> PyResult<Self> {
        let dim = means.as_array().ncols();
        let (weights, means) = (weights.as_slice()?, Rows::new(means.as_slice()?, dim));
        let numbers = covariances.as_slice()?;
        let covariances = match kind {
            "isotropic" => Covariances::Isotropic(numbers),
            "diagonal" => Covariances::Diagonal(numbers),
            "full" => Covariances::Full(numbers),
            _ => return Err(PyValueError::new_err(format!("there is no kind {kind}"))),
        };
        let made = py.detach(|| GaussianMixture::new(weights, means, covariances));
        Ok(Self { inner: Arc::new(check(py, made)?) })
    }

    /// The mixture as a score model.
    fn model(&self) -> PyModel {
        PyModel { inner: Arc::clone(&self.inner) as Arc<dyn Model> }
    }

    /// The posterior weights of the components, (n, k).
    fn responsibilities<'py>(
        &self,
        py: Python<'py>,
        y: PyReadonlyArray2<'py, f64>,
        sigma: PyReadonlyArray1<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let model = &self.inner;
        let (dim, width) = (model.dim(), model.n_components());
        let work = |y: Rows<'_>, s: &[f64], out: &mut [f64]| model.responsibilities(y, s, out);
        by_chunks(py, dim, (&y, &sigma), width, n_threads, work)
    }

    /// The derivatives of the denoised rows, (n, d²).
    fn jacobian<'py>(
        &self,
        py: Python<'py>,
        y: PyReadonlyArray2<'py, f64>,
        sigma: PyReadonlyArray1<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let model = &self.inner;
        let dim = model.dim();
        let work = |y: Rows<'_>, s: &[f64], out: &mut [f64]| model.jacobian(y, s, out);
        by_chunks(py, dim, (&y, &sigma), dim * dim, n_threads, work)
    }

    /// `n` draws from the law at the levels, one or n, (n, d).
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        sigma: PyReadonlyArray1<'py, f64>,
        key: u64,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (model, dim) = (&self.inner, self.inner.dim());
        let sigma = Column::new(&sigma, n)?.0;
        let values = enter(py, n_threads, None, &Raised::default(), |context| {
            let mut values = Vec::with_capacity(n * dim);
            let work = |c: usize| {
                let (start, end) = (c * ROWS, n.min((c + 1) * ROWS));
                let levels = if sigma.len() == 1 { sigma } else { &sigma[start..end] };
                let mut out = vec![0.0; (end - start) * dim];
                model.sample(key, start as u64, levels, &mut out);
                Ok(out)
            };
            let fold = |_, part: Vec<f64>| {
                values.extend_from_slice(&part);
                Ok(())
            };
            match context.ordered(n.div_ceil(ROWS), work, fold) {
                Ok(()) => Ok(values),
                Err(error) => Err((error, None)),
            }
        })
        .map_err(|stopped| stopped.error)?;
        PyArray1::from_vec(py, values).reshape([n, dim])
    }
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyMixture>()
}
