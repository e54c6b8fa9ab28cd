//! The class of the chains of denoising Langevin Gibbs.

use super::models::model;
use super::programs::{method_of, options_of};
use super::run::stride_of;
use crate::common::door::decoded;
use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use crate::targets::target::integrand;
use fermiac_base::Error;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_score::langevin::{
    Correction, Gibbs, Integrator, Levels, Oracles, Predictor, Select, Settings, Step,
};
use fermiac_target::Integrand;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<GibbsRun>()
}

/// Chains over noise levels, behind a lock.
#[pyclass(module = "fermiac._core", frozen)]
struct GibbsRun(Mutex<Gibbs>);

/// Points (chains, dim) and levels (chains,).
type Standing<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// Method, options, length of Langevin steps, steps, exponent and end of the grid.
type PyIntegrator<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, (f64, String), usize, f64, f64);

fn integrator(given: &PyIntegrator<'_>) -> PyResult<Integrator> {
    let (method, options, stride, n_steps, rho, sigma_end) = given;
    Ok(Integrator {
        method: method_of(method)?,
        options: options_of(options)?,
        stride: stride_of(stride)?,
        n_steps: *n_steps,
        rho: *rho,
        sigma_end: *sigma_end,
    })
}

/// The dictionary of settings.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options<'py> {
    dim: usize,
    n_chains: usize,
    key: u64,
    first_chain: usize,
    levels: PyReadonlyArray1<'py, f64>,
    log_prior: PyReadonlyArray1<'py, f64>,
    step: (String, f64),
    warmup_step: (String, f64),
    metropolis: Option<String>,
    predictor: String,
    argmax: bool,
    nearest: bool,
    n_warmup: usize,
    n_skip: usize,
    select: String,
    denoise: PyIntegrator<'py>,
    tweedie_step: Option<f64>,
    init: PyIntegrator<'py>,
    init_noise: f64,
    x0: Option<PyReadonlyArray2<'py, f64>>,
    sigma0: Option<PyReadonlyArray1<'py, f64>>,
}

fn unknown<T>(what: &str, name: &str) -> PyResult<T> {
    Err(PyValueError::new_err(format!("unknown {what} '{name}'")))
}

fn step(given: &(String, f64)) -> PyResult<Step> {
    match (given.0.as_str(), given.1) {
        ("langevin", eta) => Ok(Step::Langevin { eta }),
        ("scaled", c) => Ok(Step::Scaled { c }),
        ("ou", c) => Ok(Step::Ou { c }),
        (other, _) => unknown("step", other),
    }
}

impl Options<'_> {
    fn settings(&self, py: Python<'_>) -> PyResult<Settings> {
        let &Self { key, first_chain, argmax, nearest, n_warmup, n_skip, init_noise, .. } = self;
        let levels = Levels::new(self.levels.to_vec()?, self.log_prior.to_vec()?);
        Ok(Settings {
            key,
            first_chain,
            levels: check(py, levels)?,
            step: step(&self.step)?,
            warmup_step: step(&self.warmup_step)?,
            correction: match self.metropolis.as_deref() {
                None => Correction::None,
                Some("exact") => Correction::Exact,
                Some("score") => Correction::Score,
                Some(other) => return unknown("correction", other),
            },
            predictor: match self.predictor.as_str() {
                "exact" => Predictor::Exact { argmax },
                "logits" => Predictor::Logits { argmax },
                "regression" => Predictor::Regression { nearest },
                "estimate" => Predictor::Estimate { nearest },
                other => return unknown("predictor", other),
            },
            n_warmup,
            n_skip,
            select: match self.select.as_str() {
                "min" => Select::Min,
                "last" => Select::Last,
                "random" => Select::Random,
                other => return unknown("select", other),
            },
            denoise: integrator(&self.denoise)?,
            tweedie: self.tweedie_step,
            init: integrator(&self.init)?,
            init_noise,
        })
    }
}

impl GibbsRun {
    fn lock(&self) -> MutexGuard<'_, Gibbs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the core with the model and the function that gives the law of levels.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        ports: (&Bound<'_, PyAny>, Option<&Bound<'_, PyAny>>),
        n_threads: usize,
        progress: Option<&Py<PyAny>>,
        call: impl FnOnce(&mut Gibbs, &Oracles<'_>, &Context<'_>) -> fermiac_base::Result<T> + Send,
    ) -> PyResult<T> {
        let raised = Raised::default();
        let model = model(ports.0, &raised)?;
        let predict: Option<Arc<dyn Integrand>> =
            ports.1.map(|given| integrand(given, &raised)).transpose()?;
        enter(py, n_threads, progress, &raised, |context| {
            let oracles = Oracles { model: model.as_ref(), predict: predict.as_deref() };
            call(&mut self.lock(), &oracles, context)
                .map_err(|error: Error| (error, None::<Box<T>>))
        })
        .map_err(|stopped| stopped.error)
    }
}

#[door]
#[pymethods]
impl GibbsRun {
    /// Chains with these settings.
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Self> {
        let options: Options<'_> = options.extract()?;
        let x0 = options.x0.as_ref().map(|x| x.as_slice().map(<[f64]>::to_vec)).transpose()?;
        let sigma0 =
            options.sigma0.as_ref().map(|s| s.as_slice().map(<[f64]>::to_vec)).transpose()?;
        let settings = options.settings(py)?;
        let made = Gibbs::new(settings, options.dim, options.n_chains, x0, sigma0);
        Ok(Self(Mutex::new(check(py, made)?)))
    }

    /// Starts the chains and makes the sweeps of the warm-up.
    #[pyo3(signature = (model, predict, n_threads, total, progress=None))]
    fn begin(
        &self,
        py: Python<'_>,
        model: &Bound<'_, PyAny>,
        predict: Option<&Bound<'_, PyAny>>,
        n_threads: usize,
        total: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        self.call(py, (model, predict), n_threads, progress.as_ref(), |gibbs, oracles, context| {
            context.set_total(total);
            gibbs.begin(oracles, context)
        })
    }

    /// Makes windows. Returns the denoised points (chains, windows, d), and for each of them its
    /// level, the mean of log s and the share of accepted moves (chains, windows).
    #[pyo3(signature = (model, predict, n_windows, n_threads, total, progress=None))]
    #[allow(clippy::too_many_arguments)] // arguments of a Python call
    fn advance<'py>(
        &self,
        py: Python<'py>,
        model: &Bound<'_, PyAny>,
        predict: Option<&Bound<'_, PyAny>>,
        n_windows: usize,
        n_threads: usize,
        total: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let ports = (model, predict);
        let made =
            self.call(py, ports, n_threads, progress.as_ref(), |gibbs, oracles, context| {
                context.set_total(total);
                context.advance((gibbs.n_windows() * gibbs.n_chains()) as u64);
                gibbs.advance(n_windows, oracles, context)
            })?;
        let gibbs = self.lock();
        let (n, dim) = (gibbs.n_chains(), gibbs.dim());
        let out = PyDict::new(py);
        let draws = PyArray1::from_vec(py, made.draws).reshape([n, n_windows, dim])?;
        out.set_item("draws", draws)?;
        for (name, values) in
            [("sigma", made.sigma), ("log_sigma", made.log_sigma), ("acceptance", made.acceptance)]
        {
            out.set_item(name, PyArray1::from_vec(py, values).reshape([n, n_windows])?)?;
        }
        Ok(out)
    }

    /// Windows that all chains have finished.
    #[getter]
    fn n_windows(&self) -> usize {
        self.lock().n_windows()
    }

    /// The counts of the run.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let gibbs = self.lock();
        let out = PyDict::new(py);
        out.set_item("level_counts", PyArray1::from_slice(py, gibbs.visits()))?;
        out.set_item("passages", PyArray1::from_slice(py, gibbs.passages()))?;
        out.set_item("n_calls", PyArray1::from_slice(py, &gibbs.calls()))?;
        Ok(out)
    }

    /// The points (chains, d) and levels (chains,) of the chains.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Standing<'py>> {
        let gibbs = self.lock();
        let (x, sigma) = gibbs.state();
        let shape = [gibbs.n_chains(), gibbs.dim()];
        Ok((PyArray1::from_slice(py, x).reshape(shape)?, PyArray1::from_slice(py, sigma)))
    }

    /// The state, as words.
    fn save<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = self.lock().persist(&mut codec);
        check(py, saved)?;
        Ok(PyArray1::from_vec(py, codec.into_words()))
    }

    /// Restores a state of `save`.
    fn load(&self, py: Python<'_>, words: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        let mut codec = Codec::reader(words.as_slice()?.to_vec());
        let mut gibbs = self.lock();
        // Invalid words must not leave half a state behind.
        let mut loaded = gibbs.clone();
        check(py, decoded(|| loaded.persist(&mut codec)))?;
        *gibbs = loaded;
        Ok(())
    }
}
