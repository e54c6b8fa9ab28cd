//! The adaptation: in each stage a sampler is fitted to all points so far, until the forecast says
//! that another stage does not pay.

use super::component_bank::Fitted;
use super::layout::Layout;
use super::points::Points;
use super::pooled::Stages;
use super::problem::{Batch, Plan, Problem};
use super::proposal::Proposal;
use super::proposal::{Control, Sampler};
use super::seen::Seen;
use super::settings::{Controls, Settings};
use super::steps::{Adapting, Candidate, HANGING_SHARE};
use super::tails::Tails;
use fermiac_base::Result;
use fermiac_base::par::{CHUNK, Context};

/// Numbers that the adaptation may hold: 256 MiB. The fits need no more points; all further
/// evaluations go to the final sample, of which only sums are kept.
const MEMORY: usize = 1 << 25;
const MOST_POINTS: usize = 1 << 20;

/// One stage, as reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// Evaluations of this stage.
    pub n: usize,
    /// Evaluations up to the end of this stage.
    pub used: usize,
    /// The criterion forecast if the rest of the budget went to this stage's sampler.
    pub forecast: f64,
    /// The weights of the fitted components (none in stage 0, which samples the laws).
    pub alpha: Vec<f64>,
    /// Certified relative distance of these weights from the best ones, before the floor.
    pub alpha_gap: f64,
    /// Passes over the points that finding them took.
    pub alpha_passes: usize,
    /// The estimates from this stage's points alone.
    pub mean: Vec<f64>,
    /// Their standard errors.
    pub stderr: Vec<f64>,
    /// Expectations whose component could not be fitted for lack of weight.
    pub degenerate: Vec<usize>,
}

/// The result of the adaptation, for the final phase.
#[derive(Debug)]
pub(crate) struct Adapted {
    pub(crate) sampler: Sampler,
    pub(crate) stages: Vec<Stage>,
    /// The stage whose sampler was chosen.
    pub(crate) chosen: usize,
    pub(crate) used: usize,
    /// Whether regression on all controls was asked for but had too few points.
    pub(crate) too_few_for_all: bool,
    pub(crate) seen: Seen,
    /// All its points, where they are to count as well.
    pub(crate) kept: Option<Stages>,
}

pub(crate) fn adapt(
    problem: &Problem<'_>,
    settings: &Settings,
    context: &Context<'_>,
) -> Result<Adapted> {
    let (d, n_laws) = (problem.dim(), problem.laws.len());
    // A variance takes two points.
    let wanted = ((settings.n as f64 * settings.adapt_fraction) as usize).max(2);
    let stages = settings.n_stages.min(wanted / 2);
    let first = wanted.min(MOST_POINTS) / stages;
    let base = if problem.columns() > n_laws {
        Proposal::given(d, n_laws, settings.defensive_base)
    } else {
        Proposal::laws(d, n_laws)
    };
    let mut kept = settings.pool_all.then(Stages::default);
    let mut plan =
        Plan { block: 0, n: first, chunks: 0..1, densities: true, before: 0, nets: None };
    let mut batches = draw(problem, context, &base, &plan)?;
    problem.choose_units(&mut batches[0])?;
    let layout = Layout::new(problem)?;
    // Only now is the number of outputs certain, and with it what the memory has room for.
    let n_stage = first.min((most_points(d, n_laws, layout.outputs) / stages).max(CHUNK));
    (plan.n, plan.chunks) = (n_stage, 1..n_stage.div_ceil(CHUNK));
    batches.extend(draw(problem, context, &base, &plan)?);
    let mut run = Adapting {
        problem,
        settings,
        context,
        layout,
        points: Points::new(d, layout, stages * n_stage),
        tails: Tails::new(settings, &problem.laws),
    };
    let mut seen = Seen::default();
    batches.iter().for_each(|batch| seen.add(&Seen::of(layout, batch, 0)));
    if (0..layout.len).any(|j| seen.is_sparse(layout, j)) {
        run.tails.widen();
    }
    let none = vec![Vec::new(); layout.len];
    let (measured, table) = run.measure(&base, &none, &vec![0.0; layout.len], &batches)?;
    let khat = run.tails.khat(layout, &batches, &table.log_ref);
    run.tails.descend(khat);
    if let Some(kept) = &mut kept {
        kept.push(&base, &batches);
    }
    run.points.append(context, batches, base.clone(), table)?;

    let mut weights = run.weights(&measured)?;
    let (controls, parts) = run.parts(&measured);
    let mut used = n_stage;
    let mut history = vec![run.report(&measured, &weights, used, n_stage)];
    let mut candidates = vec![Candidate { proposal: base, measured, khat }];
    // The first coefficients: zero variance needs beta = the integral of the part.
    let mut betas = run.first_betas(&parts)?;
    let mut previous: Option<Vec<Fitted>> = None;
    let mut regions = Vec::new();
    let (mut thin, mut wide) = (vec![true; parts.len()], None);
    let mut last_two = (f64::INFINITY, f64::INFINITY);
    while candidates.len() < stages {
        let tables = run.points.tables(context)?;
        let fit = run.fit(&tables, &parts, &candidates, previous.as_deref(), &mut regions)?;
        let (mut proposal, degenerate) = (fit.proposal, fit.degenerate);
        previous = Some(fit.singles);
        thin = fit.thin;
        proposal.base = run.base(&seen, &candidates[candidates.len() - 1].measured, used);
        let of_parts = (&parts[..], &thin[..]);
        let spread = &*wide.insert(fit.wide);
        let mut table =
            run.add_missed(&mut proposal, &tables, of_parts, &seen, spread, &mut regions)?;
        let (gap, passes) =
            run.choose_alpha(&mut proposal, &tables, &table.rho, &weights, &betas)?;
        let stage = candidates.len();
        let chunks = 0..n_stage.div_ceil(CHUNK);
        let plan = Plan { block: stage as u32, n: n_stage, chunks, before: used, ..plan };
        let batches = draw(problem, context, &proposal, &plan)?;
        let components = proposal.bank.len();
        batches.iter().for_each(|batch| seen.add(&Seen::of(layout, batch, components)));
        let shifts: Vec<f64> = Adapting::last_means(&candidates);
        let (measured, new) = run.measure(&proposal, &controls, &shifts, &batches)?;
        let khat = run.tails.khat(layout, &batches, &new.log_ref);
        let descends = run.tails.descend(khat);
        table.extend(new);
        if let Some(kept) = &mut kept {
            kept.push(&proposal, &batches);
        }
        run.points.append(context, batches, proposal.clone(), table)?;
        used += n_stage;
        weights = run.weights(&measured)?;
        betas = if settings.controls == Controls::None {
            vec![Control::default(); layout.len]
        } else {
            measured.iter().map(|m| m.control.clone()).collect()
        };
        let mut report = run.report(&measured, &weights, used, n_stage);
        report.alpha.clone_from(&proposal.alpha);
        report.alpha_gap = gap;
        report.alpha_passes = passes;
        report.degenerate = degenerate;
        candidates.push(Candidate { proposal, measured, khat });
        let (before, share) = run.assess(&candidates, stage - 1, &weights)?;
        let (now, _) = run.assess(&candidates, stage, &weights)?;
        last_two = (before, now);
        report.forecast = now / (settings.n - used) as f64;
        history.push(report);
        let fired = before / (settings.n - used + n_stage) as f64 <= history[stage].forecast;
        if fired && share < HANGING_SHARE && !descends {
            break;
        }
    }
    let chosen = run.choose(&candidates, &weights, last_two)?;
    let mut candidate = candidates.swap_remove(chosen);
    if let (true, Some(wide)) = (chosen > 0, &wide) {
        // What the last stage found, too, belongs into the final sampler.
        let tables = run.points.tables(context)?;
        let proposal = &mut candidate.proposal;
        proposal.base = run.base(&seen, &candidate.measured, used).max(proposal.base);
        run.add_missed(proposal, &tables, (&parts, &thin), &seen, wide, &mut regions)?;
    }
    let (sampler, too_few_for_all) = run.sampler(candidate, chosen)?;
    let units = problem.units()?;
    let criterion_unit = run.criterion_unit()?;
    for stage in &mut history {
        stage.forecast *= criterion_unit;
        for j in 0..layout.len {
            let unit = units[layout.output(j)];
            stage.mean[j] *= unit;
            stage.stderr[j] *= unit;
        }
    }
    Ok(Adapted { sampler, stages: history, chosen, used, too_few_for_all, seen, kept })
}

/// Points that fit into [`MEMORY`] with all that is kept or computed of each.
fn most_points(dim: usize, n_laws: usize, outputs: usize) -> usize {
    let expectations = outputs.max(n_laws);
    MEMORY / (dim + n_laws + outputs + 6 * expectations)
}

fn draw(
    problem: &Problem<'_>,
    context: &Context<'_>,
    source: &Proposal,
    plan: &Plan,
) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    problem.sweep(
        context,
        source,
        plan,
        |_, batch| Ok(batch.without_points()),
        |_, batch| {
            batches.push(batch);
            Ok(())
        },
    )?;
    Ok(batches)
}
