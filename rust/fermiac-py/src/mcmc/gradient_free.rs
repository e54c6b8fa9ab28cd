//! Slice samplers and ensembles from their descriptions.

use fermiac_mcmc::{Direction, EllipticalSlice, Ensemble, Move, Slice};
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::metric::MetricSpec;
use crate::common::error::check;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct SliceSpec {
    direction: String,
    width: Option<f64>,
    max_steps: usize,
    metric: MetricSpec,
}

impl SliceSpec {
    pub(super) fn build(self, dim: usize) -> PyResult<Slice> {
        let direction = match self.direction.as_str() {
            "coordinates" => Direction::Coordinates,
            "random" => Direction::Random,
            "box" => Direction::Box,
            other => return Err(PyValueError::new_err(format!("unknown direction '{other}'"))),
        };
        let MetricSpec(kind, metric) = self.metric;
        Ok(Slice::new(dim, direction, self.width, self.max_steps, kind, metric))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct EllipticalSliceSpec<'py> {
    mean: PyReadonlyArray1<'py, f64>,
    /// The prior's covariance, as a metric that is not learned.
    covariance: MetricSpec,
    whole: bool,
}

impl EllipticalSliceSpec<'_> {
    pub(super) fn build(self) -> PyResult<EllipticalSlice> {
        let MetricSpec(_, factor) = self.covariance;
        Ok(EllipticalSlice::new(self.mean.as_slice()?.to_vec(), factor, self.whole))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct EnsembleSpec {
    n_points: usize,
    /// (name, its numbers, weight) of every move.
    moves: Vec<(String, Vec<f64>, f64)>,
}

impl EnsembleSpec {
    pub(super) fn build(self, py: Python<'_>, dim: usize) -> PyResult<Ensemble> {
        let moves = self
            .moves
            .iter()
            .map(|(name, numbers, weight)| Ok((step(name, numbers)?, *weight)))
            .collect::<PyResult<Vec<_>>>()?;
        check(py, Ensemble::new(dim, self.n_points, moves))
    }
}

fn step(name: &str, numbers: &[f64]) -> PyResult<Move> {
    Ok(match (name, numbers) {
        ("stretch", &[scale]) => Move::Stretch { scale },
        ("difference", &[factor, spread, jump]) => Move::Difference { factor, spread, jump },
        ("snooker", &[factor]) => Move::Snooker { factor },
        _ => return Err(PyValueError::new_err(format!("unknown move '{name}'"))),
    })
}
