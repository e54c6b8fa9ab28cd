//! The steps of a run: its rounds, and the fits of their densities.

use super::component::{Component, Regression, Straight};
use super::proposal::{Densities, Proposal};
use super::search::Search;
use super::weights::{cut, ess, power_of, weights};
use super::{Estimate, Pending, Phase, Round, Run, Status, ln_add};
use crate::points::{Origin, Points};
use crate::problem::Problem;
use crate::proposals::{Density, Target, Tree, Weighted, fit};
use crate::surrogate::{TrainOptions, train};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Scheme, Stream, resample};
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};
use std::cell::RefCell;
use std::sync::Arc;

/// The effective number of points at a power, as a share of those of a round.
const WANTED: f64 = 0.25;
/// Rounds at one power after which fewer are enough.
const PATIENCE: u32 = 3;
/// δ before it is known how good a regression is.
pub(super) const FIRST_DEFENCE: f64 = 0.5;
/// The number of rounds of draws from the prior if the first one has seen several modes: there may be
/// more of them.
const EXPLORING: usize = 4;
/// The number of points from which c and A are estimated.
const TRIES: usize = 4096;
/// The largest number of points that a density is fitted to, and that tell modes apart.
const POINTS: usize = 3000;
const FEWER_POINTS: usize = 1000;
/// A density for the last sample is fitted to more of them if many effective points are wanted: to so many
/// times fewer.
const FEWER: usize = 8;
/// The powers of tempered points, relative to that of a round, and the number of points of each.
const POWERS: [f64; 2] = [0.5, 0.2];
const TEMPERED: usize = 500;
/// The share of the weights above the level at which points are split into parts.
const ABOVE: f64 = 0.9;
/// The rounds at power 1: the least and the largest number, and the factor on their points.
const LEAST_REFINED: usize = 2;
const MOST_REFINED: usize = 8;
/// There are more of them if their draws are less than this share of those that the last sample needs.
const MOST_SPENT: f64 = 0.25;
/// They grow by this factor from one to the next, up to a number of times, and more slowly while places are
/// found that their densities lacked.
const GROWTH: f64 = 1.5;
const MOST_GROWN: usize = 5;
const SLOWER: usize = 4;
/// The expected ratio of the inefficiencies of a round and the one before.
const GAIN: [f64; 2] = [0.5, 0.85];
/// The number of epochs of a regression: at most so many points are seen in all, as far as its limits allow.
const MOST_SEEN: usize = 1_200_000;
const LEAST_EPOCHS: usize = 8;
const MOST_EPOCHS: usize = 60;
/// If the last rounds had little use for a regression, there is one in every such round only.
const LITTLE_USE: f64 = 0.9;
const EVERY: usize = 4;
/// The least number of points with a likelihood above 0 that a density is fitted to, per dimension.
const EACH: usize = 4;
/// The effective number of points of a cluster.
const OF_CLUSTER: f64 = 20.0;
/// The power of wider densities relative to that of a round, their share of a round, and their least δ.
const WIDER: f64 = 0.35;
const WIDER_SHARE: f64 = 0.2;
const WIDER_DEFENCE: f64 = 0.3;
/// The share of these that follows the curves of the density for the power of the round, and the share of a
/// round that is spread evenly along these curves.
const ALONG: f64 = 0.6;
const EVEN_SHARE: f64 = 0.05;
/// The share of a round about the highest points, and their effective number, per dimension and in all.
/// At the power 1 there are rounds of so many times that number for them alone.
const TOP_SHARE: f64 = 0.2;
const TOP_EACH: f64 = 2.0;
const TOP_LEAST: f64 = 20.0;
const TOP_ROUND: f64 = 3.0;
/// The shares of the wider density in the last sample that are tried; the largest that a few rounds asked
/// for is taken, and so with δ.
const INSURANCES: [f64; 4] = [0.05, 0.15, 0.3, 0.5];
const MEMORY: usize = 3;
/// Rounds grow when the calls per effective point, times this, are above 1: up to a factor.
const GOOD: f64 = 0.5;
const MOST_GROWTH: f64 = 4.0;
/// There are no more of them when they can raise the evidence by no more than this share, or after
/// so many rounds, with some more for each last sample that was given up.
const REST: f64 = 0.01;
const MOST_TOPPING: u32 = 30;
const MORE_TOPPING: u32 = 5;
/// They end early if so many of them are far from it: at this multiple of their mean rate, that share would not be
/// reached.
const FEW_TOPPING: u32 = 8;
const FASTER: f64 = 2.0;
/// Known points where the target is so many times the density have laws of their own; passes over them,
/// the largest number of a pass, and their share of a density. Points of a smaller share of the target
/// do not count.
pub(super) const HEAVY: f64 = 20.0;
const COVERS: usize = 3;
const MOST_HEAVY: usize = 10;
const HEAVY_SHARE: f64 = 0.05;
const LEAST_COVERED: f64 = 1e-6;
/// The largest share of laws of a region of such points.
const MOST_REGION: f64 = 0.3;
/// Rounds go on while a new point with more than this share of the target is such a one, up to a number.
const LEAST_FOUND: f64 = 5e-4;
const MOST_COVERING: usize = 24;
/// Rounds go on while a basin is climbed or filled, up to a number, with a search for the peaks of such basins
/// after some of them.
const MOST_CLIMBING: usize = 12;
const LATER: usize = 6;
/// The address of the streams, and the parts of it by purpose.
const ADDRESS: u64 = 1 << 60;
const DRAWS: u64 = 0;
const PEAKS: u64 = 1 << 39;
const RESAMPLED: u64 = 1 << 40;
const THINNING: u64 = 2 << 40;
const KEYS: u64 = 3 << 40;
/// The densities of a round.
const OF_POWER: u64 = 0;
const OF_WIDER: u64 = 1;
const OF_TOP: u64 = 2;
const OF_REGION: u64 = 3;
const OF_CURVES: u64 = 4;

impl Run {
    pub(super) fn stream(&self, purpose: u64, number: u64) -> Stream {
        Stream::new(self.settings.key, Domain::Nested, ADDRESS | purpose | number, 0)
    }

    /// Makes a step.
    pub(super) fn step(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        if self.record.len() as u64 >= self.settings.max_evals {
            self.status = Status::Evals;
            return Ok(());
        }
        match self.phase {
            Phase::Opening => self.open(problem, context),
            Phase::Rising | Phase::Refining => self.round(problem, context),
            Phase::Sampling => self.sample(problem, context),
            Phase::Ended => {
                self.status = Status::Converged;
                Ok(())
            }
        }
    }

    /// Evaluates points, and adds them to the record.
    pub(super) fn evaluate(
        &mut self,
        u: &[f64],
        problem: &Problem,
        context: &Context<'_>,
    ) -> Result<()> {
        let (n, start) = (u.len() / self.circles.len(), self.record.len());
        if start < self.known.len() {
            if start + n > self.known.len() {
                return Err(not_of_this_run());
            }
            if self.record.add_known(u, &self.known, start) {
                if self.record.len() == self.known.len() {
                    self.known.clear();
                }
                return Ok(());
            }
            return Err(not_of_this_run());
        }
        if n > 0 {
            problem.evaluate_together(u, &RefCell::new(1e-6), context, &mut self.answers)?;
            self.record.add(u, &self.answers);
            context.advance(n as u64);
        }
        Ok(())
    }

    /// Draws a round from the prior.
    fn open(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let dim = self.circles.len();
        let n = self.settings.n_round;
        let block = self.rounds.first().map_or(0, |round| round.points.len() / n) as u64;
        let proposal = Proposal::cube(dim);
        let u = proposal.draw(n, &mut self.stream(DRAWS, block << 20), context)?;
        self.evaluate(&u, problem, context)?;
        let all = self.record.len();
        // One round of all points of the prior.
        self.rounds = vec![Round { proposal, power: 0.0, n_draws: all as u64, points: 0..all }];
        self.ln_mixture = vec![ln(all as f64); all];
        let n_possible = self.record.ell.iter().filter(|ell| ell.is_finite()).count();
        let least = EACH * dim + 10;
        if n_possible >= least {
            self.phase = Phase::Rising;
            self.note(0.0, 1.0, all, n_possible as f64 / all as f64);
        } else if block + 1 >= self.settings.max_init_blocks {
            return Err(Error::target(format!(
                "{n_possible} of {all} draws from the prior have a likelihood above 0, and {least} \
                 are needed; give a prior that meets the likelihood, or check that the \
                 log-likelihood is not -inf everywhere"
            )));
        }
        Ok(())
    }

    pub(super) fn note(&mut self, power: f64, defence: f64, n_points: usize, efficiency: f64) {
        self.trace.power.push(power);
        self.trace.defence.push(defence);
        self.trace.n_points.push((n_points + std::mem::take(&mut self.n_tests)) as f64);
        self.trace.efficiency.push(efficiency);
        self.trace.level.push(self.level);
    }

    /// Makes a round: a density is fitted, and points of it are evaluated.
    fn round(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let pending = if let Some(pending) = self.pending.take() {
            pending
        } else {
            self.probe(problem, context)?;
            let is_first =
                self.explores() && self.rounds.len() == EXPLORING && !self.is_searched[0];
            let mut about_peaks = None;
            if is_first || self.is_search_due() {
                let Some(peaks) = self.find_peaks(problem, context)? else { return Ok(()) };
                let mut stream = self.stream(DRAWS, PEAKS | u64::from(self.is_searched[1]) << 20);
                about_peaks = self.about_peaks(peaks, &mut stream, problem, context)?;
            }
            match about_peaks {
                Some(pending) => pending,
                None => self.prepare(context)?,
            }
        };
        if let Err(error) = self.evaluate(&pending.u, problem, context) {
            self.pending = Some(pending);
            return Err(error);
        }
        let Pending { proposal, power, u, n_draws, is_top, tops } = pending;
        self.basins.tried(&tops);
        let n = u.len() / self.circles.len();
        let densities = proposal.densities(&u, context)?;
        let ln_q = &densities.ln_q;
        let old = self.n_explored();
        let round = Round { proposal, power, n_draws, points: old..old + n };
        self.mix(&round, ln_q, context)?;
        if power == 0.0 {
            let possible = self.record.ell[old..].iter().filter(|ell| ell.is_finite()).count();
            self.note(power, 1.0, n, possible as f64 / n as f64);
        } else if is_top {
            let new = &self.record.ell[old..];
            let above = new.iter().filter(|ell| **ell >= self.level).count();
            self.n_topping += 1;
            self.note(power, 1.0, n, above as f64 / n.max(1) as f64);
        } else {
            self.judge(&round, old, &densities);
        }
        self.rounds.push(round);
        Ok(())
    }

    /// Adds a round, with the ln of its density at its points, to the mixture of all.
    pub(super) fn mix(&mut self, round: &Round, ln_q: &[f64], context: &Context<'_>) -> Result<()> {
        let (dim, old, ln_n) = (self.circles.len(), self.n_explored(), ln(round.n_draws as f64));
        // The new density at the old points, and all at the new ones.
        let mut mixture = self.ln_mixture.clone();
        let of_old = round.proposal.ln_q_of_record(&self.record.u[..old * dim], context)?;
        add_density(round, of_old, &mut mixture);
        let u = &self.record.u[round.points.start * dim..round.points.end * dim];
        let mut sums: Vec<f64> = ln_q.iter().map(|ln_q| ln_n + ln_q).collect();
        let before = self.rounds.iter().filter(|before| before.points != round.points);
        for before in before {
            add_density(before, before.proposal.densities(u, context)?.ln_q, &mut sums);
        }
        mixture.extend(sums);
        self.ln_mixture = mixture;
        Ok(())
    }

    /// Learns from the new points of a round, those from `old` on, how good its density was.
    fn judge(&mut self, round: &Round, old: usize, densities: &Densities) {
        let new = &self.record.ell[old..];
        let ln_target: Vec<f64> =
            new.iter().map(|ell| if ell.is_finite() { round.power * ell } else { *ell }).collect();
        let mut cost = f64::INFINITY;
        if let Some(estimate) = Estimate::new(&ln_target, &densities.ln_q, round.n_draws) {
            let main = round.proposal.main();
            let weights = &estimate.weights;
            let defence = main.best_defence(&densities.parts[0], &ln_target, weights);
            // The mean of the target over the density of the last sample, by the weights of these points.
            let ratios = |insurance: f64| -> Vec<f64> {
                let shares = round.proposal.last_shares(insurance);
                let ln_last = round.proposal.ln_q_of(&densities.parts, &shares);
                let terms = ln_target.iter().zip(&ln_last);
                terms.map(|(y, ln_q)| exp(y - ln_q - estimate.log_evidence)).collect()
            };
            let cost_with = |insurance: f64| {
                let terms = weights.iter().zip(ratios(insurance));
                terms.map(|(w, ratio)| w * ratio).sum::<f64>() / round.n_draws as f64
            };
            let costs = INSURANCES.map(cost_with);
            let at =
                (0..costs.len()).fold(0, |at, k| if costs[k] < 0.98 * costs[at] { k } else { at });
            cost = costs[at];
            self.chosen.push([defence, INSURANCES[at]]);
            // What a single round does not need, another one may have needed.
            let last = &self.chosen[self.chosen.len().saturating_sub(MEMORY)..];
            self.defence = last.iter().fold(0.0, |most, [defence, _]| most.max(*defence));
            self.insurance = last.iter().fold(0.0, |most, [_, insurance]| most.max(*insurance));
            // Whether the density lacks a place where a point was found.
            let ratio = ratios(self.insurance);
            let least = LEAST_FOUND * round.n_draws as f64;
            let mut found = weights.iter().zip(&ratio);
            let is_found = found.any(|(w, ratio)| *ratio > HEAVY && *w > least);
            self.n_calm = if is_found { 0 } else { self.n_calm + 1 };
            self.n_lacking += u32::from(is_found && round.power == 1.0);
        }
        self.note(round.power, round.proposal.main().defence(), new.len(), 1.0 / cost);
        // Densities that fit badly need more points.
        self.growth = (self.growth * (GOOD * cost).clamp(1.0, MOST_GROWTH)).sqrt();
        if round.power == 1.0 {
            self.phase = Phase::Refining;
            self.costs.push((cost, round.n_draws as f64));
            if !self.pays() {
                self.phase = Phase::Sampling;
            }
        }
    }

    /// The calls of the last sample per effective point, by the last two rounds.
    pub(super) fn cost(&self) -> f64 {
        let last = &self.costs[self.costs.len().saturating_sub(2)..];
        let n: f64 = last.iter().map(|(_, n)| n).sum();
        last.iter().map(|(cost, n)| cost * n).sum::<f64>() / n
    }

    /// Whether another round at power 1 saves more points of the last sample than it takes.
    fn pays(&self) -> bool {
        let n = self.costs.len();
        if n < LEAST_REFINED
            || (self.n_calm == 0 && n < MOST_COVERING)
            || (self.n_open > 0 && n < MOST_CLIMBING)
            || self.is_search_due()
            || self.tops()
        {
            return true;
        }
        let spent: f64 = self.costs.iter().map(|(_, draws)| draws).sum();
        let expected = self.settings.n_effective as f64 * self.cost();
        if n >= MOST_REFINED && spent > MOST_SPENT * expected {
            return false;
        }
        let [(before, _), (last, _)] = [self.costs[n - 2], self.costs[n - 1]];
        let ratio = ((last - 1.0) / (before - 1.0).max(1e-6)).clamp(GAIN[0], GAIN[1]);
        let saved = self.settings.n_effective as f64 * (self.cost() - 1.0) * (1.0 - ratio);
        saved > self.n_of_round() as f64
    }

    /// Whether a search for the peaks of basins with too few points is due.
    fn is_search_due(&self) -> bool {
        self.n_open > 0 && self.costs.len() >= LATER && !self.is_searched[1]
    }

    /// Whether a round about the highest points is due: once a round found no place that the density
    /// lacked.
    fn tops(&self) -> bool {
        !self.is_topped
            && self.n_calm > 0
            && self.n_topping < self.most_topping()
            && !self.is_far_below()
    }

    fn most_topping(&self) -> u32 {
        MOST_TOPPING + MORE_TOPPING * self.n_given_up
    }

    /// Whether the rounds about the highest points so far are too slow: those that are left would not bring
    /// what the likelihoods above them could add below the share at which they end.
    pub(super) fn is_far_below(&self) -> bool {
        let [first, least] = self.ln_rests;
        let n = self.n_topping;
        let left = f64::from(self.most_topping().saturating_sub(n));
        n >= FEW_TOPPING && least - ln(REST) > FASTER * left * (first - least) / f64::from(n)
    }

    /// The number of draws of a round before it grows to refine a density.
    fn size(&self) -> f64 {
        self.settings.n_round as f64 * self.growth
    }

    /// The number of draws of the next round.
    fn n_of_round(&self) -> usize {
        let n = self.size();
        // Places that are lacked again and again tell that a density needs more points.
        let n_rounds = self.costs.len();
        let calm = self.n_calm.max(n_rounds / SLOWER);
        let grown = if self.n_open > 0 { 0 } else { n_rounds.min(calm) };
        (n * GROWTH.powi(grown.min(MOST_GROWN) as i32)) as usize
    }

    /// Fits the density of the next round, and draws from it.
    fn prepare(&mut self, context: &Context<'_>) -> Result<Pending> {
        let number = self.rounds.len() as u64;
        if self.explores() && self.basins.all().len() > 1 && self.rounds.len() < EXPLORING {
            let (dim, n) = (self.circles.len(), self.settings.n_round);
            let proposal = Proposal::cube(dim);
            let u = proposal.draw(n, &mut self.stream(DRAWS, number << 20), context)?;
            return Ok(Pending {
                proposal,
                power: 0.0,
                u,
                n_draws: n as u64,
                is_top: false,
                tops: Vec::new(),
            });
        }
        let wanted = (WANTED * self.size()).max(OF_CLUSTER * self.n_clusters as f64);
        let fewer = 0.5_f64.powi((self.n_stalled / PATIENCE) as i32);
        let wanted = (wanted * fewer).max(1.5);
        let ell = &self.record.ell[..self.n_explored()];
        let power = power_of(ell, &self.ln_mixture, self.power, wanted);
        self.n_stalled =
            if power > 1.01 * self.power || power == 1.0 { 0 } else { self.n_stalled + 1 };
        self.power = power;
        self.raise_level();
        let mut stream = self.stream(DRAWS, number << 20);
        if self.phase == Phase::Refining
            && self.tops()
            && let Some(top) = self.top(self.tree.clone(), &mut stream, context)?
        {
            if self.n_topping == 0 {
                self.ln_rests = [ln(self.rest); 2];
            }
            let n = (TOP_ROUND * self.n_top()) as usize;
            let proposal = Proposal::new(vec![top], vec![1.0]);
            let u = proposal.draw(n, &mut stream, context)?;
            return Ok(Pending {
                proposal,
                power,
                u,
                n_draws: n as u64,
                is_top: true,
                tops: Vec::new(),
            });
        }
        let n = self.n_of_round();
        let (search, n_open) = self.search(power, n);
        self.n_open = n_open;
        let tops = search.as_ref().map_or_else(Vec::new, |search| search.tops.clone());
        let proposal = self.learn(power, !self.is_topped, search, context)?;
        self.tree = self.tree_of(proposal.main());
        let u = proposal.draw(n, &mut stream, context)?;
        Ok(Pending { proposal, power, u, n_draws: n as u64, is_top: false, tops })
    }

    /// Whether all rounds so far are draws from the prior.
    pub(super) fn explores(&self) -> bool {
        self.rounds.iter().all(|round| round.power == 0.0)
    }

    /// The effective number of the highest points.
    fn n_top(&self) -> f64 {
        TOP_EACH * self.circles.len() as f64 + TOP_LEAST
    }

    /// The density of the highest points, in coordinates that are straightened by a tree if one is given.
    fn top(
        &self,
        tree: Option<Arc<Tree>>,
        stream: &mut Stream,
        context: &Context<'_>,
    ) -> Result<Option<Component>> {
        let dim = self.circles.len();
        let ell = &self.record.ell[..self.n_explored()];
        let mut of_top = weights(ell, &self.ln_mixture, 0.0);
        of_top.iter_mut().zip(ell).for_each(|(w, ell)| {
            if *ell < self.level {
                *w = 0.0;
            }
        });
        match self.fit(&of_top, 0.0, OF_TOP, tree, context)? {
            Some(density) => Component::new(dim, density, None, 1.0, 0, stream, context).map(Some),
            None => Ok(None),
        }
    }

    /// Some points drawn by their weights, of which none counts much more than others.
    fn few_points(&self, weights: &[f64]) -> Result<Vec<f64>> {
        let dim = self.circles.len();
        let mut weights = weights.to_vec();
        cut(&mut weights, WANTED * self.size());
        let size = (ess(&weights) as usize).clamp(2 * dim + 2, FEWER_POINTS);
        let mut stream = self.stream(RESAMPLED, self.rounds.len() as u64 | OF_CURVES << 20);
        let chosen = resample(&weights, size, Scheme::Systematic, &mut stream)?;
        let rows = chosen.iter().flat_map(|&i| &self.record.u[i * dim..(i + 1) * dim]);
        Ok(rows.copied().collect())
    }

    /// The tree of a density, if coordinates have no circles, which may be cut in another place by the next.
    fn tree_of(&self, component: &Component) -> Option<Arc<Tree>> {
        let density = component.density().filter(|_| !self.circles.contains(&true));
        density.and_then(Density::branches).cloned()
    }

    /// Raises the level above which the highest points lie, as far as enough of them are left.
    fn raise_level(&mut self) {
        let n = self.n_explored();
        let ell = &self.record.ell[..n];
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| ell[b].total_cmp(&ell[a]));
        let wanted = self.n_top();
        let drawn = order.iter().find(|i| self.ln_mixture[**i].is_finite());
        let top = drawn.map_or(f64::NEG_INFINITY, |&i| ell[i]);
        let (mut sum, mut squares) = (0.0, 0.0);
        for &i in order.iter().filter(|i| self.ln_mixture[**i].is_finite()) {
            let mass = exp(-self.ln_mixture[i]);
            sum += mass;
            squares += mass * mass;
            self.level = ell[i];
            if sum * sum >= wanted * squares {
                break;
            }
        }
        let logs = ell.iter().zip(&self.ln_mixture).map(|(ell, ln_q)| ell - ln_q);
        let log_z = logs.fold(f64::NEG_INFINITY, ln_add);
        self.rest = exp(top + ln(sum) - log_z);
        self.ln_rests[1] = self.ln_rests[1].min(ln(self.rest));
        self.is_topped = self.rest < REST || self.level == top;
    }

    /// Fits densities to all points: for a power of the likelihood, for a smaller power, and for the
    /// highest points if asked for, with that of a search.
    pub(super) fn learn(
        &mut self,
        power: f64,
        with_top: bool,
        search: Option<Search>,
        context: &Context<'_>,
    ) -> Result<Proposal> {
        let (dim, n, number) = (self.circles.len(), self.n_explored(), self.rounds.len() as u64);
        let ell = &self.record.ell[..n];
        let of_power = weights(ell, &self.ln_mixture, power);
        let Some(mut density) = self.fit(&of_power, power, OF_POWER, None, context)? else {
            return Ok(Proposal::cube(dim));
        };
        self.n_clusters = density.n_clusters();
        // The weights of the parts are adapted to the last round.
        let last = self.rounds.last().map_or(n..n, |round| round.points.clone());
        let u = &self.record.u[last.start * dim..last.end * dim];
        let fresh = &of_power[last];
        // Those about peaks are no draws of the target of any power.
        let about_peaks = self.rounds.len() > EXPLORING
            && self.rounds.last().is_some_and(|round| round.power == 0.0);
        if self.rounds.len() > 1 && !about_peaks && ess(fresh) > 30.0 {
            density.adapt(u, fresh, context)?;
        }
        let centres = self.cover(&mut density, &of_power, context)?;
        let regression =
            if self.is_thinned() { self.regress(&density, power, context)? } else { None };
        let regression = regression.map(Arc::new);
        let thinning = |scale: f64| regression.as_ref().map(|of| (Arc::clone(of), scale));
        let mut stream = self.stream(THINNING, number);
        let main =
            Component::new(dim, density, thinning(1.0), self.defence, TRIES, &mut stream, context)?;
        let main = main.with_centres(centres);
        let (mut components, mut shares) = (vec![main], vec![1.0]);
        let of_wider = weights(ell, &self.ln_mixture, WIDER * power);
        let mut evenly = None;
        if let Some(mut density) = self.fit(&of_wider, WIDER * power, OF_WIDER, None, context)? {
            // A circle may be cut elsewhere than in the first density.
            if !self.circles.contains(&true)
                && let Some(first) = components[0].density()
            {
                let rows = self.few_points(&of_wider)?;
                density.add_along(first, &rows, ALONG);
                evenly = first.evenly_along(&rows);
            }
            let wider = Component::new(
                dim,
                density,
                thinning(WIDER),
                self.defence.max(WIDER_DEFENCE),
                TRIES,
                &mut stream,
                context,
            )?;
            components.push(wider);
            shares.push(WIDER_SHARE);
            if let Some(density) = evenly {
                components.push(Component::new(dim, density, None, 1.0, 0, &mut stream, context)?);
                shares.push(EVEN_SHARE);
            }
        }
        if with_top
            && let Some(top) = self.top(self.tree_of(&components[0]), &mut stream, context)?
        {
            components.push(top);
            shares.push(TOP_SHARE);
        }
        if let Some(Search { density, share, .. }) = search {
            components.push(Component::new(dim, density, None, 1.0, 0, &mut stream, context)?);
            shares.push(share);
        }
        shares[0] -= shares[1..].iter().sum::<f64>();
        Ok(Proposal::new(components, shares))
    }

    /// Adds laws to a density about known points where it is far too low; returns their places in the record
    /// and the ln of the density there without these laws.
    ///
    /// By the densities about it a point would lose its weight, although it was drawn from others, and it
    /// stands for more than what is next to it.
    fn cover(
        &self,
        density: &mut Density,
        of_power: &[f64],
        context: &Context<'_>,
    ) -> Result<Vec<(usize, f64)>> {
        let mut centres = Vec::new();
        let dim = self.circles.len();
        let total: f64 = of_power.iter().sum();
        let chosen: Vec<usize> =
            (0..of_power.len()).filter(|&i| of_power[i] > LEAST_COVERED * total).collect();
        let row = |i: usize| &self.record.u[i * dim..(i + 1) * dim];
        let u: Vec<f64> = chosen.iter().flat_map(|&i| row(i)).copied().collect();
        for _ in 0..COVERS {
            let ln_g = density.ln_densities(&u, context)?;
            // The target over the density: weights are relative to the mixture of all rounds.
            let mut ratios: Vec<(f64, usize)> = chosen
                .iter()
                .zip(&ln_g)
                .map(|(&i, ln_g)| (ln(of_power[i] / total) + self.ln_mixture[i] - ln_g, i))
                .filter(|(ratio, _)| *ratio > ln(HEAVY))
                .collect();
            if ratios.is_empty() {
                break;
            }
            let heavy: Vec<f64> = ratios.iter().map(|&(_, i)| of_power[i]).collect();
            let size = ess(&heavy) as usize;
            if size > 2 * dim + 2 {
                // They are a region that all laws lack.
                let size = size.min(FEWER_POINTS);
                let mut stream = self.stream(RESAMPLED, self.rounds.len() as u64 | OF_REGION << 20);
                let drawn = resample(&heavy, size, Scheme::Systematic, &mut stream)?;
                let rows: Vec<f64> =
                    drawn.iter().flat_map(|&k| row(ratios[k].1)).copied().collect();
                let u: Vec<f64> = ratios.iter().flat_map(|&(_, i)| row(i)).copied().collect();
                let known = Weighted { u: &u, weights: &heavy };
                let share = (heavy.iter().sum::<f64>() / total).clamp(HEAVY_SHARE, MOST_REGION);
                if density.add_region(&rows, known, share, context)? {
                    continue;
                }
            }
            ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
            let about: Vec<f64> =
                ratios.iter().take(MOST_HEAVY).flat_map(|&(_, i)| row(i)).copied().collect();
            density.add_about(&about, HEAVY_SHARE);
            centres.extend(ratios.iter().take(MOST_HEAVY).map(|&(_, i)| i));
        }
        centres.sort_unstable();
        centres.dedup();
        let rows: Vec<f64> = centres.iter().flat_map(|&i| row(i)).copied().collect();
        let lns = density.ln_without_own(&rows, context)?;
        Ok(centres.into_iter().zip(lns).collect())
    }

    /// Fits a density to weighted points, with wider laws for smaller powers of the likelihood.
    fn fit(
        &self,
        of_power: &[f64],
        power: f64,
        which: u64,
        tree: Option<Arc<Tree>>,
        context: &Context<'_>,
    ) -> Result<Option<Density>> {
        let (dim, n) = (self.circles.len(), self.n_explored());
        let (u, ell) = (&self.record.u[..n * dim], &self.record.ell[..n]);
        let row = |i: usize| &u[i * dim..(i + 1) * dim];
        let mut stream = self.stream(RESAMPLED, self.rounds.len() as u64 | which << 20);
        let uncut = of_power;
        let mut of_power = of_power.to_vec();
        cut(&mut of_power, WANTED * self.size());
        let of_power = &of_power;
        let many = POINTS.max(self.settings.n_effective / FEWER);
        let most = if power == 1.0 { many } else { FEWER_POINTS };
        let size = (ess(of_power) as usize).clamp(2 * dim + 2, most);
        let mut resampled = |weights: &[f64], size: usize| -> Result<Vec<f64>> {
            let chosen = resample(weights, size, Scheme::Systematic, &mut stream)?;
            Ok(chosen.iter().flat_map(|&i| row(i)).copied().collect())
        };
        let rows = resampled(of_power, size)?;
        let mut tempered = Vec::new();
        for relative in POWERS {
            let mut weights = weights(ell, &self.ln_mixture, relative * power);
            cut(&mut weights, WANTED * self.size());
            let size = (ess(&weights) as usize).clamp(2 * dim + 2, TEMPERED);
            tempered.extend(resampled(&weights, size)?);
        }
        let most = if which == OF_TOP { FEWER_POINTS } else { POINTS };
        let (above, log_x) = self.above(of_power, most);
        let target = Target {
            points: &rows,
            tempered: &tempered,
            above: &above,
            uncut: &[],
            log_x: log_x.min(0.0),
            weighted: Some(Weighted { u, weights: uncut }),
            tree,
        };
        fit(target, &self.circles, self.settings.key, context)
    }

    /// The points with most of the weights, but no more than `most`, and the ln of their prior mass.
    fn above(&self, weights: &[f64], most: usize) -> (Points, f64) {
        let dim = self.circles.len();
        let ell = &self.record.ell;
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| ell[b].total_cmp(&ell[a]));
        let total: f64 = weights.iter().sum();
        let (mut sum, mut mass) = (0.0, 0.0);
        let mut above = Points::new(dim, 0);
        let origin = Origin { birth: f64::NEG_INFINITY, lineage: 0, family: 0 };
        for &i in order.iter().filter(|i| self.ln_mixture[**i].is_finite()) {
            let few = above.len() < 2 * dim + 2;
            if (sum > ABOVE * total && !few) || above.len() >= most || ell[i] == f64::NEG_INFINITY {
                break;
            }
            sum += weights[i];
            mass += exp(-self.ln_mixture[i]);
            above.push(&self.record.u[i * dim..(i + 1) * dim], &[], ell[i], &[], origin);
        }
        (above, ln(mass))
    }

    /// Whether the next density is thinned by a regression: the last sample always is.
    fn is_thinned(&self) -> bool {
        let last = &self.chosen[self.chosen.len().saturating_sub(MEMORY)..];
        let is_of_use =
            last.len() < MEMORY || last.iter().any(|[defence, _]| *defence < LITTLE_USE);
        is_of_use || self.phase == Phase::Sampling || self.chosen.len().is_multiple_of(EVERY)
    }

    /// Trains a regression of a power of the likelihood on all points; `None` if they are too few.
    fn regress(
        &self,
        density: &Density,
        power: f64,
        context: &Context<'_>,
    ) -> Result<Option<Regression>> {
        let (dim, n) = (self.circles.len(), self.n_explored());
        if n < 4 * (2 * dim + 1) + 20 {
            return Ok(None);
        }
        let map = Straight { cut: density.cut().clone(), tree: density.branches().cloned() };
        let mut u = self.record.u[..n * dim].to_vec();
        // The target's density in the coordinates of the regression.
        let slopes = map.apply(&mut u, dim);
        let y: Vec<f64> = slopes
            .iter()
            .zip(&self.record.ell)
            .map(|(slope, ell)| if ell.is_finite() { power * ell - slope } else { *ell })
            .collect();
        let max_epochs = (MOST_SEEN / n).clamp(LEAST_EPOCHS, MOST_EPOCHS);
        let options = TrainOptions {
            widths: vec![32; 2],
            n_heads: 3,
            learning_rate: 3e-3,
            batch: 64,
            max_epochs,
            patience: max_epochs.div_ceil(3),
            validation: 0.1,
        };
        let key = self.stream(KEYS, self.rounds.len() as u64).next_u64();
        let fitted = train(Rows::new(&u, dim), &y, &options, key, context)?;
        Ok(Some(Regression { fitted, map }))
    }
}

fn not_of_this_run() -> Error {
    Error::argument("state", "its points are not those of a run with these settings")
}

/// Adds n q of a round to sums, in logarithms.
fn add_density(round: &Round, ln_q: Vec<f64>, sums: &mut [f64]) {
    let ln_n = ln(round.n_draws as f64);
    sums.iter_mut().zip(ln_q).for_each(|(sum, ln_q)| *sum = ln_add(*sum, ln_n + ln_q));
}
