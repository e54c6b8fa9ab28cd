//! Targets given by Rust functions of one point.

use crate::{Dispatch, Integrand, LogDensity, RowStatus};
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use std::sync::Arc;

/// A function of a point that returns its log-density and writes the gradient there, where it has
/// one.
struct FnDensity<F> {
    dim: usize,
    has_gradient: bool,
    function: F,
}

/// Returns the log-density of a function of one point.
///
/// # Examples
/// ```
/// let target = fermiac_target::density::from_fn(2, |x| -0.5 * (x[0] * x[0] + x[1] * x[1]));
/// assert_eq!(target.dim(), 2);
/// ```
pub fn density<F>(dim: usize, log_density: F) -> Arc<dyn LogDensity>
where
    F: Fn(&[f64]) -> f64 + Send + Sync + 'static,
{
    let function = move |x: &[f64], _: &mut [f64]| log_density(x);
    Arc::new(FnDensity { dim, has_gradient: false, function })
}

/// Returns the log-density of a function that also writes the gradient into its second argument.
///
/// # Examples
/// ```
/// let target = fermiac_target::density::from_fn_with_gradient(1, |x, gradient| {
///     gradient[0] = -x[0];
///     -0.5 * x[0] * x[0]
/// });
/// assert!(target.has_gradient());
/// ```
pub fn density_with_gradient<F>(dim: usize, log_density: F) -> Arc<dyn LogDensity>
where
    F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync + 'static,
{
    Arc::new(FnDensity { dim, has_gradient: true, function: log_density })
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> LogDensity for FnDensity<F> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn has_gradient(&self) -> bool {
        self.has_gradient
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], _: &mut [RowStatus]) -> Result<()> {
        let mut gradient = vec![0.0; if self.has_gradient { self.dim } else { 0 }];
        for (value, row) in out.iter_mut().zip(x.iter()) {
            *value = (self.function)(row, &mut gradient);
        }
        Ok(())
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        _: &mut [RowStatus],
    ) -> Result<()> {
        if !self.has_gradient {
            return Err(Error::argument("target", "the log-density has no gradient"));
        }
        for ((value, slopes), row) in
            out.iter_mut().zip(gradient.chunks_exact_mut(self.dim)).zip(x.iter())
        {
            *value = (self.function)(row, slopes);
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}

/// A function that writes the outputs of one point.
struct FnIntegrand<F> {
    dim: usize,
    outputs: usize,
    function: F,
}

/// Returns the integrand of a function that writes `outputs` numbers for one point.
///
/// # Examples
/// ```
/// let f = fermiac_target::integrand::from_fn(2, 1, |x, out| out[0] = x[0] * x[1]);
/// assert_eq!(f.outputs(), Some(1));
/// ```
pub fn integrand<F>(dim: usize, outputs: usize, function: F) -> Arc<dyn Integrand>
where
    F: Fn(&[f64], &mut [f64]) + Send + Sync + 'static,
{
    Arc::new(FnIntegrand { dim, outputs, function })
}

impl<F: Fn(&[f64], &mut [f64]) + Send + Sync> Integrand for FnIntegrand<F> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.outputs)
    }

    fn eval(&self, x: Rows<'_>, out: &mut Vec<f64>, _: &mut [RowStatus]) -> Result<()> {
        out.resize(x.len() * self.outputs, 0.0);
        for (values, row) in out.chunks_exact_mut(self.outputs).zip(x.iter()) {
            (self.function)(row, values);
        }
        Ok(())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::AnyThread
    }
}
