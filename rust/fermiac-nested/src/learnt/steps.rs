//! The steps of a run: rounds, and the last sample.

use super::thinned::{Parts, Proposal};
use super::weights::{ess, power_of, weights};
use super::{Estimate, Pending, Phase, Round, Run, Status, ln_add};
use crate::points::{Origin, Points};
use crate::problem::Problem;
use crate::proposals::{Density, Target, fit};
use crate::surrogate::{Fitted, TrainOptions, train};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Scheme, Stream, resample};
use fermiac_base::simd::{exp, ln};
use fermiac_base::{Error, Result};
use std::cell::RefCell;

/// The effective number of points at a power, as a share of those of a round.
const WANTED: f64 = 0.25;
/// Rounds at one power after which fewer are enough.
const PATIENCE: u32 = 3;
/// δ before it is known how good a regression is.
pub(super) const FIRST_DEFENCE: f64 = 0.5;
/// The number of points from which c and A are estimated.
const TRIES: usize = 4096;
/// The relative error of A in the last sample, and the most points for it.
const LAST_ERROR: f64 = 0.002;
const LAST_TRIES: usize = 400_000;
/// The largest number of points that a density is fitted to, and that tell modes apart.
const POINTS: usize = 3000;
/// The powers of tempered points, relative to that of a round, and the number of points of each.
const POWERS: [f64; 2] = [0.5, 0.2];
const TEMPERED: usize = 500;
/// The share of the weights above the level at which points are split into parts.
const ABOVE: f64 = 0.9;
/// The rounds at power 1: the least and the largest number, and the factor on their points.
const LEAST_REFINED: usize = 2;
const MOST_REFINED: usize = 8;
const GROWTH: f64 = 1.5;
/// The expected ratio of the inefficiencies of a round and the one before.
const GAIN: [f64; 2] = [0.5, 0.85];
/// Draws of a block of the last sample, and the factor on their expected number.
const BLOCK: u64 = 1024;
const SPARE: f64 = 1.05;
/// The last sample has at most so many times the wanted points.
const MOST: f64 = 20.0;
/// The least number of points with a likelihood above 0 that a density is fitted to, per dimension.
const EACH: usize = 4;
/// The address of the streams, and the parts of it by purpose.
const ADDRESS: u64 = 1 << 60;
const DRAWS: u64 = 0;
const RESAMPLED: u64 = 1 << 40;
const THINNING: u64 = 2 << 40;
const KEYS: u64 = 3 << 40;
const LAST: u64 = 4 << 40;
const VOLUME: u64 = 5 << 40;

impl Run {
    fn stream(&self, purpose: u64, number: u64) -> Stream {
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
    fn evaluate(&mut self, u: &[f64], problem: &Problem, context: &Context<'_>) -> Result<()> {
        let (n, start) = (u.len() / self.circles.len(), self.record.len());
        if start < self.known.len() {
            if start + n > self.known.len() {
                return Err(not_of_this_run());
            }
            if self.record.add_known(u, &self.known, start) {
                return Ok(());
            }
            return Err(not_of_this_run());
        }
        self.known.clear();
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
        let block = self.rounds.first().map_or(0, |round| round.n_points / n) as u64;
        let proposal = Proposal::cube(dim);
        let u = proposal.draw(n, &mut self.stream(DRAWS, block << 20), context)?;
        self.evaluate(&u, problem, context)?;
        let all = self.record.len();
        // One round of all points of the prior.
        self.rounds = vec![Round { proposal, power: 0.0, n_draws: all as u64, n_points: all }];
        self.ln_mixture = vec![ln(all as f64); all];
        self.own_ln_q = vec![0.0; all];
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

    fn note(&mut self, power: f64, defence: f64, n_points: usize, efficiency: f64) {
        self.trace.power.push(power);
        self.trace.defence.push(defence);
        self.trace.n_points.push(n_points as f64);
        self.trace.efficiency.push(efficiency);
    }

    /// Makes a round: a density is fitted, and points of it are evaluated.
    fn round(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => self.prepare(context)?,
        };
        if let Err(error) = self.evaluate(&pending.u, problem, context) {
            self.pending = Some(pending);
            return Err(error);
        }
        let Pending { proposal, power, u, n_draws } = pending;
        let n = u.len() / self.circles.len();
        let parts = proposal.parts(&u, context)?;
        let ln_q = proposal.ln_densities(&u, context)?;
        let round = Round { proposal, power, n_draws, n_points: n };
        let old = self.n_explored();
        let dim = self.circles.len();
        // The new density at the old points, and all at the new ones.
        add_density(&round, &self.record.u[..old * dim], &mut self.ln_mixture, context)?;
        let mut sums: Vec<f64> = ln_q.iter().map(|ln_q| ln(n_draws as f64) + ln_q).collect();
        for before in &self.rounds {
            add_density(before, &u, &mut sums, context)?;
        }
        self.ln_mixture.extend(sums);
        self.own_ln_q.extend_from_slice(&ln_q);
        let ell = &self.record.ell[old..];
        self.judge(&round, ell.to_vec(), &parts, &ln_q);
        self.rounds.push(round);
        Ok(())
    }

    /// Learns from the new points of a round how good its density was.
    fn judge(&mut self, round: &Round, ell: Vec<f64>, parts: &[Parts], ln_q: &[f64]) {
        let tempered: Vec<f64> = ell
            .iter()
            .map(|ell| if ell.is_finite() { round.power * ell } else { *ell })
            .collect();
        let share = match Estimate::new(&tempered, ln_q, round.n_draws) {
            Some(estimate) => {
                let logs: Vec<f64> = tempered.iter().zip(ln_q).map(|(y, ln_q)| y - ln_q).collect();
                if round.proposal.is_thinned() {
                    self.defence = round.proposal.best_defence(parts, &logs);
                    // It may pay later.
                    self.defence = self.defence.min(0.9);
                }
                estimate.share()
            }
            None => 0.0,
        };
        self.note(round.power, round.proposal.defence(), ell.len(), share);
        if round.power == 1.0 {
            self.phase = Phase::Refining;
            self.shares.push(share);
            if !self.pays() {
                self.phase = Phase::Sampling;
            }
        }
    }

    /// Whether another round at power 1 saves more points of the last sample than it takes.
    fn pays(&self) -> bool {
        let n = self.shares.len();
        if n < LEAST_REFINED {
            return true;
        }
        if n >= MOST_REFINED {
            return false;
        }
        let cost = |share: f64| 1.0 / share.max(1e-6) - 1.0;
        let (last, before) = (cost(self.shares[n - 1]), cost(self.shares[n - 2]));
        let ratio = (last / before.max(1e-6)).clamp(GAIN[0], GAIN[1]);
        let saved = self.settings.n_effective as f64 * last * (1.0 - ratio);
        saved > self.n_of_round() as f64
    }

    /// The number of draws of the next round.
    fn n_of_round(&self) -> usize {
        let n = self.settings.n_round as f64;
        (n * GROWTH.powi(self.shares.len() as i32)) as usize
    }

    /// Fits the density of the next round, and draws from it.
    fn prepare(&mut self, context: &Context<'_>) -> Result<Pending> {
        let number = self.rounds.len() as u64;
        let wanted = WANTED * self.settings.n_round as f64;
        let fewer = 0.5_f64.powi((self.n_stalled / PATIENCE) as i32);
        let wanted = (wanted * fewer).max(1.5);
        let ell = &self.record.ell[..self.n_explored()];
        let power = power_of(ell, &self.ln_mixture, self.power, wanted);
        self.n_stalled = if power > 1.01 * self.power || power == 1.0 { 0 } else { self.n_stalled + 1 };
        self.power = power;
        let proposal = self.learn(power, self.defence, context)?;
        let n = self.n_of_round();
        let u = proposal.draw(n, &mut self.stream(DRAWS, number << 20), context)?;
        Ok(Pending { proposal, power, u, n_draws: n as u64 })
    }

    /// Fits a density to all points for a power of the likelihood.
    fn learn(&self, power: f64, defence: f64, context: &Context<'_>) -> Result<Proposal> {
        let (dim, n, number) =
            (self.circles.len(), self.n_explored(), self.rounds.len() as u64);
        let (u, ell) = (&self.record.u[..n * dim], &self.record.ell[..n]);
        let row = |i: usize| &u[i * dim..(i + 1) * dim];
        let of_power = weights(ell, &self.ln_mixture, power);
        let mut stream = self.stream(RESAMPLED, number);
        let size = (ess(&of_power) as usize).clamp(2 * dim + 2, POINTS);
        let mut resampled = |weights: &[f64], size: usize| -> Result<Vec<f64>> {
            let chosen = resample(weights, size, Scheme::Systematic, &mut stream)?;
            Ok(chosen.iter().flat_map(|&i| row(i)).copied().collect())
        };
        let rows = resampled(&of_power, size)?;
        let mut tempered = Vec::new();
        for relative in POWERS {
            let weights = weights(ell, &self.ln_mixture, relative * power);
            let size = (ess(&weights) as usize).clamp(2 * dim + 2, TEMPERED);
            tempered.extend(resampled(&weights, size)?);
        }
        let (above, log_x) = self.above(&of_power);
        let target =
            Target { points: &rows, tempered: &tempered, above: &above, log_x: log_x.min(0.0) };
        let key = self.settings.key;
        let Some(mut density) = fit(&target, &self.circles, key, context)? else {
            return Ok(Proposal::cube(dim));
        };
        // The weights of the parts are adapted to the last round.
        let last = self.rounds.last().map_or(0, |round| round.n_points);
        let fresh = &of_power[n - last..];
        if self.rounds.len() > 1 && ess(fresh) > 30.0 {
            density.adapt(&u[(n - last) * dim..], fresh, context)?;
        }
        let fitted =
            if defence < 1.0 { self.regress(&density, power, context)? } else { None };
        let mut stream = self.stream(THINNING, number);
        Proposal::new(dim, density, fitted, defence, TRIES, &mut stream, context)
    }

    /// The points with most of the weights, and the ln of their prior mass.
    fn above(&self, weights: &[f64]) -> (Points, f64) {
        let dim = self.circles.len();
        let ell = &self.record.ell;
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| ell[b].total_cmp(&ell[a]));
        let total: f64 = weights.iter().sum();
        let (mut sum, mut mass) = (0.0, 0.0);
        let mut above = Points::new(dim, 0);
        let origin = Origin { birth: f64::NEG_INFINITY, lineage: 0, family: 0 };
        for &i in &order {
            let few = above.len() < 2 * dim + 2;
            if (sum > ABOVE * total && !few) || above.len() >= POINTS || ell[i] == f64::NEG_INFINITY {
                break;
            }
            sum += weights[i];
            mass += exp(-self.ln_mixture[i]);
            above.push(&self.record.u[i * dim..(i + 1) * dim], &[], ell[i], &[], origin);
        }
        (above, ln(mass))
    }

    /// Trains a regression of a power of the likelihood on all points; `None` if they are too few.
    fn regress(
        &self,
        density: &Density,
        power: f64,
        context: &Context<'_>,
    ) -> Result<Option<Fitted>> {
        let (dim, n) = (self.circles.len(), self.n_explored());
        if n < 4 * (2 * dim + 1) + 20 {
            return Ok(None);
        }
        let mut u = self.record.u[..n * dim].to_vec();
        u.chunks_exact_mut(dim).for_each(|row| density.cut().rotate(row));
        let y: Vec<f64> = self.record.ell[..n]
            .iter()
            .map(|ell| if ell.is_finite() { power * ell } else { *ell })
            .collect();
        let options = TrainOptions {
            widths: vec![32; 2],
            n_heads: 3,
            learning_rate: 3e-3,
            batch: 64,
            max_epochs: 60,
            patience: 20,
            validation: 0.1,
        };
        let key = self.stream(KEYS, self.rounds.len() as u64).next_u64();
        train(Rows::new(&u, dim), &y, &options, key, context).map(Some)
    }

    /// Draws a block of the last sample.
    fn sample(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        if self.wanted == 0 {
            let mut proposal = self.learn(1.0, self.defence, context)?;
            let mut stream = self.stream(VOLUME, 0);
            proposal.refine(LAST_ERROR, LAST_TRIES, &mut stream, context)?;
            let share = self.shares.iter().copied().fold(0.0, f64::max);
            let n_effective = self.settings.n_effective as f64;
            let last = self.rounds.last().map_or((1, 1), |r| (r.n_draws, r.n_points as u64));
            let inside = last.1 as f64 / last.0 as f64;
            let n = SPARE * n_effective / (share.max(1.0 / MOST) * inside.max(0.01));
            self.wanted = (n.ceil() as u64).max(2);
            self.note(1.0, proposal.defence(), 0, f64::NAN);
            self.rounds.push(Round { proposal, power: 1.0, n_draws: 0, n_points: 0 });
        }
        let Some(round) = self.rounds.last() else { return Ok(()) };
        let (done, number) = (round.n_draws, round.n_draws / BLOCK);
        let n = BLOCK.min(self.wanted - done);
        let mut stream = self.stream(LAST, number);
        let u = round.proposal.draw(n as usize, &mut stream, context)?;
        let parts = round.proposal.parts(&u, context)?;
        let ln_q = round.proposal.ln_densities(&u, context)?;
        let thinned: Vec<f64> =
            parts.iter().map(|parts| round.proposal.thinned_share(*parts)).collect();
        self.evaluate(&u, problem, context)?;
        self.last_ln_q.extend(ln_q);
        self.last_thinned.extend(thinned);
        let explored = self.n_explored();
        let all = self.record.len() - explored;
        if let Some(round) = self.rounds.last_mut() {
            round.n_draws += n;
            round.n_points = all;
        }
        let share = Estimate::new(&self.record.ell[explored..], &self.last_ln_q, done + n)
            .map_or(0.0, |estimate| estimate.share());
        if let (Some(n_points), Some(efficiency)) =
            (self.trace.n_points.last_mut(), self.trace.efficiency.last_mut())
        {
            (*n_points, *efficiency) = (all as f64, share);
        }
        if done + n >= self.wanted {
            self.phase = Phase::Ended;
            self.status = Status::Converged;
        }
        Ok(())
    }
}

fn not_of_this_run() -> Error {
    Error::argument("state", "its points are not those of a run with these settings")
}

/// Adds n q of a round at rows to sums, in logarithms.
pub(super) fn add_density(
    round: &Round,
    u: &[f64],
    sums: &mut [f64],
    context: &Context<'_>,
) -> Result<()> {
    let ln_n = ln(round.n_draws as f64);
    let ln_q = round.proposal.ln_densities(u, context)?;
    sums.iter_mut().zip(ln_q).for_each(|(sum, ln_q)| *sum = ln_add(*sum, ln_n + ln_q));
    Ok(())
}
