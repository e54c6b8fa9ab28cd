//! The choice among samplers by forecasts, and the check of one.

use super::Step;
use super::pilot::Pilot;
use super::sampler::{Sampler, Source};
use super::strata::Strata;
use super::sums::{Replicate, means, spread, total};
use super::sweep::{Points, Stage};
use fermiac_base::Result;
use fermiac_base::qmc::Scramble;
use fermiac_base::simd::exp;
use fermiac_target::diagnostics::khat;

/// Replicates of a forecast.
const REPLICATES: usize = 8;
/// The share of what is left of the pilot that forecasts may use; the rest trains the winner.
const TRIAL: f64 = 0.6;
/// The share of the first forecasts. They are the last where one candidate is better than all others by
/// this factor, of squared errors.
const FIRST: f64 = 0.15;
const CLEAR: f64 = 20.0;
/// By how much nets must then be better than independent points.
const NET_GAIN: f64 = 4.0;
/// Points of a forecast's replicate at least.
const LEAST: usize = 16;
/// The tail shape of weighted values above which nets are not trusted.
const HEAVY: f64 = 0.5;

/// The tail shape of the values of the integrand above which it counts as unbounded.
const UNBOUNDED: f64 = 0.3;
/// A weighted value that is large: this many times the mean.
const LARGE: f64 = 4.0;
/// Forecasts, of squared errors, within this factor are close.
const CLOSE: f64 = 4.0;
/// A map is better if the variance of independent uniform points exceeds its own by this factor.
const GAIN: f64 = 2.0;
/// The share of what is left of the pilot that trains a map for an unbounded integrand; the rest adapts
/// its strata.
const UNBOUNDED_TRAINING: f64 = 0.75;
/// A map tames an integrand if it makes the variance of independent points smaller by this factor.
const TAMED: f64 = 32.0;
/// The factor by which strata must be better: their forecast uses the points that they are fitted
/// to.
const MARGIN: f64 = 3.0;

/// The sampler of the final sample, and its points.
pub(super) struct Final {
    pub(super) sampler: Sampler,
    pub(super) points: Points,
    pub(super) strata: Option<Strata>,
    /// The sums of each stratum, from which strata are adapted.
    pub(super) spread: Vec<[f64; 3]>,
    /// The share of points that lie in the region.
    pub(super) inside: f64,
}

impl Final {
    pub(super) fn new(sampler: Sampler, points: Points) -> Self {
        Self { sampler, points, strata: None, spread: Vec::new(), inside: 1.0 }
    }

    pub(super) fn name(&self) -> String {
        let source = self.sampler.name();
        match (self.points, &self.strata, source) {
            (_, Some(_), _) => "stratified".into(),
            (Points::Sobol, None, "uniform") => "sobol".into(),
            (Points::Random, None, "uniform") => "mc".into(),
            (Points::Sobol, None, source) => source.into(),
            (Points::Random, None, source) => format!("{source}, random points"),
        }
    }
}

pub(super) struct Candidate {
    sampler: Sampler,
    name: &'static str,
}

impl Candidate {
    pub(super) fn new(sampler: Sampler, name: &'static str) -> Self {
        Self { sampler, name }
    }
}

/// The results of the points of a forecast.
struct Trial {
    /// The address of its points, and the points of a replicate.
    number: u32,
    size: usize,
    replicates: Vec<Replicate>,
    /// The weighted sizes of the values of all outputs, the uniform numbers behind them, and the
    /// points in linear coordinates.
    sizes: Vec<f64>,
    u: Vec<f64>,
    l: Vec<f64>,
    /// Those under the maps of a sampler of maps.
    y: Vec<f64>,
    /// The sizes of the values as they are.
    plain: Vec<f64>,
    n_inside: usize,
}

impl Trial {
    fn of(
        pilot: &mut Pilot<'_, '_, '_>,
        sampler: &Sampler,
        size: usize,
        points: Points,
    ) -> Result<Self> {
        let mut trial = Self {
            number: pilot.next(),
            size: 0,
            replicates: vec![Replicate::default(); REPLICATES],
            sizes: Vec::new(),
            u: Vec::new(),
            l: Vec::new(),
            y: Vec::new(),
            plain: Vec::new(),
            n_inside: 0,
        };
        trial.extend(pilot, sampler, size, points)?;
        Ok(trial)
    }

    /// Draws the points of each replicate up to a size.
    fn extend(
        &mut self,
        pilot: &Pilot<'_, '_, '_>,
        sampler: &Sampler,
        size: usize,
        points: Points,
    ) -> Result<()> {
        let stage = Stage {
            sampler,
            points,
            scramble: Scramble::Linear,
            number: self.number,
            replicates: REPLICATES,
            range: self.size..size,
            strata: None,
            wants_y: true,
        };
        let (problem, d) = (pilot.problem, sampler.dim());
        let scale = pilot.scale().to_vec();
        problem.sweep(
            pilot.context,
            &stage,
            |block| {
                let k = problem.outputs()?;
                let plain: Vec<f64> = block
                    .values
                    .chunks_exact(k)
                    .map(|row| {
                        let of =
                            |(j, v): (usize, &f64)| v * v * scale.get(j).copied().unwrap_or(1.0);
                        row.iter().enumerate().map(of).sum::<f64>().sqrt()
                    })
                    .collect();
                let weighted = |(p, w): (&f64, &f64)| if *p == 0.0 { 0.0 } else { p * w };
                let sizes: Vec<f64> =
                    plain.iter().zip(&block.placed.weight).map(weighted).collect();
                let mut l = vec![0.0; block.placed.x.len()];
                for (x, l) in block.placed.x.chunks_exact(d).zip(l.chunks_exact_mut(d)) {
                    sampler.to_linear(x, l);
                }
                let inside = block.placed.inside.iter().filter(|i| **i).count();
                let (u, y) = (block.u.clone(), block.placed.y.clone());
                Ok((Replicate::of(block, k), (sizes, plain, l), (u, y), inside))
            },
            |r, (sums, (sizes, plain, l), (u, y), inside)| {
                self.replicates[r].add(&sums);
                self.sizes.extend(sizes);
                self.plain.extend(plain);
                self.l.extend(l);
                self.u.extend(u);
                self.y.extend(y);
                self.n_inside += inside;
                Ok(())
            },
        )?;
        self.size = size;
        Ok(())
    }

    /// The share of points in the region, three standard errors above, so that a budget holds.
    fn inside(&self) -> f64 {
        let n = self.sizes.len() as f64;
        let share = self.n_inside as f64 / n;
        (share + 3.0 * (share * (1.0 - share) / n).sqrt()).clamp(0.01, 1.0)
    }

    /// The mean squared relative errors at the size of the trial: of the replicates, and of as many
    /// independent points.
    fn errors(&self, scale: &[f64]) -> (f64, f64) {
        let k = scale.len();
        let (_, variance) = spread(&means(&self.replicates), k);
        let all = total(&self.replicates);
        let mean = |of: &dyn Fn(usize) -> f64| {
            let used: Vec<f64> =
                (0..k).filter(|j| scale[*j] > 0.0).map(|j| of(j) / (scale[j] * scale[j])).collect();
            used.iter().sum::<f64>() / used.len().max(1) as f64
        };
        (mean(&|j| variance[j]), mean(&|j| all.variance(j) / all.n))
    }

    fn sizes(&self) -> Vec<f64> {
        let all = total(&self.replicates);
        all.abs.iter().map(|a| a / all.n).collect()
    }

    fn step(&self, purpose: String, used: usize, forecast: f64) -> Step {
        let k = self.replicates[0].v.len();
        let (mean, variance) = spread(&means(&self.replicates), k);
        let n: f64 = self.replicates.iter().map(|r| r.n).sum();
        let stderr = variance.into_iter().map(f64::sqrt).collect();
        Step { purpose, n: n as usize, used, mean, stderr, forecast }
    }
}

/// Whether weighted values look unbounded: a map does not tame a product of poles, or one in a corner,
/// as it does a peak.
fn has_large_values(sizes: &[f64]) -> bool {
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    let largest = sizes.iter().fold(0.0, |a: f64, b| a.max(*b));
    largest > LARGE * mean
}

/// The points of each replicate of a forecast from `n` evaluations for `count` samplers.
fn trial_size(n: usize, count: usize) -> Option<usize> {
    let size = n / (REPLICATES * count);
    (size >= LEAST).then(|| 1 << size.ilog2())
}

/// Checks a sampler by a forecast that is not compared.
pub(super) fn checked(pilot: &mut Pilot<'_, '_, '_>, mut last: Final, n: usize) -> Result<Final> {
    let Some(size) = trial_size(n, 1) else { return Ok(last) };
    let trial = Trial::of(pilot, &last.sampler, size, last.points)?;
    let forecast = trial.errors(&trial.sizes()).0;
    let step =
        trial.step(format!("forecast of {}", last.name()), pilot.problem.n_evals(), forecast);
    pilot.steps.push(step);
    last.inside = trial.inside();
    Ok(last)
}

/// The map with strata that follow a trial.
pub(super) fn stratified(
    pilot: &mut Pilot<'_, '_, '_>,
    map: Sampler,
    n: usize,
    points: usize,
) -> Result<Final> {
    let size = (n / REPLICATES).max(2);
    let trial = Trial::of(pilot, &map, size, Points::Random)?;
    let (strata, spread, forecast) = strata_of(&trial, &map, points);
    let last = Final { strata: Some(strata), spread, ..Final::new(map, Points::Random) };
    let step = trial.step("forecast of stratified".into(), pilot.problem.n_evals(), forecast);
    pilot.steps.push(step);
    Ok(last)
}

/// Strata for a trial, with the variance of a mean of as many points as the trial has.
fn strata_of(trial: &Trial, map: &Sampler, points: usize) -> (Strata, Vec<[f64; 3]>, f64) {
    let d = map.dim();
    let mut strata = Strata::new(d, points, trial.sizes.len());
    let mut sums = vec![[0.0; 3]; strata.len()];
    for (u, size) in trial.u.chunks_exact(d).zip(&trial.sizes) {
        let at = &mut sums[strata.of(u)];
        at[0] += 1.0;
        at[1] += size;
        at[2] += size * size;
    }
    let n = trial.sizes.len();
    let mean = trial.sizes.iter().sum::<f64>() / n as f64;
    let variance = strata.allocate(points, &sums) * points as f64 / n as f64;
    (strata, sums, if mean > 0.0 { variance / (mean * mean) } else { 0.0 })
}

/// The excess of the second moment of each candidate from the points of all candidates over that
/// from its own points. If a sampler missed a region, only the points of others show it.
fn unseen(
    pilot: &Pilot<'_, '_, '_>,
    candidates: &[Candidate],
    trials: &[Trial],
) -> Result<Vec<f64>> {
    let d = candidates[0].sampler.dim();
    let count = candidates.len();
    let mut pooled = vec![0.0; count];
    for trial in trials {
        let rows = trial.l.chunks_exact(d).zip(&trial.plain).enumerate();
        for (i, (l, plain)) in rows.filter(|(_, (_, p))| **p > 0.0) {
            if i % 256 == 0 {
                pilot.context.poll()?;
            }
            let q: Vec<f64> = candidates.iter().map(|c| exp(c.sampler.log_linear(l))).collect();
            let mean = q.iter().sum::<f64>() / count as f64;
            for (sum, q) in pooled.iter_mut().zip(&q) {
                *sum += plain / mean * (plain / q);
            }
        }
    }
    let ratios = pooled
        .iter()
        .zip(trials)
        .map(|(pooled, trial)| {
            let own: f64 = trial.sizes.iter().map(|s| s * s).sum();
            let pooled = pooled / count as f64;
            if own > 0.0 { (pooled / own).max(1.0) } else { f64::INFINITY }
        })
        .collect();
    Ok(ratios)
}

/// The forecasts for all candidates, of mean squared relative errors at the size of the trials.
struct Forecasts {
    /// With the points that are used, times what other candidates' points say beyond.
    errors: Vec<f64>,
    /// Of nets, and of independent points.
    net: Vec<f64>,
    random: Vec<f64>,
    unseen: Vec<f64>,
}

impl Forecasts {
    fn of(
        pilot: &Pilot<'_, '_, '_>,
        candidates: &[Candidate],
        trials: &[Trial],
        points: Points,
    ) -> Result<Self> {
        // The size of every output, the same for all.
        let mut scale = vec![0.0; pilot.problem.outputs()?];
        for trial in trials {
            scale.iter_mut().zip(trial.sizes()).for_each(|(s, t)| *s = f64::max(*s, t));
        }
        let unseen = unseen(pilot, candidates, trials)?;
        let (net, random): (Vec<f64>, Vec<f64>) = trials.iter().map(|t| t.errors(&scale)).unzip();
        let of = if points == Points::Sobol { &net } else { &random };
        let errors = of.iter().zip(&unseen).map(|(error, unseen)| error * unseen).collect();
        Ok(Self { errors, net, random, unseen })
    }

    fn least(&self) -> usize {
        (1..self.errors.len())
            .fold(0, |best, i| if self.errors[i] < self.errors[best] { i } else { best })
    }

    /// Whether one candidate is so much better than the others that no more points are needed to see it.
    fn is_clear(&self, trials: &[Trial], points: Points) -> bool {
        let best = self.least();
        let others = || self.errors.iter().enumerate().filter(|(i, _)| *i != best);
        let is_smooth = || {
            NET_GAIN * self.net[best] < self.random[best] && !has_large_values(&trials[best].sizes)
        };
        others().all(|(_, error)| *error > CLEAR * self.errors[best])
            && (points == Points::Random || is_smooth())
    }
}

/// The candidate with the least forecast.
pub(super) fn best(
    pilot: &mut Pilot<'_, '_, '_>,
    candidates: Vec<Candidate>,
    n: usize,
    points: Points,
    per_replicate: usize,
) -> Result<Final> {
    let count = candidates.len();
    let size = |share: f64| trial_size((n as f64 * share) as usize, count);
    let Some(largest) = size(TRIAL) else {
        // The map where it was trained, and nothing says that it is bad.
        let map = candidates.into_iter().nth(1).map(|c| c.sampler);
        return Ok(Final::new(
            map.unwrap_or_else(|| Sampler::uniform(pilot.region.clone())),
            points,
        ));
    };
    let first = size(FIRST).unwrap_or(largest);
    let mut used = pilot.problem.n_evals();
    let mut trials = Vec::with_capacity(count);
    for candidate in &candidates {
        trials.push(Trial::of(pilot, &candidate.sampler, first, points)?);
    }
    let mut forecasts = Forecasts::of(pilot, &candidates, &trials, points)?;
    // Of an unbounded integrand a few points tell little about the replicates of the uniform law.
    let is_unbounded = |trials: &[Trial], forecasts: &Forecasts| {
        khat(&mut trials[0].sizes.clone()) > UNBOUNDED && forecasts.random[1] < forecasts.random[0]
    };
    let settled = points == Points::Sobol
        && count == 2
        && is_unbounded(&trials, &forecasts)
        && forecasts.least() == 1
        && has_large_values(&trials[1].sizes);
    if first < largest && !settled && !forecasts.is_clear(&trials, points) {
        for (trial, candidate) in trials.iter_mut().zip(&candidates) {
            trial.extend(pilot, &candidate.sampler, largest, points)?;
        }
        forecasts = Forecasts::of(pilot, &candidates, &trials, points)?;
    }
    let spent = pilot.problem.n_evals() - used;
    for ((candidate, trial), error) in candidates.iter().zip(&trials).zip(&forecasts.errors) {
        used += spent / count;
        pilot.steps.push(trial.step(format!("forecast of {}", candidate.name), used, *error));
    }
    let mut chosen = forecasts.least();
    let mut least = forecasts.errors[chosen];
    // Close to each other, the uniform law where the map gains next to nothing for independent points:
    // its values are smoother, so that the errors fall faster.
    let Forecasts { net, random, unseen, .. } = &forecasts;
    let unbounded = is_unbounded(&trials, &forecasts);
    let of_map = net[1] * unseen[1];
    // The last training takes noise from a map under which independent points have far less variance.
    let is_tamed = of_map < CLOSE * least && random[0] > TAMED * random[1];
    if chosen == 0 && (unbounded || is_tamed) {
        chosen = 1;
        least = of_map;
    } else if chosen == 1
        && !unbounded
        && net[0] * unseen[0] < CLOSE * least
        && random[0] < GAIN * random[1]
    {
        chosen = 0;
    }
    let trial = &trials[chosen];
    let mut sampler = candidates[chosen].sampler.clone();
    let mut rest = n.saturating_sub(spent);
    let mut drawn = (trial.l.as_slice(), trial.y.as_slice());
    let mut sizes = trial.sizes.as_slice();
    if unbounded && chosen == 1 && points == Points::Sobol {
        // The points of the trial may miss the large values of a map in a corner, so that the next ones
        // are looked at as well.
        let part = (UNBOUNDED_TRAINING * rest as f64) as usize;
        let (polished, more) = pilot.polish(sampler, drawn, sizes, part)?;
        sampler = polished;
        rest -= part;
        if has_large_values(&trial.sizes) || has_large_values(&more) {
            // Means of nets have a heavy tail then, on which the interval from few of them fails.
            return stratified(pilot, sampler, rest, per_replicate);
        }
        // The points of the trial are not those of the new map.
        drawn = (&[], &[]);
        sizes = &[];
    }
    if points == Points::Sobol {
        sampler = pilot.polish(sampler, drawn, sizes, rest)?.0;
    }
    let mut last = Final { inside: trial.inside(), ..Final::new(sampler, points) };
    if points == Points::Random {
        return Ok(last);
    }
    // Where the weighted values have a heavy tail, replicate means of nets have one too: then nets do
    // not beat independent points.
    let map = &trials[1];
    let heavy = khat(&mut trial.sizes.clone()) > HEAVY;
    if !matches!(last.sampler.source, Source::Mixture(_)) && (heavy || random[chosen] < least) {
        let (strata, spread, forecast) = strata_of(map, &candidates[1].sampler, per_replicate);
        let forecast = unseen[1] * forecast;
        let step =
            Step { purpose: "forecast of stratified".into(), used, forecast, ..Step::default() };
        pilot.steps.push(step);
        if MARGIN * forecast < least {
            last = Final {
                strata: Some(strata),
                spread,
                ..Final::new(candidates[1].sampler.clone(), Points::Random)
            };
        }
    }
    Ok(last)
}
