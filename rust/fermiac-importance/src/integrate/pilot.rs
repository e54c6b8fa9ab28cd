//! The pilot: points that train the samplers of an integral.

use super::axis_map::AxisMap;
use super::place;
use super::region::{Ends, Region};
use super::sampler::{DF, Frame, MOST_COMPONENTS, Mixture, Sampler, Source};
use super::sweep::{Block, Points, Problem, Stage};
use super::train::{self, Binned};
use crate::component_bank::{Fitted, Tail};
use crate::evidence::mixture::Fitter;
use crate::evidence::pool::temper;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::qmc::Scramble;
use fermiac_base::simd::{LANES, V, exp, ln};
use std::borrow::Cow;

/// Points of the pilot at most, and numbers that it keeps at most.
const MOST_POINTS: usize = 1 << 18;
const MOST_NUMBERS: usize = 1 << 24;
/// The shares of the rounds of a map.
const ROUNDS: [f64; 4] = [0.1, 0.15, 0.25, 0.5];
/// Rounds that set the units of infinite axes, and those of a mixture, at most.
const UNIT_ROUNDS: usize = 6;
const MIXTURE_ROUNDS: usize = 6;
/// Effective points for each coordinate, and one more, of a fit.
const ENOUGH: f64 = 15.0;
/// A correlation from which axes are rotated, and the dimension up to which they are.
const CORRELATED: f64 = 0.3;
const MOST_ROTATED: usize = 64;
/// If the effective sample size of a map is at least this share of its points, nothing else is
/// tried.
const EFFICIENT: f64 = 0.5;
/// Points of the last training at least.
const FEW: usize = 64;
/// Points that the uniform law must be worth.
const SEEN: f64 = 30.0;

/// One step of the pilot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// The purpose of the points.
    pub purpose: String,
    /// Evaluations of this step, and of all up to it.
    pub n: usize,
    /// As above.
    pub used: usize,
    /// Estimates from the step, where it gives any, and their errors.
    pub mean: Vec<f64>,
    /// As above.
    pub stderr: Vec<f64>,
    /// The forecast of the mean squared relative error at the size of the step; NaN where there is
    /// none.
    pub forecast: f64,
}

/// The points of the pilot so far, and the steps.
pub(super) struct Pilot<'a, 'b, 'c> {
    pub(super) problem: &'a Problem<'b>,
    pub(super) context: &'a Context<'c>,
    pub(super) region: Region,
    pub(super) steps: Vec<Step>,
    pub(super) number: u32,
    points: Points,
    /// Whether points are kept once a map was trained with them: other sources need them.
    keeps: bool,
    /// The samplers with the number of their points.
    sources: Vec<(Sampler, usize)>,
    /// Linear coordinates, n × d.
    l: Vec<f64>,
    /// The sizes of the values of all outputs at the points.
    size: Vec<f64>,
    /// One over the squared sizes of the weighted values of every output.
    scale: Vec<f64>,
    /// The effective sample size of the last sampler as a share of its points, and that of the
    /// uniform law.
    efficiency: f64,
    uniform_ess: f64,
}

/// Points of a sampler: the weighted sizes of their values, and their coordinates under the maps of a
/// sampler of maps, or the bins of these.
#[derive(Default)]
struct Drawn {
    w: Vec<f64>,
    y: Vec<f64>,
    bins: Vec<u16>,
}

/// The results of a block of training points.
struct Trained {
    l: Vec<f64>,
    y: Vec<f64>,
    bins: Vec<u16>,
    weight: Vec<f64>,
    size: Vec<f64>,
    squares: Vec<f64>,
}

impl<'a, 'b, 'c> Pilot<'a, 'b, 'c> {
    pub(super) fn new(
        problem: &'a Problem<'b>,
        context: &'a Context<'c>,
        region: Region,
        points: Points,
        keeps: bool,
    ) -> Self {
        Self {
            problem,
            context,
            region,
            steps: Vec::new(),
            number: 0,
            points,
            keeps,
            sources: Vec::new(),
            l: Vec::new(),
            size: Vec::new(),
            scale: Vec::new(),
            efficiency: 0.0,
            uniform_ess: 0.0,
        }
    }

    fn dim(&self) -> usize {
        self.region.dim()
    }

    /// The most points that a pilot of `n` evaluations has.
    pub(super) fn limit(dim: usize, n: usize) -> usize {
        n.min(MOST_POINTS).min(MOST_NUMBERS / dim)
    }

    /// The next address of a stage.
    pub(super) fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    pub(super) fn report(&mut self, purpose: impl Into<String>, before: usize) {
        let used = self.problem.n_evals();
        self.steps.push(Step {
            purpose: purpose.into(),
            n: used - before,
            used,
            forecast: f64::NAN,
            ..Step::default()
        });
    }

    /// Draws points of a sampler, and keeps them for other sources. Their coordinates under the maps of a
    /// sampler of maps are returned, or only their bins: a fourth of the memory to write and to read.
    fn draw(&mut self, sampler: &Sampler, n: usize, binned: Option<&Binned>) -> Result<Drawn> {
        let number = self.next();
        let stage = Stage {
            sampler,
            points: self.points,
            scramble: Scramble::Linear,
            number,
            replicates: 1,
            range: 0..n,
            strata: None,
            wants_y: true,
        };
        let d = self.dim();
        if !self.keeps {
            self.forget();
        }
        let scale = std::mem::take(&mut self.scale);
        let is_map = matches!(sampler.source, Source::Map(_));
        let wants_l = self.keeps || !is_map;
        let mut drawn = Drawn::default();
        let Drawn { w, y, bins } = &mut drawn;
        w.reserve(n);
        if wants_l {
            self.l.reserve(n * d);
        }
        match (is_map, binned) {
            (true, Some(_)) => bins.reserve(n * d),
            (true, None) => y.reserve(n * d),
            (false, _) => {}
        }
        let mut squares = Vec::new();
        let problem = self.problem;
        let (l, size) = (&mut self.l, &mut self.size);
        let done = problem.sweep(
            self.context,
            &stage,
            |block| trained(problem, sampler, block, &scale, (wants_l, binned)),
            |_, part: Trained| {
                l.extend_from_slice(&part.l);
                y.extend_from_slice(&part.y);
                bins.extend_from_slice(&part.bins);
                w.extend(part.weight.iter().zip(&part.size).map(|(w, s)| w * s));
                size.extend_from_slice(&part.size);
                squares.resize(part.squares.len(), 0.0);
                squares.iter_mut().zip(part.squares).for_each(|(a, b): (&mut f64, f64)| *a += b);
                Ok(())
            },
        );
        self.sources.push((sampler.clone(), w.len()));
        // Relative to the first output that is not 0, so that the points of all stages compare.
        if let Some(first) = squares.iter().copied().find(|s| *s > 0.0) {
            self.scale = squares.iter().map(|s| if *s > 0.0 { first / s } else { 0.0 }).collect();
        }
        done?;
        debug_assert!(!wants_l || self.l.len() == self.size.len() * d);
        let (sum, square) = w.iter().fold((0.0, 0.0), |(a, b), w| (a + w, b + w * w));
        self.efficiency = if square > 0.0 { sum * sum / square / n as f64 } else { 0.0 };
        if sampler.share >= 1.0 {
            self.uniform_ess = self.efficiency * n as f64;
        }
        Ok(drawn)
    }

    fn forget(&mut self) {
        self.sources.clear();
        self.l.clear();
        self.size.clear();
    }

    /// Sets the units of infinite axes: the medians and quartiles of the mass.
    pub(super) fn set_units(&mut self, n: usize) -> Result<()> {
        let before = self.problem.n_evals();
        let d = self.dim();
        let each = n / UNIT_ROUNDS;
        for _ in 0..UNIT_ROUNDS {
            let sampler = Sampler::uniform(self.region.clone());
            let w = self.draw(&sampler, each, None)?.w;
            let logs: Vec<V> = w.chunks(LANES).map(|w| V::padded(w, 0.0).map(ln)).collect();
            let wanted = (10.0_f64).max(w.len() as f64 / 20.0);
            let Some(tempered) = temper(&logs, wanted) else { continue };
            let weights: Vec<f64> = tempered.weights.iter().flat_map(|v| v.0).collect();
            let mut axes = self.region.axes.clone();
            for (j, axis) in axes.iter_mut().enumerate() {
                let column: Vec<f64> =
                    self.last(w.len()).iter().skip(j).step_by(d).copied().collect();
                let quantile = |p: f64| weighted_quantile(&column, &weights, p);
                match axis.ends {
                    Ends::Finite => {}
                    // t = 1/2 is at the median.
                    Ends::Half => axis.scale *= quantile(0.5).max(1e-12),
                    // The quartiles of the map of the line are ±2/3.
                    Ends::Infinite => {
                        let (low, high) = (quantile(0.25), quantile(0.75));
                        axis.origin += axis.scale * quantile(0.5);
                        axis.scale *= (0.75 * (high - low)).max(1e-12);
                    }
                }
            }
            let moved = Region { axes };
            if moved.volume().is_normal() {
                self.region = moved;
            }
            // Points in other units serve nothing more.
            self.forget();
            if tempered.power >= 1.0 && self.efficiency > 0.05 {
                break;
            }
        }
        self.report("units of infinite axes", before);
        Ok(())
    }

    /// Trains a map of every axis from `start`.
    pub(super) fn map(&mut self, start: Option<Vec<AxisMap>>, n: usize) -> Result<Sampler> {
        let before = self.problem.n_evals();
        let mut maps = start.unwrap_or_else(|| vec![AxisMap::identity(); self.dim()]);
        for share in ROUNDS {
            let flat = maps.iter().all(|map| map.knots().len() == 2);
            let sampler = if flat {
                Sampler::uniform(self.region.clone())
            } else {
                Sampler::blended(self.region.clone(), Source::Map(maps.clone()))
            };
            maps = self.refine(&sampler, maps, (share * n as f64) as usize)?;
        }
        self.report("training of the map", before);
        Ok(Sampler::blended(self.region.clone(), Source::Map(maps)))
    }

    /// Trains a sampler of an earlier run further.
    pub(super) fn again(&mut self, sampler: Sampler, n: usize) -> Result<Sampler> {
        self.region = sampler.region.clone();
        match sampler.source {
            Source::Uniform => self.map(None, n),
            Source::Map(maps) => self.map(Some(maps), n),
            Source::Rotated(frame, mut maps) => {
                let before = self.problem.n_evals();
                for share in ROUNDS {
                    let source = Source::Rotated(frame.clone(), maps.clone());
                    let sampler = Sampler::blended(self.region.clone(), source);
                    maps = self.refine(&sampler, maps, (share * n as f64) as usize)?;
                }
                self.report("training of the rotated map", before);
                Ok(Sampler::blended(self.region.clone(), Source::Rotated(frame, maps)))
            }
            Source::Mixture(_) => {
                self.draw(&sampler, n / 2, None)?;
                Ok(self.mixture(n / 2)?.unwrap_or(sampler))
            }
        }
    }

    fn refine(&mut self, sampler: &Sampler, maps: Vec<AxisMap>, n: usize) -> Result<Vec<AxisMap>> {
        if n < 16 {
            return Ok(maps);
        }
        let none = Binned::new(n);
        let Drawn { w, mut bins, .. } = self.draw(sampler, n, Some(&none))?;
        if bins.is_empty() {
            bins = none.of(&self.under(sampler, &maps, self.last(w.len()), &[]));
        }
        Ok(train::refined(&maps, &none.with(bins), &w, sampler.base_of_axes()))
    }

    /// The coordinates under maps of points in linear coordinates; `drawn`, where they are known.
    fn under<'y>(
        &self,
        sampler: &Sampler,
        maps: &[AxisMap],
        l: &[f64],
        drawn: &'y [f64],
    ) -> Cow<'y, [f64]> {
        if !drawn.is_empty() {
            return Cow::Borrowed(drawn);
        }
        let frame = match &sampler.source {
            Source::Rotated(frame, _) => Some(frame),
            _ => None,
        };
        Cow::Owned(place::under(&self.region, frame, maps, l))
    }

    /// The linear coordinates of the last points.
    fn last(&self, n: usize) -> &[f64] {
        &self.l[self.l.len() - n * self.dim()..]
    }

    /// Trains the maps of a sampler once more: by points of it that are there, in linear coordinates and
    /// under its maps, with the weighted sizes of their values, and by `n` more. Returns the weighted
    /// sizes of the values of these as well.
    pub(super) fn polish(
        &mut self,
        mut sampler: Sampler,
        (l, drawn): (&[f64], &[f64]),
        sizes: &[f64],
        n: usize,
    ) -> Result<(Sampler, Vec<f64>)> {
        let (Source::Map(maps) | Source::Rotated(_, maps)) = &sampler.source else {
            return Ok((sampler, Vec::new()));
        };
        let maps = maps.clone();
        let before = self.problem.n_evals();
        let mut y = self.under(&sampler, &maps, l, drawn);
        let mut w = sizes.to_vec();
        let mut more = Vec::new();
        if n >= FEW {
            // Both in the units of the first points.
            let scale = self.scale.clone();
            let Drawn { w: new, y: y_of_new, .. } = self.draw(&sampler, n, None)?;
            let l = if y_of_new.is_empty() { self.last(new.len()) } else { &[] };
            y.to_mut().extend_from_slice(&self.under(&sampler, &maps, l, &y_of_new));
            w.extend(&new);
            more = new;
            self.scale = scale;
        }
        let none = Binned::new(w.len());
        let bins = none.of(&y);
        sampler.set_maps(train::refined(&maps, &none.with(bins), &w, sampler.base_of_axes()));
        self.report("last training", before);
        Ok((sampler, more))
    }

    /// Whether a map alone serves, so that nothing else needs to be tried. A map that is efficient
    /// where the uniform law met next to nothing may have gone to one of several regions.
    pub(super) fn is_efficient(&self) -> bool {
        self.efficiency > EFFICIENT && self.uniform_ess > SEEN
    }

    /// One over the squared sizes of the outputs, relative to one of them.
    pub(super) fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// The logarithms of the sizes of the values over the mixture of all samplers: tiles.
    fn log_weights(&self) -> Result<Vec<V>> {
        let d = self.dim();
        let n = self.size.len();
        let all: Vec<(&Sampler, f64)> =
            self.sources.iter().map(|(s, count)| (s, *count as f64 / n as f64)).collect();
        let mut out = Vec::with_capacity(n.div_ceil(LANES));
        let (sizes, points) = (&self.size, &self.l);
        self.context.ordered(
            n.div_ceil(LANES * 64),
            |i| {
                let rows = i * LANES * 64..((i + 1) * LANES * 64).min(n);
                let logs: Vec<f64> = rows
                    .map(|i| {
                        if sizes[i] == 0.0 {
                            return f64::NEG_INFINITY;
                        }
                        let l = &points[i * d..(i + 1) * d];
                        let q: f64 =
                            all.iter().map(|(s, share)| share * exp(s.log_linear(l))).sum();
                        ln(sizes[i]) - ln(q)
                    })
                    .collect();
                Ok(logs.chunks(LANES).map(|l| V::padded(l, f64::NEG_INFINITY)).collect::<Vec<_>>())
            },
            |_, part| {
                out.extend(part);
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// The points in linear coordinates: tiles × d.
    fn tiles(&self) -> Vec<V> {
        let (d, n) = (self.dim(), self.size.len());
        let mut z = vec![V::ZERO; n.div_ceil(LANES) * d];
        for (t, tile) in z.chunks_exact_mut(d).enumerate() {
            for lane in 0..LANES {
                let i = (t * LANES + lane).min(n - 1);
                for j in 0..d {
                    tile[j].0[lane] = self.l[i * d + j];
                }
            }
        }
        z
    }

    /// Where the mass may lie in linear coordinates, at first.
    fn wide(&self) -> Fitted {
        let d = self.dim();
        let of = |ends| match ends {
            Ends::Finite => (0.5, 1.0 / 12.0),
            Ends::Half => (1.0, 1.0),
            Ends::Infinite => (0.0, 1.0),
        };
        let mut covariance = vec![0.0; d * d];
        let mut mean = Vec::with_capacity(d);
        for (j, axis) in self.region.axes.iter().enumerate() {
            let (centre, variance) = of(axis.ends);
            mean.push(centre);
            covariance[j * d + j] = variance;
        }
        Fitted { mean, covariance }
    }

    /// Trains a mixture; None where the points do not carry one.
    pub(super) fn mixture(&mut self, n: usize) -> Result<Option<Sampler>> {
        let before = self.problem.n_evals();
        let d = self.dim();
        let wanted = ENOUGH * (d as f64 + 1.0);
        let each = n / MIXTURE_ROUNDS;
        if (each as f64) < wanted {
            return Ok(None);
        }
        // Fits start from uniform points: those of a map that went to one of several regions would
        // draw the fits there.
        self.keep_uniform();
        let uniform = Sampler::uniform(self.region.clone());
        self.draw(&uniform, each, None)?;
        let mut wide = self.wide();
        let units: Vec<f64> = (0..d).map(|k| wide.covariance[k * d + k].sqrt()).collect();
        let mut found = None;
        for round in 0..MIXTURE_ROUNDS {
            let logs = self.log_weights()?;
            let Some(tempered) = temper(&logs, wanted) else { break };
            let z = self.tiles();
            let fitter = Fitter {
                context: self.context,
                dim: d,
                tail: Tail::Student(DF),
                z: &z,
                weights: &tempered.weights,
                effective: tempered.effective,
                wide: &wide,
                units: &units,
            };
            let fit = fitter.fit(MOST_COMPONENTS, false)?;
            wide = fit.moments();
            let Ok(mixture) = Mixture::new(&fit.shares, fit.fitted) else { break };
            let source = Source::Mixture(Box::new(mixture));
            let sampler = Sampler::blended(self.region.clone(), source);
            found = Some(sampler.clone());
            let settled = tempered.power >= 1.0 && tempered.effective > 4.0 * wanted && round > 0;
            if round + 1 == MIXTURE_ROUNDS || (settled && self.efficiency > 0.3) {
                break;
            }
            self.draw(&sampler, each, None)?;
        }
        self.report("training of the mixture", before);
        Ok(found)
    }

    /// Forgets the points of all samplers but the uniform law.
    fn keep_uniform(&mut self) {
        let d = self.dim();
        let (mut l, mut size, mut at) = (Vec::new(), Vec::new(), 0);
        for (sampler, count) in &self.sources {
            if sampler.share >= 1.0 {
                l.extend_from_slice(&self.l[at * d..(at + count) * d]);
                size.extend_from_slice(&self.size[at..at + count]);
            }
            at += count;
        }
        self.sources.retain(|(sampler, _)| sampler.share >= 1.0);
        (self.l, self.size) = (l, size);
    }

    /// Trains a map in the frame of the principal axes; None where no axes are correlated.
    pub(super) fn rotated(&mut self, n: usize, always: bool) -> Result<Option<Sampler>> {
        let d = self.dim();
        if d == 1 || d > MOST_ROTATED || n < 40 * d {
            return Ok(None);
        }
        let before = self.problem.n_evals();
        let logs = self.log_weights()?;
        let Some(tempered) = temper(&logs, ENOUGH * (d as f64 + 1.0)) else { return Ok(None) };
        let fitted = self.moments(&tempered.weights);
        let deviation = |j: usize| fitted.covariance[j * d + j].sqrt();
        let correlated = (0..d).any(|i| {
            (0..i).any(|j| {
                fitted.covariance[i * d + j].abs() > CORRELATED * deviation(i) * deviation(j)
            })
        });
        if !(correlated || always) {
            return Ok(None);
        }
        let Ok(frame) = Frame::new(&fitted.mean, &fitted.covariance) else { return Ok(None) };
        let mut maps = vec![AxisMap::identity(); d];
        for share in ROUNDS {
            let source = Source::Rotated(frame.clone(), maps.clone());
            let sampler = Sampler::blended(self.region.clone(), source);
            maps = self.refine(&sampler, maps, (share * n as f64) as usize)?;
        }
        self.report("training of the rotated map", before);
        Ok(Some(Sampler::blended(self.region.clone(), Source::Rotated(frame, maps))))
    }

    /// Mean and covariance of the points under weights that sum to 1.
    fn moments(&self, weights: &[V]) -> Fitted {
        let d = self.dim();
        let rows = || self.l.chunks_exact(d).zip(weights.iter().flat_map(|v| v.0));
        let mut mean = vec![0.0; d];
        for (l, w) in rows() {
            mean.iter_mut().zip(l).for_each(|(m, l)| *m += w * l);
        }
        let mut covariance = vec![0.0; d * d];
        for (l, w) in rows().filter(|(_, w)| *w > 0.0) {
            for i in 0..d {
                for j in 0..d {
                    covariance[i * d + j] += w * (l[i] - mean[i]) * (l[j] - mean[j]);
                }
            }
        }
        Fitted { mean, covariance }
    }
}

fn trained(
    problem: &Problem<'_>,
    sampler: &Sampler,
    block: &Block,
    scale: &[f64],
    (wants_l, binned): (bool, Option<&Binned>),
) -> Result<Trained> {
    let (k, d, n) = (problem.outputs()?, sampler.dim(), block.len());
    let mut l = vec![0.0; if wants_l { n * d } else { 0 }];
    for (x, l) in block.placed.x.chunks_exact(d).zip(l.chunks_exact_mut(d)) {
        sampler.to_linear(x, l);
    }
    let (mut size, mut squares) = (Vec::with_capacity(n), vec![0.0; k]);
    for (row, weight) in block.values.chunks_exact(k).zip(&block.placed.weight) {
        let mut sum = 0.0;
        for (j, value) in row.iter().enumerate() {
            if *value != 0.0 {
                sum += value * value * scale.get(j).copied().unwrap_or(1.0);
                squares[j] += (weight * value) * (weight * value);
            }
        }
        size.push((sum / k as f64).sqrt());
    }
    let weight = block
        .placed
        .weight
        .iter()
        .zip(&size)
        .map(|(w, s)| if *s == 0.0 { 0.0 } else { *w })
        .collect();
    let y = &block.placed.y;
    let (y, bins) = match binned {
        Some(binned) => (Vec::new(), binned.of(y)),
        None => (y.clone(), Vec::new()),
    };
    Ok(Trained { l, y, bins, weight, size, squares })
}

fn weighted_quantile(values: &[f64], weights: &[f64], p: f64) -> f64 {
    let mut order: Vec<usize> = (0..values.len()).filter(|i| weights[*i] > 0.0).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let total: f64 = order.iter().map(|i| weights[*i]).sum();
    let mut before = 0.0;
    for i in &order {
        before += weights[*i];
        if before >= p * total {
            return values[*i];
        }
    }
    order.last().map_or(0.0, |i| values[*i])
}
