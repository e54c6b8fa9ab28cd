//! The multivariate normal and t laws.

use super::ellipse::{Ellipse, Place};
use super::{Families, Orthogonal, Tile, check_draws, densities_by_tiles, positive, tile_space};
use crate::{Law, Support};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, Rows};
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, V, dispatch, exp, ln};
use fermiac_base::special::{LN_SQRT_2PI, ln_beta, ln_gamma, normal_quantile};

/// The multivariate normal law.
#[derive(Debug, Clone, PartialEq)]
pub struct MultivariateNormal {
    ellipse: Ellipse,
    constant: f64,
}

impl MultivariateNormal {
    /// The law with this mean and this covariance (row-major, symmetric, positive definite).
    pub fn new(mean: &[f64], cov: &[f64]) -> Result<Self> {
        Self::with_names(mean, cov, ["mean", "cov"])
    }

    /// The same, with other names of the arguments in errors.
    pub(super) fn with_names(mean: &[f64], cov: &[f64], names: [&str; 2]) -> Result<Self> {
        let ellipse = Ellipse::new(mean, cov, names)?;
        let log_det = ellipse.factor.log_determinant();
        let constant = -(mean.len() as f64) * LN_SQRT_2PI - 0.5 * log_det;
        Ok(Self { ellipse, constant })
    }

    /// Replaces every row z of standard normals by mean + L z, L the Cholesky factor.
    pub fn place(&self, rows: &mut [f64]) -> Result<()> {
        check_draws(rows, self.dim())?;
        dispatch(Place { ellipse: &self.ellipse, rows });
        Ok(())
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.ellipse.centre
    }

    /// The log-density at the mean.
    pub fn constant(&self) -> f64 {
        self.constant
    }

    /// The Cholesky factor of the covariance.
    pub fn factor(&self) -> &Cholesky {
        &self.ellipse.factor
    }

    fn tile(&self, x: Rows<'_>) -> NormalTile<'_> {
        NormalTile { law: self, centred: tile_space(x) }
    }
}

struct NormalTile<'a> {
    law: &'a MultivariateNormal,
    centred: Vec<V>,
}

impl NormalTile<'_> {
    #[inline(always)]
    fn centre(&mut self, rows: &[f64]) {
        let ellipse = &self.law.ellipse;
        for (j, c) in self.centred.iter_mut().enumerate() {
            *c = V::column(rows, ellipse.dim(), j) - V::splat(ellipse.centre[j]);
        }
    }
}

/// From |L⁻¹ c|² to the log-density.
#[inline(always)]
fn normal<R: Real, const FMA: bool>(square: R, constant: f64) -> R {
    square.fma::<FMA>(R::of(-0.5), R::of(constant))
}

impl Tile for NormalTile<'_> {
    #[inline(always)]
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        self.centre(rows);
        let MultivariateNormal { ellipse: Ellipse { inverse, .. }, constant } = self.law;
        let square = inverse.apply::<FMA>(&mut self.centred);
        if SLOPES {
            inverse.apply_transposed::<FMA>(&self.centred, slopes);
            for slope in slopes {
                *slope = *slope * V::splat(-1.0);
            }
        }
        normal::<V, FMA>(square, *constant)
    }

    #[inline(always)]
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        let MultivariateNormal { ellipse: Ellipse { centre, inverse, .. }, constant } = self.law;
        let square = inverse.apply_to_row::<FMA, SLOPES>(row, centre, 1.0, slopes);
        if SLOPES {
            inverse.apply_transposed_to_row::<FMA>(slopes, |v| v * V::splat(-1.0));
        }
        normal::<f64, FMA>(square, *constant)
    }
}

impl Law for MultivariateNormal {
    fn has_gaussian_tails(&self) -> bool {
        true
    }

    fn orthogonal(&self) -> Option<Families> {
        let Ellipse { centre, inverse, .. } = &self.ellipse;
        let standard = Orthogonal::Hermite { mean: 0.0, sd: 1.0 };
        Some(Families {
            whiten: Some((centre.clone(), inverse.clone())),
            each: vec![Some(standard); self.ellipse.dim()],
        })
    }

    fn dim(&self) -> usize {
        self.ellipse.dim()
    }

    densities_by_tiles!();

    fn has_unit_map(&self) -> bool {
        true
    }

    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        for (z, u) in out.iter_mut().zip(u.data()) {
            *z = normal_quantile(*u);
        }
        self.place(out)
    }

    fn has_unit_derivative(&self) -> bool {
        true
    }

    fn pull_back(&self, u: Rows<'_>, _x: Rows<'_>, gradient: &mut [f64]) -> Result<()> {
        for (row, u) in gradient.chunks_exact_mut(self.dim()).zip(u.iter()) {
            // Lᵀ g in place: the slope of column j needs those of the rows from j on.
            for (j, u) in u.iter().enumerate() {
                let rows = row[j..].iter().enumerate();
                let sum: f64 = rows.map(|(k, g)| self.ellipse.factor.row(j + k)[j] * g).sum();
                let z = normal_quantile(*u);
                row[j] = sum * exp(0.5 * z * z + LN_SQRT_2PI);
            }
        }
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        rng.fill_normal(out);
        self.place(out)
    }

    fn support(&self) -> Vec<Support> {
        vec![Support::Real; self.dim()]
    }
}

/// The multivariate t law.
#[derive(Debug, Clone, PartialEq)]
pub struct MultivariateT {
    ellipse: Ellipse,
    df: f64,
    constant: f64,
}

impl MultivariateT {
    /// The law of loc + L z √(df / χ²) with L Lᵀ = `scale` (row-major, symmetric, positive
    /// definite): its covariance is df / (df - 2) · `scale`.
    pub fn new(df: f64, loc: &[f64], scale: &[f64]) -> Result<Self> {
        let df = positive("df", df)?;
        let ellipse = Ellipse::new(loc, scale, ["loc", "scale"])?;
        let half = 0.5 * loc.len() as f64;
        // Γ((df + d)/2) / Γ(df/2) by the beta function, which stays exact for large df.
        let ratio = ln_gamma(half) - ln_beta(half, 0.5 * df);
        let log_pi = 2.0 * LN_SQRT_2PI - std::f64::consts::LN_2;
        let constant = ratio - half * (ln(df) + log_pi) - 0.5 * ellipse.factor.log_determinant();
        Ok(Self { ellipse, df, constant })
    }
}

/// The factor of points whose squares would overflow.
const SHRINK: f64 = 1.0e-180;

struct TTile<'a> {
    law: &'a MultivariateT,
    centred: Vec<V>,
}

/// The shrinkage of points so far out, beyond 1e120, that the squares of their coordinates would
/// overflow, long before the density vanishes.
#[inline(always)]
fn shrinkage<R: Real>(largest: R) -> R {
    largest.each(|m| if m > 1.0e120 { SHRINK } else { 1.0 })
}

impl MultivariateT {
    /// From |L⁻¹ c|² / df of the shrunk points to the log-densities.
    #[inline(always)]
    fn value<R: Real, const FMA: bool>(&self, square: R, shrink: R) -> R {
        let mut log = square.ln1p_fma::<FMA>();
        if shrink.any_below(R::of(1.0)) {
            let restored = square.ln_fma::<FMA>() + R::of(360.0 * std::f64::consts::LN_10);
            log = shrink.below(R::of(1.0), restored, log);
        }
        let power = -0.5 * (self.df + self.ellipse.dim() as f64);
        log.fma::<FMA>(R::of(power), R::of(self.constant))
    }

    /// The 1 of 1 + |L⁻¹ c|² / df, which far out is nothing beside the rest, and the factor that
    /// makes slopes of the directions of the shrunk points over that.
    #[inline(always)]
    fn weight<R: Real>(&self, shrink: R) -> (R, R) {
        let one = shrink.each(|s| if s < 1.0 { 0.0 } else { 1.0 });
        (one, shrink * R::of(-(self.df + self.ellipse.dim() as f64) / self.df))
    }

    fn tile(&self, x: Rows<'_>) -> TTile<'_> {
        TTile { law: self, centred: tile_space(x) }
    }

    /// The shrinkage of one row.
    #[inline(always)]
    fn shrinkage_of(&self, row: &[f64]) -> f64 {
        let mut largest = 0.0_f64;
        for (x, centre) in row.iter().zip(&self.ellipse.centre) {
            largest = largest.pair((x - centre).abs(), |a, b| if a > b { a } else { b });
        }
        shrinkage(largest)
    }
}

impl TTile<'_> {
    /// Centres and shrinks eight rows; gives the shrinkage.
    #[inline(always)]
    fn centre(&mut self, rows: &[f64]) -> V {
        let ellipse = &self.law.ellipse;
        let mut largest = V::ZERO;
        for (j, c) in self.centred.iter_mut().enumerate() {
            *c = V::column(rows, ellipse.dim(), j) - V::splat(ellipse.centre[j]);
            largest = largest.max(c.map(f64::abs));
        }
        let shrink = shrinkage(largest);
        for c in &mut self.centred {
            *c = *c * shrink;
        }
        shrink
    }
}

impl Tile for TTile<'_> {
    #[inline(always)]
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        let shrink = self.centre(rows);
        let inverse = &self.law.ellipse.inverse;
        let square = inverse.apply::<FMA>(&mut self.centred) * V::splat(1.0 / self.law.df);
        if SLOPES {
            inverse.apply_transposed::<FMA>(&self.centred, slopes);
            let (one, weight) = self.law.weight(shrink);
            // The quotient first: the weight over the square alone would underflow.
            for slope in slopes {
                *slope = *slope / (one + square) * weight;
            }
        }
        self.law.value::<V, FMA>(square, shrink)
    }

    #[inline(always)]
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        let Ellipse { centre, inverse, .. } = &self.law.ellipse;
        let shrink = self.law.shrinkage_of(row);
        let square = inverse.apply_to_row::<FMA, SLOPES>(row, centre, shrink, slopes);
        let square = square * (1.0 / self.law.df);
        if SLOPES {
            let (one, weight) = self.law.weight(shrink);
            let (spread, weight) = (V::splat(one + square), V::splat(weight));
            inverse.apply_transposed_to_row::<FMA>(slopes, |v| v / spread * weight);
        }
        self.law.value::<f64, FMA>(square, shrink)
    }
}

impl Law for MultivariateT {
    fn dim(&self) -> usize {
        self.ellipse.dim()
    }

    densities_by_tiles!();

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        rng.fill_normal(out);
        let half = 0.5 * self.df;
        for row in out.chunks_exact_mut(self.dim()) {
            // χ²/2 by its logarithm: for small df the variate itself underflows.
            let log_stretch = 0.5 * (ln(half) - rng.log_gamma_variate(half));
            let stretch = exp(log_stretch.min(650.0));
            for z in row {
                *z *= stretch;
            }
        }
        dispatch(Place { ellipse: &self.ellipse, rows: out });
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        vec![Support::Real; self.dim()]
    }
}
