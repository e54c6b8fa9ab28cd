//! Bindings of `fermiac_importance::rare`, for `fermiac.importance.failure_probability`.

use crate::common::array::{matrix, rows};
use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::alloc::table_of;
use fermiac_base::par::CHUNK;
use fermiac_importance::rare::{Axis, Mixture};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Adds this file's class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<RareMixture>()
}

/// A mixture of laws in standard normal space.
#[pyclass(module = "fermiac._core")]
pub(crate) struct RareMixture {
    inner: Mixture,
}

/// The threads for so many rows.
fn threads(n: usize, n_threads: usize) -> usize {
    if n <= CHUNK { 1 } else { n_threads }
}

#[door]
#[pymethods]
impl RareMixture {
    #[new]
    fn new(dim: usize, base: f64) -> Self {
        Self { inner: Mixture::new(dim, base) }
    }

    /// Adds laws along the rows of an (r, d) array.
    fn add_slab(
        &mut self,
        py: Python<'_>,
        share: f64,
        kinds: Vec<String>,
        loc: PyReadonlyArray1<'_, f64>,
        scale: PyReadonlyArray1<'_, f64>,
        directions: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<()> {
        let axes = kinds
            .iter()
            .zip(loc.as_slice()?.iter().zip(scale.as_slice()?))
            .map(|(kind, (loc, scale))| match kind.as_str() {
                "normal" => Ok(Axis::normal(*loc, *scale)),
                "tail" => Ok(Axis::tail(*loc)),
                "t" => Ok(Axis::student(*loc, *scale)),
                other => Err(PyValueError::new_err(format!("there is no axis {other:?}"))),
            })
            .collect::<PyResult<Vec<Axis>>>()?;
        check(py, self.inner.push_slab(share, &axes, directions.as_slice()?))
    }

    /// Adds a law of the norm and of the cosine to an axis.
    fn add_polar(
        &mut self,
        py: Python<'_>,
        share: f64,
        axis: PyReadonlyArray1<'_, f64>,
        radial: [f64; 3],
        edges: PyReadonlyArray1<'_, f64>,
        bins: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<()> {
        let (axis, edges, bins) = (axis.as_slice()?, edges.as_slice()?, bins.as_slice()?);
        check(py, self.inner.push_polar(share, axis, radial, edges, bins))
    }

    fn log_ratio<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let u = rows(&u, self.inner.dim())?;
        let n = u.len();
        let out = compute(py, threads(n, n_threads), |context| {
            let mut out = table_of("ratios", 0.0, n, 1)?;
            self.inner.log_ratio(context, u.data(), &mut out).map(|()| out)
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    fn component_ratios<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let u = rows(&u, self.inner.dim())?;
        let (n, k) = (u.len(), self.inner.len());
        let out = compute(py, threads(n, n_threads), |context| {
            let mut out = table_of("ratios", 0.0, n, k)?;
            self.inner.component_ratios(context, u.data(), &mut out).map(|()| out)
        })?;
        matrix(py, out, k)
    }

    /// Returns points for rows of uniform numbers; those of polar components are left at 0.
    fn points<'py>(
        &self,
        py: Python<'py>,
        v: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let width = v.shape()[1];
        let v = rows(&v, width)?;
        let (n, d) = (v.len(), self.inner.dim());
        let out = compute(py, threads(n, n_threads), |context| {
            let mut out = table_of("points", 0.0, n, d)?;
            self.inner.points(context, v.data(), width, &mut out).map(|()| out)
        })?;
        matrix(py, out, d)
    }
}
