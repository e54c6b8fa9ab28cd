//! Targets: log-densities, integrands and laws, and where their code may run; with what judges a
//! sample ([`diagnostics`]) and what lowers its variance ([`controls`]).

pub mod controls;
pub mod density;
pub mod diagnostics;
pub mod integrand;
pub mod law;
pub mod native;
mod space;
pub mod transform;

use fermiac_base::linalg::Rows;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// Where a target may be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// On any worker thread, in batches of any size (built-in and native code).
    AnyThread,
    /// On the calling thread alone, in batches as large as the method can gather (Python, torch).
    CallingThread,
}

/// Whether a row could be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowStatus {
    /// It could; its values stand (they may still not be finite).
    #[default]
    Good,
    /// The target refused this row alone; its values mean nothing.
    Failed,
    /// The target left it without a value and did not say so: a defect of the target.
    Unwritten,
}

/// The error for a row that a target left unwritten: `what` counts it, "row 7 of the batch".
pub fn unwritten(target: &str, row: usize, what: &str, x: &[f64]) -> Error {
    let why = format!(
        "{target} left {what} unwritten (did it raise?), x = {}; write a value for every row, \
         NaN and a status from 1 to 255 for one that cannot be evaluated",
        density::show(x)
    );
    Error::Target { row: Some(row), why }
}

/// A function from points to a vector of numbers.
pub trait Integrand: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Numbers per point; `None` until the first call where only a call can tell.
    fn outputs(&self) -> Option<usize>;

    /// Evaluates every row: resizes `out` to rows × outputs and sets `status`, one entry a row
    /// (all [`RowStatus::Good`] on entry).
    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, status: &mut [RowStatus]) -> Result<()>;

    /// Where it may run.
    fn dispatch(&self) -> Dispatch;

    /// What it is called in messages.
    fn describe(&self) -> String {
        "the integrand".into()
    }
}

/// A log-density that need not be normalised, with its gradient where there is one.
///
/// Methods do not call it directly but through [`density::evaluate`] and
/// [`density::evaluate_gradient`], which hold what it gives to the rules: -inf where the density is
/// 0, never NaN or +inf.
pub trait LogDensity: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Whether [`LogDensity::log_density_gradient`] can be called.
    fn has_gradient(&self) -> bool {
        false
    }

    /// The log-density of every row; `status` has one entry a row, all [`RowStatus::Good`] on
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

    /// The logarithm of the density's integral, where it is known in closed form.
    fn log_evidence(&self) -> Option<f64> {
        None
    }

    /// Sets outside of which the density is 0, one for each coordinate; the whole line where
    /// nothing is known.
    fn support(&self) -> Vec<Support> {
        vec![Support::Real; self.dim()]
    }

    /// Where it may run.
    fn dispatch(&self) -> Dispatch;

    /// What it is called in messages.
    fn describe(&self) -> String {
        "the log-density".into()
    }
}

/// A law of some numbers given a point: what exact draws of a Gibbs sampler come from.
pub trait Conditional: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// Numbers per draw.
    fn outputs(&self) -> usize;

    /// One draw for every row (rows × outputs). Row `i` belongs to chain `chains[i]` and takes its
    /// random numbers from `streams[i]` alone.
    fn draw(
        &self,
        x: Rows<'_>,
        chains: &[u64],
        streams: &mut [&mut Stream],
        out: &mut [f64],
    ) -> Result<()>;

    /// Where it may run.
    fn dispatch(&self) -> Dispatch;

    /// What it is called in messages.
    fn describe(&self) -> String {
        "the conditional draw".into()
    }
}

/// The set on which one coordinate of a law lives.
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

/// A probability law that can be evaluated and sampled.
pub trait Law: Send + Sync {
    /// Coordinates of a point.
    fn dim(&self) -> usize;

    /// The normalised log-density of every row; -inf outside the support, NaN only for NaN.
    fn log_density(&self, x: Rows<'_>, out: &mut [f64]) -> Result<()>;

    /// Whether [`Law::log_density_gradient`] can be called.
    fn has_gradient(&self) -> bool {
        false
    }

    /// The log-density of every row, the same bits as of [`Law::log_density`], and its gradient
    /// (rows × dim, row-major), which means nothing outside the support.
    fn log_density_gradient(
        &self,
        _x: Rows<'_>,
        _out: &mut [f64],
        _gradient: &mut [f64],
    ) -> Result<()> {
        Err(Error::argument("law", "its log-density has no gradient"))
    }

    /// Whether [`Law::map_unit`] can be called.
    fn has_unit_map(&self) -> bool {
        false
    }

    /// Maps points of the open unit cube to points of the law.
    fn map_unit(&self, _u: Rows<'_>, _out: &mut [f64]) -> Result<()> {
        Err(Error::argument("law", "it has no map from the unit cube"))
    }

    /// Whether [`Law::pull_back`] can be called.
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

    /// Whether the tails are known to be no heavier than Gaussian ones, after a half-line is
    /// mapped to the line by the logarithm and an interval by the normal quantile.
    fn has_gaussian_tails(&self) -> bool {
        false
    }

    /// Where it may run.
    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}
