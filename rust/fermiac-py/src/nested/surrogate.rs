//! Bindings of surrogates, of their test and their region of trust, and of the genetic searches.

use crate::common::array::rows;
use crate::common::call::call_python;
use crate::common::dict::items;
use crate::common::enter::{Raised, enter_whole};
use crate::common::error::check;
use crate::targets::target;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_nested::surrogate::{
    Fitted, Guarded, SearchOptions, TrainOptions, Trust, gate, maximize, search_architecture, train,
};
use fermiac_target::LogDensity;
use fermiac_target::density::evaluate;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Surrogate>()?;
    m.add_class::<GuardedDensity>()?;
    m.add_function(wrap_pyfunction!(nested_gate, m)?)?;
    m.add_function(wrap_pyfunction!(nested_maximize, m)?)?;
    m.add_function(wrap_pyfunction!(nested_architecture, m)?)
}

/// Replaces fields by the entries of a dictionary that have their names, if they exist and are not
/// None.
macro_rules! replace {
    ($made:ident <- $options:ident: $($name:ident)*) => {
        $(if let Some(value) = $options.get_item(stringify!($name))?.filter(|v| !v.is_none()) {
            $made.$name = value.extract()?;
        })*
    };
}

/// The options of a training, with defaults for missing ones.
fn training(options: &Bound<'_, PyDict>) -> PyResult<TrainOptions> {
    let mut made = TrainOptions::default();
    replace! { made <- options:
        widths n_heads learning_rate batch max_epochs patience validation
    }
    Ok(made)
}

/// The search options of `nested_architecture`.
fn searching(options: &Bound<'_, PyDict>) -> PyResult<SearchOptions> {
    let mut made = SearchOptions::default();
    replace! { made <- options: population generations crossover mutation epochs }
    Ok(made)
}

/// (n,) means and spreads.
type Prediction<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// A trained surrogate.
#[pyclass(frozen, module = "fermiac._core")]
pub(super) struct Surrogate(Arc<Fitted>);

#[door]
#[pymethods]
impl Surrogate {
    /// Trains one on the log-likelihoods (n,) of points (n, d) of the unit cube.
    #[staticmethod]
    #[pyo3(signature = (u, ell, options, key, n_threads, progress=None))]
    fn train(
        py: Python<'_>,
        u: PyReadonlyArray2<'_, f64>,
        ell: PyReadonlyArray1<'_, f64>,
        options: &Bound<'_, PyDict>,
        key: u64,
        n_threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let options = training(options)?;
        let (u, ell) = (all_rows(&u)?, ell.as_slice()?);
        let made = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
            train(u, ell, &options, key, context)
        });
        made.map(|fitted| Self(Arc::new(fitted)))
    }

    /// The number of coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// The root mean square error of each perceptron on the validation points, in nats.
    #[getter]
    fn validation_errors(&self) -> Vec<f64> {
        self.0.validation_errors()
    }

    /// The number of training epochs of each perceptron.
    #[getter]
    fn epochs(&self) -> Vec<usize> {
        self.0.epochs().to_vec()
    }

    /// The ensemble's means and standard deviations at the rows of a C-contiguous (n, d) array.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Prediction<'py>> {
        let dim = self.0.dim();
        let u = rows(&u, dim)?;
        let n_threads = if u.len() <= CHUNK { 1 } else { n_threads };
        let (mut means, mut spreads) = (Vec::new(), Vec::new());
        enter_whole(py, n_threads, None, &Raised::default(), |context| {
            let work = |c: usize| {
                let end = ((c + 1) * CHUNK).min(u.len());
                let part = Rows::new(&u.data()[c * CHUNK * dim..end * dim], dim);
                let (mut mean, mut spread) = (vec![0.0; part.len()], vec![0.0; part.len()]);
                self.0.predict(part, &mut mean, &mut spread)?;
                Ok((mean, spread))
            };
            let fold = |_, (mean, spread): (Vec<f64>, Vec<f64>)| {
                means.extend_from_slice(&mean);
                spreads.extend_from_slice(&spread);
                Ok(())
            };
            context.ordered(u.len().div_ceil(CHUNK), work, fold)
        })?;
        Ok((PyArray1::from_vec(py, means), PyArray1::from_vec(py, spreads)))
    }
}

/// A log-likelihood on the unit cube: a surrogate where it is trusted, and the truth elsewhere.
#[pyclass(frozen, name = "GuardedDensity", module = "fermiac._core")]
pub(crate) struct GuardedDensity {
    surrogate: Arc<Fitted>,
    trust: Arc<Trust>,
    truth: Py<PyAny>,
    n_true: Arc<AtomicU64>,
}

impl GuardedDensity {
    /// The log-density for one call; exceptions of the truth are kept in `raised`.
    pub(crate) fn density(&self, py: Python<'_>, raised: &Raised) -> PyResult<Arc<dyn LogDensity>> {
        let truth = target::log_density(self.truth.bind(py), raised)?;
        let (surrogate, trust) = (Arc::clone(&self.surrogate), Arc::clone(&self.trust));
        let made = Guarded::new(surrogate, trust, truth, Arc::clone(&self.n_true));
        Ok(Arc::new(check(py, made)?))
    }
}

#[door]
#[pymethods]
impl GuardedDensity {
    /// Combines a surrogate, trusted near the points `u` of high log-likelihood `ell`, with the true
    /// log-likelihood, a handle or (evaluate, dim, has_gradient).
    #[new]
    fn new(
        py: Python<'_>,
        surrogate: &Surrogate,
        u: PyReadonlyArray2<'_, f64>,
        ell: PyReadonlyArray1<'_, f64>,
        log_density: Py<PyAny>,
    ) -> PyResult<Self> {
        let trust = check(py, Trust::fit(rows(&u, surrogate.0.dim())?, ell.as_slice()?))?;
        let made = Self {
            surrogate: Arc::clone(&surrogate.0),
            trust: Arc::new(trust),
            truth: log_density,
            n_true: Arc::default(),
        };
        // Inconsistent dimensions raise here, not in the first run.
        made.density(py, &Raised::default())?;
        Ok(made)
    }

    /// The number of coordinates of a point.
    #[getter]
    fn dim(&self) -> usize {
        self.surrogate.dim()
    }

    /// The number of rows at which the true log-likelihood was evaluated.
    #[getter]
    fn n_true(&self) -> u64 {
        self.n_true.load(Ordering::Relaxed)
    }

    /// Whether each row of a C-contiguous (n, d) array is where the surrogate is trusted.
    fn trusts<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let u = rows(&u, self.trust.dim())?;
        let inside = py.detach(|| u.iter().map(|row| self.trust.contains(row)).collect());
        Ok(PyArray1::from_vec(py, inside))
    }

    /// The values at the rows of a C-contiguous (n, d) array.
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let raised = Raised::default();
        let density = self.density(py, &raised)?;
        let u = rows(&u, self.surrogate.dim())?;
        let values = enter_whole(py, 1, None, &raised, |_| {
            let mut values = vec![0.0; u.len()];
            evaluate(density.as_ref(), u, 0, &mut values).map(|()| values)
        });
        values.map(|values| values.into_pyarray(py))
    }
}

/// The test of a surrogate from its errors at held-out points.
#[door]
#[pyfunction]
fn nested_gate<'py>(
    py: Python<'py>,
    errors: PyReadonlyArray1<'_, f64>,
    ell: PyReadonlyArray1<'_, f64>,
    ell_max: f64,
    dim: usize,
    tol: f64,
) -> PyResult<Bound<'py, PyDict>> {
    let (errors, ell) = (errors.as_slice()?, ell.as_slice()?);
    if errors.len() != ell.len() {
        let why = format!("{} errors for {} log-likelihoods", errors.len(), ell.len());
        return Err(PyValueError::new_err(why));
    }
    let found = gate(errors, ell, ell_max, dim, tol);
    let raw = PyDict::new(py);
    items! { raw <- found: n median sd tail bound passed }
    Ok(raw)
}

/// Searches the unit cube for the largest value of a function from a C-contiguous (n, dim) array to
/// one of (n,), and returns the best point and its value.
#[door]
#[pyfunction]
fn nested_maximize(
    py: Python<'_>,
    function: Py<PyAny>,
    dim: usize,
    key: u64,
) -> PyResult<(Vec<f64>, f64)> {
    let raised = Raised::default();
    let evaluate_batch = |u: Rows<'_>, out: &mut [f64]| -> Result<()> {
        let call = Python::attach(|py| -> PyResult<()> {
            let result = call_python(function.bind(py), (target::points(py, u)?,))?;
            let values: PyReadonlyArray1<'_, f64> = result.extract()?;
            if values.len() != out.len() {
                let why = format!("{} values were given for {} points", values.len(), out.len());
                return Err(PyValueError::new_err(why));
            }
            out.copy_from_slice(values.as_slice()?);
            Ok(())
        });
        call.map_err(|error| raised.keep(error, "in the function to maximize"))
    };
    enter_whole(py, 1, None, &raised, |context| {
        let mut evaluate = |u: Rows<'_>, out: &mut [f64]| {
            context.poll()?;
            evaluate_batch(u, out)
        };
        maximize(dim, key, &mut evaluate)
    })
}

/// Searches for layers, learning rate and batch size of the perceptrons.
#[door]
#[pyfunction]
#[pyo3(signature = (u, ell, options, search, key, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "they are those of a Python call")]
fn nested_architecture<'py>(
    py: Python<'py>,
    u: PyReadonlyArray2<'_, f64>,
    ell: PyReadonlyArray1<'_, f64>,
    options: &Bound<'py, PyDict>,
    search: &Bound<'py, PyDict>,
    key: u64,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = training(options)?;
    let search = searching(search)?;
    let (u, ell) = (all_rows(&u)?, ell.as_slice()?);
    let found = enter_whole(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        search_architecture(u, ell, &options, &search, key, context)
    })?;
    let (raw, options) = (PyDict::new(py), found.options);
    items! { raw <- options: widths learning_rate batch }
    items! { raw <- found: loss n_trials }
    Ok(raw)
}

/// The rows of a C-contiguous array of at least one column.
fn all_rows<'a>(array: &'a PyReadonlyArray2<'_, f64>) -> PyResult<Rows<'a>> {
    match array.shape()[1] {
        0 => Err(PyValueError::new_err("an array without columns was given")),
        dim => rows(array, dim),
    }
}
