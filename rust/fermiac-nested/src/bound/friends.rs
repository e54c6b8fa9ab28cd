//! Balls about all points in whitened coordinates, intersected with an ellipsoid about all of them
//! (MLFriends), which does not cut the balls of small clusters.
//!
//! The radius is such that the points left out of a bootstrap round are in balls about those drawn,
//! and overlapping balls link points to clusters: J. Buchner (2016), "A statistical test for nested
//! sampling algorithms", Statistics and Computing 26, 383, and (2019), "Collaborative nested
//! sampling: big data versus complex physical models", PASP 131, 108005.

use super::bootstrap::{Rounds, stretch};
use super::cloud::Cloud;
use super::ellipsoid::{FLOOR, Maps, Standard, factor, log_ball};
use super::split::Decomposition;
use super::tiles::{covariance, gather};
use super::union::{LEAST_TRIES, Mean, TRIES, Union, Volume, images};
use fermiac_base::Result;
use fermiac_base::linalg::{dot, packed_start};
use fermiac_base::par::{Context, pause};
use fermiac_base::rng::Stream;
use fermiac_base::simd::{exp, ln};
use fermiac_base::store::Codec;

/// The largest number of whitenings, each by the clusters of the one before.
const WHITENINGS: usize = 3;
/// A cluster is small if it has fewer points than this, times the dimension.
const SMALL: usize = 10;
/// The largest number of points of the ellipsoid tried together.
const BLOCK: usize = 64;

/// The union of the balls c + A (p + r b) for all points p of a cloud, with b in the unit ball.
#[derive(Debug, Clone, Default)]
pub(super) struct Friends {
    d: usize,
    cloud: Cloud,
    /// The cluster of each point.
    labels: Vec<usize>,
    radius2: f64,
    /// The ln of the summed volumes of all balls.
    log_volume: f64,
    /// The map from the space of the cloud to the cube.
    map: Maps,
    /// The shapes of the clusters.
    clusters: Maps,
    wrap: Union,
}

impl Friends {
    /// Fits balls about a set, within the ellipsoid `whole`; also returns the stretch of the ellipsoid.
    pub(super) fn fit(
        whole: &Decomposition<'_>,
        rounds: Rounds,
        enlarge: f64,
        context: &Context<'_>,
    ) -> Result<(Self, f64)> {
        let set = whole.ellipsoids.set;
        let (d, n) = (set.d, set.len());
        let factors = rounds.largest(set, context, |drawn, _, rest| stretch(whole, drawn, rest))?;
        let mut white = White {
            centre: whole.ellipsoids.mean(0).to_vec(),
            factor: whole.ellipsoids.factor(0).to_vec(),
            inverse: whole.ellipsoids.inverse(0).to_vec(),
        };
        let mut clusters = Clusters { labels: vec![0; n], n: 1 };
        let log_balls = log_ball(d) + ln(n as f64);
        let mut this = Self { d, ..Self::default() };
        for _ in 0..WHITENINGS {
            let before = clusters.n;
            let (cloud, order) = Cloud::sorted(&white.apply(set), d);
            // Disjoint balls have at least the volume of the set, and no ball is so small that rounding
            // decides about its points.
            let log_unit = log_balls + white.log_determinant(d);
            let least = exp((set.log_x - log_unit) * 2.0 / d as f64).max(FLOOR);
            let radius2 = radius2(set, &cloud, &order, rounds, context)?.max(least);
            let (labels, n_clusters) = cloud.clusters(radius2);
            clusters.n = n_clusters;
            order.iter().zip(&labels).for_each(|(p, l)| clusters.labels[*p as usize] = *l);
            this.radius2 = radius2 * exp(2.0 / d as f64 * ln(enlarge));
            this.log_volume = log_unit
                + set.unit.iter().fold(0.0, |sum, unit| sum + ln(*unit))
                + 0.5 * d as f64 * ln(this.radius2);
            this.map = Maps::new(d);
            this.map.push(set, &white.centre, &white.factor, &white.inverse);
            (this.cloud, this.labels) = (cloud, labels);
            if clusters.n == before {
                break;
            }
            let pooled = clusters.pooled(set)?;
            white = White { centre: white.centre, ..pooled };
        }
        this.clusters = clusters.shapes(set)?;
        let (wrap, scale) = Union::new(whole, &factors, enlarge);
        this.wrap = wrap;
        this.add_small_clusters();
        Ok((this, scale))
    }

    /// Adds to the ellipsoid a larger ball for each cluster of few points, which contains all balls of the
    /// cluster: the ellipsoid may end within such a cluster, as in a corner of the cube.
    fn add_small_clusters(&mut self) {
        let (d, n) = (self.d, self.clusters.len());
        if n == 1 {
            return;
        }
        let radius = self.radius2.sqrt();
        let log_ball = self.log_volume - ln(self.cloud.len() as f64);
        let mut members = vec![Vec::new(); n];
        self.labels.iter().enumerate().for_each(|(i, label)| members[*label].push(i));
        for own in members.iter().filter(|own| own.len() < SMALL * d) {
            let of_axis = |j: usize| own.iter().map(|i| self.cloud.at(*i, j)).sum::<f64>();
            let mean: Vec<f64> = (0..d).map(|j| of_axis(j) / own.len() as f64).collect();
            let distance2 = |i: &usize| -> f64 {
                (0..d).map(|j| (self.cloud.at(*i, j) - mean[j]).powi(2)).sum()
            };
            let farthest = own.iter().map(distance2).fold(0.0, f64::max).sqrt();
            let all = radius + farthest;
            let log_volume = log_ball + d as f64 * ln(all / radius);
            let centre = self.map.place(0, &mean);
            self.wrap.push_copy(&self.map, 0, &centre, all * all, log_volume);
        }
        self.wrap.sum_volumes();
    }

    /// The bound with the volumes of balls and ellipsoid enlarged by a factor.
    pub(super) fn enlarged(&self, factor: f64) -> Self {
        let mut this = self.clone();
        this.radius2 *= exp(2.0 / self.d as f64 * ln(factor));
        this.log_volume += ln(factor);
        this.wrap = self.wrap.enlarged(factor);
        this
    }

    /// Adds a ball about each of the points `x`, row-major, that lies outside of the bound after its volume
    /// is enlarged by a factor, unless more than `most` do. Those that cross the ends of a circle are added
    /// on either side.
    pub(super) fn add_about(
        &mut self,
        x: &[f64],
        factor: f64,
        most: usize,
        is_circle: impl Fn(usize) -> bool,
    ) {
        let mut is_near = vec![false; x.len() / self.d];
        self.enlarged(factor).covers(x, &mut is_near);
        let rows = x.chunks_exact(self.d).zip(is_near);
        let far: Vec<&[f64]> = rows.filter(|(_, is_near)| !is_near).map(|(row, _)| row).collect();
        if far.is_empty() || far.len() > most {
            return;
        }
        let log_ball = self.log_volume - ln(self.cloud.len() as f64);
        let (mut points, mut labels) = (self.points(), self.labels.clone());
        for row in far {
            for centre in images(row, self.radius2, self.map.axes(0), &is_circle) {
                let w = self.white(&centre);
                labels.push(self.labels[self.cloud.nearest_to(&w)]);
                points.extend(w);
                self.wrap.push_copy(&self.map, 0, &centre, self.radius2, log_ball);
            }
        }
        self.wrap.sum_volumes();
        let (cloud, order) = Cloud::sorted(&points, self.d);
        self.labels = order.iter().map(|p| labels[*p as usize]).collect();
        self.log_volume = log_ball + ln(cloud.len() as f64);
        self.cloud = cloud;
    }

    /// The points in the space of the cloud, row-major.
    fn points(&self) -> Vec<f64> {
        let d = self.d;
        (0..self.cloud.len() * d).map(|k| self.cloud.at(k / d, k % d)).collect()
    }

    pub(super) fn n_parts(&self) -> usize {
        self.clusters.len()
    }

    pub(super) fn axes(&self, part: usize) -> &[f64] {
        self.clusters.axes(part)
    }

    pub(super) fn log_volume(&self) -> f64 {
        self.log_volume.min(self.wrap.log_volume())
    }

    pub(super) fn contains(&self, x: &[f64]) -> bool {
        self.wrap.contains(x) && self.has_near(x, &mut vec![0.0; self.d])
    }

    pub(super) fn label(&self, x: &[f64]) -> usize {
        self.labels[self.cloud.nearest_to(&self.white(x))]
    }

    /// Maps a point of the cube to the space of the cloud.
    fn white(&self, x: &[f64]) -> Vec<f64> {
        (0..self.d).map(|i| self.map.back(0, i, x)).collect()
    }

    /// Appends `n` points that are uniform on the balls within ellipsoid and cube; fewer if hardly any
    /// candidate is there. Returns the number of candidates.
    pub(super) fn propose(&self, n: usize, stream: &mut Stream, out: &mut Vec<f64>) -> usize {
        let tries = n.saturating_mul(TRIES).max(LEAST_TRIES);
        // Candidates come from the smaller volume.
        let left = if self.is_smaller_than_wrap() {
            self.propose_from_balls(n, tries, stream, out)
        } else {
            self.propose_from_wrap(n, tries, stream, out)
        };
        tries - left
    }

    /// The number of balls.
    pub(super) fn n_balls(&self) -> usize {
        self.labels.len()
    }

    /// Whether all balls together are smaller than the ellipsoid and the cube.
    pub(super) fn is_smaller_than_wrap(&self) -> bool {
        self.log_volume < self.wrap.log_volume().min(0.0)
    }

    /// Returns the number of tries that are left.
    fn propose_from_wrap(
        &self,
        n: usize,
        tries: usize,
        stream: &mut Stream,
        out: &mut Vec<f64>,
    ) -> usize {
        let (mut missing, mut tries) = (n, tries);
        let mut candidates = Vec::new();
        let mut w = vec![0.0; self.d];
        while missing > 0 && tries > 0 {
            let m = missing.min(BLOCK);
            tries = tries.saturating_sub(m);
            candidates.clear();
            self.wrap.propose(m, stream, &mut candidates);
            if candidates.is_empty() {
                return tries;
            }
            for x in candidates.chunks_exact(self.d) {
                if missing > 0 && self.has_near(x, &mut w) {
                    out.extend_from_slice(x);
                    missing -= 1;
                }
            }
        }
        tries
    }

    /// Returns the number of tries that are left.
    fn propose_from_balls(
        &self,
        n: usize,
        tries: usize,
        stream: &mut Stream,
        out: &mut Vec<f64>,
    ) -> usize {
        let d = self.d;
        let (mut missing, mut tries) = (n, tries);
        let (mut w, mut x) = (vec![0.0; d], vec![0.0; d]);
        while missing > 0 && tries > 0 {
            tries -= 1;
            if tries.is_multiple_of(BLOCK) {
                pause();
            }
            self.draw(stream, &mut w);
            let most = 1.0 / stream.uniform();
            if self.map.forth(0, &w, 1.0, &mut x)
                && self.wrap.contains(&x)
                // Its own ball contains it whatever rounding says.
                && self.cloud.count(&w, self.radius2, most).max(1.0) < most
            {
                out.extend_from_slice(&x);
                missing -= 1;
            }
        }
        tries
    }

    /// Draws a point of one of the balls, in the space of the cloud.
    fn draw(&self, stream: &mut Stream, w: &mut [f64]) {
        let point = stream.below(self.cloud.len() as u64) as usize;
        stream.fill_normal(w);
        // Uniform in the ball: d of d + 2 coordinates of a uniform direction, as in a union.
        let scale = (self.radius2 / (dot(w, w) + 2.0 * stream.exponential())).sqrt();
        w.iter_mut().enumerate().for_each(|(j, w)| *w = self.cloud.at(point, j) + scale * *w);
    }

    /// The volume of the part in the ellipsoid and in the cube.
    pub(super) fn volume(&self, stream: &mut Stream) -> Volume {
        let mut w = vec![0.0; self.d];
        if !self.is_smaller_than_wrap() {
            return self.wrap.volume_where(stream, |x| self.has_near(x, &mut w));
        }
        let mut mean = Mean::default();
        let mut x = vec![0.0; self.d];
        while mean.is_poor() {
            pause();
            self.draw(stream, &mut w);
            let is_in = self.map.forth(0, &w, 1.0, &mut x) && self.wrap.contains(&x);
            let count = || self.cloud.count(&w, self.radius2, f64::INFINITY).max(1.0);
            mean.add(if is_in { 1.0 / count() } else { 0.0 });
        }
        mean.volume(self.log_volume)
    }

    /// Whether each of the rows of `x` is in the bound.
    pub(super) fn covers(&self, x: &[f64], out: &mut [bool]) {
        self.wrap.covers(x, out);
        let mut w = vec![0.0; self.d];
        for (x, out) in x.chunks_exact(self.d).zip(out) {
            *out = *out && self.has_near(x, &mut w);
        }
    }

    /// Whether a point is in a ball; `w` is scratch space for its place in the cloud.
    fn has_near(&self, x: &[f64], w: &mut [f64]) -> bool {
        w.iter_mut().enumerate().for_each(|(i, w)| *w = self.map.back(0, i, x));
        self.cloud.count(w, self.radius2, 1.0) > 0.0
    }

    /// Writes or reads the bound.
    pub(super) fn persist(&mut self, codec: &mut Codec, d: usize) -> Result<()> {
        self.d = d;
        let mut points = self.points();
        let mut labels: Vec<u64> = self.labels.iter().map(|label| *label as u64).collect();
        codec.list(&mut points)?;
        codec.words(&mut labels)?;
        codec.number(&mut self.radius2)?;
        codec.number(&mut self.log_volume)?;
        self.map.persist(codec, d)?;
        self.clusters.persist(codec, d)?;
        self.wrap.persist(codec, d)?;
        let n = self.clusters.len() as u64;
        if labels.is_empty() || points.len() != labels.len() * d || labels.iter().any(|l| *l >= n) {
            return Err(super::unfit());
        }
        self.cloud = Cloud::new(points.into_iter(), d);
        self.labels = labels.into_iter().map(|label| label as usize).collect();
        Ok(())
    }
}

/// The squared radius at which the balls of the points drawn contain all points left out, in every
/// round; without rounds, at which every point is in the ball of another.
fn radius2(
    set: &Standard,
    cloud: &Cloud,
    order: &[u32],
    rounds: Rounds,
    context: &Context<'_>,
) -> Result<f64> {
    let n = set.len();
    if rounds.n == 0 {
        let all: Vec<u32> = (0..n as u32).collect();
        return Ok(cloud.farthest2(&all, |_| true));
    }
    let largest = rounds.largest(set, context, |_, left, _| {
        let mut is_left = vec![false; n];
        left.iter().for_each(|p| is_left[*p as usize] = true);
        let asked: Vec<u32> =
            (0..n as u32).filter(|i| is_left[order[*i as usize] as usize]).collect();
        Ok(vec![cloud.farthest2(&asked, |i| !is_left[order[i] as usize])])
    })?;
    Ok(largest.first().copied().unwrap_or(0.0))
}

/// The map that makes the covariance of a set the identity.
struct White {
    centre: Vec<f64>,
    factor: Vec<f64>,
    inverse: Vec<f64>,
}

impl White {
    fn apply(&self, set: &Standard) -> Vec<f64> {
        let d = set.d;
        let mut out = Vec::with_capacity(set.points.len());
        let mut x = vec![0.0; d];
        for row in set.points.chunks_exact(d) {
            x.iter_mut().zip(row).zip(&self.centre).for_each(|((x, row), c)| *x = row - c);
            out.extend((0..d).map(|i| {
                let row = &self.inverse[packed_start(i)..packed_start(i + 1)];
                dot(row, &x[..=i])
            }));
        }
        out
    }

    /// ln of the determinant of the factor.
    fn log_determinant(&self, d: usize) -> f64 {
        (0..d).fold(0.0, |sum, i| sum + ln(self.factor[packed_start(i) + i]))
    }
}

/// The clusters of a set, by the cluster of each point.
struct Clusters {
    labels: Vec<usize>,
    n: usize,
}

impl Clusters {
    fn members(&self, k: usize) -> Vec<u32> {
        (0..self.labels.len() as u32).filter(|p| self.labels[*p as usize] == k).collect()
    }

    /// The covariance about the means of the clusters.
    fn pooled(&self, set: &Standard) -> Result<White> {
        let d = set.d;
        let mut centred = set.points.clone();
        for k in 0..self.n {
            let members = self.members(k);
            let mean = set.mean(&members);
            for p in members {
                let row = &mut centred[p as usize * d..][..d];
                row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
            }
        }
        let all: Vec<u32> = (0..set.len() as u32).collect();
        white(&centred, &all, &vec![0.0; d])
    }

    /// The shape of each cluster; the pooled one where it has too few points.
    fn shapes(&self, set: &Standard) -> Result<Maps> {
        let d = set.d;
        let mut shapes = Maps::new(d);
        let mut pooled = None;
        for k in 0..self.n {
            let members = self.members(k);
            let mean = set.mean(&members);
            if members.len() >= 2 * d {
                let own = white(&set.points, &members, &mean)?;
                shapes.push(set, &mean, &own.factor, &own.inverse);
                continue;
            }
            if pooled.is_none() {
                pooled = Some(self.pooled(set)?);
            }
            if let Some(shared) = &pooled {
                shapes.push(set, &mean, &shared.factor, &shared.inverse);
            }
        }
        Ok(shapes)
    }
}

/// The map that whitens the chosen points about the given mean.
fn white(points: &[f64], chosen: &[u32], mean: &[f64]) -> Result<White> {
    let d = mean.len();
    let (mut tiles, mut sums, mut matrix) = (Vec::new(), Vec::new(), Vec::new());
    gather(points, chosen, mean, &mut tiles);
    covariance(&tiles, d, chosen.len(), &mut sums, &mut matrix);
    let factor = factor(&mut matrix, d)?;
    let inverse = factor.inverse_lower();
    Ok(White { centre: mean.to_vec(), factor: factor.packed().to_vec(), inverse })
}
