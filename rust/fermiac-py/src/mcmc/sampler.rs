//! The chains of a run as a Python class that `fermiac.mcmc` runs slice by slice.

use super::conditional::conditional;
use super::kernels::kernel;
use crate::common::dict::entry;
use crate::common::door::decoded;
use crate::common::enter::{Raised, duration, enter_whole};
use crate::common::error::check;
use crate::common::random::stream_at;
use crate::targets::target;
use fermiac_base::store::Codec;
use fermiac_mcmc::drive::{Chain, Driver, Oracle, Plan, Progress, Record, Sampler, windows};
use fermiac_mcmc::kernel::RequestKind;
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArrayDyn,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where the chains stand, and their log-densities.
type Positions<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// Chains of one kernel, behind a lock.
#[pyclass(name = "Sampler", module = "fermiac._core", frozen)]
pub(super) struct PySampler {
    inner: Mutex<Sampler>,
    stat_names: Vec<String>,
    dim: usize,
    n_points: usize,
    gives_gradient: bool,
    is_biased: bool,
}

impl PySampler {
    fn lock(&self) -> MutexGuard<'_, Sampler> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[door]
#[pymethods]
#[allow(clippy::too_many_arguments)] // they are those of a Python call
impl PySampler {
    /// Makes chains that start at the rows of `x0`; chain `i` has the address `first + i`. The
    /// warm-up is (transitions, and of these the initial ones, the first window, the last ones), as
    /// `fermiac_mcmc::drive::windows` takes them; it is shorter where the chains agree `early`.
    #[new]
    #[pyo3(signature = (spec, dim, x0, warmup, pool, key, first=0, early=false))]
    fn new(
        py: Python<'_>,
        spec: &Bound<'_, PyAny>,
        dim: usize,
        x0: PyReadonlyArray2<'_, f64>,
        warmup: (u64, u64, u64, u64),
        pool: bool,
        key: u64,
        first: u64,
        early: bool,
    ) -> PyResult<Self> {
        let kernel = kernel(spec, dim)?;
        let (n, initial, window, last) = warmup;
        let warmup = windows(n, initial, window, last);
        let plan = Plan { warmup, pool, early };
        let sampler = Sampler::new(kernel.as_ref(), x0.as_slice()?, plan, key, first);
        Ok(Self {
            inner: Mutex::new(check(py, sampler)?),
            stat_names: kernel.stat_names(),
            dim,
            n_points: kernel.n_points(),
            gives_gradient: kernel.opening() == Some(RequestKind::Gradient),
            is_biased: kernel.is_biased(),
        })
    }

    /// Runs every chain to `until` transitions, at most for `budget` seconds. `record` has the arrays
    /// that are filled, and None for those that are not. Returns whether all chains got there, and the
    /// exception that stopped them or None.
    #[pyo3(signature = (oracles, until, record, budget, n_threads, total, progress=None, driver="auto"))]
    fn run(
        &self,
        py: Python<'_>,
        oracles: Vec<(String, Bound<'_, PyAny>)>,
        until: u64,
        record: &Bound<'_, PyAny>,
        budget: Option<f64>,
        n_threads: usize,
        total: u64,
        progress: Option<Py<PyAny>>,
        driver: &str,
    ) -> PyResult<(bool, Option<PyErr>)> {
        let raised = Raised::default();
        let oracles = oracles
            .iter()
            .map(|(kind, oracle)| oracle_of(kind, oracle, &raised))
            .collect::<PyResult<Vec<_>>>()?;
        if let Some(oracle) = oracles.iter().find(|oracle| oracle.dim() != self.dim) {
            return Err(PyValueError::new_err(format!(
                "kernel: a part of it takes points of {} coordinates where the chains have {}; what \
                 a block asks beside the log-density is asked with all coordinates",
                oracle.dim(),
                self.dim
            )));
        }
        let driver = match driver {
            "auto" => Driver::Auto,
            "free" => Driver::FreeRun,
            "lock" => Driver::LockStep,
            other => return Err(PyValueError::new_err(format!("unknown driver '{other}'"))),
        };
        let (mut draws, mut log_densities) =
            (entry(record, "draws")?, entry(record, "log_densities")?);
        let (mut gradients, mut stats) = (entry(record, "gradients")?, entry(record, "stats")?);
        let record = Record {
            first: entry(record, "first")?,
            thin: entry(record, "thin")?,
            n_slots: entry(record, "n_slots")?,
            draws: slice(&mut draws)?,
            log_densities: slice(&mut log_densities)?,
            gradients: slice(&mut gradients)?,
            stats: slice(&mut stats)?,
        };
        let budget = budget.map(duration);
        let outcome = enter_whole(py, n_threads, progress.as_ref(), &raised, |context| {
            let mut sampler = self.lock();
            context.set_total(total);
            context.advance(made(&sampler).sum());
            sampler.run(&oracles, until, record, budget, driver, context)
        });
        Ok(match outcome {
            Ok(progress) => (progress == Progress::Reached, None),
            Err(error) => (false, Some(error)),
        })
    }

    /// The names of the statistics of a transition.
    #[getter]
    fn stat_names(&self) -> Vec<String> {
        self.stat_names.clone()
    }

    /// The number of points that a chain moves at a time.
    #[getter]
    fn n_points(&self) -> usize {
        self.n_points
    }

    /// Whether the gradient is known at every draw.
    #[getter]
    fn gives_gradient(&self) -> bool {
        self.gives_gradient
    }

    /// Whether the draws have a bias of the discretisation.
    #[getter]
    fn is_biased(&self) -> bool {
        self.is_biased
    }

    /// The transitions made by each chain, and those that were left out of its warm-up.
    #[getter]
    fn n_done(&self) -> Vec<u64> {
        made(&self.lock()).collect()
    }

    /// The transitions that were left out of the warm-up.
    #[getter]
    fn n_skipped(&self) -> u64 {
        self.lock().n_skipped()
    }

    /// The chains from which the others learned nothing at the last barrier of the warm-up.
    #[getter]
    fn left_out(&self) -> Vec<usize> {
        let sampler = self.lock();
        let chains = sampler.chains().iter().enumerate();
        chains.filter(|(_, chain)| chain.is_left_out()).map(|(i, _)| i).collect()
    }

    /// The times that each chain was moved to the place of another one in the warm-up.
    #[getter]
    fn n_moves(&self) -> Vec<u64> {
        self.lock().chains().iter().map(Chain::n_moves).collect()
    }

    /// The evaluations of the target, and those that failed or gave NaN.
    #[getter]
    fn n_evals(&self) -> (u64, u64) {
        let sampler = self.lock();
        sampler
            .chains()
            .iter()
            .fold((0, 0), |(n, refused), chain| (n + chain.n_evals(), refused + chain.n_refused()))
    }

    /// The evaluations since the end of the warm-up, those of them that failed or gave NaN, and
    /// those that gave -inf.
    #[getter]
    fn sampling_evals(&self) -> (u64, u64, u64) {
        let sampler = self.lock();
        sampler
            .chains()
            .iter()
            .map(Chain::sampling_evals)
            .fold((0, 0, 0), |sum, chain| (sum.0 + chain[0], sum.1 + chain[1], sum.2 + chain[2]))
    }

    /// The points where the chains stand, (rows, d), and their log-densities.
    fn points<'py>(&self, py: Python<'py>) -> PyResult<Positions<'py>> {
        let sampler = self.lock();
        let kernels = sampler.chains().iter().map(Chain::kernel);
        let (mut x, mut log_densities) = (Vec::new(), Vec::new());
        for point in kernels.flat_map(|kernel| (0..kernel.n_points()).map(|i| kernel.point(i))) {
            x.extend_from_slice(point.x);
            log_densities.push(point.log_density);
        }
        let x = PyArray1::from_vec(py, x).reshape([log_densities.len(), self.dim])?;
        Ok((x, PyArray1::from_vec(py, log_densities)))
    }

    /// The step sizes of all chains, and the variances or covariances of the first chain.
    fn adaptation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut sampler = self.lock();
        let (steps, metrics) = sampler.adaptation();
        let raw = PyDict::new(py);
        raw.set_item("step_sizes", steps)?;
        let dims: Vec<_> = metrics.into_iter().map(|m| PyArray1::from_vec(py, m)).collect();
        raw.set_item("inverse_metrics", dims)?;
        Ok(raw)
    }

    /// The position of the first chain's stream.
    fn stream_position<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let position = self.lock().stream(0).map(|stream| stream.position());
        Ok(PyArray1::from_slice(py, &position.ok_or_else(no_chain)?))
    }

    /// Moves the first chain's stream.
    fn set_stream_position(
        &self,
        py: Python<'_>,
        position: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let moved = stream_at(py, &position)?;
        *self.lock().stream(0).ok_or_else(no_chain)? = moved;
        Ok(())
    }

    /// The state of all chains as words.
    fn save<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = self.lock().persist(&mut codec);
        check(py, saved)?;
        Ok(PyArray1::from_vec(py, codec.into_words()))
    }

    /// The number of transitions that chains make until they wait for each other, at the next barrier
    /// of the warm-up or at transition `until` of `run`.
    fn goal(&self, until: u64) -> u64 {
        self.lock().goal(until)
    }

    /// Passes the barrier at which all chains have arrived, if there is one.
    fn meet(&self) {
        self.lock().meet();
    }

    /// The state of `n` chains from the chain at `first` on, as words.
    fn save_chains<'py>(
        &self,
        py: Python<'py>,
        first: usize,
        n: usize,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let mut codec = Codec::writer();
        let saved = self.lock().persist_chains(first, n, &mut codec);
        check(py, saved)?;
        Ok(PyArray1::from_vec(py, codec.into_words()))
    }

    /// Restores the state of chains that `save_chains` returned.
    fn load_chains(
        &self,
        py: Python<'_>,
        first: usize,
        n: usize,
        words: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let mut codec = Codec::reader(words.as_slice()?.to_vec());
        check(py, decoded(|| self.lock().persist_chains(first, n, &mut codec)))
    }

    /// Restores the state that `save` returned.
    fn load(&self, py: Python<'_>, words: PyReadonlyArray1<'_, u64>) -> PyResult<()> {
        let mut codec = Codec::reader(words.as_slice()?.to_vec());
        check(py, decoded(|| self.lock().persist(&mut codec)))
    }
}

/// The transitions of each chain, with those that were left out.
fn made(sampler: &Sampler) -> impl Iterator<Item = u64> + '_ {
    sampler.chains().iter().map(|chain| chain.n_done() + sampler.n_skipped())
}

fn no_chain() -> PyErr {
    PyValueError::new_err("there is no chain")
}

fn oracle_of(kind: &str, oracle: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Oracle> {
    Ok(match kind {
        "density" => Oracle::Density(target::log_density(oracle, raised)?),
        "table" => Oracle::Table(target::integrand(oracle, raised)?),
        "draw" => Oracle::Draw(conditional(oracle, raised)?),
        "unused" => Oracle::Unused(oracle.extract()?),
        other => return Err(PyValueError::new_err(format!("unknown oracle '{other}'"))),
    })
}

fn slice<'a>(array: &'a mut Option<PyReadwriteArrayDyn<'_, f64>>) -> PyResult<&'a mut [f64]> {
    match array {
        Some(array) => Ok(array.as_slice_mut()?),
        None => Ok(&mut []),
    }
}
