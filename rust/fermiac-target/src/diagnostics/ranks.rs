//! Ranks, normal scores and quantiles of draws.

use super::chains::extremes;
use fermiac_base::par::{MANY, PAUSE_EVERY, pause, pausing};
use fermiac_base::simd::{normal_quantile, normal_quantile_slice};

/// The values of a digit of a place, and the number of values from which sorting by places pays.
const PLACES: usize = 1 << 11;
const LEAST_PLACED: usize = 512;

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
        if let Some(sorted) = by_place(values) {
            return Self(sorted);
        }
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

    /// Returns the distances from the median. If they are not sorted by places, the two sides, which
    /// are sorted already, are merged.
    pub(super) fn folded(&self) -> Self {
        let n = self.0.len();
        let median = 0.5 * self.0[(n - 1) / 2].0 + 0.5 * self.0[n / 2].0;
        let mut distances = vec![0.0; n];
        self.0.iter().for_each(|(x, at)| distances[*at] = (x - median).abs());
        if let Some(sorted) = by_place(&distances) {
            return Self(sorted);
        }
        let (below, above) = self.0.split_at(self.0.partition_point(|(x, _)| *x < median));
        let (mut below, mut above) = (below, above);
        let mut merged = Vec::with_capacity(n);
        while let ([.., b], [a, ..]) = (below, above) {
            if merged.len().is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            if median - b.0 < a.0 - median {
                merged.push((median - b.0, b.1));
                below = &below[..below.len() - 1];
            } else {
                merged.push((a.0 - median, a.1));
                above = &above[1..];
            }
        }
        merged.extend(below.iter().rev().map(|(x, at)| (median - x, *at)));
        merged.extend(above.iter().map(|(x, at)| (x - median, *at)));
        Self(merged)
    }

    /// The quantile of the values by linear interpolation (type 7 of Hyndman and Fan).
    pub(super) fn quantile(&self, p: f64) -> f64 {
        interpolated(self.0.len(), p, |k| (self.0[k].0, self.0[(k + 1).min(self.0.len() - 1)].0))
    }
}

/// Returns values with their positions by increasing value; `None` for few values, for many, and
/// for equal ones.
///
/// A radix sort by the place of a value between the smallest and the largest one, in two passes. Values
/// in the same place are few, unless the others are far away, and are sorted by themselves.
fn by_place(values: &[f64]) -> Option<Vec<(f64, usize)>> {
    let n = values.len();
    let (low, high) = extremes(values);
    let scale = (PLACES * PLACES - 1) as f64 / (high - low);
    if !(LEAST_PLACED..MANY).contains(&n) || !scale.is_normal() {
        return None;
    }
    pause();
    // Rounding keeps the order of the values.
    let keys =
        values.iter().enumerate().map(|(at, x)| (((x - low) * scale) as u64) << 32 | at as u64);
    let mut keys: Vec<u64> = keys.collect();
    let mut others = vec![0; n];
    for shift in [32, 32 + PLACES.ilog2()] {
        let digit = |key: u64| (key >> shift) as usize % PLACES;
        let mut ends = [0_u32; PLACES + 1];
        keys.iter().for_each(|key| ends[digit(*key) + 1] += 1);
        for d in 1..=PLACES {
            ends[d] += ends[d - 1];
        }
        for key in &keys {
            let end = &mut ends[digit(*key)];
            others[*end as usize] = *key;
            *end += 1;
        }
        std::mem::swap(&mut keys, &mut others);
    }
    let value = |key: u64| (values[key as u32 as usize], key as u32 as usize);
    let mut sorted: Vec<(f64, usize)> = keys.iter().map(|key| value(*key)).collect();
    let mut start = 0;
    for end in 1..=n {
        if end < n && keys[end] >> 32 == keys[start] >> 32 {
            continue;
        }
        if end - start > 1 {
            pause();
            sorted[start..end].sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        }
        start = end;
    }
    Some(sorted)
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
    interpolated(values.len(), p, |k| neighbours(values, k))
}

/// The quantile of `n` values, from the `k`-th smallest one, k from 0, and the next.
fn interpolated(n: usize, p: f64, neighbours: impl FnOnce(usize) -> (f64, f64)) -> f64 {
    let position = (n as f64 * p + (1.0 - p)).clamp(1.0, n as f64);
    let k = position.floor();
    let (low, high) = neighbours(k as usize - 1);
    let share = position - k;
    // Interpolation between equal values must be exact, as the quantile is compared with them.
    if low == high { low } else { (1.0 - share) * low + share * high }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        let scores = Scores::new(4).of(&Sorted::new(&[2.0, -1.0, 2.0, -0.0]));
        let z = |rank: f64| normal_quantile((rank - 0.375) / 4.25);
        assert_eq!(scores, [z(3.5), z(1.0), z(3.5), z(2.0)]);
    }

    #[test]
    fn values_are_sorted_by_their_places() {
        let mut stream = Stream::new(7, Domain::User, 0, 0);
        let mut normal = vec![0.0; 5000];
        stream.fill_normal(&mut normal);
        let rounded: Vec<f64> = normal.iter().map(|x| (2.0 * x).round()).collect();
        let wide: Vec<f64> = normal.iter().map(|x| x * x * x / (1e-3 + x.abs())).collect();
        let far: Vec<f64> = normal.iter().map(|x| 10_f64.powf(30.0 * x)).collect();
        for values in [normal, rounded, wide, far] {
            let sorted = by_place(&values).unwrap();
            assert!(sorted.is_sorted_by(|a, b| a.0 <= b.0));
            assert!(sorted.iter().all(|(x, at)| values[*at] == *x));
            let mut positions: Vec<usize> = sorted.iter().map(|(_, at)| *at).collect();
            positions.sort_unstable();
            assert!(positions.into_iter().eq(0..values.len()));
            let ends = [0.0, 0.05, 0.5, 0.77, 1.0];
            for p in ends {
                assert_eq!(Sorted::new(&values).quantile(p), quantile(&mut values.clone(), p));
            }
        }
        assert!(by_place(&[1.0; 1000]).is_none());
        assert!(by_place(&[f64::MAX, -f64::MAX].repeat(500)).is_none());
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
