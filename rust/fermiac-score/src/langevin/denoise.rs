//! The integrators that denoise copies of points from their levels down.

use super::block::Ports;
use crate::Model;
use crate::noise::Purpose;
use crate::program::{Method, Options, Program, compile, compile_rows};
use crate::run::{Plan, State, Stride};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};

/// The first level of a grid lies at least by this share above its last.
const ABOVE: f64 = 1e-6;

/// An integrator with its number of steps, including the one to level 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Integrator {
    /// The method.
    pub method: Method,
    /// Its options.
    pub options: Options,
    /// The length of its Langevin steps.
    pub stride: Stride,
    /// Steps.
    pub n_steps: usize,
    /// The exponent of the grid.
    pub rho: f64,
    /// The last level above 0.
    pub sigma_end: f64,
}

impl Integrator {
    /// Its program, the same for all first levels.
    pub(super) fn program(&self) -> Result<Program> {
        compile(self.method, self.options, &self.grid(2.0 * self.sigma_end)).map(|made| made.0)
    }

    /// The grid from level `s`, or a little above the end, to the end, and to 0.
    pub(super) fn grid(&self, s: f64) -> Vec<f64> {
        let from = s.max(self.sigma_end * (1.0 + ABOVE));
        let root = 1.0 / self.rho;
        let power = |x: f64, p: f64| exp(p * ln(x));
        let (high, low) = (power(from, root), power(self.sigma_end, root));
        let last = self.n_steps - 1;
        let mut grid: Vec<f64> = (0..last)
            .map(|i| power(high + i as f64 / last as f64 * (low - high), self.rho))
            .collect();
        // The ends are exact, without rounding.
        grid.push(if last == 0 { from } else { self.sigma_end });
        grid[0] = from;
        grid.push(0.0);
        grid
    }

    /// Integrates the rows of `y` from their levels to 0.
    pub(super) fn run(
        &self,
        program: &Program,
        ports: &mut Ports<'_>,
        y: &[f64],
        sigma: &[f64],
        address: &Address,
    ) -> Result<Vec<f64>> {
        let grids: Vec<f64> = sigma.iter().flat_map(|s| self.grid(*s)).collect();
        let (_, coefficients) = compile_rows(self.method, self.options, &grids, self.n_steps + 1)?;
        let plan = Plan {
            purpose: address.purpose,
            first_draw: address.window.wrapping_mul(program.draws.len() as u32),
            stride: self.stride,
            ..Plan::new(program, &coefficients, address.key)
        };
        let model = ports.oracles.model;
        let mut state = State::new(&plan, y, model.dim(), 0, address.first as u64);
        while state.n_steps() < program.n_steps {
            state.advance(&plan, model, ports.poll)?;
        }
        Ok(state.y().to_vec())
    }
}

/// The address of the noise of an integrator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    pub(super) key: u64,
    pub(super) purpose: Purpose,
    /// The first row.
    pub(super) first: usize,
    /// The number of earlier runs at this address.
    pub(super) window: u32,
}

/// Refuses denoised points that are not finite.
pub(super) fn check_finite(
    model: &dyn Model,
    d: Rows<'_>,
    sigma: &[f64],
    first: usize,
) -> Result<()> {
    for (i, row) in d.iter().enumerate() {
        // A sum of finite numbers may overflow; then the numbers are checked one by one.
        if row.iter().sum::<f64>().is_finite() {
            continue;
        }
        if let Some((j, value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let chain = first + i;
            return Err(Error::Target {
                row: Some(chain),
                why: format!(
                    "chain {chain}: {} gave {value} for coordinate {j} at sigma = {:e}; if points \
                     run away, take a smaller step or OUStep",
                    model.describe(),
                    sigma[i]
                ),
            });
        }
    }
    Ok(())
}
