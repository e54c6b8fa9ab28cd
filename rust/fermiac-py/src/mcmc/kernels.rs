//! Kernels from their descriptions: (name, options) as `fermiac.mcmc` makes them.

use fermiac_core::kernel::{Kernel, StepSize};
use fermiac_core::mcmc::{
    Drift, Hmc, HmcOptions, Langevin, LangevinOptions, Length, Nuts, RandomWalk,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::metric::MetricSpec;

/// The kernel of a description, for points of `dim` coordinates.
pub(super) fn kernel(spec: &Bound<'_, PyAny>, dim: usize) -> PyResult<Box<dyn Kernel>> {
    let (name, options) = spec.extract::<(String, Bound<'_, PyAny>)>()?;
    Ok(match name.as_str() {
        "random_walk" => Box::new(options.extract::<RandomWalkSpec>()?.build(dim)),
        "nuts" => Box::new(options.extract::<NutsSpec>()?.build(dim)),
        "hmc" => Box::new(options.extract::<HmcSpec>()?.build(dim)),
        "langevin" => Box::new(options.extract::<LangevinSpec>()?.build(dim)),
        other => return Err(PyValueError::new_err(format!("unknown kernel '{other}'"))),
    })
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RandomWalkSpec {
    scale: Option<f64>,
    target_accept: Option<f64>,
    metric: MetricSpec,
}

impl RandomWalkSpec {
    fn build(self, dim: usize) -> RandomWalk {
        let MetricSpec(kind, metric) = self.metric;
        RandomWalk::new(dim, self.scale, self.target_accept, kind, metric)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct LangevinSpec {
    step: f64,
    target_accept: Option<f64>,
    correct: bool,
    truncate: Option<f64>,
    tamed: bool,
    metric: MetricSpec,
}

impl LangevinSpec {
    fn build(self, dim: usize) -> Langevin {
        let drift = match (self.truncate, self.tamed) {
            (Some(bound), _) => Drift::Truncated(bound),
            (None, true) => Drift::Tamed,
            (None, false) => Drift::Plain,
        };
        let (step, accept, correct) = (self.step, self.target_accept, self.correct);
        let MetricSpec(kind, metric) = self.metric;
        Langevin::new(dim, &LangevinOptions { step, accept, correct, drift }, kind, metric)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct NutsSpec {
    step: f64,
    target_accept: Option<f64>,
    max_depth: usize,
    metric: MetricSpec,
}

impl NutsSpec {
    fn build(self, dim: usize) -> Nuts {
        let MetricSpec(kind, metric) = self.metric;
        Nuts::new(dim, step_size(self.step, self.target_accept), self.max_depth, kind, metric)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct HmcSpec {
    step: f64,
    target_accept: Option<f64>,
    n_steps: Option<usize>,
    trajectory_length: f64,
    jitter: f64,
    metric: MetricSpec,
}

impl HmcSpec {
    fn build(self, dim: usize) -> Hmc {
        let MetricSpec(kind, metric) = self.metric;
        let length = self.n_steps.map_or(Length::Time(self.trajectory_length), Length::Steps);
        let step = step_size(self.step, self.target_accept);
        Hmc::new(dim, HmcOptions { step, length, jitter: self.jitter }, kind, metric)
    }
}

/// One that stays, or the first of those that are adapted.
fn step_size(step: f64, target_accept: Option<f64>) -> StepSize {
    target_accept.map_or_else(|| StepSize::fixed(step), |accept| StepSize::averaged(step, accept))
}
