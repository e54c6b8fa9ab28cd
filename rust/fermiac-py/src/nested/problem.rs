//! The problem of a nested run, from the arguments of a Python call.

use crate::common::call::call_python;
use crate::common::enter::Raised;
use crate::common::error::check;
use crate::targets::target;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_nested::problem::{CubePrior, Edge, LawPrior, Likelihood, OnNan, Prior, Problem};
use fermiac_target::Dispatch;
use numpy::PyReadonlyArray2;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::sync::Arc;

/// A prior and a likelihood, as Python gives them to every call of a run.
pub(super) type Ports<'a, 'py> = (&'a Bound<'py, PyAny>, &'a Bound<'py, PyAny>);

/// How a problem treats the ends of its axes, and likelihoods that are NaN.
pub(super) struct Rules {
    edges: Vec<Edge>,
    on_nan: OnNan,
}

impl Rules {
    /// Reads one letter for each axis (h, p or r), and the name of the treatment of NaN.
    pub(super) fn read(letters: &str, on_nan: &str) -> PyResult<Self> {
        let edge = |letter| match letter {
            'h' => Ok(Edge::Hard),
            'p' => Ok(Edge::Periodic),
            'r' => Ok(Edge::Reflective),
            other => Err(unknown("edge", &other.to_string())),
        };
        let on_nan = match on_nan {
            "raise" => OnNan::Raise,
            "-inf" => OnNan::Impossible,
            other => return Err(unknown("on_nan", other)),
        };
        Ok(Self { edges: letters.chars().map(edge).collect::<PyResult<_>>()?, on_nan })
    }

    /// The problem of a call; `raised` keeps the exceptions of its functions.
    pub(super) fn problem(
        &self,
        py: Python<'_>,
        ports: Ports<'_, '_>,
        raised: &Raised,
    ) -> PyResult<Problem> {
        let (prior, likelihood) = (prior(ports.0, raised)?, likelihood(ports.1, raised)?);
        check(py, Problem::new(prior, likelihood, self.edges.clone(), self.on_nan))
    }
}

pub(super) fn unknown(what: &str, given: &str) -> PyErr {
    PyValueError::new_err(format!("unknown {what} '{given}'"))
}

/// A prior that is a function in Python.
struct ForeignPrior {
    call: Py<PyAny>,
    dim: usize,
    raised: Raised,
}

impl Prior for ForeignPrior {
    fn dim(&self) -> usize {
        self.dim
    }

    fn transform(&self, u: Rows<'_>, x: &mut [f64]) -> Result<()> {
        Python::attach(|py| -> PyResult<()> {
            let result = call_python(self.call.bind(py), (target::points(py, u)?,))?;
            let values: PyReadonlyArray2<'_, f64> = result.extract()?;
            x.copy_from_slice(values.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the prior"))
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }
}

/// A prior: a built-in law with a map from the cube, (callable, dim), or the cube's dimension.
fn prior(object: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn Prior>> {
    if let Ok(dim) = object.extract::<usize>() {
        return Ok(Arc::new(CubePrior(dim)));
    }
    if let Ok(handle) = object.cast::<crate::targets::distributions::Law>() {
        let law = Arc::clone(&handle.borrow().inner);
        if law.has_unit_map() {
            return Ok(Arc::new(LawPrior(law)));
        }
        return Err(PyValueError::new_err("the law has no map from the unit cube"));
    }
    let (call, dim) = object.extract::<(Py<PyAny>, usize)>().map_err(|_| {
        PyTypeError::new_err("a prior is a built-in law, (callable, dim) or a dimension")
    })?;
    Ok(Arc::new(ForeignPrior { call, dim, raised: raised.clone() }))
}

/// A log-likelihood: a log-density, or (integrand, number of blobs).
fn likelihood(object: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Likelihood> {
    if let Ok((table, n_blobs)) = object.extract::<(Bound<'_, PyAny>, usize)>() {
        return Ok(Likelihood::Table(target::integrand(&table, raised)?, n_blobs));
    }
    Ok(Likelihood::Density(target::log_density(object, raised)?))
}
