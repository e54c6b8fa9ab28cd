//! Bindings of `fermiac_importance::evidence`.

use crate::common::enter::{Raised, enter};
use crate::targets::target;
use fermiac_importance::evidence::{Evidence, Scheme, Settings, Stage, evidence};
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(importance_evidence, m)?)
}

/// The fields of the settings dictionary, named as the arguments of `fermiac.importance.evidence`;
/// `df` is None for Gaussian components.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    n: usize,
    scheme: String,
    n_components: Option<usize>,
    n_stages: usize,
    df: Option<f64>,
    defensive: f64,
    key: u64,
}

impl Options {
    fn settings(self) -> PyResult<Settings> {
        Ok(Settings {
            n: self.n,
            scheme: match self.scheme.as_str() {
                "amis" => Scheme::Amis,
                "pmc" => Scheme::Pmc,
                "snis" => Scheme::Snis,
                other => {
                    return Err(PyValueError::new_err(format!("unknown scheme '{other}'")));
                }
            },
            n_components: self.n_components,
            n_stages: self.n_stages,
            df: self.df,
            defensive: self.defensive,
            key: self.key,
        })
    }
}

/// Runs `evidence`. Returns (result or None, exception or None): an interrupted run may have both.
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
    let settings = options.extract::<Options>()?.settings()?;
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

fn to_dict(py: Python<'_>, e: Evidence, dim: usize) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("log_evidence", e.log_evidence)?;
    raw.set_item("log_evidence_stderr", e.log_evidence_stderr)?;
    raw.set_item("ess", e.ess)?;
    raw.set_item("khat", e.khat)?;
    raw.set_item("max_variance_share", e.max_variance_share)?;
    raw.set_item("converged", e.converged)?;
    raw.set_item("n_evals", e.n_evals)?;
    raw.set_item("n_at_bound", e.n_at_bound)?;
    let n = e.log_weights.len();
    raw.set_item("draws", e.draws.into_pyarray(py).reshape([n, dim])?)?;
    raw.set_item("log_weights", e.log_weights.into_pyarray(py))?;
    raw.set_item("log_densities", e.log_densities.into_pyarray(py))?;
    let stages = e.stages.into_iter().map(|s| stage(py, s)).collect::<PyResult<Vec<_>>>()?;
    raw.set_item("stages", stages)?;
    Ok(raw)
}

fn stage(py: Python<'_>, s: Stage) -> PyResult<Bound<'_, PyDict>> {
    let raw = PyDict::new(py);
    raw.set_item("n_evals", s.n)?;
    raw.set_item("used", s.used)?;
    raw.set_item("shares", s.shares.into_pyarray(py))?;
    raw.set_item("log_evidence", s.log_evidence)?;
    raw.set_item("efficiency", s.efficiency)?;
    raw.set_item("power", s.power)?;
    raw.set_item("fit_ess", s.fit_ess)?;
    Ok(raw)
}
