//! A bank of Gaussian and Student-t densities, stored so that one pass evaluates all of them at eight points.

use fermiac_base::linalg::{Cholesky, packed_len};
use fermiac_base::simd::{LANES, V, fma, ln, ln1pv};
use fermiac_base::special::ln_gamma;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::f64::consts::PI;

/// The tails of the densities in a [`ComponentBank`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tail {
    /// Gaussian.
    Gaussian,
    /// Student-t with this many degrees of freedom, scaled to the fitted covariance; with 2 or fewer,
    /// where there is no covariance, the fitted matrix is the scale matrix itself.
    Student(f64),
}

impl Tail {
    /// The factor from the fitted matrix of a density to its scale matrix.
    pub(crate) fn scale_of_fit(self) -> f64 {
        match self {
            // A t law has covariance df/(df - 2) times its scale matrix.
            Self::Student(df) if df > 2.0 => (df - 2.0) / df,
            Self::Student(_) | Self::Gaussian => 1.0,
        }
    }
}

/// One density of a bank, as fitted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fitted {
    pub(crate) mean: Vec<f64>,
    /// Row-major d × d.
    pub(crate) covariance: Vec<f64>,
}

/// Densities with a common dimension and tail.
#[derive(Debug, Clone)]
pub(crate) struct ComponentBank {
    dim: usize,
    tail: Tail,
    /// n × d.
    means: Vec<f64>,
    /// n × d(d+1)/2: the lower Cholesky factor of each scale matrix, packed by rows.
    factors: Vec<f64>,
    /// n × d(d+1)/2: its inverse.
    inverses: Vec<f64>,
    log_constants: Vec<f64>,
}

impl ComponentBank {
    pub(crate) fn new(dim: usize, tail: Tail) -> Self {
        Self {
            dim,
            tail,
            means: Vec::new(),
            factors: Vec::new(),
            inverses: Vec::new(),
            log_constants: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.log_constants.len()
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// The centre of component `k`.
    pub(crate) fn mean(&self, k: usize) -> &[f64] {
        &self.means[k * self.dim..(k + 1) * self.dim]
    }

    /// The scale matrix of component `k`, row-major.
    pub(crate) fn scale(&self, k: usize) -> Vec<f64> {
        let d = self.dim;
        let triangle = d * (d + 1) / 2;
        let factor = &self.factors[k * triangle..(k + 1) * triangle];
        let row = |i: usize| &factor[i * (i + 1) / 2..=i * (i + 1) / 2 + i];
        let mut out = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                let sum: f64 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
                (out[i * d + j], out[j * d + i]) = (sum, sum);
            }
        }
        out
    }

    /// Writes the densities to a codec, or reads them.
    pub(crate) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.count(&mut self.dim)?;
        let mut df = match self.tail {
            Tail::Gaussian => 0.0,
            Tail::Student(df) => df,
        };
        codec.number(&mut df)?;
        codec.require(df >= 0.0)?;
        self.tail = if df > 0.0 { Tail::Student(df) } else { Tail::Gaussian };
        codec.list(&mut self.log_constants)?;
        let n = self.log_constants.len();
        let of_each = self.dim.saturating_mul(n);
        codec.list(&mut self.means)?;
        codec.require(self.means.len() == of_each)?;
        let numbers = if n > 0 { packed_len(self.dim).saturating_mul(n) } else { 0 };
        for list in [&mut self.factors, &mut self.inverses] {
            codec.list(list)?;
            codec.require(list.len() == numbers)?;
        }
        Ok(())
    }

    /// Adds a density; fails where the covariance is not positive definite.
    pub(crate) fn push(&mut self, fitted: &Fitted) -> Result<()> {
        let d = self.dim;
        let factor = self.tail.scale_of_fit();
        let scale: Vec<f64> = fitted.covariance.iter().map(|c| c * factor).collect();
        let cholesky = Cholesky::new(&scale, d)?;
        let log_det = cholesky.log_determinant() / 2.0;
        let half_d = d as f64 / 2.0;
        let constant = match self.tail {
            Tail::Gaussian => -half_d * ln(2.0 * PI),
            Tail::Student(df) => {
                ln_gamma(f64::midpoint(df, d as f64)) - ln_gamma(df / 2.0) - half_d * ln(df * PI)
            }
        };
        if !log_det.is_finite() {
            return Err(Error::Numerical("a fitted covariance is singular".into()));
        }
        self.means.extend_from_slice(&fitted.mean);
        self.factors.extend_from_slice(cholesky.packed());
        self.inverses.extend_from_slice(&cholesky.inverse_lower());
        self.log_constants.push(constant - log_det);
        Ok(())
    }

    /// The log-density of component `k` at the eight points of a tile.
    #[inline(always)]
    pub(crate) fn log_density<const FMA: bool>(
        &self,
        k: usize,
        tile: &[V],
        centred: &mut [V],
    ) -> V {
        self.log_of::<FMA>(k, self.square::<FMA>(k, tile, centred))
    }

    /// The squared Mahalanobis distances of the points of a tile from the centre of component `k`,
    /// in units of its scale matrix.
    #[inline(always)]
    pub(crate) fn square<const FMA: bool>(&self, k: usize, tile: &[V], centred: &mut [V]) -> V {
        let d = self.dim;
        let mean = &self.means[k * d..(k + 1) * d];
        let triangle = d * (d + 1) / 2;
        let inverse = &self.inverses[k * triangle..(k + 1) * triangle];
        // With the dimension known the offsets stay in registers and the loops unroll: at d = 5
        // this takes a third of the time.
        match d {
            1 => square_of::<FMA, 1>(mean, inverse, tile),
            2 => square_of::<FMA, 2>(mean, inverse, tile),
            3 => square_of::<FMA, 3>(mean, inverse, tile),
            4 => square_of::<FMA, 4>(mean, inverse, tile),
            5 => square_of::<FMA, 5>(mean, inverse, tile),
            6 => square_of::<FMA, 6>(mean, inverse, tile),
            7 => square_of::<FMA, 7>(mean, inverse, tile),
            8 => square_of::<FMA, 8>(mean, inverse, tile),
            _ => square_any::<FMA>(mean, inverse, tile, centred),
        }
    }

    /// The log-density of component `k` at points of these squared distances.
    #[inline(always)]
    pub(crate) fn log_of<const FMA: bool>(&self, k: usize, square: V) -> V {
        let d = self.dim;
        let constant = self.log_constants[k];
        let mut out = V::ZERO;
        match self.tail {
            Tail::Gaussian => {
                for lane in 0..LANES {
                    out.0[lane] = fma::<FMA>(-0.5, square.0[lane], constant);
                }
            }
            Tail::Student(df) => {
                let power = -0.5 * (df + d as f64);
                let log = ln1pv::<FMA>(square * V::splat(1.0 / df));
                for lane in 0..LANES {
                    out.0[lane] = fma::<FMA>(power, log.0[lane], constant);
                }
            }
        }
        out
    }

    /// Turns standard normals `noise` into a draw from component `k`, stretched by `stretch`
    /// (1, or the root of df over a chi-square for a t law).
    #[inline]
    pub(crate) fn place(&self, k: usize, stretch: f64, noise: &[f64], out: &mut [f64]) {
        let d = self.dim;
        let triangle = d * (d + 1) / 2;
        let factor = &self.factors[k * triangle..(k + 1) * triangle];
        let mean = &self.means[k * d..(k + 1) * d];
        match d {
            2 => place_of::<2>(factor, mean, stretch, noise, out),
            3 => place_of::<3>(factor, mean, stretch, noise, out),
            4 => place_of::<4>(factor, mean, stretch, noise, out),
            5 => place_of::<5>(factor, mean, stretch, noise, out),
            6 => place_of::<6>(factor, mean, stretch, noise, out),
            7 => place_of::<7>(factor, mean, stretch, noise, out),
            8 => place_of::<8>(factor, mean, stretch, noise, out),
            _ => place_any(factor, mean, stretch, noise, out),
        }
    }
}

/// mean + stretch · A noise of a lower triangle A, packed by rows, for a dimension known to the
/// compiler: all rows advance together, which have no sum in common.
#[inline(always)]
fn place_of<const D: usize>(
    factor: &[f64],
    mean: &[f64],
    stretch: f64,
    noise: &[f64],
    out: &mut [f64],
) {
    let (factor, mean) = (&factor[..D * (D + 1) / 2], &mean[..D]);
    let (noise, out) = (&noise[..D], &mut out[..D]);
    let mut y = [0.0; D];
    for k in 0..D {
        for row in k..D {
            y[row] += factor[row * (row + 1) / 2 + k] * noise[k];
        }
    }
    for row in 0..D {
        out[row] = mean[row] + stretch * y[row];
    }
}

/// The same for any dimension.
fn place_any(factor: &[f64], mean: &[f64], stretch: f64, noise: &[f64], out: &mut [f64]) {
    let mut at = 0;
    for (row, out) in out.iter_mut().enumerate() {
        let (a, e) = (&factor[at..=at + row], &noise[..=row]);
        let mut y = 0.0;
        for k in 0..=row {
            y += a[k] * e[k];
        }
        at += row + 1;
        *out = mean[row] + stretch * y;
    }
}

/// |A (z - m)|² of a lower triangle A, packed by rows, for a dimension known to the compiler.
#[inline(always)]
fn square_of<const FMA: bool, const D: usize>(mean: &[f64], inverse: &[f64], tile: &[V]) -> V {
    let (mean, tile) = (&mean[..D], &tile[..D]);
    let inverse = &inverse[..D * (D + 1) / 2];
    let mut centred = [V::ZERO; D];
    for k in 0..D {
        centred[k] = tile[k] - V::splat(mean[k]);
    }
    let mut sum = V::ZERO;
    let mut at = 0;
    for row in 0..D {
        let mut y = V::ZERO;
        for k in 0..=row {
            y = V::splat(inverse[at + k]).mul_add::<FMA>(centred[k], y);
        }
        at += row + 1;
        sum = y.mul_add::<FMA>(y, sum);
    }
    sum
}

/// The same for any dimension.
#[inline(always)]
fn square_any<const FMA: bool>(mean: &[f64], inverse: &[f64], tile: &[V], centred: &mut [V]) -> V {
    let d = mean.len();
    let (tile, centred) = (&tile[..d], &mut centred[..d]);
    for k in 0..d {
        centred[k] = tile[k] - V::splat(mean[k]);
    }
    let mut sum = V::ZERO;
    let mut at = 0;
    for row in 0..d {
        let (a, c) = (&inverse[at..=at + row], &centred[..=row]);
        let mut y = V::ZERO;
        for k in 0..=row {
            y = V::splat(a[k]).mul_add::<FMA>(c[k], y);
        }
        at += row + 1;
        sum = y.mul_add::<FMA>(y, sum);
    }
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::simd::{Kernel, dispatch};

    use super::*;

    struct Eval<'a>(&'a ComponentBank, usize, Vec<V>);

    impl Kernel for Eval<'_> {
        type Output = V;
        #[inline(always)]
        fn run<const FMA: bool>(self) -> V {
            let mut scratch = vec![V::ZERO; self.0.dim()];
            self.0.log_density::<FMA>(self.1, &self.2, &mut scratch)
        }
    }

    #[test]
    fn densities_are_those_of_the_textbook() {
        let covariance = vec![2.0, 0.6, 0.6, 1.0];
        let fitted = Fitted { mean: vec![1.0, -1.0], covariance };
        let point = vec![V::splat(2.5), V::splat(0.0)];
        // det = 1.64; inverse = [[1, -0.6], [-0.6, 2]] / 1.64; offset (1.5, 1).
        let square = (1.5 * 1.5 - 2.0 * 0.6 * 1.5 + 2.0) / 1.64;
        let mut gaussian = ComponentBank::new(2, Tail::Gaussian);
        gaussian.push(&fitted).unwrap();
        let expected = -(2.0 * PI).ln() - 0.5 * 1.64_f64.ln() - 0.5 * square;
        let got = dispatch(Eval(&gaussian, 0, point.clone()));
        assert!((got.0[3] - expected).abs() < 1e-14);
        let mut student = ComponentBank::new(2, Tail::Student(8.0));
        student.push(&fitted).unwrap();
        // Scale = covariance · 6/8; Γ(5)/Γ(4) = 4.
        let expected = 4.0_f64.ln()
            - (8.0 * PI).ln()
            - 0.5 * (1.64_f64 * 0.5625).ln()
            - 5.0 * (square / 0.75 / 8.0).ln_1p();
        let got = dispatch(Eval(&student, 0, point));
        assert!((got.0[0] - expected).abs() < 1e-14);
    }
}
