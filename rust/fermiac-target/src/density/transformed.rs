//! A log-density on a constrained space, transformed to the unconstrained space.

use crate::space::with_space;
use crate::transform::Transform;
use crate::{Dispatch, LogDensity, RowStatus, check_dim};
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use std::sync::Arc;

/// The log-density of z if x(z) has the inner density: the inner one plus the log-Jacobian.
#[derive(Clone)]
pub struct Transformed {
    inner: Arc<dyn LogDensity>,
    transform: Transform,
}

impl Transformed {
    /// Returns the transformed density; the transform must lead to points of the inner one.
    pub fn new(inner: Arc<dyn LogDensity>, transform: Transform) -> Result<Self> {
        if transform.dim() == inner.dim() {
            return Ok(Self { inner, transform });
        }
        let why = format!(
            "they give {} coordinates; the log-density takes {}",
            transform.dim(),
            inner.dim()
        );
        Err(Error::argument("transforms", why))
    }

    /// The transform.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Computes the constrained points and the logarithms of the Jacobians.
    fn constrain(&self, z: Rows<'_>, x: &mut [f64], jacobians: &mut [f64]) {
        let rows = x.chunks_exact_mut(self.transform.dim());
        for ((z, x), jacobian) in z.iter().zip(rows).zip(jacobians) {
            *jacobian = self.transform.constrain(z, x);
        }
    }
}

/// Adds the logarithms of the Jacobians; a point at infinity has no density.
fn add(z: Rows<'_>, out: &mut [f64], jacobians: &[f64]) {
    for ((value, z), jacobian) in out.iter_mut().zip(z.iter()).zip(jacobians) {
        let far = z.iter().any(|z| z.is_infinite()) && !value.is_nan();
        *value =
            if far || *value == f64::NEG_INFINITY { f64::NEG_INFINITY } else { *value + jacobian };
    }
}

impl LogDensity for Transformed {
    fn dim(&self) -> usize {
        self.transform.free_dim()
    }

    fn has_gradient(&self) -> bool {
        self.inner.has_gradient()
    }

    fn log_density(&self, z: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        let (n, dim) = (z.len(), self.transform.dim());
        check_dim(z, self.transform.free_dim(), "log-density")?;
        with_space(0.0, n * (dim + 1), |space| {
            let (jacobians, x) = space.split_at_mut(n);
            self.constrain(z, x, jacobians);
            self.inner.log_density(Rows::new(x, dim), out, status)?;
            add(z, out, jacobians);
            Ok(())
        })
    }

    fn log_density_gradient(
        &self,
        z: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        let (n, free, dim) = (z.len(), self.transform.free_dim(), self.transform.dim());
        check_dim(z, free, "log-density")?;
        with_space(0.0, n * (2 * dim + 1), |space| {
            let (jacobians, points) = space.split_at_mut(n);
            let (x, slopes) = points.split_at_mut(n * dim);
            self.constrain(z, x, jacobians);
            self.inner.log_density_gradient(Rows::new(x, dim), out, slopes, status)?;
            add(z, out, jacobians);
            let rows = slopes.chunks_exact(dim).zip(gradient.chunks_exact_mut(free));
            for (i, (slopes, gradient)) in rows.enumerate() {
                self.transform.pull_back(z.row(i), slopes, gradient);
                // The caller checks the output of the inner density; a row fails if the chain rule
                // overflows.
                if slopes.iter().all(|s| s.is_finite()) && !gradient.iter().all(|s| s.is_finite()) {
                    status[i] = RowStatus::Failed;
                }
            }
            Ok(())
        })
    }

    /// Returns that of the inner density, if the transform reaches all of its mass.
    fn log_evidence(&self) -> Option<f64> {
        let reached = self.transform.reaches_all_of(&self.inner.support());
        if reached { self.inner.log_evidence() } else { None }
    }

    fn dispatch(&self) -> Dispatch {
        self.inner.dispatch()
    }

    fn complaint(&self) -> Option<String> {
        self.inner.complaint()
    }

    fn describe(&self) -> String {
        format!("{}, transformed", self.inner.describe())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::density::{LawDensity, evaluate_gradient};
    use crate::law::{Independent, Marginal};
    use crate::transform::{Block, Kind};

    fn gamma_on_the_line() -> Transformed {
        let law = Independent::new(vec![Marginal::gamma(2.5, 0.5).unwrap()]).unwrap();
        let transform = Transform::new(vec![Block::new(Kind::Above(0.0), 1).unwrap()]).unwrap();
        Transformed::new(Arc::new(LawDensity::new(Arc::new(law))), transform).unwrap()
    }

    #[test]
    fn tails_are_stable() {
        let target = gamma_on_the_line();
        // ln of the density is 2.5 z - 2 eᶻ + constant.
        let constant = -2.5 * 0.5_f64.ln() - 1.329_340_388_179_137_f64.ln();
        let z = [-700.0, -300.0, -40.0, 0.0, 5.0];
        let (mut values, mut slopes) = ([0.0; 5], [0.0; 5]);
        evaluate_gradient(&target, Rows::new(&z, 1), 0, &mut values, &mut slopes).unwrap();
        for ((z, value), slope) in z.iter().zip(values).zip(slopes) {
            let truth = 2.5 * z - 2.0 * f64::exp(*z) + constant;
            assert!((value - truth).abs() < 1.0e-14 * (1.0 + truth.abs()), "{z}: {value} {truth}");
            assert!((slope - (2.5 - 2.0 * f64::exp(*z))).abs() < 1.0e-12);
        }
        let z = [1.0e4, f64::INFINITY, f64::NEG_INFINITY];
        evaluate_gradient(&target, Rows::new(&z, 1), 0, &mut values[..3], &mut slopes[..3])
            .unwrap();
        assert_eq!(values[..3], [f64::NEG_INFINITY; 3]);
    }

    #[test]
    fn sizes_must_fit() {
        let law = Independent::new(vec![Marginal::normal(0.0, 1.0).unwrap()]).unwrap();
        let transform = Transform::new(vec![Block::new(Kind::Simplex, 3).unwrap()]).unwrap();
        assert!(Transformed::new(Arc::new(LawDensity::new(Arc::new(law))), transform).is_err());
    }
}
