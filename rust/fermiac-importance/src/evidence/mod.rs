//! The evidence of an unnormalised density: log Z, Z = ∫ p̃(x) dx, and weighted points from it.
//!
//! The run starts from a law and adapts: stage by stage, a mixture is fitted to the weighted points
//! and the next stage is drawn from it, with a share of the law. While the weights are uneven they
//! are tempered for the fit (and for nothing else), so that the fits move from the law to a target
//! that is far narrower or elsewhere. Then one final stage takes the rest of the budget.
//!
//! - [`Scheme::Amis`]: fits use all points of all stages, as drawn from the mixture of all samplers
//!   (the balance heuristic): Cornuet, Marin, Mira, Robert, *Adaptive multiple importance sampling*
//!   (2012).
//! - [`Scheme::Pmc`]: fits use the newest stage, by one Rao-Blackwellised update of the mixture once
//!   the weights need no tempering: Cappé, Douc, Guillin, Marin, Robert, *Adaptive importance
//!   sampling in general mixture classes* (2008).
//! - [`Scheme::Snis`]: no adaptation, all points are drawn from the law.
//!
//! Whatever the scheme, the estimate is from the final stage alone. Its sampler is fixed before its
//! points are drawn, so the estimate of Z is unbiased and its error that of a plain average. Points
//! of the adaptation lie where the fits follow them: counting them too, as published, gained no
//! precision in our tests and biased log Z by one standard error and more.

pub mod blocks;
mod draw;
pub(crate) mod mixture;
pub(crate) mod pool;
mod settings;
mod summary;

use fermiac_base::Error;
use fermiac_base::alloc::check_room;
use fermiac_base::linalg::packed_len;
use fermiac_base::par::Context;
use fermiac_base::simd::V;
use fermiac_target::diagnostics::log_khat;
use fermiac_target::{Law, LogDensity};
pub use settings::{Scheme, Settings};
pub use summary::{Evidence, Stage};

use super::component_bank::Fitted;
use super::integrate::Points;
use super::nets::{self, Nets};
use super::proposal::Proposal;
use draw::{Plan, Problem};
use mixture::{Fitter, Mixture};
use pool::{Pool, temper};
use summary::report;

/// The first block of the addresses of these streams; those of `expect` are below 1000.
const BLOCK: u32 = 1 << 20;

/// The first replicate of the addresses of these nets; those of `integrate` and `expect` are below.
const NETS: u64 = 1 << 42;

/// Most points of the first adaptation stages: more would not speed them up.
const MOST_POINTS: usize = 1 << 14;
/// Points of an adaptation stage at most.
const LARGEST_STAGE: usize = 1 << 16;
/// Components at most, where their number is chosen by the criterion.
const MOST_COMPONENTS: usize = 5;
/// Effective points per parameter of one component that the adaptation does not end below.
const ENOUGH: usize = 30;
/// The k-hat of a stage's weights that it does not end above: there a few points carry the variance,
/// and the next fits learn from them.
const HEAVY: f64 = 0.5;
/// How stages grow once the fits have reached the target, to carry more components.
const GROWTH: f64 = 1.5;

/// An error, with the result of the work done before it.
pub type Stopped = (Error, Option<Box<Evidence>>);

/// Estimates the evidence of `target`, starting from `law`, whose support holds the target's.
///
/// # Errors
/// Bad settings, a target or law that fails or gives values that cannot be used, cancelling.
pub fn evidence(
    target: &dyn LogDensity,
    law: &dyn Law,
    settings: &Settings,
    context: &Context<'_>,
) -> Result<Evidence, Stopped> {
    let problem = Problem::new(target, law, settings.key).map_err(|error| (error, None))?;
    settings.check(problem.dim()).map_err(|error| (error, None))?;
    // All points are kept, and mapped to the space of the sampler, with their densities and weights.
    let numbers = problem.dim().saturating_mul(2).saturating_add(6);
    check_room::<f64>("n", &[settings.n, numbers]).map_err(|error| (error, None))?;
    context.set_total(settings.n as u64);
    let mut run = Run::new(&problem, settings, context);
    let done = run.adapt().and_then(|()| {
        let rest = settings.n - run.pool.n;
        run.last_stage(rest)
    });
    match done {
        Ok(()) => Ok(run.finish()),
        Err(error) => {
            let partial = (!run.stages.is_empty()).then(|| Box::new(run.finish()));
            Err((error, partial))
        }
    }
}

/// A run: the points so far and the sampler of the next stage.
struct Run<'a, 'b, 'c> {
    problem: &'a Problem<'b>,
    settings: &'a Settings,
    context: &'a Context<'c>,
    pool: Pool,
    proposal: Proposal,
    mixture: Option<Mixture>,
    /// Mean and covariance of the sampler, and the standard deviations of the law.
    wide: Option<Fitted>,
    units: Vec<f64>,
    stages: Vec<Stage>,
    /// Log-weights of the newest stage under its own sampler: tiles.
    own: Vec<V>,
    /// Whether the last fit was to the target itself, not on the way to it.
    arrived: bool,
    /// The points of each replicate of the final stage, where they are from nets.
    replicate: Option<usize>,
}

impl<'a, 'b, 'c> Run<'a, 'b, 'c> {
    fn new(problem: &'a Problem<'b>, settings: &'a Settings, context: &'a Context<'c>) -> Self {
        let d = problem.dim();
        Self {
            problem,
            settings,
            context,
            pool: Pool::new(d, settings.scheme != Scheme::Pmc),
            proposal: Proposal::laws(d, 1),
            mixture: None,
            wide: None,
            units: Vec::new(),
            stages: Vec::new(),
            own: Vec::new(),
            arrived: false,
            replicate: None,
        }
    }

    /// Stages until another does not pay, or their share of the budget is used up.
    fn adapt(&mut self) -> fermiac_base::Result<()> {
        if self.settings.scheme == Scheme::Snis {
            return Ok(());
        }
        let n = self.settings.n;
        let mut size = self.settings.stage_size(self.problem.dim());
        let mut best = 0.0_f64;
        loop {
            let (arrived, components) = (self.arrived, self.components());
            self.stage(size, false, None)?;
            self.fit()?;
            let stage = &self.stages[self.stages.len() - 1];
            let forecast = stage.efficiency * (n - self.pool.n) as f64;
            let pays = forecast > best || self.components() > components || !self.settled(stage);
            if arrived && self.arrived {
                if !pays {
                    return Ok(());
                }
                size = ((size as f64 * GROWTH) as usize).min(LARGEST_STAGE);
            }
            best = best.max(forecast);
            if self.stages.len() == self.settings.n_stages
                || self.pool.n + size > self.settings.adapting()
            {
                return Ok(());
            }
        }
    }

    /// Whether the fit after this stage had points enough, and the weights of the stage no heavy
    /// tail.
    fn settled(&self, stage: &Stage) -> bool {
        let d = self.problem.dim();
        let heavy = log_khat(&self.pool.to_rows(&self.own)) > HEAVY;
        stage.fit_ess >= (ENOUGH * (1 + d + packed_len(d))) as f64 && !heavy
    }

    fn components(&self) -> usize {
        self.mixture.as_ref().map_or(0, |m| m.shares.len())
    }

    /// Draws the final stage, of `n` points at most.
    fn last_stage(&mut self, n: usize) -> fermiac_base::Result<()> {
        if self.settings.points == Points::Random {
            return self.stage(n, true, None);
        }
        self.proposal = self.proposal.aligned();
        let (count, size) = nets::sizes(n, self.settings.n_replicates);
        let mut nets = Nets::new(self.context, &self.proposal, self.settings.key, NETS, count)?;
        nets.go_on(0..size);
        self.stage(count * size, true, Some(&nets))
    }

    /// Draws a stage from the sampler. After an error the whole chunks that were done still count,
    /// so nothing that asks the context, which may refuse again, comes before the report. The
    /// densities of the other samplers are needed for fits only, not at the `last` stage.
    fn stage(&mut self, n: usize, last: bool, nets: Option<&Nets>) -> fermiac_base::Result<()> {
        let plan = Plan { stage: self.stages.len(), n, before: self.pool.n, last, nets };
        let (mut drawn, mut points) = (Vec::new(), Vec::with_capacity(n * self.problem.dim()));
        let outcome = self.problem.sweep(
            self.context,
            &self.proposal,
            plan,
            0..plan.n_chunks(),
            &mut drawn,
            &mut points,
        );
        if drawn.is_empty() {
            return outcome;
        }
        self.own = self.pool.append(drawn, points, self.proposal.clone());
        self.replicate = nets.map(Nets::size);
        let shares = self.mixture.as_ref().map_or_else(Vec::new, |m| m.shares.clone());
        self.stages.push(report(n, self.pool.n, self.pool.to_rows(&self.own), shares));
        outcome?;
        if last { Ok(()) } else { self.pool.mix(self.context) }
    }

    /// Fits the sampler of the next stage. Where nothing was found yet, it stays the law.
    fn fit(&mut self) -> fermiac_base::Result<()> {
        let d = self.problem.dim();
        let log_weights = self.pool.log_weights();
        let wanted = self.settings.wanted(d);
        let tempered = temper(&log_weights, wanted);
        let tiles = self.pool.tiles();
        let z = &self.pool.z[tiles.start * d..tiles.end * d];
        if self.wide.is_none() {
            let law = self.pool.spread();
            self.units = (0..d).map(|k| law.covariance[k * d + k].sqrt()).collect();
            self.wide = Some(law);
        }
        let (Some(tempered), Some(wide)) = (tempered, &self.wide) else {
            return Ok(());
        };
        let fitter = Fitter {
            context: self.context,
            dim: d,
            tail: self.settings.tail(),
            z,
            weights: &tempered.weights,
            effective: tempered.effective,
            wide,
            units: &self.units,
        };
        let arrived = tempered.power >= 1.0;
        let mixture = match self.mixture.take() {
            Some(mixture) if self.settings.scheme == Scheme::Pmc && self.arrived && arrived => {
                fitter.update(mixture)?
            }
            Some(_) | None => fitter.fit(
                self.settings.n_components.unwrap_or(MOST_COMPONENTS),
                self.settings.n_components.is_some(),
            )?,
        };
        self.proposal = mixture.proposal(self.settings.tail(), self.settings.defensive)?;
        self.wide = Some(mixture.moments());
        self.arrived = arrived;
        self.mixture = Some(mixture);
        if let Some(stage) = self.stages.last_mut() {
            stage.power = tempered.power;
            stage.fit_ess = tempered.effective;
        }
        Ok(())
    }
}
