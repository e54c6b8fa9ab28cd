//! A batch of a run: the choice between rejection and chains, and the rounds of either.

use super::Run;
use super::rejection::{Standing, Target};
use super::state::{Opening, Phase};
use super::tune::tune;
use crate::bound::{Bound, BoundKind, FitOptions};
use crate::chains::{BatchGeometry, Report};
use crate::points::{Origin, Points};
use crate::problem::Problem;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use std::time::Instant;

/// Rejection may cost so many times more than chains: its points are independent. If the run keeps
/// them, the error of log Z falls by far more than that factor would buy with chains.
const MARGIN: f64 = 2.0;
const MARGIN_KEPT: f64 = 15.0;
/// Chains replace rejection after it was more expensive for this many evaluations per live point;
/// if points are kept, for so many as chains need for two points per live point.
const PATIENCE: f64 = 4.0;
const PATIENCE_KEPT: f64 = 2.0;
/// The cost of a proposal, in evaluations, above which bounds are taken to lie mostly outside.
const OUTSIDE: f64 = 3.0;
/// One in so many batches compares the ends of chains with the distances of survivors.
const COMPARE_EVERY: u32 = 8;
/// The run fails after so many batches in a row in which more than 1 % of chains got stuck.
const STUCK: u32 = 10;

impl Run {
    /// The points above the level from which new ones are drawn.
    pub(super) fn survivors(&self) -> Points {
        if let (Opening::Above { seeds, .. }, true) = (&self.opening, self.live.is_empty()) {
            return seeds.as_ref().clone();
        }
        let mut survivors = Points::new(self.circles.len(), 0);
        for &slot in &self.order {
            let i = slot as usize;
            let origin =
                Origin { birth: self.live.birth[i], lineage: 0, family: self.live.family[i] };
            survivors.push(self.live.u(i), &[], self.live.ell[i], &[], origin);
        }
        survivors
    }

    /// Prepares the start of a batch, after its points have died.
    pub(super) fn prepare_batch(&mut self, problem: &Problem) -> Result<()> {
        (self.last_evals, self.batch_evals) = (self.batch_evals, 0);
        self.new_points = Points::new(problem.dim(), problem.n_extras());
        let kept = self.rejection.record.is_some();
        self.switch_to_chains();
        if kept && self.chaining && self.rejection.proposal_cost() > OUTSIDE {
            return self.restart(problem);
        }
        self.phase = Phase::Starting;
        Ok(())
    }

    /// Starts again with chains from the first batch on.
    ///
    /// Ellipsoids that lie mostly outside of the cube follow its faces badly, and cut off parts of the
    /// level set. Without the points that correct for it, the prior masses of the levels so far would
    /// be too small: by a factor of 3 for an exponential law in a corner of 12 dimensions.
    fn restart(&mut self, problem: &Problem) -> Result<()> {
        let mut again = Self::new(problem, self.settings.clone(), self.opening.clone())?;
        again.rejection.record = None;
        (again.chaining, again.n_evals) = (true, self.n_evals);
        *self = again;
        Ok(())
    }

    /// Starts a batch; can be called again after an error.
    pub(super) fn start_batch(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let survivors = self.survivors();
        if self.chaining {
            self.fit_modes(&survivors, context)?;
            self.phase = Phase::Chaining;
            let geometry = self.geometry_of(&survivors);
            self.chains.start(
                self.vacant.len(),
                &geometry,
                problem.n_extras(),
                self.settings.key,
                self.batch,
            );
            self.geometry = Some(geometry);
        } else {
            self.survey(problem, context)?;
            let at = Standing {
                survivors: &survivors,
                dead: &self.dead,
                log_x: self.evidence.log_x(),
                level: self.level,
            };
            self.rejection.begin(&at, &self.settings, &self.circles, context)?;
            self.phase = Phase::Rejecting;
        }
        Ok(())
    }

    /// Switches to chains for the rest of the run if they are cheaper than rejection. They are not
    /// while much of the cube lies above the level, and a poor bound is refitted before the switch.
    pub(super) fn switch_to_chains(&mut self) {
        if self.chaining || self.moves.is_none() {
            return;
        }
        let above = matches!(self.opening, Opening::Above { .. });
        let sampler = &self.settings.sampler;
        let n_live = self.settings.n_live as f64;
        let (margin, patience) = if !sampler.has_bound() {
            (0.5, 0.0)
        } else if self.rejection.record.is_some() {
            (MARGIN_KEPT, PATIENCE_KEPT * n_live * sampler.cost())
        } else {
            (MARGIN, PATIENCE * n_live)
        };
        let expensive = self.rejection.cost() > margin * sampler.cost();
        let spent = (self.last_evals as f64 * self.rejection.proposal_cost()) as u64;
        self.excess_evals = if expensive { self.excess_evals.saturating_add(spent) } else { 0 };
        self.chaining = above || (expensive && self.excess_evals as f64 >= patience);
        if self.chaining {
            // Ends of chains are draws from no known density.
            self.rejection.record = None;
        }
    }

    /// The geometry that the chains of this batch share.
    pub(super) fn geometry_of(&self, survivors: &Points) -> BatchGeometry {
        let mut geometry = BatchGeometry::new(survivors, &self.circles, self.modes.as_ref());
        if let Some(moves) = self.moves {
            let moves = moves.longer(self.correlation.factor);
            moves.prepare(&mut geometry, self.settings.key, self.batch);
        }
        geometry
    }

    /// Fits the bound from which chains take the modes, when the prior mass has shrunk enough.
    pub(super) fn fit_modes(&mut self, survivors: &Points, context: &Context<'_>) -> Result<()> {
        let log_x = self.evidence.log_x();
        let due = self.modes_at - log_x > 0.5;
        let has_modes = match self.settings.bound {
            BoundKind::None | BoundKind::Single => false,
            BoundKind::Multi | BoundKind::Friends => true,
        };
        if !due || !has_modes {
            return Ok(());
        }
        let options = FitOptions {
            kind: BoundKind::Multi,
            enlarge: self.settings.enlarge,
            modes: true,
            bootstrap: 0,
            periodic: self.circles.clone(),
        };
        let rows = Rows::new(&survivors.u, self.circles.len());
        let number = self.batch;
        self.modes = Some(Bound::fit(rows, log_x, &options, self.settings.key, number, context)?);
        self.modes_at = log_x;
        Ok(())
    }

    /// Makes a round of rejection.
    pub(super) fn reject(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let lineages = self.lineages();
        let target = Target { level: self.level, batch: self.batch, lineages: &lineages };
        if self.settings.probed && self.rejection.is_probe_due() {
            let (rejection, answers) = (&mut self.rejection, &mut self.answers);
            let n_evals = rejection.probe(&target, problem, answers, &self.settings, context)?;
            context.advance(n_evals);
            self.n_evals += n_evals;
            return Ok(());
        }
        let (done, n_evals) = self.rejection.round(
            &target,
            problem,
            &mut self.answers,
            &self.settings,
            context,
            &mut self.new_points,
        )?;
        context.advance(n_evals);
        self.n_evals += n_evals;
        self.batch_evals += n_evals;
        if done {
            self.insert_new_points();
            self.record_batch([f64::NAN; 4]);
        }
        Ok(())
    }

    /// Runs the chains of the batch until they end or the deadline passes.
    pub(super) fn chain(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<()> {
        let (Some(tuned), Some(geometry)) = (self.moves, self.geometry.take()) else {
            return Err(Error::Internal("a batch of chains without its geometry".into()));
        };
        let moves = tuned.longer(self.correlation.factor);
        let before = self.chains.n_evals();
        let done = self.chains.run(problem, &geometry, &moves, self.level, deadline, context);
        let n_evals = self.chains.n_evals() - before;
        self.n_evals += n_evals;
        self.batch_evals += n_evals;
        if !matches!(done, Ok(true)) {
            self.geometry = Some(geometry);
            return done.map(|_| ());
        }
        let lineages = self.lineages();
        let compares = self.batch.is_multiple_of(COMPARE_EVERY);
        let ends = self.chains.finish(
            problem,
            &geometry,
            self.level,
            &lineages,
            compares,
            &mut self.new_points,
        );
        let report = match ends {
            Ok(report) => report,
            Err(error) => {
                self.geometry = Some(geometry);
                return Err(error);
            }
        };
        self.moves = Some(tune(tuned, &report, problem.dim()));
        let adapts = self.settings.adapt_length;
        let n_chains = self.vacant.len();
        let correlation = self.correlation.update(&report, n_chains, adapts);
        self.insert_new_points();
        let counts = report.counts;
        let tries = counts.tries as f64 / counts.moves.max(1) as f64;
        self.record_batch([report.moved, tries, correlation, moves.n_moves()]);
        self.check_stuck(&report, n_chains)
    }

    /// Fails if chains get stuck in batch after batch.
    pub(super) fn check_stuck(&mut self, report: &Report, n_chains: usize) -> Result<()> {
        self.n_stuck += report.counts.stuck;
        let many = 100 * report.counts.stuck > n_chains as u64;
        self.stuck_batches = if many { self.stuck_batches + 1 } else { 0 };
        if self.stuck_batches < STUCK {
            return Ok(());
        }
        Err(Error::Numerical(format!(
            "chains got stuck in {STUCK} batches one after the other, at the level {} of the \
             log-likelihood: the region is narrower than doubles resolve, or has no volume; raise \
             dlogz, rescale the parameters, make walks longer, or give a log-likelihood that is the \
             same whenever it is asked",
            self.level
        )))
    }
}
