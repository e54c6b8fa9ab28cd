//! Ranks, normal scores and quantiles of draws.

use fermiac_base::par::{MANY, PAUSE_EVERY, pause, pausing};
use fermiac_base::simd::{normal_quantile, normal_quantile_slice};

/// The normal scores Φ⁻¹((r - 3/8) / (n + 1/4)) of the ranks r = 1..n.
pub(super) struct Scores {
    of_rank: Vec<f64>,
}

/// Values with their positions, by increasing value.
pub(super) struct Sorted(Vec<(f64, usize)>);

impl Scores {
    pub(super) fn new(n: usize) -> Self {
        let mut of_rank: Vec<f64> = (1..=n).map(|r| probability(r as f64, n)).collect();
        of_rank.chunks_mut(MANY).for_each(|part| {
            normal_quantile_slice(part);
            pause();
        });
        Self { of_rank }
    }

    /// Returns the score of each value, at its position; equal values share the mean of their ranks.
    pub(super) fn of(&self, sorted: &Sorted) -> Vec<f64> {
        let n = self.of_rank.len();
        let mut scores = vec![0.0; n];
        let mut start = 0_usize;
        for group in sorted.0.chunk_by(|a, b| a.0 == b.0) {
            if start.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            let score = if group.len() % 2 == 1 {
                self.of_rank[start + group.len() / 2]
            } else {
                let rank = start as f64 + 0.5 * (group.len() + 1) as f64;
                normal_quantile(probability(rank, n))
            };
            group.iter().for_each(|(_, at)| scores[*at] = score);
            start += group.len();
        }
        scores
    }
}

fn probability(rank: f64, n: usize) -> f64 {
    (rank - 0.375) / (n as f64 + 0.25)
}

impl Sorted {
    pub(super) fn new(values: &[f64]) -> Self {
        // Integers in the order of the values sort faster than floats.
        let mut keys: Vec<(i64, usize)> =
            values.iter().enumerate().map(|(at, x)| (key(*x), at)).collect();
        pause();
        if keys.len() < MANY {
            keys.sort_unstable_by_key(|(key, _)| *key);
        } else {
            keys.sort_unstable_by(pausing(|a: &(i64, usize), b: &(i64, usize)| a.0.cmp(&b.0)));
        }
        pause();
        Self(keys.into_iter().map(|(_, at)| (values[at], at)).collect())
    }

    /// Returns the distances from the median; its two sides are sorted already and are merged.
    pub(super) fn folded(&self) -> Self {
        let n = self.0.len();
        let median = 0.5 * self.0[(n - 1) / 2].0 + 0.5 * self.0[n / 2].0;
        let (below, above) = self.0.split_at(self.0.partition_point(|(x, _)| *x < median));
        let mut below = below.iter().rev().map(|(x, at)| (median - x, *at)).peekable();
        let mut above = above.iter().map(|(x, at)| (x - median, *at)).peekable();
        let mut merged = Vec::with_capacity(n);
        while let (Some(b), Some(a)) = (below.peek(), above.peek()) {
            if merged.len().is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            merged.extend(if b.0 < a.0 { below.next() } else { above.next() });
        }
        merged.extend(below);
        merged.extend(above);
        Self(merged)
    }
}

/// Returns the positions of finite values by increasing value; equal ones, also 0 and -0, keep their
/// order.
pub fn sorted_indices(values: &[f64]) -> Vec<usize> {
    let mut keys: Vec<(i64, usize)> =
        values.iter().enumerate().map(|(at, x)| (key(x + 0.0), at)).collect();
    pause();
    keys.sort_unstable_by(pausing(Ord::cmp));
    keys.into_iter().map(|(_, at)| at).collect()
}

fn key(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// Returns the `k`-th smallest value, k from 0, and the next one (or itself, at the end).
fn neighbours(values: &mut [f64], k: usize) -> (f64, f64) {
    let (_, kth, above) = values.select_nth_unstable_by(k, pausing(f64::total_cmp));
    let kth = *kth;
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    (kth, if above.is_empty() { kth } else { next })
}

/// Returns the `k`-th smallest value, k from 0, and reorders the values.
pub(super) fn order_statistic(values: &mut [f64], k: usize) -> f64 {
    neighbours(values, k).0
}

/// Returns the quantile by linear interpolation (type 7 of Hyndman and Fan) and reorders the values.
pub(super) fn quantile(values: &mut [f64], p: f64) -> f64 {
    let n = values.len();
    let position = (n as f64 * p + (1.0 - p)).clamp(1.0, n as f64);
    let k = position.floor();
    let (low, high) = neighbours(values, k as usize - 1);
    let share = position - k;
    // Interpolation between equal values must be exact, as the quantile is compared with them.
    if low == high { low } else { (1.0 - share) * low + share * high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        let scores = Scores::new(4).of(&Sorted::new(&[2.0, -1.0, 2.0, -0.0]));
        let z = |rank: f64| normal_quantile((rank - 0.375) / 4.25);
        assert_eq!(scores, [z(3.5), z(1.0), z(3.5), z(2.0)]);
    }

    #[test]
    fn folding_is_sorting_the_distances() {
        for values in [vec![3.0, 1.0, -4.0, 1.0, 5.0, -9.0], vec![2.0, 6.0, 5.0, 3.0, 5.0]] {
            let folded = Sorted::new(&values).folded();
            let mut sorted = values.clone();
            let median = quantile(&mut sorted, 0.5);
            let distances: Vec<f64> = values.iter().map(|x| (x - median).abs()).collect();
            assert!(folded.0.iter().all(|(d, at)| distances[*at] == *d));
            assert!(folded.0.is_sorted_by(|a, b| a.0 <= b.0));
        }
    }

    #[test]
    fn equal_values_keep_their_order() {
        assert_eq!(sorted_indices(&[2.0, 0.0, -1.0, -0.0, 2.0, 0.0]), [2, 1, 3, 5, 0, 4]);
    }

    #[test]
    fn quantiles_interpolate() {
        let x = [4.0, 1.0, 3.0, 2.0, 5.0];
        for (p, q) in [(0.5, 3.0), (0.25, 2.0), (0.1, 1.4), (1e-9, 1.0 + 4e-9)] {
            assert!((quantile(&mut x.clone(), p) - q).abs() < 1e-14);
        }
        // 0.9 · 0.1 + 0.1 · 0.1 would be below 0.1.
        assert_eq!(quantile(&mut [0.1; 10], 0.3), 0.1);
    }
}
