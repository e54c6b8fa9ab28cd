//! The steps of one adaptation stage: measure, fit, choose the weights, score the sampler.

use super::adapt::Stage;
use super::basis::{self, Basis};
use super::component_bank::{ComponentBank, Fitted};
use super::explore::Region;
use super::fit::{self, Moments};
use super::layout::Layout;
use super::mixture_weights::Objective;
use super::points::{Points, Table, Tables};
use super::problem::{Batch, Problem};
use super::proposal::Proposal;
use super::proposal::{Control, Sampler};
use super::regress::{self, Columns};
use super::sampler_score;
use super::settings::{Controls, Family, Settings, Weights};
use super::stage::{Measured, StageSums};
use super::tails::{self, Tails};
use fermiac_base::par::Context;
use fermiac_base::simd::{LANES, V};
use fermiac_base::{Error, Result};

/// A forecast is not used where one point makes up more than this share of it: where an integrand
/// lives in the tail of the laws, the points seen say little about the laws as a sampler.
pub(super) const HANGING_SHARE: f64 = 0.05;
/// Both signs must carry this share of Σ|v| for an integrand to be split.
const SPLIT_SHARE: f64 = 0.05;

/// The part of an integrand that one component is fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Either,
    Positive,
    Negative,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) expectation: usize,
    pub(super) sign: Sign,
}

/// A sampler with what its own stage measured.
pub(super) struct Candidate {
    pub(super) proposal: Proposal,
    pub(super) measured: Vec<Measured>,
    /// The largest tail shape of |v| over the expectations, by its own points; -inf where it is
    /// not looked at.
    pub(super) khat: f64,
}

/// The fits of a stage.
pub(super) struct Fit {
    pub(super) proposal: Proposal,
    /// The single fit of every part.
    pub(super) singles: Vec<Fitted>,
    /// Expectations whose component could not be fitted for lack of weight.
    pub(super) degenerate: Vec<usize>,
    /// Whether a part had too little weight for a fit.
    pub(super) thin: Vec<bool>,
    /// The spread of the laws.
    pub(super) wide: Fitted,
}

/// The state that all steps of the adaptation share.
pub(super) struct Adapting<'a, 'b, 'c> {
    pub(super) problem: &'a Problem<'b>,
    pub(super) settings: &'a Settings,
    pub(super) context: &'a Context<'c>,
    pub(super) layout: Layout,
    pub(super) points: Points,
    pub(super) tails: Tails,
}

impl Adapting<'_, '_, '_> {
    pub(super) fn measure(
        &self,
        proposal: &Proposal,
        controls: &[Vec<usize>],
        shifts: &[f64],
        batches: &[Batch],
    ) -> Result<(Vec<Measured>, Table)> {
        let mut sums = StageSums::new(self.layout.len);
        let mut table = Table::default();
        let layout = self.layout;
        self.context.ordered(
            batches.len(),
            |i| Ok(StageSums::of(proposal, layout, controls, shifts, &batches[i])),
            |_, (part, densities)| {
                sums.add(&part);
                table.extend(densities);
                Ok(())
            },
        )?;
        // Only a share of the laws bounds their weights.
        let others = proposal.n_groups() > 0 || proposal.given > 0.0;
        let use_laws = others && proposal.base > 0.0;
        Ok((sums.measured(layout, controls, use_laws, shifts), table))
    }

    pub(super) fn last_means(candidates: &[Candidate]) -> Vec<f64> {
        candidates[candidates.len() - 1].measured.iter().map(|m| m.mean).collect()
    }

    /// The weights w_j of the criterion.
    pub(super) fn weights(&self, measured: &[Measured]) -> Result<Vec<f64>> {
        let j = self.layout.len;
        match &self.settings.weights {
            Weights::Absolute => self.in_units(&vec![1.0; j]),
            // The mean of |v| is the integral itself for an integrand of one sign, and a scale
            // where positive and negative parts cancel. Nothing seen yet: no weight yet.
            Weights::Relative => Ok(measured
                .iter()
                .map(|m| if m.mean_abs > 0.0 { 1.0 / (m.mean_abs * m.mean_abs) } else { 0.0 })
                .collect()),
            Weights::Given(w) => {
                if w.len() != j {
                    let why = format!("{} given for {j} expectations", w.len());
                    return Err(Error::argument("weights", why));
                }
                self.in_units(w)
            }
        }
    }

    fn criterion(measured: &[Measured], weights: &[f64]) -> f64 {
        measured.iter().zip(weights).map(|(m, w)| w * m.variance).sum()
    }

    pub(super) fn report(
        &self,
        measured: &[Measured],
        weights: &[f64],
        used: usize,
        n: usize,
    ) -> Stage {
        let rest = (self.settings.n - used) as f64;
        Stage {
            n,
            used,
            forecast: Self::criterion(measured, weights) / rest,
            alpha: Vec::new(),
            alpha_gap: 0.0,
            alpha_passes: 0,
            mean: measured.iter().map(|m| m.mean).collect(),
            stderr: measured.iter().map(|m| (m.variance / n as f64).sqrt()).collect(),
            degenerate: Vec::new(),
        }
    }

    /// Weights of the variances of values as the user gave them, for values in the engine's units.
    fn in_units(&self, weights: &[f64]) -> Result<Vec<f64>> {
        let units = self.problem.units()?;
        let largest = units.iter().copied().fold(0.0, f64::max);
        let of = |(j, w): (usize, &f64)| w * (units[self.layout.output(j)] / largest).powi(2);
        Ok(weights.iter().enumerate().map(of).collect())
    }

    /// The factor that brings the criterion to values as the user gave them.
    pub(super) fn criterion_unit(&self) -> Result<f64> {
        let largest = self.problem.units()?.into_iter().fold(0.0, f64::max);
        Ok(if self.settings.weights == Weights::Relative { 1.0 } else { largest * largest })
    }

    /// One part for each expectation, two where both signs matter; and the groups, numbered in
    /// the order of the parts, that control each expectation.
    pub(super) fn parts(&self, measured: &[Measured]) -> (Vec<Vec<usize>>, Vec<Part>) {
        let mut parts = Vec::new();
        let mut controls = Vec::with_capacity(self.layout.len);
        for (expectation, m) in measured.iter().enumerate() {
            let part = |sign| Part { expectation, sign };
            let positive = 0.5 * (m.mean_abs + m.mean);
            let negative = 0.5 * (m.mean_abs - m.mean);
            let first = parts.len();
            if self.settings.split_signs && positive.min(negative) > SPLIT_SHARE * m.mean_abs {
                parts.extend([part(Sign::Positive), part(Sign::Negative)]);
                controls.push(vec![first, first + 1]);
            } else {
                parts.push(part(Sign::Either));
                controls.push(vec![first]);
            }
        }
        (controls, parts)
    }

    /// |u|, u⁺ or u⁻ of every part, in units of its mean, and last the laws: tiles × (parts + 1).
    pub(super) fn part_weights(&self, tables: &Tables, parts: &[Part]) -> Vec<V> {
        let j = self.layout.len;
        let mut scale = vec![0.0; j];
        for tile in tables.u.chunks_exact(j) {
            for (s, u) in scale.iter_mut().zip(tile) {
                *s += u.map(f64::abs).sum() / self.points.n as f64;
            }
        }
        let inverse: Vec<f64> =
            scale.iter().map(|s| if *s > 0.0 { 1.0 / s } else { 0.0 }).collect();
        let mut out = Vec::with_capacity(tables.base.len() * (parts.len() + 1));
        for (tile, base) in tables.u.chunks_exact(j).zip(&tables.base) {
            for part in parts {
                let inverse = inverse[part.expectation];
                out.push(tile[part.expectation].map(|u| match part.sign {
                    Sign::Either => u.abs() * inverse,
                    Sign::Positive => u.max(0.0) * inverse,
                    Sign::Negative => (-u).max(0.0) * inverse,
                }));
            }
            out.push(*base);
        }
        out
    }

    pub(super) fn first_betas(&self, parts: &[Part]) -> Result<Vec<Control>> {
        let tables = self.points.tables(self.context)?;
        let mut betas = vec![Control::default(); self.layout.len];
        if self.settings.controls == Controls::None {
            return Ok(betas);
        }
        for (group, part) in parts.iter().enumerate() {
            let integral: f64 = tables
                .u
                .iter()
                .skip(part.expectation)
                .step_by(self.layout.len)
                .map(|u| {
                    u.map(|u| match part.sign {
                        Sign::Either => u,
                        Sign::Positive => u.max(0.0),
                        Sign::Negative => u.min(0.0),
                    })
                    .sum()
                })
                .sum();
            betas[part.expectation].terms.push((group, integral / self.points.n as f64));
        }
        Ok(betas)
    }

    /// Fits a component to every part. Where the weight is too thin, the component of the stage
    /// before stays, or the spread of the laws serves. Regions that were found keep theirs.
    pub(super) fn fit(
        &self,
        tables: &Tables,
        parts: &[Part],
        candidates: &[Candidate],
        previous: Option<&[Fitted]>,
        regions: &mut [Region],
    ) -> Result<Fit> {
        let (d, settings) = (self.problem.dim(), self.settings);
        let weights = self.part_weights(tables, parts);
        let mut moments = fit::moments(self.context, &self.points, &weights, parts.len() + 1)?;
        let Some(mut wide) = moments.pop().map(|m| m.fitted) else {
            return Err(Error::Internal("no moments".into()));
        };
        let reference = wide.clone();
        fit::condition(&mut wide, f64::INFINITY, &reference, settings.diagonal)?;
        let least = 2.0_f64.max(d as f64 / 2.0);
        let thin: Vec<bool> = moments.iter().map(|m: &Moments| m.effective() < least).collect();
        let mut degenerate: Vec<usize> =
            parts.iter().zip(&thin).filter(|(_, t)| **t).map(|(p, _)| p.expectation).collect();
        degenerate.dedup();
        let mut proposal = Proposal {
            bank: ComponentBank::new(d, self.tails.now),
            group: Vec::new(),
            within: Vec::new(),
            alpha: vec![1.0 / parts.len() as f64; parts.len()],
            base: settings.defensive_base,
            n_laws: self.layout.n_laws,
            given: 0.0,
        };
        let last = &candidates[candidates.len() - 1].proposal;
        if last.alpha.len() == parts.len() {
            proposal.alpha.clone_from(&last.alpha);
        }
        if self.tails.heavy() {
            let weights = without_last(&weights, parts.len() + 1);
            let to = (self.tails.now, &wide, settings.diagonal);
            moments = fit::students(self.context, &self.points, &weights, &moments, to)?;
        }
        let mut singles = Vec::with_capacity(parts.len());
        for (group, m) in moments.iter().enumerate() {
            let fitted = if thin[group] {
                previous.map_or_else(|| wide.clone(), |p| p[group].clone())
            } else {
                let mut fitted = m.fitted.clone();
                fit::condition(&mut fitted, m.effective(), &wide, settings.diagonal)?;
                fitted
            };
            singles.push(fitted);
        }
        let mut densities = Vec::with_capacity(parts.len() + regions.len());
        if settings.family == Family::Mixture {
            let weights = without_last(&weights, parts.len() + 1);
            let pairs = fit::pairs(
                self.context,
                &self.points,
                &weights,
                &moments,
                &wide,
                settings.diagonal,
            )?;
            for (group, pair) in pairs.iter().enumerate() {
                if thin[group] {
                    densities.push(Region { group, share: 1.0, fitted: singles[group].clone() });
                    continue;
                }
                for (share, fitted) in pair.shares.iter().zip(&pair.fitted) {
                    if *share > 1e-6 {
                        densities.push(Region { group, share: *share, fitted: fitted.clone() });
                    }
                }
            }
        } else {
            for (group, fitted) in singles.iter().enumerate() {
                densities.push(Region { group, share: 1.0, fitted: fitted.clone() });
            }
        }
        self.refine(&mut densities, regions, &weights, parts.len() + 1, &wide)?;
        for Region { group, share, fitted } in densities.iter().chain(regions.iter()) {
            proposal.add(*group, *share, fitted)?;
        }
        proposal.normalise_groups();
        Ok(Fit { proposal, singles, degenerate, thin, wide })
    }

    /// Sets the weights of the components, floor included; gives the certificate.
    pub(super) fn choose_alpha(
        &self,
        proposal: &mut Proposal,
        tables: &Tables,
        rho: &[V],
        weights: &[f64],
        betas: &[Control],
    ) -> Result<(f64, usize)> {
        let groups = proposal.n_groups();
        let (mut gap, mut passes) = (0.0, 0);
        if groups > 1 {
            let roots: Vec<f64> = weights.iter().map(|w| w.sqrt()).collect();
            let j = self.layout.len;
            let mut a = vec![V::ZERO; self.points.n_tiles()];
            let laws = tables.laws.chunks_exact(self.layout.n_laws);
            for (((a, u), rho), laws) in
                a.iter_mut().zip(tables.u.chunks_exact(j)).zip(rho.chunks_exact(groups)).zip(laws)
            {
                for (k, root) in roots.iter().enumerate() {
                    let mut rest = u[k];
                    for (group, beta) in &betas[k].terms {
                        rest = rest - rho[*group].map(|r| beta * r);
                    }
                    for (law, beta) in &betas[k].laws {
                        rest = rest - laws[*law].map(|w| beta * w);
                    }
                    *a = *a + rest.map(|r| (root * r) * (root * r));
                }
            }
            for (a, lanes) in a.iter_mut().zip(&self.points.lanes) {
                a.0[usize::from(*lanes)..LANES].fill(0.0);
            }
            let objective = Objective { a: &a, rho, n: self.points.n, n_groups: groups };
            let start = floor(&proposal.alpha, 0.1);
            let solution = objective.solve(self.context, &start)?;
            (gap, passes) = (solution.gap, solution.passes);
            proposal.alpha = floor(&solution.alpha, self.settings.defensive);
        }
        Ok((gap, passes))
    }

    /// The criterion for one evaluation from the sampler of a stage: by the published rule from
    /// that stage's own points, or from all points.
    ///
    /// The difference matters: the points of a sampler that misses a tail miss it too, so that by
    /// its own points it looks better than the next sampler, which has found the tail.
    ///
    /// The second number is the share of the largest point in it, 0 where it was not computed.
    pub(super) fn assess(
        &self,
        candidates: &[Candidate],
        stage: usize,
        weights: &[f64],
    ) -> Result<(f64, f64)> {
        let measured = &candidates[stage].measured;
        if !self.settings.keep_best {
            return Ok((Self::criterion(measured, weights), 0.0));
        }
        let centres = Self::last_means(candidates);
        sampler_score::criterion(self.context, &self.points, stage, measured, &centres, weights)
    }

    /// The stage whose sampler is used: the better of the last two, or the laws themselves where
    /// no fit is forecast to win and that forecast does not depend on a single point.
    pub(super) fn choose(
        &self,
        candidates: &[Candidate],
        weights: &[f64],
        (before, now): (f64, f64),
    ) -> Result<usize> {
        let last = candidates.len() - 1;
        if last == 0 {
            return Ok(0);
        }
        let (mut chosen, mut least) = (last, now);
        let heavier = |a: usize, b: usize| tails::heavier(candidates[a].khat, candidates[b].khat);
        let is_better = before > 0.0 && before < least && !heavier(last - 1, last);
        if self.settings.keep_best && last > 1 && (is_better || heavier(last, last - 1)) {
            (chosen, least) = (last - 1, before);
        }
        if self.settings.fallback && !heavier(0, chosen) {
            let (laws, share) = self.assess(candidates, 0, weights)?;
            if laws > 0.0 && laws < least && share < HANGING_SHARE {
                chosen = 0;
            }
        }
        Ok(chosen)
    }

    /// The sampler of a stage with its controls; and whether all controls were asked for but had
    /// too few points.
    pub(super) fn sampler(&self, candidate: Candidate, stage: usize) -> Result<(Sampler, bool)> {
        let Candidate { proposal, measured, .. } = candidate;
        let groups = proposal.n_groups();
        let own = || measured.iter().map(|m| m.control.clone()).collect();
        let mut too_few = false;
        // Σ alpha (r - 1) is constant, with the laws as further terms where they have a share: one
        // column too many, the one of largest alpha.
        let drop = (0..groups).max_by(|a, b| proposal.alpha[*a].total_cmp(&proposal.alpha[*b]));
        let least = 0.01 / groups as f64;
        let keep = |g: &usize| proposal.alpha[*g] >= least && Some(*g) != drop;
        let kept: Vec<usize> = (0..groups).filter(keep).collect();
        let (layout, mut basis) = (self.layout, None);
        let controls = match self.settings.controls {
            Controls::None => Vec::new(),
            Controls::All if groups > 1 => {
                too_few = self.points.n < 10 * (groups + 1);
                if too_few || kept.is_empty() {
                    own()
                } else {
                    let (source, table) = self.points.source(stage)?;
                    let columns =
                        Columns { proposal: source, table, groups: kept, basis: None, layout };
                    regress::controls(self.context, &self.points, &columns)?
                }
            }
            Controls::Polynomial => {
                let (source, table) = self.points.source(stage)?;
                let all = Basis::new(self.problem.laws[0], &self.problem.space, self.points.n)?;
                let columns =
                    Columns { proposal: source, table, groups: kept, basis: Some(&all), layout };
                let found = basis::controls(self.context, &self.points, &columns, &all)?;
                basis = Some(all);
                found
            }
            Controls::All | Controls::Own => own(),
        };
        Ok((Sampler { proposal, controls, basis }, too_few))
    }
}

/// alpha mixed with an even spread.
fn floor(alpha: &[f64], share: f64) -> Vec<f64> {
    let even = share / alpha.len() as f64;
    alpha.iter().map(|a| (1.0 - share) * a + even).collect()
}

/// The columns of tiles × width but the last.
fn without_last(table: &[V], width: usize) -> Vec<V> {
    table.chunks_exact(width).flat_map(|row| &row[..width - 1]).copied().collect()
}
