//! The integration of a batch of rows from their first level to their last.

use super::control::{error, first_step, sum, trial_step};
use super::slots::{Field, Slot, Slots, copy};
use super::tableau::Tableau;
use super::{Counts, OnNan, Settings, Solution};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};

/// A step that would end within this factor of a level ends at the level.
const STRETCH: f64 = 1.01;

/// Called after every call of the model with the number of rows finished since; an error stops the
/// batch.
pub(super) type Tick<'a> = dyn FnMut(u64) -> Result<()> + 'a;

/// The results of the rows of a batch.
pub(super) struct Batch<'a> {
    /// The number of its first row in the call.
    first: usize,
    dim: usize,
    y: &'a mut [f64],
    level: &'a mut [f64],
    log_change: &'a mut [f64],
    trajectory: &'a mut [f64],
    counts: &'a mut [Counts],
}

impl<'a> Batch<'a> {
    /// The rows of a call in batches of `size`; the trajectory of a row has `kept` numbers.
    pub(super) fn split(
        solution: &'a mut Solution,
        dim: usize,
        width: usize,
        kept: usize,
        size: usize,
    ) -> Vec<Self> {
        let n = solution.level.len();
        let (mut y, mut level) = (&mut solution.y[..], &mut solution.level[..]);
        let (mut change, mut path) = (&mut solution.log_change[..], &mut solution.trajectory[..]);
        let mut counts = &mut solution.counts[..];
        (0..n)
            .step_by(size)
            .map(|first| {
                let rows = size.min(n - first);
                Self {
                    first,
                    dim,
                    y: y.split_off_mut(..rows * dim).unwrap_or_default(),
                    level: level.split_off_mut(..rows).unwrap_or_default(),
                    log_change: change.split_off_mut(..rows * width).unwrap_or_default(),
                    trajectory: path.split_off_mut(..rows * kept).unwrap_or_default(),
                    counts: counts.split_off_mut(..rows).unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Integrates all rows to their last level; after an error the points reached are kept.
    pub(super) fn run(mut self, field: &Field<'_>, tick: &mut Tick<'_>) -> Result<()> {
        let n = self.level.len();
        let field = Field { first: self.first, ..*field };
        let (mut list, mut points) = (Vec::with_capacity(n), Vec::with_capacity(self.y.len()));
        for row in 0..n {
            self.keep_point(row, 0);
            let levels = field.levels_of(row);
            if levels[1] > 0.0 {
                list.push(Slot::new(row, levels));
                points.extend_from_slice(&self.y[row * self.dim..(row + 1) * self.dim]);
            }
        }
        if !list.is_empty() {
            let n_stages = field.settings.pair.tableau().stages.len() + 1;
            let mut slots = Slots::new(list, &points, field.trace.count(), n_stages);
            let done = self.advance(&mut slots, &field, tick);
            (0..slots.list.len()).for_each(|i| self.write(&slots, i));
            done?;
        }
        self.denoise(&field)?;
        self.fill_trajectories();
        tick(0)
    }

    /// Writes the points of frozen rows at all levels that they did not reach.
    fn fill_trajectories(&mut self) {
        if self.trajectory.is_empty() || self.dim == 0 {
            return;
        }
        let size = self.trajectory.len() / self.level.len();
        let rows = self.trajectory.chunks_exact_mut(size).zip(self.y.chunks_exact(self.dim));
        for (path, y) in rows {
            for point in path.chunks_exact_mut(self.dim).filter(|point| point[0].is_nan()) {
                point.copy_from_slice(y);
            }
        }
    }

    /// Takes steps until all rows have finished.
    fn advance(&mut self, slots: &mut Slots, field: &Field<'_>, tick: &mut Tick<'_>) -> Result<()> {
        let (settings, tableau) = (field.settings, field.settings.pair.tableau());
        begin(slots, field, tick)?;
        let mut reported = 0;
        let (mut fine, mut coarse) = (slots.y.clone(), Vec::new());
        let (mut fine_change, mut coarse_change) = (slots.change.clone(), Vec::new());
        if tableau.coarse_error.is_some() {
            (coarse, coarse_change) = (fine.clone(), fine_change.clone());
        }
        let mut new_change = slots.change.clone();
        loop {
            self.drop_frozen(slots);
            if slots.list.is_empty() {
                return Ok(());
            }
            let (n, dim, width) = (slots.list.len(), slots.dim, slots.width);
            for slot in &mut slots.list {
                slot.plan(settings, self.first)?;
            }
            for (i, (&share, terms)) in tableau.nodes.iter().zip(tableau.stages).enumerate() {
                slots.set_points(terms);
                slots.evaluate(field, i + 1, share)?;
                tick(0)?;
            }
            if !tableau.first_is_last {
                slots.set_points(tableau.weights);
            }
            sum(tableau.error, &slots.stages, &mut fine[..n * dim]);
            sum(tableau.error, &slots.change_stages, &mut fine_change[..n * width]);
            sum(tableau.weights, &slots.change_stages, &mut new_change[..n * width]);
            if let Some(terms) = tableau.coarse_error {
                sum(terms, &slots.stages, &mut coarse[..n * dim]);
                sum(terms, &slots.change_stages, &mut coarse_change[..n * width]);
            }
            let mut moved = Vec::with_capacity(n);
            for i in 0..n {
                let (at, by) = (i * dim..(i + 1) * dim, i * width..(i + 1) * width);
                let slot = &mut slots.list[i];
                if slot.frozen {
                    continue;
                }
                let change = &slots.change[by.clone()];
                let new_change = &mut new_change[by.clone()];
                new_change.iter_mut().zip(change).for_each(|(c, old)| *c = old + slot.tried * *c);
                let h = slot.tried.abs();
                let second =
                    tableau.coarse_error.map(|_| (&coarse[at.clone()], &coarse_change[by.clone()]));
                let (old, new) = (&slots.y[at.clone()], &slots.points[at.clone()]);
                let mut size =
                    error(settings, (old, new), &fine[at.clone()], second.map(|c| c.0), h);
                if width > 0 {
                    let fine = &fine_change[by.clone()];
                    // An error that is NaN must stay NaN.
                    let other = error(settings, (change, new_change), fine, second.map(|c| c.1), h);
                    size = if other > size || other.is_nan() { other } else { size };
                }
                if slot.judge(tableau, size) {
                    slots.y[at.clone()].copy_from_slice(&slots.points[at]);
                    slots.change[by].copy_from_slice(new_change);
                    moved.push(i);
                }
            }
            if tableau.first_is_last {
                let last = tableau.stages.len();
                for &i in &moved {
                    copy(&mut slots.stages, (last, i), (0, i), dim);
                    copy(&mut slots.change_stages, (last, i), (0, i), width);
                }
            }
            let mut active = vec![true; n];
            for &i in &moved {
                if slots.list[i].arrives {
                    self.write(slots, i);
                    let slot = &mut slots.list[i];
                    self.keep_point(slot.row, slot.node);
                    active[i] = slot.turn(field.levels_of(slot.row));
                }
            }
            if !tableau.first_is_last {
                moved.retain(|&i| active[i]);
                slots.evaluate_moved(field, &moved)?;
            }
            slots.retain(&active);
            let done = self.done(slots, field).max(reported);
            tick(done - reported)?;
            reported = done;
        }
    }

    /// Writes the points of frozen rows, and drops the rows.
    fn drop_frozen(&mut self, slots: &mut Slots) {
        let keep: Vec<bool> = slots.list.iter().map(|slot| !slot.frozen).collect();
        for i in (0..keep.len()).filter(|&i| !keep[i]) {
            self.write(slots, i);
        }
        slots.retain(&keep);
    }

    /// Finished rows, and parts of rows by their progress in log s.
    fn done(&self, slots: &Slots, field: &Field<'_>) -> u64 {
        let parts: f64 = slots
            .list
            .iter()
            .map(|slot| {
                let levels = field.levels_of(slot.row);
                let last = ln(levels.iter().rev().find(|s| **s > 0.0).copied().unwrap_or(1.0));
                let first = ln(levels[0]);
                (slot.t - first) / (last - first)
            })
            .sum();
        (self.level.len() - slots.list.len()) as u64 + parts as u64
    }

    /// Writes the point of slot `i`.
    fn write(&mut self, slots: &Slots, i: usize) {
        let (slot, dim, width) = (&slots.list[i], slots.dim, slots.width);
        let row = slot.row;
        self.level[row] = if slot.arrives && slot.t == ln(slot.between.1) {
            slot.between.1
        } else {
            slot.level(0.0)
        };
        self.counts[row] = slot.counts;
        self.y[row * dim..(row + 1) * dim].copy_from_slice(&slots.y[i * dim..(i + 1) * dim]);
        self.log_change[row * width..(row + 1) * width]
            .copy_from_slice(&slots.change[i * width..(i + 1) * width]);
    }

    /// Keeps the point of a row as that at level `node`.
    fn keep_point(&mut self, row: usize, node: usize) {
        if self.trajectory.is_empty() {
            return;
        }
        let (dim, size) = (self.dim, self.trajectory.len() / self.level.len());
        let start = row * size + node * dim;
        self.trajectory[start..start + dim].copy_from_slice(&self.y[row * dim..(row + 1) * dim]);
    }

    /// Denoises the rows whose last level is 0 and that have reached the level before.
    fn denoise(&mut self, field: &Field<'_>) -> Result<()> {
        let dim = self.dim;
        let (mut rows, mut points, mut sigma) = (Vec::new(), Vec::new(), Vec::new());
        for (row, level) in self.level.iter().enumerate() {
            let levels = field.levels_of(row);
            if levels[levels.len() - 1] == 0.0 && *level == levels[levels.len() - 2] {
                rows.push(row);
                points.extend_from_slice(&self.y[row * dim..(row + 1) * dim]);
                sigma.push(*level);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut out = vec![0.0; points.len()];
        field.model.denoise(Rows::new(&points, dim), &sigma, &mut out)?;
        for ((row, level), out) in rows.into_iter().zip(sigma).zip(out.chunks_exact(dim)) {
            self.counts[row].evals += 1;
            if out.iter().all(|x| x.is_finite()) {
                self.level[row] = 0.0;
                self.y[row * dim..(row + 1) * dim].copy_from_slice(out);
                self.keep_point(row, field.levels_of(row).len() - 1);
            } else if field.settings.on_nan == OnNan::Raise {
                return Err(field.not_finite(row, level, out));
            }
        }
        Ok(())
    }
}

/// Computes the first slopes, and the first step of each row.
fn begin(slots: &mut Slots, field: &Field<'_>, tick: &mut Tick<'_>) -> Result<()> {
    let (dim, settings, tableau) = (slots.dim, field.settings, field.settings.pair.tableau());
    slots.points.copy_from_slice(&slots.y);
    slots.evaluate(field, 0, 0.0)?;
    tick(0)?;
    for (i, slot) in slots.list.iter_mut().enumerate() {
        let at = i * dim..(i + 1) * dim;
        let distance = slot.distance();
        slot.step =
            trial_step(settings, &slots.y[at.clone()], &slots.stages[0][at]).min(distance.abs());
        slot.tried = slot.step.copysign(distance);
    }
    slots.set_points(&[(0, 1.0)]);
    slots.evaluate(field, 1, 1.0)?;
    tick(0)?;
    for (i, slot) in slots.list.iter_mut().enumerate() {
        let at = i * dim..(i + 1) * dim;
        let slopes = (&slots.stages[0][at.clone()], &slots.stages[1][at.clone()]);
        slot.step = first_step(settings, tableau, &slots.y[at], slopes, slot.step);
    }
    Ok(())
}

impl Slots {
    /// Sets the points at which the model is evaluated: the rows plus the step times a sum over stages.
    fn set_points(&mut self, terms: &[(usize, f64)]) {
        let (n, dim) = (self.list.len(), self.dim);
        sum(terms, &self.stages, &mut self.points[..n * dim]);
        let points = self.points.chunks_exact_mut(dim).zip(self.y.chunks_exact(dim));
        for ((point, y), slot) in points.zip(&self.list) {
            point.iter_mut().zip(y).for_each(|(p, y)| *p = y + slot.tried * *p);
        }
    }
}

impl Slot {
    fn new(row: usize, levels: &[f64]) -> Self {
        let (t, between) = (ln(levels[0]), (levels[0], levels[1]));
        Self { row, node: 1, t, between, ..Self::default() }
    }

    /// Plans the next step.
    fn plan(&mut self, settings: &Settings, first: usize) -> Result<()> {
        let (row, level) = (first + self.row, exp(self.t));
        let limit = settings.max_steps;
        if self.counts.accepted + self.counts.rejected >= limit {
            return Err(Error::Numerical(format!(
                "row {row} used up its {limit} steps at level {level:.6e} on its way to {:.6e}; \
                 raise max_steps, or loosen rtol and atol",
                self.between.1
            )));
        }
        let distance = self.distance();
        let least = 16.0 * f64::EPSILON * self.t.abs().max(1.0);
        self.arrives = self.step * STRETCH >= distance.abs();
        if self.step < least && !self.arrives {
            return Err(Error::Numerical(format!(
                "the steps of row {row} vanish at level {level:.6e}; the model is not smooth there \
                 to the tolerances; loosen rtol and atol"
            )));
        }
        self.tried = if self.arrives { distance } else { self.step.copysign(distance) };
        Ok(())
    }

    /// Accepts or rejects the tried step by its error, and returns whether it was accepted.
    fn judge(&mut self, tableau: &Tableau, error: f64) -> bool {
        let (accepted, next) = self.controller.judge(tableau, error, self.tried.abs());
        if !accepted {
            self.counts.rejected += 1;
            self.step = next;
            return false;
        }
        self.counts.accepted += 1;
        // A step that was cut short at a level must not shorten the next.
        self.step = if self.arrives { next.max(self.step) } else { next };
        self.t = if self.arrives { ln(self.between.1) } else { self.t + self.tried };
        true
    }

    /// Turns to the next level, and returns whether there is one above 0.
    fn turn(&mut self, levels: &[f64]) -> bool {
        self.node += 1;
        let Some(&next) = levels.get(self.node).filter(|s| **s > 0.0) else { return false };
        self.between = (self.between.1, next);
        true
    }
}
