//! Hamiltonian kernels from their descriptions.

use fermiac_mcmc::kernel::StepSize;
use fermiac_mcmc::{Hmc, HmcOptions, Length, Nuts};
use pyo3::prelude::*;

use super::metric::MetricSpec;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct NutsSpec {
    step: f64,
    target_accept: Option<f64>,
    max_depth: usize,
    metric: MetricSpec,
}

impl NutsSpec {
    pub(super) fn build(self, dim: usize) -> Nuts {
        let MetricSpec(kind, metric) = self.metric;
        Nuts::new(dim, step_size(self.step, self.target_accept), self.max_depth, kind, metric)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct HmcSpec {
    step: f64,
    target_accept: Option<f64>,
    n_steps: Option<usize>,
    trajectory_length: f64,
    jitter: f64,
    metric: MetricSpec,
}

impl HmcSpec {
    pub(super) fn build(self, dim: usize) -> Hmc {
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
