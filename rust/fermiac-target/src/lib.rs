//! Targets: log-densities, integrands and laws, with [`diagnostics`] and [`controls`] of samples.
//!
//! ```
//! use fermiac_base::linalg::Rows;
//! use fermiac_target::{Law, law::MultivariateNormal};
//!
//! let law = MultivariateNormal::new(&[0.0, 1.0], &[2.0, 0.5, 0.5, 1.0])?;
//! let (x, mut log_density) = ([0.0, 1.0], [0.0]);
//! law.log_density(Rows::new(&x, 2), &mut log_density)?;
//! let truth = -(2.0 * std::f64::consts::PI).ln() - 0.5 * 1.75_f64.ln();
//! assert!((log_density[0] - truth).abs() < 1e-14);
//! # Ok::<(), fermiac_base::Error>(())
//! ```
//!
//! [`density::from_fn`] and [`integrand::from_fn`] make targets from Rust functions.

pub mod controls;
pub mod density;
pub mod diagnostics;
mod function;
pub mod integrand;
pub mod law;
pub mod native;
mod space;
pub mod transform;

use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// The threads on which a target may be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// On any worker thread, in batches of any size (built-in and native code).
    AnyThread,
    /// On the calling thread alone, in batches as large as the method can gather (Python, torch).
    CallingThread,
}

/// The outcome of the evaluation of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowStatus {
    /// It has values, which may still not be finite.
    #[default]
    Good,
    /// The target refused this row; its values are meaningless.
    Failed,
    /// The target left it without a value and did not report it, which is an error of the target.
    Unwritten,
}

/// Returns the error for a row that a target left unwritten; `what` names it, as "row 7 of the batch".
pub fn unwritten(target: &str, row: usize, what: &str, x: &[f64]) -> Error {
    let why = format!(
        "{target} left {what} unwritten (did it raise?), x = {}; write a value for every row, \
         NaN and a status from 1 to 255 for one that cannot be evaluated",
        density::show(x)
    );
    Error::Target { row: Some(row), why }
}

/// Refuses a batch whose rows are not points of a target of `dim` coordinates; `what` names it.
fn check_dim(x: Rows<'_>, dim: usize, what: &str) -> Result<()> {
    if x.dim() == dim {
        return Ok(());
    }
    let why = format!("rows of {} coordinates were given; the {what} takes {dim}", x.dim());
    Err(Error::argument("x", why))
}

/// A function from points to a vector of numbers.
pub trait Integrand: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Numbers per point; `None` before the first call if only a call can determine it.
    fn outputs(&self) -> Option<usize>;

    /// Evaluates every row: resizes `out` to rows × outputs and sets `status`, one entry per row (all
    /// [`RowStatus::Good`] on entry).
    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()>;

    /// The threads on which it may run.
    fn dispatch(&self) -> Dispatch;

    /// Its name in messages.
    fn describe(&self) -> String {
        "the integrand".into()
    }
}

/// A log-density, normalised or not, with its gradient if there is one.
///
/// Methods do not call it directly but through [`density::evaluate`] and
/// [`density::evaluate_gradient`], which check its values: -inf for a density of 0, never NaN or
/// +inf.
pub trait LogDensity: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Returns true if [`LogDensity::log_density_gradient`] can be called.
    fn has_gradient(&self) -> bool {
        false
    }

    /// The log-density of every row; `status` has one entry per row, all [`RowStatus::Good`] on
    /// entry. A row that failed counts as -inf.
    fn log_density(&self, x: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()>;

    /// The log-density of every row and its gradient (rows × dim, row-major).
    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()>;

    /// The logarithm of the integral of the density, if it is known in closed form.
    fn log_evidence(&self) -> Option<f64> {
        None
    }

    /// Sets outside which the density is 0, one for each coordinate; the whole line if nothing is
    /// known.
    fn support(&self) -> Vec<Support> {
        vec![Support::Real; self.dim()]
    }

    /// The threads on which it may run.
    fn dispatch(&self) -> Dispatch;

    /// What the target said of the last row that failed, if it says anything.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// Its name in messages.
    fn describe(&self) -> String {
        "the log-density".into()
    }
}

/// A conditional law of some numbers given a point, for the exact draws of a Gibbs sampler.
pub trait Conditional: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Numbers per draw.
    fn outputs(&self) -> usize;

    /// Writes one draw for every row (rows × outputs). Row `i` belongs to chain `chains[i]` and takes
    /// its random numbers only from `streams[i]`.
    fn draw(
        &self,
        x: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()>;

    /// The threads on which it may run.
    fn dispatch(&self) -> Dispatch;

    /// The time of a draw, in nanoseconds, by its order of magnitude. Many draws in a row are
    /// interrupted by it, for signals.
    fn cost(&self) -> usize {
        50_000
    }

    /// Its name in messages.
    fn describe(&self) -> String {
        "the conditional draw".into()
    }
}

/// The support of one coordinate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Support {
    /// The whole line.
    Real,
    /// Everything above a bound.
    Above(f64),
    /// Everything below a bound.
    Below(f64),
    /// An interval.
    Between(f64, f64),
}

impl Support {
    /// The lower and the upper bound, infinite where there is none.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Self::Real => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Above(low) => (low, f64::INFINITY),
            Self::Below(high) => (f64::NEG_INFINITY, high),
            Self::Between(low, high) => (low, high),
        }
    }
}

/// A probability law that can be evaluated and sampled.
pub trait Law: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// The normalised log-density of every row; -inf outside the support, NaN only for NaN.
    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()>;

    /// Returns true if [`Law::log_density_gradient`] can be called.
    fn has_gradient(&self) -> bool {
        false
    }

    /// The log-density of every row, with the bits of [`Law::log_density`], and its gradient
    /// (rows × dim, row-major), which is meaningless outside the support.
    fn log_density_gradient(
        &self,
        _x: Rows<'_>,
        _out: &mut [f64],
        _gradient: &mut [f64],
    ) -> Result<()> {
        Err(Error::argument("law", "its log-density has no gradient"))
    }

    /// Returns true if [`Law::map_unit`] can be called.
    fn has_unit_map(&self) -> bool {
        false
    }

    /// Maps points of the open unit cube to points of the law.
    fn map_unit(&self, _u: Rows<'_>, _out: &mut [f64]) -> Result<()> {
        Err(Error::argument("law", "it has no map from the unit cube"))
    }

    /// Returns true if [`Law::pull_back`] can be called.
    fn has_unit_derivative(&self) -> bool {
        false
    }

    /// Turns the gradients (rows × dim) of a function with respect to the rows of `x` into those
    /// with respect to the rows of `u` that [`Law::map_unit`] mapped to them.
    fn pull_back(&self, _u: Rows<'_>, _x: Rows<'_>, _gradient: &mut [f64]) -> Result<()> {
        Err(Error::argument("law", "its map from the unit cube has no derivative"))
    }

    /// Fills `out` (a whole number of rows, row-major) with independent draws.
    fn sample(&self, rng: &mut Stream, out: &mut [f64]) -> Result<()>;

    /// The support of each coordinate.
    fn support(&self) -> Vec<Support>;

    /// Returns true if the tails are known to be no heavier than Gaussian ones, with a half-line
    /// mapped to the line by the logarithm and an interval by the normal quantile.
    fn has_gaussian_tails(&self) -> bool {
        false
    }

    /// The polynomials that are orthonormal under it, if they are known for a coordinate or more.
    fn orthogonal(&self) -> Option<law::Families> {
        None
    }

    /// The threads on which it may run.
    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}
