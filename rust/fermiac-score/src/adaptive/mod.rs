//! The probability-flow equation with adaptive steps for each row, and its likelihood.
//!
//! In t = log s the equation dy/ds = (y - D(y, s)) / s is dy/dt = y - D(y, eᵗ). Along it the
//! logarithm of the density changes by -tr(1 - ∂D/∂y) dt (J. Song et al. (2021), "Score-based
//! generative modeling through stochastic differential equations", appendix D.2), which is integrated
//! too if a trace is requested. Every row has its own step, level and error; only the calls of the
//! model are made for many rows at once. The result of a row does not depend on the other rows.

mod batch;
mod control;
mod slots;
mod tableau;
#[cfg(test)]
mod tests;

use self::batch::Batch;
use self::slots::Field;
use self::tableau::{DOP853, DOPRI5, Tableau};
use super::Model;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows of a batch on a worker.
const CHUNK: usize = 64;
/// The most bytes of stages of a batch on the calling thread.
const CENTRAL_BYTES: usize = 1 << 29;
/// The least relative tolerance: below it rounding decides which steps are accepted.
const MIN_RTOL: f64 = 1e-14;

/// An embedded Runge-Kutta pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// Dormand and Prince's of order 5(4).
    Dopri5,
    /// Hairer, Nørsett and Wanner's of order 8(5, 3).
    Dop853,
}

impl Pair {
    fn tableau(self) -> &'static Tableau {
        match self {
            Self::Dopri5 => &DOPRI5,
            Self::Dop853 => &DOP853,
        }
    }
}

/// The treatment of rows for which the model returns a number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNan {
    /// The call fails, with the row and its level.
    Raise,
    /// The row stays at the end of its last accepted step.
    Freeze,
}

/// The control of the steps.
///
/// A step is accepted if the root mean square of error / (atol + rtol |value|) is at most 1 over
/// the coordinates of a point, and over the changes of its log-density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The pair.
    pub pair: Pair,
    /// The relative tolerance of one step.
    pub rtol: f64,
    /// The absolute tolerance of one step.
    pub atol: f64,
    /// The most steps that a row may try.
    pub max_steps: u32,
    /// The treatment of values that are not finite.
    pub on_nan: OnNan,
}

/// Estimates of traces of ∂D/∂y that depend on the row: each row keeps its probes.
pub trait RowTraces: Sync {
    /// The number of estimates for each row.
    fn count(&self) -> usize;

    /// The denoised points of rows `rows`, and estimates of the trace (rows × count).
    fn denoise_with_traces(
        &self,
        rows: &[usize],
        y: Rows<'_>,
        sigma: &[f64],
        out: &mut [f64],
        traces: &mut [f64],
    ) -> Result<()>;
}

/// The source of the trace of ∂D/∂y.
#[derive(Clone, Copy)]
pub enum Trace<'a> {
    /// Not needed.
    None,
    /// From the model.
    Exact,
    /// Estimates, computed on the calling thread only.
    Rows(&'a dyn RowTraces),
}

impl Trace<'_> {
    fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Exact => 1,
            Self::Rows(traces) => traces.count(),
        }
    }
}

/// The levels at which steps end: the same for all rows, or levels of each row.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    data: &'a [f64],
    count: usize,
}

impl<'a> Levels<'a> {
    /// Rows of `count` levels each: one row for all points, or one for each point. They strictly
    /// increase or decrease; a last level of 0 means the denoised point of the level before it.
    pub fn new(data: &'a [f64], count: usize) -> Result<Self> {
        if count < 2 || data.is_empty() || !data.len().is_multiple_of(count) {
            let why = format!("{count} levels were given; at least two are needed");
            return Err(Error::argument("sigmas", why));
        }
        for row in data.chunks_exact(count) {
            let down = row[1] < row[0];
            for (i, s) in row.iter().enumerate() {
                let last = down && i + 1 == count;
                let good = s.is_finite() && (*s > 0.0 || (last && *s == 0.0));
                if !good || (i > 0 && (*s < row[i - 1]) != down) || (i > 0 && *s == row[i - 1]) {
                    let why = format!(
                        "level {i} is {s}; finite levels above 0 that go strictly up or down are \
                         needed, only the last of which may be 0"
                    );
                    return Err(Error::argument("sigmas", why));
                }
            }
        }
        Ok(Self { data, count })
    }

    fn of(&self, row: usize) -> &'a [f64] {
        let row = if self.data.len() == self.count { 0 } else { row };
        &self.data[row * self.count..(row + 1) * self.count]
    }
}

/// The cost of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Evaluations of the model.
    pub evals: u64,
    /// Accepted steps.
    pub accepted: u32,
    /// Rejected steps.
    pub rejected: u32,
}

/// The points reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The points (rows × dim).
    pub y: Vec<f64>,
    /// Their levels: the last level, unless the row was frozen or the call stopped early.
    pub level: Vec<f64>,
    /// The changes of the log-density (rows × estimates of the trace).
    pub log_change: Vec<f64>,
    /// The points at all levels (rows × levels × dim), NaN at levels not reached; empty unless
    /// requested.
    pub trajectory: Vec<f64>,
    /// The cost of each row.
    pub counts: Vec<Counts>,
}

/// The error of a call, and the points reached.
pub type Stopped = (Error, Option<Box<Solution>>);

/// Integrates the probability-flow equation for the rows `y` (rows × dim), from the first of their
/// levels through all levels.
pub fn solve(
    model: &dyn Model,
    trace: Trace<'_>,
    y: Vec<f64>,
    levels: Levels<'_>,
    settings: &Settings,
    keep_trajectory: bool,
    context: &Context<'_>,
) -> std::result::Result<Solution, Stopped> {
    let dim = model.dim();
    let n = y.len() / dim;
    let field = Field { model, trace, levels, settings, first: 0 };
    check(&field, n).map_err(|error| (error, None))?;
    context.set_total(n as u64);
    let width = trace.count();
    let kept = if keep_trajectory { levels.count * dim } else { 0 };
    let mut solution = Solution {
        y,
        level: (0..n).map(|i| levels.of(i)[0]).collect(),
        log_change: vec![0.0; n * width],
        trajectory: vec![f64::NAN; n * kept],
        counts: vec![Counts::default(); n],
    };
    let central = model.dispatch() == Dispatch::CallingThread || matches!(trace, Trace::Rows(_));
    let size = if central {
        let stages = settings.pair.tableau().stages.len() + 4;
        (CENTRAL_BYTES / (8 * dim * stages)).max(1)
    } else {
        CHUNK
    };
    let batches = Batch::split(&mut solution, dim, width, kept, size);
    let done = if central || context.n_threads() == 1 {
        on_this_thread(&field, batches, context)
    } else {
        on_workers(&field, batches, context)
    };
    match done {
        Ok(()) => Ok(solution),
        Err(error) => Err((error, Some(Box::new(solution)))),
    }
}

fn check(field: &Field<'_>, n: usize) -> Result<()> {
    let &Field { model, trace, levels, settings, .. } = field;
    let given = levels.data.len() / levels.count;
    if given != 1 && given != n {
        let why = format!("{given} rows of levels were given for {n} points; one or {n} is needed");
        return Err(Error::argument("sigmas", why));
    }
    if !(settings.rtol >= MIN_RTOL && settings.rtol < 1.0) {
        let why = format!("{} was given; from {MIN_RTOL} to below 1 is needed", settings.rtol);
        return Err(Error::argument("rtol", why));
    }
    if !(settings.atol >= 0.0 && settings.atol.is_finite()) {
        let why = format!("{} was given; a finite number, at least 0, is needed", settings.atol);
        return Err(Error::argument("atol", why));
    }
    if settings.max_steps == 0 {
        return Err(Error::argument("max_steps", "0 was given; at least 1 is needed"));
    }
    if trace.count() > 0 && levels.data.chunks_exact(levels.count).any(|row| row.ends_with(&[0.0]))
    {
        let why = "the last level is 0, where no log-density follows; end above it";
        return Err(Error::argument("sigmas", why));
    }
    if matches!(trace, Trace::Exact) && !model.has_trace() {
        let why = format!("{} does not know the trace of its derivative", model.describe());
        return Err(Error::argument("model", why));
    }
    Ok(())
}

fn on_this_thread(field: &Field<'_>, batches: Vec<Batch<'_>>, context: &Context<'_>) -> Result<()> {
    let mut tick = |more| {
        context.advance(more);
        context.poll()
    };
    batches.into_iter().try_for_each(|batch| batch.run(field, &mut tick))
}

fn on_workers(field: &Field<'_>, batches: Vec<Batch<'_>>, context: &Context<'_>) -> Result<()> {
    // Batches before the first failure continue, so that the message is that of one thread.
    let failed = AtomicUsize::new(usize::MAX);
    let mut failures: Vec<Option<Error>> = batches.iter().map(|_| None).collect();
    let items: Vec<_> = batches.into_iter().zip(&mut failures).enumerate().collect();
    context.each(items, None, |(index, (batch, failure)), signal| {
        let mut stopped = false;
        let done = batch.run(field, &mut |more| {
            signal.count(more);
            stopped = signal.is_set() || failed.load(Ordering::Relaxed) < index;
            if stopped { Err(Error::Cancelled) } else { Ok(()) }
        });
        if let Err(error) = done
            && !stopped
        {
            failed.fetch_min(index, Ordering::Relaxed);
            *failure = Some(error);
        }
        Ok(())
    })?;
    failures.into_iter().flatten().next().map_or(Ok(()), Err)
}
