//! Sums of the final sample, kept so that nothing of it needs to be stored: stratified first
//! moments and one Gram matrix.

use fermiac_base::linalg::{packed, packed_len};

/// Points per stratum from which the variance within strata is used: strata of one point have none,
/// and the common variance, which is larger, is the safe choice.
const ENOUGH: f64 = 10.0;

/// First and second moments of p-vectors that were drawn in strata.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) p: usize,
    /// Whether the whole Gram matrix is kept, or its diagonal.
    pub(crate) full: bool,
    /// Points in each stratum.
    pub(crate) counts: Vec<f64>,
    /// strata × p
    pub(crate) sums: Vec<f64>,
    /// Packed upper triangle, or p numbers.
    pub(crate) gram: Vec<f64>,
    /// Σ over chunks of q (1 - q), q the fractional part of a stratum's expected number: the
    /// variance that the rounding of these numbers leaves.
    pub(crate) rounding: Vec<f64>,
}

impl Moments {
    pub(crate) fn new(p: usize, strata: usize, full: bool) -> Self {
        Self {
            p,
            full,
            counts: vec![0.0; strata],
            sums: vec![0.0; strata * p],
            gram: vec![0.0; if full { packed_len(p) } else { p }],
            rounding: vec![0.0; strata],
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (a, b) in [
            (&mut self.counts, &other.counts),
            (&mut self.sums, &other.sums),
            (&mut self.gram, &other.gram),
            (&mut self.rounding, &other.rounding),
        ] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
    }

    pub(crate) fn n(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Σ y² of column `k`.
    pub(crate) fn square(&self, k: usize) -> f64 {
        self.gram[if self.full { packed(self.p, k, k) } else { k }]
    }

    pub(crate) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.p];
        for row in self.sums.chunks_exact(self.p) {
            mean.iter_mut().zip(row).for_each(|(m, s)| *m += s);
        }
        let n = self.n();
        mean.iter_mut().for_each(|m| *m /= n);
        mean
    }

    /// Σ (y - mean of its stratum)(…)ᵀ in the layout of `gram`, or about the common mean where
    /// there are too few points for as many strata; with the degrees of freedom of that sum.
    fn within(&self) -> (Vec<f64>, f64) {
        let n = self.n();
        let used = self.counts.iter().filter(|c| **c > 0.0).count() as f64;
        let mut out = self.gram.clone();
        if n < ENOUGH * used {
            self.subtract(&mut out, &self.mean(), n);
            return (out, n - 1.0);
        }
        for (count, row) in self.counts.iter().zip(self.sums.chunks_exact(self.p)) {
            if *count > 0.0 {
                let mean: Vec<f64> = row.iter().map(|s| s / count).collect();
                self.subtract(&mut out, &mean, *count);
            }
        }
        (out, n - used)
    }

    fn subtract(&self, out: &mut [f64], mean: &[f64], count: f64) {
        self.add_square(out, mean, -count);
    }

    fn add_square(&self, out: &mut [f64], y: &[f64], scale: f64) {
        if self.full {
            for j in 0..self.p {
                for k in j..self.p {
                    out[packed(self.p, j, k)] += scale * y[j] * y[k];
                }
            }
        } else {
            out.iter_mut().zip(y).for_each(|(o, y)| *o += scale * y * y);
        }
    }

    /// The covariance of the mean, in the layout of `gram`.
    ///
    /// Strata get points in proportion to their probability, so the mean varies by the variance
    /// within the strata, and by what the rounding of their numbers leaves.
    pub(crate) fn covariance_of_mean(&self) -> Vec<f64> {
        let n = self.n();
        let (mut out, freedom) = self.within();
        out.iter_mut().for_each(|o| *o /= freedom * n);
        let mean = self.mean();
        for ((count, row), rounding) in
            self.counts.iter().zip(self.sums.chunks_exact(self.p)).zip(&self.rounding)
        {
            if *count > 0.0 {
                let off: Vec<f64> = row.iter().zip(&mean).map(|(s, m)| s / count - m).collect();
                self.add_square(&mut out, &off, rounding / (n * n));
            }
        }
        out
    }
}

impl Moments {
    /// Leaves out the replicates, which are the strata, that have fewer than `size` points.
    pub(crate) fn keep_complete(&mut self, size: usize) {
        let p = self.p;
        let complete: Vec<usize> =
            (0..self.counts.len()).filter(|r| self.counts[*r] >= size as f64).collect();
        self.sums = complete.iter().flat_map(|r| self.sums[r * p..(r + 1) * p].to_vec()).collect();
        self.counts = complete.iter().map(|r| self.counts[*r]).collect();
        self.rounding.truncate(complete.len());
    }

    /// The means of the replicates, which are the strata: replicates × p.
    pub(crate) fn replicates(&self) -> Vec<f64> {
        let rows = self.counts.iter().zip(self.sums.chunks_exact(self.p));
        rows.flat_map(|(count, row)| row.iter().map(move |s| s / count)).collect()
    }

    /// The covariance of the mean of replicates, in the layout of `gram`; 0 of a single one.
    pub(crate) fn covariance_of_replicates(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.gram.len()];
        let count = self.counts.len() as f64;
        if count > 1.0 {
            let mean = self.mean();
            for row in self.replicates().chunks_exact(self.p) {
                let off: Vec<f64> = row.iter().zip(&mean).map(|(x, m)| x - m).collect();
                self.add_square(&mut out, &off, 1.0 / (count * (count - 1.0)));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Moments {
        let rows = [[1.0, 2.0], [2.0, 1.0], [4.0, 0.5], [7.0, -1.0], [6.0, 3.0], [8.5, 2.0]];
        let mut m = Moments::new(2, 2, true);
        for i in 0..60 {
            let y = rows[i % 6];
            let s = usize::from(i % 6 >= 2);
            m.counts[s] += 1.0;
            for k in 0..2 {
                m.sums[s * 2 + k] += y[k];
            }
            m.gram[0] += y[0] * y[0];
            m.gram[1] += y[0] * y[1];
            m.gram[2] += y[1] * y[1];
        }
        m
    }

    #[test]
    fn covariance_of_complete_replicates() {
        let mut m = Moments::new(2, 4, true);
        m.counts = vec![2.0, 2.0, 2.0, 1.0];
        m.sums = vec![2.0, 0.0, 4.0, 2.0, 6.0, 4.0, 99.0, 99.0];
        m.keep_complete(2);
        assert_eq!(m.mean(), vec![2.0, 1.0]);
        // Means (1, 0), (2, 1), (3, 2): the variance 1 over three replicates.
        for got in m.covariance_of_replicates() {
            assert!((got - 1.0 / 3.0).abs() < 1e-15);
        }
    }

    #[test]
    fn stratified_covariance() {
        let m = example();
        // Within strata: first coordinate (1, 2) and (4, 7, 6, 8.5).
        let second = [4.0, 7.0, 6.0, 8.5];
        let mean = 6.375;
        let ss: f64 = 0.5 + second.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        let got = m.covariance_of_mean();
        assert!((got[0] - 10.0 * ss / 58.0 / 60.0).abs() < 1e-13);
        assert!((m.mean()[0] - 28.5 / 6.0).abs() < 1e-13);
    }
}
