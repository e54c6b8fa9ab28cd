//! The Langevin kernels, from their descriptions.

use fermiac_mcmc::{
    Drift, Langevin, LangevinOptions, Letter, Microcanonical, MicrocanonicalOptions, Underdamped,
    UnderdampedOptions,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::metric::MetricSpec;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct LangevinSpec {
    step: f64,
    target_accept: Option<f64>,
    correct: bool,
    drift: (String, f64),
    metric: MetricSpec,
}

impl LangevinSpec {
    pub(super) fn build(self, dim: usize) -> PyResult<Langevin> {
        let drift = match (self.drift.0.as_str(), self.drift.1) {
            ("plain", _) => Drift::Plain,
            ("truncated", bound) => Drift::Truncated(bound),
            ("tamed", _) => Drift::Tamed,
            ("signs", _) => Drift::Signs,
            (other, _) => return Err(PyValueError::new_err(format!("unknown drift '{other}'"))),
        };
        let (step, accept, correct) = (self.step, self.target_accept, self.correct);
        let MetricSpec(kind, metric) = self.metric;
        let options = LangevinOptions { step, accept, correct, drift };
        Ok(Langevin::new(dim, &options, kind, metric))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct UnderdampedSpec {
    splitting: String,
    friction: f64,
    step: f64,
    target_accept: Option<f64>,
    correct: bool,
    metric: MetricSpec,
}

impl UnderdampedSpec {
    pub(super) fn build(self, dim: usize) -> PyResult<Underdamped> {
        let letter = |c: char| match c {
            'A' => Ok(Letter::A),
            'B' => Ok(Letter::B),
            'O' => Ok(Letter::O),
            other => Err(PyValueError::new_err(format!("unknown letter '{other}'"))),
        };
        let options = UnderdampedOptions {
            splitting: self.splitting.chars().map(letter).collect::<PyResult<_>>()?,
            friction: self.friction,
            step: self.step,
            accept: self.target_accept,
            correct: self.correct,
        };
        let MetricSpec(kind, metric) = self.metric;
        Ok(Underdamped::new(dim, &options, kind, metric))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct MicrocanonicalSpec {
    step: Option<f64>,
    length: Option<f64>,
    target_accept: Option<f64>,
    metric: MetricSpec,
}

impl MicrocanonicalSpec {
    pub(super) fn build(self, dim: usize) -> Microcanonical {
        let (step, length, accept) = (self.step, self.length, self.target_accept);
        let MetricSpec(kind, metric) = self.metric;
        Microcanonical::new(dim, &MicrocanonicalOptions { step, length, accept }, kind, metric)
    }
}
