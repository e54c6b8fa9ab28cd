//! The end of a run without known densities of its points: independent draws from a density fitted to
//! the posterior, for an importance estimate of the evidence.
//!
//! First a search from the points of the run finds peaks of modes that the chains have lost. Then
//! pilots of draws adapt the density: it is fitted again to the points of each pilot, until one has a
//! good effective sample size. The last pilot tells how many draws the estimate needs. The estimate takes
//! none of the pilots' points, so that its density does not depend on them. An estimate that has hardly
//! any effective points becomes a pilot, and there is another one.

use super::Run;
use super::fitting::{ABOVE, Posterior};
use super::state::{Phase, STATUSES, Status};
use super::survey::further_draws;
use crate::importance::Importance;
use crate::peaks::{Means, Peak, PeakSearch};
use crate::problem::Problem;
use crate::proposals::Density;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;
use std::cell::RefCell;

/// The most draws of the estimate, and those of a pilot, as shares of the run's evaluations.
const SHARE: f64 = 0.1;
const PILOT_SHARE: f64 = 0.02;
/// The least and the largest number of draws of a pilot, and the least of the estimate.
const PILOT: [u64; 2] = [500, 4000];
const FEWEST: u64 = 500;
/// The largest number of pilots, and the relative variance of the weights after which there is another
/// one.
const PILOTS: usize = 8;
const POOR: f64 = 4.0;
/// The largest number of points of the run from which the search begins.
const SEARCHED: usize = 4096;
/// The most calls of the search before it looks for the shapes of peaks, and of all, in draws of a pilot;
/// half of the first ones are tests for valleys.
const CALLS: [usize; 2] = [1, 2];
/// The most further draws from the prior, as a share of the run's evaluations.
const FURTHER_SHARE: f64 = 0.04;
/// The share of the posterior above the level from which on peaks matter.
const MATTERS: f64 = 0.99;
/// The aim for the error of log Z.
const AIM: f64 = 0.01;
/// The estimate is made if its error is expected to be smaller than this many of that by prior
/// masses.
const WORTH: f64 = 0.5;
/// The least effective sample size of a pilot that tells how many draws are needed.
const LEAST_ESS: f64 = 30.0;
/// An estimate of a smaller effective sample size, or a smaller share of its draws, is made once more.
const LEAST_OF_ESTIMATE: f64 = 100.0;
const SPARSE: f64 = 0.02;
/// Draws of one round.
const ROUND: u64 = 4096;
/// The estimate is not made with fewer live points for each cluster: modes may have been lost.
const EACH: usize = 30;
/// The address of the streams of rounds, above those of volumes; the number of addresses of a pilot;
/// and that of the estimate, above the pilots'.
const ADDRESS: u64 = 1 << 59;
const OF_PILOT: u64 = 1 << 32;
const ESTIMATE: u64 = 1 << 40;

/// Points drawn from a density, those within the cube, and the number of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawn {
    pub(super) u: Vec<f64>,
    ell: Vec<f64>,
    /// The ln of their density.
    ln_density: Vec<f64>,
    pub(super) n: u64,
}

/// The state of the stage.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    /// The status of the run after it.
    ended: Status,
    /// The most further draws from the prior.
    further: u64,
    is_searched: bool,
    /// The log-likelihoods that the search asked for.
    answers: Vec<f64>,
    peaks: Vec<Peak>,
    /// The pilots before the last one.
    earlier: Vec<Drawn>,
    pilot: Drawn,
    estimate: Drawn,
    /// The number of draws of each; that of the estimate is 0 until the pilot has ended, and if it is
    /// not worth its calls.
    wanted: [u64; 2],
    /// Whether there was an estimate of too few effective points, which is one of the earlier pilots.
    has_failed: bool,
    is_done: bool,
    /// The share and the number of points of the posterior where the density is too low.
    uncovered: (f64, u64),
    /// The share of the evidence in modes that the run has lost.
    lost_share: f64,
    /// The density, and the number of pilots that it is adapted to. Not saved, since it follows from
    /// the points.
    density: Option<(usize, Density)>,
}

impl Drawn {
    /// Weights relative to their mean, over all draws, its ln, and its relative variance for one draw.
    pub(super) fn weights(&self) -> (Vec<f64>, f64, f64) {
        let logs: Vec<f64> =
            self.ell.iter().zip(&self.ln_density).map(|(ell, density)| ell - density).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let n = self.n as f64;
        if top == f64::NEG_INFINITY {
            return (vec![0.0; logs.len()], top, f64::INFINITY);
        }
        let mut weights: Vec<f64> = logs.iter().map(|log| exp(log - top)).collect();
        let mean = weights.iter().sum::<f64>() / n;
        weights.iter_mut().for_each(|w| *w /= mean);
        let variance = weights.iter().map(|w| w * w).sum::<f64>() / n - 1.0;
        (weights, top + ln(mean), variance)
    }

    /// Whether a point has a likelihood above 0.
    pub(super) fn is_possible(&self) -> bool {
        self.ell.iter().any(|ell| *ell > f64::NEG_INFINITY)
    }

    /// Whether there are draws, and hardly any effective ones.
    fn is_sparse(&self) -> bool {
        let (_, _, variance) = self.weights();
        let n = self.n as f64;
        self.n > 0 && n / (1.0 + variance) < LEAST_OF_ESTIMATE.max(SPARSE * n)
    }

    /// The ln of the mean square of the weights of draws from another density, but for a constant.
    fn spread(&self, density: &Density, context: &Context<'_>) -> Result<f64> {
        let others = density.ln_densities(&self.u, context)?;
        let rows = self.ell.iter().zip(&self.ln_density).zip(&others);
        let logs: Vec<f64> = rows.map(|((ell, own), other)| 2.0 * ell - own - other).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(top + ln(logs.iter().map(|log| exp(log - top)).sum::<f64>()))
    }

    fn persist(&mut self, dim: usize, codec: &mut Codec) -> Result<()> {
        codec.list(&mut self.u)?;
        codec.list(&mut self.ell)?;
        codec.list(&mut self.ln_density)?;
        codec.word(&mut self.n)?;
        let n = self.ell.len();
        codec.require(
            self.u.len() == n * dim
                && self.ln_density.len() == n
                && n as u64 <= self.n
                && self.u.iter().all(|u| (0.0..=1.0).contains(u))
                && self.ell.iter().all(|ell| *ell < f64::INFINITY)
                && self.ln_density.iter().all(|density| density.is_finite()),
        )
    }
}

impl Finish {
    /// The stage before its first evaluation, with so many draws of each pilot, and at most so many further
    /// ones from the prior.
    fn new(ended: Status, pilot: u64, further: u64) -> Self {
        Self {
            ended,
            further,
            is_searched: false,
            answers: Vec::new(),
            peaks: Vec::new(),
            earlier: Vec::new(),
            pilot: Drawn::default(),
            estimate: Drawn::default(),
            wanted: [pilot, 0],
            has_failed: false,
            is_done: false,
            uncovered: (0.0, 0),
            lost_share: 0.0,
            density: None,
        }
    }

    /// The number of evaluations of the stage.
    pub(super) fn n_evals(&self) -> u64 {
        let pilots = self.earlier.iter().chain([&self.pilot]);
        let of_pilots: usize = pilots.map(|drawn| drawn.ell.len()).sum();
        (self.answers.len() + of_pilots + self.estimate.ell.len()) as u64
    }

    /// The estimate, if there is one.
    pub(super) fn evidence(&self) -> Option<Importance> {
        let (weights, log_evidence, variance) = self.estimate.weights();
        if !self.is_done || self.wanted[1] == 0 || log_evidence == f64::NEG_INFINITY {
            return None;
        }
        let n = self.estimate.n as f64;
        let (_, log_tests, of_tests) = self.pilot.weights();
        // The mean over the points within the cube is to be the evidence.
        let scale = log_evidence + ln(weights.len() as f64 / n);
        Some(Importance {
            u: self.estimate.u.clone(),
            ell: self.estimate.ell.clone(),
            log_weights: weights.iter().map(|w| ln(*w) + scale).collect(),
            log_evidence,
            log_evidence_stderr: (variance / (n - 1.0)).sqrt(),
            cut_share: self.uncovered.0,
            n_cut: self.uncovered.1,
            lost_share: self.lost_share,
            log_evidence_tests: log_tests,
            log_evidence_tests_stderr: (of_tests / (self.pilot.n as f64 - 1.0)).sqrt(),
            counts: Vec::new(),
            test_counts: vec![self.pilot.ell.len() as u64],
            log_volumes: Vec::new(),
        })
    }
}

impl Run {
    /// Begins the stage after a run that has converged, if it has no points of bounds.
    pub(super) fn begin_finish(&mut self) {
        let ended = self.status;
        let has_converged = matches!(ended, Status::Converged | Status::Plateau);
        // Without a dead point all live points have one likelihood, which is the evidence.
        let is_wanted = self.settings.proposals && !self.dead.is_empty();
        if !has_converged || !is_wanted || self.rejection.record.is_some() {
            return;
        }
        if self.finish.is_none() {
            let most = self.settings.max_evals.saturating_sub(self.n_evals);
            let pilot = (PILOT_SHARE * self.n_evals as f64) as u64;
            let pilot = pilot.clamp(PILOT[0], PILOT[1]);
            let further = (FURTHER_SHARE * self.n_evals as f64) as u64;
            if pilot * (2 + CALLS[1] as u64) + further > most {
                return;
            }
            self.finish = Some(Finish::new(ended, pilot, further));
        }
        let Some(mut finish) = self.finish.take() else { return };
        if finish.is_done && finish.pilot.n > 0 {
            // A limit that was raised since may allow more draws.
            self.plan(&mut finish);
        }
        if !finish.is_done {
            self.status = Status::Running;
            self.phase = Phase::Finishing;
        }
        self.finish = Some(finish);
    }

    /// Makes a round of the stage.
    pub(super) fn finish(&mut self, problem: &Problem, context: &Context<'_>) -> Result<()> {
        let Some(mut finish) = self.finish.take() else { return Ok(()) };
        let made = self.finish_round(&mut finish, problem, context);
        if finish.is_done {
            self.phase = Phase::Between;
            self.status = finish.ended;
            finish.density = None;
        }
        self.finish = Some(finish);
        made
    }

    fn finish_round(
        &mut self,
        finish: &mut Finish,
        problem: &Problem,
        context: &Context<'_>,
    ) -> Result<()> {
        if !finish.is_searched {
            return self.search(finish, problem, context);
        }
        let is_pilot = finish.wanted[1] == 0;
        let n_pilots = finish.earlier.len() + usize::from(!is_pilot);
        self.adapt(finish, n_pilots, context)?;
        let Some((_, density)) = &mut finish.density else {
            finish.is_done = true;
            return Ok(());
        };
        let (drawn, wanted, base) = if is_pilot {
            (&mut finish.pilot, finish.wanted[0], OF_PILOT * finish.earlier.len() as u64)
        } else {
            (
                &mut finish.estimate,
                finish.wanted[1],
                ESTIMATE + OF_PILOT * u64::from(finish.has_failed),
            )
        };
        let n = (wanted - drawn.n).min(ROUND - drawn.n % ROUND);
        let index = ADDRESS | base | (drawn.n / ROUND);
        let mut stream = Stream::new(self.settings.key, Domain::Nested, index, 0);
        let mut u = Vec::new();
        // A round that a limit cut short, which was raised since, goes on where it ended.
        density.draw((drawn.n % ROUND) as usize, &mut stream, &mut u)?;
        u.clear();
        density.draw(n as usize, &mut stream, &mut u)?;
        let ln_density = density.ln_densities(&u, context)?;
        let n_inside = ln_density.len() as u64;
        if n_inside > 0 {
            problem.evaluate_together(&u, &RefCell::new(1e-6), context, &mut self.answers)?;
            drawn.ell.extend_from_slice(&self.answers.ell[..ln_density.len()]);
        }
        // Counted after the evaluation, so that an error repeats the round.
        drawn.u.extend_from_slice(&u);
        drawn.ln_density.extend_from_slice(&ln_density);
        drawn.n += n;
        context.advance(n_inside);
        self.n_evals += n_inside;
        if drawn.n < wanted {
            return Ok(());
        }
        if !is_pilot {
            let posterior = Posterior::of(self.points())?;
            finish.uncovered = self.uncovered(&posterior, density, &finish.estimate, context)?;
            finish.lost_share = self.lost_share(&posterior, &finish.peaks, &finish.estimate);
        }
        self.plan(finish);
        Ok(())
    }

    /// Decides what follows on a pilot or an estimate: another pilot, if the weights vary too much; the
    /// estimate, or more of it; or, for now or at all, nothing.
    fn plan(&self, finish: &mut Finish) {
        let (_, _, variance) = finish.pilot.weights();
        let [pilot, last] = finish.wanted;
        // Limits that are raised since may allow another pilot.
        let has_room = pilot <= self.settings.max_evals.saturating_sub(self.n_evals);
        if last == 0 && variance > POOR && finish.earlier.len() + 1 < PILOTS {
            finish.is_done = !has_room;
            if has_room {
                finish.earlier.push(std::mem::take(&mut finish.pilot));
            }
            return;
        }
        let wanted = self.worth(finish);
        finish.is_done = wanted <= last;
        finish.wanted[1] = wanted.max(last);
        if finish.is_done && has_room && !finish.has_failed && finish.estimate.is_sparse() {
            // Its points tell where the density was too low.
            finish.has_failed = true;
            finish.earlier.push(std::mem::take(&mut finish.pilot));
            finish.earlier.push(std::mem::take(&mut finish.estimate));
            finish.wanted[1] = 0;
            finish.is_done = false;
        }
    }

    /// Adapts the density to so many pilots. Each time it is the last one with other weights or one
    /// that is fitted anew, whichever has the smaller variance by the points of the pilot. There is none
    /// if the points do not span the space or fall into too many clusters.
    fn adapt(&self, finish: &mut Finish, n_pilots: usize, context: &Context<'_>) -> Result<()> {
        let mut last = finish.density.take().filter(|(n, _)| *n <= n_pilots);
        let first = last.as_ref().map_or(0, |(n, _)| n + 1);
        for n in first..=n_pilots {
            let pilots: Vec<&Drawn> =
                finish.earlier.iter().chain([&finish.pilot]).take(n).collect();
            let fitted = self
                .fitted(&finish.peaks, &pilots, context)?
                .filter(|density| self.settings.n_live >= EACH * density.n_clusters());
            let kept = match (last, pilots.last()) {
                (Some((_, mut kept)), Some(pilot)) if pilot.is_possible() => {
                    kept.adapt(&pilot.u, &pilot.weights().0, context)?;
                    Some(kept)
                }
                (last, _) => last.map(|(_, kept)| kept),
            };
            let chosen = match (kept, fitted, pilots.last()) {
                (Some(kept), Some(fitted), Some(pilot)) => {
                    let [of_kept, of_fitted] =
                        [pilot.spread(&kept, context)?, pilot.spread(&fitted, context)?];
                    Some(if of_fitted < of_kept { fitted } else { kept })
                }
                (kept, fitted, _) => kept.or(fitted),
            };
            last = chosen.map(|density| (n, density));
        }
        finish.density = last;
        Ok(())
    }

    /// The number of draws for the estimate by the variance of the pilot's weights; 0 if the error
    /// would hardly be smaller than that by prior masses.
    fn worth(&self, finish: &Finish) -> u64 {
        let (_, _, variance) = finish.pilot.weights();
        if finish.pilot.n as f64 / (1.0 + variance) < LEAST_ESS {
            return 0;
        }
        let n_evals = self.n_evals - (finish.estimate.ell.len() as u64).min(self.n_evals);
        let share = (SHARE * n_evals as f64) as u64;
        let most = share.saturating_sub(finish.pilot.n).max(FEWEST);
        let most = most.min(self.settings.max_evals.saturating_sub(n_evals));
        let needed = variance / (AIM * AIM);
        let n = if needed < most as f64 { (needed as u64).max(FEWEST).min(most) } else { most };
        let error = (variance / n as f64).sqrt();
        if error < WORTH * self.evidence.stderr() { n } else { 0 }
    }

    /// Searches the points of the run for peaks of modes that the chains have lost.
    fn search(
        &mut self,
        finish: &mut Finish,
        problem: &Problem,
        context: &Context<'_>,
    ) -> Result<()> {
        let [first, mut most] = CALLS.map(|calls| calls * finish.wanted[0] as usize);
        let posterior = Posterior::of(self.points())?;
        let points = &posterior.points;
        // The highest point is one of them.
        let step = points.len().div_ceil(SEARCHED).max(1);
        let (mut u, mut ell) = (Vec::new(), Vec::new());
        for i in (0..points.len()).rev().step_by(step) {
            u.extend_from_slice(points.u(i));
            ell.push(points.ell[i]);
        }
        let means = Means {
            problem,
            context,
            buffer: &mut self.answers,
            answers: &mut finish.answers,
            circles: &self.circles,
            n_evals: &mut self.n_evals,
        };
        let mut search = PeakSearch::new(means, posterior.level_above(ABOVE), &u, &ell)?;
        search.test_highest(first / 2)?;
        if search.climb(first)? && !self.rejection.peaks.is_surveyed {
            // There may be more modes, as in the survey of a run that begins with rejection.
            let before = search.n_calls();
            let u = further_draws(&self.settings, finish.further as usize, problem.dim());
            search.add(&u)?;
            search.test_highest(first / 2)?;
            search.climb(search.n_calls() + first / 2)?;
            most += search.n_calls() - before;
        }
        search.shape(posterior.level_above(MATTERS), most)?;
        finish.peaks = search.into_peaks().iter().flat_map(|peak| peak.images(problem)).collect();
        finish.is_searched = true;
        Ok(())
    }

    /// Writes or reads the stage.
    pub(super) fn persist_finish(&mut self, codec: &mut Codec) -> Result<()> {
        let mut is_there = self.finish.is_some();
        codec.flag(&mut is_there)?;
        if !is_there {
            self.finish = None;
            return Ok(());
        }
        let finish = self.finish.get_or_insert_with(|| Finish::new(Status::Converged, 0, 0));
        if codec.is_reading() {
            finish.density = None;
        }
        let dim = self.circles.len();
        codec.choice(&mut finish.ended, &STATUSES)?;
        codec.word(&mut finish.further)?;
        codec.flag(&mut finish.is_searched)?;
        codec.list(&mut finish.answers)?;
        persist_each(&mut finish.peaks, codec, |peak, codec| peak.persist(dim, codec))?;
        persist_each(&mut finish.earlier, codec, |drawn, codec| drawn.persist(dim, codec))?;
        finish.pilot.persist(dim, codec)?;
        finish.estimate.persist(dim, codec)?;
        for wanted in &mut finish.wanted {
            codec.word(wanted)?;
        }
        codec.flag(&mut finish.has_failed)?;
        codec.flag(&mut finish.is_done)?;
        codec.number(&mut finish.uncovered.0)?;
        codec.word(&mut finish.uncovered.1)?;
        codec.number(&mut finish.lost_share)?;
        let [pilot, estimate] = finish.wanted;
        codec.require(
            self.settings.proposals
                && finish.ended != Status::Running
                && finish.earlier.len() < PILOTS + 2
                && finish.pilot.n <= pilot
                && finish.estimate.n <= estimate
                && pilot.max(estimate) < OF_PILOT
                && (estimate == 0 || finish.pilot.n == pilot),
        )
    }
}

/// Writes or reads a list and its length.
fn persist_each<T: Default>(
    list: &mut Vec<T>,
    codec: &mut Codec,
    each: impl Fn(&mut T, &mut Codec) -> Result<()>,
) -> Result<()> {
    let mut n = list.len();
    codec.count(&mut n)?;
    codec.require(!codec.is_reading() || n <= codec.left())?;
    list.resize_with(n, T::default);
    list.iter_mut().try_for_each(|item| each(item, codec))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::testing::{in_parts, words};
    use super::super::{Opening, Sampler, Settings};
    use super::*;
    use crate::chains::Direction;
    use crate::problem::{CubePrior, Edge, Likelihood, OnNan};
    use fermiac_target::density;
    use std::sync::Arc;

    const CENTRES: [[f64; 3]; 3] = [[0.2, 0.02, 0.3], [0.7, 0.52, 0.2], [0.3, 0.5, 0.8]];
    const SDS: [f64; 3] = [0.02, 0.08, 0.05];
    /// The axes of the third law are shorter by this factor, and it has half of the mass of the others.
    const SHORTER: f64 = 0.3;

    /// Three normal laws; the second axis is a circle.
    fn three_modes(x: &[f64]) -> f64 {
        let logs = [0, 1, 2].map(|k| {
            let factor = if k == 2 { SHORTER } else { 1.0 };
            let z2: f64 = (0..3).map(|j| (step(x, k, j) / (factor * SDS[j])).powi(2)).sum();
            -0.5 * z2 - if k == 2 { (2.0 * SHORTER.powi(3)).ln() } else { 0.0 }
        });
        let top = logs.iter().copied().fold(f64::MIN, f64::max);
        top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln()
    }

    fn step(x: &[f64], k: usize, j: usize) -> f64 {
        let step = x[j] - CENTRES[k][j];
        if j == 1 { step - step.round() } else { step }
    }

    /// A thin crescent, and a narrow peak beside it.
    fn crescent(x: &[f64]) -> f64 {
        let bent = x[1] - 0.2 - 4.0 * (x[0] - 0.5).powi(2);
        let z2 =
            ((x[0] - 0.5) / 0.15).powi(2) + (bent / 0.002).powi(2) + ((x[2] - 0.3) / 0.1).powi(2);
        let peak: f64 = x.iter().map(|x| ((x - 0.8) / 0.005).powi(2)).sum();
        let logs = [-0.5 * z2, 5.0 - 0.5 * peak];
        let top = logs[0].max(logs[1]);
        top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln()
    }

    fn problem(f: fn(&[f64]) -> f64) -> Problem {
        let likelihood = Likelihood::Density(density::from_fn(3, f));
        let edges = vec![Edge::Hard, Edge::Periodic, Edge::Hard];
        Problem::new(Arc::new(CubePrior(3)), likelihood, edges, OnNan::Raise).unwrap()
    }

    fn new_run(problem: &Problem, key: u64) -> Run {
        let sampler =
            Sampler::Slice { n_slices: 6, direction: Direction::Mixture, step_out: false };
        let settings =
            Settings { sampler, batch: 15, proposals: true, ..Settings::new(3, 150, key) };
        Run::new(problem, settings, Opening::Prior).unwrap()
    }

    #[test]
    fn modes_that_chains_lost_are_found_again() {
        let (problem, context) = (problem(three_modes), Context::serial());
        let exact = (2.5 * std::f64::consts::TAU.powf(1.5) * SDS.iter().product::<f64>()).ln();
        let (mut n_lost, mut n_wrong) = (0, 0);
        for key in 0..20 {
            let mut run = new_run(&problem, key);
            run.run(&problem, None, false, &context).unwrap();
            let is_third = |u: &[f64]| (0..3).all(|j| step(u, 2, j).abs() < 5.0 * SHORTER * SDS[j]);
            n_lost += u32::from(!run.live.u.chunks_exact(3).any(is_third));
            let estimate = run.importance(&context).unwrap().unwrap();
            // It has a fifth of the mass.
            let lost = run.finish.as_ref().unwrap().lost_share;
            if run.live.u.chunks_exact(3).any(is_third) {
                assert!(lost < 0.15, "{key} {lost}");
            } else {
                assert!((lost - 0.2).abs() < 0.04, "{key} {lost}");
            }
            let error = (estimate.log_evidence - exact).abs();
            n_wrong += u32::from(error > 4.0 * estimate.log_evidence_stderr);
        }
        assert!(n_lost >= 5 && n_wrong <= 1, "{n_lost} {n_wrong}");
    }

    #[test]
    fn a_stage_that_stops_at_each_round_has_the_same_bits() {
        let (problem, context) = (problem(crescent), Context::serial());
        let finished = |key| {
            let mut run = new_run(&problem, key);
            run.run(&problem, None, false, &context).unwrap();
            (key, run)
        };
        let has_all = |(_, run): &(u64, Run)| {
            let finish = run.finish.as_ref().unwrap();
            !finish.peaks.is_empty() && finish.has_failed
        };
        let (key, mut whole) = (0..30).map(finished).find(has_all).unwrap();
        let mut parts = in_parts(&problem, || new_run(&problem, key));
        assert!(words(&mut parts, &problem) == words(&mut whole, &problem));
        // A limit that holds up the pilots, and is raised, changes nothing.
        let n_evals = whole.n_evals - whole.finish.as_ref().unwrap().n_evals();
        let mut limited = new_run(&problem, key);
        for limit in [n_evals + 1, n_evals + 3000, u64::MAX] {
            limited.prolong(whole.settings.dlogz, limit, u64::MAX);
            limited.run(&problem, None, false, &context).unwrap();
        }
        let estimates = [&whole, &limited].map(|run| run.importance(&context).unwrap().unwrap());
        assert!(estimates[0].ell == estimates[1].ell);
        assert!(estimates[0].log_weights == estimates[1].log_weights);
    }
}
