//! The chains of a batch of a nested run, in the process of a worker.

use super::problem::Rules;
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter_whole};
use crate::common::error::check;
use fermiac_nested::run::AwayBatch;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use std::time::Instant;

/// States of chains as words, and the numbers of NaN and of coded values, and seconds.
type Chains<'py> = (Bound<'py, PyArray1<u64>>, (u64, u64, f64));

/// Adds this file's function to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(nested_chains, m)?)
}

/// Runs chains of a batch, from the words of `NestedRun`, to their ends or for `budget` seconds;
/// returns their states, and the counts for `NestedRun.load_chains`.
#[door]
#[pyfunction]
#[pyo3(signature = (prior, likelihood, kinds, batch, chains, budget, progress=None))]
#[expect(clippy::too_many_arguments, reason = "as Python gives them")]
fn nested_chains<'py>(
    py: Python<'py>,
    prior: &Bound<'py, PyAny>,
    likelihood: &Bound<'py, PyAny>,
    kinds: (String, String),
    batch: PyReadonlyArray1<'py, u64>,
    chains: PyReadonlyArray1<'py, u64>,
    budget: Option<f64>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Chains<'py>> {
    let raised = Raised::default();
    let rules = Rules::read(&kinds.0, &kinds.1)?;
    let problem = rules.problem(py, (prior, likelihood), &raised)?;
    let (batch, chains) = (batch.as_slice()?.to_vec(), chains.as_slice()?.to_vec());
    let mut away = check(py, decoded(|| AwayBatch::load(&problem, batch, chains)))?;
    let deadline = budget.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
    enter_whole(py, 1, progress.as_ref(), &raised, |context| {
        away.run(&problem, deadline, context)
    })?;
    let words = check(py, away.save_chains())?;
    let counts = (problem.n_nan(), problem.n_coded(), problem.seconds());
    Ok((PyArray1::from_vec(py, words), counts))
}
