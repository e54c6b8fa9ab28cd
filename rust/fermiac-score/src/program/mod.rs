//! Integrators as programs: on a grid of noise levels each of them is a list of linear combinations
//! of points, denoised points and noise, whose coefficients depend on the grid alone.
//!
//! The list of instructions ([`Op`]) depends on the method and the number of steps. The coefficients
//! belong to a grid and begin with its levels, so that rows with grids of their own share the list.
//! [`run`](super::run) carries programs out; a device that holds a model carries out the same lists.
//!
//! `method.rs` is the table of the integrators: a method is added there, and the compiler names the
//! other places.

mod builder;
mod compile;
mod exponential;
mod history;
mod method;
mod multistep;
mod single;
#[cfg(test)]
mod tests;
mod unipc;

pub use compile::{compile, compile_rows};
pub use method::{BForm, Corrector, Method, Options, SdeSolver, Setting, Start, Variable, Variant};

/// One instruction. Registers hold points (rows × dim); register 0 has the points of the run. `at`
/// is a position among the coefficients.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// register\[to\] = Σ c\[at + j\] register\[terms\[j\]\], plus c\[at + terms.len()\] times the
    /// standard normal numbers of draw `noise`. `to` may be among the terms.
    Combine {
        /// The register of the sum.
        to: usize,
        /// Registers that are summed.
        terms: Vec<usize>,
        /// The first coefficient.
        at: usize,
        /// The number of the draw that is added.
        noise: Option<usize>,
    },
    /// register\[to\] = D(register\[from\], c\[at\]).
    Denoise {
        /// The noisy points.
        from: usize,
        /// The register of the denoised points.
        to: usize,
        /// Their level.
        at: usize,
    },
    /// A Langevin step of register 0 at level s = c\[at\], given the denoised points: with the score
    /// g = (D - y) / s² and the normal numbers z of draw `noise`, y += ζ g + √(2ζ) z, where
    /// ζ = 2 (snr a)², a the level s or ‖z‖ / ‖g‖, of the row or of averages over all rows.
    Langevin {
        /// The denoised points.
        denoised: usize,
        /// The level.
        at: usize,
        /// The number of the draw.
        noise: usize,
    },
    /// The end of a step: register 0 stands at level c\[at\].
    Step {
        /// The level.
        at: usize,
    },
}

/// The program of an integrator, and its sizes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// The instructions.
    pub ops: Vec<Op>,
    /// Registers that they use.
    pub n_registers: usize,
    /// Coefficients of a grid.
    pub n_coefficients: usize,
    /// For every draw, the positions of the levels (higher, lower) between which its noise lies, for
    /// Brownian paths. Two equal positions mean noise that lies on no path and is independent of all
    /// other.
    pub draws: Vec<(usize, usize)>,
    /// Calls of the model.
    pub n_evals: usize,
    /// Steps, each of which ends with [`Op::Step`].
    pub n_steps: usize,
}
