//! The log-densities that run in Rust as one Python class, on which `fermiac.targets` builds its own.

use crate::common::array::{matrix, rows};
use crate::common::enter::compute;
use crate::common::error::check;
use crate::targets::distributions::Law;
use crate::targets::transforms::Transform;
use fermiac_base::Result;
use fermiac_base::alloc::{room, table_room};
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_target::LogDensity as CoreLogDensity;
use fermiac_target::density::{
    Banana, EightSchools, Funnel, Gaussian, LinearRegression, LogisticRegression, Noise,
    NormalPrior, PoissonRegression, Rosenbrock, Transformed, evaluate, evaluate_gradient,
};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use std::sync::Arc;

/// A log-density that runs in Rust.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct LogDensity {
    pub(crate) inner: Arc<dyn CoreLogDensity>,
}

/// (n,) values and (n, d) gradients.
type WithGradient<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// (x, y, prior mean, prior standard deviation) of a regression.
type Data<'py> = (
    PyReadonlyArray2<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
);

impl LogDensity {
    fn new<T: CoreLogDensity + 'static>(py: Python<'_>, made: Result<T>) -> PyResult<Self> {
        Ok(Self { inner: Arc::new(check(py, made)?) })
    }

    fn regression<T: CoreLogDensity + 'static>(
        py: Python<'_>,
        data: &Data<'_>,
        offset: Option<&PyReadonlyArray1<'_, f64>>,
        make: impl FnOnce(Rows<'_>, &[f64], &[f64], NormalPrior) -> Result<T> + Send,
    ) -> PyResult<Self> {
        let (x, y, mean, sd) = data;
        let prior = check(py, NormalPrior::new(mean.as_slice()?, sd.as_slice()?))?;
        let (x, y) = (rows(x, mean.as_slice()?.len())?, y.as_slice()?);
        let offset = offset.map(|offset| offset.as_slice()).transpose()?.unwrap_or_default();
        let made = py.detach(|| make(x, y, offset, prior));
        Self::new(py, made)
    }

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
        compute(py, n_threads, |context| {
            let mut values = room("x", n)?;
            let mut gradients = table_room("x", if with_gradient { n } else { 0 }, d)?;
            context.ordered(
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
            )?;
            Ok((values, gradients))
        })
    }
}

#[door]
#[pymethods]
impl LogDensity {
    /// The posterior of a logistic regression; `data` is (x, y, prior mean, prior sd).
    #[staticmethod]
    fn logistic_regression(
        py: Python<'_>,
        data: Data<'_>,
        offset: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        Self::regression(py, &data, Some(&offset), LogisticRegression::new)
    }

    /// The posterior of a Poisson regression.
    #[staticmethod]
    fn poisson_regression(
        py: Python<'_>,
        data: Data<'_>,
        offset: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        Self::regression(py, &data, Some(&offset), PoissonRegression::new)
    }

    /// The posterior of a linear regression: `scale` is the noise's standard deviation, or that of
    /// its half-normal prior.
    #[staticmethod]
    fn linear_regression(
        py: Python<'_>,
        data: Data<'_>,
        scale: f64,
        known: bool,
    ) -> PyResult<Self> {
        let noise = if known { Noise::Known(scale) } else { Noise::HalfNormal(scale) };
        Self::regression(py, &data, None, |x, y, _, prior| {
            LinearRegression::new(x, y, noise, prior)
        })
    }

    /// Rubin's eight schools.
    #[staticmethod]
    fn eight_schools(centered: bool) -> Self {
        Self { inner: Arc::new(EightSchools::new(centered)) }
    }

    /// A bent normal law.
    #[staticmethod]
    fn banana(py: Python<'_>, dim: usize, curvature: f64, scale: f64) -> PyResult<Self> {
        Self::new(py, Banana::new(dim, curvature, scale))
    }

    /// Neal's funnel.
    #[staticmethod]
    fn funnel(py: Python<'_>, dim: usize, scale: f64) -> PyResult<Self> {
        Self::new(py, Funnel::new(dim, scale))
    }

    /// Normal coordinates around the squares of those before them.
    #[staticmethod]
    fn rosenbrock(
        py: Python<'_>,
        n_blocks: usize,
        block_size: usize,
        mean: f64,
        a: f64,
        b: f64,
    ) -> PyResult<Self> {
        Self::new(py, Rosenbrock::new(n_blocks, block_size, mean, a, b))
    }

    /// A normal law by its precision, whose entries (i + k, i) are `diagonals[k, i]`.
    #[staticmethod]
    fn gaussian(
        py: Python<'_>,
        mean: PyReadonlyArray1<'_, f64>,
        diagonals: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Self> {
        let (mean, diagonals) = (mean.as_slice()?, diagonals.as_slice()?);
        let made = py.detach(|| Gaussian::from_precision(mean, diagonals));
        Self::new(py, made)
    }

    /// The log-density of a built-in law.
    #[staticmethod]
    fn law(law: &Law) -> Self {
        Self { inner: law.density() }
    }

    /// The log-density on the unconstrained space.
    fn transformed(&self, py: Python<'_>, transform: &Transform) -> PyResult<Self> {
        Self::new(py, Transformed::new(Arc::clone(&self.inner), transform.inner.clone()))
    }

    /// The logarithm of the density's integral, where it is known.
    #[getter]
    fn log_evidence(&self) -> Option<f64> {
        self.inner.log_evidence()
    }

    /// Coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Whether it has a gradient.
    #[getter]
    fn has_gradient(&self) -> bool {
        self.inner.has_gradient()
    }

    /// What the target said of the last row that failed.
    #[getter]
    fn complaint(&self) -> Option<String> {
        self.inner.complaint()
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
    ) -> PyResult<WithGradient<'py>> {
        let x = rows(&x, self.inner.dim())?;
        let (values, gradients) = self.run(py, x, n_threads, true)?;
        Ok((PyArray1::from_vec(py, values), matrix(py, gradients, x.dim())?))
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LogDensity>()
}
