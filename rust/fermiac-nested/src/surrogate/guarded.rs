//! A surrogate with its region of trust, and the true log-likelihood elsewhere.

use super::quadratic::Whitening;
use super::train::Fitted;
use fermiac_base::linalg::Rows;
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, LogDensity, RowStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ensemble is trusted where its spread is below this, in nats.
const MAX_SPREAD: f64 = 1.0;

/// The region of trust is fitted to points within so many nats of the best.
const DEPTH: f64 = 30.0;
/// The factor on the volume of the region that just contains its points.
const ENLARGE: f64 = 1.2;

/// The region of trust: an ellipsoid about the training points of high likelihood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trust {
    whitening: Whitening,
    square: f64,
}

impl Trust {
    /// Fits the region to the points of `u` whose log-likelihood is within 30 nats of the largest,
    /// enlarged by 1.2 in volume.
    pub fn fit(u: Rows<'_>, ell: &[f64]) -> Result<Self> {
        let dim = u.dim();
        let top = ell.iter().fold(f64::NEG_INFINITY, |a, x| a.max(*x));
        let good = u.iter().zip(ell).filter(|(_, ell)| **ell > top - DEPTH);
        let points: Vec<f64> = good.flat_map(|(row, _)| row).copied().collect();
        let n = points.len() / dim;
        if ell.len() != u.len() || n <= dim {
            let why = format!(
                "{} points with {} log-likelihoods were given, {n} of them within {DEPTH} nats of \
                 the largest; at least {} such points are needed for a region in {dim} dimensions",
                u.len(),
                ell.len(),
                dim + 1
            );
            return Err(Error::argument("u", why));
        }
        let whitening = Whitening::fit(Rows::new(&points, dim), &vec![1.0; n])?;
        let furthest =
            points.chunks_exact(dim).map(|row| whitening.square(row)).fold(0.0, f64::max);
        Ok(Self { whitening, square: furthest * ENLARGE.powf(2.0 / dim as f64) })
    }

    /// The number of coordinates of a point.
    pub fn dim(&self) -> usize {
        self.whitening.dim()
    }

    /// Whether the region contains a point.
    pub fn contains(&self, u: &[f64]) -> bool {
        self.whitening.square(u) <= self.square
    }
}

/// A log-likelihood on the unit cube: the surrogate within its region where the ensemble agrees,
/// and the truth elsewhere. It is the same function at every call.
pub struct Guarded {
    surrogate: Arc<Fitted>,
    trust: Arc<Trust>,
    truth: Arc<dyn LogDensity>,
    n_true: Arc<AtomicU64>,
}

impl Guarded {
    /// Combines a surrogate, its region and the truth, of one dimension; `n_true` counts the rows at
    /// which the truth is evaluated.
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

    /// The number of rows at which the truth was evaluated.
    pub fn n_true(&self) -> u64 {
        self.n_true.load(Ordering::Relaxed)
    }

    /// Evaluates the truth at some of the rows, in one call.
    fn evaluate_truth(
        &self,
        u: Rows<'_>,
        rows: &[usize],
        out: &mut [f64],
        status: &mut [RowStatus],
    ) -> Result<()> {
        self.n_true.fetch_add(rows.len() as u64, Ordering::Relaxed);
        if rows.len() == u.len() {
            return self.truth.log_density(u, out, status);
        }
        let points: Vec<f64> = rows.iter().flat_map(|&i| u.row(i)).copied().collect();
        let mut values = vec![0.0; rows.len()];
        let mut statuses = vec![RowStatus::Good; rows.len()];
        self.truth.log_density(Rows::new(&points, u.dim()), &mut values, &mut statuses)?;
        for ((&i, value), one) in rows.iter().zip(values).zip(statuses) {
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
        let (near, mut rows): (Vec<usize>, Vec<usize>) =
            (0..u.len()).partition(|&i| self.trust.contains(u.row(i)));
        let points: Vec<f64> = near.iter().flat_map(|&i| u.row(i)).copied().collect();
        let (mut means, mut spreads) = (vec![0.0; near.len()], vec![0.0; near.len()]);
        self.surrogate.predict(Rows::new(&points, u.dim()), &mut means, &mut spreads)?;
        for ((&i, mean), spread) in near.iter().zip(means).zip(spreads) {
            if spread < MAX_SPREAD {
                out[i] = mean;
            } else {
                rows.push(i);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_unstable();
        self.evaluate_truth(u, &rows, out, status)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Purpose, stream};
    use super::*;

    #[test]
    fn the_region_holds_the_good_points_and_little_else() {
        let (n, dim) = (8000, 3);
        let mut u = vec![0.0; n * dim];
        stream(2, Purpose::Trial, 5).fill_uniform(&mut u);
        let rows = Rows::new(&u, dim);
        let radius = |row: &[f64]| row.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>().sqrt();
        let ell: Vec<f64> = rows.iter().map(|row| -100.0 * radius(row)).collect();
        let trust = Trust::fit(rows, &ell).unwrap();
        for (row, ell) in rows.iter().zip(&ell) {
            assert!(*ell < -29.0 || trust.contains(row));
        }
        assert!(!trust.contains(&[0.02, 0.5, 0.5]) && !trust.contains(&[f64::NAN; 3]));
        // Its volume, by counting.
        let mut more = vec![0.0; 60_000];
        stream(2, Purpose::Trial, 6).fill_uniform(&mut more);
        let share = more.chunks_exact(dim).filter(|row| trust.contains(row)).count() as f64 / 2e4;
        let ball = 4.0 / 3.0 * std::f64::consts::PI * 0.3_f64.powi(3);
        assert!((1.0..2.0).contains(&(share / ball)), "{share} {ball}");
        assert!(Trust::fit(rows, &ell[1..]).is_err());
        let (lone, values) = (&u[..6], [0.0, -1.0]);
        assert!(Trust::fit(Rows::new(lone, 3), &values).is_err());
    }
}
