//! Rejection sampling of new points: draws from a bound until enough lie above the level.

use super::probes::Probes;
use super::settings::Settings;
use super::survey::Peaks;
use crate::bound::{Bound, BoundKind, FitOptions, VOLUME_DRAWS};
use crate::importance::DrawRecord;
use crate::points::{Origin, Points};
use crate::problem::{EvalBuffer, Problem};
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::cell::RefCell;

/// The least and the largest number of proposals in a round.
const LEAST: f64 = 32.0;
const MOST: f64 = 4096.0;
/// The factor on the number of proposals that are expected to give the missing points.
const SPARE: f64 = 1.25;
/// The bound is refitted when log X has fallen by this much since the last fit, or the efficiency by
/// this factor.
const REFIT: f64 = 0.25;
const FALLEN: f64 = 0.5;
/// There is no bound while a larger share of the cube lies above the level.
const OPEN: f64 = 0.5;
/// The cost of a candidate outside of the cube, in evaluations of a cheap likelihood; a few for each
/// proposal cost nothing.
const CANDIDATE: f64 = 0.4;
const FREE: f64 = 4.0;
/// The share of the level set just outside of a good bound, times the number of live points.
const LEFT_OUT: f64 = 0.5;
/// Points that died while log X fell by this much are kept within a bound if they are far from the
/// live ones: outside of the bound after its volumes are enlarged by a factor. Each stands for a
/// region of some times the volume between two points. A mode whose few points have all died is
/// still there, and is found again with such a region.
const LATELY: f64 = 1.0;
const FAR: f64 = 8.0;
const ABOUT: f64 = 10.0;
/// They are not if they are more than this share of the number of live points: then the bulk of the
/// points has gone elsewhere, as from a broad peak to a narrow one, and no mode of few points.
const FEW: f64 = 0.3;
/// Candidates of a new bound for each point of the cube, of which only the most are known.
const SCARCE: f64 = 100.0;
/// The share of the cube that a bound may have to replace it.
const WORTH: f64 = 0.8;
/// The number of rounds in a row without a proposal after which the run fails.
const MOST_EMPTY: u32 = 10;
/// The address of the streams of proposals of a batch, above those of chains.
const ROUNDS: u64 = 1 << 32;
/// The address of the stream for the volume of a bound, above those of all others but volumes.
const VOLUME: u64 = 1 << 57;

/// The state of rejection from a bound.
#[derive(Debug, Clone)]
pub(super) struct Rejection {
    dim: usize,
    pub(super) bound: Bound,
    pub(super) n_fits: u32,
    /// All points and bounds, for importance nested sampling.
    pub(super) record: Option<DrawRecord>,
    pub(super) probes: Probes,
    /// The peaks of modes that may have no live point left.
    pub(super) peaks: Peaks,
    /// The sum over fits of the ln of the factor by which axes were stretched.
    stretched: f64,
    /// log X at the last fit.
    fitted_at: f64,
    /// The share of proposals above the level now, and its maximum since the fit.
    efficiency: f64,
    peak_efficiency: f64,
    /// Proposals and points above the level in the last rounds, with exponential weights.
    proposed: f64,
    accepted: f64,
    /// Candidates of the bound in them, of which those outside of the cube cost no evaluation.
    candidates: f64,
    /// Points in excess of a batch, for the next one.
    queue: Points,
    /// The number of rounds of this batch.
    rounds: u64,
    /// The number of rounds in a row without a proposal.
    n_empty: u32,
    proposals: Vec<f64>,
    seconds_a_row: RefCell<f64>,
}

/// The points that a batch needs: their level and lineages.
pub(super) struct Target<'a> {
    pub(super) level: f64,
    pub(super) batch: u32,
    pub(super) lineages: &'a [u64],
}

/// Where a run stands at the start of a batch.
pub(super) struct Standing<'a> {
    pub(super) survivors: &'a Points,
    pub(super) dead: &'a Points,
    pub(super) log_x: f64,
    pub(super) level: f64,
}

impl Rejection {
    pub(super) fn new(dim: usize, n_extras: usize, importance: bool) -> Self {
        Self {
            dim,
            bound: Bound::cube(dim),
            n_fits: 0,
            record: importance.then(|| DrawRecord::new(dim)),
            probes: Probes::default(),
            peaks: Peaks::default(),
            stretched: 0.0,
            fitted_at: 0.0,
            efficiency: 1.0,
            peak_efficiency: 1.0,
            proposed: 0.0,
            candidates: 0.0,
            accepted: 0.0,
            queue: Points::new(dim, n_extras),
            rounds: 0,
            n_empty: 0,
            proposals: Vec::new(),
            seconds_a_row: RefCell::new(0.0),
        }
    }

    /// Whether the bound should be probed: some time after a fit, since the efficiency enters.
    pub(super) fn is_probe_due(&self) -> bool {
        self.probes.are_due() && self.proposed > 0.0
    }

    /// The share of proposals that lie above the level.
    pub(super) fn efficiency(&self) -> f64 {
        self.efficiency
    }

    /// The cost of a point above the level, in evaluations.
    pub(super) fn cost(&self) -> f64 {
        self.proposal_cost() / self.efficiency
    }

    /// The cost of a proposal, in evaluations: candidates of a bound that lies mostly outside of the
    /// cube take more time than a cheap likelihood.
    pub(super) fn proposal_cost(&self) -> f64 {
        1.0 + CANDIDATE * (self.candidates / (self.proposed + 1.0) - FREE).max(0.0)
    }

    /// Begins a batch: refits the bound to the survivors if due, and drops queued points below the
    /// level.
    pub(super) fn begin(
        &mut self,
        at: &Standing<'_>,
        settings: &Settings,
        circles: &[bool],
        context: &Context<'_>,
    ) -> Result<()> {
        let Standing { survivors, dead, log_x, level } = *at;
        self.rounds = 0;
        if !self.queue.is_empty() {
            self.queue.retain(|queue, i| queue.ell[i] > level);
        }
        let cuts = self.probes.widen(LEFT_OUT / settings.n_live as f64);
        let due = cuts
            || self.fitted_at - log_x > REFIT
            || self.efficiency < FALLEN * self.peak_efficiency;
        let open = self.n_fits == 0 && self.efficiency > OPEN && log_x > ln(OPEN);
        let bounded = settings.sampler.has_bound() && settings.bound != BoundKind::None;
        if bounded && due && !open {
            let options = FitOptions {
                kind: settings.bound,
                enlarge: settings.enlarge * self.probes.widening,
                modes: false,
                bootstrap: settings.bootstrap,
                periodic: circles.to_vec(),
            };
            let rows = fermiac_base::linalg::Rows::new(&survivors.u, circles.len());
            let mut bound =
                Bound::fit(rows, log_x, &options, settings.key, self.number(settings), context)?;
            let n_live = settings.n_live as f64;
            let impossible = dead.ell.partition_point(|ell| *ell == f64::NEG_INFINITY);
            let since = dead.len().saturating_sub((LATELY * n_live) as usize).max(impossible);
            let between = log_x + 0.5 * LATELY - ln(n_live);
            let few = (FEW * n_live) as usize;
            bound.add_about(&dead.u[since * self.dim..], FAR, between + ln(ABOUT), few);
            for peak in self.peaks.above(level, self.dim) {
                bound.add_about(peak, FAR, between + ln(ABOUT), usize::MAX);
            }
            self.n_fits += 1;
            self.stretched += ln(bound.radius_scale());
            self.fitted_at = log_x;
            self.peak_efficiency = self.efficiency;
            if cuts || self.is_smaller(&bound, settings, context)? {
                self.bound = bound;
                if let Some(record) = &mut self.record {
                    record.add_bound(&self.bound, level);
                }
                (self.proposed, self.accepted, self.peak_efficiency) = (0.0, 0.0, 0.0);
                self.candidates = 0.0;
            }
        }
        Ok(())
    }

    /// Whether a bound is smaller than the present one. That one contains the region as well, so that
    /// a larger bound is not needed; few points in a mode may give such a fit.
    fn is_smaller(
        &self,
        bound: &Bound,
        settings: &Settings,
        context: &Context<'_>,
    ) -> Result<bool> {
        if self.bound.is_cube() && bound.log_volume() > 0.0 {
            // Most of an ellipsoid about points in a corner may be outside of the cube.
            let (index, number) = (VOLUME, self.number(settings));
            let volume =
                || bound.volume(&mut Stream::new(settings.key, Domain::Nested, index, number)).log;
            return Ok(context.apart(bound.effort(VOLUME_DRAWS), volume)? < ln(WORTH));
        }
        Ok(bound.log_volume() < self.bound.log_volume())
    }

    fn number(&self, settings: &Settings) -> u32 {
        settings.first_batch.wrapping_add(self.n_fits)
    }

    /// Makes a round: takes queued points, then proposes. Returns whether the batch is complete, and
    /// the number of evaluations. Points are taken in the order of their proposal.
    pub(super) fn round(
        &mut self,
        target: &Target<'_>,
        problem: &Problem,
        answers: &mut EvalBuffer,
        settings: &Settings,
        context: &Context<'_>,
        out: &mut Points,
    ) -> Result<(bool, u64)> {
        let wanted = target.lineages.len();
        let waiting = self.queue.len().min(wanted - out.len());
        for i in 0..waiting {
            let lineage = target.lineages[out.len()];
            let origin = Origin { birth: target.level, lineage, family: lineage };
            let queue = &self.queue;
            out.push(queue.u(i), queue.x(i), queue.ell[i], queue.extras(i), origin);
        }
        if waiting > 0 {
            self.queue.retain(|_, i| i >= waiting);
        }
        let missing = wanted - out.len();
        if missing == 0 {
            return Ok((true, 0));
        }
        let guess = SPARE * missing as f64 / self.efficiency.max(1e-6);
        let n = guess.clamp(LEAST, MOST) as usize;
        let index = ROUNDS + self.rounds;
        // The share of candidates in the cube is not known before the first round of a bound.
        let each = if self.proposed > 0.0 { self.candidates / self.proposed } else { SCARCE };
        let effort = self.bound.effort((n as f64 * each) as usize);
        let propose = || {
            let mut stream = Stream::new(settings.key, Domain::Nested, index, target.batch);
            let mut proposals = Vec::with_capacity(n * self.dim);
            (self.bound.propose(n, &mut stream, &mut proposals), proposals)
        };
        let n_candidates;
        (n_candidates, self.proposals) = context.apart(effort, propose)?;
        let n = self.proposals.len() / problem.dim();
        if n == 0 {
            return self.empty_round(target.level, n_candidates);
        }
        self.n_empty = 0;
        problem.evaluate_together(&self.proposals, &self.seconds_a_row, context, answers)?;
        // Counted after the evaluation, so that an error repeats the round.
        self.rounds += 1;
        if let Some(record) = &mut self.record {
            record.add_points(&self.proposals, &answers.ell);
            if record.is_too_large() {
                self.record = None;
            }
        }
        let (d, b) = (problem.dim(), problem.n_extras());
        let mut accepted = 0;
        for i in 0..n {
            let ell = answers.ell[i];
            if ell <= target.level || ell.is_nan() {
                continue;
            }
            accepted += 1;
            let (u, x) = (&self.proposals[i * d..(i + 1) * d], &answers.x[i * d..(i + 1) * d]);
            let extras = &answers.extras[i * b..(i + 1) * b];
            if out.len() < wanted {
                let lineage = target.lineages[out.len()];
                let origin = Origin { birth: target.level, lineage, family: lineage };
                out.push(u, x, ell, extras, origin);
            } else {
                let origin = Origin { birth: target.level, lineage: 0, family: 0 };
                self.queue.push(u, x, ell, extras, origin);
            }
        }
        self.update(n as f64, n_candidates as f64, f64::from(accepted));
        self.probes.follow(n, self.record.is_some());
        Ok((out.len() == wanted, n as u64))
    }

    /// Counts a round in which the bound gave no point of the cube.
    fn empty_round(&mut self, level: f64, n_candidates: usize) -> Result<(bool, u64)> {
        self.rounds += 1;
        self.n_empty += 1;
        self.update(LEAST, n_candidates as f64, 0.0);
        if self.n_empty < MOST_EMPTY {
            return Ok((false, 0));
        }
        Err(Error::Numerical(format!(
            "the bound about the points above the level {level} of the log-likelihood has next to \
             no volume in the unit cube; use sampler=\"slice\", or more live points"
        )))
    }

    fn update(&mut self, proposed: f64, candidates: f64, accepted: f64) {
        // The weights cover about the last four rounds.
        self.candidates = 0.75 * self.candidates + candidates;
        self.proposed = 0.75 * self.proposed + proposed;
        self.accepted = 0.75 * self.accepted + accepted;
        self.efficiency = (self.accepted + 0.5) / (self.proposed + 1.0);
        self.peak_efficiency = self.peak_efficiency.max(self.efficiency);
    }

    /// The mean factor by which the bootstrap stretched the axes of bounds.
    pub(super) fn radius_scale(&self) -> f64 {
        exp(self.stretched / f64::from(self.n_fits.max(1)))
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.bound.persist(codec)?;
        codec.short(&mut self.n_fits)?;
        for number in [
            &mut self.stretched,
            &mut self.fitted_at,
            &mut self.efficiency,
            &mut self.peak_efficiency,
            &mut self.proposed,
            &mut self.accepted,
            &mut self.candidates,
        ] {
            codec.number(number)?;
        }
        self.queue.persist(codec)?;
        codec.word(&mut self.rounds)?;
        codec.require(self.rounds < ROUNDS)?;
        self.probes.persist(codec)?;
        self.peaks.persist(self.dim, codec)?;
        let mut is_kept = self.record.is_some();
        codec.flag(&mut is_kept)?;
        if !is_kept {
            self.record = None;
            return Ok(());
        }
        let dim = self.dim;
        self.record.get_or_insert_with(|| DrawRecord::new(dim)).persist(codec)
    }
}
