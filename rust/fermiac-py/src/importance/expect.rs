//! Bindings of `fermiac_importance::expect`.

use super::trained::state;
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, enter, enter_whole};
use crate::common::error::check;
use crate::targets::target;
use fermiac_importance::blocks::{Block, Prepared, block, combine, prepare};
use fermiac_importance::integrate::Points;
use fermiac_importance::{
    Controls, Expectations, Family, Method, OnNan, Options, Settings, Stage, Weights, expect,
};
use fermiac_target::{Integrand, Law};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(importance_expect, m)?)?;
    m.add_function(wrap_pyfunction!(importance_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(importance_block, m)?)?;
    m.add_function(wrap_pyfunction!(importance_combine, m)?)?;
    m.add_function(wrap_pyfunction!(importance_join, m)?)
}

/// The settings of a dictionary with the arguments of `fermiac.importance.expect`.
fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let unknown =
        |what: &str, given: &str| Err(PyValueError::new_err(format!("unknown {what} '{given}'")));
    let df = entry(options, "df")?;
    Ok(Settings {
        n: entry(options, "n")?,
        method: match entry::<String>(options, "method")?.as_str() {
            "mc" => Method::MonteCarlo,
            "aiscv" => Method::Adaptive,
            other => return unknown("method", other),
        },
        weights: match entry(options, "weights")? {
            Some(w) => Weights::Given(w),
            None if entry(options, "relative")? => Weights::Relative,
            None => Weights::Absolute,
        },
        controls: match entry::<String>(options, "controls")?.as_str() {
            "own" => Controls::Own,
            "all" => Controls::All,
            "polynomial" => Controls::Polynomial,
            "none" => Controls::None,
            other => return unknown("controls", other),
        },
        family: match entry::<String>(options, "family")?.as_str() {
            "auto" => Family::Auto(df),
            "gaussian" => Family::Gaussian,
            "t" => Family::Student(df),
            "mixture" => Family::Mixture,
            other => return unknown("family", other),
        },
        n_stages: entry(options, "n_stages")?,
        adapt_fraction: entry(options, "adapt_fraction")?,
        defensive: entry(options, "defensive")?,
        defensive_base: entry(options, "defensive_base")?,
        explore: entry(options, "explore")?,
        keep_best: entry(options, "keep_best")?,
        fallback: entry(options, "fallback")?,
        split_signs: entry(options, "split_signs")?,
        diagonal: entry(options, "diagonal")?,
        full_covariance: entry(options, "full_covariance")?,
        on_nan: match entry::<String>(options, "on_nan")?.as_str() {
            "raise" => OnNan::Raise,
            "zero" => OnNan::Zero,
            other => return unknown("on_nan", other),
        },
        keep_draws: entry(options, "keep_draws")?,
        points: points(options)?,
        n_replicates: entry(options, "n_replicates")?,
        tolerance: entry(options, "tolerance")?,
        pool_all: entry::<String>(options, "pool")? == "all",
        key: entry(options, "key")?,
    })
}

/// The points of the final sample.
pub(super) fn points(options: &Bound<'_, PyAny>) -> PyResult<Points> {
    match entry::<String>(options, "points")?.as_str() {
        "sobol" => Ok(Points::Sobol),
        "random" => Ok(Points::Random),
        other => Err(PyValueError::new_err(format!("unknown points '{other}'"))),
    }
}

/// Runs `expect`. Returns (estimates or None, exception or None): an interrupted run may have both.
/// `sampler` is a law that was trained before; `pairs` tells, once the integrand was evaluated, whether
/// its outputs are the real and then the imaginary parts of complex ones.
#[door]
#[pyfunction]
#[pyo3(signature = (integrand, laws, sampler, options, pairs, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "one call of Python")]
fn importance_expect<'py>(
    py: Python<'py>,
    integrand: &Bound<'py, PyAny>,
    laws: &Bound<'py, PyList>,
    sampler: Option<&Bound<'py, PyAny>>,
    options: &Bound<'py, PyAny>,
    pairs: Py<PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Bound<'py, PyDict>>, Option<PyErr>)> {
    let settings = settings(options)?;
    let raised = Raised::default();
    let (integrand, laws) = targets(integrand, laws, &raised)?;
    let sampler = sampler.map(|law| target::law(law, &raised)).transpose()?;
    let pairs = || {
        Python::attach(|py| pairs.call0(py).and_then(|is| is.extract::<bool>(py)).unwrap_or(false))
    };
    let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        let laws: Vec<&dyn Law> = laws.iter().map(AsRef::as_ref).collect();
        let more = Options { sampler: sampler.as_deref(), pairs: Some(&pairs) };
        expect(integrand.as_ref(), &laws, &settings, more, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (Some(done), None),
        Err(stopped) => (stopped.partial.map(|p| *p), Some(stopped.error)),
    };
    let raw = done.map(|done| to_dict(py, done, laws[0].dim(), laws.len())).transpose()?;
    Ok((raw, error))
}

type Targets = (Arc<dyn Integrand>, Vec<Arc<dyn Law>>);

fn targets(
    integrand: &Bound<'_, PyAny>,
    laws: &Bound<'_, PyList>,
    raised: &Raised,
) -> PyResult<Targets> {
    let integrand = target::integrand(integrand, raised)?;
    let laws = laws.iter().map(|law| target::law(&law, raised)).collect::<PyResult<_>>()?;
    Ok((integrand, laws))
}

/// Adapts the sampler of `expect`. Returns what blocks of its final phase need, in words, the number
/// of their chunks, and the evaluations before them.
#[door]
#[pyfunction]
#[pyo3(signature = (integrand, laws, options, n_threads, progress=None))]
fn importance_prepare<'py>(
    py: Python<'py>,
    integrand: &Bound<'py, PyAny>,
    laws: &Bound<'py, PyList>,
    options: &Bound<'py, PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyArray1<u64>>, usize, usize)> {
    let settings = settings(options)?;
    let raised = Raised::default();
    let (integrand, laws) = targets(integrand, laws, &raised)?;
    let (words, n_chunks, before) =
        enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
            let laws: Vec<&dyn Law> = laws.iter().map(AsRef::as_ref).collect();
            let prepared = prepare(integrand.as_ref(), &laws, &settings, context)?;
            Ok((prepared.to_words()?, prepared.n_chunks(), prepared.before()))
        })?;
    Ok((PyArray1::from_vec(py, words), n_chunks, before))
}

/// Returns the sums of the chunks from `start` to `stop`, in words.
#[door]
#[pyfunction]
#[pyo3(signature = (integrand, laws, options, prepared, start, stop, n_threads, progress=None))]
#[allow(clippy::too_many_arguments)] // they are those of a Python call
fn importance_block<'py>(
    py: Python<'py>,
    integrand: &Bound<'py, PyAny>,
    laws: &Bound<'py, PyList>,
    options: &Bound<'py, PyAny>,
    prepared: PyReadonlyArray1<'py, u64>,
    start: usize,
    stop: usize,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let settings = settings(options)?;
    let raised = Raised::default();
    let (integrand, laws) = targets(integrand, laws, &raised)?;
    let words = prepared.as_slice()?.to_vec();
    let prepared = check(py, decoded(|| Prepared::from_words(words)))?;
    let words = enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
        let laws: Vec<&dyn Law> = laws.iter().map(AsRef::as_ref).collect();
        block(integrand.as_ref(), &laws, &settings, &prepared, start..stop, context)?
            .to_words(&prepared)
    })?;
    Ok(PyArray1::from_vec(py, words))
}

/// Returns the node above two neighbouring blocks, in words.
#[door]
#[pyfunction]
fn importance_join<'py>(
    py: Python<'py>,
    prepared: PyReadonlyArray1<'py, u64>,
    left: PyReadonlyArray1<'py, u64>,
    right: PyReadonlyArray1<'py, u64>,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let words =
        [prepared.as_slice()?.to_vec(), left.as_slice()?.to_vec(), right.as_slice()?.to_vec()];
    let joined = decoded(|| {
        let [prepared, left, right] = words;
        let prepared = Prepared::from_words(prepared)?;
        let (left, right) =
            (Block::from_words(left, &prepared)?, Block::from_words(right, &prepared)?);
        left.join(right).to_words(&prepared)
    });
    Ok(PyArray1::from_vec(py, check(py, joined)?))
}

/// Returns the estimates of blocks, with their numbers in ascending order.
#[door]
#[pyfunction]
fn importance_combine<'py>(
    py: Python<'py>,
    prepared: PyReadonlyArray1<'py, u64>,
    blocks: Vec<(u64, PyReadonlyArray1<'py, u64>)>,
    dim: usize,
    n_laws: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let words = prepared.as_slice()?.to_vec();
    let prepared = check(py, decoded(|| Prepared::from_words(words)))?;
    let mut read = Vec::with_capacity(blocks.len());
    for (number, words) in blocks {
        let words = words.as_slice()?.to_vec();
        read.push((number, check(py, decoded(|| Block::from_words(words, &prepared)))?));
    }
    let done = check(py, combine(prepared, read))?;
    to_dict(py, done, dim, n_laws)
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
    arrays! { raw <- e:
        mean stderr ess khat max_share max_variance_share all_zero no_weight weight_mean
        weight_stderr unseen sparse always equal n_from_law final_mean final_stderr
    }
    let count = e.replicates.len() / j;
    raw.set_item("replicates", e.replicates.into_pyarray(py).reshape([count, j])?)?;
    raw.set_item("trained", e.trained.map(|t| state(py, t)).transpose()?)?;
    items! { raw <- e:
        n_per_replicate n_first n_looks converged
        n_final n_evals n_at_bound n_non_finite chosen_stage too_few_for_all
    }
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
    items! { raw <- s: used forecast alpha_gap alpha_passes degenerate }
    arrays! { raw <- s: alpha mean stderr }
    Ok(raw)
}
