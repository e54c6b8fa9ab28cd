//! The maps between unconstrained and constrained points as one Python class.

use crate::common::array::{matrix, rows};
use crate::common::error::check;
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use fermiac_target::transform::{Block, Kind, Transform as CoreTransform};
use numpy::{PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;

/// A map from the whole space to the space of the parameters.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct Transform {
    pub(crate) inner: CoreTransform,
}

/// (n, d) points and (n,) logarithms of Jacobians.
type WithJacobian<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

fn block(kind: &str, size: usize, low: f64, high: f64) -> Result<Block> {
    let kind = match kind {
        "identity" => Kind::Identity,
        "above" => Kind::Above(low),
        "below" => Kind::Below(high),
        "bounded" => Kind::Between(low, high),
        "ordered" => Kind::Ordered,
        "simplex" => Kind::Simplex,
        "cholesky_corr" => Kind::CholeskyCorr,
        _ => return Err(Error::Internal(format!("no transform {kind}"))),
    };
    Block::new(kind, size)
}

#[door]
#[pymethods]
impl Transform {
    /// Blocks of coordinates: kind, constrained size, bounds.
    #[new]
    fn new(py: Python<'_>, blocks: Vec<(String, usize, f64, f64)>) -> PyResult<Self> {
        let blocks = blocks.iter().map(|(kind, size, low, high)| block(kind, *size, *low, *high));
        let made = blocks.collect::<Result<_>>().and_then(CoreTransform::new);
        Ok(Self { inner: check(py, made)? })
    }

    /// Coordinates of a constrained point.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Coordinates of an unconstrained point.
    #[getter]
    fn free_dim(&self) -> usize {
        self.inner.free_dim()
    }

    /// The constrained points, and the logarithms of the Jacobians' determinants.
    fn constrain<'py>(
        &self,
        py: Python<'py>,
        z: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<WithJacobian<'py>> {
        let (z, dim) = (rows(&z, self.inner.free_dim())?, self.inner.dim());
        let (x, jacobians) = py.detach(|| {
            let mut x = vec![0.0; z.len() * dim];
            let pairs = z.iter().zip(x.chunks_exact_mut(dim));
            let jacobians: Vec<f64> = pairs.map(|(z, x)| self.inner.constrain(z, x)).collect();
            (x, jacobians)
        });
        Ok((matrix(py, x, dim)?, PyArray1::from_vec(py, jacobians)))
    }

    /// The unconstrained points.
    fn unconstrain<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (x, free) = (rows(&x, self.inner.dim())?, self.inner.free_dim());
        let z = py.detach(|| {
            let mut z = vec![0.0; x.len() * free];
            for (i, (x, z)) in x.iter().zip(z.chunks_exact_mut(free)).enumerate() {
                self.inner.unconstrain(x, z).map_err(|error| match error {
                    Error::Argument { name, why } => {
                        Error::argument(name, format!("at row {i} {why}"))
                    }
                    other => other,
                })?;
            }
            Ok(z)
        });
        matrix(py, check(py, z)?, free)
    }

    /// Gradients at the unconstrained points, with that of the Jacobian, of gradients at the
    /// constrained points.
    fn pull_back<'py>(
        &self,
        py: Python<'py>,
        z: PyReadonlyArray2<'py, f64>,
        gradient: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let free = self.inner.free_dim();
        let z: Rows<'_> = rows(&z, free)?;
        let slopes = rows(&gradient, self.inner.dim())?;
        let moved = py.detach(|| {
            let mut moved = vec![0.0; z.len() * free];
            let to = moved.chunks_exact_mut(free);
            z.iter().zip(slopes.iter()).zip(to).for_each(|((z, slopes), to)| {
                self.inner.pull_back(z, slopes, to);
            });
            moved
        });
        matrix(py, moved, free)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Transform>()
}
