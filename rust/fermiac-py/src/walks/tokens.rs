//! Tokens and their losses as Python classes; `fermiac.walks` runs tokens block by block.

use super::gradient;
use crate::common::call::call_python;
use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_target::Dispatch;
use fermiac_walks::token::{
    Curvature, Data, Foreign, Link, Loss, Nodes, Projection, Quadratic, Rule, StepSizes, Tokens,
    Trace,
};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray3,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyTokens>()?;
    m.add_class::<TokenLoss>()
}

/// A loss on each node, evaluated without the interpreter.
#[pyclass(name = "TokenLoss", module = "fermiac._core", frozen)]
pub(super) struct TokenLoss(Loss);

#[door]
#[pymethods]
impl TokenLoss {
    /// Quadratic functions about the rows of `b`; `kind` is the form of `a`: "scalars",
    /// "diagonals", "full", or "same" for one number.
    #[staticmethod]
    fn quadratic(
        py: Python<'_>,
        b: PyReadonlyArray2<'_, f64>,
        kind: &str,
        a: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        let a = a.as_slice()?;
        let curvature = match (kind, a) {
            ("same", [a]) => Curvature::Same(*a),
            ("scalars", a) => Curvature::Scalars(a.to_vec()),
            ("diagonals", a) => Curvature::Diagonals(a.to_vec()),
            ("full", a) => Curvature::Full(a.to_vec()),
            _ => return Err(PyValueError::new_err(format!("unknown curvature '{kind}'"))),
        };
        let (dim, b) = (b.shape()[1], b.as_slice()?);
        let loss = py.detach(|| Quadratic::new(dim, b, curvature));
        Ok(Self(Loss::Quadratic(Arc::new(check(py, loss)?))))
    }

    /// Rows of data, sorted by node.
    #[staticmethod]
    fn data(
        py: Python<'_>,
        x: PyReadonlyArray2<'_, f64>,
        y: PyReadonlyArray1<'_, f64>,
        starts: PyReadonlyArray1<'_, i64>,
        link: &str,
        ridge: f64,
    ) -> PyResult<Self> {
        let link = match link {
            "square" => Link::Square,
            "logistic" => Link::Logistic,
            other => return Err(PyValueError::new_err(format!("unknown link '{other}'"))),
        };
        let starts = starts.as_slice()?.iter().map(|&start| start as usize).collect();
        let (dim, x, y) = (x.shape()[1], x.as_slice()?, y.as_slice()?.to_vec());
        let loss = py.detach(|| Data::new(dim, x, y, starts, link, ridge));
        Ok(Self(Loss::Data(Arc::new(check(py, loss)?))))
    }

    /// A C function by its address, which is valid while the owner lives.
    #[staticmethod]
    fn native(
        py: Python<'_>,
        address: usize,
        user_data: usize,
        dim: usize,
        name: String,
        owner: Py<PyAny>,
    ) -> PyResult<Self> {
        let made = gradient::Native::new(address, user_data, dim, name, owner);
        Ok(Self(Loss::Foreign(Arc::new(check(py, made)?))))
    }

    /// The gradients of rows of parameters at nodes, or with `values` the losses.
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray2<'_, f64>,
        nodes: PyReadonlyArray1<'_, i64>,
        values: bool,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let nodes: Vec<usize> = nodes.as_slice()?.iter().map(|&node| node as usize).collect();
        let theta = theta.as_slice()?;
        let found = py.detach(|| self.0.evaluate(theta, &nodes, values));
        Ok(PyArray1::from_vec(py, check(py, found)?))
    }
}

/// A Python function from (n, d) and (n,) to a checked, C-contiguous (n, d).
struct Callable {
    call: Py<PyAny>,
    dim: usize,
    raised: Raised,
}

impl Foreign for Callable {
    fn dim(&self) -> usize {
        self.dim
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::CallingThread
    }

    fn gradients(&self, theta: &[f64], nodes: &[i64], out: &mut [f64]) -> fermiac_base::Result<()> {
        Python::attach(|py| -> PyResult<()> {
            let theta = PyArray1::from_slice(py, theta).reshape([nodes.len(), self.dim])?;
            let nodes = PyArray1::from_slice(py, nodes);
            let given = call_python(self.call.bind(py), (theta, nodes))?;
            out.copy_from_slice(given.extract::<PyReadonlyArray2<'_, f64>>()?.as_slice()?);
            Ok(())
        })
        .map_err(|error| self.raised.keep(error, "in the gradient"))
    }
}

/// The dictionary of settings.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Settings<'py> {
    scale: f64,
    exponent: f64,
    step_sizes: Option<PyReadonlyArray1<'py, f64>>,
    momentum: f64,
    clip: Option<f64>,
    radius: Option<f64>,
    bounds: Option<(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>)>,
    local_steps: u32,
    batch: Option<usize>,
    average_after: Option<u64>,
    sync: Option<u64>,
}

impl Settings<'_> {
    fn rule(&self) -> PyResult<Rule> {
        let &Self { scale, exponent, momentum, clip, local_steps, average_after, sync, .. } = self;
        let sizes = match &self.step_sizes {
            Some(sizes) => StepSizes::Table(sizes.as_slice()?.to_vec()),
            None => StepSizes::Power { scale, exponent },
        };
        let projection = match (&self.bounds, self.radius) {
            (Some((low, high)), _) => Projection::between(low.as_slice()?, high.as_slice()?),
            (None, Some(radius)) => Projection::Ball(radius),
            (None, None) => Projection::Nothing,
        };
        let batch = self.batch.unwrap_or(usize::MAX);
        Ok(Rule { sizes, momentum, clip, projection, local_steps, batch, average_after, sync })
    }
}

/// Paths of walkers.
#[derive(FromPyObject)]
enum PyNodes<'py> {
    Short(PyReadonlyArray2<'py, u32>),
    Long(PyReadonlyArray2<'py, u64>),
}

/// A loss: a handle, or a Python function.
#[derive(FromPyObject)]
enum PyLoss<'py> {
    Handle(PyRef<'py, TokenLoss>),
    Function(Py<PyAny>),
}

/// Tokens behind a lock.
#[pyclass(name = "Tokens", module = "fermiac._core", frozen)]
pub(super) struct PyTokens {
    inner: Mutex<Tokens>,
    dim: usize,
}

impl PyTokens {
    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[door]
#[pymethods]
impl PyTokens {
    /// Creates tokens at the rows of `theta`.
    #[new]
    fn new(
        py: Python<'_>,
        settings: &Bound<'_, PyAny>,
        theta: PyReadonlyArray2<'_, f64>,
        key: u64,
    ) -> PyResult<Self> {
        let rule = settings.extract::<Settings<'_>>()?.rule()?;
        let dim = theta.shape()[1];
        let tokens = check(py, Tokens::new(rule, dim, theta.as_slice()?, key))?;
        Ok(Self { inner: Mutex::new(tokens), dim })
    }

    /// Follows paths of walkers that begin after step `first`; fills the trace (tokens, slots, dim)
    /// with every `every`-th step after `trace_first`. Returns the exception that stopped the run,
    /// or None.
    #[pyo3(signature = (loss, paths, first, trace, trace_first, every, n_threads, total, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are those of a Python call
    fn run(
        &self,
        py: Python<'_>,
        loss: PyLoss<'_>,
        paths: PyNodes<'_>,
        first: u64,
        mut trace: PyReadwriteArray3<'_, f64>,
        trace_first: u64,
        every: u64,
        n_threads: usize,
        total: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Option<PyErr>> {
        let raised = Raised::default();
        let loss = match loss {
            PyLoss::Handle(handle) => handle.0.clone(),
            PyLoss::Function(call) => {
                Loss::Foreign(Arc::new(Callable { call, dim: self.dim, raised: raised.clone() }))
            }
        };
        let nodes = match &paths {
            PyNodes::Short(paths) => Nodes::Short(paths.as_slice()?),
            PyNodes::Long(paths) => Nodes::Long(paths.as_slice()?),
        };
        let n_tokens = trace.shape()[0] as u64;
        let values = trace.as_slice_mut()?;
        let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
            let mut tokens = self.lock();
            context.set_total(total);
            context.advance(tokens.n_done() * n_tokens);
            let trace = Trace { first: trace_first, every, values };
            tokens.run(&loss, nodes, first, trace, context).map_err(|error| (error, None))
        });
        Ok(outcome.err().map(|stopped: crate::common::enter::Stopped<()>| stopped.error))
    }

    /// The number of steps done.
    #[getter]
    fn n_done(&self) -> u64 {
        self.lock().n_done()
    }

    /// (step, token, node) of the first parameters that are not finite, or None.
    #[getter]
    fn lost(&self) -> Option<(u64, usize, usize)> {
        self.lock().lost().map(|lost| (lost.step, lost.token, lost.node))
    }

    /// The parameters of the tokens.
    fn theta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.rows(py, self.lock().theta())
    }

    /// The averages of the parameters, if kept.
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        self.rows(py, self.lock().mean())
    }

    /// The state, in words.
    fn save<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_vec(py, self.lock().save())
    }

    /// Restores a state of `save`.
    fn load(&self, py: Python<'_>, words: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        check(py, self.lock().load(words.as_slice()?))
    }
}

impl PyTokens {
    fn rows<'py>(&self, py: Python<'py>, values: Vec<f64>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows = values.len() / self.dim;
        PyArray1::from_vec(py, values).reshape([rows, self.dim])
    }
}
