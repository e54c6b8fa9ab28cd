//! A block of rows: its registers, and its position in the program.

use super::clip::Threshold;
use super::combine::{Combine, Sum};
use crate::Model;
use crate::brownian::Brownian;
use crate::noise::{Purpose, stream};
use crate::program::{Op, Program};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{LANES, dispatch};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// The treatment of rows for which the model returns a number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNan {
    /// The call fails.
    Raise,
    /// The row stays at the end of the step before.
    Freeze,
    /// The number is used.
    Ignore,
}

/// The length of Langevin steps, ζ = 2 (snr · a)².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stride {
    /// The signal-to-noise ratio.
    pub snr: f64,
    /// The norm a.
    pub norm: Norm,
}

/// The scale of a Langevin step: the norm of the noise over that of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The level, which is that ratio for pure noise. The law of a row is invariant up to the bias
    /// of a small step.
    Level,
    /// The ratio for each row. A small score makes a long step; in few dimensions the law of the
    /// row is then not invariant.
    Row,
    /// The ratio of the averages over all rows.
    Batch,
}

/// A program with its settings.
#[derive(Clone)]
pub struct Plan<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its coefficients: of one grid, or row by row.
    pub coefficients: &'a [f64],
    /// The key of the noise.
    pub key: u64,
    /// The purpose of the noise.
    pub purpose: Purpose,
    /// The number of the first draw.
    pub first_draw: u32,
    /// The range of denoised points.
    pub threshold: Option<Threshold>,
    /// The treatment of numbers that are not finite.
    pub on_nan: OnNan,
    /// The length of Langevin steps.
    pub stride: Stride,
    /// The paths of the noise between two levels.
    pub brownian: Option<Brownian>,
}

impl<'a> Plan<'a> {
    /// A plan whose other settings are the usual ones: no threshold, failure at numbers that are not
    /// finite, Langevin steps of the ratio 0.16 to the level, and noise on no paths.
    pub fn new(program: &'a Program, coefficients: &'a [f64], key: u64) -> Self {
        Self {
            program,
            coefficients,
            key,
            purpose: Purpose::Integrate,
            first_draw: 0,
            threshold: None,
            on_nan: OnNan::Raise,
            stride: Stride { snr: 0.16, norm: Norm::Level },
            brownian: None,
        }
    }

    /// Whether the result of a row depends on the other rows.
    pub fn couples_rows(&self) -> bool {
        self.stride.norm == Norm::Batch
            && self.program.ops.iter().any(|op| matches!(op, Op::Langevin { .. }))
    }

    /// Coefficient `at` of a row.
    #[inline]
    pub(super) fn coefficient(&self, row: usize, at: usize) -> f64 {
        let first = if self.is_shared() { 0 } else { row * self.program.n_coefficients };
        self.coefficients[first + at]
    }

    fn is_shared(&self) -> bool {
        self.coefficients.len() == self.program.n_coefficients
    }
}

/// The state of a block of rows.
#[derive(Debug, Clone)]
pub struct State {
    /// Registers × rows × dim, and one more for noise.
    data: Vec<f64>,
    dim: usize,
    n: usize,
    /// The number of the first row in the call, and the address of the first row of the call.
    offset: usize,
    first: u64,
    /// The next instruction.
    at: usize,
    steps: usize,
    /// The number of the coefficient that is the level of the last step.
    level: usize,
    /// Frozen rows, and the points kept for them; empty if no rows can freeze.
    frozen: Vec<bool>,
    kept: Vec<f64>,
    /// Their levels, as numbers of coefficients.
    held: Vec<usize>,
    sigma: Vec<f64>,
    scratch: Vec<f64>,
    /// Whether steps write to register 0 before their last evaluation.
    moves_early: bool,
    /// In that case the points before an unfinished step; empty between steps.
    before: Vec<f64>,
}

impl State {
    /// A block with the rows `y`, which begin with row `offset` of the call.
    pub fn new(plan: &Plan<'_>, y: &[f64], dim: usize, offset: usize, first: u64) -> Self {
        let mut data = vec![0.0; (plan.program.n_registers + 1) * y.len()];
        data[..y.len()].copy_from_slice(y);
        let kept = if plan.on_nan == OnNan::Freeze { y.to_vec() } else { Vec::new() };
        Self {
            data,
            dim,
            n: y.len() / dim,
            offset,
            first,
            at: 0,
            steps: 0,
            level: 0,
            frozen: vec![false; if kept.is_empty() { 0 } else { y.len() / dim }],
            held: vec![0; if kept.is_empty() { 0 } else { y.len() / dim }],
            kept,
            sigma: Vec::new(),
            scratch: Vec::new(),
            moves_early: moves_early(plan.program),
            before: Vec::new(),
        }
    }

    /// Steps made.
    pub fn n_steps(&self) -> usize {
        self.steps
    }

    /// The points after the last step.
    pub fn y(&self) -> &[f64] {
        if self.before.is_empty() { &self.data[..self.n * self.dim] } else { &self.before }
    }

    /// The levels of the rows.
    pub fn levels(&self, plan: &Plan<'_>) -> impl Iterator<Item = f64> {
        (0..self.n).map(|i| {
            let frozen = self.frozen.get(i).is_some_and(|frozen| *frozen);
            let at = if frozen { self.held[i] } else { self.level };
            plan.coefficient(self.offset + i, at)
        })
    }

    /// Makes the next step; `poll` is called after every instruction. After an error the points
    /// are those of the last step, and the next call continues the step where it failed.
    pub fn advance(
        &mut self,
        plan: &Plan<'_>,
        model: &dyn Model,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        if self.n == 0 {
            self.steps += 1;
            return Ok(());
        }
        if self.moves_early && self.before.is_empty() {
            self.before.extend_from_slice(&self.data[..self.n * self.dim]);
        }
        self.step(plan, model, poll)?;
        self.before.clear();
        Ok(())
    }

    /// Executes the instructions up to the end of a step.
    fn step(
        &mut self,
        plan: &Plan<'_>,
        model: &dyn Model,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let program = plan.program;
        while let Some(op) = program.ops.get(self.at) {
            match op {
                Op::Combine { to, terms, at, noise } => {
                    self.combine(plan, *to, terms, *at, *noise)?;
                }
                Op::Denoise { from, to, at } => {
                    self.denoise(plan, model, *from, *to, *at)?;
                }
                Op::Langevin { denoised, at, noise } => {
                    self.langevin(plan, *denoised, *at, *noise);
                }
                Op::Step { at } => {
                    self.level = *at;
                    self.at += 1;
                    self.steps += 1;
                    self.hold();
                    return Ok(());
                }
            }
            self.at += 1;
            // A block may be all rows of a call, so every instruction can be long.
            poll()?;
        }
        Err(Error::Internal("a program of fewer steps than it says".into()))
    }

    fn size(&self) -> usize {
        self.n * self.dim
    }

    fn combine(
        &mut self,
        plan: &Plan<'_>,
        to: usize,
        terms: &[usize],
        at: usize,
        noise: Option<usize>,
    ) -> Result<()> {
        let (size, dim, m) = (self.size(), self.dim, terms.len());
        let noisy = noise.map_or(Ok(false), |draw| self.draw(plan, draw, at + m))?;
        let noise = noisy.then_some(plan.program.n_registers);
        let n_terms = m + usize::from(noisy);
        let shared = plan.is_shared();
        for b in 0..if shared { 1 } else { self.n } {
            let (range, row) =
                if shared { (0..size, 0) } else { (b * dim..(b + 1) * dim, self.offset + b) };
            let c = &plan.coefficients[row * plan.program.n_coefficients + at..][..n_terms];
            let data = &mut self.data;
            dispatch(Combine { data, range, sum: Sum { size, to, terms, noise, c } });
        }
        Ok(())
    }

    /// Fills the last register with the normal numbers of a draw, for the rows whose coefficient
    /// is not 0; false if there are none.
    fn draw(&mut self, plan: &Plan<'_>, draw: usize, at: usize) -> Result<bool> {
        let (size, dim) = (self.size(), self.dim);
        let (high, low) = plan.program.draws[draw];
        // Noise between equal levels lies on no path.
        let path = plan.brownian.as_ref().filter(|_| high != low);
        let mut increment = None;
        let mut any = false;
        let noise = &mut self.data[plan.program.n_registers * size..];
        self.scratch.resize(dim, 0.0);
        for (i, row) in noise.chunks_exact_mut(dim).enumerate() {
            let at_row = |at| plan.coefficient(self.offset + i, at);
            if at_row(at) == 0.0 {
                row.fill(0.0);
                continue;
            }
            any = true;
            let address = self.first + (self.offset + i) as u64;
            if let Some(path) = path {
                if increment.is_none() || !plan.is_shared() {
                    increment = Some(path.between(at_row(high), at_row(low))?);
                }
                if let Some(increment) = &increment {
                    path.fill_with(address, increment, row, &mut self.scratch);
                }
            } else {
                let draw = plan.first_draw.wrapping_add(draw as u32);
                stream(plan.key, plan.purpose, address, draw).fill_normal(row);
            }
        }
        Ok(any)
    }

    fn denoise(
        &mut self,
        plan: &Plan<'_>,
        model: &dyn Model,
        from: usize,
        to: usize,
        at: usize,
    ) -> Result<()> {
        let (size, dim) = (self.size(), self.dim);
        self.sigma.clear();
        let levels = if plan.is_shared() { 1 } else { self.n };
        self.sigma.extend((0..levels).map(|i| plan.coefficient(self.offset + i, at)));
        let (y, out) = two(&mut self.data, size, from, to);
        model.denoise(Rows::new(y, dim), &self.sigma, out)?;
        if plan.on_nan != OnNan::Ignore && !all_finite(out) {
            for (i, (row, y)) in out.chunks_exact_mut(dim).zip(y.chunks_exact(dim)).enumerate() {
                if row.iter().all(|x| x.is_finite()) {
                    continue;
                }
                if plan.on_nan == OnNan::Raise {
                    let s = plan.coefficient(self.offset + i, at);
                    return Err(not_finite(model, self.offset + i, self.steps, s, row));
                }
                self.frozen[i] = true;
                row.copy_from_slice(y);
            }
        }
        if let Some(threshold) = plan.threshold {
            out.chunks_exact_mut(dim).for_each(|row| threshold.apply(row, &mut self.scratch));
        }
        Ok(())
    }

    fn langevin(&mut self, plan: &Plan<'_>, denoised: usize, at: usize, noise: usize) {
        let (size, dim) = (self.size(), self.dim);
        let normals = plan.program.n_registers * size;
        for (i, row) in self.data[normals..].chunks_exact_mut(dim).enumerate() {
            let address = self.first + (self.offset + i) as u64;
            let draw = plan.first_draw.wrapping_add(noise as u32);
            stream(plan.key, plan.purpose, address, draw).fill_normal(row);
        }
        let lengths = self.lengths(plan, denoised, at);
        for (i, length) in lengths.into_iter().enumerate() {
            let s = plan.coefficient(self.offset + i, at);
            let root = plan.stride.snr * length;
            let step = 2.0 * root * root;
            let (drift, width) = (step / (s * s), (2.0 * step).sqrt());
            for j in i * dim..(i + 1) * dim {
                let (d, z) = (self.data[denoised * size + j], self.data[normals + j]);
                let y = &mut self.data[j];
                *y += drift * (d - *y) + width * z;
            }
        }
    }

    /// The scales of the Langevin steps of all rows.
    fn lengths(&self, plan: &Plan<'_>, denoised: usize, at: usize) -> Vec<f64> {
        let (size, dim) = (self.size(), self.dim);
        let rows = 0..self.n;
        if plan.stride.norm == Norm::Level {
            return rows.map(|i| plan.coefficient(self.offset + i, at)).collect();
        }
        let norms = rows.map(|i| {
            let s = plan.coefficient(self.offset + i, at);
            let z = &self.data[plan.program.n_registers * size + i * dim..][..dim];
            let y = &self.data[i * dim..][..dim];
            let d = &self.data[denoised * size + i * dim..][..dim];
            let g: f64 = d.iter().zip(y).map(|(d, y)| ((d - y) / (s * s)).powi(2)).sum();
            let z: f64 = z.iter().map(|z| z * z).sum();
            (z.sqrt(), g.sqrt())
        });
        // A score of 0 gives no scale for a step.
        let ratio = |(z, g): (f64, f64)| if g > 0.0 { z / g } else { 0.0 };
        if plan.stride.norm == Norm::Row {
            return norms.map(ratio).collect();
        }
        // Rows without a score, as frozen ones, do not count.
        let moving = norms.filter(|(_, g)| *g > 0.0);
        let sum = moving.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        vec![ratio(sum); self.n]
    }

    /// Puts frozen rows back, and keeps the points of the others.
    fn hold(&mut self) {
        let dim = self.dim;
        let rows = self.data.chunks_exact_mut(dim).zip(self.kept.chunks_exact_mut(dim));
        for (((y, kept), frozen), held) in rows.zip(&self.frozen).zip(&mut self.held) {
            if *frozen {
                y.copy_from_slice(kept);
            } else {
                kept.copy_from_slice(y);
                *held = self.level;
            }
        }
    }

    /// Whether it stands behind a step of a program.
    pub fn stands_in(&self, program: &Program) -> bool {
        let done = program.ops.get(..self.at).unwrap_or_default();
        let made = || {
            done.iter().filter_map(|op| match op {
                Op::Step { at } => Some(*at),
                _ => None,
            })
        };
        let fits = self.at <= program.ops.len() && made().count() == self.steps;
        fits && made().next_back().unwrap_or(0) == self.level
    }

    /// Writes or reads the state.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.data)?;
        codec.count(&mut self.at)?;
        codec.count(&mut self.steps)?;
        codec.count(&mut self.level)?;
        self.frozen.iter_mut().try_for_each(|frozen| codec.flag(frozen))?;
        codec.numbers(&mut self.kept)?;
        self.held.iter_mut().try_for_each(|held| codec.count(held))?;
        codec.list(&mut self.before)
    }
}

/// Whether all numbers are finite, summed in independent lanes.
fn all_finite(x: &[f64]) -> bool {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for l in 0..LANES {
            // 0, or NaN.
            sums[l] += block[l] * 0.0;
        }
    }
    sums.iter().all(|sum| *sum == 0.0) && rest.iter().all(|x| x.is_finite())
}

/// Whether a step evaluates the model after it has moved register 0.
fn moves_early(program: &Program) -> bool {
    let mut moved = false;
    program.ops.iter().any(|op| match op {
        Op::Combine { to, .. } => {
            moved |= *to == 0;
            false
        }
        Op::Langevin { .. } => {
            moved = true;
            false
        }
        Op::Denoise { .. } => moved,
        Op::Step { .. } => {
            moved = false;
            false
        }
    })
}

fn not_finite(model: &dyn Model, row: usize, steps: usize, sigma: f64, d: &[f64]) -> Error {
    let (at, x) = d.iter().enumerate().find(|(_, x)| !x.is_finite()).unwrap_or((0, &f64::NAN));
    Error::Target {
        row: Some(row),
        why: format!(
            "step {}, row {row}: {} gave {x} for coordinate {at} at sigma = {sigma:e}; \
             on_nan=\"freeze\" keeps such rows where they are, on_nan=\"ignore\" goes on with them",
            steps + 1,
            model.describe()
        ),
    }
}

/// One register to read and another to write.
fn two(data: &mut [f64], size: usize, from: usize, to: usize) -> (&[f64], &mut [f64]) {
    if from < to {
        let (low, high) = data.split_at_mut(to * size);
        (&low[from * size..][..size], &mut high[..size])
    } else {
        let (low, high) = data.split_at_mut(from * size);
        (&high[..size], &mut low[to * size..][..size])
    }
}
