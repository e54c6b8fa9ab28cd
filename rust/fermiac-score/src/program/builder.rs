//! A program under construction: the instructions, their coefficients and their sizes.

use super::{Op, Program};
use fermiac_base::special::ln1p;

/// A noise level: its position among the coefficients, and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) at: usize,
    pub(super) s: f64,
}

/// The builder of a program. The levels of the grid are the first coefficients, so that node `i` of
/// the grid has position `i`.
pub(super) struct Builder<'a> {
    grid: &'a [f64],
    /// False if only the coefficients are needed: rows with grids of their own share the list.
    keeps_ops: bool,
    program: Program,
    coefficients: Vec<f64>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(grid: &'a [f64], keeps_ops: bool) -> Self {
        let program = Program { n_registers: 1, n_steps: grid.len() - 1, ..Program::default() };
        Self { grid, keeps_ops, program, coefficients: grid.to_vec() }
    }

    pub(super) fn n_steps(&self) -> usize {
        self.program.n_steps
    }

    /// Node `i` of the grid.
    pub(super) fn node(&self, i: usize) -> Level {
        Level { at: i, s: self.grid[i] }
    }

    /// Whether step `i` goes down to level 0.
    pub(super) fn ends_at_zero(&self, i: usize) -> bool {
        self.grid[i + 1] == 0.0
    }

    /// log(s_i / s_{i+1}), the length of step `i`.
    pub(super) fn length(&self, i: usize) -> f64 {
        log_ratio(self.grid[i], self.grid[i + 1])
    }

    /// A level between the nodes.
    pub(super) fn level(&mut self, s: f64) -> Level {
        self.coefficients.push(s);
        Level { at: self.coefficients.len() - 1, s }
    }

    /// register\[to\] = D(register\[from\], level).
    pub(super) fn denoise(&mut self, from: usize, to: usize, level: Level) {
        self.uses(from.max(to));
        self.program.n_evals += 1;
        self.push(|| Op::Denoise { from, to, at: level.at });
    }

    /// register\[to\] = the sum of registers times their coefficients.
    pub(super) fn combine(&mut self, to: usize, terms: &[(usize, f64)]) {
        self.sum(to, terms, None);
    }

    /// A sum with `scale` times the noise between two levels; two equal levels mean noise that is
    /// independent of all other.
    pub(super) fn combine_with_noise(
        &mut self,
        to: usize,
        terms: &[(usize, f64)],
        scale: f64,
        between: (Level, Level),
    ) {
        let draw = self.draw(between);
        self.sum(to, terms, Some((draw, scale)));
    }

    /// A Langevin step of register 0.
    pub(super) fn langevin(&mut self, denoised: usize, level: Level) {
        let noise = self.draw((level, level));
        self.push(|| Op::Langevin { denoised, at: level.at, noise });
    }

    /// The end of step `i`.
    pub(super) fn end_step(&mut self, i: usize) {
        self.push(|| Op::Step { at: i + 1 });
    }

    /// The program, and its coefficients on the grid.
    pub(super) fn finish(self) -> (Program, Vec<f64>) {
        let n_coefficients = self.coefficients.len();
        (Program { n_coefficients, ..self.program }, self.coefficients)
    }

    fn sum(&mut self, to: usize, terms: &[(usize, f64)], noise: Option<(usize, f64)>) {
        let at = self.coefficients.len();
        self.uses(terms.iter().fold(to, |most, (register, _)| most.max(*register)));
        self.coefficients.extend(terms.iter().map(|(_, c)| c));
        self.coefficients.extend(noise.map(|(_, scale)| scale));
        self.push(|| Op::Combine {
            to,
            terms: terms.iter().map(|(register, _)| *register).collect(),
            at,
            noise: noise.map(|(draw, _)| draw),
        });
    }

    fn draw(&mut self, (high, low): (Level, Level)) -> usize {
        self.program.draws.push((high.at, low.at));
        self.program.draws.len() - 1
    }

    fn uses(&mut self, register: usize) {
        self.program.n_registers = self.program.n_registers.max(register + 1);
    }

    fn push(&mut self, op: impl FnOnce() -> Op) {
        if self.keeps_ops {
            self.program.ops.push(op());
        }
    }
}

/// log(a / b) for a > b > 0, without cancellation.
pub(super) fn log_ratio(a: f64, b: f64) -> f64 {
    ln1p((a - b) / b)
}
