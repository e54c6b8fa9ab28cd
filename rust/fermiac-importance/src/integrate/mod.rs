//! Integrals over boxes, with errors from replicates of scrambled nets.
//!
//! A pilot of a fifth of the budget trains samplers: a smooth map of every axis, the same in a rotated
//! frame, a mixture of Student-t densities. Each has a share of the uniform law. The final estimate is
//! from fresh points of one of them, fixed beforehand: the mean of R replicate means, each over the
//! points of an independently scrambled Sobol' net. Their spread gives the error.

mod axis_map;
mod choose;
mod pilot;
mod place;
pub(crate) mod radial;
mod region;
mod sampler;
mod strata;
mod sums;
mod surface;
mod sweep;
mod train;

pub use axis_map::AxisMap;
pub use pilot::Step;
pub use region::{Axis, Ends, Region};
pub use sampler::{Frame, Mixture, Sampler, Source};
pub use sweep::Points;

use crate::component_bank::Fitted;
use crate::settings::OnNan;
use choose::{Candidate, Final};
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::qmc::Scramble;
use fermiac_base::special::IncompleteBeta;
use fermiac_base::{Error, Result};
use fermiac_target::Integrand;
use pilot::Pilot;
use sums::{Replicate, TAIL, means, spread, total};
use surface::Surface;
use sweep::{Problem, Stage};

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The best of all others by forecast.
    Auto,
    /// Sobol' points of the uniform law.
    Sobol,
    /// A map of every axis.
    Map,
    /// A mixture of Student-t densities.
    Mixture,
    /// A map in the frame of the principal axes.
    Rotated,
    /// Hypercubes of the map with adapted numbers of random points.
    Stratified,
    /// Random points of the uniform law.
    MonteCarlo,
}

/// The settings of [`integrate`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Evaluations in all.
    pub n: usize,
    /// The method.
    pub method: Method,
    /// Sobol' points or random ones.
    pub points: Points,
    /// The share of the evaluations of the pilot.
    pub pilot_fraction: f64,
    /// The number of replicates; by the budget where none is given.
    pub n_replicates: Option<usize>,
    /// The scramble of nets.
    pub scramble: Scramble,
    /// The tolerances, relative and absolute, of a run that stops by itself.
    pub tolerance: Option<(f64, f64)>,
    /// A sampler that was trained before.
    pub sampler: Option<Sampler>,
    /// Subtract polynomials that are fitted to the integrand, where that is forecast to help.
    pub polynomials: bool,
    /// The treatment of values that are not finite.
    pub on_nan: OnNan,
    /// Keep the points of the final sample.
    pub keep_draws: bool,
    /// The key of the random streams.
    pub key: u64,
}

/// The result of [`integrate`].
#[derive(Debug, Clone, Default)]
pub struct Integral {
    /// The means of the replicates, replicates × outputs.
    pub replicates: Vec<f64>,
    /// Outputs.
    pub n_outputs: usize,
    /// The points of a replicate.
    pub n_per_replicate: usize,
    /// Whether the points are quasi-random.
    pub is_net: bool,
    /// The word for the sampler with its points.
    pub chosen: String,
    /// Effective sample sizes (Σ|v|)² / Σv² of the final sample.
    pub ess: Vec<f64>,
    /// Tail shapes of |v|.
    pub khat: Vec<f64>,
    /// The share of the largest point in Σ|v|, and in the sum of the squares about the mean.
    pub max_share: Vec<f64>,
    /// As above.
    pub max_variance_share: Vec<f64>,
    /// The range of v over the points of a replicate: the least step of its mean, 0 for a constant.
    pub resolution: Vec<f64>,
    /// In one dimension: the effect of a jump of the integrand on the mean of a replicate.
    pub jump: Vec<f64>,
    /// Whether the integrand was 0 at every point of the final sample.
    pub all_zero: Vec<bool>,
    /// The estimates from only the share of the uniform law, their errors, and their effective
    /// sample size.
    pub base_mean: Vec<f64>,
    /// As above.
    pub base_stderr: Vec<f64>,
    /// As above.
    pub base_ess: Vec<f64>,
    /// Points of the uniform law in the final sample, the share of them where the integrand is 0, and
    /// the bound 3 B / N of mass that none of them met.
    pub n_base: f64,
    /// As above.
    pub zero_share: Vec<f64>,
    /// As above.
    pub unseen: Vec<f64>,
    /// The number of checks of the tolerance, 0 without one, and whether it was met.
    pub n_looks: usize,
    /// As above.
    pub converged: bool,
    /// Evaluations in all.
    pub n_evals: usize,
    /// Values of the integrand that were not finite and counted as 0.
    pub n_non_finite: u64,
    /// The pilot.
    pub steps: Vec<Step>,
    /// The sampler.
    pub sampler: Option<Sampler>,
    /// The points of the final sample, row-major, where they were kept, and their log-weights.
    pub draws: Vec<f64>,
    /// As above.
    pub log_weights: Vec<f64>,
}

/// An error, with the result of the work done before it.
pub type Stopped = (Error, Option<Box<Integral>>);

/// Looks at most, and their share of the probability that an interval fails.
pub(crate) const LOOKS: usize = 12;
pub(crate) const FAIL: f64 = 0.05;
/// Points of a replicate at the first look, at least.
pub(crate) const FIRST_LOOK: u32 = 5;
/// The deviation of what a point at a jump makes of a mean, at most, in steps of it.
pub(crate) const JUMP: f64 = 0.5;
/// The most points of the pilot of a run with a tolerance, which may need far fewer points in all.
const TOLERANT: usize = 1 << 15;
/// Replicates of independent points, and of strata.
const RANDOM: usize = 64;
const STRATIFIED: usize = 8;
/// The share of the evaluations to which polynomials are fitted.
const POLYNOMIALS: f64 = 0.1;
/// The part of the pilot that a single method keeps for its forecast.
const CHECK: f64 = 0.2;

/// Integrates `integrand` over `region`; `pairs` tells whether the outputs are the real and then the
/// imaginary parts of complex ones, once the integrand was called.
///
/// # Errors
/// Bad settings, a target that fails or gives values that cannot be used, cancelling. The error comes
/// with the estimates from the replicates that were complete.
pub fn integrate(
    integrand: &dyn Integrand,
    region: &Region,
    settings: &Settings,
    pairs: &dyn Fn() -> bool,
    context: &Context<'_>,
) -> std::result::Result<Integral, Stopped> {
    let fail = |error| (error, None);
    check(integrand, region, settings).map_err(fail)?;
    let problem = Problem::new(integrand, settings.key, settings.on_nan);
    context.set_total(settings.n as u64);
    // Maps alone need no points of earlier rounds.
    let keeps = !matches!(settings.method, Method::Map | Method::Stratified);
    let mut pilot = Pilot::new(&problem, context, region.clone(), settings.points, keeps);
    let last = prepare(&mut pilot, settings).map_err(fail)?;
    let surface = fit(&mut pilot, &last, settings).map_err(fail)?;
    let run = Run {
        problem: &problem,
        settings,
        context,
        last,
        surface,
        steps: pilot.steps,
        number: pilot.number + 1,
    };
    run.finish(pairs)
}

fn check(integrand: &dyn Integrand, region: &Region, settings: &Settings) -> Result<()> {
    let dim = region.dim();
    if integrand.dim() != dim {
        let why =
            format!("it takes points of {} dimensions, the bounds have {dim}", integrand.dim());
        return Err(Error::argument("f", why));
    }
    let least = 20 * (dim + 1);
    if settings.n < least {
        let why =
            format!("{} given; {dim} dimensions need at least 20 (d + 1) = {least}", settings.n);
        return Err(Error::argument("n", why));
    }
    if settings.sampler.as_ref().is_some_and(|s| s.dim() != dim) {
        return Err(Error::argument("sampler", "its dimension is not that of the bounds"));
    }
    Ok(())
}

/// The pilot: what the final sample is drawn from.
fn prepare(pilot: &mut Pilot<'_, '_, '_>, settings: &Settings) -> Result<Final> {
    let dim = pilot.region.dim();
    let mut n = Pilot::limit(dim, (settings.pilot_fraction * settings.n as f64) as usize);
    if settings.tolerance.is_some() {
        n = n.min(TOLERANT);
    }
    let points = settings.points;
    let mut n_left = n;
    if let Some(given) = &settings.sampler {
        let mut sampler = given.clone();
        if n >= 64 {
            sampler = pilot.again(sampler, n)?;
        }
        return Ok(Final::new(sampler, points));
    }
    if pilot.region.is_infinite() && n >= 64 {
        let part = n / 4;
        pilot.set_units(part)?;
        n_left -= part;
    }
    let uniform = Sampler::uniform(pilot.region.clone());
    let share = |part: f64| (part * n_left as f64) as usize;
    Ok(match settings.method {
        Method::Sobol => Final::new(uniform, points),
        Method::MonteCarlo => Final::new(uniform, Points::Random),
        Method::Map => {
            let map = pilot.map(None, share(1.0 - CHECK))?;
            choose::checked(pilot, Final::new(map, points), share(CHECK))?
        }
        Method::Mixture => {
            pilot.map(None, share(0.3))?;
            let mixture = pilot.mixture(share(0.7 - CHECK))?;
            let sampler = mixture.ok_or_else(|| too_small("mixture", settings.n))?;
            choose::checked(pilot, Final::new(sampler, points), share(CHECK))?
        }
        Method::Rotated => {
            pilot.map(None, share(0.3))?;
            let rotated = pilot.rotated(share(0.7 - CHECK), true)?;
            let sampler = rotated.ok_or_else(|| too_small("rotated", settings.n))?;
            choose::checked(pilot, Final::new(sampler, points), share(CHECK))?
        }
        Method::Stratified => {
            let map = pilot.map(None, share(0.6))?;
            let rest = settings.n - n;
            choose::stratified(pilot, map, share(0.4), rest / STRATIFIED)?
        }
        Method::Auto => {
            if n_left < 20 * (dim + 1) {
                // Too little for any training.
                return Ok(Final::new(uniform, points));
            }
            let map = pilot.first_map(share(0.25))?;
            let mut candidates = vec![Candidate::new(uniform, "sobol"), Candidate::new(map, "map")];
            if !pilot.is_efficient() {
                if let Some(mixture) = pilot.mixture(share(0.25))? {
                    candidates.push(Candidate::new(mixture, "mixture"));
                }
                if let Some(rotated) = pilot.rotated(share(0.1), false)? {
                    candidates.push(Candidate::new(rotated, "rotated"));
                }
            }
            let left = n.saturating_sub(pilot.problem.n_evals());
            let rest = settings.n - n;
            choose::best(pilot, candidates, left, points, rest / STRATIFIED)?
        }
    })
}

/// The polynomials that are subtracted. Strata have weights of their own, and do without.
fn fit(
    pilot: &mut Pilot<'_, '_, '_>,
    last: &Final,
    settings: &Settings,
) -> Result<Option<Surface>> {
    if !settings.polynomials || last.strata.is_some() {
        return Ok(None);
    }
    let (before, number) = (pilot.problem.n_evals(), pilot.next());
    let n = (POLYNOMIALS * settings.n as f64) as usize;
    let n = n.min(settings.n.saturating_sub(before) / 2);
    let (problem, context) = (pilot.problem, pilot.context);
    let surface = Surface::fit(problem, context, &last.sampler, last.points, number, n)?;
    let purpose = match &surface {
        None => "polynomials: none".to_owned(),
        Some(found) => {
            let words: Vec<String> =
                found.degrees.iter().take(8).map(ToString::to_string).collect();
            let more = if found.degrees.len() > 8 { ", ..." } else { "" };
            format!("polynomials of degree {}{more}", words.join(", "))
        }
    };
    pilot.report(purpose, before);
    Ok(surface)
}

fn too_small(method: &str, n: usize) -> Error {
    let why = format!(
        "{n} given; the pilot of method='{method}' is too small to train it: raise n or \
         pilot_fraction, or use method='auto'"
    );
    Error::argument("n", why)
}

/// The final sample.
struct Run<'a, 'b, 'c> {
    problem: &'a Problem<'b>,
    settings: &'a Settings,
    context: &'a Context<'c>,
    last: Final,
    /// What is subtracted from the integrand.
    surface: Option<Surface>,
    steps: Vec<Step>,
    number: u32,
}

/// The data of the points that are kept besides the sums.
#[derive(Default)]
struct Kept {
    tails: Vec<f64>,
    draws: Vec<f64>,
    log_weights: Vec<f64>,
}

impl Run<'_, '_, '_> {
    /// The number of replicates, and the points of each.
    fn plan(&self) -> (usize, usize) {
        let left = self.settings.n.saturating_sub(self.problem.n_evals()).max(1);
        // Points outside the region are not evaluated.
        let points = (left as f64 / self.last.inside) as usize;
        let is_net = self.last.points == Points::Sobol;
        let given = self.settings.n_replicates;
        if !is_net {
            let usual = if self.last.strata.is_some() { STRATIFIED } else { RANDOM };
            let count = given.unwrap_or(usual).min(points / 2).max(2);
            return (count, points / count);
        }
        let power = |count: usize| (points / count).max(1).ilog2();
        let count = given.unwrap_or_else(|| {
            let fewest = if points < 1 << 12 { 16 } else { 8 };
            (points >> power(fewest)).min(2 * fewest - 1).min(points)
        });
        (count, 1 << power(count))
    }

    fn finish(mut self, pairs: &dyn Fn() -> bool) -> std::result::Result<Integral, Stopped> {
        let fail = |error| (error, None);
        let (count, size) = self.plan();
        if let Some(strata) = &mut self.last.strata {
            strata.allocate(size, &self.last.spread);
        }
        let numbers = if self.settings.keep_draws { self.last.sampler.dim() + 1 } else { 0 };
        fermiac_base::alloc::check_room::<f64>("n", &[count, size, numbers]).map_err(fail)?;
        let mut replicates = vec![Replicate::default(); count];
        let mut kept = Kept::default();
        let Some(tolerance) = self.settings.tolerance else {
            return match self.sweep(0..size, &mut replicates, &mut kept) {
                Ok(()) => Ok(self.report(&replicates, size, kept, 0, true)),
                Err(error) => {
                    replicates.retain(|r| r.n as usize == size);
                    let some = !replicates.is_empty();
                    let partial =
                        some.then(|| Box::new(self.report(&replicates, size, kept, 0, false)));
                    Err((error, partial))
                }
            };
        };
        // Looks at sizes that double, so that nothing is thrown away.
        let looks = (size.ilog2() - FIRST_LOOK.min(size.ilog2()) + 1).min(LOOKS as u32) as usize;
        let mut done = 0;
        for look in (0..looks).rev() {
            let next = size >> look;
            let before = replicates.clone();
            if let Err(error) = self.sweep(done..next, &mut replicates, &mut kept) {
                let partial = (done > 0)
                    .then(|| Box::new(self.report(&before, done, Kept::default(), looks, false)));
                return Err((error, partial));
            }
            done = next;
            if self.is_met(&replicates, tolerance, looks, pairs()).map_err(fail)? {
                return Ok(self.report(&replicates, done, kept, looks, true));
            }
        }
        Ok(self.report(&replicates, done, kept, looks, false))
    }

    fn sweep(
        &self,
        range: std::ops::Range<usize>,
        replicates: &mut [Replicate],
        kept: &mut Kept,
    ) -> Result<()> {
        let stage = Stage {
            sampler: &self.last.sampler,
            points: self.last.points,
            scramble: self.settings.scramble,
            number: self.number,
            replicates: replicates.len(),
            range,
            strata: self.last.strata.as_ref(),
            wants_y: false,
        };
        let log_volume = fermiac_base::simd::ln(self.last.sampler.region.volume());
        self.problem.sweep_less(
            self.context,
            &stage,
            self.surface.as_ref(),
            |block| {
                let k = self.problem.outputs()?;
                // The tails of all outputs, from points of all replicates in the order of the run.
                let rows = (TAIL / k / stage.replicates).clamp(1, CHUNK);
                // Where all points of a block count, those of the first ones fill it.
                let is_full = rows == CHUNK && block.before * k >= TAIL.max(k);
                let rows = if is_full { 0 } else { rows.min(block.len()) };
                let mut tail = vec![0.0; rows * k];
                let weights = &block.placed.weight;
                for (i, out) in tail.chunks_exact_mut(k).enumerate() {
                    for (j, out) in out.iter_mut().enumerate() {
                        let value = block.values[i * k + j];
                        *out = if value == 0.0 { 0.0 } else { (weights[i] * value).abs() };
                    }
                }
                let points = self.settings.keep_draws.then(|| {
                    let logs: Vec<f64> =
                        weights.iter().map(|w| fermiac_base::simd::ln(*w) + log_volume).collect();
                    (block.placed.x.clone(), logs)
                });
                Ok((Replicate::of(block, k), tail, points))
            },
            |replicate, (sums, tail, points)| {
                replicates[replicate].add(&sums);
                let room = (TAIL.max(sums.v.len())).saturating_sub(kept.tails.len());
                kept.tails
                    .extend_from_slice(&tail[..tail.len().min(room / sums.v.len() * sums.v.len())]);
                if let Some((x, logs)) = points {
                    kept.draws.extend(x);
                    kept.log_weights.extend(logs);
                }
                Ok(())
            },
        )
    }

    /// What the mean of an output has besides that of the values, none where nothing was subtracted.
    fn subtracted(&self, j: usize) -> Option<f64> {
        self.surface.as_ref().filter(|s| s.degrees[j] > 0).map(|s| s.mean(j))
    }

    /// The means of the replicates.
    fn means(&self, replicates: &[Replicate]) -> Vec<f64> {
        let mut means = means(replicates);
        let k = means.len() / replicates.len().max(1);
        for (i, mean) in means.iter_mut().enumerate() {
            *mean += self.subtracted(i % k).unwrap_or(0.0);
        }
        means
    }

    /// Whether every estimate is within the tolerance, at the level of a single check.
    fn is_met(
        &self,
        replicates: &[Replicate],
        (relative, absolute): (f64, f64),
        looks: usize,
        pairs: bool,
    ) -> Result<bool> {
        let k = self.problem.outputs()?;
        let (mean, variance) = spread(&self.means(replicates), k);
        let all = total(replicates);
        let factor = student(replicates.len() as f64 - 1.0, FAIL / looks as f64);
        let units = self.problem.units()?;
        let volume = self.last.sampler.region.volume();
        let of = |j: usize| {
            let scale = units[j] * volume;
            let zero = all.abs[j] == 0.0 && self.subtracted(j).is_none();
            // A spread of 0 of values that differ is no error of 0.
            let least = (all.high[j] - all.low[j]) / all.n;
            let jump = JUMP * all.jump[j] * (replicates.len() as f64).sqrt() / all.n;
            let least = if variance[j] == 0.0 { least } else { jump };
            let error = variance[j].sqrt().max(least);
            (scale * mean[j], factor * scale * error, zero)
        };
        let met = |mean: f64, error: f64, zero: bool| {
            zero || error <= absolute.max(relative * mean.abs())
        };
        Ok(if pairs {
            (0..k / 2).all(|j| {
                let ((a, ea, za), (b, eb, zb)) = (of(j), of(j + k / 2));
                met(a.hypot(b), ea.hypot(eb), za && zb)
            })
        } else {
            (0..k).all(|j| {
                let (mean, error, zero) = of(j);
                met(mean, error, zero)
            })
        })
    }

    fn report(
        self,
        replicates: &[Replicate],
        size: usize,
        kept: Kept,
        n_looks: usize,
        converged: bool,
    ) -> Integral {
        let all = total(replicates);
        let k = all.v.len();
        let volume = self.last.sampler.region.volume();
        let units = self.problem.units().unwrap_or_else(|_| vec![1.0; k]);
        let scale: Vec<f64> = units.iter().map(|u| u * volume).collect();
        let scaled = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            values.enumerate().map(|(i, v)| v * scale[i % k]).collect()
        };
        let khat = (0..k)
            .map(|j| {
                let mut column: Vec<f64> = kept.tails.iter().skip(j).step_by(k).copied().collect();
                fermiac_target::diagnostics::khat(&mut column)
            })
            .collect();
        let share = |top: f64, of: f64| if of > 0.0 { top / of } else { 0.0 };
        // Strata give the uniform points other weights.
        let is_plain = self.last.sampler.share >= 1.0 || self.last.strata.is_some();
        let base_mean =
            |j: usize| all.base[j] / all.n_base.max(1.0) + self.subtracted(j).unwrap_or(0.0);
        let variance = |j: usize| {
            let n = all.n_base.max(2.0);
            ((all.base_squares[j] - all.base[j] * all.base[j] / n) / (n - 1.0) / n).max(0.0)
        };
        let mut steps = self.steps.clone();
        for step in &mut steps {
            for column in [&mut step.mean, &mut step.stderr] {
                column.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
            }
        }
        Integral {
            replicates: scaled(&mut self.means(replicates).into_iter()),
            n_outputs: k,
            n_per_replicate: size,
            is_net: self.last.points == Points::Sobol,
            chosen: self.last.name(),
            ess: (0..k).map(|j| all.ess(j)).collect(),
            khat,
            max_share: (0..k).map(|j| share(all.largest[j], all.abs[j])).collect(),
            max_variance_share: (0..k)
                .map(|j| {
                    let mean = all.v[j] / all.n;
                    let top = (all.high[j] - mean).abs().max((all.low[j] - mean).abs());
                    share(top * top, all.variance(j) * (all.n - 1.0))
                })
                .collect(),
            resolution: scaled(&mut (0..k).map(|j| (all.high[j] - all.low[j]) / size as f64)),
            jump: scaled(&mut (0..k).map(|j| JUMP * all.jump[j] / size as f64)),
            all_zero: (0..k).map(|j| all.abs[j] == 0.0 && self.subtracted(j).is_none()).collect(),
            base_mean: scaled(&mut (0..k).map(base_mean)),
            base_stderr: scaled(&mut (0..k).map(|j| variance(j).sqrt())),
            base_ess: (0..k)
                .map(|j| {
                    if is_plain {
                        0.0
                    } else {
                        share(all.base[j] * all.base[j], all.base_squares[j])
                    }
                })
                .collect(),
            n_base: all.n_base,
            zero_share: (0..k).map(|j| share(all.zeros[j], all.n_base)).collect(),
            unseen: scaled(&mut (0..k).map(|j| 3.0 * all.size[j] / all.n_base.max(1.0))),
            n_looks,
            converged,
            n_evals: self.problem.n_evals(),
            n_non_finite: self.problem.n_bad(),
            steps,
            draws: kept.draws,
            log_weights: kept.log_weights,
            sampler: Some(self.last.sampler),
        }
    }
}

/// The factor t of a two-sided interval that fails with this probability.
pub(crate) fn student(df: f64, fail: f64) -> f64 {
    let (x, y) = IncompleteBeta::new(df / 2.0, 0.5).quantile(fail);
    (df * y / x).sqrt()
}

/// Returns a mixture from means and covariances, one after the other, and shares in 64ths.
///
/// # Errors
/// A covariance that is not positive definite, or shares that are not whole numbers of the right sum.
pub fn mixture_of(parts: Vec<usize>, means: &[f64], covariances: &[f64]) -> Result<Mixture> {
    let count = parts.len();
    let d = means.len() / count.max(1);
    let sized = count > 0
        && count <= 16
        && d > 0
        && means.len() == count * d
        && covariances.len() == count * d * d;
    if !sized || parts.contains(&0) || parts.iter().sum::<usize>() != 56 {
        return Err(Error::argument("sampler", "its mixture is damaged"));
    }
    let fitted = means
        .chunks_exact(d)
        .zip(covariances.chunks_exact(d * d))
        .map(|(mean, covariance)| Fitted { mean: mean.to_vec(), covariance: covariance.to_vec() })
        .collect();
    Mixture::of_parts(parts, fitted)
}
