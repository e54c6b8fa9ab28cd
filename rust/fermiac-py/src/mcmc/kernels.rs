//! Kernels from their descriptions: (name, options) as `fermiac.mcmc` makes them.

use fermiac_mcmc::RandomWalk;
use fermiac_mcmc::kernel::Kernel;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::compose::{DiscreteSpec, DrawSpec, GibbsSpec, TemperedSpec};
use super::gradient_free::{EllipticalSliceSpec, EnsembleSpec, SliceSpec};
use super::hamiltonian::{HmcSpec, NutsSpec};
use super::langevin::{LangevinSpec, MicrocanonicalSpec, UnderdampedSpec};
use super::metric::MetricSpec;

/// The kernel of a description, for points of `dim` coordinates.
pub(super) fn kernel(spec: &Bound<'_, PyAny>, dim: usize) -> PyResult<Box<dyn Kernel>> {
    let (name, options) = spec.extract::<(String, Bound<'_, PyAny>)>()?;
    Ok(match name.as_str() {
        "random_walk" => Box::new(options.extract::<RandomWalkSpec>()?.build(dim)),
        "nuts" => Box::new(options.extract::<NutsSpec>()?.build(dim)),
        "hmc" => Box::new(options.extract::<HmcSpec>()?.build(dim)),
        "langevin" => Box::new(options.extract::<LangevinSpec>()?.build(dim)?),
        "microcanonical" => Box::new(options.extract::<MicrocanonicalSpec>()?.build(dim)),
        "underdamped" => Box::new(options.extract::<UnderdampedSpec>()?.build(dim)?),
        "slice" => Box::new(options.extract::<SliceSpec>()?.build(dim)?),
        "elliptical_slice" => Box::new(options.extract::<EllipticalSliceSpec<'_>>()?.build()?),
        "ensemble" => Box::new(options.extract::<EnsembleSpec>()?.build(spec.py(), dim)?),
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
