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
    Kernel, LANES, Shuffle, V, WideKernel, dispatch, dispatch_wide, expv, ln, lnv, normal_cdf,
    normal_quantile_by,
};
use fermiac_base::special::normal_ln_cdf;
use fermiac_base::{Error, Result};
use std::f64::consts::{PI, SQRT_2};

/// Vectors of a tile of rows, and its rows: enough that the loads of a column don't wait for the stores
/// of its rows.
const VECTORS: usize = 4;
const TILE: usize = VECTORS * LANES;
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
    #[inline(always)]
    fn add_log_ratio<const FMA: bool>(&self, c: &Lanes, out: &mut Lanes) {
        let each = out.iter_mut().zip(c);
        let constant = V::splat(self.constant);
        match self.kind {
            Kind::Normal => {
                let (square, linear) =
                    (0.5 - 0.5 / (self.scale * self.scale), self.loc / (self.scale * self.scale));
                let (square, linear) = (V::splat(square), V::splat(linear));
                let z = self.loc / self.scale;
                let constant = V::splat(self.constant - 0.5 * z * z);
                each.for_each(|(out, c)| *out = *out + (*c * (*c * square + linear) + constant));
            }
            Kind::Tail => {
                let bound = self.loc - SLACK * self.loc.abs().max(1.0);
                let ratio = |c| if c >= bound { self.constant } else { f64::NEG_INFINITY };
                each.for_each(|(out, c)| *out = *out + c.map(ratio));
            }
            Kind::Student => each.for_each(|(out, c)| {
                let distance = *c - V::splat(self.loc);
                let z = distance / V::splat(self.scale);
                let log = lnv::<FMA>(V::splat(1.0) + V::splat(0.5) * z * z);
                let ratio = V::splat(0.5) * *c * *c - V::splat(1.5) * log + constant;
                let inside = |d: f64, r| {
                    if d.abs() <= REACH * (1.0 + SLACK) { r } else { f64::NEG_INFINITY }
                };
                *out = *out + distance.zip(ratio, inside);
            }),
        }
    }

    /// The points of the law for the uniform numbers `v`, and for their normal quantiles `z`.
    #[inline(always)]
    fn points<S: Shuffle>(&self, shuffle: S, v: V, z: V) -> V {
        let loc = V::splat(self.loc);
        match self.kind {
            Kind::Normal => loc + V::splat(self.scale) * z,
            // By the leading term of the tail where it is below the range of doubles.
            Kind::Tail if self.mass < 1e-290 => {
                v.map(|v| (self.loc * self.loc - 2.0 * ln(v)).sqrt())
            }
            Kind::Tail => {
                let quantile = normal_quantile_by::<false, S>(shuffle, V::splat(self.mass) * v);
                (V::ZERO - quantile).max(loc)
            }
            Kind::Student => v.map(|v| {
                let v = 0.5 + (v - 0.5) * self.mass;
                let t = (2.0 * v - 1.0) / (2.0 * v * (1.0 - v)).sqrt();
                self.loc + (self.scale * t).clamp(-REACH, REACH)
            }),
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

    /// Turns a tile of uniform numbers into points, in place.
    #[inline(always)]
    fn points<const FMA: bool, S: Shuffle>(&self, shuffle: S, tile: &mut [Lanes]) {
        for (j, lanes) in tile.iter_mut().enumerate() {
            for v in lanes {
                let z = normal_quantile_by::<FMA, S>(shuffle, *v);
                *v = match self.axes.get(j) {
                    Some(axis) => V::splat(self.signs[j]) * axis.points(shuffle, *v, z),
                    None => z,
                };
            }
        }
        for (j, w) in self.reflections.chunks_exact(tile.len()).enumerate().rev() {
            let (w, tile) = (&w[j..], &mut tile[j..]);
            let along = along(tile, w);
            for (lanes, w) in tile.iter_mut().zip(w) {
                for (x, along) in lanes.iter_mut().zip(&along) {
                    *x = *x - V::splat(2.0) * *along * V::splat(*w);
                }
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
        self.over_chunks(context, u, 1, out, |u, out| {
            dispatch(Ratios { mixture: self, u, all: false, out });
        })
    }

    /// The logarithms of the ratios of all components, (n, K).
    pub fn component_ratios(
        &self,
        context: &Context<'_>,
        u: &[f64],
        out: &mut [f64],
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.over_chunks(context, u, self.len(), out, |u, out| {
            dispatch(Ratios { mixture: self, u, all: true, out });
        })
    }

    /// Calls `f` with chunks of rows, and the rows of `out` that belong to them.
    fn over_chunks(
        &self,
        context: &Context<'_>,
        u: &[f64],
        width: usize,
        out: &mut [f64],
        f: impl Fn(&[f64], &mut [f64]) + Sync,
    ) -> Result<()> {
        let d = self.dim;
        let n = u.len() / d;
        let work = |chunk: usize| {
            let (start, stop) = (chunk * CHUNK, n.min((chunk + 1) * CHUNK));
            let mut part = vec![0.0; (stop - start) * width];
            f(&u[start * d..stop * d], &mut part);
            Ok(part)
        };
        let fold = |chunk: usize, part: Vec<f64>| {
            out[chunk * CHUNK * width..][..part.len()].copy_from_slice(&part);
            Ok(())
        };
        context.ordered(n.div_ceil(CHUNK), work, fold)
    }

    /// Turns rows of `width` uniform numbers into points of the mixture.
    ///
    /// The first number of a row chooses the component, the next d make the point. The points of
    /// components that are no laws along directions are 0.
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
        let n = v.len() / width;
        let work = |chunk: usize| {
            let v = &v[chunk * CHUNK * width..n.min((chunk + 1) * CHUNK) * width];
            let mut points = vec![0.0; v.len() / width * d];
            // The rows of each component together, in their order.
            let mut members = vec![Vec::new(); self.len() + 1];
            for (i, row) in v.chunks_exact(width).enumerate() {
                members[edges.partition_point(|edge| *edge <= row[0])].push(i);
            }
            for (k, rows) in members.iter().enumerate() {
                let slab = match k.checked_sub(1).map(|k| &self.components[k]) {
                    None => &law,
                    Some(Component::Slab(slab)) => slab,
                    Some(Component::Polar(_)) => continue,
                };
                dispatch_wide(Place { slab, dim: d, v, width, rows, points: &mut points });
            }
            Ok(points)
        };
        let fold = |chunk: usize, part: Vec<f64>| {
            out[chunk * CHUNK * d..][..part.len()].copy_from_slice(&part);
            Ok(())
        };
        context.ordered(n.div_ceil(CHUNK), work, fold)
    }
}

/// Reflects a vector in the plane across the unit vector `w`.
fn reflect(w: &[f64], x: &mut [f64]) {
    let along: f64 = w.iter().zip(&*x).map(|(w, x)| w * x).sum();
    x.iter_mut().zip(w).for_each(|(x, w)| *x -= 2.0 * along * w);
}

/// One number for each row of a tile. A tile of points has one for each coordinate.
type Lanes = [V; VECTORS];

/// The sums of the coordinates of a tile times factors.
#[inline(always)]
fn along(tile: &[Lanes], factors: &[f64]) -> Lanes {
    let mut total = [V::ZERO; VECTORS];
    for (lanes, factor) in tile.iter().zip(factors) {
        let factor = V::splat(*factor);
        total.iter_mut().zip(lanes).for_each(|(total, x)| *total = *total + *x * factor);
    }
    total
}

/// Points of one component of a mixture.
struct Place<'a> {
    slab: &'a Slab,
    dim: usize,
    /// Rows of `width` uniform numbers, and those of the component.
    v: &'a [f64],
    width: usize,
    rows: &'a [usize],
    /// The points of all rows.
    points: &'a mut [f64],
}

impl WideKernel for Place<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
        let Self { slab, dim, v, width, rows, points } = self;
        let mut tile = vec![[V::splat(0.5); VECTORS]; dim];
        for rows in rows.chunks(TILE) {
            for (i, row) in rows.iter().enumerate() {
                for (lanes, v) in tile.iter_mut().zip(&v[row * width + 1..][..dim]) {
                    lanes[i / LANES].0[i % LANES] = *v;
                }
            }
            slab.points::<FMA, S>(shuffle, &mut tile);
            for (i, row) in rows.iter().enumerate() {
                for (lanes, x) in tile.iter().zip(&mut points[row * dim..][..dim]) {
                    *x = lanes[i / LANES].0[i % LANES];
                }
            }
            // Lanes without a row must hold uniform numbers.
            tile.fill([V::splat(0.5); VECTORS]);
        }
    }
}

/// The logarithms of the ratios of a mixture, or of all of its components.
struct Ratios<'a> {
    mixture: &'a Mixture,
    u: &'a [f64],
    all: bool,
    out: &'a mut [f64],
}

impl Kernel for Ratios<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { mixture, u, all, out } = self;
        let d = mixture.dim;
        let width = if all { mixture.len() } else { 1 };
        let log_base = if mixture.base > 0.0 { ln(mixture.base) } else { f64::NEG_INFINITY };
        let log_shares: Vec<f64> = mixture.shares.iter().map(|share| ln(*share)).collect();
        let mut tile = vec![[V::ZERO; VECTORS]; d];
        let mut ratios = vec![[V::ZERO; VECTORS]; mixture.len()];
        for (u, out) in u.chunks(TILE * d).zip(out.chunks_mut(TILE * width)) {
            // What is left of the last tile keeps older numbers, which nobody reads.
            for (i, row) in u.chunks_exact(d).enumerate() {
                for (lanes, x) in tile.iter_mut().zip(row) {
                    lanes[i / LANES].0[i % LANES] = *x;
                }
            }
            for (component, ratio) in mixture.components.iter().zip(&mut ratios) {
                component.log_ratio::<FMA>(&tile, ratio);
            }
            if all {
                for (i, row) in out.chunks_exact_mut(width).enumerate() {
                    for (out, ratio) in row.iter_mut().zip(&ratios) {
                        *out = ratio[i / LANES].0[i % LANES];
                    }
                }
            } else {
                for (v, out) in out.chunks_mut(LANES).enumerate() {
                    let log = together::<FMA>(&mut ratios, v, &log_shares, log_base);
                    out.copy_from_slice(&log.0[..out.len()]);
                }
            }
        }
    }
}

/// The logarithm of the sum of exp of the ratios in vector `v` of a tile times the shares, and of the
/// share of the standard normal law.
#[inline(always)]
fn together<const FMA: bool>(ratios: &mut [Lanes], v: usize, shares: &[f64], base: f64) -> V {
    let mut top = V::splat(base);
    for (ratio, share) in ratios.iter_mut().zip(shares) {
        ratio[v] = ratio[v] + V::splat(*share);
        // A ratio that is not a number is passed over.
        top = ratio[v].max(top);
    }
    let mut sum = expv::<FMA>(top.map(|t| if t > f64::NEG_INFINITY { base - t } else { -1e300 }));
    for ratio in ratios {
        let less = |r, top| if r > f64::NEG_INFINITY { r - top } else { -1e300 };
        sum = sum + expv::<FMA>(ratio[v].zip(top, less));
    }
    top.zip(lnv::<FMA>(sum), |top, log| if top > f64::NEG_INFINITY { top + log } else { top })
}

impl Component {
    /// The logarithm of the density over the standard normal one.
    #[inline(always)]
    fn log_ratio<const FMA: bool>(&self, tile: &[Lanes], out: &mut Lanes) {
        *out = [V::ZERO; VECTORS];
        match self {
            Self::Slab(slab) => {
                let directions = slab.directions.chunks_exact(tile.len());
                for (axis, direction) in slab.axes.iter().zip(directions) {
                    axis.add_log_ratio::<FMA>(&along(tile, direction), out);
                }
            }
            Self::Polar(polar) => polar.log_ratio::<FMA>(tile, out),
        }
    }
}

impl Polar {
    #[inline(always)]
    fn log_ratio<const FMA: bool>(&self, tile: &[Lanes], out: &mut Lanes) {
        let along = along(tile, &self.axis);
        for (v, out) in out.iter_mut().enumerate() {
            let square = tile.iter().fold(V::ZERO, |sum, lanes| sum + lanes[v] * lanes[v]);
            let cosine = along[v].zip(square, |along, s| (along / s.sqrt()).clamp(-1.0, 1.0));
            let bin = |cosine| self.bins[self.edges.partition_point(|edge| *edge <= cosine)];
            let radial = V::splat(self.power) * lnv::<FMA>(square)
                + V::splat(self.slope) * square
                + V::splat(self.constant);
            *out = radial + cosine.map(bin);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fermiac_base::simd::normal_quantile;

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
