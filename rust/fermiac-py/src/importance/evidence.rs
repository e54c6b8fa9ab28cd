//! Bindings of `fermiac_importance::evidence`.

use super::expect::points;
use super::trained::state;
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, enter, enter_whole};
use crate::common::error::check;
use crate::targets::target;
use fermiac_importance::evidence::blocks::{Block, Prepared, block, combine, prepare};
use fermiac_importance::evidence::{Evidence, Scheme, Settings, Stage, evidence};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(importance_evidence, m)?)?;
    m.add_function(wrap_pyfunction!(importance_evidence_prepare, m)?)?;
    m.add_function(wrap_pyfunction!(importance_evidence_block, m)?)?;
    m.add_function(wrap_pyfunction!(importance_evidence_combine, m)?)
}

/// The settings of a dictionary with the arguments of `fermiac.importance.evidence`; `df` is None
/// for Gaussian components.
fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    Ok(Settings {
        n: entry(options, "n")?,
        scheme: match entry::<String>(options, "scheme")?.as_str() {
            "amis" => Scheme::Amis,
            "pmc" => Scheme::Pmc,
            "snis" => Scheme::Snis,
            other => return Err(PyValueError::new_err(format!("unknown scheme '{other}'"))),
        },
        n_components: entry(options, "n_components")?,
        n_stages: entry(options, "n_stages")?,
        adapt_fraction: entry(options, "adapt_fraction")?,
        df: entry(options, "df")?,
        defensive: entry(options, "defensive")?,
        points: points(options)?,
        n_replicates: entry(options, "n_replicates")?,
        key: entry(options, "key")?,
    })
}

/// Runs `evidence`. Returns (result or None, exception or None): an interrupted run may have both.
#[door]
#[pyfunction]
#[pyo3(signature = (log_density, law, options, n_threads, progress=None))]
fn importance_evidence<'py>(
    py: Python<'py>,
    log_density: &Bound<'py, PyAny>,
    law: &Bound<'py, PyAny>,
    options: &Bound<'py, PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Option<Bound<'py, PyDict>>, Option<PyErr>)> {
    let settings = settings(options)?;
    let raised = Raised::default();
    let target = target::log_density(log_density, &raised)?;
    let law = target::law(law, &raised)?;
    let outcome = enter(py, n_threads, progress.as_ref(), &raised, |context| {
        evidence(target.as_ref(), law.as_ref(), &settings, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (Some(done), None),
        Err(stopped) => (stopped.partial.map(|p| *p), Some(stopped.error)),
    };
    Ok((done.map(|done| to_dict(py, done, law.dim())).transpose()?, error))
}

/// Adapts the sampler of `evidence`. Returns what blocks of its final stage need, in words, the number
/// of their chunks, and the evaluations before them.
#[door]
#[pyfunction]
#[pyo3(signature = (log_density, law, options, n_threads, progress=None))]
fn importance_evidence_prepare<'py>(
    py: Python<'py>,
    log_density: &Bound<'py, PyAny>,
    law: &Bound<'py, PyAny>,
    options: &Bound<'py, PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyArray1<u64>>, usize, usize)> {
    let settings = settings(options)?;
    let raised = Raised::default();
    let target = target::log_density(log_density, &raised)?;
    let law = target::law(law, &raised)?;
    let (words, n_chunks, before) =
        enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
            let prepared = prepare(target.as_ref(), law.as_ref(), &settings, context)?;
            Ok((prepared.to_words()?, prepared.n_chunks(), prepared.before()))
        })?;
    Ok((PyArray1::from_vec(py, words), n_chunks, before))
}

/// Returns the points of the chunks from `start` to `stop`, in words.
#[door]
#[pyfunction]
#[pyo3(signature = (log_density, law, options, prepared, start, stop, n_threads, progress=None))]
#[expect(clippy::too_many_arguments, reason = "one call of Python")]
fn importance_evidence_block<'py>(
    py: Python<'py>,
    log_density: &Bound<'py, PyAny>,
    law: &Bound<'py, PyAny>,
    options: &Bound<'py, PyAny>,
    prepared: PyReadonlyArray1<'py, u64>,
    start: usize,
    stop: usize,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let key = settings(options)?.key;
    let raised = Raised::default();
    let target = target::log_density(log_density, &raised)?;
    let law = target::law(law, &raised)?;
    let words = prepared.as_slice()?.to_vec();
    let prepared = check(py, decoded(|| Prepared::from_words(words)))?;
    let words = enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
        block(target.as_ref(), law.as_ref(), key, &prepared, start..stop, context)?
            .to_words(&prepared)
    })?;
    Ok(PyArray1::from_vec(py, words))
}

/// Returns the evidence of blocks in ascending order.
#[door]
#[pyfunction]
fn importance_evidence_combine<'py>(
    py: Python<'py>,
    prepared: PyReadonlyArray1<'py, u64>,
    blocks: Vec<PyReadonlyArray1<'py, u64>>,
    dim: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let words = prepared.as_slice()?.to_vec();
    let prepared = check(py, decoded(|| Prepared::from_words(words)))?;
    let mut read = Vec::with_capacity(blocks.len());
    for words in blocks {
        let words = words.as_slice()?.to_vec();
        read.push(check(py, decoded(|| Block::from_words(words, &prepared)))?);
    }
    let done = check(py, combine(prepared, read))?;
    to_dict(py, done, dim)
}

fn to_dict(py: Python<'_>, e: Evidence, dim: usize) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    items! { raw <- e:
        log_evidence log_evidence_stderr ess khat max_variance_share converged n_evals n_at_bound
        n_replicates n_per_replicate
    }
    raw.set_item("trained", e.trained.map(|t| state(py, t)).transpose()?)?;
    let n = e.log_weights.len();
    raw.set_item("draws", e.draws.into_pyarray(py).reshape([n, dim])?)?;
    arrays! { raw <- e: log_weights log_densities }
    let stages = e.stages.into_iter().map(|s| stage(py, s)).collect::<PyResult<Vec<_>>>()?;
    raw.set_item("stages", stages)?;
    Ok(raw)
}

fn stage(py: Python<'_>, s: Stage) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("n_evals", s.n)?;
    items! { raw <- s: used log_evidence efficiency power fit_ess }
    arrays! { raw <- s: shares }
    Ok(raw)
}
