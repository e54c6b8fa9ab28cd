//! Ellipsoids of a decomposition that are smaller as one: a split in two may have cut a large
//! cluster to part a small one from it.

use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot, packed_start};

use super::split::{Decomposition, log_add};

impl Decomposition<'_> {
    /// Puts one ellipsoid in place of two wherever it is smaller than both together.
    pub(super) fn merge(&mut self) -> Result<()> {
        // Two are what the last split has made.
        if self.leaves.len() < 3 {
            return Ok(());
        }
        let mut covariances: Vec<_> = self.leaves.iter().map(|k| self.covariance(*k)).collect();
        let mut i = 0;
        while i < self.leaves.len() {
            let before = self.leaves.len();
            let mut j = i + 1;
            while j < self.leaves.len() {
                if let Some(one) = self.merged(i, j, &covariances)? {
                    self.leaves[i] = one;
                    covariances[i] = self.covariance(one);
                    self.leaves.remove(j);
                    covariances.remove(j);
                } else {
                    j += 1;
                }
            }
            // What has grown may suit those that were tried before.
            i = if self.leaves.len() < before { 0 } else { i + 1 };
        }
        Ok(())
    }

    /// The ellipsoid about the points of two leaves, if it is smaller than both together.
    fn merged(&mut self, i: usize, j: usize, covariances: &[Vec<f64>]) -> Result<Option<usize>> {
        let all = &self.ellipsoids;
        let d = all.set.d;
        let (a, b) = (self.leaves[i], self.leaves[j]);
        let (one, two) = (all.shapes[a], all.shapes[b]);
        let both = log_add(one.log_volume, two.log_volume);
        let (n_one, n_two) = ((one.end - one.start) as f64, (two.end - two.start) as f64);
        let share = n_one / (n_one + n_two);
        let (from, to) = (all.mean(a), all.mean(b));
        let mut covariance = vec![0.0; d * d];
        for k in 0..d {
            for l in 0..=k {
                let at = k * d + l;
                let within = share * covariances[i][at] + (1.0 - share) * covariances[j][at];
                let between = (to[k] - from[k]) * (to[l] - from[l]);
                covariance[at] = within + share * (1.0 - share) * between;
            }
        }
        // The farthest of the points is no nearer than their root mean square.
        if let Ok(factor) = Cholesky::new(&covariance, d)
            && all.log_volume(&factor, d as f64) >= both
        {
            return Ok(None);
        }
        let mean: Vec<f64> =
            from.iter().zip(to).map(|(a, b)| share * a + (1.0 - share) * b).collect();
        let start = self.order.len();
        self.order.extend_from_within(one.start..one.end);
        self.order.extend_from_within(two.start..two.end);
        let k = self.ellipsoids.shapes.len();
        self.ellipsoids.fit(&self.order, start, self.order.len(), &mean)?;
        if self.ellipsoids.shapes[k].log_volume < both {
            return Ok(Some(k));
        }
        self.order.truncate(start);
        self.ellipsoids.truncate(k);
        Ok(None)
    }

    /// The lower triangle of the covariance of an ellipsoid's points.
    fn covariance(&self, k: usize) -> Vec<f64> {
        let (d, factor) = (self.ellipsoids.set.d, self.ellipsoids.factor(k));
        let row = |i: usize| &factor[packed_start(i)..packed_start(i + 1)];
        let mut out = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                out[i * d + j] = dot(&row(i)[..=j], row(j));
            }
        }
        out
    }
}
