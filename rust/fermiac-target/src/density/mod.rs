//! Log-densities: evaluation with checks, and the built-in ones.

mod design;
mod gaussian;
mod law;
mod linear;
mod regression;
mod schools;
mod shapes;
mod tiles;
mod transformed;

pub use gaussian::Gaussian;
pub use law::LawDensity;
pub use linear::{LinearRegression, Noise};
pub use regression::{LogisticRegression, NormalPrior, PoissonRegression};
pub use schools::EightSchools;
pub use shapes::{Banana, Funnel, Rosenbrock};
pub use transformed::Transformed;

pub use crate::function::{density as from_fn, density_with_gradient as from_fn_with_gradient};

use super::space::with_space;
use super::{LogDensity, RowStatus, unwritten};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};

/// A log-density with a gradient on the whole space, evaluated on any thread.
trait Smooth {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Writes the log-density of every row, and its gradient unless `gradient` is empty.
    fn evaluate(&self, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]);

    /// The logarithm of the integral of the density, if it is known: 0 for a law.
    fn log_evidence(&self) -> Option<f64> {
        Some(0.0)
    }
}

/// Implements [`LogDensity`] for a [`Smooth`] density, or for a type that holds one.
macro_rules! smooth_density {
    ($type:ty) => {
        $crate::density::smooth_density!($type, |this| this);
    };
    ($type:ty, |$this:ident| $density:expr) => {
        impl $crate::LogDensity for $type {
            fn dim(&self) -> usize {
                let $this = self;
                $crate::density::Smooth::dim($density)
            }

            fn has_gradient(&self) -> bool {
                true
            }

            fn log_density(
                &self,
                x: fermiac_base::linalg::Rows<'_>,
                out: &mut [f64],
                status: &mut [$crate::RowStatus],
            ) -> fermiac_base::Result<()> {
                $crate::LogDensity::log_density_gradient(self, x, out, &mut [], status)
            }

            fn log_density_gradient(
                &self,
                x: fermiac_base::linalg::Rows<'_>,
                out: &mut [f64],
                gradient: &mut [f64],
                status: &mut [$crate::RowStatus],
            ) -> fermiac_base::Result<()> {
                $crate::check_dim(x, $crate::LogDensity::dim(self), "log-density")?;
                let $this = self;
                $crate::density::Smooth::evaluate($density, x, out, gradient);
                $crate::density::settle_overflow(x, out, gradient, status);
                Ok(())
            }

            fn log_evidence(&self) -> Option<f64> {
                let $this = self;
                $crate::density::Smooth::log_evidence($density)
            }

            fn dispatch(&self) -> $crate::Dispatch {
                $crate::Dispatch::AnyThread
            }
        }
    };
}
use smooth_density;

/// Evaluates the rows of `x` and checks the values: a row that the target refused counts as -inf,
/// and NaN or +inf is an error that names the row, counted from `first`.
pub fn evaluate(target: &dyn LogDensity, x: Rows<'_>, first: usize, out: &mut [f64]) -> Result<()> {
    with_space(RowStatus::Good, x.len(), |status| {
        target.log_density(x, out, status)?;
        settle(target, x, first, out, status)
    })
}

/// Evaluates as [`evaluate`], with the gradient (rows × dim), which must be finite unless the density
/// is 0.
pub fn evaluate_gradient(
    target: &dyn LogDensity,
    x: Rows<'_>,
    first: usize,
    out: &mut [f64],
    gradient: &mut [f64],
) -> Result<()> {
    with_space(RowStatus::Good, x.len(), |status| {
        target.log_density_gradient(x, out, gradient, status)?;
        settle(target, x, first, out, status)
    })?;
    let rows = out.iter().zip(gradient.chunks_exact(x.dim())).enumerate();
    for (i, (value, slope)) in rows {
        if *value == f64::NEG_INFINITY {
            continue;
        }
        if let Some(k) = slope.iter().position(|s| !s.is_finite()) {
            return Err(Error::Target {
                row: Some(first + i),
                why: format!(
                    "the gradient of the log-density is {} in coordinate {k} at row {} of the \
                     batch, x = {}; it must be finite wherever the density is not 0",
                    slope[k],
                    first + i,
                    show(x.row(i))
                ),
            });
        }
    }
    Ok(())
}

fn settle(
    target: &dyn LogDensity,
    x: Rows<'_>,
    first: usize,
    out: &mut [f64],
    status: &[RowStatus],
) -> Result<()> {
    // Nearly always all values are fine, which a pass without branches checks: NaN < inf is false.
    let below = out.iter().filter(|value| **value < f64::INFINITY).count();
    let good = status.iter().filter(|status| **status == RowStatus::Good).count();
    if below == out.len() && good == status.len() {
        return Ok(());
    }
    for (i, (value, status)) in out.iter_mut().zip(status).enumerate() {
        if *status == RowStatus::Failed {
            *value = f64::NEG_INFINITY;
        } else if *status == RowStatus::Unwritten {
            let what = format!("row {} of the batch", first + i);
            return Err(unwritten(&target.describe(), first + i, &what, x.row(i)));
        } else if value.is_nan() || *value == f64::INFINITY {
            return Err(Error::Target {
                row: Some(first + i),
                why: format!(
                    "the log-density is {value} at row {} of the batch, x = {}; give -inf where \
                     the density is 0, and a finite number elsewhere",
                    first + i,
                    show(x.row(i))
                ),
            });
        }
    }
    Ok(())
}

/// Corrects rows so far out that the arithmetic overflows: a difference of infinities at a point
/// without NaN is a density of 0, and an infinite gradient with a finite value fails the row.
/// `gradient` may be empty.
fn settle_overflow(x: Rows<'_>, out: &mut [f64], gradient: &[f64], status: &mut [RowStatus]) {
    for (value, row) in out.iter_mut().zip(x.iter()) {
        if value.is_nan() && !row.iter().any(|x| x.is_nan()) {
            *value = f64::NEG_INFINITY;
        }
    }
    let slopes = gradient.chunks_exact(x.dim());
    for ((value, slopes), status) in out.iter().zip(slopes).zip(status) {
        if value.is_finite() && !all_finite(slopes) {
            *status = RowStatus::Failed;
        }
    }
}

/// Returns true if all numbers are finite.
#[inline]
pub fn all_finite(numbers: &[f64]) -> bool {
    if numbers.len() < 4 * LANES {
        return numbers.iter().filter(|number| number.is_finite()).count() == numbers.len();
    }
    dispatch(AllFinite(numbers))
}

struct AllFinite<'a>(&'a [f64]);

impl Kernel for AllFinite<'_> {
    type Output = bool;

    // Multiples of 0 are 0 or NaN. Sums of them have no branches, and four of them do not wait for
    // each other.
    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        let (tiles, rest) = self.0.as_chunks::<LANES>();
        let (fours, tiles) = tiles.as_chunks::<4>();
        let zero = V::ZERO;
        let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
        for four in fours {
            a = V(four[0]).mul_add::<FMA>(zero, a);
            b = V(four[1]).mul_add::<FMA>(zero, b);
            c = V(four[2]).mul_add::<FMA>(zero, c);
            d = V(four[3]).mul_add::<FMA>(zero, d);
        }
        for tile in tiles {
            a = V(*tile).mul_add::<FMA>(zero, a);
        }
        let end = rest.iter().fold(0.0, |sum, x| sum + 0.0 * x);
        ((a + b) + (c + d)).loop_sum() + end == 0.0
    }
}

/// Returns a point as text, cut to its first coordinates.
pub fn show(x: &[f64]) -> String {
    let shown: Vec<String> = x.iter().take(6).map(|x| format!("{x:.6e}")).collect();
    let more = if x.len() > 6 { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}

#[cfg(test)]
mod tests;
