//! The components that a run has fitted, as a law: a mixture in the working space, mapped to points.

use super::component_bank::{ComponentBank, Fitted, Tail};
use super::layout::{from_rows, n_tiles};
use super::nets::UnitMixture;
use super::proposal::Proposal;
use super::space::Space;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln, lnv};
use fermiac_base::{Error, Result};
use fermiac_target::Support;

/// A mixture of Gaussian or Student-t densities of working coordinates: those of a half-line are
/// logarithms, those of an interval normal quantiles.
#[derive(Debug)]
pub struct Trained {
    space: Space,
    bank: ComponentBank,
    shares: Vec<f64>,
    log_shares: Vec<f64>,
    unit: UnitMixture,
}

/// The components of a mixture of working coordinates, and the supports of the points.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// The support of each coordinate.
    pub support: Vec<Support>,
    /// Degrees of freedom; none of Gaussian components.
    pub df: Option<f64>,
    /// The shares, of sum 1.
    pub shares: Vec<f64>,
    /// Their centres, one after the other.
    pub means: Vec<f64>,
    /// Their scale matrices (covariances of Gaussian ones), row-major, one after the other.
    pub scales: Vec<f64>,
}

impl Components {
    /// Those of a sampler, without its shares of the laws; none where it has no components.
    pub(crate) fn of(proposal: &Proposal, space: &Space) -> Option<Self> {
        let bank = &proposal.bank;
        let total = proposal.fitted();
        if bank.len() == 0 || total <= 0.0 {
            return None;
        }
        let strata = proposal.strata();
        let each = 0..bank.len();
        Some(Self {
            support: space.support(),
            df: match bank.tail() {
                Tail::Gaussian => None,
                Tail::Student(df) => Some(df),
            },
            shares: each.clone().map(|k| strata[k] / total).collect(),
            means: each.clone().flat_map(|k| bank.mean(k).to_vec()).collect(),
            scales: each.flat_map(|k| bank.scale(k)).collect(),
        })
    }
}

impl Trained {
    /// Returns the law of components.
    ///
    /// # Errors
    /// Sizes that do not fit, shares that are negative or have not the sum 1, a matrix that is not
    /// positive definite.
    pub fn new(from: &Components) -> Result<Self> {
        let (d, count) = (from.support.len(), from.shares.len());
        let damaged = |what: &str| Error::argument("sampler", format!("its {what} is damaged"));
        let sized = d > 0
            && count > 0
            && from.means.len() == count * d
            && from.scales.len() == count * d * d
            && from.means.iter().all(|m| m.is_finite());
        let sum: f64 = from.shares.iter().sum();
        if !sized || from.df.is_some_and(|df| !(df > 0.0 && df.is_finite())) {
            return Err(damaged("mixture"));
        }
        if from.shares.iter().any(|s| s.is_nan() || *s < 0.0) || (sum - 1.0).abs() > 1e-9 {
            return Err(damaged("list of shares"));
        }
        let tail = from.df.map_or(Tail::Gaussian, Tail::Student);
        let mut bank = ComponentBank::new(d, tail);
        for (mean, scale) in from.means.chunks_exact(d).zip(from.scales.chunks_exact(d * d)) {
            let covariance = scale.iter().map(|s| s / tail.scale_of_fit()).collect();
            bank.push(&Fitted { mean: mean.to_vec(), covariance })?;
        }
        let unit = UnitMixture::new(&bank, &from.shares)?;
        let log_shares = from.shares.iter().map(|share| ln(*share)).collect();
        let space = Space::of(&from.support);
        Ok(Self { space, bank, shares: from.shares.clone(), log_shares, unit })
    }

    /// Coordinates of a point.
    pub fn dim(&self) -> usize {
        self.bank.dim()
    }

    /// The log-density of every row; -inf outside the support, NaN where a coordinate is NaN.
    pub fn log_density(&self, x: Rows<'_>, out: &mut [f64]) {
        let d = self.dim();
        let mut rows = vec![0.0; x.data().len()];
        self.space.to_working(x, &mut rows);
        let mut tiles = Vec::new();
        from_rows(Rows::new(&rows, d), &mut tiles);
        let mut log_jacobian = vec![0.0; x.len()];
        self.space.to_points(&tiles, &mut rows, &mut log_jacobian);
        let values = dispatch(Densities { trained: self, tiles: &tiles });
        for (i, (out, jacobian)) in out.iter_mut().zip(&log_jacobian).enumerate() {
            let row = x.row(i);
            *out = if row.iter().any(|x| x.is_nan()) {
                f64::NAN
            } else if self.space.holds(row) {
                values[i / LANES].0[i % LANES] - jacobian
            } else {
                f64::NEG_INFINITY
            };
        }
    }

    /// The points of rows of uniform numbers in (0, 1).
    pub fn map_unit(&self, u: &[f64]) -> Vec<f64> {
        let d = self.dim();
        let mut u = u.to_vec();
        let mut out = vec![0.0; u.len()];
        for (u, x) in u.chunks_exact_mut(d).zip(out.chunks_exact_mut(d)) {
            let part = self.unit.part(&mut u[0]);
            self.unit.place(&self.bank, part, u, x);
        }
        let mut tiles = Vec::new();
        if !out.is_empty() {
            from_rows(Rows::new(&out, d), &mut tiles);
            let mut log_jacobian = vec![0.0; out.len() / d];
            self.space.to_points(&tiles, &mut out, &mut log_jacobian);
        }
        out
    }
}

struct Densities<'a> {
    trained: &'a Trained,
    tiles: &'a [V],
}

impl Kernel for Densities<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let Trained { bank, shares, log_shares, .. } = self.trained;
        let d = bank.dim();
        let mut centred = vec![V::ZERO; d];
        let mut logs = vec![V::ZERO; shares.len()];
        let mut out = Vec::with_capacity(n_tiles(self.tiles.len() / d * LANES));
        for tile in self.tiles.chunks_exact(d) {
            let mut largest = V::splat(-1e300);
            for (k, log) in logs.iter_mut().enumerate() {
                let density = bank.log_density::<FMA>(k, tile, &mut centred);
                *log = density + V::splat(log_shares[k]);
                largest = largest.max(*log);
            }
            let mut sum = V::ZERO;
            for log in &logs {
                sum = sum + expv::<FMA>(*log - largest);
            }
            out.push(largest + lnv::<FMA>(sum));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example(df: Option<f64>) -> Trained {
        Trained::new(&Components {
            support: vec![Support::Real, Support::Above(1.0), Support::Between(-1.0, 2.0)],
            df,
            shares: vec![0.25, 0.75],
            means: vec![0.0, 0.5, -0.3, 2.0, 0.1, 0.4],
            scales: [0.5, 0.1, 0.0, 0.1, 0.3, 0.05, 0.0, 0.05, 0.4].repeat(2),
        })
        .unwrap()
    }

    #[test]
    fn densities_are_those_of_the_map() {
        // The mean of the box's indicator over points of a lattice is its integral of the density.
        for df in [None, Some(4.0)] {
            let law = example(df);
            let n = 40_000;
            let u: Vec<f64> = (0..n)
                .flat_map(|i| {
                    let at = f64::from(i) + 0.5;
                    [0.819_172_513_396_164, 0.671_043_606_703_789, 0.549_700_477_901_97]
                        .map(|a: f64| (at * a).fract())
                })
                .collect();
            let x = law.map_unit(&u);
            let (low, high) = ([0.5, 1.5, 0.0], [2.5, 3.0, 1.6]);
            let inside = |row: &[f64]| (0..3).all(|k| row[k] > low[k] && row[k] < high[k]);
            let share = x.chunks_exact(3).filter(|row| inside(row)).count() as f64 / f64::from(n);
            let m = 40;
            let mid =
                |k: usize, i: usize| low[k] + (high[k] - low[k]) * (i as f64 + 0.5) / m as f64;
            let mut grid = Vec::new();
            for i in 0..m {
                for j in 0..m {
                    grid.extend((0..m).flat_map(|k| [mid(0, i), mid(1, j), mid(2, k)]));
                }
            }
            let mut logs = vec![0.0; m * m * m];
            law.log_density(Rows::new(&grid, 3), &mut logs);
            let cell = 2.0 * 1.5 * 1.6 / (m * m * m) as f64;
            let integral: f64 = logs.iter().map(|l| l.exp() * cell).sum();
            assert!((share - integral).abs() < 0.004, "{df:?} {share} {integral}");
        }
    }

    #[test]
    fn outside_the_support_the_density_is_zero() {
        let law = example(None);
        let mut out = vec![0.0; 3];
        let x = [0.0, 0.5, 0.0, 0.0, 2.0, 2.5, f64::NAN, 2.0, 0.0];
        law.log_density(Rows::new(&x, 3), &mut out);
        assert_eq!(&out[..2], &[f64::NEG_INFINITY; 2]);
        assert!(out[2].is_nan());
    }
}
