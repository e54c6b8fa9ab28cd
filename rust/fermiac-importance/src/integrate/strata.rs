//! Strata of the unit cube with sizes of their own, as in vegas+.
//!
//! The cube is cut into equal hypercubes; each replicate has a fixed number of points in each of
//! them, in proportion to a power of the spread of the weighted values there: G. P. Lepage (2021),
//! "Adaptive multidimensional integration: VEGAS enhanced", Journal of Computational Physics 439,
//! arXiv:2009.05112. The numbers follow from the pilot alone, so that the estimate is unbiased.

use std::ops::Range;

/// The power of the spread.
const POWER: f64 = 0.75;

/// Hypercubes with the points of a replicate in each.
#[derive(Debug, Clone)]
pub(super) struct Strata {
    dim: usize,
    per_axis: usize,
    /// The first point of each, and last their total.
    starts: Vec<usize>,
}

impl Strata {
    /// Hypercubes for `points` points a replicate and a pilot of `trained` points, two each at least.
    pub(super) fn new(dim: usize, points: usize, trained: usize) -> Self {
        let most = (points / 2).min(trained / 8).max(1) as f64;
        let mut per_axis = most.powf(1.0 / dim as f64).floor().max(1.0) as usize;
        while (per_axis + 1).checked_pow(dim as u32).is_some_and(|n| n as f64 <= most) {
            per_axis += 1;
        }
        let count = per_axis.pow(dim as u32);
        let even = (0..=count).map(|s| s * points / count).collect();
        Self { dim, per_axis, starts: even }
    }

    /// The number of hypercubes.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The hypercube of a point of the unit cube.
    pub(super) fn of(&self, u: &[f64]) -> usize {
        u.iter().fold(0, |at, u| {
            at * self.per_axis + ((u * self.per_axis as f64) as usize).min(self.per_axis - 1)
        })
    }

    /// Gives each hypercube points by the spread of the values there: counts, sums and sums of
    /// squares. Returns the variance of the mean of the points that follows.
    pub(super) fn allocate(&mut self, points: usize, sums: &[[f64; 3]]) -> f64 {
        let count = self.len();
        let share = 1.0 / count as f64;
        let all: [f64; 3] = [0, 1, 2].map(|k| sums.iter().map(|s| s[k]).sum());
        let whole = (all[2] / all[0] - (all[1] / all[0]).powi(2)).max(0.0);
        let spread: Vec<f64> = sums
            .iter()
            .map(|[n, sum, squares]| {
                // A hypercube with few points leans towards the spread of the whole cube.
                let own = if *n > 1.0 { (squares - sum * sum / n) / (n - 1.0) } else { 0.0 };
                ((n * own.max(0.0) + whole) / (n + 1.0)).sqrt()
            })
            .collect();
        let powers: Vec<f64> = spread.iter().map(|s| s.powf(POWER)).collect();
        let total: f64 = powers.iter().sum();
        // One point each, the rest by the spread.
        let rest = points.saturating_sub(count) as f64;
        let mut cumulative = 0.0;
        for (s, power) in powers.iter().enumerate() {
            cumulative += if total > 0.0 { power / total } else { share };
            self.starts[s + 1] = s + 1 + (rest * cumulative + 0.5) as usize;
        }
        self.starts[count] = points;
        (0..count)
            .map(|s| {
                let n = (self.starts[s + 1] - self.starts[s]) as f64;
                (share * spread[s]).powi(2) / n
            })
            .sum()
    }

    /// Moves uniform points of a replicate, by index, into their hypercubes; returns the factors of
    /// their weights.
    pub(super) fn place(&self, rows: Range<usize>, u: &mut [f64]) -> Vec<f64> {
        let total = self.starts[self.len()];
        let side = 1.0 / self.per_axis as f64;
        let share = total as f64 / self.len() as f64;
        let mut stratum = self.starts.partition_point(|start| *start <= rows.start) - 1;
        rows.zip(u.chunks_exact_mut(self.dim))
            .map(|(i, u)| {
                while i >= self.starts[stratum + 1] {
                    stratum += 1;
                }
                let mut rest = stratum;
                for u in u.iter_mut().rev() {
                    *u = ((rest % self.per_axis) as f64 + *u) * side;
                    rest /= self.per_axis;
                }
                share / (self.starts[stratum + 1] - self.starts[stratum]) as f64
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_in_their_hypercubes_and_weights_sum_to_their_number() {
        let mut strata = Strata::new(2, 200, 800);
        assert_eq!(strata.len(), 100);
        let sums: Vec<[f64; 3]> = (0..100).map(|s| [8.0, 0.0, f64::from(s)]).collect();
        let variance = strata.allocate(200, &sums);
        assert!(variance > 0.0);
        let mut u = vec![0.5; 400];
        let factors = strata.place(0..200, &mut u);
        assert!((factors.iter().sum::<f64>() - 200.0).abs() < 1e-9);
        let mut later = vec![0.5; 100];
        assert_eq!(strata.place(150..200, &mut later), factors[150..]);
        assert_eq!(later, u[300..]);
        for (i, u) in u.chunks_exact(2).enumerate() {
            let s = strata.of(u);
            assert!(strata.starts[s] <= i && i < strata.starts[s + 1]);
        }
    }
}
