//! A search for the peaks of modes, from points of known log-likelihoods.
//!
//! A point that is higher than its neighbours is taken to be the top of a mode if a valley parts it
//! from the nearest higher point. From the tops of modes with few points above a level, climbs lead to
//! the peaks.

mod climb;
mod shape;

use crate::basins::{Basins, First};
use crate::problem::{EvalBuffer, Problem};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot};
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use std::cell::RefCell;

use climb::{Axes, Climb, PARTS};
use shape::{law_about, n_calls};

/// A top is higher than so many of its nearest points.
const NEIGHBOURS: usize = 3;
/// The largest number of rounds of tests for valleys.
const ROUNDS: usize = 4;
/// A mode with so many points above the level needs no climb.
const MANY: usize = 30;
/// The largest number of climbs at a time, and of steps of a climb.
const CLIMBS: usize = 50;
const STEPS: usize = 40;
/// A step of all climbs takes at most one in so many of the calls that are left, by the highest ones.
const SLICES: usize = 8;
/// The scale of climbs from the highest of all points; from others it is the distance to the nearest
/// higher one.
const LONE_SCALE: f64 = 0.1;

/// Climbs that ended at most so far below a level go on by the laws about their ends, so many times, as
/// long as each is so much higher.
const BELOW: f64 = 30.0;
const MOVES: usize = 4;
const FAR: f64 = 0.5;
/// Standard deviations about a peak that cuts of circles avoid.
const AROUND: i32 = 3;

/// A peak, and the covariance matrix of the normal law about it, row-major; it is empty if it is not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peak {
    pub(crate) ell: f64,
    pub(crate) u: Vec<f64>,
    pub(crate) covariance: Vec<f64>,
}

impl Peak {
    /// The peak at each of the samplers' coordinates that stand for it.
    pub(crate) fn images(&self, problem: &Problem) -> Vec<Self> {
        let image = |u: Vec<f64>| {
            let n = u.len();
            let is_mirrored: Vec<bool> = u.iter().zip(&self.u).map(|(a, b)| a != b).collect();
            let mut covariance = self.covariance.clone();
            for (k, entry) in covariance.iter_mut().enumerate() {
                if is_mirrored[k / n] != is_mirrored[k % n] {
                    *entry = -*entry;
                }
            }
            Self { ell: self.ell, u, covariance }
        };
        problem.images(&self.u).into_iter().map(image).collect()
    }

    /// The ellipsoid about the peak whose squared radius is d + `reach` √(2 d) in standard deviations;
    /// `None` if its law is not known.
    pub(crate) fn mode<'a>(&'a self, circles: &'a [bool], reach: f64) -> Option<Mode<'a>> {
        let dim = self.u.len();
        let factor = Cholesky::new(&self.covariance, dim).ok()?;
        let square = dim as f64 + reach * (2.0 * dim as f64).sqrt();
        Some(Mode { peak: &self.u, axes: Axes { circles, end: 0.0 }, factor, square })
    }

    /// The peak, and points some standard deviations from it, row-major.
    pub(crate) fn about(&self) -> Vec<f64> {
        let n = self.u.len();
        let mut rows = Vec::new();
        for k in -AROUND..=AROUND {
            let sd = |j: usize| self.covariance.get(j * (n + 1)).map_or(0.0, |x| x.sqrt());
            let row = self.u.iter().enumerate().map(|(j, u)| u + f64::from(k) * sd(j));
            rows.extend(row.map(|u| u.rem_euclid(1.0)));
        }
        rows
    }

    pub(crate) fn persist(&mut self, dim: usize, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.ell)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.covariance)?;
        let is_known = !self.covariance.is_empty();
        codec.require(
            self.u.len() == dim
                && self.u.iter().all(|u| (0.0..=1.0).contains(u))
                && (!is_known || self.covariance.len() == dim * dim)
                && self.covariance.iter().all(|x| x.is_finite()),
        )
    }
}

/// The ellipsoid about a peak.
pub(crate) struct Mode<'a> {
    peak: &'a [f64],
    axes: Axes<'a>,
    factor: Cholesky,
    square: f64,
}

impl Mode<'_> {
    /// Whether each of some rows is in it.
    pub(crate) fn members(&self, u: &[f64]) -> Vec<bool> {
        let is_in = |row: &[f64]| {
            let mut step = self.axes.step(self.peak, row);
            self.factor.solve_lower(&mut step);
            dot(&step, &step) < self.square
        };
        u.chunks_exact(self.peak.len()).map(is_in).collect()
    }
}

/// Gives the log-likelihoods of rows; it is told how many the search has asked for before.
pub(crate) type Answers<'a> = Box<dyn FnMut(&[f64], usize) -> Result<Vec<f64>> + 'a>;

/// What a search needs of a run.
pub(crate) struct Means<'a, 'c> {
    pub(crate) problem: &'a Problem,
    pub(crate) context: &'a Context<'c>,
    pub(crate) buffer: &'a mut EvalBuffer,
    /// The log-likelihoods of all points so far: a search that an error ended is made again from its
    /// start, with known answers.
    pub(crate) answers: &'a mut Vec<f64>,
    pub(crate) circles: &'a [bool],
    /// The evaluations of the run.
    pub(crate) n_evals: &'a mut u64,
}

impl<'a> Means<'a, '_> {
    /// Answers by the likelihood, which are kept.
    fn into_answers(self) -> Answers<'a> {
        let Self { problem, context, buffer, answers, circles, n_evals } = self;
        let seconds_a_row = RefCell::new(1e-6);
        Box::new(move |rows, start| {
            let n = rows.len() / circles.len();
            if answers.len() < start + n {
                problem.evaluate_together(rows, &seconds_a_row, context, buffer)?;
                answers.truncate(start);
                answers.extend_from_slice(&buffer.ell);
                *n_evals += n as u64;
                context.advance(n as u64);
                context.poll()?;
            }
            Ok(answers[start..start + n].to_vec())
        })
    }
}

/// A search under way.
pub(crate) struct PeakSearch<'a, 'c> {
    answers: Answers<'a>,
    context: &'a Context<'c>,
    axes: Axes<'a>,
    level: f64,
    basins: Basins,
    /// The points from which climbs began.
    tried: Vec<usize>,
    peaks: Vec<Peak>,
    /// The number of evaluations so far.
    n_evals: usize,
    /// The points from which climbs began that ended since no calls were left.
    cut: Vec<usize>,
}

impl<'a, 'c> PeakSearch<'a, 'c> {
    /// A search from points, for modes with few of them above a level.
    pub(crate) fn new(means: Means<'a, 'c>, level: f64, u: &[f64], ell: &[f64]) -> Result<Self> {
        let (circles, context) = (means.circles, means.context);
        let mut basins = Basins::new(circles, NEIGHBOURS, usize::MAX);
        basins.add(u, ell, 0, context)?;
        let mut this = Self::among(basins, means.into_answers(), circles, context);
        this.level = level;
        Ok(this)
    }

    /// A search from the tops of all basins.
    pub(crate) fn among(
        basins: Basins,
        answers: Answers<'a>,
        circles: &'a [bool],
        context: &'a Context<'c>,
    ) -> Self {
        Self {
            answers,
            context,
            axes: Axes { circles, end: 0.5 / (basins.len() + 1) as f64 },
            level: f64::INFINITY,
            basins,
            tried: Vec::new(),
            peaks: Vec::new(),
            n_evals: 0,
            cut: Vec::new(),
        }
    }

    /// Makes no climbs from the tops of some basins, nor from those with many points above a level.
    pub(crate) fn leave_out(&mut self, tops: &[usize], level: f64) {
        self.tried.extend(tops);
        self.level = level;
    }

    /// Finds the laws about peaks, the highest first, until the search has made `most` calls, and forgets
    /// those below a level.
    pub(crate) fn shape(&mut self, level: f64, most: usize) -> Result<()> {
        let mut peaks = std::mem::take(&mut self.peaks);
        peaks.sort_by(|a, b| b.ell.total_cmp(&a.ell));
        for peak in peaks.iter_mut().filter(|peak| peak.ell > level - BELOW) {
            if self.n_evals + MOVES * (n_calls(peak.u.len()) + 1) > most {
                break;
            }
            self.shape_one(peak)?;
        }
        peaks.retain(|peak| peak.ell > level);
        self.peaks = peaks;
        Ok(())
    }

    /// Finds the laws about peaks above a level, the highest first, until the search has made `most` calls,
    /// and forgets all others, and those within a standard deviation of a higher one in each direction.
    /// Returns whether a law was found about each of them.
    pub(crate) fn shape_apart(&mut self, level: f64, most: usize) -> Result<bool> {
        let (mut peaks, circles) = (std::mem::take(&mut self.peaks), self.axes.circles);
        peaks.sort_by(|a, b| b.ell.total_cmp(&a.ell));
        let mut is_whole = true;
        for mut peak in peaks.into_iter().take_while(|peak| peak.ell > level) {
            let dim = peak.u.len();
            if self.n_evals + MOVES * (n_calls(dim) + 1) > most {
                return Ok(false);
            }
            let mut higher = self.peaks.iter().filter_map(|peak| peak.mode(circles, 0.0));
            if higher.any(|mode| mode.members(&peak.u)[0]) {
                continue;
            }
            self.shape_one(&mut peak)?;
            is_whole &= !peak.covariance.is_empty();
            if !peak.covariance.is_empty() {
                self.peaks.push(peak);
            }
        }
        Ok(is_whole)
    }

    /// Moves a peak to the centre of the law about it as long as that is higher, and the law with it.
    fn shape_one(&mut self, peak: &mut Peak) -> Result<()> {
        let axes = self.axes;
        for _ in 0..MOVES {
            let law = law_about(&peak.u, peak.ell, axes, |rows| self.evaluate(rows))?;
            let Some((centre, covariance)) = law else { break };
            let ell = self.evaluate(&centre)?[0];
            let gain = ell - peak.ell;
            if gain > 0.0 {
                (peak.u, peak.ell) = (centre, ell);
            }
            peak.covariance = covariance;
            if gain.is_nan() || gain <= FAR {
                break;
            }
        }
        Ok(())
    }

    /// The log-likelihood of the highest peak or top of a basin.
    pub(crate) fn highest(&self) -> f64 {
        let tops = (0..self.basins.len()).map(|i| self.basins.ell(i));
        tops.chain(self.peaks.iter().map(|peak| peak.ell)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The peaks.
    pub(crate) fn into_peaks(self) -> Vec<Peak> {
        self.peaks
    }

    /// The peaks, and the points from which climbs began that ended since no calls were left.
    pub(crate) fn into_peaks_and_cut(self) -> (Vec<Peak>, Vec<usize>) {
        (self.peaks, self.cut)
    }

    /// The number of calls so far.
    pub(crate) fn n_calls(&self) -> usize {
        self.n_evals
    }

    /// Adds points whose log-likelihoods are not known.
    pub(crate) fn add(&mut self, u: &[f64]) -> Result<()> {
        let ell = self.evaluate(u)?;
        self.basins.add(u, &ell, self.basins.len(), self.context)
    }

    fn evaluate(&mut self, rows: &[f64]) -> Result<Vec<f64>> {
        let ell = (self.answers)(rows, self.n_evals)?;
        self.n_evals += ell.len();
        Ok(ell)
    }

    /// Tests for valleys between at most `most` points that may be tops, the highest first, and the
    /// nearest higher ones.
    pub(crate) fn test_highest(&mut self, most: usize) -> Result<()> {
        let (chosen, middles) = self.basins.candidates(First::Highest, usize::MAX, most);
        let ell = self.evaluate(&middles)?;
        self.basins.learn(&chosen, &ell);
        Ok(())
    }

    /// Tests those with the longest joins, of points of one density; the points half-way are points of
    /// the search from then on, but for the last ones, which may be tops that no test would follow.
    pub(crate) fn test_farthest(&mut self, most: usize) -> Result<()> {
        let mut left = most;
        for round in 1..=ROUNDS {
            let (chosen, middles) = self.basins.candidates(First::Longest, usize::MAX, left);
            if chosen.is_empty() {
                break;
            }
            left -= chosen.len();
            let ell = self.evaluate(&middles)?;
            self.basins.learn(&chosen, &ell);
            if round < ROUNDS && left > 0 {
                self.basins.add(&middles, &ell, self.basins.len(), self.context)?;
            }
        }
        Ok(())
    }

    /// Climbs from the tops of modes with few points above the level, until the search has made `most`
    /// calls; returns whether there are several modes.
    pub(crate) fn climb(&mut self, most: usize) -> Result<bool> {
        let (modes, labels) = self.basins.labelled();
        // Points nearer to the top than half of the way to a higher one: others may be parted from it.
        let mut n_above = vec![0; modes.len()];
        for (i, &k) in labels.iter().enumerate() {
            let (top, way) = (self.basins.row(modes[k].top), modes[k].apart);
            let is_near = self.basins.distance(self.basins.row(i), top) < 0.25 * way * way;
            n_above[k] += usize::from(is_near && self.basins.ell(i) > self.level);
        }
        let is_full: Vec<bool> = n_above.iter().map(|n| *n >= MANY).collect();
        let few = modes
            .iter()
            .enumerate()
            .filter(|(k, mode)| !is_full[*k] && !self.tried.contains(&mode.top));
        let mut climbs: Vec<Climb> = few
            .take(CLIMBS)
            .map(|(k, mode)| {
                let scale = if mode.apart.is_finite() { mode.apart } else { LONE_SCALE };
                Climb::new(k, self.basins.row(mode.top), self.basins.ell(mode.top), scale)
            })
            .collect();
        self.tried.extend(climbs.iter().map(|climb| modes[climb.basin].top));
        let each = self.axes.circles.len() + PARTS.len();
        for _ in 0..STEPS {
            let left = most.saturating_sub(self.n_evals) / each;
            let ended = end_lowest(&mut climbs, left.div_ceil(SLICES).min(left));
            self.cut.extend(ended.into_iter().map(|basin| modes[basin].top));
            if climbs.iter().all(|climb| !climb.is_active) {
                break;
            }
            self.climb_together(&mut climbs, false)?;
            self.climb_together(&mut climbs, true)?;
            // A climb into a mode with many points ends where points are as high.
            climbs.retain(|climb| {
                let nearest = self.basins.nearest(&climb.u).filter(|i| is_full[labels[*i]]);
                nearest.is_none_or(|i| labels[i] == climb.basin || self.basins.ell(i) < climb.ell)
            });
        }
        let mut is_mode = is_full;
        for climb in climbs {
            if let Some(nearest) = self.basins.nearest(&climb.u) {
                is_mode[labels[nearest]] = true;
            }
            self.peaks.push(Peak { ell: climb.ell, u: climb.u, covariance: Vec::new() });
        }
        Ok(is_mode.iter().filter(|is_mode| **is_mode).count() > 1)
    }

    /// Evaluates what the climbs ask for: points for gradients, or along steps.
    fn climb_together(&mut self, climbs: &mut [Climb], is_step: bool) -> Result<()> {
        let mut rows = Vec::new();
        for climb in climbs.iter().filter(|climb| climb.is_active) {
            if is_step {
                climb.ask_step(&self.axes, &mut rows);
            } else {
                climb.ask_gradient(&mut rows);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let ell = self.evaluate(&rows)?;
        let each = if is_step { PARTS.len() } else { self.axes.circles.len() };
        let active = climbs.iter_mut().filter(|climb| climb.is_active);
        for (climb, ell) in active.zip(ell.chunks_exact(each)) {
            if is_step {
                climb.learn_step(&self.axes, ell);
            } else {
                climb.learn_gradient(ell);
            }
        }
        Ok(())
    }
}

/// Ends all but the highest climbs, of which so many go on; returns the basins of those that it ended.
fn end_lowest(climbs: &mut [Climb], most: usize) -> Vec<usize> {
    let mut active: Vec<&mut Climb> = climbs.iter_mut().filter(|climb| climb.is_active).collect();
    active.sort_by(|a, b| b.ell.total_cmp(&a.ell));
    let end = |climb: &mut Climb| {
        climb.is_active = false;
        climb.basin
    };
    active.into_iter().skip(most).map(end).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::problem::{CubePrior, Edge, Likelihood, OnNan};
    use fermiac_base::rng::{Domain, Stream};
    use fermiac_target::density;
    use std::sync::Arc;

    const PEAKS: [[f64; 2]; 3] = [[0.2, 0.3], [0.7, 0.4], [0.5, 0.9]];

    fn three_modes(x: &[f64]) -> f64 {
        let logs = PEAKS.map(|at| {
            let [a, b] = [(x[0] - at[0]) / 0.03, (x[1] - at[1]) / 0.05];
            -0.5 * (a * a + b * b - 1.2 * a * b) / 0.64
        });
        logs.iter().copied().fold(f64::MIN, f64::max)
    }

    fn problem(edge: Edge) -> Problem {
        let likelihood = Likelihood::Density(density::from_fn(2, three_modes));
        Problem::new(Arc::new(CubePrior(2)), likelihood, vec![edge; 2], OnNan::Raise).unwrap()
    }

    #[test]
    fn a_mode_with_few_points_is_found_with_its_law() {
        let (problem, context) = (problem(Edge::Hard), Context::serial());
        // Many points in two modes, and five low ones in the third.
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        let mut u = Vec::new();
        for i in 0..405 {
            let (at, sd) = if i < 400 { (PEAKS[i % 2], 0.02) } else { (PEAKS[2], 0.06) };
            u.extend(at.map(|x| (x + sd * stream.normal()).clamp(0.001, 0.999)));
        }
        let ell: Vec<f64> = u.chunks_exact(2).map(three_modes).collect();
        let (mut buffer, mut answers, mut n_evals) = (EvalBuffer::default(), Vec::new(), 0);
        let means = Means {
            problem: &problem,
            context: &context,
            buffer: &mut buffer,
            answers: &mut answers,
            circles: &[false; 2],
            n_evals: &mut n_evals,
        };
        let mut search = PeakSearch::new(means, -3.0, &u, &ell).unwrap();
        search.test_highest(200).unwrap();
        assert!(search.climb(600).unwrap());
        search.shape(-0.5, 1000).unwrap();
        let peaks = search.into_peaks();
        assert!(n_evals <= 1000 && answers.len() as u64 == n_evals);
        assert!(!peaks.is_empty());
        for peak in peaks {
            let near = |at: [f64; 2]| peak.u.iter().zip(at).all(|(u, at)| (u - at).abs() < 1e-3);
            assert!(near(PEAKS[2]), "{peak:?}");
            for (found, exact) in peak.covariance.iter().zip([9e-4, 9e-4, 9e-4, 25e-4]) {
                assert!((found / exact - 1.0).abs() < 0.01, "{peak:?}");
            }
        }
    }

    #[test]
    fn images_have_mirrored_covariances() {
        let peak = Peak { ell: 0.0, u: vec![0.1, 0.3], covariance: vec![4.0, 1.0, 1.0, 9.0] };
        let images = peak.images(&problem(Edge::Reflective));
        assert_eq!(images.len(), 4);
        for image in images {
            let is_mirrored = (image.u[0] > 0.5) != (image.u[1] > 0.5);
            let off = if is_mirrored { -1.0 } else { 1.0 };
            assert_eq!(image.covariance, [4.0, off, off, 9.0], "{:?}", image.u);
        }
    }
}
