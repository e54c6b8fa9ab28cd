//! Kernels that are made of others, from their descriptions.

use fermiac_mcmc::kernel::Kernel;
use fermiac_mcmc::{Block, Discrete, DiscreteOptions, ExactDraw, Gibbs, Scan, Tempered};
use numpy::PyReadonlyArray2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::kernels::kernel;
use crate::common::error::check;

/// Blocks as (name, coordinates, kernel), and their order.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct GibbsSpec<'py> {
    blocks: Vec<(String, Vec<usize>, Bound<'py, PyAny>)>,
    scan: String,
    weights: Vec<f64>,
    sweeps: usize,
}

impl GibbsSpec<'_> {
    pub(super) fn build(self, py: Python<'_>, dim: usize) -> PyResult<Box<dyn Kernel>> {
        let n = self.blocks.len();
        let blocks = self
            .blocks
            .into_iter()
            .map(|(name, coordinates, spec)| {
                let kernel = kernel(&spec, coordinates.len())?;
                Ok(Block::new(name, coordinates, kernel))
            })
            .collect::<PyResult<_>>()?;
        let scan = match self.scan.as_str() {
            "systematic" => Scan::systematic(n, self.sweeps),
            "palindrome" => Scan::palindrome(n, self.sweeps),
            "random" => check(py, Scan::random(&self.weights, n * self.sweeps))?,
            "one" => check(py, Scan::random(&self.weights, self.sweeps))?,
            other => return Err(PyValueError::new_err(format!("unknown scan '{other}'"))),
        };
        Ok(Box::new(check(py, Gibbs::new(dim, blocks, scan))?))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct DrawSpec {
    port: usize,
}

impl DrawSpec {
    pub(super) fn build(&self, dim: usize) -> ExactDraw {
        ExactDraw::new(dim, self.port)
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct DiscreteSpec<'py> {
    states: PyReadonlyArray2<'py, f64>,
    port: Option<usize>,
    metropolised: bool,
}

impl DiscreteSpec<'_> {
    pub(super) fn build(self, py: Python<'_>, dim: usize) -> PyResult<Discrete> {
        let states = self.states.as_slice()?.to_vec();
        let (table, metropolised) = (self.port, self.metropolised);
        check(py, Discrete::new(dim, DiscreteOptions { states, table, metropolised }))
    }
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct TemperedSpec<'py> {
    kernel: Bound<'py, PyAny>,
    betas: Vec<f64>,
    port: usize,
    adapt: bool,
}

impl TemperedSpec<'_> {
    pub(super) fn build(self, py: Python<'_>, dim: usize) -> PyResult<Tempered> {
        let kernel = kernel(&self.kernel, dim)?;
        check(py, Tempered::new(kernel.as_ref(), &self.betas, self.port, self.adapt))
    }
}
