//! Walkers as a Python class, which `fermiac.walks` runs slice by slice.

use super::graph::PyGraph;
use crate::common::enter::{Raised, duration, enter};
use crate::common::error::check;
use fermiac_walks::{Base, Kernel, Memory, Paths, Plan, Record, Schedule, Stuck, Target, Walkers};
use numpy::{PyArray1, PyReadonlyArray1, PyReadwriteArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyWalkers>()
}

/// Walkers on a graph, behind a lock.
#[pyclass(name = "Walkers", module = "fermiac._core", frozen)]
pub(super) struct PyWalkers(Mutex<Walkers>);

impl PyWalkers {
    pub(super) fn lock(&self) -> MutexGuard<'_, Walkers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The dictionary of settings of a walk.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Settings<'py> {
    kernel: String,
    base: Bound<'py, PyDict>,
    alpha: (String, f64, f64, f64),
    laziness: f64,
    restart: f64,
    on_stuck: String,
    target: (String, f64, f64),
    weights: Option<PyReadonlyArray1<'py, f64>>,
    pseudo: Option<PyReadonlyArray1<'py, f64>>,
    pseudo_total: f64,
    step_exponent: f64,
    memory: String,
    memory_size: usize,
    counts: bool,
}

fn unknown<T>(what: &str, name: &str) -> PyResult<T> {
    Err(PyValueError::new_err(format!("unknown {what} '{name}'")))
}

/// The base chain of a dictionary with its name and settings.
fn base_of(given: &Bound<'_, PyDict>) -> PyResult<Base> {
    let item = |name: &str| given.as_any().get_item(name);
    Ok(match item("name")?.extract::<String>()?.as_str() {
        "srw" => Base::Simple,
        "weighted" => Base::Weighted,
        "maxdeg" => Base::MaxDegree { largest: item("largest")?.extract()? },
        "mhrw" => Base::Metropolis,
        "barker" => Base::Barker,
        "mhda" => Base::DelayedAcceptance,
        "nbrw" => Base::NonBacktracking,
        "mtm" => {
            Base::MultipleTry { tries: item("tries")?.extract()?, root: item("root")?.extract()? }
        }
        "node2vec" => {
            Base::Node2Vec { back: item("back")?.extract()?, out: item("out")?.extract()? }
        }
        other => return unknown("base", other),
    })
}

impl Settings<'_> {
    pub(super) fn plan(&self, py: Python<'_>) -> PyResult<Plan> {
        let kernel = match self.kernel.as_str() {
            "none" => Kernel::Plain,
            "srrw" => Kernel::SelfRepellent,
            "hdt" => Kernel::HistoryDrivenTarget,
            "tsaw" => Kernel::TrueSelfAvoiding,
            "rotor" => Kernel::Rotor,
            other => return unknown("kernel", other),
        };
        let (name, from, to, steps) = &self.alpha;
        let alpha = match name.as_str() {
            "constant" => Schedule::Constant(*from),
            "linear" => Schedule::Linear { from: *from, to: *to, steps: *steps },
            "log" => Schedule::Log { scale: *from, to: *to },
            other => return unknown("schedule", other),
        };
        let (name, pseudo, total) = &self.target;
        let target = match (name.as_str(), &self.weights, &self.pseudo) {
            ("uniform", _, _) => Target::Uniform { pseudo: *pseudo },
            ("degree", _, _) => Target::Degree { pseudo: *pseudo, total: *total },
            // The table of a crawl is filled on the way.
            ("unknown", _, _) => Target::unknown(),
            ("table", Some(weights), Some(pseudo)) => {
                check(py, Target::table(weights.as_slice()?, pseudo.as_slice()?))?
            }
            (other, _, _) => return unknown("target", other),
        };
        let stuck = match self.on_stuck.as_str() {
            "stay" => Stuck::Stay,
            "restart" => Stuck::Restart,
            other => return unknown("on_stuck", other),
        };
        let &Self { laziness, restart, pseudo_total, step_exponent, .. } = self;
        Ok(Plan {
            base: base_of(&self.base)?,
            kernel,
            alpha,
            laziness,
            restart,
            stuck,
            target,
            pseudo_total,
            step_exponent,
        })
    }
}

/// An array of paths that a run fills.
#[derive(FromPyObject)]
pub(super) enum PyPaths<'py> {
    Short(PyReadwriteArray2<'py, u32>),
    Long(PyReadwriteArray2<'py, u64>),
}

impl PyPaths<'_> {
    /// The record of a run.
    pub(super) fn record(paths: &mut Option<Self>, first: u64, thin: u64) -> PyResult<Record<'_>> {
        let (n_slots, paths) = match paths {
            None => (0, Paths::Short(&mut [])),
            Some(Self::Short(array)) => {
                (array.as_array().ncols(), Paths::Short(array.as_slice_mut()?))
            }
            Some(Self::Long(array)) => {
                (array.as_array().ncols(), Paths::Long(array.as_slice_mut()?))
            }
        };
        Ok(Record { first, thin, n_slots, paths })
    }
}

#[door]
#[pymethods]
impl PyWalkers {
    /// Creates walkers at given nodes; the first of them is number 8 `first_block` of a larger number.
    #[new]
    #[pyo3(signature = (graph, settings, start, key, first_block=0))]
    fn new(
        py: Python<'_>,
        graph: &PyGraph,
        settings: &Bound<'_, PyAny>,
        start: PyReadonlyArray1<'_, i64>,
        key: u64,
        first_block: u64,
    ) -> PyResult<Self> {
        let settings: Settings<'_> = settings.extract()?;
        let memory = match settings.memory.as_str() {
            "none" => Memory::Nothing,
            "table" => Memory::Table,
            "hashed" => Memory::Hashed,
            "recent" => Memory::Recent { size: settings.memory_size, counts: settings.counts },
            "shared" => Memory::Shared { counts: settings.counts },
            "unordered" => Memory::Unordered { counts: settings.counts },
            other => return unknown("memory", other),
        };
        let start: Vec<usize> = start.as_slice()?.iter().map(|&node| node as usize).collect();
        let plan = settings.plan(py)?;
        let graph = graph.0.clone();
        let walkers =
            py.detach(|| Walkers::from_block(graph, plan, &start, memory, key, first_block));
        Ok(Self(Mutex::new(check(py, walkers)?)))
    }

    /// Moves all walkers to step `until`, for at most `budget` seconds. Returns whether they got
    /// there, and the exception that stopped them or None.
    #[pyo3(signature = (until, paths, first, thin, budget, n_threads, total, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are those of a Python call
    fn run(
        &self,
        py: Python<'_>,
        until: u64,
        mut paths: Option<PyPaths<'_>>,
        first: u64,
        thin: u64,
        budget: Option<f64>,
        n_threads: usize,
        total: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(bool, Option<PyErr>)> {
        let budget = budget.map(duration);
        let record = PyPaths::record(&mut paths, first, thin)?;
        let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
            let mut walkers = self.lock();
            context.set_total(total);
            context.advance(walkers.n_done() * walkers.n_walkers() as u64);
            walkers.run(until, record, budget, context).map_err(|error| (error, None))
        });
        Ok(match outcome {
            Ok(reached) => (reached, None),
            Err(stopped) => (false, Some(stopped.error)),
        })
    }

    /// The number of steps that all walkers have made.
    #[getter]
    fn n_done(&self) -> u64 {
        self.lock().n_done()
    }

    /// The number of moves in all steps of all walkers.
    #[getter]
    fn n_moves(&self) -> u64 {
        self.lock().n_moves()
    }

    /// The current nodes.
    fn positions<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let nodes = self.lock().positions().into_iter().map(|node| node as i64);
        PyArray1::from_iter(py, nodes)
    }

    /// The visits of all walkers to each node, or None if they are not counted.
    fn totals<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u64>>> {
        self.lock().totals().map(|totals| PyArray1::from_vec(py, totals))
    }

    /// The visits of all walkers to each node after step `from` and up to step `until`, which may be
    /// at most `logged_until`; or None.
    fn totals_between<'py>(
        &self,
        py: Python<'py>,
        from: u64,
        until: u64,
    ) -> Option<Bound<'py, PyArray1<u64>>> {
        let totals = py.detach(|| self.lock().totals_between(from, until));
        totals.map(|totals| PyArray1::from_vec(py, totals))
    }

    /// The step up to which the visits of all earlier steps are known, or 0.
    #[getter]
    fn logged_until(&self) -> u64 {
        self.lock().logged_until()
    }

    /// The visits of one walker to each node, or None without a table of them.
    fn visits<'py>(&self, py: Python<'py>, walker: usize) -> Option<Bound<'py, PyArray1<u32>>> {
        self.lock().visits(walker).map(|visits| PyArray1::from_vec(py, visits))
    }
}
