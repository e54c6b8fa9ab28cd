//! Draws from the law at a level.

use super::GaussianMixture;
use crate::model::level;
use crate::noise::{Purpose, stream};

impl GaussianMixture {
    /// Fills `out` (rows × dim) with draws of rows from `first` on. A row takes a uniform number
    /// for its component and then a normal one for each coordinate, from a stream of its own.
    pub fn sample(&self, key: u64, first: u64, sigma: &[f64], out: &mut [f64]) {
        let mut z = vec![0.0; self.dim];
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        for (i, row) in out.chunks_exact_mut(self.dim).enumerate() {
            let s = level(sigma, i);
            let mut stream = stream(key, Purpose::Data, first + i as u64, 0);
            let u = stream.uniform() * total;
            let k = self.cumulative.partition_point(|c| *c <= u).min(self.cumulative.len() - 1);
            stream.fill_normal(&mut z);
            for (j, z) in z.iter_mut().enumerate() {
                *z *= (self.form.variance(k, j) + s * s).sqrt();
            }
            self.form.point(k, &z, row);
        }
    }
}
