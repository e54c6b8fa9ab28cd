//! Conditional laws that are drawn without Python: conjugate ones, and those behind C pointers.
#![allow(unsafe_code, reason = "an address becomes a function")]

use crate::common::dict::entry;
use crate::common::error::check;
use crate::targets::transforms::Transform;
use fermiac_base::{Error, Result};
use fermiac_mcmc::Constrained;
use fermiac_mcmc::conjugate::{
    Coefficients, Conjugate, Counts, Dirichlet, Groups, Law, NormalMean, NormalMeanVariance,
    NormalVariance, Prior, Quantity, Source, SumBeta, SumGamma,
};
use fermiac_target::Conditional;
use fermiac_target::native::{NativeDraw, stream_functions};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::c_void;
use std::sync::Arc;

/// The law of a block.
#[pyclass(name = "BlockLaw", module = "fermiac._core", frozen)]
pub(super) struct PyBlockLaw {
    pub(super) inner: Arc<dyn Conditional>,
}

#[door]
#[pymethods]
impl PyBlockLaw {
    /// Makes a conjugate law in states of `dim` coordinates.
    #[staticmethod]
    fn conjugate(
        py: Python<'_>,
        kind: &str,
        name: String,
        dim: usize,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let mut stopped = None;
        let made = conjugate(kind, name, dim, options, &mut || {
            py.check_signals().map_err(|error| {
                stopped = Some(error);
                Error::Cancelled
            })
        });
        match (made, stopped) {
            (_, Some(error)) => Err(error),
            (made, None) => Ok(Self { inner: made? }),
        }
    }

    /// Makes the law of a native function at an address, which the Python layer has checked.
    #[staticmethod]
    fn native(
        py: Python<'_>,
        address: usize,
        user_data: usize,
        dim: usize,
        outputs: usize,
        name: String,
        owner: Py<PyAny>,
    ) -> PyResult<Self> {
        // SAFETY: the user of `fermiac.mcmc.conditionals.native` vouches that the address is that
        // of such a function, which any thread may call as long as its owner lives.
        let made = unsafe {
            let (address, user) = (address as *const c_void, user_data as *mut c_void);
            NativeDraw::new(address, user, (dim, outputs), name, Box::new(owner))
        };
        Ok(Self { inner: Arc::new(check(py, made)?) })
    }

    /// The same law for chains in the unconstrained space of a transform.
    fn transformed(
        &self,
        py: Python<'_>,
        transform: &Transform,
        block: Vec<usize>,
    ) -> PyResult<Self> {
        let law = Constrained::new(Arc::clone(&self.inner), transform.inner.clone(), block);
        Ok(Self { inner: Arc::new(check(py, law)?) })
    }
}

/// The addresses of the C functions that draw from a stream: uniform, normal, exponential, gamma.
#[door]
#[pyfunction]
fn native_stream_functions() -> [usize; 4] {
    stream_functions()
}

type Poll<'a> = &'a mut dyn FnMut() -> Result<()>;

fn conjugate(
    kind: &str,
    name: String,
    dim: usize,
    options: &Bound<'_, PyAny>,
    poll: Poll<'_>,
) -> PyResult<Arc<dyn Conditional>> {
    let py = options.py();
    let of = |key: &str| quantity(&options.get_item(key)?, dim);
    let groups = || {
        let of = entry::<PyReadonlyArray1<'_, i64>>(options, "groups")?;
        let of: Vec<usize> = of.as_slice()?.iter().map(|&j| j as usize).collect();
        check(py, Groups::new(&of, entry(options, "n_groups")?))
    };
    match kind {
        "normal_mean" => {
            let law = NormalMean::new(
                of("data")?,
                of("variance")?,
                groups()?,
                of("prior_mean")?,
                of("prior_variance")?,
            );
            Ok(named(name, dim, law))
        }
        "normal_variance" => {
            let made =
                NormalVariance::new(of("data")?, groups()?, of("shape")?, of("scale")?, poll);
            Ok(named(name, dim, check(py, made)?))
        }
        "normal_mean_variance" => {
            let law = NormalMeanVariance::new(
                of("data")?,
                groups()?,
                of("prior_mean")?,
                of("prior_count")?,
                of("shape")?,
                of("scale")?,
            );
            Ok(named(name, dim, law))
        }
        "gamma" => {
            let law =
                SumGamma::new(of("shapes")?, of("rates")?, groups()?, of("shape")?, of("rate")?);
            Ok(named(name, dim, law))
        }
        "beta" => {
            let law =
                SumBeta::new(of("successes")?, of("failures")?, groups()?, of("a")?, of("b")?);
            Ok(named(name, dim, law))
        }
        "dirichlet" => {
            let labels = entry::<bool>(options, "labels")?;
            let counts = of("counts")?;
            let counts =
                if labels { Counts::Labels(counts, groups()?) } else { Counts::Numbers(counts) };
            Ok(named(name, dim, Dirichlet::new(counts, of("alpha")?, entry(options, "width")?)))
        }
        "coefficients" => {
            let matrix = entry::<PyReadonlyArray2<'_, f64>>(options, "matrix")?;
            let precision = entry::<Option<PyReadonlyArray2<'_, f64>>>(options, "precision")?;
            let prior = match precision {
                Some(precision) => Prior::Precision(precision.as_slice()?.to_vec()),
                None => Prior::Variances(of("prior_variance")?),
            };
            let made = Coefficients::new(
                matrix.as_slice()?.to_vec(),
                of("data")?,
                of("variance")?,
                of("prior_mean")?,
                prior,
                poll,
            );
            Ok(named(name, dim, check(py, made)?))
        }
        other => Err(PyValueError::new_err(format!("unknown conjugate law '{other}'"))),
    }
}

fn named<L: Law + 'static>(name: String, dim: usize, law: L) -> Arc<dyn Conditional> {
    Arc::new(Conjugate::new(name, dim, law))
}

/// A quantity of (places, constants, terms), where a term is (factor, coordinates, matrix or None):
/// one coordinate is the same at every place.
fn quantity(given: &Bound<'_, PyAny>, dim: usize) -> PyResult<Quantity> {
    type Term<'py> = (f64, bool, PyReadonlyArray1<'py, i64>, Option<PyReadonlyArray2<'py, f64>>);
    let (n, constant, terms) =
        given.extract::<(usize, PyReadonlyArray1<'_, f64>, Vec<Term<'_>>)>()?;
    let source = |(factor, is_one, coordinates, matrix): Term<'_>| {
        let at: Vec<usize> = coordinates.as_slice()?.iter().map(|&i| i as usize).collect();
        let source = match (matrix, at.first()) {
            (Some(matrix), _) => Source::Linear(at, matrix.as_slice()?.to_vec()),
            (None, Some(&first)) if is_one => Source::One(first),
            (None, _) => Source::Each(at),
        };
        Ok((factor, source))
    };
    let sources = terms.into_iter().map(source).collect::<PyResult<_>>()?;
    check(given.py(), Quantity::new(n, dim, constant.as_slice()?.to_vec(), sources))
}

/// Adds the class and the function of this file to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyBlockLaw>()?;
    m.add_function(wrap_pyfunction!(native_stream_functions, m)?)
}
