//! Bounds on mass that no component reaches, from the points drawn from the laws themselves.
//!
//! A region that none of N points from a law fell into has a probability below 3 / N with 95 %
//! confidence (the rule of three): with values up to B it may hide 3 B / N of an expectation.

use super::layout::{Layout, lanes};
use super::problem::Batch;
use fermiac_base::Result;
use fermiac_base::simd::LANES;
use fermiac_base::store::Codec;

/// Counts and extremes over all points so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    /// Points drawn from each law.
    drawn: Vec<u64>,
    /// How many of the points drawn from its law are zeros of an expectation.
    zeros: Vec<u64>,
    /// The largest absolute value of every expectation where its law is not 0, in the units of the
    /// engine.
    largest: Vec<f64>,
    /// The least and the largest value other than 0 there, and how many are 0.
    low: Vec<f64>,
    high: Vec<f64>,
    met_zeros: Vec<u64>,
}

impl Seen {
    /// Those of one batch, whose first `components` strata were drawn from fitted components and
    /// the next ones from the laws.
    pub(crate) fn of(layout: Layout, batch: &Batch, components: usize) -> Self {
        let mut seen = Self {
            drawn: vec![0; layout.n_laws],
            zeros: vec![0; layout.len],
            largest: vec![0.0; layout.len],
            low: vec![f64::INFINITY; layout.len],
            high: vec![f64::NEG_INFINITY; layout.len],
            met_zeros: vec![0; layout.len],
        };
        for (t, tile) in batch.values.chunks_exact(layout.outputs).enumerate() {
            let laws = batch.log_laws.get(t * layout.columns..(t + 1) * layout.columns);
            let used = lanes(t, batch.n);
            for j in 0..layout.len {
                let v = tile[layout.output(j)];
                let (mut low, mut high) = (seen.low[j], seen.high[j]);
                let mut zeros = 0;
                for lane in 0..LANES {
                    let mut counts = lane < used;
                    if let Some(laws) = laws {
                        counts &= laws[layout.law(j)].0[lane] > f64::NEG_INFINITY;
                    }
                    let value = v.0[lane];
                    let is_zero = value == 0.0;
                    zeros += u64::from(counts && is_zero);
                    if counts && !is_zero {
                        (low, high) = (low.min(value), high.max(value));
                    }
                }
                (seen.low[j], seen.high[j]) = (low, high);
                seen.met_zeros[j] += zeros;
            }
        }
        for (largest, (low, high)) in seen.largest.iter_mut().zip(seen.low.iter().zip(&seen.high)) {
            if low <= high {
                *largest = low.abs().max(high.abs());
            }
        }
        let mut start: usize = batch.counts.iter().take(components).sum();
        for (law, count) in batch.counts.iter().skip(components).take(layout.n_laws).enumerate() {
            seen.drawn[law] += *count as u64;
            let end = start + count;
            for t in start / LANES..end.div_ceil(LANES) {
                let lanes = start.max(t * LANES) - t * LANES..end.min((t + 1) * LANES) - t * LANES;
                let tile = &batch.values[t * layout.outputs..(t + 1) * layout.outputs];
                for (j, zeros) in seen.zeros.iter_mut().enumerate() {
                    if layout.law(j) == law {
                        let v = &tile[layout.output(j)].0[lanes.clone()];
                        *zeros += v.iter().filter(|v| **v == 0.0).count() as u64;
                    }
                }
            }
            start = end;
        }
        seen
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if self.drawn.is_empty() {
            self.clone_from(other);
            return;
        }
        self.drawn.iter_mut().zip(&other.drawn).for_each(|(a, b)| *a += b);
        self.zeros.iter_mut().zip(&other.zeros).for_each(|(a, b)| *a += b);
        self.largest.iter_mut().zip(&other.largest).for_each(|(a, b)| *a = a.max(*b));
        self.low.iter_mut().zip(&other.low).for_each(|(a, b)| *a = a.min(*b));
        self.high.iter_mut().zip(&other.high).for_each(|(a, b)| *a = a.max(*b));
        self.met_zeros.iter_mut().zip(&other.met_zeros).for_each(|(a, b)| *a += b);
    }

    /// Writes it to a codec, or reads it; it is empty before the first batch.
    pub(crate) fn persist(&mut self, codec: &mut Codec, layout: Layout) -> Result<()> {
        codec.words(&mut self.drawn)?;
        codec.words(&mut self.zeros)?;
        codec.words(&mut self.met_zeros)?;
        for list in [&mut self.largest, &mut self.low, &mut self.high] {
            codec.list(list)?;
        }
        let of_each = [&self.largest, &self.low, &self.high].map(Vec::len);
        let empty = self.drawn.is_empty();
        codec.require(empty || self.drawn.len() == layout.n_laws)?;
        let expected = if empty { 0 } else { layout.len };
        codec.require(of_each.iter().all(|len| *len == expected))?;
        codec.require(self.zeros.len() == expected && self.met_zeros.len() == expected)
    }

    /// Points drawn from the law of expectation `j`.
    pub(crate) fn drawn(&self, layout: Layout, j: usize) -> u64 {
        self.drawn[layout.law(j)]
    }

    /// Whether the integrand was 0 at more than half of the points drawn from its law.
    pub(crate) fn is_sparse(&self, layout: Layout, j: usize) -> bool {
        2 * self.zeros[j] > self.drawn(layout, j)
    }

    /// Whether no value other than 0 was ever seen.
    pub(crate) fn is_nothing(&self, j: usize) -> bool {
        self.largest[j] == 0.0
    }

    /// Whether every expectation has at most one value other than 0, like an indicator.
    pub(crate) fn are_events(&self) -> bool {
        self.low.iter().zip(&self.high).all(|(low, high)| low >= high)
    }

    /// Whether expectation `j` was 0 at no point.
    pub(crate) fn is_everywhere(&self, j: usize) -> bool {
        self.met_zeros[j] == 0
    }

    /// Whether expectation `j` had one value at all points, other than 0.
    pub(crate) fn is_equal(&self, j: usize) -> bool {
        self.is_everywhere(j) && self.low[j] >= self.high[j] && !self.is_nothing(j)
    }

    /// The mass of expectation `j` that may be hidden from the components.
    pub(crate) fn unseen(&self, layout: Layout, j: usize) -> f64 {
        // The quotient first: the product may overflow.
        self.largest[j] * (3.0 / self.drawn(layout, j).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermiac_base::simd::V;

    #[test]
    fn zeros_are_counted_among_the_points_of_the_law_alone() {
        // Ten points, six from a component and four from the law, in two tiles.
        let mut batch = Batch::default();
        (batch.n, batch.counts, batch.values) = (10, vec![6, 4], vec![V::ZERO; 2]);
        batch.values[0].0 = [5.0, 0.0, 0.0, -9.0, 1.0, 1.0, 0.0, 2.0];
        batch.values[1].0[..2].copy_from_slice(&[0.0, 0.0]);
        let layout = Layout { n_laws: 1, columns: 1, outputs: 1, len: 1 };
        let mut seen = Seen::default();
        seen.add(&Seen::of(layout, &batch, 1));
        assert_eq!((seen.drawn(layout, 0), seen.zeros[0]), (4, 3));
        assert!(seen.is_sparse(layout, 0) && !seen.is_nothing(0));
        assert!((seen.unseen(layout, 0) - 3.0 * 9.0 / 4.0).abs() < 1e-14);
        batch.counts = vec![10];
        seen.add(&Seen::of(layout, &batch, 0));
        assert_eq!((seen.drawn(layout, 0), seen.zeros[0]), (14, 8));
    }
}
