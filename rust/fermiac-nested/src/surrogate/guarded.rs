//! The surrogate where it may be trusted, and the true log-likelihood elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, LogDensity, RowStatus};

use super::train::Fitted;
use super::trust::Trust;

/// The ensemble guesses where its spread is not below this, in nats.
const MAX_SPREAD: f64 = 1.0;

/// A log-likelihood on the unit cube that asks the surrogate within its region where the ensemble
/// agrees, and else the truth. It is the same function at every call.
pub struct Guarded {
    surrogate: Arc<Fitted>,
    trust: Arc<Trust>,
    truth: Arc<dyn LogDensity>,
    n_true: Arc<AtomicU64>,
}

impl Guarded {
    /// All three must take points of as many coordinates; `n_true` counts the rows that the truth
    /// is asked for.
    pub fn new(
        surrogate: Arc<Fitted>,
        trust: Arc<Trust>,
        truth: Arc<dyn LogDensity>,
        n_true: Arc<AtomicU64>,
    ) -> Result<Self> {
        let dims = [surrogate.dim(), trust.dim(), truth.dim()];
        if dims[0] == dims[1] && dims[0] == dims[2] {
            return Ok(Self { surrogate, trust, truth, n_true });
        }
        let [ours, region, true_dim] = dims;
        let why = format!(
            "it takes {ours} coordinates, its region has {region} and the log-likelihood takes \
             {true_dim}; they must be the same"
        );
        Err(Error::argument("surrogate", why))
    }

    /// Rows that the truth was asked for so far.
    pub fn n_true(&self) -> u64 {
        self.n_true.load(Ordering::Relaxed)
    }

    /// Asks the truth for some of the rows, all in one call.
    fn ask(
        &self,
        u: Rows<'_>,
        asked: &[usize],
        out: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        self.n_true.fetch_add(asked.len() as u64, Ordering::Relaxed);
        if asked.len() == u.len() {
            return self.truth.log_density(u, out, status);
        }
        let points: Vec<f64> = asked.iter().flat_map(|&i| u.row(i)).copied().collect();
        let mut values = vec![0.0; asked.len()];
        let mut statuses = vec![RowStatus::Good; asked.len()];
        self.truth.log_density(Rows::new(&points, u.dim()), &mut values, &mut statuses)?;
        for ((&i, value), one) in asked.iter().zip(values).zip(statuses) {
            (out[i], status[i]) = (value, one);
        }
        Ok(())
    }
}

impl LogDensity for Guarded {
    fn dim(&self) -> usize {
        self.surrogate.dim()
    }

    fn log_density(&self, u: Rows<'_>, out: &mut [f64], status: &mut [RowStatus]) -> Result<()> {
        if u.dim() != self.dim() {
            let (given, dim) = (u.dim(), self.dim());
            let why = format!("rows of {given} coordinates were given; the surrogate takes {dim}");
            return Err(Error::argument("u", why));
        }
        let (near, mut asked): (Vec<usize>, Vec<usize>) =
            (0..u.len()).partition(|&i| self.trust.contains(u.row(i)));
        let points: Vec<f64> = near.iter().flat_map(|&i| u.row(i)).copied().collect();
        let (mut means, mut spreads) = (vec![0.0; near.len()], vec![0.0; near.len()]);
        self.surrogate.predict(Rows::new(&points, u.dim()), &mut means, &mut spreads)?;
        for ((&i, mean), spread) in near.iter().zip(means).zip(spreads) {
            if spread < MAX_SPREAD {
                out[i] = mean;
            } else {
                asked.push(i);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        asked.sort_unstable();
        self.ask(u, &asked, out, status)
    }

    fn log_density_gradient(
        &self,
        _u: Rows<'_>,
        _out: &mut [f64],
        _gradient: &mut [f64],
        _status: &mut [RowStatus],
    ) -> Result<()> {
        Err(Error::argument("gradient", format!("asked of {}, which gives none", self.describe())))
    }

    fn dispatch(&self) -> Dispatch {
        self.truth.dispatch()
    }

    fn describe(&self) -> String {
        format!("the surrogate of {}", self.truth.describe())
    }
}
