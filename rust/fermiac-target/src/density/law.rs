//! The log-density of a law.

use super::settle_overflow;
use crate::{Dispatch, Law, LogDensity, RowStatus, Support};
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use std::sync::Arc;

/// The log-density of a law.
#[derive(Clone)]
pub struct LawDensity(Arc<dyn Law>);

impl LawDensity {
    /// Returns the log-density of a law.
    pub fn new(law: Arc<dyn Law>) -> Self {
        Self(law)
    }
}

impl LogDensity for LawDensity {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn has_gradient(&self) -> bool {
        self.0.has_gradient()
    }

    fn log_density(&self, x: Rows<'_>, out: &mut [f64], _status: &mut [RowStatus]) -> Result<()> {
        self.0.log_density(x, out)
    }

    fn log_density_gradient(
        &self,
        x: Rows<'_>,
        out: &mut [f64],
        gradient: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        self.0.log_density_gradient(x, out, gradient)?;
        settle_overflow(x, out, gradient, status);
        Ok(())
    }

    fn log_evidence(&self) -> Option<f64> {
        Some(0.0)
    }

    fn support(&self) -> Vec<Support> {
        self.0.support()
    }

    fn dispatch(&self) -> Dispatch {
        self.0.dispatch()
    }
}
