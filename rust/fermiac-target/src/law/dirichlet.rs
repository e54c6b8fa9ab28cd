//! The Dirichlet law.

use super::{Tile, check_draws, densities_by_tiles, positive};
use crate::{Law, Support};
use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Real, V, exp};
use fermiac_base::special::{IncompleteBeta, ln_beta};
use fermiac_base::{Error, Result};

/// The largest distance of the sum of a point from 1: single precision is enough for a point.
const SUM_TOLERANCE: f64 = 1.0e-6;

/// The Dirichlet law on positive numbers with sum 1. The density is one in all coordinates but the
/// last.
#[derive(Debug, Clone, PartialEq)]
pub struct Dirichlet {
    concentration: Vec<f64>,
    constant: f64,
    /// The laws of the shares that the coordinates take of what those before them leave.
    sticks: Vec<IncompleteBeta>,
}

impl Dirichlet {
    /// The law with these parameters: two or more numbers above 0.
    pub fn new(concentration: &[f64]) -> Result<Self> {
        if concentration.len() < 2 {
            let why = format!("{} given; two or more numbers are needed", concentration.len());
            return Err(Error::argument("concentration", why));
        }
        let (mut constant, mut rest, mut sticks) = (0.0, 0.0, Vec::new());
        for (j, a) in concentration.iter().enumerate().rev() {
            let a = positive("concentration", *a)?;
            if j + 1 < concentration.len() {
                constant -= ln_beta(a, rest);
                sticks.push(IncompleteBeta::new(a, rest));
            }
            rest += a;
        }
        positive("concentration", rest)?;
        sticks.reverse();
        Ok(Self { concentration: concentration.to_vec(), constant, sticks })
    }

    fn tile(&self, _x: Rows<'_>) -> Shares<'_> {
        Shares(self)
    }
}

struct Shares<'a>(&'a Dirichlet);

impl Shares<'_> {
    /// Of as many rows as `R` has numbers.
    #[inline(always)]
    fn value<R: Real, const FMA: bool, const SLOPES: bool>(
        &self,
        rows: &[f64],
        slopes: &mut [R],
    ) -> R {
        let law = self.0;
        let (mut value, mut slopes) = (R::of(law.constant), slopes.iter_mut());
        let (mut sum, mut least) = (R::of(0.0), R::of(0.0));
        for (j, a) in law.concentration.iter().enumerate() {
            let x = R::column(rows, law.concentration.len(), j);
            let power = R::of(a - 1.0);
            sum = sum + x;
            least = x.pair(least, |x, least| if x < least { x } else { least });
            // A power of zero makes no term, not 0 · ln 0.
            if *a != 1.0 {
                value = x.ln_fma::<FMA>().fma::<FMA>(power, value);
            }
            if SLOPES && let Some(slope) = slopes.next() {
                *slope = power / x;
            }
        }
        let value = least.pair(value, |least, v| if least < 0.0 { f64::NEG_INFINITY } else { v });
        sum.pair(value, |sum, v| {
            if (sum - 1.0).abs() <= SUM_TOLERANCE || sum.is_nan() {
                v + 0.0 * sum
            } else {
                f64::NEG_INFINITY
            }
        })
    }
}

impl Tile for Shares<'_> {
    #[inline(always)]
    fn rows<const FMA: bool, const SLOPES: bool>(&mut self, rows: &[f64], slopes: &mut [V]) -> V {
        self.value::<V, FMA, SLOPES>(rows, slopes)
    }

    #[inline(always)]
    fn row<const FMA: bool, const SLOPES: bool>(&mut self, row: &[f64], slopes: &mut [f64]) -> f64 {
        self.value::<f64, FMA, SLOPES>(row, slopes)
    }
}

impl Law for Dirichlet {
    fn dim(&self) -> usize {
        self.concentration.len()
    }

    densities_by_tiles!();

    fn has_unit_map(&self) -> bool {
        true
    }

    /// Breaks a stick: coordinate j takes a beta share of what those before it leave. The last
    /// number of a row is not used.
    fn map_unit(&self, u: Rows<'_>, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        for (row, u) in out.chunks_exact_mut(self.dim()).zip(u.iter()) {
            let mut rest = 1.0;
            for ((x, u), stick) in row.iter_mut().zip(u).zip(&self.sticks) {
                let (share, left) = stick.quantile(*u);
                *x = rest * share;
                rest *= left;
            }
            row[self.sticks.len()] = rest;
        }
        Ok(())
    }

    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()> {
        check_draws(out, self.dim())?;
        for row in out.chunks_exact_mut(self.dim()) {
            // By logarithms: for small parameters all variates may underflow.
            let mut largest = f64::NEG_INFINITY;
            for (x, a) in row.iter_mut().zip(&self.concentration) {
                *x = rng.log_gamma_variate(*a);
                largest = largest.max(*x);
            }
            let mut sum = 0.0;
            for x in row.iter_mut() {
                *x = exp(*x - largest);
                sum += *x;
            }
            for x in row {
                *x /= sum;
            }
        }
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        vec![Support::Between(0.0, 1.0); self.dim()]
    }
}
