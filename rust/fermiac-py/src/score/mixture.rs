//! Exact mixtures of normal laws: their handles, responsibilities, derivatives and draws.

use super::models::{Levels, Points, PyModel, Table, by_chunks, levels_of, table};
use crate::common::columns::Column;
use crate::common::error::check;
use fermiac_base::linalg::Rows;
use fermiac_score::Model;
use fermiac_score::mixture::{Covariances, GaussianMixture};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
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

#[door]
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
    fn responsibilities(
        &self,
        y: Points<'_>,
        sigma: Levels<'_>,
        n_threads: usize,
    ) -> PyResult<Table> {
        let (model, width) = (&self.inner, self.inner.n_components());
        let work = |y: Rows<'_>, s: &[f64], out: &mut [f64]| model.responsibilities(y, s, out);
        by_chunks(model.dim(), (&y, &sigma), width, n_threads, work)
    }

    /// The derivatives of the denoised rows, (n, d²).
    fn jacobian(&self, y: Points<'_>, sigma: Levels<'_>, n_threads: usize) -> PyResult<Table> {
        let (model, dim) = (&self.inner, self.inner.dim());
        by_chunks(dim, (&y, &sigma), dim * dim, n_threads, |y, s, out| model.jacobian(y, s, out))
    }

    /// `n` draws from the law at the levels, one or n, (n, d).
    fn sample(&self, n: usize, sigma: Levels<'_>, key: u64, n_threads: usize) -> PyResult<Table> {
        let (py, model, dim) = (sigma.py(), &self.inner, self.inner.dim());
        let sigma = Column::new(&sigma, n)?.0;
        table(py, (n, dim), ROWS, n_threads, |rows, out| {
            model.sample(key, rows.start as u64, levels_of(sigma, rows), out);
            Ok(())
        })
    }
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyMixture>()
}
