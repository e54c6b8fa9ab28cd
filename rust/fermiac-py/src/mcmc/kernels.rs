//! Kernels from their descriptions: (name, options) as `fermiac.mcmc` makes them.

use fermiac_core::kernel::Kernel;
use fermiac_core::mcmc::{Drift, Langevin, LangevinOptions, RandomWalk};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::compose::{DiscreteSpec, DrawSpec, GibbsSpec, TemperedSpec};
use super::metric::MetricSpec;

/// The kernel of a description, for points of `dim` coordinates.
pub(super) fn kernel(spec: &Bound<'_, PyAny>, dim: usize) -> PyResult<Box<dyn Kernel>> {
    let (name, options) = spec.extract::<(String, Bound<'_, PyAny>)>()?;
    Ok(match name.as_str() {
        "random_walk" => Box::new(options.extract::<RandomWalkSpec>()?.build(dim)),
        "langevin" => Box::new(options.extract::<LangevinSpec>()?.build(dim)),
        "gibbs" => options.extract::<GibbsSpec<'_>>()?.build(spec.py(), dim)?,
        "draw" => Box::new(options.extract::<DrawSpec>()?.build(dim)),
        "discrete" => Box::new(options.extract::<DiscreteSpec<'_>>()?.build(spec.py(), dim)?),
        "tempered" => Box::new(options.extract::<TemperedSpec<'_>>()?.build(spec.py(), dim)?),
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
