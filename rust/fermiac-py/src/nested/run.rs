//! The Python class of a nested sampling run, which `fermiac.nested` advances in time slices.

use super::problem::unknown;
use super::slices::{Sliced, columns, estimate, signed};
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, enter_whole};
use crate::common::error::check;
use fermiac_nested::bound::BoundKind;
use fermiac_nested::chains::Direction;
use fermiac_nested::points::{Origin, Points};
use fermiac_nested::problem::{EvalBuffer, Problem};
use fermiac_nested::run::{Opening, Run, Sampler, Settings, Status};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Adds this file's class to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<NestedRun>()
}

/// A run of nested sampling.
#[pyclass(module = "fermiac._core", frozen)]
struct NestedRun(Sliced<Run>);

/// The settings of a dictionary.
fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let direction = match entry::<String>(options, "direction")?.as_str() {
        "sweeps" => Direction::Sweeps,
        "axes" => Direction::Axes,
        "differential" => Direction::Differential,
        "mixture" => Direction::Mixture,
        other => return Err(unknown("direction", other)),
    };
    let (n, step_out) = (entry(options, "n_moves")?, entry(options, "step_out")?);
    Ok(Settings {
        n_live: entry(options, "n_live")?,
        batch: entry(options, "batch")?,
        sampler: match entry::<String>(options, "sampler")?.as_str() {
            "auto" => Sampler::Auto { rejection: true, n_slices: n },
            "uniform" => Sampler::Rejection,
            "slice" => Sampler::Slice { n_slices: n, direction, step_out },
            "rwalk" => Sampler::Walk { n_steps: n },
            "galilean" => Sampler::Galilean { n_steps: n, step: entry(options, "step")? },
            other => return Err(unknown("sampler", other)),
        },
        adapt_length: entry(options, "adapt_length")?,
        bound: match entry::<String>(options, "bound")?.as_str() {
            "none" => BoundKind::None,
            "single" => BoundKind::Single,
            "multi" => BoundKind::Multi,
            "friends" => BoundKind::Friends,
            other => return Err(unknown("bound", other)),
        },
        bootstrap: entry(options, "bootstrap")?,
        enlarge: entry(options, "enlarge")?,
        probed: entry(options, "probed")?,
        importance: entry(options, "importance")?,
        proposals: entry(options, "proposals")?,
        dlogz: entry(options, "dlogz")?,
        high: entry(options, "high")?,
        ell_tol: entry(options, "likelihood_tol")?,
        max_evals: entry(options, "max_evals")?,
        max_iter: entry(options, "max_iter")?,
        max_init_blocks: entry(options, "max_init_blocks")?,
        key: entry(options, "key")?,
        first_batch: entry(options, "first_batch")?,
    })
}

#[door]
#[pymethods]
impl NestedRun {
    /// A run before its first point; `above` starts it above a level.
    #[new]
    #[pyo3(signature = (prior, likelihood, options, above=None))]
    fn new(
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        above: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let begin = |problem: &Problem| {
            let opening = match above {
                None => Opening::Prior,
                Some(above) => opening(above, problem.dim())?,
            };
            check(py, Run::new(problem, settings(options)?, opening))
        };
        Ok(Self(Sliced::new(py, (prior, likelihood), options, begin)?))
    }

    /// Runs for at most `budget` seconds, with `away` at most up to chains that run elsewhere; returns
    /// the exception that stopped it, or None.
    #[pyo3(signature = (prior, likelihood, budget, n_threads, progress=None, away=false))]
    #[allow(clippy::too_many_arguments)] // they are those of a Python call
    fn run(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        budget: Option<f64>,
        n_threads: usize,
        progress: Option<Py<PyAny>>,
        away: bool,
    ) -> PyResult<Option<PyErr>> {
        let ports = (prior, likelihood);
        self.0.advance(
            py,
            ports,
            budget,
            n_threads,
            progress.as_ref(),
            |run, problem, deadline, context| run.run(problem, deadline, away, context),
        )
    }

    /// What the chains of the batch under way have in common, as words.
    fn save_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        Ok(PyArray1::from_vec(py, check(py, self.0.lock().save_batch())?))
    }

    /// The states of `n` chains from chain `first` on, as words for `nested_chains`.
    fn save_chains<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        n: usize,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        Ok(PyArray1::from_vec(py, check(py, self.0.lock().save_chains(first, n))?))
    }

    /// Takes the states and the counts of chains that `nested_chains` returned; returns the number of
    /// their evaluations.
    fn load_chains(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        first: usize,
        words: PyReadonlyArray1<'_, u64>,
        counts: (u64, u64, f64),
    ) -> PyResult<u64> {
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        let words = words.as_slice()?.to_vec();
        let n_evals = check(py, decoded(|| self.0.lock().load_chains(&problem, first, words)))?;
        self.0.count(counts);
        Ok(n_evals)
    }

    /// Whether there are chains from `first` to before `stop` that have not ended.
    fn are_pending(&self, first: usize, stop: usize) -> bool {
        self.0.lock().are_pending(first, stop)
    }

    /// Continues a run that has ended, with other limits.
    fn prolong(&self, dlogz: f64, max_evals: u64, max_iter: u64) {
        self.0.lock().prolong(dlogz, max_evals, max_iter);
    }

    /// The state of the run.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let run = self.0.lock();
        let raw = PyDict::new(py);
        raw.set_item(
            "status",
            match run.status() {
                Status::Running => "running",
                Status::Converged => "converged",
                Status::Plateau => "plateau",
                Status::Passed => "passed",
                Status::Evals => "max_evals",
                Status::Batches => "max_iter",
            },
        )?;
        let (evidence, ranks) = (run.evidence(), run.ranks());
        items! { raw <- evidence(): log_evidence information log_x }
        raw.set_item("log_evidence_stderr", evidence.stderr())?;
        items! { raw <- run(): remaining n_evals n_batches n_points n_stuck radius_scale
        n_chains expected }
        self.0.counts_to(&raw)?;
        raw.set_item("rank_z", ranks.z())?;
        raw.set_item("rank_p_value", ranks.smallest_p_value())?;
        Ok(raw)
    }

    /// The figures of every batch.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trace = self.0.lock().trace().clone();
        let raw = PyDict::new(py);
        arrays! { raw <- trace:
            log_x log_evidence level efficiency n_parts moved tries correlation n_moves
            probes missed expected
        }
        Ok(raw)
    }

    /// All points in the order of their deaths.
    fn points<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'py, PyAny>,
        likelihood: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        let points = self.0.lock().points();
        let (n, d) = (points.len(), problem.dim());
        let raw = columns(py, &problem, &points.u, points.x, points.ell, points.extras)?;
        raw.set_item("run_draws", points.u.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("births", points.birth.into_pyarray(py))?;
        raw.set_item("lineages", signed(points.lineage).into_pyarray(py))?;
        raw.set_item("families", signed(points.family).into_pyarray(py))?;
        Ok(raw)
    }

    /// The evidence from all evaluated points, and these points.
    fn importance<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'py, PyAny>,
        likelihood: &Bound<'py, PyAny>,
        n_threads: usize,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let raised = Raised::default();
        let problem = self.0.problem(py, (prior, likelihood), &raised)?;
        let found = enter_whole(py, n_threads, None, &raised, |context| {
            let all = self.0.lock().importance(context)?;
            let mut answers = EvalBuffer::default();
            if let Some(all) = &all {
                problem.transform(&all.u, &mut answers)?;
            }
            Ok(all.map(|all| (all, answers.x)))
        });
        let Some((all, x)) = found? else { return Ok(None) };
        estimate(py, &problem, all, x).map(Some)
    }

    /// Everything that changes during a run, as words.
    fn save<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        self.0.save(py, |run, codec| run.persist(&problem, codec))
    }

    /// Goes where `save` was called.
    #[allow(clippy::needless_pass_by_value)]
    fn load(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        words: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let problem = self.0.problem(py, (prior, likelihood), &Raised::default())?;
        self.0.load(py, &words, |run, codec| run.persist(&problem, codec))
    }
}

/// The start of a run above a level, from points above it.
fn opening(above: &Bound<'_, PyAny>, dim: usize) -> PyResult<Opening> {
    let u = entry::<PyReadonlyArray2<'_, f64>>(above, "run_draws")?;
    let ell = entry::<PyReadonlyArray1<'_, f64>>(above, "log_likelihoods")?;
    let families = entry::<PyReadonlyArray1<'_, i64>>(above, "families")?;
    let level = entry(above, "level")?;
    let mut seeds = Points::new(dim, 0);
    let rows = u.as_slice()?.chunks_exact(dim).zip(ell.as_slice()?).zip(families.as_slice()?);
    for ((u, &ell), &family) in rows {
        let origin = Origin { birth: level, lineage: 0, family: family.cast_unsigned() };
        seeds.push(u, &[], ell, &[], origin);
    }
    if seeds.len() < 2 {
        return Err(PyValueError::new_err("seeds: at least two points above the level are needed"));
    }
    let (log_x, log_evidence) = (entry(above, "log_x")?, entry(above, "log_evidence")?);
    Ok(Opening::Above { seeds: Box::new(seeds), level, log_x, log_evidence })
}
