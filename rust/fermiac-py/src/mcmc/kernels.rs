//! Kernels from their settings in Python: (name, options) as `fermiac.mcmc` sends them.

use super::laws::PyBlockLaw;
use crate::common::dict::entry;
use crate::common::error::check;
use crate::targets::distributions::Law;
use fermiac_base::linalg::Cholesky;
use fermiac_mcmc::kernel::{Kernel, Metric, MetricKind, Scale, StepSize};
use fermiac_mcmc::proposals::{Drift, Langevin, RandomWalk};
use fermiac_mcmc::{
    Block, Chees, CheesOptions, Criterion, Direction, Discrete, DiscreteOptions, EllipticalSlice,
    Ensemble, ExactDraw, Gibbs, Hmc, Length, Metropolized, Microcanonical, MicrocanonicalOptions,
    Move, Nuts, Scan, Slice, SplittingStep, Tempered, Underdamped, UnderdampedOptions, Walnuts,
    WalnutsOptions,
};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;

type Made = PyResult<Box<dyn Kernel>>;

/// Makes the kernel of (name, options), for points of `dim` coordinates.
pub(super) fn kernel(spec: &Bound<'_, PyAny>, dim: usize) -> Made {
    let (name, options) = spec.extract::<(String, Bound<'_, PyAny>)>()?;
    let make = match name.as_str() {
        "rwm" => random_walk,
        "langevin" => langevin,
        "underdamped" => underdamped,
        "mclmc" => microcanonical,
        "hmc" => hmc,
        "chees" => chees,
        "nuts" => nuts,
        "walnuts" => walnuts,
        "slice" => slice,
        "elliptical_slice" => elliptical_slice,
        "ensemble" => ensemble,
        "gibbs" => gibbs,
        "draw" => draw,
        "discrete" => discrete,
        "tempered" => tempered,
        other => return Err(unknown("kernel", other)),
    };
    make(&options, dim)
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
            "auto" => MetricKind::Auto,
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

fn random_walk(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let (scale, accept) = (entry(options, "scale")?, entry(options, "target_accept")?);
    let metric = entry::<MetricSpec>(options, "metric")?;
    let step = RandomWalk::step_size(dim, scale, accept);
    Ok(Box::new(Metropolized::new(RandomWalk::new(dim), step, metric.scale(dim))))
}

fn langevin(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let Tuning(step, metric) = entry(options, "tuning")?;
    let (name, bound) = entry::<(String, f64)>(options, "drift")?;
    let drift = match name.as_str() {
        "plain" => Drift::Plain,
        "truncated" => Drift::Truncated(bound),
        "tamed" => Drift::Tamed,
        other => return Err(unknown("drift", other)),
    };
    let kernel = Metropolized::new(Langevin::new(dim, drift), step, metric.scale(dim));
    let corrected = entry(options, "corrected")?;
    Ok(Box::new(if corrected { kernel } else { kernel.uncorrected() }))
}

fn underdamped(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let part = |letter: char| match letter {
        'A' => Ok(SplittingStep::A),
        'B' => Ok(SplittingStep::B),
        'O' => Ok(SplittingStep::O),
        other => Err(unknown("splitting step", &other.to_string())),
    };
    let splitting =
        entry::<String>(options, "splitting")?.chars().map(part).collect::<PyResult<_>>()?;
    let (friction, corrected) = (entry(options, "friction")?, entry(options, "corrected")?);
    let Tuning(step, metric) = entry(options, "tuning")?;
    let options = UnderdampedOptions { splitting, friction, corrected };
    Ok(Box::new(Underdamped::new(&options, step, metric.scale(dim))))
}

fn microcanonical(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let (step, length) = (entry(options, "step")?, entry(options, "length")?);
    let accept = entry(options, "target_accept")?;
    let scale = entry::<MetricSpec>(options, "metric")?.scale(dim);
    Ok(Box::new(Microcanonical::new(&MicrocanonicalOptions { step, length, accept }, scale)))
}

fn hmc(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let Tuning(step, metric) = entry(options, "tuning")?;
    let time = Length::Time(entry(options, "trajectory_length")?);
    let length = entry::<Option<usize>>(options, "n_steps")?.map_or(time, Length::Steps);
    Ok(Box::new(Hmc::new(step, length, entry(options, "jitter")?, metric.scale(dim))))
}

fn chees(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let criterion = match entry::<String>(options, "criterion")?.as_str() {
        "chees" => Criterion::Chees,
        "snaper" => Criterion::Snaper,
        other => return Err(unknown("criterion", other)),
    };
    let (step, accept, metric) = entry::<(f64, Option<f64>, MetricSpec)>(options, "tuning")?;
    let (length, jitter) = (entry(options, "trajectory_length")?, entry(options, "jitter")?);
    let options = CheesOptions { step, accept, length, jitter, criterion };
    Ok(Box::new(Chees::new(&options, metric.scale(dim))))
}

fn nuts(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let Tuning(step, metric) = entry(options, "tuning")?;
    let step = if entry(options, "raising")? { step.raising() } else { step };
    Ok(Box::new(Nuts::new(step, entry(options, "max_depth")?, metric.scale(dim))))
}

fn walnuts(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let Tuning(step, metric) = entry(options, "tuning")?;
    let options = WalnutsOptions {
        max_depth: entry(options, "max_depth")?,
        energy_tolerance: entry(options, "energy_tolerance")?,
        max_halvings: entry(options, "max_halvings")?,
    };
    Ok(Box::new(Walnuts::new(step, &options, metric.scale(dim))))
}

fn slice(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let direction = match entry::<String>(options, "direction")?.as_str() {
        "coordinates" => Direction::Coordinates,
        "random" => Direction::Random,
        "box" => Direction::Box,
        other => return Err(unknown("direction", other)),
    };
    let (width, max_steps) = (entry(options, "width")?, entry(options, "max_steps")?);
    let scale = entry::<MetricSpec>(options, "metric")?.scale(dim);
    Ok(Box::new(Slice::new(direction, width, max_steps, scale)))
}

fn elliptical_slice(options: &Bound<'_, PyAny>, _dim: usize) -> Made {
    let mean = entry::<PyReadonlyArray1<'_, f64>>(options, "mean")?.as_slice()?.to_vec();
    // The covariance of the prior is a metric that is not adapted.
    let MetricSpec(_, factor) = entry(options, "covariance")?;
    Ok(Box::new(EllipticalSlice::new(mean, factor, entry(options, "posterior")?)))
}

fn ensemble(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let step = |(name, numbers, weight): (String, Vec<f64>, f64)| {
        let step = match (name.as_str(), &numbers[..]) {
            ("difference", &[factor, spread, jump]) => Move::Difference { factor, spread, jump },
            ("snooker", &[factor]) => Move::Snooker { factor },
            (other, _) => return Err(unknown("move", other)),
        };
        Ok((step, weight))
    };
    let moves =
        entry::<Vec<_>>(options, "moves")?.into_iter().map(step).collect::<PyResult<_>>()?;
    Ok(Box::new(check(options.py(), Ensemble::new(dim, entry(options, "n_points")?, moves))?))
}

fn gibbs(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let block = |(name, coordinates, spec): (String, Vec<usize>, Bound<'_, PyAny>)| {
        let kernel = kernel(&spec, coordinates.len())?;
        Ok(Block::new(name, coordinates, kernel))
    };
    let blocks = entry::<Vec<_>>(options, "blocks")?.into_iter().map(block);
    let blocks = blocks.collect::<PyResult<Vec<_>>>()?;
    let (py, n) = (options.py(), blocks.len());
    let sweeps: usize = entry(options, "sweeps")?;
    let weights = entry::<Vec<f64>>(options, "weights")?;
    let scan = match entry::<String>(options, "scan")?.as_str() {
        "systematic" => Scan::systematic(n, sweeps),
        "palindrome" => Scan::palindrome(n, sweeps),
        "random" => check(py, Scan::random(&weights, n.saturating_mul(sweeps)))?,
        "one" => check(py, Scan::random(&weights, sweeps))?,
        other => return Err(unknown("scan", other)),
    };
    Ok(Box::new(check(py, Gibbs::new(dim, blocks, scan))?))
}

fn draw(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let draw = ExactDraw::new(dim, entry(options, "oracle")?);
    // Only a block of whole points names its law.
    Ok(Box::new(match options.get_item("law") {
        Ok(law) => draw.of(Arc::clone(&law.extract::<PyRef<'_, PyBlockLaw>>()?.inner)),
        Err(_) => draw,
    }))
}

fn discrete(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let states = entry::<PyReadonlyArray2<'_, f64>>(options, "states")?.as_slice()?.to_vec();
    let (table, metropolised) = (entry(options, "oracle")?, entry(options, "metropolised")?);
    let made = Discrete::new(dim, DiscreteOptions { states, table, metropolised });
    Ok(Box::new(check(options.py(), made)?))
}

fn tempered(options: &Bound<'_, PyAny>, dim: usize) -> Made {
    let kernel = kernel(&entry(options, "kernel")?, dim)?;
    let betas = entry::<Vec<f64>>(options, "betas")?;
    let (reference, adapt) = (entry(options, "oracle")?, entry(options, "adapt")?);
    let made = check(options.py(), Tempered::new(kernel.as_ref(), &betas, reference, adapt))?;
    let Some(law) = entry::<Option<PyRef<'_, Law>>>(options, "law")? else {
        return Ok(Box::new(made));
    };
    Ok(Box::new(check(options.py(), made.with_draws(Arc::clone(&law.inner)))?))
}
