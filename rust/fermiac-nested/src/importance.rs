//! Importance nested sampling: an estimate of the evidence from all points that were drawn from
//! bounds, also those below the level.
//!
//! The points are weighted as draws from the mixture of the bounds, in which the weight of each
//! bound is the share of points drawn from it. A bound is fitted to points that were drawn before
//! it, and contains those above its level. What it cuts off above its level therefore has none of
//! them, whatever its mass. The points before the last bound that cut off a place do not count
//! there: points of later bounds do, and test points, which are drawn from somewhat wider bounds,
//! and to which no bound is fitted.
//!
//! - E. Cameron, A. Pettitt, "Recursive pathways to marginal likelihood estimation with prior-
//!   sensitivity analysis", Statistical Science, 2014.
//! - F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
//!   MultiNest algorithm", Open Journal of Astrophysics, 2019.

use super::bound::{Bound, Place, Tiled, VOLUME_DRAWS, Volume};
use fermiac_base::Result;
use fermiac_base::par::{Context, pause};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// The address of the streams of volumes, above those of all batches.
const VOLUMES: u64 = 1 << 58;
/// Points that one worker evaluates the mixture at in one task.
const ROWS: usize = 2048;
/// The volume of a wider bound, in volumes of the bound: what is cut off is densest at its surface.
pub(crate) const ENLARGED: f64 = 1.25;
/// A record of more coordinates and log-likelihoods is given up.
const MOST_NUMBERS: usize = 1 << 25;
/// The sum over bounds ends where all earlier ones together are a smaller share of it. They are then
/// taken to contain the point, as nearly all of them do, so that no density is off by more than this.
const NEGLIGIBLE: f64 = 1e-4;
/// ln of the ratio of two scales of sums: far from overflow with any number of bounds.
const SCALE: f64 = 200.0;
/// The least number of points whose variance about their own mean is taken.
const TOGETHER: usize = 32;

/// A bound and the number of points drawn from it.
#[derive(Debug, Clone)]
struct Part {
    bound: Bound,
    /// The level of the points that it was fitted to.
    level: f64,
    n: usize,
    /// The number of test points drawn from the wider bound.
    n_tests: usize,
}

/// The bounds of a run, and all points drawn from them.
#[derive(Debug, Clone)]
pub struct DrawRecord {
    dim: usize,
    /// The bounds in the order of the fits; the cube is first.
    parts: Vec<Part>,
    draws: Draws,
    tests: Draws,
}

/// Points, bound by bound.
#[derive(Debug, Clone, Default)]
struct Draws {
    /// The samplers' coordinates, row-major.
    u: Vec<f64>,
    ell: Vec<f64>,
}

impl Draws {
    fn extend(&mut self, u: &[f64], ell: &[f64]) {
        self.u.extend_from_slice(u);
        self.ell.extend_from_slice(ell);
    }
}

/// The estimate of the evidence from all points.
#[derive(Debug, Clone)]
pub struct Importance {
    /// The points in the samplers' coordinates, row-major; test points are last.
    pub u: Vec<f64>,
    /// Their log-likelihoods.
    pub ell: Vec<f64>,
    /// Their log-weights: the mean of the exponentials is the evidence.
    pub log_weights: Vec<f64>,
    /// The logarithm of that mean.
    pub log_evidence: f64,
    /// Its standard error.
    pub log_evidence_stderr: f64,
    /// The share of the evidence from points that bounds cut off; of a fitted density that of the
    /// posterior where it is too low.
    pub cut_share: f64,
    /// The number of test points there, or of points of the posterior.
    pub n_cut: u64,
    /// The share of the evidence in modes that the run has lost, from points of a fitted density.
    pub lost_share: f64,
    /// The evidence from test points alone, and its standard error.
    pub log_evidence_tests: f64,
    /// Its standard error.
    pub log_evidence_tests_stderr: f64,
    /// Points drawn from each bound, without test points.
    pub counts: Vec<u64>,
    /// Test points drawn from each wider bound.
    pub test_counts: Vec<u64>,
    /// ln of the volume of each bound within the cube.
    pub log_volumes: Vec<f64>,
}

/// The bounds with the contributions of each to the density of the mixture, times the number of
/// points: of the bound, and of the wider one.
struct Mixture {
    bounds: Vec<Bound>,
    wider: Vec<Bound>,
    levels: Vec<f64>,
    /// For each bound, the least number of a scale at which its sums start.
    scales: Vec<usize>,
    /// The contributions relative to each scale, by bound and then by scale.
    heights: Vec<Heights>,
    n_scales: usize,
    /// ln of the first scale.
    first_scale: f64,
}

/// Contributions to densities, relative to a scale.
#[derive(Debug, Clone, Copy)]
struct Heights {
    inner: f64,
    outer: f64,
    /// The sums over all bounds before.
    inner_before: f64,
    outer_before: f64,
}

/// ln of densities at a point, times the number of points.
#[derive(Debug, Clone, Copy)]
struct Density {
    /// Of all points that count there.
    all: f64,
    /// Of test points.
    tests: f64,
    /// Whether the point itself counts.
    counts: bool,
    /// Whether test points alone count.
    is_cut: bool,
}

impl DrawRecord {
    /// A record without points, of draws from the cube.
    pub fn new(dim: usize) -> Self {
        let cube = Part { bound: Bound::cube(dim), level: f64::NEG_INFINITY, n: 0, n_tests: 0 };
        Self { dim, parts: vec![cube], draws: Draws::default(), tests: Draws::default() }
    }

    /// Adds a bound fitted to points above a level, from which later points are drawn.
    pub fn add_bound(&mut self, bound: &Bound, level: f64) {
        if self.parts.last().is_some_and(|part| part.n + part.n_tests == 0) {
            self.parts.pop();
        }
        self.parts.push(Part { bound: bound.clone(), level, n: 0, n_tests: 0 });
    }

    /// Adds points drawn from the last bound.
    pub fn add_points(&mut self, u: &[f64], ell: &[f64]) {
        if let Some(part) = self.parts.last_mut() {
            part.n += ell.len();
        }
        self.draws.extend(u, ell);
    }

    /// Adds test points drawn from the last bound after it was made wider; no bound may be fitted
    /// to them.
    pub fn add_tests(&mut self, u: &[f64], ell: &[f64]) {
        if let Some(part) = self.parts.last_mut() {
            part.n_tests += ell.len();
        }
        self.tests.extend(u, ell);
    }

    /// The first draws from bounds, at most `most`: their coordinates, row-major, and log-likelihoods.
    pub fn first_draws(&self, most: usize) -> (&[f64], &[f64]) {
        let n = self.draws.ell.len().min(most);
        (&self.draws.u[..n * self.dim], &self.draws.ell[..n])
    }

    /// The number of draws from bounds.
    pub fn n_draws(&self) -> usize {
        self.draws.ell.len()
    }

    /// Whether the record takes more memory than it may.
    pub fn is_too_large(&self) -> bool {
        (self.draws.ell.len() + self.tests.ell.len()) * (self.dim + 1) > MOST_NUMBERS
    }

    /// Returns the evidence from all points so far.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn evidence(&self, key: u64, context: &Context<'_>) -> Result<Importance> {
        let (mixture, volumes) = self.mixture(key, context)?;
        let mut u = self.draws.u.clone();
        u.extend_from_slice(&self.tests.u);
        let mut ell = self.draws.ell.clone();
        ell.extend_from_slice(&self.tests.ell);
        let n = ell.len() as f64;
        let densities = self.densities(&mixture, &u, &ell, context)?;
        let n_draws = self.draws.ell.len();
        let mut log_weights = Vec::with_capacity(ell.len());
        let mut log_tests = Vec::with_capacity(self.tests.ell.len());
        for (i, (density, ell)) in densities.iter().zip(&ell).enumerate() {
            let log_weight = ell + ln(n) - density.all;
            log_weights.push(if density.counts { log_weight } else { f64::NEG_INFINITY });
            if i >= n_draws {
                log_tests.push(ell - density.tests);
            }
        }
        let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = log_weights.iter().map(|w| exp(w - largest)).collect();
        let mean = weights.iter().sum::<f64>() / n;
        weights.iter_mut().for_each(|w| *w /= mean);
        let log_evidence = largest + ln(mean);
        let cut = |i: &usize| densities[*i].is_cut;
        let cut_share = (n_draws..ell.len()).filter(cut).map(|i| weights[i]).sum::<f64>() / n;
        let n_cut = (n_draws..ell.len()).filter(cut).filter(|i| weights[*i] > 0.0).count() as u64;
        let mut of_tests = vec![0.0; n_draws];
        of_tests.extend(log_tests.iter().map(|w| n * exp(w - log_evidence)));
        let mean_of_tests = of_tests.iter().sum::<f64>() / n;
        let variance_of_tests = self.variance(&of_tests, &volumes);
        // Next to what was cut off there may be more that no point has seen.
        let variance = self.variance(&weights, &volumes) + cut_share * cut_share;
        Ok(Importance {
            log_evidence,
            log_evidence_stderr: variance.sqrt(),
            cut_share,
            n_cut,
            lost_share: 0.0,
            log_evidence_tests: log_evidence + ln(mean_of_tests),
            log_evidence_tests_stderr: variance_of_tests.sqrt() / mean_of_tests,
            u,
            ell,
            log_weights,
            counts: self.parts.iter().map(|part| part.n as u64).collect(),
            test_counts: self.parts.iter().map(|part| part.n_tests as u64).collect(),
            log_volumes: volumes.iter().map(|[inner, _]| inner.log).collect(),
        })
    }

    /// The mixture, and the volumes of bounds and wider bounds.
    fn mixture(&self, key: u64, context: &Context<'_>) -> Result<(Mixture, Vec<[Volume; 2]>)> {
        let mut volumes = Vec::with_capacity(self.parts.len());
        let mut wider = Vec::with_capacity(self.parts.len());
        let efforts = self.parts.iter().map(|part| part.bound.effort(2 * VOLUME_DRAWS));
        context.ordered_apart(
            self.parts.len(),
            efforts.max().unwrap_or(0),
            |b| {
                let mut stream = Stream::new(key, Domain::Nested, VOLUMES | b as u64, 0);
                let bound = &self.parts[b].bound;
                let wide = bound.enlarged(ENLARGED).unwrap_or_else(|| bound.clone());
                let inner = bound.volume(&mut stream);
                Ok(([inner, wide.volume(&mut stream)], wide))
            },
            |_, (both, wide)| {
                volumes.push(both);
                wider.push(wide);
                Ok(())
            },
        )?;
        let height = |n: usize, volume: &Volume| ln(n as f64) - volume.log;
        let heights = self.parts.iter().zip(&volumes);
        let inner: Vec<f64> =
            heights.clone().map(|(part, [inner, _])| height(part.n, inner)).collect();
        let outer: Vec<f64> =
            heights.map(|(part, [_, outer])| height(part.n_tests, outer)).collect();
        Ok((Mixture::new(&self.parts, wider, &inner, &outer), volumes))
    }

    /// The densities of the mixture at points.
    fn densities(
        &self,
        mixture: &Mixture,
        u: &[f64],
        ell: &[f64],
        context: &Context<'_>,
    ) -> Result<Vec<Density>> {
        let n = ell.len();
        let mut own = Vec::with_capacity(n);
        for (b, part) in self.parts.iter().enumerate() {
            own.resize(own.len() + part.n, b);
        }
        own.resize(n, usize::MAX);
        let mut out = Vec::with_capacity(n);
        let efforts = self.parts.iter().map(|part| part.bound.effort(ROWS));
        context.ordered_apart(
            n.div_ceil(ROWS),
            efforts.fold(0, usize::saturating_add),
            |c| {
                let (start, end) = (c * ROWS, n.min((c + 1) * ROWS));
                let u = &u[start * self.dim..end * self.dim];
                let (ell, own) = (&ell[start..end], &own[start..end]);
                Ok(mixture.densities(u, ell, own, self.dim, NEGLIGIBLE))
            },
            |_, part| {
                out.extend_from_slice(&part);
                Ok(())
            },
        )?;
        Ok(out)
    }

    /// The relative variance of the mean of weights whose mean is 1.
    ///
    /// The points of each bound are draws from it, so that only their variance about their own mean
    /// counts. The derivative of the evidence by the log-volume of a bound is the share of its points.
    fn variance(&self, weights: &[f64], volumes: &[[Volume; 2]]) -> f64 {
        let total = weights.len() as f64;
        let (draws, tests) = weights.split_at(self.draws.ell.len());
        let mut sum = 0.0;
        for (all, of_tests) in [(draws, false), (tests, true)] {
            let (mut start, mut end) = (0, 0);
            for (b, (part, [inner, outer])) in self.parts.iter().zip(volumes).enumerate() {
                let (n, volume) = if of_tests { (part.n_tests, outer) } else { (part.n, inner) };
                let own = &all[end..end + n];
                end += n;
                let share = own.iter().sum::<f64>() / total;
                sum += share * share * volume.relative_variance;
                // Few points of a bound are taken together with those of the next.
                if end - start < TOGETHER && b + 1 < self.parts.len() {
                    continue;
                }
                let group = &all[start..end];
                start = end;
                let n = group.len() as f64;
                if n > 1.0 {
                    let mean = group.iter().sum::<f64>() / n;
                    let squares = group.iter().map(|w| (w - mean).powi(2)).sum::<f64>();
                    sum += squares * n / (n - 1.0) / (total * total);
                }
            }
        }
        sum
    }

    /// Writes or reads the record.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let mut n_parts = self.parts.len();
        codec.count(&mut n_parts)?;
        for draws in [&mut self.draws, &mut self.tests] {
            codec.list(&mut draws.u)?;
            codec.list(&mut draws.ell)?;
        }
        if codec.is_reading() {
            self.parts.clear();
            for _ in 0..n_parts {
                let cube = Bound::cube(self.dim);
                let mut part = Part { bound: cube, level: f64::NEG_INFINITY, n: 0, n_tests: 0 };
                part.persist(codec)?;
                self.parts.push(part);
            }
            let fits = |draws: &Draws, count: fn(&Part) -> usize| {
                let n =
                    self.parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(count(part)));
                n == Some(draws.ell.len())
                    && draws.u.len() == draws.ell.len() * self.dim
                    && draws.ell.iter().all(|ell| *ell < f64::INFINITY)
            };
            let fit = fits(&self.draws, |part| part.n) && fits(&self.tests, |part| part.n_tests);
            return codec.require(fit);
        }
        self.parts.iter_mut().try_for_each(|part| part.persist(codec))
    }
}

impl Part {
    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.count(&mut self.n)?;
        codec.count(&mut self.n_tests)?;
        codec.number(&mut self.level)?;
        codec.require(!self.level.is_nan())?;
        self.bound.persist(codec)
    }
}

impl Mixture {
    /// The mixture of bounds with ln of the heights of each and of the wider one.
    fn new(parts: &[Part], wider: Vec<Bound>, inner: &[f64], outer: &[f64]) -> Self {
        let tops = inner.iter().zip(outer).map(|(inner, outer)| inner.max(*outer));
        let finite = || tops.clone().filter(|top| *top > f64::NEG_INFINITY);
        let first_scale = finite().fold(f64::INFINITY, f64::min).min(f64::MAX);
        let number = |top: f64| ((top - first_scale) / SCALE).max(0.0) as usize;
        let n_scales = 1 + finite().map(number).max().unwrap_or(0);
        let mut heights = Vec::with_capacity(n_scales * parts.len());
        let mut before = vec![[0.0; 2]; n_scales];
        for (inner, outer) in inner.iter().zip(outer) {
            for (s, [inner_before, outer_before]) in before.iter_mut().enumerate() {
                let scale = first_scale + s as f64 * SCALE;
                let relative = |height: f64| {
                    if height > f64::NEG_INFINITY { exp(height - scale) } else { 0.0 }
                };
                let (inner, outer) = (relative(*inner), relative(*outer));
                let (sum_inner, sum_outer) = (*inner_before, *outer_before);
                *inner_before += inner;
                *outer_before += outer;
                heights.push(Heights {
                    inner,
                    outer,
                    inner_before: sum_inner,
                    outer_before: sum_outer,
                });
            }
        }
        Self {
            bounds: parts.iter().map(|part| part.bound.clone()).collect(),
            wider,
            levels: parts.iter().map(|part| part.level).collect(),
            scales: tops.map(number).collect(),
            heights,
            n_scales,
            first_scale,
        }
    }

    /// The densities at the rows of `u`, whose log-likelihoods are `ell`, drawn from the bounds `own`
    /// (no bound of the mixture for test points). Bounds that are a smaller share than `negligible`
    /// of a sum are taken to contain the point.
    fn densities(
        &self,
        u: &[f64],
        ell: &[f64],
        own: &[usize],
        dim: usize,
        negligible: f64,
    ) -> Vec<Density> {
        let mut sums = vec![Sums::default(); ell.len()];
        // Rows whose sums go on, with some that have ended, and their places in `u`.
        let mut at: Vec<usize> = (0..ell.len()).collect();
        let mut rows = Tiled::new(u.to_vec(), dim);
        let mut places = Vec::new();
        for b in (0..self.bounds.len()).rev() {
            pause();
            self.bounds[b].places(&self.wider[b], &rows, &mut places);
            let mut n_done = 0;
            for (i, place) in at.iter().zip(&places) {
                let sums = &mut sums[*i];
                if !sums.is_done {
                    if *place != Place::Inside && ell[*i] > self.levels[b] {
                        sums.is_cut = true;
                        // Points drawn before the bound that cut off their place.
                        sums.counts &= own[*i] >= b;
                    }
                    if *place != Place::Outside {
                        let scale = *sums.scale.get_or_insert(self.scales[b]);
                        let heights = &self.heights[b * self.n_scales + scale];
                        sums.add(heights, *place == Place::Inside, negligible);
                    }
                }
                n_done += usize::from(sums.is_done);
            }
            if n_done == at.len() {
                break;
            }
            if 4 * n_done > at.len() {
                at.retain(|i| !sums[*i].is_done);
                let left = at.iter().flat_map(|i| &u[i * dim..(i + 1) * dim]);
                rows = Tiled::new(left.copied().collect(), dim);
            }
        }
        sums.iter().map(|sums| sums.density(self.first_scale)).collect()
    }
}

/// The heights of the bounds at a point, summed from the last to the first.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// The number of the scale, that of the last bound that contains the point. Earlier bounds are
    /// larger, so that their heights are not much above it.
    scale: Option<usize>,
    /// Sums over points of bounds and over test points, relative to it.
    inner: f64,
    tests: f64,
    /// Whether a bound after the present one cut off the point.
    is_cut: bool,
    counts: bool,
    is_done: bool,
}

impl Default for Sums {
    fn default() -> Self {
        Self { scale: None, inner: 0.0, tests: 0.0, is_cut: false, counts: true, is_done: false }
    }
}

impl Sums {
    /// Adds a bound, or its wider bound alone, and ends the sum if all bounds before are negligible.
    fn add(&mut self, heights: &Heights, is_inside: bool, negligible: f64) {
        if is_inside && !self.is_cut {
            self.inner += heights.inner;
        }
        self.tests += heights.outer;
        let before = if self.is_cut { 0.0 } else { heights.inner_before };
        if heights.outer_before <= negligible * self.tests
            && before <= negligible * (self.inner + self.tests)
        {
            self.tests += heights.outer_before;
            self.inner += before;
            self.is_done = true;
        }
    }

    fn density(&self, first_scale: f64) -> Density {
        let Self { inner, tests, counts, .. } = *self;
        let scale = first_scale + self.scale.unwrap_or(0) as f64 * SCALE;
        let ln_of = |sum: f64| scale + ln(sum);
        Density { all: ln_of(inner + tests), tests: ln_of(tests), counts, is_cut: inner == 0.0 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fermiac_base::linalg::Rows;

    use super::*;
    use crate::bound::{BoundKind, FitOptions};

    const D: usize = 3;

    /// Points on a bent sheet, across the end of the first axis.
    fn points(n: usize, thick: f64, stream: &mut Stream) -> Vec<f64> {
        let mut out = Vec::new();
        for _ in 0..n {
            let a = 0.8 + 0.35 * stream.uniform();
            let b = stream.uniform();
            let c = 0.3 + 0.6 * (b - 0.5).powi(2) + thick * stream.uniform();
            out.extend([a % 1.0, b, c]);
        }
        out
    }

    /// A record of bounds that shrink, with draws from each.
    fn record(kind: BoundKind) -> DrawRecord {
        let mut stream = Stream::new(3, Domain::User, 1, 0);
        let mut record = DrawRecord::new(D);
        let mut bound = Bound::cube(D);
        for (level, thick) in [0.4_f64, 0.2, 0.1, 0.05].into_iter().enumerate() {
            let mut u = Vec::new();
            bound.propose(500 + 300 * level, &mut stream, &mut u);
            record.add_points(&u, &vec![0.0; u.len() / D]);
            let wide = bound.enlarged(ENLARGED).unwrap_or_else(|| bound.clone());
            u.clear();
            wide.propose(60, &mut stream, &mut u);
            record.add_tests(&u, &vec![0.0; u.len() / D]);
            let log_x = (0.35 * thick).ln();
            let periodic = vec![true, false, false];
            let options = FitOptions { kind, enlarge: 1.2, modes: false, bootstrap: 0, periodic };
            let rows = points(300, thick, &mut stream);
            let rows = Rows::new(&rows, D);
            bound = Bound::fit(rows, log_x, &options, 1, 0, &Context::serial()).unwrap();
            record.add_bound(&bound, 0.0);
        }
        record
    }

    #[test]
    fn the_density_of_the_mixture_integrates_to_one() {
        for kind in [BoundKind::None, BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
            let record = record(kind);
            let (mixture, volumes) = record.mixture(5, &Context::serial()).unwrap();
            let n = 200_000;
            let mut u = vec![0.0; n * D];
            Stream::new(4, Domain::User, 2, 0).fill_uniform(&mut u);
            let densities = mixture.densities(&u, &vec![-1.0; n], &vec![usize::MAX; n], D, 0.0);
            let of_all: fn(&Density) -> f64 = |density| density.all;
            let of_tests: fn(&Density) -> f64 = |density| density.tests;
            for (log_density, share, total) in
                [(of_all, [1.0, 1.0], 3800.0 + 240.0), (of_tests, [0.0, 1.0], 240.0)]
            {
                let density: Vec<f64> =
                    densities.iter().map(|density| exp(log_density(density)) / total).collect();
                let mean = density.iter().sum::<f64>() / n as f64;
                let variance = density.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64;
                let of_volumes: f64 = record
                    .parts
                    .iter()
                    .zip(&volumes)
                    .map(|(part, [inner, outer])| {
                        (share[0] * part.n as f64 / total).powi(2) * inner.relative_variance
                            + (part.n_tests as f64 / total).powi(2) * outer.relative_variance
                    })
                    .sum();
                let error = (variance / n as f64 + of_volumes).sqrt();
                assert!((mean - 1.0).abs() <= 5.0 * error + 1e-12, "{kind:?}: {mean} ± {error}");
                assert!(error < 0.02, "{kind:?}: {error}");
            }
        }
    }

    #[test]
    fn the_evidence_of_a_constant_is_the_constant() {
        for kind in [BoundKind::Multi, BoundKind::Friends] {
            let mut record = record(kind);
            record.draws.ell.fill(-7.0);
            record.tests.ell.fill(-7.0);
            let got = record.evidence(5, &Context::serial()).unwrap();
            let z = (got.log_evidence + 7.0) / got.log_evidence_stderr;
            assert!(z.abs() < 5.0, "{kind:?}: {z}");
            assert!((0.001..0.05).contains(&got.log_evidence_stderr), "{kind:?}: {got:?}");
        }
    }

    #[test]
    fn a_point_deep_within_tiny_bounds_has_a_density() {
        // The share of the cube would vanish beside that of a bound of volume exp(-900).
        let cube = || Part { bound: Bound::cube(1), level: 0.0, n: 1, n_tests: 0 };
        let none = f64::NEG_INFINITY;
        let parts = [cube(), cube()];
        let at = |inner: [f64; 2], outer: [f64; 2]| {
            let wider = vec![Bound::cube(1), Bound::cube(1)];
            let mixture = Mixture::new(&parts, wider, &inner, &outer);
            mixture.densities(&[0.5], &[-1.0], &[0], 1, NEGLIGIBLE)[0]
        };
        assert!((at([-3.0, 900.0], [none, none]).all - 900.0).abs() < 1e-12);
        assert!((at([none, -3.0], [none, -3.0]).tests + 3.0).abs() < 1e-12);
        assert!((at([900.0, 900.0], [none, 20.0]).all - 900.0 - 2_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn negligible_bounds_change_densities_by_no_more_than_they_may() {
        for kind in [BoundKind::Single, BoundKind::Multi, BoundKind::Friends] {
            let record = record(kind);
            let (mixture, _) = record.mixture(5, &Context::serial()).unwrap();
            let u = &record.tests.u;
            let n = u.len() / D;
            let ell: Vec<f64> = (0..n).map(|i| (i % 2) as f64 - 0.5).collect();
            let own = vec![usize::MAX; n];
            let exact = mixture.densities(u, &ell, &own, D, 0.0);
            for negligible in [NEGLIGIBLE, 0.3] {
                let got = mixture.densities(u, &ell, &own, D, negligible);
                for (got, exact) in got.iter().zip(&exact) {
                    for (got, exact) in [(got.all, exact.all), (got.tests, exact.tests)] {
                        let off = exp(got - exact) - 1.0;
                        assert!((-1e-12..=negligible + 1e-12).contains(&off), "{kind:?}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sum_that_ends_early_takes_earlier_bounds_to_contain_the_point() {
        let left = left_half();
        let parts = [left.clone(), Bound::cube(1)].map(|bound| Part {
            bound,
            level: 0.0,
            n: 1,
            n_tests: 1,
        });
        let (inner, outer) = ([1e-5_f64.ln(), 0.0], [1e-6_f64.ln(), 0.1_f64.ln()]);
        let mixture = Mixture::new(&parts, vec![left, Bound::cube(1)], &inner, &outer);
        for (negligible, all) in [(0.0, 1.1_f64), (NEGLIGIBLE, 1.1 + 1.1e-5)] {
            let got = mixture.densities(&[0.9], &[-1.0], &[usize::MAX], 1, negligible)[0];
            assert!((got.all - all.ln()).abs() < 1e-12, "{negligible}: {got:?}");
        }
    }

    /// A bound about points of the left half of the interval.
    fn left_half() -> Bound {
        let left: Vec<f64> = (0..200).map(|i| 0.5 * (f64::from(i) + 0.5) / 200.0).collect();
        let options = FitOptions {
            kind: BoundKind::Single,
            enlarge: 1.0,
            modes: false,
            bootstrap: 0,
            periodic: Vec::new(),
        };
        Bound::fit(Rows::new(&left, 1), -1.0, &options, 1, 0, &Context::serial()).unwrap()
    }

    #[test]
    fn what_a_bound_cuts_off_is_that_of_the_test_points() {
        // The bound is the left half of the interval; half of what lies above its level is cut off.
        let mut stream = Stream::new(3, Domain::User, 1, 0);
        let mut record = DrawRecord::new(1);
        let mut u = vec![0.0; 4000];
        stream.fill_uniform(&mut u);
        record.add_points(&u, &vec![0.0; 4000]);
        stream.fill_uniform(&mut u);
        record.add_tests(&u, &vec![0.0; 4000]);
        let bound = left_half();
        record.add_bound(&bound, -1.0);
        u.clear();
        bound.propose(4000, &mut stream, &mut u);
        record.add_points(&u, &vec![0.0; u.len()]);
        let got = record.evidence(5, &Context::serial()).unwrap();
        assert!((got.cut_share - 0.5).abs() < 0.04, "{}", got.cut_share);
        assert!(got.n_cut > 1800);
        let z = got.log_evidence / got.log_evidence_stderr;
        assert!(z.abs() < 5.0, "{z}");
        let z = got.log_evidence_tests / got.log_evidence_tests_stderr.max(1e-12);
        assert!(z.abs() < 5.0, "{z}");
    }

    #[test]
    fn a_book_that_is_read_goes_on_with_the_same_bits() {
        let context = Context::serial();
        let mut whole = record(BoundKind::Multi);
        let mut codec = Codec::writer();
        whole.persist(&mut codec).unwrap();
        let mut read = DrawRecord::new(D);
        let mut codec = Codec::reader(codec.into_words());
        read.persist(&mut codec).unwrap();
        codec.finish().unwrap();
        for record in [&mut whole, &mut read] {
            record.add_points(&[0.9, 0.5, 0.31], &[1.0]);
        }
        let (a, b) = (whole.evidence(1, &context).unwrap(), read.evidence(1, &context).unwrap());
        assert_eq!(a.log_weights, b.log_weights);
        assert_eq!(a.log_evidence_stderr.to_bits(), b.log_evidence_stderr.to_bits());
    }
}
