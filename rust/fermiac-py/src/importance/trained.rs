//! The components that a run has fitted, as a law of Python.

use super::integrate::by_chunks;
use crate::common::array::rows;
use crate::common::dict::entry;
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_importance::{Components, Trained};
use fermiac_target::Support;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's items to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ComponentSampler>()
}

/// A mixture of fitted components.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct ComponentSampler {
    inner: Trained,
}

fn build(given: &Bound<'_, PyAny>) -> PyResult<fermiac_base::Result<Trained>> {
    let (origin, scale): (Vec<f64>, Vec<f64>) = (entry(given, "origin")?, entry(given, "scale")?);
    let ends: Vec<String> = entry(given, "ends")?;
    let damaged = || Err(Error::argument("sampler", "its box is damaged"));
    if origin.len() != ends.len() || scale.len() != ends.len() {
        return Ok(damaged());
    }
    let mut support = Vec::with_capacity(ends.len());
    for ((origin, scale), ends) in origin.iter().zip(&scale).zip(&ends) {
        let finite = origin.is_finite() && scale.is_finite() && *scale != 0.0;
        support.push(match ends.as_str() {
            "infinite" if finite => Support::Real,
            "half" if finite && *scale > 0.0 => Support::Above(*origin),
            "half" if finite => Support::Below(*origin),
            "finite" if finite && *scale > 0.0 => Support::Between(*origin, origin + scale),
            _ => return Ok(damaged()),
        });
    }
    let df: f64 = entry(given, "df")?;
    Ok(Trained::new(&Components {
        support,
        df: df.is_finite().then_some(df),
        shares: entry(given, "shares")?,
        means: entry(given, "means")?,
        scales: entry(given, "covariances")?,
    }))
}

#[door]
#[pymethods]
impl ComponentSampler {
    #[new]
    fn new(py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { inner: check(py, build(state)?)? })
    }

    /// The log-density at the rows of a C-contiguous (n, d) array.
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = rows(&x, self.inner.dim())?;
        let out = by_chunks(py, x, |part, out| {
            out.resize(part.len(), 0.0);
            self.inner.log_density(part, out);
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// The points of the rows of a C-contiguous (n, d) array of uniform numbers.
    fn map_unit<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let u = rows(&u, self.inner.dim())?;
        let out = by_chunks(py, u, |part, out| *out = self.inner.map_unit(part.data()))?;
        PyArray1::from_vec(py, out).reshape([u.len(), self.inner.dim()])
    }
}

/// The fields of a sampler, from which it can be made again.
pub(super) fn state(py: Python<'_>, of: Components) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    let (d, count) = (of.support.len(), of.shares.len());
    let axes = of.support.iter().map(|support| match *support {
        Support::Real => ("infinite", 0.0, 1.0),
        Support::Above(low) => ("half", low, 1.0),
        Support::Below(high) => ("half", high, -1.0),
        Support::Between(low, high) => ("finite", low, high - low),
    });
    let (mut ends, mut origin, mut scale) = (Vec::new(), Vec::new(), Vec::new());
    for (word, from, length) in axes {
        ends.push(word);
        origin.push(from);
        scale.push(length);
    }
    raw.set_item("ends", ends)?;
    raw.set_item("origin", PyArray1::from_vec(py, origin))?;
    raw.set_item("scale", PyArray1::from_vec(py, scale))?;
    raw.set_item("df", of.df.unwrap_or(f64::INFINITY))?;
    raw.set_item("shares", PyArray1::from_vec(py, of.shares))?;
    raw.set_item("means", PyArray1::from_vec(py, of.means).reshape([count, d])?)?;
    raw.set_item("covariances", PyArray1::from_vec(py, of.scales).reshape([count, d, d])?)?;
    Ok(raw)
}
