//! The unfinished rows of a batch, packed: their points, slopes and steps.

use super::control::Controller;
use super::{Counts, Levels, OnNan, RowTraces, Settings, Trace};
use crate::Model;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};

/// One unfinished row.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// The number of the row in the batch.
    pub(super) row: usize,
    /// The number of its next level.
    pub(super) node: usize,
    /// log s.
    pub(super) t: f64,
    /// The length of the next step.
    pub(super) step: f64,
    /// The tried step, with its sign; it may be cut short at a level.
    pub(super) tried: f64,
    /// Whether that step ends at the level.
    pub(super) arrives: bool,
    pub(super) controller: Controller,
    /// Whether the model returned a number for it that is not finite.
    pub(super) frozen: bool,
    pub(super) counts: Counts,
    /// The levels before and after it.
    pub(super) between: (f64, f64),
}

impl Slot {
    /// The level at a share of the tried step, never beyond the levels around the row.
    pub(super) fn level(&self, share: f64) -> f64 {
        if share == 0.0 && self.t == ln(self.between.0) {
            return self.between.0;
        }
        if share == 1.0 && self.arrives {
            return self.between.1;
        }
        let (a, b) = self.between;
        exp(self.t + share * self.tried).clamp(a.min(b), a.max(b))
    }

    /// The distance to the next level in log s.
    pub(super) fn distance(&self) -> f64 {
        ln(self.between.1) - self.t
    }
}

/// The arguments of a call: the model and the traces that give the slopes, the levels, and the
/// control of the steps.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) model: &'a dyn Model,
    pub(super) trace: Trace<'a>,
    pub(super) levels: Levels<'a>,
    pub(super) settings: &'a Settings,
    /// The number of the first row of the batch in the call.
    pub(super) first: usize,
}

impl<'a> Field<'a> {
    /// The levels of a row of the batch.
    pub(super) fn levels_of(&self, row: usize) -> &'a [f64] {
        self.levels.of(self.first + row)
    }

    /// The slopes y - D of `slots` at `points` in log s, and those of their log-densities.
    pub(super) fn slopes<'s>(
        &self,
        slots: impl Iterator<Item = &'s mut Slot>,
        points: &[f64],
        sigma: &[f64],
        out: &mut [f64],
        traces: &mut [f64],
    ) -> Result<()> {
        let dim = self.model.dim();
        let y = Rows::new(points, dim);
        let width = traces.len() / sigma.len();
        let mut slots: Vec<&mut Slot> = slots.collect();
        match self.trace {
            Trace::None => self.model.denoise(y, sigma, out)?,
            Trace::Exact => self.model.denoise_with_trace(y, sigma, out, traces)?,
            Trace::Rows(estimates) => {
                let rows: Vec<usize> = slots.iter().map(|slot| self.first + slot.row).collect();
                RowTraces::denoise_with_traces(estimates, &rows, y, sigma, out, traces)?;
            }
        }
        for (i, slot) in slots.iter_mut().enumerate() {
            slot.counts.evals += 1;
            let (out, traces) =
                (&mut out[i * dim..(i + 1) * dim], &mut traces[i * width..(i + 1) * width]);
            if !out.iter().chain(&*traces).all(|x| x.is_finite()) {
                if self.settings.on_nan == OnNan::Raise {
                    return Err(self.not_finite(slot.row, sigma[i], out));
                }
                slot.frozen = true;
                out.fill(0.0);
                traces.fill(0.0);
                continue;
            }
            out.iter_mut().zip(y.row(i)).for_each(|(d, y)| *d = y - *d);
            traces.iter_mut().for_each(|trace| *trace -= dim as f64);
        }
        Ok(())
    }

    /// The error for a value that is not finite.
    pub(super) fn not_finite(&self, row: usize, level: f64, out: &[f64]) -> Error {
        let row = self.first + row;
        let what = out.iter().position(|x| !x.is_finite()).map_or_else(
            || "a trace that is not finite".into(),
            |c| format!("{} in coordinate {c}", out[c]),
        );
        let why = format!(
            "{} gave {what} for row {row} at level {level:.6e}; finite numbers are needed, or \
             on_nan='freeze', which leaves such rows where they stand",
            self.model.describe()
        );
        Error::Target { row: Some(row), why }
    }
}

/// Unfinished rows with their points and slopes.
pub(super) struct Slots {
    pub(super) list: Vec<Slot>,
    pub(super) dim: usize,
    /// Log-densities of a row.
    pub(super) width: usize,
    /// The points (slots × dim).
    pub(super) y: Vec<f64>,
    /// The changes of the log-densities (slots × width).
    pub(super) change: Vec<f64>,
    /// Slopes of the points, by stage.
    pub(super) stages: Vec<Vec<f64>>,
    /// Slopes of the log-densities, by stage.
    pub(super) change_stages: Vec<Vec<f64>>,
    /// The points at which the model is evaluated.
    pub(super) points: Vec<f64>,
    /// Their levels.
    pub(super) sigma: Vec<f64>,
}

impl Slots {
    pub(super) fn new(list: Vec<Slot>, y: &[f64], width: usize, n_stages: usize) -> Self {
        let dim = y.len() / list.len();
        Self {
            dim,
            width,
            y: y.to_vec(),
            change: vec![0.0; list.len() * width],
            stages: vec![vec![0.0; y.len()]; n_stages],
            change_stages: vec![vec![0.0; list.len() * width]; n_stages],
            points: vec![0.0; y.len()],
            sigma: vec![0.0; list.len()],
            list,
        }
    }

    /// Evaluates stage `stage` at the points `points`, after a share `share` of the step.
    pub(super) fn evaluate(&mut self, field: &Field<'_>, stage: usize, share: f64) -> Result<()> {
        for (sigma, slot) in self.sigma.iter_mut().zip(&self.list) {
            *sigma = slot.level(share);
        }
        let n = self.list.len();
        field.slopes(
            self.list.iter_mut(),
            &self.points[..n * self.dim],
            &self.sigma[..n],
            &mut self.stages[stage][..n * self.dim],
            &mut self.change_stages[stage][..n * self.width],
        )
    }

    /// Evaluates the slopes at the new points of the rows that have moved.
    pub(super) fn evaluate_moved(&mut self, field: &Field<'_>, moved: &[usize]) -> Result<()> {
        let (dim, width) = (self.dim, self.width);
        for (k, &i) in moved.iter().enumerate() {
            self.points[k * dim..(k + 1) * dim].copy_from_slice(&self.y[i * dim..(i + 1) * dim]);
            self.sigma[k] = self.list[i].level(0.0);
        }
        let n = moved.len();
        if n == 0 {
            return Ok(());
        }
        // The second stage is not needed between two steps.
        let mut is_moved = vec![false; self.list.len()];
        moved.iter().for_each(|&i| is_moved[i] = true);
        let slots =
            self.list.iter_mut().zip(is_moved).filter_map(|(slot, yes)| yes.then_some(slot));
        field.slopes(
            slots,
            &self.points[..n * dim],
            &self.sigma[..n],
            &mut self.stages[1][..n * dim],
            &mut self.change_stages[1][..n * width],
        )?;
        for (k, &i) in moved.iter().enumerate() {
            copy(&mut self.stages, (1, k), (0, i), dim);
            copy(&mut self.change_stages, (1, k), (0, i), width);
        }
        Ok(())
    }

    /// Moves slot `from` into slot `to`, with everything that outlasts a step.
    fn shift(&mut self, from: usize, to: usize) {
        let (dim, width) = (self.dim, self.width);
        self.list.swap(from, to);
        self.y.copy_within(from * dim..(from + 1) * dim, to * dim);
        self.change.copy_within(from * width..(from + 1) * width, to * width);
        self.stages[0].copy_within(from * dim..(from + 1) * dim, to * dim);
        self.change_stages[0].copy_within(from * width..(from + 1) * width, to * width);
    }

    /// Keeps the slots with `keep`, in their order.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        let mut kept = 0;
        for (i, &keep) in keep.iter().enumerate() {
            if keep {
                if kept < i {
                    self.shift(i, kept);
                }
                kept += 1;
            }
        }
        self.list.truncate(kept);
        self.y.truncate(kept * self.dim);
        self.change.truncate(kept * self.width);
    }
}

/// Copies the numbers of a slot in one stage to a slot in another stage.
pub(super) fn copy(
    stages: &mut [Vec<f64>],
    (from, i): (usize, usize),
    (to, j): (usize, usize),
    size: usize,
) {
    let (low, high) = stages.split_at_mut(from.max(to));
    let (source, target) =
        if from < to { (&low[from], &mut high[0]) } else { (&high[0], &mut low[to]) };
    target[j * size..(j + 1) * size].copy_from_slice(&source[i * size..(i + 1) * size]);
}
