//! The samplers of an integral: the uniform law of the unit cube, alone or with a share in a map, a
//! rotated map or a mixture of Student-t densities.
//!
//! All densities are relative to the uniform law of the cube, in which the region is a function of
//! each coordinate, or to the linear coordinates l of the region. A point of a sampler is a function
//! of d uniform numbers. The first of them also chooses the part: below the share it is stretched to a
//! coordinate of the uniform law, above it to one of the other part. Shares are multiples of 1/64, so
//! that the points of a net in each part are whole nets again.

use super::axis_map::AxisMap;
use super::place::Placed;
use super::radial::Radial;
use super::region::{Region, line, unit_of_line};
use crate::component_bank::{ComponentBank, Fitted, Tail};
use fermiac_base::linalg::SymmetricEigen;
use fermiac_base::simd::{Kernel, V, dispatch, exp, expv, ln, lnv};
use fermiac_base::{Error, Result};

/// Degrees of freedom of the components of mixtures.
pub(super) const DF: f64 = 8.0;
/// The share of the uniform law.
pub(super) const SHARE: f64 = 0.125;
/// The grid of the shares.
pub(super) const GRID: usize = 64;

/// A sampler with its region.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// The region.
    pub region: Region,
    /// The sampler that is mixed with the uniform law.
    pub source: Source,
    /// The share of the uniform law.
    pub share: f64,
}

/// The trained part of a sampler.
#[derive(Debug, Clone)]
pub enum Source {
    /// None: the uniform law alone.
    Uniform,
    /// A map for each axis.
    Map(Vec<AxisMap>),
    /// A map for each axis of a rotated frame, whose axes are lines.
    Rotated(Frame, Vec<AxisMap>),
    /// A mixture in linear coordinates.
    Mixture(Box<Mixture>),
}

/// A linear frame: l = mean + factor · z.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The origin.
    pub mean: Vec<f64>,
    /// The axes, the columns of a row-major matrix, the longest first.
    pub factor: Vec<f64>,
    inverse: Vec<f64>,
    pub(super) log_det: f64,
}

impl Frame {
    /// Returns the frame of the principal axes of a covariance.
    pub fn new(mean: &[f64], covariance: &[f64]) -> Result<Self> {
        let d = mean.len();
        let eigen = SymmetricEigen::new(covariance, d)?;
        let largest = eigen.values[d - 1];
        if largest.is_nan() || largest <= 0.0 {
            return Err(Error::Numerical("a covariance has no positive eigenvalue".into()));
        }
        let mut factor = vec![0.0; d * d];
        for k in 0..d {
            // Ascending values: the last is the longest axis.
            let from = d - 1 - k;
            let length = eigen.values[from].max(largest * 1e-14).sqrt();
            // The sign of an eigenvector is arbitrary; its largest entry is made positive.
            let column = |i: usize| eigen.vectors[i * d + from];
            let top = (0..d).fold(0, |b, i| if column(i).abs() > column(b).abs() { i } else { b });
            let sign = column(top).signum();
            for i in 0..d {
                factor[i * d + k] = sign * column(i) * length;
            }
        }
        Self::of(mean.to_vec(), factor)
    }

    /// Returns the frame with these orthogonal axes, the columns of a row-major matrix.
    pub fn of(mean: Vec<f64>, factor: Vec<f64>) -> Result<Self> {
        let d = mean.len();
        let mut inverse = vec![0.0; d * d];
        let mut log_det = 0.0;
        for k in 0..d {
            let square: f64 = (0..d).map(|i| factor[i * d + k] * factor[i * d + k]).sum();
            if !square.is_normal() {
                return Err(Error::Numerical("an axis of a frame has no length".into()));
            }
            log_det += 0.5 * ln(square);
            for i in 0..d {
                inverse[k * d + i] = factor[i * d + k] / square;
            }
        }
        Ok(Self { mean, factor, inverse, log_det })
    }

    #[inline(always)]
    pub(super) fn place(&self, z: &[f64], stretch: f64, l: &mut [f64]) {
        let d = self.mean.len();
        for i in 0..d {
            let mut sum = 0.0;
            for k in 0..d {
                sum += self.factor[i * d + k] * z[k];
            }
            l[i] = self.mean[i] + stretch * sum;
        }
    }

    /// Coordinate k of a point in the frame.
    pub(super) fn back(&self, l: &[f64], k: usize) -> f64 {
        let d = self.mean.len();
        (0..d).map(|i| self.inverse[k * d + i] * (l[i] - self.mean[i])).sum()
    }
}

/// A mixture of Student-t densities.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// The shares, in 64ths of the whole sampler.
    pub parts: Vec<usize>,
    /// The means and covariances.
    pub(crate) fitted: Vec<Fitted>,
    bank: ComponentBank,
    pub(super) frames: Vec<Frame>,
    pub(super) radial: Radial,
    log_shares: Vec<f64>,
}

impl Mixture {
    /// Returns the mixture of components with these shares.
    pub(crate) fn new(shares: &[f64], fitted: Vec<Fitted>) -> Result<Self> {
        let whole = GRID - (SHARE * GRID as f64) as usize;
        Self::of_parts(rounded(shares, whole), fitted)
    }

    /// Returns the mixture of components with these shares in 64ths.
    pub(crate) fn of_parts(parts: Vec<usize>, fitted: Vec<Fitted>) -> Result<Self> {
        let d = fitted[0].mean.len();
        let mut bank = ComponentBank::new(d, Tail::Student(DF));
        let mut frames = Vec::with_capacity(fitted.len());
        for f in &fitted {
            bank.push(f)?;
            let scale: Vec<f64> = f.covariance.iter().map(|c| c * (DF - 2.0) / DF).collect();
            frames.push(Frame::new(&f.mean, &scale)?);
        }
        let total: usize = parts.iter().sum();
        let log_shares = parts.iter().map(|p| ln(*p as f64 / total as f64)).collect();
        Ok(Self { parts, fitted, bank, frames, radial: Radial::new(d, DF), log_shares })
    }

    /// Returns means and covariances, one after the other.
    pub fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let means = self.fitted.iter().flat_map(|f| f.mean.clone()).collect();
        (means, self.fitted.iter().flat_map(|f| f.covariance.clone()).collect())
    }

    /// The logarithm of the density at eight points in linear coordinates.
    #[inline(always)]
    pub(super) fn log_density<const FMA: bool>(&self, l: &[V], centred: &mut [V]) -> V {
        let mut largest = V::splat(-1e300);
        let mut logs = [V::ZERO; 16];
        for (k, share) in self.log_shares.iter().enumerate() {
            logs[k] = self.bank.log_density::<FMA>(k, l, centred) + V::splat(*share);
            largest = largest.max(logs[k]);
        }
        let mut sum = V::ZERO;
        for log in &logs[..self.log_shares.len()] {
            sum = sum + expv::<FMA>(*log - largest);
        }
        largest + lnv::<FMA>(sum)
    }
}

/// Most components of a mixture.
pub(super) const MOST_COMPONENTS: usize = 6;

/// Shares as whole numbers of sum `whole`, at least 1 each, by the largest remainders.
fn rounded(shares: &[f64], whole: usize) -> Vec<usize> {
    let total: f64 = shares.iter().sum();
    let rest = (whole - shares.len()) as f64;
    let exact: Vec<f64> = shares.iter().map(|s| 1.0 + rest * s / total).collect();
    let mut parts: Vec<usize> = exact.iter().map(|e| *e as usize).collect();
    while parts.iter().sum::<usize>() < whole {
        let lack = |k: usize| exact[k] - parts[k] as f64;
        let next = (0..parts.len()).fold(0, |b, k| if lack(k) > lack(b) { k } else { b });
        parts[next] += 1;
    }
    parts
}

impl Sampler {
    /// The uniform law alone.
    pub(super) fn uniform(region: Region) -> Self {
        Self { region, source: Source::Uniform, share: 1.0 }
    }

    /// A source with the usual share of the uniform law.
    pub fn blended(region: Region, source: Source) -> Self {
        Self { region, source, share: SHARE }
    }

    /// The word for the source.
    pub fn name(&self) -> &'static str {
        match self.source {
            Source::Uniform => "uniform",
            Source::Map(_) => "map",
            Source::Rotated(..) => "rotated",
            Source::Mixture(_) => "mixture",
        }
    }

    /// The share of points that are uniform on each axis, where the others are uniform under its map.
    pub(super) fn base_of_axes(&self) -> Option<f64> {
        matches!(self.source, Source::Uniform | Source::Map(_)).then_some(self.share)
    }

    /// Puts other maps in place of its own.
    pub(super) fn set_maps(&mut self, to: Vec<AxisMap>) {
        if let Source::Map(maps) | Source::Rotated(_, maps) = &mut self.source {
            *maps = to;
        }
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.region.dim()
    }

    /// Turns rows of uniform numbers into points of the law.
    pub fn map_unit(&self, u: &[f64]) -> Vec<f64> {
        let mut to = Placed::default();
        self.place(u, &mut to);
        to.x
    }

    /// The logarithm of the density of the source with respect to the linear coordinates.
    pub(super) fn log_source(&self, l: &[f64]) -> f64 {
        match &self.source {
            Source::Uniform => self.log_base(l),
            Source::Map(maps) => {
                let mut log = 0.0;
                for ((axis, map), l) in self.region.axes.iter().zip(maps).zip(l) {
                    let t = axis.unit(*l);
                    if !(0.0..=1.0).contains(&t) {
                        return f64::NEG_INFINITY;
                    }
                    log -= ln(map.inverse(t).1) + ln(axis.linear(t).1);
                }
                log
            }
            Source::Rotated(frame, maps) => {
                let mut log = -frame.log_det;
                for (k, map) in maps.iter().enumerate() {
                    let t = unit_of_line(frame.back(l, k));
                    log -= ln(map.inverse(t).1) + ln(line(t).1);
                }
                log
            }
            Source::Mixture(mixture) => dispatch(At { mixture, l }),
        }
    }

    /// The logarithm of the density of the uniform law with respect to the linear coordinates.
    fn log_base(&self, l: &[f64]) -> f64 {
        let mut log = 0.0;
        for (axis, l) in self.region.axes.iter().zip(l) {
            let t = axis.unit(*l);
            if !(t > 0.0 && t < 1.0) {
                return f64::NEG_INFINITY;
            }
            log -= ln(axis.linear(t).1);
        }
        log
    }

    /// The logarithm of the density with respect to the linear coordinates.
    pub(super) fn log_linear(&self, l: &[f64]) -> f64 {
        if self.share >= 1.0 {
            return self.log_base(l);
        }
        let (base, source) =
            (ln(self.share) + self.log_base(l), ln(1.0 - self.share) + self.log_source(l));
        let largest = base.max(source);
        if largest == f64::NEG_INFINITY {
            return largest;
        }
        largest + ln(exp(base - largest) + exp(source - largest))
    }

    /// Writes the linear coordinates of a point.
    pub(super) fn to_linear(&self, x: &[f64], l: &mut [f64]) {
        for ((axis, x), l) in self.region.axes.iter().zip(x).zip(l) {
            *l = (x - axis.origin) / axis.scale;
        }
    }

    /// The logarithms of the density at rows of points.
    pub fn log_density(&self, x: &[f64], out: &mut [f64]) {
        let d = self.dim();
        let log_volume: f64 = self.region.axes.iter().map(|axis| ln(axis.scale.abs())).sum();
        let mut l = vec![0.0; d];
        for (x, out) in x.chunks_exact(d).zip(out) {
            self.to_linear(x, &mut l);
            *out = if l.iter().any(|l| l.is_nan()) {
                f64::NAN
            } else {
                self.log_linear(&l) - log_volume
            };
        }
    }
}

struct At<'a> {
    mixture: &'a Mixture,
    l: &'a [f64],
}

impl Kernel for At<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let tile: Vec<V> = self.l.iter().map(|l| V::splat(*l)).collect();
        let mut centred = vec![V::ZERO; self.l.len()];
        self.mixture.log_density::<FMA>(&tile, &mut centred).0[0]
    }
}
