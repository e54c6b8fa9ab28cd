//! Grids of noise levels.

use crate::common::error::check;
use fermiac_score::schedule::{Spread, VpLinear};
use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// `n_steps + 1` levels from `high` to `low`, spaced by `kind`: "karras" and "polyexponential"
/// with ρ as `power`, "poly_t" with κ as `power` and the β of a variance-preserving process.
#[door]
#[pyfunction]
fn score_grid<'py>(
    py: Python<'py>,
    kind: &str,
    n_steps: usize,
    low: f64,
    high: f64,
    power: f64,
    beta_range: (f64, f64),
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let spread = match kind {
        "karras" => Spread::Power { rho: power },
        "polyexponential" => Spread::LogPower { rho: power },
        "poly_t" => {
            let process = check(py, VpLinear::new(beta_range.0, beta_range.1))?;
            Spread::TimePower { kappa: power, process }
        }
        other => return Err(PyValueError::new_err(format!("there is no spread {other:?}"))),
    };
    Ok(PyArray1::from_vec(py, check(py, spread.grid(n_steps, low, high))?))
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_grid, m)?)
}
