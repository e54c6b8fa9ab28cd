//! The execution of programs on rows of points.
//!
//! Rows are divided into blocks with registers of their own. If the model runs on any thread, the
//! workers take blocks one after the other; otherwise all rows are one block on the calling thread.
//! Noise is addressed by row and draw, so that blocks do not change the result.

mod clip;
mod combine;
mod state;
#[cfg(test)]
mod tests;

pub use clip::Threshold;
pub use state::{Norm, OnNan, Plan, State, Stride};

use super::Model;
use fermiac_base::par::{Context, Signal};
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;

/// Numbers of a register of a block on a worker: few enough that all registers stay in cache.
const REGISTER: usize = 1 << 13;
/// The fewest and the most rows of a block: enough to share the work for a level, few enough for
/// all workers.
const BLOCK: (usize, usize) = (16, 256);

/// A run of many rows, block by block.
pub struct Run<'a> {
    plan: Plan<'a>,
    states: Vec<State>,
}

/// The points of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// The points (rows × dim).
    pub y: Vec<f64>,
    /// The level of each.
    pub sigma: Vec<f64>,
    /// The points at all levels (rows × levels × dim), if requested.
    pub path: Vec<f64>,
}

/// The rows of a block: all rows if they depend on each other, otherwise a multiple of eight, the
/// rows of a tile of the models.
fn block_rows(plan: &Plan<'_>, model: &dyn Model, n: usize) -> usize {
    let together = model.dispatch() == Dispatch::CallingThread || plan.couples_rows();
    if together {
        return n.max(1);
    }
    (REGISTER / model.dim()).next_multiple_of(8).clamp(BLOCK.0, BLOCK.1)
}

impl<'a> Run<'a> {
    /// A run of the rows of `y`, of which row `i` has the address `first + i`.
    pub fn new(plan: Plan<'a>, model: &dyn Model, y: &[f64], first: u64) -> Self {
        let dim = model.dim();
        let rows = block_rows(&plan, model, y.len() / dim);
        let states = y
            .chunks(rows * dim)
            .enumerate()
            .map(|(i, y)| State::new(&plan, y, dim, i * rows, first))
            .collect();
        Self { plan, states }
    }

    /// Steps made by all rows.
    pub fn n_steps(&self) -> usize {
        self.states.iter().map(State::n_steps).min().unwrap_or(self.plan.program.n_steps)
    }

    /// Makes one step of every row, except for blocks that an interrupted call left ahead.
    pub fn step(&mut self, model: &dyn Model, context: &Context<'_>) -> Result<()> {
        let goal = (self.n_steps() + 1).min(self.plan.program.n_steps);
        let plan = &self.plan;
        let behind = self.states.iter_mut().filter(|state| state.n_steps() < goal);
        if model.dispatch() == Dispatch::CallingThread {
            return behind
                .into_iter()
                .try_for_each(|state| state.advance(plan, model, &mut || context.poll()));
        }
        context.each(behind.collect(), None, |state, signal| {
            if signal.is_set() { Ok(()) } else { state.advance(plan, model, &mut || Ok(())) }
        })
    }

    /// The points and levels of the rows.
    pub fn reached(&self) -> Reached {
        let mut reached = Reached { y: Vec::new(), sigma: Vec::new(), path: Vec::new() };
        for state in &self.states {
            reached.y.extend_from_slice(state.y());
            reached.sigma.extend(state.levels(&self.plan));
        }
        reached
    }

    /// A run that continues from the blocks of a run with the same plan.
    pub fn from_states(plan: Plan<'a>, states: Vec<State>) -> Self {
        Self { plan, states }
    }

    /// The blocks, to be saved, restored or continued.
    pub fn into_states(self) -> Vec<State> {
        self.states
    }
}

/// Executes a program for all rows of `y`, of which row `i` has the address `first + i`. An error
/// comes with the points reached.
pub fn integrate(
    plan: &Plan<'_>,
    model: &dyn Model,
    y: &[f64],
    first: u64,
    keep_path: bool,
    context: &Context<'_>,
) -> std::result::Result<Reached, (Error, Option<Box<Reached>>)> {
    let dim = model.dim();
    let n = y.len() / dim;
    let rows = block_rows(plan, model, n);
    let nodes = plan.program.n_steps + 1;
    let mut reached = Reached {
        y: y.to_vec(),
        sigma: (0..n).map(|i| plan.coefficient(i, 0)).collect(),
        path: if keep_path { vec![f64::NAN; n * nodes * dim] } else { Vec::new() },
    };
    context.set_total((n * plan.program.n_steps) as u64);
    let mut paths = reached.path.chunks_mut(rows * nodes * dim);
    let items: Vec<Item<'_>> = reached
        .y
        .chunks_mut(rows * dim)
        .zip(reached.sigma.chunks_mut(rows))
        .enumerate()
        .map(|(i, (y, sigma))| Item {
            offset: i * rows,
            y,
            sigma,
            path: paths.next().unwrap_or_default(),
        })
        .collect();
    let outcome = if model.dispatch() == Dispatch::CallingThread {
        let mut poll = || context.poll();
        items.into_iter().try_for_each(|item| {
            item.run(plan, model, first, &mut poll, &mut |n| {
                context.advance(n);
                false
            })
        })
    } else {
        context.each(items, None, |item, signal: &Signal<'_>| {
            item.run(plan, model, first, &mut || Ok(()), &mut |n| {
                signal.count(n);
                signal.is_set()
            })
        })
    };
    match outcome {
        Ok(()) => Ok(reached),
        Err(error) => Err((error, Some(Box::new(reached)))),
    }
}

/// The rows of one block in the arrays of a call.
struct Item<'a> {
    offset: usize,
    y: &'a mut [f64],
    sigma: &'a mut [f64],
    path: &'a mut [f64],
}

impl Item<'_> {
    /// Runs to the end, or until `stop` returns true; `stop` gets the number of rows that made a step.
    fn run(
        self,
        plan: &Plan<'_>,
        model: &dyn Model,
        first: u64,
        poll: &mut dyn FnMut() -> Result<()>,
        stop: &mut dyn FnMut(u64) -> bool,
    ) -> Result<()> {
        let dim = model.dim();
        let nodes = plan.program.n_steps + 1;
        let rows = self.sigma.len() as u64;
        let mut state = State::new(plan, self.y, dim, self.offset, first);
        let outcome = loop {
            let made = state.n_steps();
            for (path, y) in self.path.chunks_exact_mut(nodes * dim).zip(state.y().chunks(dim)) {
                path[made * dim..(made + 1) * dim].copy_from_slice(y);
            }
            let halted = stop(if made == 0 { 0 } else { rows });
            if halted || made == plan.program.n_steps {
                break Ok(());
            }
            if let Err(error) = state.advance(plan, model, poll) {
                break Err(error);
            }
        };
        self.y.copy_from_slice(state.y());
        self.sigma.iter_mut().zip(state.levels(plan)).for_each(|(to, s)| *to = s);
        outcome
    }
}
