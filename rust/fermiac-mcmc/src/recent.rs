//! The last draws of a window, and their correlation time.

use fermiac_base::Result;
use fermiac_base::store::Codec;
use fermiac_target::diagnostics::correlation_time;

/// The number of draws that are kept, and of their coordinates: the memory of a chain stays small.
const DRAWS: usize = 512;
const COORDINATES: usize = 16;
/// The least number of draws for a correlation time.
const FEWEST: usize = 100;

/// A ring buffer of the draws that come while it is open.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    open: bool,
    /// The number of coordinates that are kept: 0, `step`, 2 `step`, …
    width: usize,
    step: usize,
    /// Row by row; the oldest row is at `next` if the ring is full.
    values: Vec<f64>,
    next: usize,
}

impl Recent {
    pub(super) fn new(dim: usize) -> Self {
        let step = dim.div_ceil(COORDINATES);
        Self { open: false, width: dim.div_ceil(step), step, values: Vec::new(), next: 0 }
    }

    /// Clears the ring, and allocates its memory or frees it.
    pub(super) fn open(&mut self, open: bool) {
        (self.open, self.next) = (open, 0);
        self.values.clear();
        if open {
            self.values.reserve_exact(DRAWS * self.width);
        } else {
            self.values = Vec::new();
        }
    }

    pub(super) fn push(&mut self, x: &[f64]) {
        if !self.open {
            return;
        }
        let kept = x.iter().step_by(self.step);
        if self.values.len() < DRAWS * self.width {
            self.values.extend(kept);
            return;
        }
        let row = &mut self.values[self.next * self.width..][..self.width];
        row.iter_mut().zip(kept).for_each(|(to, x)| *to = *x);
        self.next = (self.next + 1) % DRAWS;
    }

    /// The mean of the integrated autocorrelation times of the coordinates; `None` for too few
    /// draws.
    pub(super) fn correlation_time(&self) -> Option<f64> {
        let n = self.values.len() / self.width;
        if n < FEWEST {
            return None;
        }
        let mut series = vec![0.0; n];
        let mut sum = 0.0;
        for j in 0..self.width {
            for (i, to) in series.iter_mut().enumerate() {
                *to = self.values[(self.next + i) % n * self.width + j];
            }
            sum += correlation_time(&series);
        }
        Some(sum / self.width as f64)
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.flag(&mut self.open)?;
        codec.count(&mut self.next)?;
        codec.list(&mut self.values)
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn the_time_is_that_of_an_autoregression() {
        let mut stream = Stream::new(8, Domain::Chain, 0, 0);
        let dim = 40;
        let mut recent = Recent::new(dim);
        recent.open(true);
        let mut x = vec![0.0; dim];
        for i in 0..3000 {
            x.iter_mut().for_each(|x| *x = 0.8 * *x + 0.6 * stream.normal());
            recent.push(&x);
            assert_eq!(recent.correlation_time().is_some(), i + 1 >= FEWEST);
        }
        assert!((recent.values.len(), recent.width) == (512 * 14, 14));
        // (1 + ρ) / (1 - ρ) = 9.
        assert!((recent.correlation_time().unwrap_or(0.0) - 9.0).abs() < 3.0);
        // The oldest draw comes first.
        let last = (recent.next + DRAWS - 1) % DRAWS;
        assert_eq!(recent.values[last * 14 + 1], x[3]);
    }
}
