//! Mixtures for rare events: laws that differ from the standard normal one in few directions, or in
//! the norm and the angle to an axis, and their densities over the standard normal one.
//!
//! ```
//! use fermiac_base::par::Context;
//! use fermiac_importance::rare::{Axis, Mixture};
//!
//! // The half-space x > 3, and its density over the normal one: 1 / P(x > 3).
//! let mut mixture = Mixture::new(2, 0.0);
//! mixture.push_slab(1.0, &[Axis::tail(3.0)], &[1.0, 0.0])?;
//! let mut ratios = [0.0; 2];
//! mixture.log_ratio(&Context::serial(), &[3.5, 0.0, 2.5, 0.0], &mut ratios)?;
//! assert!((ratios[0].exp() - 740.797).abs() < 1e-2);
//! assert_eq!(ratios[1], f64::NEG_INFINITY);
//! # Ok::<(), fermiac_base::Error>(())
//! ```

use fermiac_base::par::{CHUNK, Context};
use fermiac_base::simd::{
    exp_slice, ln, ln_slice, normal_cdf, normal_quantile, normal_quantile_slice,
};
use fermiac_base::special::normal_ln_cdf;
use fermiac_base::{Error, Result};
use std::f64::consts::{PI, SQRT_2};

/// Rows that are worked on together, one in each lane.
const TILE: usize = 16;
/// The reach of a heavy-tailed axis from its centre: far beyond all mass, but before functions of
/// its points overflow.
const REACH: f64 = 10.0;
/// A point drawn at a bound must not fall outside by rounding.
const SLACK: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Tail,
    Student,
}

/// A law of one coordinate.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    kind: Kind,
    loc: f64,
    scale: f64,
    /// The logarithm of the constant of the ratio.
    constant: f64,
    /// The mass of the normal tail, or of Student's law within the reach.
    mass: f64,
}

impl Axis {
    /// The normal law.
    pub fn normal(loc: f64, scale: f64) -> Self {
        Self { kind: Kind::Normal, loc, scale, constant: -ln(scale), mass: 1.0 }
    }

    /// The standard normal law beyond a bound.
    pub fn tail(bound: f64) -> Self {
        let (constant, mass) = (-normal_ln_cdf(-bound), normal_cdf(-bound));
        Self { kind: Kind::Tail, loc: bound, scale: 1.0, constant, mass }
    }

    /// Student's law with 2 degrees of freedom, up to a distance of 10 from its centre.
    pub fn student(loc: f64, scale: f64) -> Self {
        let z = REACH / scale;
        let mass = z / (2.0 + z * z).sqrt();
        let constant = 0.5 * ln(2.0 * PI) - ln(2.0 * SQRT_2 * scale * mass);
        Self { kind: Kind::Student, loc, scale, constant, mass }
    }

    /// Adds the logarithm of the density over the standard normal one, at a tile of coordinates.
    fn add_log_ratio(&self, c: &[f64; TILE], out: &mut [f64; TILE]) {
        let each = out.iter_mut().zip(c);
        match self.kind {
            Kind::Normal => {
                let (square, linear) =
                    (0.5 - 0.5 / (self.scale * self.scale), self.loc / (self.scale * self.scale));
                let z = self.loc / self.scale;
                let constant = self.constant - 0.5 * z * z;
                each.for_each(|(out, c)| *out += c * (c * square + linear) + constant);
            }
            Kind::Tail => {
                let bound = self.loc - SLACK * self.loc.abs().max(1.0);
                each.for_each(|(out, c)| {
                    *out += if *c >= bound { self.constant } else { f64::NEG_INFINITY };
                });
            }
            Kind::Student => {
                let mut logs = c.map(|c| {
                    let z = (c - self.loc) / self.scale;
                    1.0 + 0.5 * z * z
                });
                ln_slice(&mut logs);
                for ((out, c), log) in each.zip(logs) {
                    let inside = (c - self.loc).abs() <= REACH * (1.0 + SLACK);
                    let ratio = 0.5 * c * c - 1.5 * log + self.constant;
                    *out += if inside { ratio } else { f64::NEG_INFINITY };
                }
            }
        }
    }

    /// The point of the law for the uniform number `v`, and for its normal quantile `z`.
    fn point(&self, v: f64, z: f64) -> f64 {
        match self.kind {
            Kind::Normal => self.loc + self.scale * z,
            // By the leading term of the tail where it is below the range of doubles.
            Kind::Tail if self.mass < 1e-290 => (self.loc * self.loc - 2.0 * ln(v)).sqrt(),
            Kind::Tail => (-normal_quantile(self.mass * v)).max(self.loc),
            Kind::Student => {
                let v = 0.5 + (v - 0.5) * self.mass;
                let t = (2.0 * v - 1.0) / (2.0 * v * (1.0 - v)).sqrt();
                self.loc + (self.scale * t).clamp(-REACH, REACH)
            }
        }
    }
}

/// Independent laws along orthonormal directions, standard normal across them.
#[derive(Debug, Clone)]
struct Slab {
    axes: Vec<Axis>,
    /// The directions, one after the other.
    directions: Vec<f64>,
    /// Householder vectors, one after the other; that of number j begins at its coordinate j. The
    /// product of the reflections has the directions for its first columns, up to the signs.
    reflections: Vec<f64>,
    signs: Vec<f64>,
}

impl Slab {
    fn new(axes: &[Axis], directions: &[f64], dim: usize) -> Self {
        let mut rest = directions.to_vec();
        let mut reflections = vec![0.0; directions.len()];
        let mut signs = Vec::with_capacity(axes.len());
        for j in 0..axes.len() {
            let w = &mut reflections[j * dim..][j..dim];
            w.copy_from_slice(&rest[j * dim..][j..dim]);
            let length = |w: &[f64]| w.iter().map(|x| x * x).sum::<f64>().sqrt();
            w[0] += length(w).copysign(w[0]);
            let norm = length(w);
            w.iter_mut().for_each(|x| *x /= norm);
            rest.chunks_exact_mut(dim).skip(j).for_each(|x| reflect(w, &mut x[j..]));
            signs.push(if rest[j * dim + j] >= 0.0 { 1.0 } else { -1.0 });
        }
        Self { axes: axes.to_vec(), directions: directions.to_vec(), reflections, signs }
    }

    /// Turns rows of d uniform numbers into points, in place; `uniform` is for a copy of them.
    fn points(&self, v: &mut [f64], uniform: &mut Vec<f64>, dim: usize) {
        uniform.clear();
        uniform.extend_from_slice(v);
        normal_quantile_slice(v);
        for (point, v) in v.chunks_exact_mut(dim).zip(uniform.chunks_exact(dim)) {
            for (j, (axis, sign)) in self.axes.iter().zip(&self.signs).enumerate() {
                point[j] = sign * axis.point(v[j], point[j]);
            }
            for (j, w) in self.reflections.chunks_exact(dim).enumerate().rev() {
                reflect(&w[j..], &mut point[j..]);
            }
        }
    }
}

/// A direction about an axis, whose cosine has a density in bins, and a gamma law of the squared
/// norm.
#[derive(Debug, Clone)]
struct Polar {
    axis: Vec<f64>,
    /// The ratio of the norm is power · ln r² + slope · r² + constant.
    power: f64,
    slope: f64,
    constant: f64,
    /// The inner edges of the bins, and the logarithm of the ratio in each.
    edges: Vec<f64>,
    bins: Vec<f64>,
}

#[derive(Debug, Clone)]
enum Component {
    Slab(Slab),
    Polar(Polar),
}

/// A mixture of such laws with the standard normal one.
#[derive(Debug, Clone)]
pub struct Mixture {
    dim: usize,
    base: f64,
    shares: Vec<f64>,
    components: Vec<Component>,
}

impl Mixture {
    /// The mixture of nothing but a share of the standard normal law.
    pub fn new(dim: usize, base: f64) -> Self {
        Self { dim, base, shares: Vec::new(), components: Vec::new() }
    }

    /// The coordinates of a point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of components.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// Whether there is no component.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Adds laws along orthonormal directions, which stand one after the other.
    pub fn push_slab(&mut self, share: f64, axes: &[Axis], directions: &[f64]) -> Result<()> {
        if directions.len() != axes.len() * self.dim {
            return Err(Error::Internal("as many directions as axes are needed".into()));
        }
        if axes.len() > self.dim {
            return Err(Error::Internal("more axes than dimensions".into()));
        }
        self.shares.push(share);
        self.components.push(Component::Slab(Slab::new(axes, directions, self.dim)));
        Ok(())
    }

    /// Adds a law of the norm and the cosine to an axis: the ratio of the density of the norm r is
    /// exp(power · ln r² + slope · r² + constant), that of the cosine has its logarithms in `bins`,
    /// with `edges` between them.
    pub fn push_polar(
        &mut self,
        share: f64,
        axis: &[f64],
        [power, slope, constant]: [f64; 3],
        edges: &[f64],
        bins: &[f64],
    ) -> Result<()> {
        if axis.len() != self.dim || bins.len() != edges.len() + 1 {
            return Err(Error::Internal("as many edges as lie between the bins are needed".into()));
        }
        self.shares.push(share);
        self.components.push(Component::Polar(Polar {
            axis: axis.to_vec(),
            power,
            slope,
            constant,
            edges: edges.to_vec(),
            bins: bins.to_vec(),
        }));
        Ok(())
    }

    /// The logarithm of the density over the standard normal one, at each row of `u`.
    pub fn log_ratio(&self, context: &Context<'_>, u: &[f64], out: &mut [f64]) -> Result<()> {
        self.over_chunks(context, u, 1, out, |tile, out| self.log_ratio_tile(tile, out))
    }

    /// The logarithms of the ratios of all components, (n, K).
    pub fn component_ratios(
        &self,
        context: &Context<'_>,
        u: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        let k = self.len();
        self.over_chunks(context, u, k, out, |tile, out| {
            let ratios = self.tile(tile);
            for (i, row) in out.chunks_exact_mut(k).enumerate() {
                row.iter_mut().zip(&ratios).for_each(|(out, ratio)| *out = ratio[i]);
            }
        })
    }

    /// Calls `f` with transposed tiles of rows, and the rows of `out` that belong to them.
    fn over_chunks(
        &self,
        context: &Context<'_>,
        u: &[f64],
        width: usize,
        out: &mut [f64],
        f: impl Fn(&Tile, &mut [f64]) + Sync,
    ) -> Result<()> {
        let d = self.dim;
        let n = u.len() / d;
        let work = |chunk: usize| {
            let (start, stop) = (chunk * CHUNK, n.min((chunk + 1) * CHUNK));
            let mut part = vec![0.0; (stop - start) * width];
            let mut tile = Tile::new(d);
            let rows = u[start * d..stop * d].chunks(TILE * d);
            for (rows, out) in rows.zip(part.chunks_mut(TILE * width)) {
                tile.load(rows);
                f(&tile, out);
            }
            Ok(part)
        };
        let fold = |chunk: usize, part: Vec<f64>| {
            out[chunk * CHUNK * width..][..part.len()].copy_from_slice(&part);
            Ok(())
        };
        context.ordered(n.div_ceil(CHUNK), work, fold)
    }

    /// The log-ratios of all components at a tile.
    fn tile(&self, tile: &Tile) -> Vec<[f64; TILE]> {
        self.components
            .iter()
            .map(|component| {
                let mut total = [0.0; TILE];
                match component {
                    Component::Slab(slab) => {
                        let directions = slab.directions.chunks_exact(self.dim);
                        for (axis, direction) in slab.axes.iter().zip(directions) {
                            axis.add_log_ratio(&tile.along(direction), &mut total);
                        }
                    }
                    Component::Polar(polar) => polar.log_ratio(tile, &mut total),
                }
                total
            })
            .collect()
    }

    fn log_ratio_tile(&self, tile: &Tile, out: &mut [f64]) {
        let mut ratios = self.tile(tile);
        let log_base = if self.base > 0.0 { ln(self.base) } else { f64::NEG_INFINITY };
        let mut top = [log_base; TILE];
        for (ratio, share) in ratios.iter_mut().zip(&self.shares) {
            let log_share = ln(*share);
            for (top, r) in top.iter_mut().zip(ratio) {
                *r += log_share;
                *top = top.max(*r);
            }
        }
        let mut sum = top.map(|t| if t > f64::NEG_INFINITY { log_base - t } else { -1e300 });
        exp_slice(&mut sum);
        for ratio in &mut ratios {
            for (r, top) in ratio.iter_mut().zip(&top) {
                *r = if *r > f64::NEG_INFINITY { *r - top } else { -1e300 };
            }
            exp_slice(ratio);
            sum.iter_mut().zip(ratio).for_each(|(sum, r)| *sum += *r);
        }
        ln_slice(&mut sum);
        for ((out, top), log) in out.iter_mut().zip(top).zip(sum) {
            *out = if top > f64::NEG_INFINITY { top + log } else { top };
        }
    }

    /// Turns rows of `width` uniform numbers into points of the mixture, in `out`.
    ///
    /// The first number of a row chooses the component, the next d make the point. Rows of
    /// components that are no laws along directions are left as they are.
    pub fn points(
        &self,
        context: &Context<'_>,
        v: &[f64],
        width: usize,
        out: &mut [f64],
    ) -> Result<()> {
        let d = self.dim;
        if width <= d || v.len() * d != out.len() * width {
            return Err(Error::Internal("rows of 1 + d uniform numbers are needed".into()));
        }
        let mut edge = self.base;
        let mut edges = vec![edge];
        for share in &self.shares[..self.len().saturating_sub(1)] {
            edge += share;
            edges.push(edge);
        }
        edges.truncate(self.len());
        let law = Slab { axes: vec![], directions: vec![], reflections: vec![], signs: vec![] };
        let given: &[f64] = out;
        let n = v.len() / width;
        let work = |chunk: usize| {
            let rows = chunk * CHUNK..n.min((chunk + 1) * CHUNK);
            let mut points = given[rows.start * d..rows.end * d].to_vec();
            let v = &v[rows.start * width..rows.end * width];
            // The rows of each component together, in their order.
            let mut members = vec![Vec::new(); self.len() + 1];
            for (i, row) in v.chunks_exact(width).enumerate() {
                members[edges.partition_point(|edge| *edge <= row[0])].push(i);
            }
            let (mut part, mut uniform) = (Vec::new(), Vec::new());
            for (k, own) in members.iter().enumerate() {
                let slab = match k.checked_sub(1).map(|k| &self.components[k]) {
                    None => &law,
                    Some(Component::Slab(slab)) => slab,
                    Some(Component::Polar(_)) => continue,
                };
                part.clear();
                own.iter().for_each(|i| part.extend_from_slice(&v[i * width + 1..][..d]));
                slab.points(&mut part, &mut uniform, d);
                for (i, point) in own.iter().zip(part.chunks_exact(d)) {
                    points[i * d..][..d].copy_from_slice(point);
                }
            }
            Ok(points)
        };
        let mut done = Vec::new();
        let fold = |_, part: Vec<f64>| {
            done.push(part);
            Ok(())
        };
        context.ordered(n.div_ceil(CHUNK), work, fold)?;
        for (out, part) in out.chunks_mut(CHUNK * d).zip(done) {
            out.copy_from_slice(&part);
        }
        Ok(())
    }
}

/// Reflects a vector in the plane across the unit vector `w`.
fn reflect(w: &[f64], x: &mut [f64]) {
    let along: f64 = w.iter().zip(&*x).map(|(w, x)| w * x).sum();
    x.iter_mut().zip(w).for_each(|(x, w)| *x -= 2.0 * along * w);
}

/// Rows of points, transposed: lane i of a coordinate belongs to row i.
struct Tile(Vec<[f64; TILE]>);

impl Tile {
    fn new(dim: usize) -> Self {
        Self(vec![[0.0; TILE]; dim])
    }

    /// Takes up to a tile of rows; what is left of it keeps older numbers, which nobody reads.
    fn load(&mut self, rows: &[f64]) {
        let d = self.0.len();
        for (i, row) in rows.chunks_exact(d).enumerate() {
            row.iter().zip(&mut self.0).for_each(|(x, lane)| lane[i] = *x);
        }
    }

    /// The coordinates along a direction.
    fn along(&self, direction: &[f64]) -> [f64; TILE] {
        let mut total = [0.0; TILE];
        for (lane, factor) in self.0.iter().zip(direction) {
            total.iter_mut().zip(lane).for_each(|(total, x)| *total += x * factor);
        }
        total
    }

    fn squared_norms(&self) -> [f64; TILE] {
        let mut total = [0.0; TILE];
        for lane in &self.0 {
            total.iter_mut().zip(lane).for_each(|(total, x)| *total += x * x);
        }
        total
    }
}

impl Polar {
    fn log_ratio(&self, tile: &Tile, out: &mut [f64; TILE]) {
        let (square, along) = (tile.squared_norms(), tile.along(&self.axis));
        let mut logs = square;
        ln_slice(&mut logs);
        for (i, out) in out.iter_mut().enumerate() {
            let cosine = (along[i] / square[i].sqrt()).clamp(-1.0, 1.0);
            let bin = self.edges.partition_point(|edge| *edge <= cosine);
            *out = self.power * logs[i] + self.slope * square[i] + self.constant + self.bins[bin];
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ratios(mixture: &Mixture, u: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; u.len() / mixture.dim()];
        mixture.log_ratio(&Context::serial(), u, &mut out).unwrap();
        out
    }

    #[test]
    fn one_normal_axis_is_the_quotient_of_two_densities() {
        let mut mixture = Mixture::new(1, 0.25);
        mixture.push_slab(0.75, &[Axis::normal(2.0, 0.5)], &[1.0]).unwrap();
        for x in [-1.0_f64, 0.3, 2.0, 4.0] {
            let z = (x - 2.0) / 0.5;
            let quotient = (0.5 * x * x - 0.5 * z * z).exp() / 0.5;
            let found = ratios(&mixture, &[x])[0].exp();
            assert!((found / (0.25 + 0.75 * quotient) - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn every_axis_integrates_to_one() {
        for axis in [Axis::normal(1.0, 0.7), Axis::tail(1.5), Axis::student(-1.0, 0.4)] {
            let mut mixture = Mixture::new(1, 0.0);
            mixture.push_slab(1.0, &[axis], &[1.0]).unwrap();
            let step = 1e-3;
            let u: Vec<f64> = (0..24_000).map(|i| -12.0 + (f64::from(i) + 0.5) * step).collect();
            let total: f64 = ratios(&mixture, &u)
                .iter()
                .zip(&u)
                .map(|(log, x)| (log - 0.5 * x * x).exp() / (2.0 * PI).sqrt() * step)
                .sum();
            assert!((total - 1.0).abs() < 1e-3, "{axis:?}: {total}");
        }
    }

    #[test]
    fn points_follow_the_law() {
        let mut mixture = Mixture::new(2, 0.0);
        let w = [0.6, 0.8];
        mixture.push_slab(1.0, &[Axis::tail(3.0)], &w).unwrap();
        let v = [0.5, 0.9, 0.3, 0.1, 0.2, 0.7, 0.9, 1e-9, 0.5];
        let mut u = [0.0; 6];
        mixture.points(&Context::serial(), &v, 3, &mut u).unwrap();
        for (point, v) in u.chunks_exact(2).zip(v.chunks_exact(3)) {
            let along = w[0] * point[0] + w[1] * point[1];
            let exact = -normal_quantile(normal_cdf(-3.0) * v[1]);
            assert!((along - exact).abs() < 1e-12);
            // Across the direction the law is the normal one.
            let across = (w[0] * point[1] - w[1] * point[0]).abs();
            assert!((across - normal_quantile(v[2]).abs()).abs() < 1e-12);
        }
        assert!(ratios(&mixture, &u).iter().all(|r| *r > 0.0));
    }

    #[test]
    fn the_first_number_chooses_the_component() {
        let mut mixture = Mixture::new(1, 0.25);
        mixture.push_slab(0.5, &[Axis::normal(10.0, 1e-3)], &[1.0]).unwrap();
        mixture.push_slab(0.25, &[Axis::normal(-10.0, 1e-3)], &[-1.0]).unwrap();
        let v = [0.1, 0.5, 0.3, 0.5, 0.74, 0.5, 0.76, 0.5, 0.9999, 0.5];
        let mut u = [0.0; 5];
        mixture.points(&Context::serial(), &v, 2, &mut u).unwrap();
        assert_eq!(u.map(f64::round), [0.0, 10.0, 10.0, 10.0, 10.0]);
    }

    #[test]
    fn rows_do_not_depend_on_their_batch() {
        let mut mixture = Mixture::new(3, 0.1);
        let directions = [1.0, 0.0, 0.0, 0.0, 0.6, 0.8];
        let axes = [Axis::normal(1.0, 0.5), Axis::student(0.0, 1.0)];
        mixture.push_slab(0.5, &axes, &directions).unwrap();
        mixture.push_polar(0.4, &[0.0, 0.0, 1.0], [0.5, -0.1, 0.2], &[0.0], &[-0.5, 0.3]).unwrap();
        let u: Vec<f64> = (0..3 * 37).map(|i| f64::from(i * 7 % 23) / 5.0 - 2.0).collect();
        let whole = ratios(&mixture, &u);
        for (row, found) in u.chunks_exact(3).zip(&whole) {
            assert_eq!(ratios(&mixture, row)[0].to_bits(), found.to_bits());
        }
    }
}
