//! The survey: a search for modes that may have no live point left.
//!
//! A mode with few of the live points may lose them all by chance, and no later bound would contain
//! it. Once there are some draws for each live point, a draw that is higher than its neighbours is taken
//! to be the top of a mode if a valley parts it from the nearest higher draw. From the tops of modes
//! with few draws above the level, climbs lead to the peaks, and later bounds contain a region about
//! each. If there are several modes, there may be more: the survey then goes on with more draws from
//! the prior. Its points never become live points, and the evidence does not use them.

use super::Run;
use super::climb::{Axes, Climb, PARTS};
use crate::basins::Basins;
use crate::problem::{EvalBuffer, Problem};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::store::Codec;
use std::cell::RefCell;

/// The number of draws for each live point after which the survey is made, of further draws from the
/// prior, and the largest number of either.
const DRAWS: usize = 4;
const MOST_DRAWS: usize = 2048;
/// A top is higher than so many of its nearest points.
const NEIGHBOURS: usize = 3;
/// The largest number of rounds of tests for valleys. There are no more tests than live points, and
/// as many again after the further draws.
const ROUNDS: usize = 4;
/// A mode with so many draws above the level keeps its live points.
const MANY: usize = 30;
/// The largest number of climbs at a time, and of steps of a climb.
const CLIMBS: usize = 50;
const STEPS: usize = 25;
/// The scale of climbs from the highest of all points; from others it is the distance to the nearest
/// higher one.
const LONE_SCALE: f64 = 0.1;
/// The survey takes fewer calls for each live point if there are not very many axes. It is left out if
/// the limit of calls does not leave as many.
const ROOM: u64 = 10;
/// The address of the stream of further draws, above those of chains, proposals and probes.
const ADDRESS: u64 = 1 << 36;

/// The peaks that the survey found.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    is_surveyed: bool,
    u: Vec<f64>,
    ell: Vec<f64>,
}

impl Peaks {
    /// The peaks above a level, the highest first.
    pub(super) fn above(&self, level: f64, dim: usize) -> impl Iterator<Item = &[f64]> {
        let peaks = self.u.chunks_exact(dim).zip(&self.ell);
        peaks.filter(move |(_, ell)| **ell > level).map(|(u, _)| u)
    }

    pub(super) fn persist(&mut self, dim: usize, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.is_surveyed)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.ell)?;
        let inside = self.u.iter().all(|u| (0.0..=1.0).contains(u));
        codec.require(self.u.len() == dim * self.ell.len() && inside)
    }
}

struct Survey<'a, 'c> {
    problem: &'a Problem,
    context: &'a Context<'c>,
    answers: &'a mut EvalBuffer,
    axes: Axes<'a>,
    level: f64,
    n_live: usize,
    basins: Basins,
    /// The points from which climbs began.
    tried: Vec<usize>,
    peaks: Vec<(f64, Vec<f64>)>,
    n_evals: usize,
    seconds_a_row: RefCell<f64>,
}

impl Survey<'_, '_> {
    fn evaluate(&mut self, rows: &[f64]) -> Result<Vec<f64>> {
        let Self { problem, context, answers, seconds_a_row, .. } = self;
        problem.evaluate_together(rows, seconds_a_row, context, answers)?;
        context.poll()?;
        self.n_evals += answers.ell.len();
        Ok(answers.ell.clone())
    }

    /// Tests for valleys between points that may be tops and the nearest higher ones.
    fn test(&mut self) -> Result<()> {
        let mut left = self.n_live;
        for _ in 0..ROUNDS {
            let (chosen, middles) = self.basins.candidates(usize::MAX, left);
            if chosen.is_empty() {
                break;
            }
            left -= chosen.len();
            let ell = self.evaluate(&middles)?;
            self.basins.learn(&chosen, &ell);
            self.basins.add(&middles, &ell, self.basins.len(), self.context)?;
        }
        Ok(())
    }

    /// Climbs from the tops of modes that may lose their live points; returns whether there are several
    /// modes.
    fn climb(&mut self) -> Result<bool> {
        let (modes, labels) = (self.basins.all(), self.basins.labels());
        // Draws nearer to the top than half of the way to a higher one: others may be parted from it.
        let mut n_above = vec![0; modes.len()];
        for (i, &k) in labels.iter().enumerate() {
            let (top, way) = (self.basins.row(modes[k].top), modes[k].apart);
            let is_near = self.basins.distance(self.basins.row(i), top) < 0.25 * way * way;
            n_above[k] += usize::from(is_near && self.basins.ell(i) > self.level);
        }
        let is_full: Vec<bool> = n_above.iter().map(|n| *n >= MANY).collect();
        let few = modes.iter().enumerate().filter(|(k, mode)| {
            let again = self.tried.contains(&mode.top);
            !is_full[*k] && !again
        });
        let mut climbs: Vec<Climb> = few
            .take(CLIMBS)
            .map(|(k, mode)| {
                let scale = if mode.apart.is_finite() { mode.apart } else { LONE_SCALE };
                Climb::new(k, self.basins.row(mode.top), self.basins.ell(mode.top), scale)
            })
            .collect();
        self.tried.extend(climbs.iter().map(|climb| modes[climb.basin].top));
        for _ in 0..STEPS {
            for is_step in [false, true] {
                self.climb_together(&mut climbs, is_step)?;
            }
            // A climb into a mode that keeps its live points ends where draws are as high.
            climbs.retain(|climb| {
                let nearest = self.basins.nearest(&climb.u).filter(|i| is_full[labels[*i]]);
                nearest.is_none_or(|i| {
                    labels[i] == climb.basin || self.basins.ell(i) < climb.ell
                })
            });
        }
        let mut is_mode = is_full;
        for climb in climbs {
            if let Some(nearest) = self.basins.nearest(&climb.u) {
                is_mode[labels[nearest]] = true;
            }
            self.peaks.push((climb.ell, climb.u));
        }
        Ok(is_mode.iter().filter(|is_mode| **is_mode).count() > 1)
    }

    /// Evaluates what the climbs ask for: points for gradients, or along steps.
    fn climb_together(&mut self, climbs: &mut [Climb], is_step: bool) -> Result<()> {
        let mut rows = Vec::new();
        for climb in climbs.iter().filter(|climb| climb.is_active) {
            if is_step {
                climb.ask_step(&self.axes, &mut rows);
            } else {
                climb.ask_gradient(&mut rows);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let ell = self.evaluate(&rows)?;
        let each = if is_step { PARTS.len() } else { self.axes.circles.len() };
        let active = climbs.iter_mut().filter(|climb| climb.is_active);
        for (climb, ell) in active.zip(ell.chunks_exact(each)) {
            if is_step {
                climb.learn_step(&self.axes, ell);
            } else {
                climb.learn_gradient(ell);
            }
        }
        Ok(())
    }
}

impl Run {
    /// Makes the survey when it is due. After an error it is made again from its start.
    pub(super) fn survey(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let n_live = self.settings.n_live;
        let Some(record) = &self.rejection.record else { return Ok(()) };
        let has_room =
            self.settings.max_evals.saturating_sub(self.n_evals) > ROOM * n_live as u64;
        let is_due = self.settings.probed && !self.rejection.peaks.is_surveyed;
        if !is_due || !has_room || record.n_draws() < DRAWS * n_live {
            return Ok(());
        }
        let (u, ell) = record.first_draws(MOST_DRAWS);
        let dim = problem.dim();
        let mut survey = Survey {
            problem,
            context,
            answers: &mut self.answers,
            axes: Axes { circles: &self.circles, end: 0.5 / (ell.len() + 1) as f64 },
            level: self.level,
            n_live,
            basins: Basins::new(&self.circles, NEIGHBOURS),
            tried: Vec::new(),
            peaks: Vec::new(),
            n_evals: 0,
            seconds_a_row: RefCell::new(1e-6),
        };
        survey.basins.add(u, ell, 0, context)?;
        survey.test()?;
        if survey.climb()? {
            let mut u = vec![0.0; (DRAWS * n_live).min(MOST_DRAWS) * dim];
            Stream::new(self.settings.key, Domain::Nested, ADDRESS, 0).fill_uniform(&mut u);
            let ell = survey.evaluate(&u)?;
            survey.basins.add(&u, &ell, survey.basins.len(), context)?;
            survey.test()?;
            survey.climb()?;
        }
        let Survey { mut peaks, n_evals, .. } = survey;
        peaks.retain(|(ell, _)| *ell > self.level);
        peaks.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (ell, u): (Vec<f64>, Vec<Vec<f64>>) = peaks.into_iter().unzip();
        self.rejection.peaks = Peaks { is_surveyed: true, u: u.concat(), ell };
        context.advance(n_evals as u64);
        self.n_evals += n_evals as u64;
        Ok(())
    }
}
