//! The law of Lewandowski, Kurowicka and Joe on correlation matrices, by their Cholesky factors.

use super::{Tile, check_draws, densities_by_tiles, positive};
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, V};
use fermiac_base::special::{IncompleteBeta, LN_SQRT_2PI, ln_beta, ln_gamma};
use fermiac_base::{Error, Result};
use std::f64::consts::LN_2;

/// The law of the Cholesky factor L of a correlation matrix with density proportional to
/// det(L Lᵀ)^(η - 1). A point has the entries below the diagonal, row by row.
///
/// The rows are independent: that with m entries lies in the unit ball, with a density proportional
/// to (1 - |r|²)^(a - 1), a = η + (size - 1 - m)/2.
///
/// # References
/// D. Lewandowski, D. Kurowicka and H. Joe, "Generating random correlation matrices based on vines
/// and extended onion method", Journal of Multivariate Analysis 100 (2009).
#[derive(Debug, Clone, PartialEq)]
pub struct Lkj {
    size: usize,
    eta: f64,
    dim: usize,
    constant: f64,
    /// The laws of (1 + t)/2 for the partial correlations t in each column.
    sticks: Vec<IncompleteBeta>,
}

impl Lkj {
    /// The law of factors of `size` rows, 2 or more; `eta` > 0, and 1 gives the uniform law of
    /// correlation matrices.
    pub fn new(size: usize, eta: f64) -> Result<Self> {
        let eta = positive("eta", eta)?;
        if !(2..=1 << 15).contains(&size) {
            let why = format!("{size} was given; a whole number from 2 to 32768 is needed");
            return Err(Error::argument("size", why));
        }
        let dim = size * (size - 1) / 2;
        let sticks = (1..size).map(|j| {
            let b = eta + 0.5 * (size - 1 - j) as f64;
            IncompleteBeta::new(b, b)
        });
        let mut law = Self { size, eta, dim, constant: 0.0, sticks: sticks.collect() };
        let log_pi = 2.0 * LN_SQRT_2PI - LN_2;
        for m in 1..size {
            let half = 0.5 * m as f64;
            law.constant += ln_gamma(half) - ln_beta(half, law.power(m) + 1.0) - half * log_pi;
        }
        Ok(law)
    }

    /// a - 1 of the row with `m` entries.
    fn power(&self, m: usize) -> f64 {
        self.eta - 1.0 + 0.5 * (self.size - 1 - m) as f64
    }

    fn tile(&self, _x: Rows<'_>) -> Factors<'_> {
        Factors(self)
    }
}

struct Factors<'a>(&'a Lkj);

impl Factors<'_> {
    /// Of as many rows of a batch as `R` has numbers.
    #[inline(always)]
    fn value<R: Real, const FMA: bool, const SLOPES: bool>(
        &self,
        rows: &[f64],
        slopes: &mut [R],
    ) -> R {
        let law = self.0;
        let (mut value, mut first) = (R::of(law.constant), 0);
        for m in 1..law.size {
            let mut square = R::of(0.0);
            for j in first..first + m {
                let x = R::column(rows, law.dim, j);
                square = x.fma::<FMA>(x, square);
            }
            let power = law.power(m);
            let log = (square * R::of(-1.0)).ln1p_fma::<FMA>();
            let term = square.pair(log, |square, log| {
                if square < 1.0 {
                    if power == 0.0 { 0.0 } else { power * log }
                } else if square > 1.0 {
                    f64::NEG_INFINITY
                } else if square == 1.0 && power != 0.0 {
                    // What the power of 0 is.
                    -power * f64::INFINITY
                } else {
                    0.0 * square
                }
            });
            value = value + term;
            if SLOPES {
                let bend = R::of(-2.0 * power) / (R::of(1.0) - square);
                for j in first..first + m {
                    if let Some(slope) = slopes.get_mut(j) {
                        *slope = R::column(rows, law.dim, j) * bend;
                    }
                }
            }
            first += m;
        }
        value
    }
}

impl Tile for Factors<'_> {
    #[inline(always)]
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        self.value::<V, FMA, SLOPES>(rows, slopes)
    }

    #[inline(always)]
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        self.value::<f64, FMA, SLOPES>(row, slopes)
    }
}

impl Law for Lkj {
    fn dim(&self) -> usize {
        self.dim
    }

    densities_by_tiles!();

    fn has_unit_map(&self) -> bool {
        true
    }

    /// Maps each number to a partial correlation given the columns before.
    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim)?;
        for (row, u) in out.chunks_exact_mut(self.dim).zip(u.iter()) {
            let mut entries = row.iter_mut().zip(u);
            for m in 1..self.size {
                let mut rest = 1.0;
                for ((x, u), stick) in entries.by_ref().take(m).zip(&self.sticks) {
                    let (above, below) = stick.quantile(*u);
                    *x = rest * (above - below);
                    rest *= 2.0 * (above * below).sqrt();
                }
            }
        }
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim)?;
        for point in out.chunks_exact_mut(self.dim) {
            let mut rest = point;
            for m in 1..self.size {
                let (row, after) = rest.split_at_mut(m);
                rest = after;
                rng.fill_normal(row);
                let norm = row.iter().fold(0.0, |sum, z| sum + z * z).sqrt();
                let stretch = rng.beta(0.5 * m as f64, self.power(m) + 1.0).sqrt() / norm;
                for z in row {
                    *z *= stretch;
                }
            }
        }
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        vec![Support::Between(-1.0, 1.0); self.dim]
    }
}
