//! Integrators in one call: points along given noise levels, and draws from noise.

use crate::Model;
use crate::noise::{Purpose, stream};
use crate::program::{Method, Options, SdeSolver, Start, Variant, compile};
use crate::run::{self, Plan};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

impl Method {
    /// Returns DPM-Solver++ of second order, a multistep method for the ordinary equation.
    pub const fn dpm_solver_multistep() -> Self {
        let (sde, variant) = (SdeSolver::Midpoint, Variant::Published);
        Self::Multi { order: 2, eta: 0.0, sde, variant }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { start: Start::Low, lower_order_final: true, corrector: None }
    }
}

/// Returns the points `y` (rows × dim), which lie at the first of the noise levels, at the last.
/// Row `i` takes its noise from the stream at address `i` of the key.
///
/// # Errors
/// For levels that do not decrease, a method outside its domain, or a model that fails.
pub fn integrate(
    model: &dyn Model,
    y: &[f64],
    levels: &[f64],
    method: Method,
    key: u64,
) -> Result<Vec<f64>> {
    if y.is_empty() || !y.len().is_multiple_of(model.dim()) {
        let why = format!("{} numbers are no rows of {}", y.len(), model.dim());
        return Err(Error::argument("y", why));
    }
    let (program, coefficients) = compile(method, Options::default(), levels)?;
    let plan = Plan::new(&program, &coefficients, key);
    let outcome = run::integrate(&plan, model, y, 0, false, &Context::parallel()?);
    outcome.map(|reached| reached.y).map_err(|(error, _)| error)
}

/// Returns `n` draws (rows × dim) that begin as noise at the first level and end at the last.
///
/// # Errors
/// As [`integrate`].
pub fn sample(
    model: &dyn Model,
    n: usize,
    levels: &[f64],
    method: Method,
    key: u64,
) -> Result<Vec<f64>> {
    let mut y = vec![0.0; n * model.dim()];
    for (i, row) in y.chunks_exact_mut(model.dim()).enumerate() {
        stream(key, Purpose::Start, i as u64, 0).fill_normal(row);
        row.iter_mut().for_each(|z| *z *= levels.first().copied().unwrap_or(1.0));
    }
    integrate(model, &y, levels, method, key)
}
