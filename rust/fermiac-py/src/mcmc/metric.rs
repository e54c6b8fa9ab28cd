//! The metric of a kernel as Python describes it.

use fermiac_base::linalg::Cholesky;
use fermiac_mcmc::kernel::{Metric, MetricKind};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::common::error::check;

/// (how it is learned, variances or covariance to start from).
pub(super) struct MetricSpec(pub(super) MetricKind, pub(super) Metric);

impl<'py> FromPyObject<'_, 'py> for MetricSpec {
    type Error = PyErr;

    fn extract(spec: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (kind, start) = spec.extract::<(String, Option<Bound<'py, PyAny>>)>()?;
        let kind = match kind.as_str() {
            "fixed" => MetricKind::Fixed,
            "variance" => MetricKind::Variance,
            "covariance" => MetricKind::Covariance,
            "diagonal" => MetricKind::Diagonal,
            "dense" => MetricKind::Dense,
            "low_rank" => MetricKind::LowRank,
            other => return Err(PyValueError::new_err(format!("unknown metric '{other}'"))),
        };
        let metric = match start {
            None => Metric::Unit,
            Some(start) => {
                if let Ok(variances) = start.extract::<PyReadonlyArray1<'_, f64>>() {
                    Metric::Diagonal(variances.as_slice()?.iter().map(|v| v.sqrt()).collect())
                } else {
                    let covariance = start.extract::<PyReadonlyArray2<'_, f64>>()?;
                    let matrix = covariance.as_slice()?;
                    let factor = Cholesky::new(matrix, matrix.len().isqrt());
                    Metric::dense(&check(spec.py(), factor)?)
                }
            }
        };
        Ok(Self(kind, metric))
    }
}
