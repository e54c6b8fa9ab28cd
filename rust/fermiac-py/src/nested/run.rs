//! The Python class of a nested sampling run, which `fermiac.nested` advances in time slices.

use crate::common::call::call_python;
use crate::common::dict::{arrays, entry, items};
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter_whole};
use crate::common::error::check;
use crate::targets::target;
use fermiac_base::linalg::Rows;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_nested::bound::BoundKind;
use fermiac_nested::chains::Direction;
use fermiac_nested::points::{Origin, Points};
use fermiac_nested::problem::{
    CubePrior, Edge, EvalBuffer, LawPrior, Likelihood, OnNan, Prior, Problem,
};
use fermiac_nested::run::{Opening, Run, Sampler, Settings, Status};
use fermiac_target::Dispatch;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Adds this file's class to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<NestedRun>()
}

/// A run, behind a lock.
#[pyclass(module = "fermiac._core", frozen)]
struct NestedRun {
    inner: Mutex<Run>,
    edges: Vec<Edge>,
    on_nan: OnNan,
    counts: Mutex<Counts>,
}

/// Counts over the slices of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) n_nan: u64,
    pub(super) n_coded: u64,
    pub(super) seconds: f64,
}

impl Counts {
    /// Adds those of a slice.
    pub(super) fn add(&mut self, problem: &Problem) {
        self.add_all((problem.n_nan(), problem.n_coded(), problem.seconds()));
    }

    /// Adds those of another process.
    fn add_all(&mut self, (n_nan, n_coded, seconds): (u64, u64, f64)) {
        self.n_nan += n_nan;
        self.n_coded += n_coded;
        self.seconds += seconds;
    }

    pub(super) fn words(self) -> [u64; 3] {
        [self.n_nan, self.n_coded, self.seconds.to_bits()]
    }

    pub(super) fn of_words(words: [u64; 3]) -> Self {
        Self { n_nan: words[0], n_coded: words[1], seconds: f64::from_bits(words[2]) }
    }
}

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

/// One letter for each axis: h, p or r.
pub(super) fn edges(letters: &str) -> PyResult<Vec<Edge>> {
    let edge = |letter| match letter {
        'h' => Ok(Edge::Hard),
        'p' => Ok(Edge::Periodic),
        'r' => Ok(Edge::Reflective),
        other => Err(unknown("edge", &other.to_string())),
    };
    letters.chars().map(edge).collect()
}

pub(super) fn on_nan(name: &str) -> PyResult<OnNan> {
    match name {
        "raise" => Ok(OnNan::Raise),
        "-inf" => Ok(OnNan::Impossible),
        other => Err(unknown("on_nan", other)),
    }
}

fn unknown(what: &str, given: &str) -> PyErr {
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

impl NestedRun {
    fn lock(&self) -> MutexGuard<'_, Run> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(
        &self,
        py: Python<'_>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
        raised: &Raised,
    ) -> PyResult<Problem> {
        problem(py, prior, likelihood, &self.edges, self.on_nan, raised)
    }
}

pub(super) fn problem(
    py: Python<'_>,
    prior: &Bound<'_, PyAny>,
    likelihood: &Bound<'_, PyAny>,
    edges: &[Edge],
    on_nan: OnNan,
    raised: &Raised,
) -> PyResult<Problem> {
    let (prior, likelihood) = (self::prior(prior, raised)?, self::likelihood(likelihood, raised)?);
    check(py, Problem::new(prior, likelihood, edges.to_vec(), on_nan))
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
        let edges = edges(&entry::<String>(options, "edges")?)?;
        let on_nan = on_nan(&entry::<String>(options, "on_nan")?)?;
        let problem = problem(py, prior, likelihood, &edges, on_nan, &Raised::default())?;
        let opening = match above {
            None => Opening::Prior,
            Some(above) => opening(above, problem.dim())?,
        };
        let run = check(py, Run::new(&problem, settings(options)?, opening))?;
        Ok(Self { inner: Mutex::new(run), edges, on_nan, counts: Mutex::new(Counts::default()) })
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
        let raised = Raised::default();
        let problem = self.problem(py, prior, likelihood, &raised)?;
        let deadline = budget.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
        let outcome = enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
            self.lock().run(&problem, deadline, away, context)
        });
        self.lock_counts().add(&problem);
        Ok(outcome.err())
    }

    /// What the chains of the batch under way have in common, as words.
    fn save_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        Ok(PyArray1::from_vec(py, check(py, self.lock().save_batch())?))
    }

    /// The states of `n` chains from chain `first` on, as words for `nested_chains`.
    fn save_chains<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        n: usize,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        Ok(PyArray1::from_vec(py, check(py, self.lock().save_chains(first, n))?))
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
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let words = words.as_slice()?.to_vec();
        let n_evals = check(py, decoded(|| self.lock().load_chains(&problem, first, words)))?;
        self.lock_counts().add_all(counts);
        Ok(n_evals)
    }

    /// Whether there are chains from `first` to before `stop` that have not ended.
    fn are_pending(&self, first: usize, stop: usize) -> bool {
        self.lock().are_pending(first, stop)
    }

    /// Continues a run that has ended, with other limits.
    fn prolong(&self, dlogz: f64, max_evals: u64, max_iter: u64) {
        self.lock().prolong(dlogz, max_evals, max_iter);
    }

    /// The state of the run.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let run = self.lock();
        let counts = *self.lock_counts();
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
        items! { raw <- counts: n_nan n_coded seconds }
        raw.set_item("rank_z", ranks.z())?;
        raw.set_item("rank_p_value", ranks.smallest_p_value())?;
        Ok(raw)
    }

    /// The figures of every batch.
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trace = self.lock().trace().clone();
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
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let points = self.lock().points();
        let (n, d, b) = (points.len(), problem.dim(), problem.n_extras());
        let raw = PyDict::new(py);
        raw.set_item("unit_draws", problem.unfold(&points.u).into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("run_draws", points.u.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("draws", points.x.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("log_likelihoods", points.ell.into_pyarray(py))?;
        raw.set_item("births", points.birth.into_pyarray(py))?;
        raw.set_item("lineages", signed(points.lineage).into_pyarray(py))?;
        raw.set_item("families", signed(points.family).into_pyarray(py))?;
        if b > 0 {
            raw.set_item("blobs", points.extras.into_pyarray(py).reshape([n, b])?)?;
        }
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
        let problem = self.problem(py, prior, likelihood, &raised)?;
        let found = enter_whole(py, n_threads, None, &raised, |context| {
            let all = self.lock().importance(context)?;
            let mut answers = EvalBuffer::default();
            if let Some(all) = &all {
                problem.transform(&all.u, &mut answers)?;
            }
            Ok(all.map(|all| (all, answers.x)))
        });
        let Some((all, x)) = found? else { return Ok(None) };
        let (n, d) = (all.ell.len(), problem.dim());
        let raw = PyDict::new(py);
        raw.set_item("draws", x.into_pyarray(py).reshape([n, d])?)?;
        raw.set_item("log_likelihoods", all.ell.into_pyarray(py))?;
        raw.set_item("counts", signed(all.counts).into_pyarray(py))?;
        raw.set_item("test_counts", signed(all.test_counts).into_pyarray(py))?;
        arrays! { raw <- all: log_weights log_volumes }
        items! { raw <- all: log_evidence log_evidence_stderr cut_share n_cut log_evidence_tests
        log_evidence_tests_stderr }
        Ok(Some(raw))
    }

    /// Everything that changes during a run, as words.
    fn save<'py>(
        &self,
        py: Python<'py>,
        prior: &Bound<'_, PyAny>,
        likelihood: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let mut codec = Codec::writer();
        let saved = self.lock().persist(&problem, &mut codec);
        check(py, saved)?;
        let mut words = codec.into_words();
        let counts = *self.lock_counts();
        words.extend(counts.words());
        Ok(PyArray1::from_vec(py, words))
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
        let problem = self.problem(py, prior, likelihood, &Raised::default())?;
        let words = words.as_slice()?;
        let Some((rest, last)) = words.split_last_chunk::<3>() else {
            return check(py, Err(Error::argument("state", "it is cut short")));
        };
        let mut codec = Codec::reader(rest.to_vec());
        let read = || self.lock().persist(&problem, &mut codec).and_then(|()| codec.finish());
        check(py, decoded(read))?;
        *self.lock_counts() = Counts::of_words(*last);
        Ok(())
    }
}

pub(super) fn signed(numbers: Vec<u64>) -> Vec<i64> {
    numbers.into_iter().map(u64::cast_signed).collect()
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
