//! The built-in laws as one Python class, on which `fermiac.distributions` builds its classes.

use crate::common::array::{matrix, rows};
use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::alloc::table_of;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::density::LawDensity;
use fermiac_target::law::{
    Count, Counts, Dirichlet, GaussianCopula, Independent, Lkj, Marginal, Mixture,
    MultivariateNormal, MultivariateT, Polynomials, Product,
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

/// The laws with a distribution function for each coordinate.
enum Form {
    Independent(Arc<Independent>),
    Counts(Arc<Counts>),
    Other,
}

impl Law {
    fn other(inner: impl CoreLaw + 'static) -> Self {
        Self { inner: Arc::new(inner), form: Form::Other }
    }

    /// The log-density.
    pub(crate) fn density(&self) -> Arc<dyn LogDensity> {
        Arc::new(LawDensity::new(Arc::clone(&self.inner)))
    }

    /// Applies a function of the marginals, or that of counts, to every column of a batch.
    fn columns<'py>(
        &self,
        py: Python<'py>,
        x: &PyReadonlyArray2<'py, f64>,
        of_marginal: fn(&Marginal, f64) -> f64,
        of_count: fn(&Count, f64) -> f64,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let dim = self.inner.dim();
        let x = rows(x, dim)?;
        let mapped = compute(py, 1, |context| {
            let mut mapped = Vec::with_capacity(x.data().len());
            for part in x.data().chunks(CHUNK * dim) {
                context.poll()?;
                let part = part.chunks(dim);
                match &self.form {
                    Form::Independent(law) => mapped.extend(
                        part.flat_map(|row| row.iter().zip(law.marginals()))
                            .map(|(x, marginal)| of_marginal(marginal, *x)),
                    ),
                    Form::Counts(law) => mapped.extend(
                        part.flat_map(|row| row.iter().zip(law.counts()))
                            .map(|(x, count)| of_count(count, *x)),
                    ),
                    Form::Other => return Err(no_map()),
                }
            }
            Ok(mapped)
        })?;
        matrix(py, mapped, dim)
    }
}

/// The name and the parameters of a univariate law, and the interval that it is restricted to.
type MarginalSpec = (String, Vec<f64>, Option<(f64, f64)>);

fn made(marginals: &[MarginalSpec]) -> Result<Vec<Marginal>> {
    let one = |(name, values, cut): &MarginalSpec| {
        let whole = Marginal::named(name, values)?;
        cut.map_or(Ok(whole), |(low, high)| whole.truncated(low, high))
    };
    marginals.iter().map(one).collect()
}

fn no_map() -> Error {
    Error::argument("law", "it has no closed form of this function")
}

#[door]
#[pymethods]
impl Law {
    /// Independent coordinates, each given by the name and the parameters of its law and by the
    /// interval that it is restricted to.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)] // what Python hands over is owned
    fn independent(py: Python<'_>, marginals: Vec<MarginalSpec>) -> PyResult<Self> {
        let law = Arc::new(check(py, Independent::new(check(py, made(&marginals))?))?);
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
        Ok(Self::other(check(py, made)?))
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
        Ok(Self::other(check(py, made)?))
    }

    /// The mixture of laws with these weights.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn mixture(py: Python<'_>, weights: Vec<f64>, laws: Vec<Py<Self>>) -> PyResult<Self> {
        let laws = laws.iter().map(|law| law.get().inner.clone()).collect();
        Ok(Self::other(check(py, Mixture::new(&weights, laws))?))
    }

    /// Independent blocks of coordinates.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn product(py: Python<'_>, laws: Vec<Py<Self>>) -> PyResult<Self> {
        let laws = laws.iter().map(|law| law.get().inner.clone()).collect();
        Ok(Self::other(check(py, Product::new(laws))?))
    }

    /// Independent counts, each given by the name and the parameters of its law.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn counts(py: Python<'_>, counts: Vec<(String, Vec<f64>)>) -> PyResult<Self> {
        let made = counts.iter().map(|(name, values)| Count::named(name, values)).collect();
        let law = Arc::new(check(py, Counts::new(check(py, made)?))?);
        Ok(Self { inner: law.clone(), form: Form::Counts(law) })
    }

    /// The Dirichlet law with these parameters.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn dirichlet(py: Python<'_>, concentration: Vec<f64>) -> PyResult<Self> {
        Ok(Self::other(check(py, Dirichlet::new(&concentration))?))
    }

    /// The law of Cholesky factors of correlation matrices with `size` rows.
    #[staticmethod]
    fn lkj(py: Python<'_>, size: usize, eta: f64) -> PyResult<Self> {
        Ok(Self::other(check(py, Lkj::new(size, eta))?))
    }

    /// The law with these marginals, as in `independent`, under a Gaussian copula.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)]
    fn gaussian_copula(
        py: Python<'_>,
        marginals: Vec<MarginalSpec>,
        correlation: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Self> {
        let marginals = check(py, made(&marginals))?;
        Ok(Self::other(check(py, GaussianCopula::new(marginals, correlation.as_slice()?))?))
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
        self.inner.support().into_iter().map(Support::ends).collect()
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
        self.columns(py, &x, Marginal::cdf, Count::cdf)
    }

    /// The map from the unit cube, where there is one.
    #[pyo3(name = "from_unit")]
    #[allow(clippy::needless_pass_by_value)]
    fn map_unit<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        if !matches!(self.form, Form::Other) {
            return self.columns(py, &u, Marginal::quantile, Count::quantile);
        }
        let dim = self.inner.dim();
        let u = rows(&u, dim)?;
        let mapped = compute(py, 1, |context| {
            let mut mapped = vec![0.0; u.data().len()];
            for (u, x) in u.data().chunks(CHUNK * dim).zip(mapped.chunks_mut(CHUNK * dim)) {
                context.poll()?;
                self.inner.map_unit(Rows::new(u, dim), x)?;
            }
            Ok(mapped)
        })?;
        matrix(py, mapped, dim)
    }

    /// The orthonormal polynomials of the law at the rows of `x`.
    #[allow(clippy::needless_pass_by_value)]
    fn polynomials<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f64>,
        degree: usize,
        most: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let dim = self.inner.dim();
        let x = rows(&x, dim)?;
        let all = check(py, Polynomials::new(self.inner.as_ref(), degree, most, "law"))?;
        if all.upto().len() <= degree {
            let why = format!("{degree} given: it makes more than {most} polynomials");
            return check(py, Err(Error::argument("degree", why)));
        }
        let n = x.data().len() / dim;
        let mut out = check(py, table_of("x", 0.0, n, all.len()))?;
        compute(py, 1, |context| {
            let chunks = x.data().chunks(CHUNK * dim).zip(out.chunks_mut(CHUNK * all.len()));
            for (x, out) in chunks {
                context.poll()?;
                all.evaluate(Rows::new(x, dim), out);
            }
            Ok(())
        })?;
        matrix(py, out, all.len())
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Law>()?;
    m.add("UNIVARIATE_LAWS", Marginal::LAWS.iter().copied().collect::<HashMap<_, _>>())?;
    m.add("COUNT_LAWS", Count::LAWS.iter().copied().collect::<HashMap<_, _>>())
}
