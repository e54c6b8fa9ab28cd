//! From a method and a grid to a program.

use super::{Method, Options, Program};
use crate::{Error, Result};

/// The program of a method on `n_steps` steps and its coefficients on `grid` (`n_steps + 1` levels,
/// strictly decreasing, only the last of which may be 0). The program is the same for all grids of
/// as many levels that end at 0, or do not.
pub fn compile(method: Method, options: Options, grid: &[f64]) -> Result<(Program, Vec<f64>)> {
    let _ = (method, options, grid);
    Err(Error::argument("integrator", "not known"))
}
