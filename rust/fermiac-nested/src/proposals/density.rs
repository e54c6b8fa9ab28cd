//! The mixture from which points are proposed: its fit, its density and its draws.

use super::copula::Copula;
use super::student::{Mixture, Student, into_tile, ln_sums};
use crate::chains::{Clusters, Cut};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Alias, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln};

/// The shares of the copulas, of wider laws and of the cube at first; the rest is that of Student's
/// t laws.
const COPULAS: f64 = 0.45;
const WIDER: f64 = 0.18;
const CUBE: f64 = 0.02;
/// The share of the weights at first in those that were adapted, so that no part vanishes.
const KEPT: f64 = 0.1;
/// The factor on the axes of wider laws about the posterior, and their degrees of freedom. Half of the
/// wider laws are those, and half are about tempered points.
const STRETCH: f64 = 2.5;
const WIDER_DF: f64 = 1.0;
/// The factors on the axes of the nearest law for those about a single point.
const ABOUT: [f64; 2] = [1.0, 0.3];
/// Steps of the adaptation of weights.
const STEPS: usize = 20;
/// The least number of points of a cluster with a copula.
const LEAST: usize = 100;
/// Points of one task.
const ROWS: usize = 512;

/// A law of the mixture.
#[derive(Debug, Clone)]
enum Part {
    Cube,
    Student(Box<Student>),
    Copula(Box<Copula>),
}

/// A mixture of laws on the unit cube, in the samplers' coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Density {
    dim: usize,
    cut: Cut,
    parts: Vec<Part>,
    weights: Vec<f64>,
    first_weights: Vec<f64>,
    n_clusters: usize,
}

/// The points that a density is fitted to.
pub(crate) struct Start<'a> {
    /// Points of the posterior, row-major.
    pub(crate) points: &'a [f64],
    /// The label of each, by parts to begin with.
    pub(crate) labels: &'a [usize],
    /// Points of the posterior by powers of the likelihood, about which are laws that may find modes
    /// which the posterior points have lost, and their labels.
    pub(crate) tempered: &'a [f64],
    pub(crate) tempered_labels: &'a [usize],
    /// The cuts of circles.
    pub(crate) cut: Cut,
}

impl Density {
    /// Fits a density; `None` if the points do not span the space.
    pub(crate) fn fit(start: Start<'_>, dim: usize, context: &Context<'_>) -> Result<Option<Self>> {
        let Start { points, labels, tempered, tempered_labels, cut } = start;
        let rotate = |rows: &[f64]| {
            let mut rotated = rows.to_vec();
            rotated.chunks_exact_mut(dim).for_each(|row| cut.rotate(row));
            rotated
        };
        let rotated = rotate(points);
        let Some(mixture) = Mixture::fit(&rotated, dim, labels, context)? else { return Ok(None) };
        let wide = Mixture::fit(&rotate(tempered), dim, tempered_labels, context)?;
        let mut this = Self {
            dim,
            cut,
            parts: vec![Part::Cube],
            weights: vec![CUBE],
            first_weights: Vec::new(),
            n_clusters: 0,
        };
        let total: f64 = mixture.shares.iter().sum();
        let of_copulas = this.add_copulas(&rotated, &mixture, context)?;
        for (part, share) in mixture.parts.iter().zip(&mixture.shares) {
            if let Some(wide) = part.stretched(STRETCH, WIDER_DF) {
                this.add(Part::Student(Box::new(wide)), 0.5 * WIDER * share / total);
            }
        }
        if let Some(wide) = wide {
            let total: f64 = wide.shares.iter().sum();
            for (part, share) in wide.parts.into_iter().zip(&wide.shares) {
                this.add(Part::Student(Box::new(part)), 0.5 * WIDER * share / total);
            }
        }
        let rest = 1.0 - CUBE - WIDER - if of_copulas { COPULAS } else { 0.0 };
        for (part, share) in mixture.parts.into_iter().zip(&mixture.shares) {
            this.add(Part::Student(Box::new(part)), rest * share / total);
        }
        let sum: f64 = this.weights.iter().sum();
        this.weights.iter_mut().for_each(|w| *w /= sum);
        this.first_weights.clone_from(&this.weights);
        Ok(Some(this))
    }

    /// A mixture of Student's t laws with given shares, of which the centres and the lower triangles of the
    /// scale matrices are given; `None` if no matrix is positive definite.
    pub(crate) fn of_laws(
        laws: Vec<(Vec<f64>, Vec<f64>)>,
        shares: &[f64],
        dim: usize,
    ) -> Option<Self> {
        let (mut parts, mut weights) = (Vec::new(), Vec::new());
        for ((mean, mut scale), share) in laws.into_iter().zip(shares) {
            if let Some(law) = Student::of(mean, &mut scale) {
                parts.push(Part::Student(Box::new(law)));
                weights.push(*share);
            }
        }
        let total: f64 = weights.iter().sum();
        if parts.is_empty() {
            return None;
        }
        weights.iter_mut().for_each(|w| *w /= total);
        let (first_weights, n_clusters) = (weights.clone(), parts.len());
        Some(Self { dim, cut: Cut::default(), parts, weights, first_weights, n_clusters })
    }

    /// The cuts of circles.
    pub(crate) fn cut(&self) -> &Cut {
        &self.cut
    }

    /// The number of clusters of points.
    pub(crate) fn n_clusters(&self) -> usize {
        self.n_clusters
    }

    fn add(&mut self, part: Part, weight: f64) {
        self.parts.push(part);
        self.weights.push(weight);
    }

    /// Adds narrow laws about points, whose scales are shares of those of the parts nearest to them.
    pub(crate) fn add_about(&mut self, points: &[f64], share: f64) {
        let n_parts = self.parts.len();
        let n = points.len() / self.dim;
        if n == 0 {
            return;
        }
        let mut table = Vec::new();
        dispatch(Table { density: self, rows: points, out: &mut table });
        let mut added = Vec::new();
        for (point, densities) in points.chunks_exact(self.dim).zip(table.chunks_exact(n_parts)) {
            let mut nearest: Option<(&Student, f64)> = None;
            for (part, density) in self.parts.iter().zip(densities) {
                if let Part::Student(law) = part
                    && nearest.is_none_or(|(_, most)| *density > most)
                {
                    nearest = Some((law, *density));
                }
            }
            let mut centre = point.to_vec();
            self.cut.rotate(&mut centre);
            for factor in ABOUT {
                added.extend(nearest.and_then(|(law, _)| law.moved(centre.clone(), factor)));
            }
        }
        self.add_laws(added, share);
    }

    /// Adds laws about a peak with a covariance matrix, row-major; if it is empty or not positive definite,
    /// about a point.
    pub(crate) fn add_peak(&mut self, peak: &[f64], covariance: &[f64], share: f64) {
        let mut centre = peak.to_vec();
        self.cut.rotate(&mut centre);
        let Some(law) = Student::of(centre, &mut covariance.to_vec()) else {
            self.add_about(peak, share);
            return;
        };
        let wide = law.stretched(STRETCH, WIDER_DF);
        self.add_laws([law].into_iter().chain(wide).collect(), share);
    }

    /// Adds a mixture fitted to those of some points of the target where the density is too low by a factor,
    /// compared with the median of all, and wider laws about its parts. Their share is that of the points.
    pub(crate) fn cover(
        &mut self,
        points: &[f64],
        ell: &[f64],
        factor: f64,
        context: &Context<'_>,
    ) -> Result<()> {
        let logs = self.ln_densities(points, context)?;
        let ratios: Vec<f64> = ell.iter().zip(&logs).map(|(ell, log)| ell - log).collect();
        let mut sorted = ratios.clone();
        sorted.sort_by(f64::total_cmp);
        let most = sorted[sorted.len() / 2] + ln(factor);
        let rows = points.chunks_exact(self.dim).zip(&ratios);
        let mut low: Vec<f64> =
            rows.filter(|(_, ratio)| **ratio > most).flat_map(|(row, _)| row).copied().collect();
        low.chunks_exact_mut(self.dim).for_each(|row| self.cut.rotate(row));
        let labels = vec![0; low.len() / self.dim];
        if labels.is_empty() {
            return Ok(());
        }
        let Some(mixture) = Mixture::fit(&low, self.dim, &labels, context)? else { return Ok(()) };
        let share = labels.len() as f64 / ratios.len() as f64;
        let wide = mixture.parts.iter().filter_map(|part| part.stretched(STRETCH, WIDER_DF));
        let wide: Vec<Student> = wide.collect();
        self.add_laws(wide, WIDER * share);
        self.add_laws(mixture.parts, share);
        Ok(())
    }

    /// Adds laws with equal weights, whose sum is a share.
    fn add_laws(&mut self, laws: Vec<Student>, share: f64) {
        if laws.is_empty() {
            return;
        }
        self.weights.iter_mut().for_each(|w| *w *= 1.0 - share);
        let each = share / laws.len() as f64;
        for law in laws {
            self.add(Part::Student(Box::new(law)), each);
        }
        let sum: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|w| *w /= sum);
        self.first_weights.clone_from(&self.weights);
    }

    /// Adds a copula for each cluster of parts that touch; returns whether there are any.
    fn add_copulas(
        &mut self,
        points: &[f64],
        mixture: &Mixture,
        context: &Context<'_>,
    ) -> Result<bool> {
        let dim = self.dim;
        let laws = mixture.parts.iter().map(|part| (part.mean.clone(), part.factor.clone()));
        let clusters = Clusters::of(laws);
        self.n_clusters = clusters.n;
        let mut members = vec![Vec::new(); clusters.n];
        let mut room = Vec::new();
        let (mut tile, mut best) = (vec![V::ZERO; dim], [(0, f64::NEG_INFINITY); LANES]);
        for rows in points.chunks(LANES * dim) {
            into_tile(rows, dim, &mut tile);
            best.fill((0, f64::NEG_INFINITY));
            for (k, part) in mixture.parts.iter().enumerate() {
                let densities = part.ln_densities::<false>(&tile, &mut room);
                for (best, density) in best.iter_mut().zip(densities.0) {
                    if density > best.1 {
                        *best = (k, density);
                    }
                }
            }
            for (row, (nearest, _)) in rows.chunks_exact(dim).zip(best) {
                members[clusters.of_part[nearest]].extend_from_slice(row);
            }
        }
        context.poll()?;
        let n = points.len() as f64;
        let before = self.parts.len();
        for rows in members.iter().filter(|rows| rows.len() >= LEAST.max(2 * dim) * dim) {
            context.poll()?;
            if let Some(copula) = Copula::fit(rows, dim) {
                self.add(Part::Copula(Box::new(copula)), COPULAS * rows.len() as f64 / n);
            }
        }
        Ok(self.parts.len() > before)
    }

    /// Appends those of `n` draws that lie within the cube, row-major.
    pub(crate) fn draw(&self, n: usize, stream: &mut Stream, out: &mut Vec<f64>) -> Result<()> {
        let table = Alias::new(&self.weights)?;
        let (mut row, mut room) = (vec![0.0; self.dim], Vec::new());
        for _ in 0..n {
            match &self.parts[table.sample(stream)] {
                Part::Cube => stream.fill_uniform(&mut row),
                Part::Student(law) => law.draw(stream, &mut room, &mut row),
                Part::Copula(law) => law.draw(stream, &mut room, &mut row),
            }
            let is_inside = row.iter().all(|x| *x > 0.0 && *x < 1.0);
            if is_inside && self.cut.rotate_back(&mut row) {
                out.extend_from_slice(&row);
            }
        }
        Ok(())
    }

    /// The ln of the density at rows of the cube.
    pub(crate) fn ln_densities(&self, u: &[f64], context: &Context<'_>) -> Result<Vec<f64>> {
        let (dim, n) = (self.dim, u.len() / self.dim);
        let lns = self.ln_weights();
        let mut out = Vec::with_capacity(n);
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = &u[c * ROWS * dim..n.min((c + 1) * ROWS) * dim];
                let mut densities = Vec::with_capacity(rows.len() / dim);
                dispatch(LnDensities {
                    density: self,
                    rows,
                    ln_weights: &lns,
                    out: &mut densities,
                });
                Ok(densities)
            },
            |_, part| {
                out.extend_from_slice(&part);
                Ok(())
            },
        )?;
        Ok(out)
    }

    fn ln_weights(&self) -> Vec<f64> {
        self.weights.iter().map(|w| ln(*w)).collect()
    }

    /// Adapts the weights of the parts to draws from the density with importance weights.
    pub(crate) fn adapt(
        &mut self,
        u: &[f64],
        weights: &[f64],
        context: &Context<'_>,
    ) -> Result<()> {
        let n_parts = self.parts.len();
        // The densities do not change, only their weights.
        let mut table = Vec::with_capacity(weights.len() * n_parts);
        dispatch(Table { density: self, rows: u, out: &mut table });
        // A few large weights would decide alone.
        let n = weights.len() as f64;
        let most = n.sqrt() * weights.iter().sum::<f64>() / n;
        for _ in 0..STEPS {
            context.poll()?;
            let mut shares = vec![0.0; n_parts];
            for (row, weight) in table.chunks_exact(n_parts).zip(weights) {
                let density: f64 = row.iter().zip(&self.weights).map(|(q, w)| q * w).sum();
                let by = weight.min(most) / density;
                for ((share, q), w) in shares.iter_mut().zip(row).zip(&self.weights) {
                    *share += by * q * w;
                }
            }
            let total: f64 = shares.iter().sum();
            let parts = self.weights.iter_mut().zip(&shares).zip(&self.first_weights);
            parts.for_each(|((w, share), first)| {
                *w = KEPT * first + (1.0 - KEPT) * share / total;
            });
        }
        Ok(())
    }
}

/// The logarithms of the densities of all parts at eight points.
struct Logs<'a> {
    density: &'a Density,
    tile: Vec<V>,
    room: Vec<V>,
    rotated: Vec<f64>,
    of_parts: Vec<V>,
}

impl<'a> Logs<'a> {
    fn new(density: &'a Density) -> Self {
        let (tile, of_parts) = (vec![V::ZERO; density.dim], vec![V::ZERO; density.parts.len()]);
        Self { density, tile, room: Vec::new(), rotated: Vec::new(), of_parts }
    }

    /// Computes those at no more than eight rows, with other terms added.
    #[inline(always)]
    fn fill<const FMA: bool>(&mut self, rows: &[f64], terms: &[f64]) {
        let Self { density, tile, room, rotated, of_parts } = self;
        rotated.clear();
        rotated.extend_from_slice(rows);
        rotated.chunks_exact_mut(density.dim).for_each(|row| density.cut.rotate(row));
        into_tile(rotated, density.dim, tile);
        for ((log, part), term) in of_parts.iter_mut().zip(&density.parts).zip(terms) {
            *log = V::splat(*term)
                + match part {
                    Part::Cube => V::ZERO,
                    Part::Student(law) => law.ln_densities::<FMA>(tile, room),
                    Part::Copula(law) => law.ln_densities::<FMA>(tile, room),
                };
        }
    }
}

/// The ln of the density at rows.
struct LnDensities<'a> {
    density: &'a Density,
    rows: &'a [f64],
    ln_weights: &'a [f64],
    out: &'a mut Vec<f64>,
}

impl Kernel for LnDensities<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (mut logs, dim) = (Logs::new(self.density), self.density.dim);
        for rows in self.rows.chunks(LANES * dim) {
            logs.fill::<FMA>(rows, self.ln_weights);
            self.out.extend_from_slice(&ln_sums::<FMA>(&logs.of_parts).0[..rows.len() / dim]);
        }
    }
}

/// The densities of all parts at rows, relative to the largest of a row.
struct Table<'a> {
    density: &'a Density,
    rows: &'a [f64],
    out: &'a mut Vec<f64>,
}

impl Kernel for Table<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (mut logs, dim) = (Logs::new(self.density), self.density.dim);
        let zeros = vec![0.0; self.density.parts.len()];
        for rows in self.rows.chunks(LANES * dim) {
            logs.fill::<FMA>(rows, &zeros);
            let mut top = V::splat(f64::MIN);
            for log in &logs.of_parts {
                top = top.max(*log);
            }
            for log in &mut logs.of_parts {
                *log = expv::<FMA>(*log - top);
            }
            for lane in 0..rows.len() / dim {
                self.out.extend(logs.of_parts.iter().map(|q| q.0[lane]));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fermiac_base::rng::Domain;
    use fermiac_base::simd::exp;

    /// Points about the end of a circle, and of a skew coordinate in two modes.
    fn points(n: usize) -> Vec<f64> {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        let mut out = Vec::new();
        for i in 0..n {
            let mode = if i % 3 == 0 { 0.3 } else { 0.8 };
            let x = 1.0 + 0.05 * stream.normal();
            out.extend([x.fract(), (mode + 0.02 * stream.exponential()).min(0.99)]);
        }
        out
    }

    fn fitted(circle: bool) -> Density {
        let points = points(3000);
        let cut = Cut::new(&points, 2, &[circle, false]);
        let labels = vec![0; 3000];
        let (tempered, tempered_labels) = (points.as_slice(), labels.as_slice());
        let start = Start { points: &points, labels: &labels, tempered, tempered_labels, cut };
        Density::fit(start, 2, &Context::serial()).unwrap().unwrap()
    }

    #[test]
    fn the_density_of_the_draws_within_the_cube_integrates_to_their_share() {
        for circle in [false, true] {
            let density = fitted(circle);
            // The modes begin abruptly.
            let (rows, columns) = (1000, 1600);
            let grid: Vec<f64> = (0..rows * columns)
                .flat_map(|i| {
                    [(i / columns, rows), (i % columns, columns)]
                        .map(|(k, n)| (f64::from(k) + 0.5) / f64::from(n))
                })
                .collect();
            let logs = density.ln_densities(&grid, &Context::serial()).unwrap();
            let mass = logs.iter().map(|l| exp(*l)).sum::<f64>() / f64::from(rows * columns);
            let (mut stream, mut drawn) = (Stream::new(2, Domain::User, 0, 0), Vec::new());
            density.draw(20_000, &mut stream, &mut drawn).unwrap();
            let share = drawn.len() as f64 / 40_000.0;
            assert!((mass - share).abs() < 0.012, "{circle}: {mass} {share}");
            assert!(share > 0.9, "{share}");
        }
    }

    #[test]
    fn points_of_low_density_are_covered() {
        let context = Context::serial();
        let mut density = fitted(true);
        // A fifth of the points is where the density is that of the defence alone.
        let mut stream = Stream::new(5, Domain::User, 0, 0);
        let mut rows = points(1000);
        for row in rows.chunks_exact_mut(2).take(200) {
            row.copy_from_slice(&[0.5 + 0.01 * stream.normal(), 0.1 + 0.003 * stream.normal()]);
        }
        let low = |density: &Density| {
            let logs = density.ln_densities(&rows[..400], &context).unwrap();
            logs.iter().sum::<f64>() / 200.0
        };
        let before = low(&density);
        let ell = vec![0.0; 1000];
        let n_parts = density.parts.len();
        density.cover(&rows, &ell, 1e12, &context).unwrap();
        assert_eq!(density.parts.len(), n_parts);
        density.cover(&rows, &ell, 30.0, &context).unwrap();
        // The ln of the mean density of the added law is 6.6, and its share a sixth.
        assert!(before < 0.0 && low(&density) > 4.5, "{before} {}", low(&density));
        assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn laws_about_peaks_have_their_covariance() {
        let context = Context::serial();
        for (covariance, is_known) in [(vec![1e-4, 0.0, 0.0, 1e-6], true), (Vec::new(), false)] {
            let mut density = fitted(true);
            let n_parts = density.parts.len();
            density.add_peak(&[0.3, 0.1], &covariance, 0.5);
            assert_eq!(density.parts.len(), n_parts + 2);
            let logs = density.ln_densities(&[0.3, 0.1, 0.33, 0.1, 0.3, 0.103], &context).unwrap();
            // A quarter of either law, of which the wider one has 2.5 times the axes.
            if is_known {
                assert!(
                    (logs[0] - ln(0.25 * 1.16 / (std::f64::consts::TAU * 1e-5))).abs() < 0.02,
                    "{logs:?}"
                );
                assert!((logs[1] - logs[2]).abs() < 1e-6);
            }
            assert!(logs[0] > logs[1] && logs[0] > logs[2]);
        }
    }

    #[test]
    fn weights_follow_the_target_and_stay_above_0() {
        let mut density = fitted(true);
        let context = Context::serial();
        let (mut stream, mut u) = (Stream::new(3, Domain::User, 0, 0), Vec::new());
        density.draw(4000, &mut stream, &mut u).unwrap();
        let target = |row: &[f64]| if row[1] < 0.55 { 0.0 } else { 1.0 };
        let logs = density.ln_densities(&u, &context).unwrap();
        let rows = u.chunks_exact(2).zip(&logs);
        let weights: Vec<f64> = rows.map(|(row, l)| target(row) * exp(-l)).collect();
        let variance = |weights: &[f64]| {
            let n = weights.len() as f64;
            let sum: f64 = weights.iter().sum();
            n * weights.iter().map(|w| w * w).sum::<f64>() / (sum * sum)
        };
        let before = variance(&weights);
        density.adapt(&u, &weights, &context).unwrap();
        assert!(density.weights.iter().all(|w| *w > 0.0));
        assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        u.clear();
        density.draw(4000, &mut stream, &mut u).unwrap();
        let logs = density.ln_densities(&u, &context).unwrap();
        let rows = u.chunks_exact(2).zip(&logs);
        let weights: Vec<f64> = rows.map(|(row, l)| target(row) * exp(-l)).collect();
        assert!(ln(variance(&weights)) < 0.7 * ln(before), "{} {before}", variance(&weights));
    }
}
