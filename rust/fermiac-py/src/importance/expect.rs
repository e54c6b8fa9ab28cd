//! Bindings of `fermiac_importance::expect`.

use crate::common::enter::{Raised, enter};
use crate::targets::target;
use fermiac_importance::{
    Controls, Expectations, Family, Method, OnNan, Settings, Stage, Weights, expect,
};
use fermiac_target::Law;
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(importance_expect, m)?)
}

/// The fields of the settings dictionary, named as the arguments of `fermiac.importance.expect`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not one state")]
struct Options {
    n: usize,
    method: String,
    weights: Option<Vec<f64>>,
    relative: bool,
    controls: String,
    family: String,
    df: f64,
    n_stages: usize,
    adapt_fraction: f64,
    defensive: f64,
    defensive_base: f64,
    keep_best: bool,
    fallback: bool,
    split_signs: bool,
    diagonal: bool,
    full_covariance: bool,
    on_nan: String,
    keep_draws: bool,
    key: u64,
}

impl Options {
    fn settings(self) -> PyResult<Settings> {
        let unknown = |what: &str, given: &str| {
            Err(PyValueError::new_err(format!("unknown {what} '{given}'")))
        };
        Ok(Settings {
            n: self.n,
            method: match self.method.as_str() {
                "mc" => Method::MonteCarlo,
                "aiscv" => Method::Adaptive,
                other => return unknown("method", other),
            },
            weights: match self.weights {
                Some(w) => Weights::Given(w),
                None if self.relative => Weights::Relative,
                None => Weights::Absolute,
            },
            controls: match self.controls.as_str() {
                "own" => Controls::Own,
                "all" => Controls::All,
                "none" => Controls::None,
                other => return unknown("controls", other),
            },
            family: match self.family.as_str() {
                "auto" => Family::Auto(self.df),
                "gaussian" => Family::Gaussian,
                "t" => Family::Student(self.df),
                "mixture" => Family::Mixture,
                other => return unknown("family", other),
            },
            n_stages: self.n_stages,
            adapt_fraction: self.adapt_fraction,
            defensive: self.defensive,
            defensive_base: self.defensive_base,
            keep_best: self.keep_best,
            fallback: self.fallback,
            split_signs: self.split_signs,
            diagonal: self.diagonal,
            full_covariance: self.full_covariance,
            on_nan: match self.on_nan.as_str() {
                "raise" => OnNan::Raise,
                "zero" => OnNan::Zero,
                other => return unknown("on_nan", other),
            },
            keep_draws: self.keep_draws,
            key: self.key,
        })
    }
}

/// Runs `expect`. Returns (estimates or None, exception or None): an interrupted run may have both.
#[pyfunction]
#[pyo3(signature = (integrand, laws, options, n_threads, progress=None))]
fn importance_expect<'py>(
    py: Python<'py>,
    integrand: &Bound<'py, PyAny>,
    laws: &Bound<'py, PyList>,
    options: &Bound<'py, PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Bound<'py, PyDict>>, Option<PyErr>)> {
    let settings = options.extract::<Options>()?.settings()?;
    let raised = Raised::default();
    let integrand = target::integrand(integrand, &raised)?;
    let laws = laws
        .iter()
        .map(|law| target::law(&law, &raised))
        .collect::<PyResult<Vec<Arc<dyn Law>>>>()?;
    let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        let laws: Vec<&dyn Law> = laws.iter().map(AsRef::as_ref).collect();
        expect(integrand.as_ref(), &laws, &settings, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (Some(done), None),
        Err(stopped) => (stopped.partial.map(|p| *p), Some(stopped.error)),
    };
    let raw = done.map(|done| to_dict(py, done, laws[0].dim(), laws.len())).transpose()?;
    Ok((raw, error))
}

fn to_dict(
    py: Python<'_>,
    e: Expectations,
    dim: usize,
    n_laws: usize,
) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    let j = e.mean.len();
    let square = e.covariance.len() == j * j && j > 1;
    let covariance = e.covariance.into_pyarray(py);
    if square {
        raw.set_item("cov", covariance.reshape([j, j])?)?;
    } else {
        raw.set_item("cov", covariance)?;
    }
    raw.set_item("mean", e.mean.into_pyarray(py))?;
    raw.set_item("stderr", e.stderr.into_pyarray(py))?;
    raw.set_item("ess", e.ess.into_pyarray(py))?;
    raw.set_item("khat", e.khat.into_pyarray(py))?;
    raw.set_item("max_share", e.max_share.into_pyarray(py))?;
    raw.set_item("max_variance_share", e.max_variance_share.into_pyarray(py))?;
    raw.set_item("all_zero", e.all_zero.into_pyarray(py))?;
    raw.set_item("no_weight", e.no_weight.into_pyarray(py))?;
    raw.set_item("weight_mean", e.weight_mean.into_pyarray(py))?;
    raw.set_item("weight_stderr", e.weight_stderr.into_pyarray(py))?;
    raw.set_item("n_final", e.n_final)?;
    raw.set_item("n_evals", e.n_evals)?;
    raw.set_item("n_at_bound", e.n_at_bound)?;
    raw.set_item("n_non_finite", e.n_non_finite)?;
    raw.set_item("chosen_stage", e.chosen_stage)?;
    raw.set_item("too_few_for_all", e.too_few_for_all)?;
    let n = e.draws.len() / dim;
    raw.set_item("draws", e.draws.into_pyarray(py).reshape([n, dim])?)?;
    raw.set_item("log_weights", e.log_weights.into_pyarray(py).reshape([n, n_laws])?)?;
    let stages = e.stages.into_iter().map(|s| stage(py, s)).collect::<PyResult<Vec<_>>>()?;
    raw.set_item("stages", stages)?;
    Ok(raw)
}

fn stage(py: Python<'_>, s: Stage) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("n_evals", s.n)?;
    raw.set_item("used", s.used)?;
    raw.set_item("forecast", s.forecast)?;
    raw.set_item("alpha", s.alpha.into_pyarray(py))?;
    raw.set_item("alpha_gap", s.alpha_gap)?;
    raw.set_item("alpha_passes", s.alpha_passes)?;
    raw.set_item("mean", s.mean.into_pyarray(py))?;
    raw.set_item("stderr", s.stderr.into_pyarray(py))?;
    raw.set_item("degenerate", s.degenerate)?;
    Ok(raw)
}
