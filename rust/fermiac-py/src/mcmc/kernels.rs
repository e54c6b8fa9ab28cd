//! Kernels from their settings in Python: (name, options) as `fermiac.mcmc` sends them.

use crate::common::error::check;
use fermiac_base::linalg::Cholesky;
use fermiac_mcmc::kernel::{Kernel, Metric, MetricKind, Scale, StepSize};
use fermiac_mcmc::proposals::{Barker, Drift, Langevin, RandomWalk};
use fermiac_mcmc::{
    Block, Direction, Discrete, DiscreteOptions, EllipticalSlice, Ensemble, ExactDraw, Gibbs, Hmc,
    Length, Metropolized, Microcanonical, MicrocanonicalOptions, Move, Nuts, Scan, Slice,
    SplittingStep, Tempered, Underdamped, UnderdampedOptions,
};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The options of a kernel.
trait Spec {
    /// Makes the kernel, for points of `dim` coordinates.
    fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>>;
}

/// The table of kernels: the names that Python sends, and their options.
macro_rules! kernels {
    ($($name:literal => $spec:ty,)*) => {
        /// Makes the kernel of (name, options), for points of `dim` coordinates.
        pub(super) fn kernel(spec: &Bound<'_, PyAny>, dim: usize) -> PyResult<Box<dyn Kernel>> {
            let (name, options) = spec.extract::<(String, Bound<'_, PyAny>)>()?;
            match name.as_str() {
                $($name => options.extract::<$spec>()?.build(spec.py(), dim),)*
                other => Err(unknown("kernel", other)),
            }
        }
    };
}

kernels! {
    "rwm" => RandomWalkSpec,
    "langevin" => LangevinSpec,
    "barker" => BarkerSpec,
    "underdamped" => UnderdampedSpec,
    "mclmc" => MicrocanonicalSpec,
    "hmc" => HmcSpec,
    "nuts" => NutsSpec,
    "slice" => SliceSpec,
    "elliptical_slice" => EllipticalSliceSpec<'_>,
    "ensemble" => EnsembleSpec,
    "gibbs" => GibbsSpec<'_>,
    "draw" => DrawSpec,
    "discrete" => DiscreteSpec<'_>,
    "tempered" => TemperedSpec<'_>,
}

fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("unknown {what} '{name}'"))
}

/// The adaptation of a metric, and the metric to start from: (kind, variances or covariance).
struct MetricSpec(MetricKind, Metric);

impl MetricSpec {
    fn scale(self, dim: usize) -> Scale {
        Scale::new(dim, self.0, self.1)
    }
}

impl<'py> FromPyObject<'_, 'py> for MetricSpec {
    type Error = PyErr;

    fn extract(spec: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (kind, start) = spec.extract::<(String, Option<Bound<'py, PyAny>>)>()?;
        let kind = match kind.as_str() {
            "fixed" => MetricKind::Fixed,
            "variance" => MetricKind::Variance,
            "covariance" => MetricKind::Covariance,
            "diagonal" => MetricKind::Diagonal,
            "dense" => MetricKind::Dense,
            "low_rank" => MetricKind::LowRank,
            other => return Err(unknown("metric", other)),
        };
        let Some(start) = start else { return Ok(Self(kind, Metric::Unit)) };
        if let Ok(variances) = start.extract::<PyReadonlyArray1<'_, f64>>() {
            let deviations = variances.as_slice()?.iter().map(|v| v.sqrt()).collect();
            return Ok(Self(kind, Metric::Diagonal(deviations)));
        }
        let covariance = start.extract::<PyReadonlyArray2<'_, f64>>()?;
        let matrix = covariance.as_slice()?;
        let factor = Cholesky::new(matrix, matrix.len().isqrt());
        Ok(Self(kind, Metric::dense(&check(spec.py(), factor)?)))
    }
}

/// A step size and a metric: (step size, target acceptance rate or None, metric).
struct Tuning(StepSize, MetricSpec);

impl<'py> FromPyObject<'_, 'py> for Tuning {
    type Error = PyErr;

    fn extract(spec: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (step, accept, metric) = spec.extract::<(f64, Option<f64>, MetricSpec)>()?;
        let fixed = || StepSize::fixed(step);
        Ok(Self(accept.map_or_else(fixed, |accept| StepSize::averaged(step, accept)), metric))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RandomWalkSpec {
    scale: Option<f64>,
    target_accept: Option<f64>,
    metric: MetricSpec,
}

impl Spec for RandomWalkSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let step = RandomWalk::step_size(dim, self.scale, self.target_accept);
        Ok(Box::new(Metropolized::new(RandomWalk::new(dim), step, self.metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct LangevinSpec {
    tuning: Tuning,
    corrected: bool,
    drift: (String, f64),
}

impl Spec for LangevinSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let drift = match (self.drift.0.as_str(), self.drift.1) {
            ("plain", _) => Drift::Plain,
            ("truncated", bound) => Drift::Truncated(bound),
            ("tamed", _) => Drift::Tamed,
            (other, _) => return Err(unknown("drift", other)),
        };
        let Tuning(step, metric) = self.tuning;
        let kernel = Metropolized::new(Langevin::new(dim, drift), step, metric.scale(dim));
        Ok(Box::new(if self.corrected { kernel } else { kernel.uncorrected() }))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct BarkerSpec {
    tuning: Tuning,
}

impl Spec for BarkerSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let Tuning(step, metric) = self.tuning;
        Ok(Box::new(Metropolized::new(Barker::new(dim), step, metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct UnderdampedSpec {
    tuning: Tuning,
    splitting: String,
    friction: f64,
    corrected: bool,
}

impl Spec for UnderdampedSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let step = |letter: char| match letter {
            'A' => Ok(SplittingStep::A),
            'B' => Ok(SplittingStep::B),
            'O' => Ok(SplittingStep::O),
            other => Err(unknown("splitting step", &other.to_string())),
        };
        let splitting = self.splitting.chars().map(step).collect::<PyResult<_>>()?;
        let (friction, corrected) = (self.friction, self.corrected);
        let Tuning(step, metric) = self.tuning;
        let options = UnderdampedOptions { splitting, friction, corrected };
        Ok(Box::new(Underdamped::new(&options, step, metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct MicrocanonicalSpec {
    step: Option<f64>,
    length: Option<f64>,
    target_accept: Option<f64>,
    metric: MetricSpec,
}

impl Spec for MicrocanonicalSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let (step, length, accept) = (self.step, self.length, self.target_accept);
        let options = MicrocanonicalOptions { step, length, accept };
        Ok(Box::new(Microcanonical::new(&options, self.metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct HmcSpec {
    tuning: Tuning,
    n_steps: Option<usize>,
    trajectory_length: f64,
    jitter: f64,
}

impl Spec for HmcSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let length = self.n_steps.map_or(Length::Time(self.trajectory_length), Length::Steps);
        let Tuning(step, metric) = self.tuning;
        Ok(Box::new(Hmc::new(step, length, self.jitter, metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct NutsSpec {
    tuning: Tuning,
    max_depth: usize,
}

impl Spec for NutsSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let Tuning(step, metric) = self.tuning;
        Ok(Box::new(Nuts::new(step, self.max_depth, metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct SliceSpec {
    direction: String,
    width: Option<f64>,
    max_steps: usize,
    metric: MetricSpec,
}

impl Spec for SliceSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let direction = match self.direction.as_str() {
            "coordinates" => Direction::Coordinates,
            "random" => Direction::Random,
            "box" => Direction::Box,
            other => return Err(unknown("direction", other)),
        };
        Ok(Box::new(Slice::new(direction, self.width, self.max_steps, self.metric.scale(dim))))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct EllipticalSliceSpec<'py> {
    mean: PyReadonlyArray1<'py, f64>,
    /// The covariance of the prior, as a metric that is not adapted.
    covariance: MetricSpec,
    posterior: bool,
}

impl Spec for EllipticalSliceSpec<'_> {
    fn build(self, _py: Python<'_>, _dim: usize) -> PyResult<Box<dyn Kernel>> {
        let (mean, factor) = (self.mean.as_slice()?.to_vec(), self.covariance.1);
        Ok(Box::new(EllipticalSlice::new(mean, factor, self.posterior)))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct EnsembleSpec {
    n_points: usize,
    /// (name, numbers, weight) of every move.
    moves: Vec<(String, Vec<f64>, f64)>,
}

impl Spec for EnsembleSpec {
    fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let step = |name: &str, numbers: &[f64]| match (name, numbers) {
            ("stretch", &[scale]) => Ok(Move::Stretch { scale }),
            ("difference", &[factor, spread, jump]) => {
                Ok(Move::Difference { factor, spread, jump })
            }
            ("snooker", &[factor]) => Ok(Move::Snooker { factor }),
            _ => Err(unknown("move", name)),
        };
        let moves = self.moves.iter();
        let moves = moves
            .map(|(name, numbers, weight)| Ok((step(name, numbers)?, *weight)))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Box::new(check(py, Ensemble::new(dim, self.n_points, moves))?))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GibbsSpec<'py> {
    /// (name, coordinates, kernel) of every block.
    blocks: Vec<(String, Vec<usize>, Bound<'py, PyAny>)>,
    scan: String,
    weights: Vec<f64>,
    sweeps: usize,
}

impl Spec for GibbsSpec<'_> {
    fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let n = self.blocks.len();
        let block = |(name, coordinates, spec): (String, Vec<usize>, Bound<'_, PyAny>)| {
            let kernel = kernel(&spec, coordinates.len())?;
            Ok(Block::new(name, coordinates, kernel))
        };
        let blocks = self.blocks.into_iter().map(block).collect::<PyResult<_>>()?;
        let scan = match self.scan.as_str() {
            "systematic" => Scan::systematic(n, self.sweeps),
            "palindrome" => Scan::palindrome(n, self.sweeps),
            "random" => check(py, Scan::random(&self.weights, n * self.sweeps))?,
            "one" => check(py, Scan::random(&self.weights, self.sweeps))?,
            other => return Err(unknown("scan", other)),
        };
        Ok(Box::new(check(py, Gibbs::new(dim, blocks, scan))?))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct DrawSpec {
    oracle: usize,
}

impl Spec for DrawSpec {
    fn build(self, _py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        Ok(Box::new(ExactDraw::new(dim, self.oracle)))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct DiscreteSpec<'py> {
    states: PyReadonlyArray2<'py, f64>,
    oracle: Option<usize>,
    metropolised: bool,
}

impl Spec for DiscreteSpec<'_> {
    fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let states = self.states.as_slice()?.to_vec();
        let (table, metropolised) = (self.oracle, self.metropolised);
        let options = DiscreteOptions { states, table, metropolised };
        Ok(Box::new(check(py, Discrete::new(dim, options))?))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct TemperedSpec<'py> {
    kernel: Bound<'py, PyAny>,
    betas: Vec<f64>,
    oracle: usize,
    adapt: bool,
}

impl Spec for TemperedSpec<'_> {
    fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let kernel = kernel(&self.kernel, dim)?;
        let tempered = Tempered::new(kernel.as_ref(), &self.betas, self.oracle, self.adapt);
        Ok(Box::new(check(py, tempered)?))
    }
}
