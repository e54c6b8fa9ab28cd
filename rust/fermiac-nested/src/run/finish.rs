//! The end of a run without known densities of its points: independent draws from a density fitted to
//! the posterior, for an importance estimate of the evidence.
//!
//! A pilot of draws adapts the weights of the density's parts, and tells how many draws the estimate
//! needs. The estimate takes none of the pilot's points, so that its density does not depend on them.

use super::Run;
use super::state::{Phase, STATUSES, Status};
use crate::importance::Importance;
use crate::points::{Origin, Points};
use crate::problem::Problem;
use crate::proposals::{Density, Target, fit};
use crate::{n_alive, volumes};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Scheme, Stream, resample};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;
use std::cell::RefCell;

/// The most draws of the stage, and those of its pilot, as shares of the run's evaluations.
const SHARE: f64 = 0.1;
const PILOT_SHARE: f64 = 0.02;
/// The least and the largest number of draws of the pilot, and the least of the estimate.
const PILOT: [u64; 2] = [500, 4000];
const FEWEST: u64 = 500;
/// The aim for the error of log Z.
const AIM: f64 = 0.01;
/// The estimate is made if its error is expected to be smaller than this many of that by prior
/// masses.
const WORTH: f64 = 0.5;
/// The least effective sample size of a pilot that tells how many draws are needed.
const LEAST_ESS: f64 = 30.0;
/// Draws of one round.
const ROUND: u64 = 4096;
/// The largest number of posterior points that the density is fitted to.
const POINTS: usize = 3000;
/// The powers of the likelihood of tempered points, and the number of points of each.
const POWERS: [f64; 2] = [0.5, 0.2];
const TEMPERED: usize = 750;
/// The estimate is not made with fewer live points for each cluster: modes may have been lost.
const EACH: usize = 30;
/// The share of the posterior above the level at which points are split into parts.
const ABOVE: f64 = 0.9;
/// The address of the streams of rounds, above those of volumes; of the estimate, above the pilot's;
/// and that of the stream that resamples points.
const ADDRESS: u64 = 1 << 59;
const ESTIMATE: u64 = 1 << 40;
const RESAMPLED: u64 = 1 << 41;

/// Points drawn from a density, those within the cube, and the number of all.
#[derive(Debug, Clone, Default)]
struct Drawn {
    u: Vec<f64>,
    ell: Vec<f64>,
    /// The ln of their density.
    ln_density: Vec<f64>,
    n: u64,
}

/// The state of the stage.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    /// The status of the run after it.
    ended: Status,
    pilot: Drawn,
    estimate: Drawn,
    /// The number of draws of each; that of the estimate is 0 until the pilot has ended, and if it is
    /// not worth its calls.
    wanted: [u64; 2],
    is_done: bool,
    /// Not saved, since it follows from the points.
    density: Option<Density>,
}

impl Drawn {
    /// Weights relative to their mean, over all draws, its ln, and its relative variance for one draw.
    fn weights(&self) -> (Vec<f64>, f64, f64) {
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
    /// The number of evaluations of the stage.
    pub(super) fn n_evals(&self) -> u64 {
        (self.pilot.ell.len() + self.estimate.ell.len()) as u64
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
            cut_share: 0.0,
            n_cut: 0,
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
            if pilot > most {
                return;
            }
            self.finish = Some(Finish {
                ended,
                pilot: Drawn::default(),
                estimate: Drawn::default(),
                wanted: [pilot, 0],
                is_done: false,
                density: None,
            });
        }
        let Some(mut finish) = self.finish.take() else { return };
        if finish.is_done {
            // A limit that was raised since may allow more draws.
            let wanted = self.worth(&finish);
            finish.is_done = wanted <= finish.wanted[1];
            finish.wanted[1] = finish.wanted[1].max(wanted);
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
        if finish.density.is_none() {
            let fitted = self.fitted(finish, context)?;
            let least = |density: &Density| EACH * density.n_clusters();
            finish.density = fitted.filter(|density| self.settings.n_live >= least(density));
        }
        let Some(density) = &mut finish.density else {
            // The points do not span the space, or fall into too many clusters.
            finish.is_done = true;
            return Ok(());
        };
        let is_pilot = finish.wanted[1] == 0;
        let (drawn, wanted, base) = if is_pilot {
            (&mut finish.pilot, finish.wanted[0], 0)
        } else {
            (&mut finish.estimate, finish.wanted[1], ESTIMATE)
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
            finish.is_done = true;
            return Ok(());
        }
        finish.wanted[1] = self.worth(finish);
        if finish.wanted[1] == 0 {
            finish.is_done = true;
            return Ok(());
        }
        // It is fitted again in the next round.
        finish.density = None;
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

    /// The density fitted to the posterior points of the run, after the pilot also to its points.
    fn fitted(&self, finish: &Finish, context: &Context<'_>) -> Result<Option<Density>> {
        let dim = self.circles.len();
        let points = self.points();
        let alive = n_alive(&points.ell, &points.birth)?;
        let masses = volumes(&points.ell, &alive);
        let weights: Vec<f64> = masses
            .log_prior_masses
            .iter()
            .zip(&points.ell)
            .map(|(mass, ell)| exp(mass + ell - masses.log_evidence))
            .collect();
        let n = (masses.ess as usize).clamp(2 * dim + 2, POINTS);
        let mut stream = Stream::new(self.settings.key, Domain::Nested, ADDRESS | RESAMPLED, 0);
        let chosen = resample(&weights, n, Scheme::Systematic, &mut stream)?;
        let mut rows: Vec<f64> = chosen.iter().flat_map(|&i| points.u(i)).copied().collect();
        let has_pilot = finish.wanted[1] > 0;
        let (pilot_weights, _, variance) = finish.pilot.weights();
        if has_pilot {
            // So few that hardly a point is taken twice.
            let n = (finish.pilot.n as f64 / (1.0 + variance)) as usize;
            let chosen = resample(&pilot_weights, n.max(1), Scheme::Systematic, &mut stream)?;
            rows.extend(chosen.iter().flat_map(|&i| &finish.pilot.u[i * dim..(i + 1) * dim]));
        }
        let mut tempered = Vec::new();
        for power in POWERS {
            let logs: Vec<f64> = masses
                .log_prior_masses
                .iter()
                .zip(&points.ell)
                .map(|(mass, ell)| mass + if *ell > f64::NEG_INFINITY { power * ell } else { *ell })
                .collect();
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logs.iter().map(|log| exp(log - top)).collect();
            let chosen = resample(&weights, TEMPERED.min(n), Scheme::Systematic, &mut stream)?;
            tempered.extend(chosen.iter().flat_map(|&i| points.u(i)).copied());
        }
        let level = level_above(&weights, &points.ell, ABOVE);
        let mut above = Points::new(dim, 0);
        for i in 0..points.len() {
            if points.ell[i] > level && points.birth[i] <= level {
                let origin = Origin { birth: level, lineage: 0, family: 0 };
                above.push(points.u(i), &[], points.ell[i], &[], origin);
            }
        }
        let log_x = points.ell.partition_point(|ell| *ell <= level);
        let log_x = if log_x == 0 { 0.0 } else { masses.log_x[log_x - 1].min(0.0) };
        let key = self.settings.key;
        let target = Target { points: &rows, tempered: &tempered, above: &above, log_x };
        let mut density = fit(&target, &self.circles, key, context)?;
        if let (Some(density), true) = (&mut density, has_pilot) {
            density.adapt(&finish.pilot.u, &pilot_weights, context)?;
        }
        Ok(density)
    }

    /// Writes or reads the stage.
    pub(super) fn persist_finish(&mut self, codec: &mut Codec) -> Result<()> {
        let mut is_there = self.finish.is_some();
        codec.flag(&mut is_there)?;
        if !is_there {
            self.finish = None;
            return Ok(());
        }
        let finish = self.finish.get_or_insert_with(|| Finish {
            ended: Status::Converged,
            pilot: Drawn::default(),
            estimate: Drawn::default(),
            wanted: [0; 2],
            is_done: false,
            density: None,
        });
        if codec.is_reading() {
            finish.density = None;
        }
        let dim = self.circles.len();
        codec.choice(&mut finish.ended, &STATUSES)?;
        finish.pilot.persist(dim, codec)?;
        finish.estimate.persist(dim, codec)?;
        for wanted in &mut finish.wanted {
            codec.word(wanted)?;
        }
        codec.flag(&mut finish.is_done)?;
        let [pilot, estimate] = finish.wanted;
        codec.require(
            self.settings.proposals
                && finish.ended != Status::Running
                && finish.pilot.n <= pilot
                && finish.estimate.n <= estimate
                && pilot.max(estimate) < ESTIMATE
                && (estimate == 0 || finish.pilot.n == pilot),
        )
    }
}

/// The log-likelihood of the sorted points above which a share of the weights lies.
fn level_above(weights: &[f64], ell: &[f64], share: f64) -> f64 {
    let total: f64 = weights.iter().sum();
    let mut below = 0.0;
    for (weight, ell) in weights.iter().zip(ell) {
        below += weight;
        if below > (1.0 - share) * total {
            return *ell;
        }
    }
    f64::NEG_INFINITY
}
