//! Ellipsoids about sets of points: the covariance gives the shape, the farthest point the size.

use super::tiles::{covariance, gather, norms};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot, packed_len, packed_start};
use fermiac_base::simd::{LANES, V, exp, ln};
use fermiac_base::special::ln_gamma;
use fermiac_base::store::Codec;
use std::f64::consts::PI;

/// The squared radius of an ellipsoid over that of its farthest point: above 1, so that rounding
/// leaves no point outside.
const MARGIN: f64 = 1.0 / (1.0 - 1e-3);
/// The least allowed eigenvalue of a covariance, relative to its trace.
pub(super) const FLOOR: f64 = 1e-11;
/// The least allowed eigenvalue of a covariance in units of the set: far above rounding errors for
/// points that are all the same.
const LEAST: f64 = 1e-17;

/// The ln of the volume of the unit ball.
pub(super) fn log_ball(d: usize) -> f64 {
    let half = d as f64 / 2.0;
    half * ln(PI) - ln_gamma(half + 1.0)
}

/// A standardised set of points: each coordinate has mean 0 and standard deviation 1.
pub(super) struct Standard {
    pub(super) d: usize,
    /// Row-major.
    pub(super) points: Vec<f64>,
    pub(super) centre: Vec<f64>,
    pub(super) unit: Vec<f64>,
    /// The ln of the prior mass of the set, in these units.
    pub(super) log_x: f64,
}

impl Standard {
    /// Returns `None` if all points are the same.
    pub(super) fn new(u: &[f64], d: usize, log_x: f64) -> Option<Self> {
        let n = (u.len() / d) as f64;
        let mut centre = vec![0.0; d];
        for row in u.chunks_exact(d) {
            centre.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        centre.iter_mut().for_each(|sum| *sum /= n);
        let mut unit = vec![0.0; d];
        for row in u.chunks_exact(d) {
            for ((sum, x), c) in unit.iter_mut().zip(row).zip(&centre) {
                *sum += (x - c) * (x - c);
            }
        }
        unit.iter_mut().for_each(|sum| *sum = (*sum / n).sqrt());
        let largest = unit.iter().fold(0.0_f64, |a, b| a.max(*b));
        if largest < f64::MIN_POSITIVE.sqrt() {
            return None;
        }
        // An axis without scatter takes the largest unit; the floor of eigenvalues keeps it thin.
        unit.iter_mut().filter(|sd| **sd < FLOOR * largest).for_each(|sd| *sd = largest);
        let mut points = Vec::with_capacity(u.len());
        let per: Vec<f64> = unit.iter().map(|sd| 1.0 / sd).collect();
        for row in u.chunks_exact(d) {
            points.extend(row.iter().zip(&centre).zip(&per).map(|((x, c), per)| (x - c) * per));
        }
        let log_x = unit.iter().fold(log_x, |sum, sd| sum - ln(*sd));
        Some(Self { d, points, centre, unit, log_x })
    }

    pub(super) fn len(&self) -> usize {
        self.points.len() / self.d
    }

    /// The mean of the chosen points.
    pub(super) fn mean(&self, chosen: &[u32]) -> Vec<f64> {
        let mut mean = vec![0.0; self.d];
        for &p in chosen {
            let row = &self.points[p as usize * self.d..];
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= chosen.len() as f64);
        mean
    }
}

/// Affine maps b ↦ c + A b with lower triangular A.
#[derive(Debug, Clone, Default)]
pub(super) struct Maps {
    d: usize,
    centres: Vec<f64>,
    /// The matrices A, row-major, and their inverses, packed by rows.
    axes: Vec<f64>,
    inverses: Vec<f64>,
}

impl Maps {
    pub(super) fn new(d: usize) -> Self {
        Self { d, ..Self::default() }
    }

    /// Adds a map given in the units of a set, by its A and the inverse, packed by rows.
    pub(super) fn push(&mut self, set: &Standard, centre: &[f64], factor: &[f64], inverse: &[f64]) {
        for i in 0..self.d {
            self.centres.push(set.centre[i] + set.unit[i] * centre[i]);
            let row = packed_start(i)..packed_start(i + 1);
            self.axes.extend(factor[row.clone()].iter().map(|a| set.unit[i] * a));
            self.axes.extend((i + 1..self.d).map(|_| 0.0));
            self.inverses.extend(inverse[row].iter().zip(&set.unit).map(|(w, unit)| w / unit));
        }
    }

    /// Adds map `k` of other ones with another centre.
    pub(super) fn push_copy(&mut self, other: &Self, k: usize, centre: &[f64]) {
        self.centres.extend_from_slice(centre);
        self.axes.extend_from_slice(other.axes(k));
        self.inverses.extend_from_slice(other.inverse(k));
    }

    pub(super) fn len(&self) -> usize {
        self.centres.len() / self.d
    }

    #[inline(always)]
    pub(super) fn centre(&self, k: usize) -> &[f64] {
        &self.centres[k * self.d..][..self.d]
    }

    pub(super) fn axes(&self, k: usize) -> &[f64] {
        &self.axes[k * self.d * self.d..][..self.d * self.d]
    }

    #[inline(always)]
    pub(super) fn inverse(&self, k: usize) -> &[f64] {
        &self.inverses[k * packed_len(self.d)..][..packed_len(self.d)]
    }

    /// Applies map `k` to `b` times `scale`; returns whether the result is in the cube, and only then
    /// the whole of it.
    #[inline]
    pub(super) fn forth(&self, k: usize, b: &[f64], scale: f64, x: &mut [f64]) -> bool {
        let axes = self.axes(k);
        for (i, (x, centre)) in x.iter_mut().zip(self.centre(k)).enumerate() {
            let row = &axes[i * self.d..][..=i];
            *x = centre + scale * row.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b);
            if !(*x > 0.0 && *x < 1.0) {
                return false;
            }
        }
        true
    }

    /// The image of `b` under map `k`, also outside of the cube.
    pub(super) fn place(&self, k: usize, b: &[f64]) -> Vec<f64> {
        let rows = self.axes(k).chunks_exact(self.d).zip(self.centre(k));
        rows.map(|(row, centre)| centre + dot(row, b)).collect()
    }

    /// Coordinate `i` of the preimage of `x` under map `k`.
    #[inline]
    pub(super) fn back(&self, k: usize, i: usize, x: &[f64]) -> f64 {
        let row = &self.inverse(k)[packed_start(i)..packed_start(i + 1)];
        row.iter().zip(x).zip(self.centre(k)).fold(0.0, |sum, ((w, x), c)| sum + w * (x - c))
    }

    /// Writes or reads the maps.
    pub(super) fn persist(&mut self, codec: &mut Codec, d: usize) -> Result<()> {
        self.d = d;
        codec.list(&mut self.centres)?;
        codec.list(&mut self.axes)?;
        codec.list(&mut self.inverses)?;
        let k = self.len();
        let sizes = [self.centres.len(), self.axes.len(), self.inverses.len()];
        let fits = k > 0 && sizes == [k * d, k * d * d, k * packed_len(d)];
        if fits { Ok(()) } else { Err(super::unfit()) }
    }
}

/// An ellipsoid of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Its points, as a range of their order.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The squared radius in units of the covariance.
    pub(super) radius2: f64,
    pub(super) log_volume: f64,
}

/// Ellipsoids about subsets of a standardised set, with buffers for fits.
pub(super) struct Ellipsoids<'a> {
    pub(super) set: &'a Standard,
    /// The number of all points.
    n: usize,
    log_ball: f64,
    pub(super) shapes: Vec<Shape>,
    means: Vec<f64>,
    /// The lower triangular factors of the covariances and their inverses, packed by rows.
    factors: Vec<f64>,
    inverses: Vec<f64>,
    /// The centred points of the last fit.
    pub(super) tiles: Vec<V>,
    /// Their covariance.
    pub(super) covariance: Vec<f64>,
    sums: Vec<f64>,
    norms: Vec<V>,
}

impl<'a> Ellipsoids<'a> {
    /// An empty list of ellipsoids about subsets of `n` points.
    pub(super) fn new(set: &'a Standard, n: usize) -> Self {
        Self {
            set,
            n,
            log_ball: log_ball(set.d),
            shapes: Vec::new(),
            means: Vec::new(),
            factors: Vec::new(),
            inverses: Vec::new(),
            tiles: Vec::with_capacity(n.div_ceil(LANES) * set.d),
            covariance: Vec::new(),
            sums: Vec::new(),
            norms: Vec::new(),
        }
    }

    pub(super) fn mean(&self, k: usize) -> &[f64] {
        &self.means[k * self.set.d..][..self.set.d]
    }

    pub(super) fn factor(&self, k: usize) -> &[f64] {
        let size = packed_len(self.set.d);
        &self.factors[k * size..][..size]
    }

    pub(super) fn inverse(&self, k: usize) -> &[f64] {
        let size = packed_len(self.set.d);
        &self.inverses[k * size..][..size]
    }

    /// The ln of the expected prior mass of `n` of the points.
    pub(super) fn log_mass(&self, n: usize) -> f64 {
        self.set.log_x + ln(n as f64 / self.n as f64)
    }

    /// The ln of the volume of an ellipsoid with this factor of its covariance and squared radius.
    pub(super) fn log_volume(&self, factor: &Cholesky, radius2: f64) -> f64 {
        self.log_ball + 0.5 * (factor.log_determinant() + self.set.d as f64 * ln(radius2))
    }

    /// Removes all ellipsoids from the `k`-th on.
    pub(super) fn truncate(&mut self, k: usize) {
        let size = packed_len(self.set.d);
        self.shapes.truncate(k);
        self.means.truncate(k * self.set.d);
        self.factors.truncate(k * size);
        self.inverses.truncate(k * size);
    }

    /// Adds the ellipsoid about the points of `order[start..end]`, with the given mean. It contains its
    /// farthest point, and its volume is at least the prior mass of its points.
    pub(super) fn fit(
        &mut self,
        order: &[u32],
        start: usize,
        end: usize,
        mean: &[f64],
    ) -> Result<()> {
        let (d, n) = (self.set.d, end - start);
        gather(&self.set.points, &order[start..end], mean, &mut self.tiles);
        covariance(&self.tiles, d, n, &mut self.sums, &mut self.covariance);
        let factor = factor(&mut self.covariance, d)?;
        let inverse = factor.inverse_lower();
        norms(&self.tiles, d, &inverse, &mut self.norms);
        let farthest = self.norms.iter().fold(V::ZERO, |far, norm| far.max(*norm));
        let farthest = farthest.0.iter().fold(0.0_f64, |far, norm| far.max(*norm));
        // The mean square is the dimension, unless the points are equal up to rounding.
        let mut radius2 = (farthest * MARGIN).max(1.0);
        let mut log_volume = self.log_volume(&factor, radius2);
        let least = self.log_mass(n);
        if log_volume < least {
            radius2 *= exp(2.0 / d as f64 * (least - log_volume));
            log_volume = least;
        }
        self.shapes.push(Shape { start, end, radius2, log_volume });
        self.means.extend_from_slice(mean);
        self.factors.extend_from_slice(factor.packed());
        self.inverses.extend_from_slice(&inverse);
        Ok(())
    }
}

/// The factor of a covariance in units of the set, with a floor on its eigenvalues.
pub(super) fn factor(covariance: &mut [f64], d: usize) -> Result<Cholesky> {
    let trace = (0..d).fold(0.0, |sum, i| sum + covariance[i * d + i]);
    let least = (FLOOR * trace).max(LEAST);
    if let Ok(factor) = Cholesky::new(covariance, d)
        && (0..d).all(|i| factor.row(i)[i].powi(2) > least)
    {
        return Ok(factor);
    }
    (0..d).for_each(|i| covariance[i * d + i] += least);
    Cholesky::new(covariance, d)
}
