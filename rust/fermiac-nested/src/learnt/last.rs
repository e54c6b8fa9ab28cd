//! The last sample, from which the evidence is estimated: its draws, and the tests that end it early.

use super::weights::ess;
use super::{EVEN, Estimate, HEAVY_TAIL, Phase, Round, Run, Status};
use crate::problem::Problem;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_target::diagnostics::khat;

/// The relative error of A in the last sample, and the most points for it.
const LAST_ERROR: f64 = 0.002;
const LAST_TRIES: usize = 400_000;
/// Draws of a block of the last sample, and the factor on their expected number.
const BLOCK: u64 = 1024;
const SPARE: f64 = 1.05;
/// The number of its draws is set anew once there are so many.
const LEAST_SIZED: u64 = 1024;
/// The last sample has at most so many times the wanted points.
const MOST: f64 = 10.0;
/// The last sample is given up for more rounds if the tail of its weights has a larger shape, unless they
/// are so even, or if its effective size is less than a share of what is wanted: at these shares of it,
/// and not more often.
const SHORT: f64 = 0.5;
const TESTED: [f64; 3] = [0.15, 0.5, 1.0];
const MOST_GIVEN_UP: u32 = 8;
/// After its first draws the density of the last sample is fitted anew, with one more round, if an
/// effective point costs so many times what it did in the last rounds, and not more often.
const FIRST_DRAWS: u64 = 2 * BLOCK;
const UNEVEN: f64 = 1.5;
const MOST_FITTED_ANEW: u32 = 4;
/// The parts of the addresses of streams, by purpose; those of the rounds are in `steps`.
const LAST: u64 = 4 << 40;
const VOLUME: u64 = 5 << 40;

impl Run {
    /// Draws a block of the last sample.
    pub(super) fn sample(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        if self.wanted == 0 {
            let mut proposal = self.learn(1.0, false, None, context)?;
            proposal.set_shares(proposal.last_shares(self.insurance));
            let mut stream = self.stream(VOLUME, self.n_attempts());
            proposal.refine(LAST_ERROR, LAST_TRIES, &mut stream, context)?;
            let n = SPARE * self.settings.n_effective as f64 * self.cost().clamp(1.0, MOST);
            self.wanted = (n.ceil() as u64).max(2);
            self.note(1.0, proposal.main().defence(), 0, f64::NAN);
            let start = self.n_explored();
            self.rounds.push(Round { proposal, power: 1.0, n_draws: 0, points: start..start });
        }
        let done = self.rounds.last().map_or(0, |round| round.n_draws);
        let number = done / BLOCK;
        if self.is_heavy(done) {
            self.give_up(context)?;
            self.n_given_up += 1;
            self.costs.clear();
            self.n_calm = 0;
            return Ok(());
        }
        if self.is_uneven(done) {
            self.n_fitted_anew += 1;
            return self.give_up(context);
        }
        if !self.is_sized && done as f64 >= TESTED[0] * self.wanted as f64 && done >= LEAST_SIZED {
            self.resize(done);
        }
        if done >= self.wanted {
            self.phase = Phase::Ended;
            self.status = Status::Converged;
            return Ok(());
        }
        let Some(round) = self.rounds.last() else { return Ok(()) };
        let n = BLOCK.min(self.wanted - done);
        let mut stream = self.stream(LAST, self.n_attempts() << 32 | number);
        let u = round.proposal.draw(n as usize, &mut stream, context)?;
        let densities = round.proposal.densities(&u, context)?;
        let thinned = round.proposal.thinned_shares(&densities);
        self.evaluate(&u, problem, context)?;
        self.last_ln_q.extend(densities.ln_q);
        self.last_thinned.resize(thinned.len(), Vec::new());
        for (all, new) in self.last_thinned.iter_mut().zip(thinned) {
            all.extend(new);
        }
        let explored = self.n_explored();
        let all = self.record.len() - explored;
        if let Some(round) = self.rounds.last_mut() {
            round.n_draws += n;
            round.points.end = explored + all;
        }
        let share = Estimate::new(&self.record.ell[explored..], &self.last_ln_q, done + n)
            .map_or(0.0, |estimate| estimate.share());
        if let (Some(n_points), Some(efficiency)) =
            (self.trace.n_points.last_mut(), self.trace.efficiency.last_mut())
        {
            (*n_points, *efficiency) = (all as f64, share);
        }
        Ok(())
    }

    /// Whether few points carry the weights of the last sample so far, of `n` draws: tested at a few
    /// sizes, so that little is lost.
    fn is_heavy(&self, n: u64) -> bool {
        let before = n.saturating_sub(BLOCK);
        let due = TESTED.iter().any(|share| {
            let at = (share * self.wanted as f64) as u64;
            before < at && at <= n
        });
        let many = MOST * self.settings.n_effective as f64;
        if self.n_given_up >= MOST_GIVEN_UP || !due || self.record.len() as f64 > many {
            return false;
        }
        let ell = &self.record.ell[self.n_explored()..];
        let Some(Estimate { mut weights, .. }) = Estimate::new(ell, &self.last_ln_q, n) else {
            return true;
        };
        let size = ess(&weights);
        let is_short =
            size * self.wanted as f64 / (n as f64) < SHORT * self.settings.n_effective as f64;
        is_short || (size < EVEN * weights.len() as f64 && khat(&mut weights) > HEAVY_TAIL)
    }

    /// Whether the first `n` draws of the last sample are far less even than those of the last rounds: fits
    /// differ in quality, and these draws are few.
    fn is_uneven(&self, n: u64) -> bool {
        if n != FIRST_DRAWS || n >= self.wanted || self.n_fitted_anew >= MOST_FITTED_ANEW {
            return false;
        }
        let ell = &self.record.ell[self.n_explored()..];
        Estimate::new(ell, &self.last_ln_q, n)
            .is_none_or(|estimate| n as f64 > UNEVEN * self.cost() * ess(&estimate.weights))
    }

    /// The number of last samples that were begun before.
    fn n_attempts(&self) -> u64 {
        u64::from(self.n_given_up + self.n_fitted_anew)
    }

    /// Sets the number of draws of the last sample by the effective share of the first ones.
    fn resize(&mut self, done: u64) {
        self.is_sized = true;
        let ell = &self.record.ell[self.n_explored()..];
        if let Some(estimate) = Estimate::new(ell, &self.last_ln_q, done) {
            let cost = done as f64 / ess(&estimate.weights);
            let n = SPARE * self.settings.n_effective as f64 * cost.min(MOST);
            self.wanted = (n.ceil() as u64).max(done);
        }
    }

    /// Makes a round of the last sample, and goes on with rounds.
    fn give_up(&mut self, context: &Context<'_>) -> Result<()> {
        let Some(round) = self.rounds.last().cloned() else { return Ok(()) };
        let ln_q = self.last_ln_q.clone();
        self.mix(&round, &ln_q, context)?;
        self.last_ln_q.clear();
        self.last_thinned.clear();
        self.wanted = 0;
        self.is_sized = false;
        self.phase = Phase::Refining;
        Ok(())
    }
}
