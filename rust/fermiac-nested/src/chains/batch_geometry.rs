//! The geometry that the chains of a batch share: the survivors, the cuts of circles, and the shapes
//! of modes.

use super::Report;
use crate::bound::Bound;
use crate::points::Points;
use fermiac_base::linalg::Cholesky;
use fermiac_base::rng::Stream;

/// The share of the largest entry added to the diagonal of a covariance without a Cholesky factor.
const JITTER: f64 = 1e-10;

/// The cuts of circles, in the middle of the largest gap between points.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut {
    /// (axis, place of the cut).
    cuts: Vec<(usize, f64)>,
}

impl Cut {
    pub(crate) fn new(u: &[f64], dim: usize, circles: &[bool]) -> Self {
        let mut cuts = Vec::new();
        for axis in (0..dim).filter(|&axis| circles[axis]) {
            let mut values: Vec<f64> = u.iter().skip(axis).step_by(dim).copied().collect();
            values.sort_unstable_by(f64::total_cmp);
            let (Some(&first), Some(&last)) = (values.first(), values.last()) else { continue };
            let (mut widest, mut place) = (first + 1.0 - last, last + 0.5 * (first + 1.0 - last));
            for pair in values.windows(2) {
                if pair[1] - pair[0] > widest {
                    widest = pair[1] - pair[0];
                    place = pair[0] + 0.5 * widest;
                }
            }
            cuts.push((axis, if place >= 1.0 { place - 1.0 } else { place }));
        }
        Self { cuts }
    }

    /// Whether there are no circles.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Rotates circles so that their cuts lie at 0.
    pub(crate) fn rotate(&self, point: &mut [f64]) {
        for &(axis, cut) in &self.cuts {
            let rotated = point[axis] - cut;
            point[axis] = if rotated < 0.0 { rotated + 1.0 } else { rotated };
        }
    }

    /// Rotates circles back; returns false if rounding put the point on the end of an axis.
    #[inline]
    pub(crate) fn rotate_back(&self, point: &mut [f64]) -> bool {
        for &(axis, cut) in &self.cuts {
            let rotated = point[axis] + cut;
            point[axis] = if rotated >= 1.0 { rotated - 1.0 } else { rotated };
        }
        self.cuts.iter().all(|&(axis, _)| point[axis] > 0.0 && point[axis] < 1.0)
    }
}

/// The mean of some points, and the Cholesky factor of their covariance.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) mean: Vec<f64>,
    pub(super) factor: Cholesky,
    /// Half of the log-determinant of the covariance.
    log_volume: f64,
}

impl Shape {
    /// Returns `None` if the points do not span the space.
    fn new(points: &[f64], dim: usize, members: &[usize]) -> Option<Self> {
        let n = members.len() as f64;
        let mut mean = vec![0.0; dim];
        for &i in members {
            for (m, x) in mean.iter_mut().zip(&points[i * dim..(i + 1) * dim]) {
                *m += x;
            }
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut covariance = vec![0.0; dim * dim];
        let mut centred = vec![0.0; dim];
        for &i in members {
            for ((c, x), m) in centred.iter_mut().zip(&points[i * dim..(i + 1) * dim]).zip(&mean) {
                *c = x - m;
            }
            for (a, row) in covariance.chunks_exact_mut(dim).enumerate() {
                let x = centred[a];
                for (sum, y) in row[..=a].iter_mut().zip(&centred) {
                    *sum += x * y;
                }
            }
        }
        covariance.iter_mut().for_each(|c| *c /= n);
        let largest = (0..dim).fold(0.0_f64, |m, k| m.max(covariance[k * dim + k]));
        if largest <= 0.0 {
            return None;
        }
        if let Ok(factor) = Cholesky::new(&covariance, dim) {
            return Some(Self::of(mean, factor));
        }
        for k in 0..dim {
            covariance[k * dim + k] += JITTER * largest;
        }
        Cholesky::new(&covariance, dim).ok().map(|factor| Self::of(mean, factor))
    }

    fn of(mean: Vec<f64>, factor: Cholesky) -> Self {
        let log_volume = 0.5 * factor.log_determinant();
        Self { mean, factor, log_volume }
    }

    /// Whether the ellipsoids of uniform laws with these covariances touch on the line through their
    /// means.
    fn touches(&self, other: &Self) -> bool {
        let between: Vec<f64> = self.mean.iter().zip(&other.mean).map(|(a, b)| a - b).collect();
        let square: f64 = between.iter().map(|x| x * x).sum();
        // Standard deviations along the line are |Lᵀ u|.
        let reach = |shape: &Self| {
            let mut along = vec![0.0; between.len()];
            for (i, x) in between.iter().enumerate() {
                let row = shape.factor.row(i);
                row.iter().zip(&mut along).for_each(|(l, sum)| *sum += l * x);
            }
            along.iter().map(|x| x * x).sum::<f64>().sqrt()
        };
        square <= ((between.len() + 2) as f64).sqrt() * (reach(self) + reach(other))
    }

    /// L z.
    fn factor_times(&self, z: &[f64], out: &mut [f64]) {
        for (i, y) in out.iter_mut().enumerate() {
            *y = self.factor.row(i).iter().zip(z).map(|(l, z)| l * z).sum();
        }
    }

    /// L⁻¹ (x - mean).
    fn whiten(&self, x: &[f64], out: &mut [f64]) {
        for ((y, x), m) in out.iter_mut().zip(x).zip(&self.mean) {
            *y = x - m;
        }
        self.factor.solve_lower(out);
    }
}

/// The survivors of a batch, with the shapes and directions that its chains use.
#[derive(Debug, Clone)]
pub struct BatchGeometry {
    dim: usize,
    pub(super) cut: Cut,
    /// The survivors, with circles rotated.
    points: Vec<f64>,
    pub(super) ell: Vec<f64>,
    pub(super) family: Vec<u64>,
    /// The shape of all survivors, then those of the parts of the bound, for jumps.
    shapes: Vec<Shape>,
    /// The shape of all survivors, then those of clusters of parts that touch.
    pub(super) clusters: Vec<Shape>,
    /// The cluster of every part.
    cluster_of: Vec<usize>,
    /// The cluster from which a chain from each survivor takes its directions. Parts would be wrong:
    /// chains can leave them, and moves that depend on the start would then not leave the uniform law
    /// invariant.
    pub(super) label: Vec<usize>,
    /// Directions of sweeps: for each cluster `n_bases` bases of d lines.
    lines: Vec<f64>,
    n_bases: usize,
}

impl BatchGeometry {
    /// The geometry of survivors, with the parts of `bound` as modes.
    pub fn new(survivors: &Points, circles: &[bool], bound: Option<&Bound>) -> Self {
        let dim = circles.len();
        let n = survivors.len();
        let cut = Cut::new(&survivors.u, dim, circles);
        let mut points = survivors.u.clone();
        if circles.contains(&true) {
            points.chunks_exact_mut(dim).for_each(|point| cut.rotate(point));
        }
        let all: Vec<usize> = (0..n).collect();
        let whole = Shape::new(&points, dim, &all).unwrap_or_else(|| unit(dim));
        let mut shapes = vec![whole.clone()];
        if let Some(bound) = bound.filter(|bound| bound.n_parts() > 1) {
            let parts: Vec<usize> = (0..n).map(|i| bound.label(survivors.u(i))).collect();
            for part in 0..bound.n_parts() {
                let members: Vec<usize> =
                    all.iter().copied().filter(|&i| parts[i] == part).collect();
                // The shape of few points is mostly noise.
                if members.len() >= 2 * dim {
                    shapes.extend(Shape::new(&points, dim, &members));
                }
            }
        }
        let (cluster_of, n_clusters) = clusters_of(&shapes);
        let (mut clusters, mut label) = (vec![whole], vec![0; n]);
        if n_clusters > 1 {
            let mut room = Vec::new();
            for (label, x) in label.iter_mut().zip(points.chunks_exact(dim)) {
                *label = cluster_of[nearest_part(&shapes, x, &mut room)];
            }
            for cluster in 1..=n_clusters {
                let members: Vec<usize> =
                    all.iter().copied().filter(|&i| label[i] == cluster).collect();
                let shape =
                    if members.is_empty() { None } else { Shape::new(&points, dim, &members) };
                clusters.push(shape.unwrap_or_else(|| clusters[0].clone()));
            }
        }
        Self {
            dim,
            cut,
            points,
            ell: survivors.ell.clone(),
            family: survivors.family.clone(),
            shapes,
            clusters,
            cluster_of,
            label,
            lines: Vec::new(),
            n_bases: 0,
        }
    }

    /// Draws `n` random orthonormal bases, which all chains share.
    pub(super) fn draw_bases(&mut self, n: usize, stream: &mut Stream) {
        let d = self.dim;
        let mut bases = vec![0.0; n * d * d];
        stream.fill_normal(&mut bases);
        bases.chunks_exact_mut(d * d).for_each(|basis| orthonormalise(basis, d));
        self.n_bases = n;
        self.lines = vec![0.0; self.clusters.len() * n * d * d];
        for (lines, shape) in self.lines.chunks_exact_mut(n * d * d).zip(&self.clusters) {
            for (line, z) in lines.chunks_exact_mut(d).zip(bases.chunks_exact(d)) {
                shape.factor_times(z, line);
            }
        }
    }

    /// A direction of a basis, in the coordinates of a shape.
    pub(super) fn line(&self, shape: usize, basis: usize, k: usize) -> &[f64] {
        let first = ((shape * self.n_bases + basis % self.n_bases) * self.dim + k) * self.dim;
        &self.lines[first..first + self.dim]
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn n_survivors(&self) -> usize {
        self.ell.len()
    }

    pub(super) fn point(&self, i: usize) -> &[f64] {
        &self.points[i * self.dim..(i + 1) * self.dim]
    }

    /// Draws a random direction in the whitened coordinates of a shape: L z / |z|.
    pub(super) fn whitened(
        &self,
        shape: usize,
        stream: &mut Stream,
        noise: &mut [f64],
        line: &mut [f64],
    ) {
        stream.fill_normal(noise);
        let length = noise.iter().map(|z| z * z).sum::<f64>().sqrt();
        self.clusters[shape].factor_times(noise, line);
        line.iter_mut().for_each(|v| *v /= length);
    }

    /// Draws an axis of the cube, with the standard deviation of the survivors as its length.
    pub(super) fn axis(&self, stream: &mut Stream, line: &mut [f64]) {
        let axis = stream.below(self.dim as u64) as usize;
        let row = self.shapes[0].factor.row(axis);
        line.fill(0.0);
        line[axis] = row.iter().map(|l| l * l).sum::<f64>().sqrt();
    }

    /// Draws the direction from one survivor to another, of length 1 in whitened coordinates; returns
    /// false if the two coincide.
    pub(super) fn differential(&self, stream: &mut Stream, line: &mut [f64]) -> bool {
        let n = self.n_survivors() as u64;
        if n < 2 {
            return false;
        }
        let i = stream.below(n) as usize;
        let other = stream.below(n - 1) as usize;
        let j = if other >= i { other + 1 } else { other };
        let mut white: Vec<f64> =
            self.point(i).iter().zip(self.point(j)).map(|(a, b)| a - b).collect();
        line.copy_from_slice(&white);
        self.shapes[0].factor.solve_lower(&mut white);
        let length = white.iter().map(|y| y * y).sum::<f64>().sqrt();
        line.iter_mut().for_each(|v| *v /= length);
        length > 0.0
    }

    /// The number of modes.
    pub(super) fn n_modes(&self) -> usize {
        (self.shapes.len() - 1).max(1)
    }

    /// The parts of rows, or 0 if there is one part.
    pub(crate) fn parts_of(&self, rows: &[f64]) -> Vec<usize> {
        let mut room = Vec::new();
        let mut x = vec![0.0; self.dim];
        let part = |row: &[f64]| {
            x.copy_from_slice(row);
            self.cut.rotate(&mut x);
            nearest_part(&self.shapes, &x, &mut room)
        };
        if self.shapes.len() < 3 {
            return vec![0; rows.len() / self.dim];
        }
        rows.chunks_exact(self.dim).map(part).collect()
    }

    /// The mode of a point.
    pub(super) fn mode_of(&self, x: &[f64], room: &mut Vec<f64>) -> usize {
        nearest_part(&self.shapes, x, room)
    }

    /// Maps a point of one mode to the corresponding point of another; returns the logarithm of the
    /// ratio of their volumes.
    pub(super) fn carry(
        &self,
        from: usize,
        to: usize,
        x: &[f64],
        out: &mut [f64],
        room: &mut Vec<f64>,
    ) -> f64 {
        let (a, b) = (&self.shapes[from], &self.shapes[to]);
        room.resize(x.len(), 0.0);
        a.whiten(x, room);
        for (i, y) in out.iter_mut().enumerate() {
            let row = b.factor.row(i);
            *y = b.mean[i] + row.iter().zip(room.iter()).map(|(l, z)| l * z).sum::<f64>();
        }
        b.log_volume - a.log_volume
    }

    /// Returns the distance of a point from a survivor, each in whitened coordinates of its cluster,
    /// and adds the products of their coordinates to the report.
    pub(super) fn compare(&self, survivor: usize, point: &[f64], report: &mut Report) -> f64 {
        // Positions within clusters are compared, since the choice of the cluster is left to jumps.
        let mut end = vec![0.0; self.dim];
        let from = self.label[survivor];
        let to = if self.clusters.len() > 1 {
            self.cluster_of[self.mode_of(point, &mut end)]
        } else {
            0
        };
        end.resize(self.dim, 0.0);
        let mut start = vec![0.0; self.dim];
        self.clusters[from].whiten(self.point(survivor), &mut start);
        self.clusters[to].whiten(point, &mut end);
        let [cross, before, after] = &mut report.products;
        let mut square = 0.0;
        for (k, (a, b)) in start.iter().zip(&end).enumerate() {
            square += (a - b) * (a - b);
            cross[k] += a * b;
            before[k] += a * a;
            after[k] += b * b;
        }
        square.sqrt()
    }

    /// The mean distance of `most` survivors from their nearest neighbours, in whitened coordinates.
    pub(super) fn nearest(&self, most: usize) -> f64 {
        let (n, d) = (self.n_survivors(), self.dim);
        let mut white = vec![0.0; n * d];
        for (out, x) in white.chunks_exact_mut(d).zip(self.points.chunks_exact(d)) {
            self.shapes[0].whiten(x, out);
        }
        let n_compared = most.min(n);
        let mut total = 0.0;
        for k in 0..n_compared {
            let i = k * n / n_compared;
            let here = &white[i * d..(i + 1) * d];
            let mut least = f64::INFINITY;
            for (j, there) in white.chunks_exact(d).enumerate() {
                if i != j {
                    let square: f64 = here.iter().zip(there).map(|(a, b)| (a - b) * (a - b)).sum();
                    least = least.min(square);
                }
            }
            total += least.sqrt();
        }
        total / n_compared as f64
    }
}

/// The part with the least Mahalanobis distance; `room` is scratch space.
fn nearest_part(shapes: &[Shape], x: &[f64], room: &mut Vec<f64>) -> usize {
    let mut nearest = (f64::INFINITY, 1);
    room.resize(x.len(), 0.0);
    for (k, shape) in shapes.iter().enumerate().skip(1) {
        shape.whiten(x, room);
        let square: f64 = room.iter().map(|y| y * y).sum();
        if square < nearest.0 {
            nearest = (square, k);
        }
    }
    nearest.1
}

/// The cluster of every part, counted from 1, and the number of clusters. Parts whose ellipsoids
/// touch on the line through their means belong to one cluster.
fn clusters_of(shapes: &[Shape]) -> (Vec<usize>, usize) {
    let mut cluster: Vec<usize> = (0..shapes.len()).collect();
    for i in 1..shapes.len() {
        for j in i + 1..shapes.len() {
            if cluster[i] != cluster[j] && shapes[i].touches(&shapes[j]) {
                let (low, high) = (cluster[i].min(cluster[j]), cluster[i].max(cluster[j]));
                cluster.iter_mut().filter(|h| **h == high).for_each(|h| *h = low);
            }
        }
    }
    let mut names: Vec<usize> = cluster[1..].to_vec();
    names.sort_unstable();
    names.dedup();
    let number = |h: usize| names.iter().position(|&name| name == h).map_or(0, |at| at + 1);
    (cluster.iter().map(|&h| number(h)).collect(), names.len())
}

/// Clusters of laws that touch.
#[derive(Debug, Clone)]
pub(crate) struct Clusters {
    /// The cluster of every law.
    pub(crate) of_part: Vec<usize>,
    /// The number of clusters.
    pub(crate) n: usize,
}

impl Clusters {
    /// The clusters of laws with means and factors of covariances.
    pub(crate) fn of(laws: impl Iterator<Item = (Vec<f64>, Cholesky)>) -> Self {
        let mut shapes: Vec<Shape> = laws.map(|(mean, factor)| Shape::of(mean, factor)).collect();
        // The first shape is that of all points.
        shapes.splice(..0, shapes.first().cloned());
        let (cluster_of, n) = clusters_of(&shapes);
        Self { of_part: cluster_of.into_iter().skip(1).map(|cluster| cluster - 1).collect(), n }
    }
}

/// The unit shape, for points that do not span the space.
fn unit(dim: usize) -> Shape {
    let mut identity = vec![0.0; dim * dim];
    (0..dim).for_each(|k| identity[k * dim + k] = 1.0);
    let factor = Cholesky::new(&identity, dim);
    let factor = factor.unwrap_or_else(|_| unreachable!("the identity has a factor"));
    Shape::of(vec![0.5; dim], factor)
}

/// Orthonormalises the rows of a matrix in order.
fn orthonormalise(rows: &mut [f64], dim: usize) {
    for i in 0..dim {
        let (before, rest) = rows.split_at_mut(i * dim);
        let row = &mut rest[..dim];
        for other in before.chunks_exact(dim) {
            let product: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= product * b);
        }
        let length = row.iter().map(|a| a * a).sum::<f64>().sqrt();
        row.iter_mut().for_each(|a| *a /= length);
    }
}
