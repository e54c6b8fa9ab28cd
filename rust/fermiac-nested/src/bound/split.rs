//! The recursive split of a set of points into ellipsoids that together are smaller than one, and
//! the merging of those that are smaller as one.
//!
//! F. Feroz, M. P. Hobson & M. Bridges (2009), "MultiNest: an efficient and robust Bayesian
//! inference tool for cosmology and particle physics", MNRAS 398, 1601. A split has to save as much
//! volume as its parameters cost, as in D. Pelleg & A. Moore (2000), "X-means: extending K-means
//! with efficient estimation of the number of clusters", ICML 17.

use super::ellipsoid::{Ellipsoids, Standard};
use super::tiles::Lloyd;
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot, packed_start};
use fermiac_base::par::pause;
use fermiac_base::simd::{LANES, V, dispatch, exp, ln};

/// The largest number of steps of 2-means.
const LLOYD: usize = 10;
/// Steps of the power iteration; if the major axis is not clear by then, another one will do.
const POWER: usize = 12;

/// The rule for splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// Split if that saves the volume that the parameters cost.
    Volume,
    /// Split if that saves a share of it, or the two sides are separated. This finds modes, and a
    /// needless split does no harm.
    Modes,
}

/// The share of the cost of parameters that a split into modes has to save.
const EAGER: f64 = 0.2;
/// The least distance of the means of two separated sides, in standard deviations of a side along
/// the line through both. The two halves of a normal law have 2.6.
const APART: f64 = 4.0;

/// A union of ellipsoids about some of the points of a set.
pub(super) struct Decomposition<'a> {
    pub(super) ellipsoids: Ellipsoids<'a>,
    /// The points, ordered such that those of an ellipsoid are together.
    pub(super) order: Vec<u32>,
    /// The ellipsoids of the union.
    pub(super) leaves: Vec<usize>,
    sides: Vec<V>,
    sums: Vec<V>,
    direction: Vec<f64>,
    others: Vec<u32>,
    rule: Split,
}

impl<'a> Decomposition<'a> {
    /// Decomposes the chosen points, or fits one ellipsoid without a rule.
    pub(super) fn new(set: &'a Standard, chosen: Vec<u32>, split: Option<Split>) -> Result<Self> {
        let (d, n) = (set.d, chosen.len());
        let mut this = Self {
            ellipsoids: Ellipsoids::new(set, n),
            order: chosen,
            leaves: Vec::new(),
            sides: Vec::new(),
            sums: Vec::new(),
            direction: vec![0.0; d],
            others: Vec::new(),
            rule: Split::Volume,
        };
        let mean = set.mean(&this.order);
        this.ellipsoids.fit(&this.order, 0, n, &mean)?;
        if let Some(split) = split {
            this.rule = split;
            this.split(0)?;
            if split == Split::Volume {
                this.merge()?;
            }
        } else {
            this.leaves.push(0);
        }
        Ok(this)
    }

    /// Adds the leaves of ellipsoid `k`, the last one fitted; returns the ln of their volume.
    fn split(&mut self, k: usize) -> Result<f64> {
        pause();
        let d = self.ellipsoids.set.d;
        let shape = self.ellipsoids.shapes[k];
        let n = shape.end - shape.start;
        let parameters = (d * (d + 3)) as f64 / 2.0;
        let modes = self.rule == Split::Modes;
        let cost = if modes { EAGER } else { 1.0 } * parameters * ln(n as f64) / n as f64;
        // No ellipsoid is smaller than the mass of its points, which bounds what a split can save.
        let most = shape.log_volume - self.ellipsoids.log_mass(n);
        if n < 4 * d || (most <= cost && !modes) {
            self.leaves.push(k);
            return Ok(shape.log_volume);
        }
        let Some(first) = self.two_means(n) else {
            self.leaves.push(k);
            return Ok(shape.log_volume);
        };
        let apart = modes && self.separation(n, first) > APART;
        let middle = self.partition(shape.start, shape.end, first);
        let (mut one, mut two) = (vec![0.0; d], vec![0.0; d]);
        for (j, mean) in self.ellipsoids.mean(k).iter().enumerate() {
            one[j] = mean + self.direction[j] / first as f64;
            two[j] = mean - self.direction[j] / (n - first) as f64;
        }
        let before = self.leaves.len();
        let left = self.ellipsoids.shapes.len();
        self.ellipsoids.fit(&self.order, shape.start, middle, &one)?;
        let left_all = self.split(left)?;
        let right = self.ellipsoids.shapes.len();
        self.ellipsoids.fit(&self.order, middle, shape.end, &two)?;
        let right_all = self.split(right)?;
        let volume = |k: usize| self.ellipsoids.shapes[k].log_volume;
        let both = log_add(volume(left), volume(right));
        let all = log_add(left_all, right_all);
        let parts = self.leaves.len() - before;
        let saved =
            both - shape.log_volume < -cost || all - shape.log_volume < -cost * (parts - 1) as f64;
        if saved || apart {
            return Ok(all);
        }
        self.leaves.truncate(before);
        self.leaves.push(k);
        self.ellipsoids.truncate(k + 1);
        Ok(shape.log_volume)
    }

    /// Divides the `n` points of the last fit by 2-means, from the two ends of its major axis. Returns
    /// the number on the first side and sets `direction` to the sum of their offsets from the mean, or
    /// returns `None` if a side has too few points for an ellipsoid.
    fn two_means(&mut self, n: usize) -> Option<usize> {
        let d = self.ellipsoids.set.d;
        major_axis(&self.ellipsoids.covariance, &mut self.direction);
        if self.rule == Split::Modes {
            self.look_along_axes();
        }
        let tiles = &self.ellipsoids.tiles;
        self.sides.clear();
        self.sides.resize(tiles.len() / d, V::splat(-1.0));
        // Lanes beyond the points lie at the mean.
        let surplus = (tiles.len() / d * LANES - n) as f64;
        let (mut threshold, mut first) = (0.0, 0.0);
        for _ in 0..LLOYD {
            self.sums.clear();
            self.sums.resize(d, V::ZERO);
            let (lanes, changed) = dispatch(Lloyd {
                tiles,
                direction: &self.direction,
                threshold,
                sides: &mut self.sides,
                sums: &mut self.sums,
            });
            first = if threshold < 0.0 { lanes - surplus } else { lanes };
            let second = n as f64 - first;
            if first < 1.0 || second < 1.0 {
                return None;
            }
            // The points are centred: the sums of both sides are opposite, and the hyperplane
            // between the two means is perpendicular to them.
            self.direction.iter_mut().zip(&self.sums).for_each(|(c, sum)| *c = sum.sum());
            if !changed {
                break;
            }
            let square = self.direction.iter().fold(0.0, |sum, c| sum + c * c);
            threshold = 0.5 * square * (1.0 / first - 1.0 / second);
        }
        let first = first as usize;
        (first.min(n - first) >= 2 * d).then_some(first)
    }

    /// Sets the first direction of 2-means to the axis along which the points are most bimodal: that
    /// of the least kurtosis, which is 1 for two points and 3 for a normal law.
    fn look_along_axes(&mut self) {
        let d = self.ellipsoids.set.d;
        // Σ x² and Σ x⁴ along every coordinate axis and the major one.
        let mut sums = vec![[0.0; 2]; d + 1];
        for tile in self.ellipsoids.tiles.chunks_exact(d) {
            let mut along = V::ZERO;
            for ((x, c), sum) in tile.iter().zip(&self.direction).zip(&mut sums) {
                along = along + *x * V::splat(*c);
                add_moments(*x, sum);
            }
            add_moments(along, &mut sums[d]);
        }
        let kurtosis = |[second, fourth]: [f64; 2]| fourth / (second * second);
        let mut least = kurtosis(sums[d]);
        for j in 0..d {
            if kurtosis(sums[j]) < least {
                least = kurtosis(sums[j]);
                self.direction.fill(0.0);
                self.direction[j] = 1.0;
            }
        }
    }

    /// The distance of the two sides of the last 2-means, in standard deviations of a side.
    fn separation(&self, n: usize, first: usize) -> f64 {
        let d = self.ellipsoids.set.d;
        let (mut squares, mut seen) = (0.0, 0);
        for tile in self.ellipsoids.tiles.chunks_exact(d) {
            let mut place = V::ZERO;
            for (x, c) in tile.iter().zip(&self.direction) {
                place = place + *x * V::splat(*c);
            }
            for l in 0..LANES.min(n - seen) {
                squares += place.0[l] * place.0[l];
            }
            seen += LANES.min(n - seen);
        }
        // The sum of the offsets of the first side is `direction`: both means lie along it.
        let length = self.direction.iter().fold(0.0, |sum, c| sum + c * c);
        let (one, two) = (length / first as f64, -length / (n - first) as f64);
        let between = (first as f64) * one * one + (n - first) as f64 * two * two;
        let within = ((squares - between) / n as f64).max(0.0);
        (one - two) / within.sqrt()
    }

    /// Moves the points of the first side to the front; both sides keep their order.
    fn partition(&mut self, start: usize, end: usize, first: usize) -> usize {
        let order = &mut self.order[start..end];
        self.others.clear();
        let mut at = 0;
        for i in 0..order.len() {
            let point = order[i];
            if self.sides[i / LANES].0[i % LANES] > 0.5 {
                order[at] = point;
                at += 1;
            } else {
                self.others.push(point);
            }
        }
        order[at..].copy_from_slice(&self.others);
        debug_assert_eq!(at, first);
        start + at
    }

    /// Replaces two ellipsoids by one wherever that is smaller than both together. A split in two may
    /// have cut a large cluster to separate a small one from it.
    fn merge(&mut self) -> Result<()> {
        // Two leaves are those of the last split.
        if self.leaves.len() < 3 {
            return Ok(());
        }
        let mut covariances: Vec<_> = self.leaves.iter().map(|k| self.covariance(*k)).collect();
        let mut i = 0;
        while i < self.leaves.len() {
            let before = self.leaves.len();
            let mut j = i + 1;
            while j < self.leaves.len() {
                if let Some(one) = self.merged(i, j, &covariances)? {
                    self.leaves[i] = one;
                    covariances[i] = self.covariance(one);
                    self.leaves.remove(j);
                    covariances.remove(j);
                } else {
                    j += 1;
                }
            }
            // A grown ellipsoid may now merge with those tried before.
            i = if self.leaves.len() < before { 0 } else { i + 1 };
        }
        Ok(())
    }

    /// The ellipsoid about the points of two leaves, if it is smaller than both together.
    fn merged(&mut self, i: usize, j: usize, covariances: &[Vec<f64>]) -> Result<Option<usize>> {
        let all = &self.ellipsoids;
        let d = all.set.d;
        let (a, b) = (self.leaves[i], self.leaves[j]);
        let (one, two) = (all.shapes[a], all.shapes[b]);
        let both = log_add(one.log_volume, two.log_volume);
        let (n_one, n_two) = ((one.end - one.start) as f64, (two.end - two.start) as f64);
        let share = n_one / (n_one + n_two);
        let (from, to) = (all.mean(a), all.mean(b));
        let mut covariance = vec![0.0; d * d];
        for k in 0..d {
            for l in 0..=k {
                let at = k * d + l;
                let within = share * covariances[i][at] + (1.0 - share) * covariances[j][at];
                let between = (to[k] - from[k]) * (to[l] - from[l]);
                covariance[at] = within + share * (1.0 - share) * between;
            }
        }
        // The farthest of the points is at least at their root mean square distance.
        if let Ok(factor) = Cholesky::new(&covariance, d)
            && all.log_volume(&factor, d as f64) >= both
        {
            return Ok(None);
        }
        let mean: Vec<f64> =
            from.iter().zip(to).map(|(a, b)| share * a + (1.0 - share) * b).collect();
        let start = self.order.len();
        self.order.extend_from_within(one.start..one.end);
        self.order.extend_from_within(two.start..two.end);
        let k = self.ellipsoids.shapes.len();
        self.ellipsoids.fit(&self.order, start, self.order.len(), &mean)?;
        if self.ellipsoids.shapes[k].log_volume < both {
            return Ok(Some(k));
        }
        self.order.truncate(start);
        self.ellipsoids.truncate(k);
        Ok(None)
    }

    /// The lower triangle of the covariance of an ellipsoid's points.
    fn covariance(&self, k: usize) -> Vec<f64> {
        let (d, factor) = (self.ellipsoids.set.d, self.ellipsoids.factor(k));
        let row = |i: usize| &factor[packed_start(i)..packed_start(i + 1)];
        let mut out = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                out[i * d + j] = dot(&row(i)[..=j], row(j));
            }
        }
        out
    }
}

fn add_moments(x: V, sums: &mut [f64; 2]) {
    let square = x * x;
    sums[0] += square.sum();
    sums[1] += (square * square).sum();
}

/// The direction of the largest variance, by power iteration.
fn major_axis(covariance: &[f64], axis: &mut [f64]) {
    let d = axis.len();
    let widest = (0..d)
        .fold(0, |at, i| if covariance[i * d + i] > covariance[at * d + at] { i } else { at });
    axis.copy_from_slice(&covariance[widest * d..][..d]);
    let mut next = vec![0.0; d];
    for _ in 0..POWER {
        let largest = axis.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        axis.iter_mut().for_each(|x| *x /= largest);
        for (next, row) in next.iter_mut().zip(covariance.chunks_exact(d)) {
            *next = row.iter().zip(&*axis).fold(0.0, |sum, (a, b)| sum + a * b);
        }
        axis.copy_from_slice(&next);
    }
}

fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high + ln(1.0 + exp(low - high))
}
