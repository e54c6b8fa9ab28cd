//! The built-in laws as one Python class, on which `fermiac.distributions` builds its classes.

use crate::common::array::{matrix, rows};
use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::Error;
use fermiac_base::alloc::table_of;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::special::normal_quantile;
use fermiac_target::density::LawDensity;
use fermiac_target::law::{
    Independent, Marginal, Mixture, MultivariateNormal, MultivariateT, Product,
};
use fermiac_target::{Law as CoreLaw, LogDensity, Support};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// A built-in law.
#[pyclass(frozen, module = "fermiac._core")]
pub(crate) struct Law {
    pub(crate) inner: Arc<dyn CoreLaw>,
    form: Form,
}

/// The map from the unit cube.
enum Form {
    Independent(Arc<Independent>),
    Normal(Arc<MultivariateNormal>),
    Unmapped,
}

impl Law {
    fn unmapped(inner: impl CoreLaw + 'static) -> Self {
        Self { inner: Arc::new(inner), form: Form::Unmapped }
    }

    /// The log-density.
    pub(crate) fn density(&self) -> Arc<dyn LogDensity> {
        Arc::new(LawDensity::new(Arc::clone(&self.inner)))
    }

    /// Applies a marginal's function to every column of a batch.
    fn columns<'py>(
        &self,
        py: Python<'py>,
        x: &PyReadonlyArray2<'py, f64>,
        function: fn(&Marginal, f64) -> f64,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let dim = self.inner.dim();
        let x = rows(x, dim)?;
        let mapped = compute(py, 1, |context| {
            let Form::Independent(law) = &self.form else { return Err(no_map()) };
            let mut mapped = Vec::with_capacity(x.data().len());
            for part in x.data().chunks(CHUNK * dim) {
                context.poll()?;
                let pairs = part.chunks(dim).flat_map(|row| row.iter().zip(law.marginals()));
                mapped.extend(pairs.map(|(x, marginal)| function(marginal, *x)));
            }
            Ok(mapped)
        })?;
        matrix(py, mapped, dim)
    }
}

fn no_map() -> Error {
    Error::argument("law", "it has no closed form of this function")
}

#[door]
#[pymethods]
impl Law {
    /// Independent coordinates, each given by the name and the parameters of its law.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)] // what Python hands over is owned
    fn independent(py: Python<'_>, marginals: Vec<(String, Vec<f64>)>) -> PyResult<Self> {
        let made = marginals.iter().map(|(name, values)| Marginal::named(name, values)).collect();
        let law = Arc::new(check(py, Independent::new(check(py, made)?))?);
        Ok(Self { inner: law.clone(), form: Form::Independent(law) })
    }

    /// The normal law with this mean and covariance.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn multivariate_normal(
        py: Python<'_>,
        mean: PyReadonlyArray1<'_, f64>,
        cov: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Self> {
        let made = MultivariateNormal::new(mean.as_slice()?, cov.as_slice()?);
        let law = Arc::new(check(py, made)?);
        Ok(Self { inner: law.clone(), form: Form::Normal(law) })
    }

    /// The t law with these degrees of freedom, location and scale matrix.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn multivariate_t(
        py: Python<'_>,
        df: f64,
        loc: PyReadonlyArray1<'_, f64>,
        scale: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Self> {
        let made = MultivariateT::new(df, loc.as_slice()?, scale.as_slice()?);
        Ok(Self::unmapped(check(py, made)?))
    }

    /// The mixture of laws with these weights.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn mixture(py: Python<'_>, weights: Vec<f64>, laws: Vec<Py<Self>>) -> PyResult<Self> {
        let laws = laws.iter().map(|law| law.get().inner.clone()).collect();
        Ok(Self::unmapped(check(py, Mixture::new(&weights, laws))?))
    }

    /// Independent blocks of coordinates.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn product(py: Python<'_>, laws: Vec<Py<Self>>) -> PyResult<Self> {
        let laws = laws.iter().map(|law| law.get().inner.clone()).collect();
        Ok(Self::unmapped(check(py, Product::new(laws))?))
    }

    /// Coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// Whether the core can map the unit cube to it.
    #[getter]
    fn has_unit_map(&self) -> bool {
        self.inner.has_unit_map()
    }

    /// The bounds (low, high) of every coordinate.
    #[getter]
    fn support(&self) -> Vec<(f64, f64)> {
        let bounds = |support| match support {
            Support::Real => (f64::NEG_INFINITY, f64::INFINITY),
            Support::Above(low) => (low, f64::INFINITY),
            Support::Below(high) => (f64::NEG_INFINITY, high),
            Support::Between(low, high) => (low, high),
        };
        self.inner.support().into_iter().map(bounds).collect()
    }

    /// The log-densities of the rows of a C-contiguous (n, d) array.
    #[allow(clippy::needless_pass_by_value)]
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let x = rows(&x, self.inner.dim())?;
        let mut out = vec![0.0; x.len()];
        let dim = x.dim();
        compute(py, 1, |context| {
            for (x, out) in x.data().chunks(CHUNK * dim).zip(out.chunks_mut(CHUNK)) {
                context.poll()?;
                self.inner.log_density(Rows::new(x, dim), out)?;
            }
            Ok(())
        })?;
        Ok(PyArray1::from_vec(py, out))
    }

    /// `n` draws; chunk c of them comes from the stream at index `index0` + c.
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        key: u64,
        index0: u64,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let dim = self.inner.dim();
        let mut out = check(py, table_of("n", 0.0, n, dim))?;
        compute(py, 1, |context| {
            let mut chunks = (index0..).zip(out.chunks_mut(CHUNK * dim));
            chunks.try_for_each(|(index, chunk)| {
                context.poll()?;
                self.inner.sample(&mut Stream::new(key, Domain::Law, index, 0), chunk)
            })
        })?;
        matrix(py, out, dim)
    }

    /// The distribution functions of independent coordinates.
    #[allow(clippy::needless_pass_by_value)]
    fn cdf<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.columns(py, &x, Marginal::cdf)
    }

    /// The map from the unit cube, where there is one.
    #[pyo3(name = "from_unit")]
    #[allow(clippy::needless_pass_by_value)]
    fn map_unit<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let Form::Normal(law) = &self.form else {
            return self.columns(py, &u, Marginal::quantile);
        };
        let dim = law.dim();
        let u = rows(&u, dim)?;
        let placed = compute(py, 1, |context| {
            let mut placed = Vec::with_capacity(u.data().len());
            for part in u.data().chunks(CHUNK * dim) {
                context.poll()?;
                let mut z: Vec<f64> = part.iter().map(|u| normal_quantile(*u)).collect();
                law.place(&mut z)?;
                placed.append(&mut z);
            }
            Ok(placed)
        })?;
        matrix(py, placed, dim)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Law>()?;
    m.add("UNIVARIATE_LAWS", Marginal::LAWS.iter().copied().collect::<HashMap<_, _>>())
}
