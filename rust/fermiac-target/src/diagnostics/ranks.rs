//! Ranks, normal scores and quantiles of draws.

use super::chains::extremes;
use fermiac_base::par::{MANY, PAUSE_EVERY, pause, pausing};
use fermiac_base::simd::{Kernel, dispatch, normal_quantile_slice};
use std::hint::select_unpredictable;
use std::ops::Range;

/// The values of a digit of a place, and the number of values from which sorting by places pays.
const PLACES: usize = 1 << 11;
const LEAST_PLACED: usize = 512;
/// Sums with it are rounded to whole numbers.
const TO_WHOLE: f64 = (1_u64 << 52) as f64;

/// The normal scores Φ⁻¹((r - 3/8) / (n + 1/4)) of the ranks r = 1..n.
pub(super) struct Scores {
    of_rank: Vec<f64>,
    /// Those of the ranks r + 1/2.
    between: Vec<f64>,
}

/// Values by increasing value, and their positions.
pub(super) struct Sorted {
    values: Vec<f64>,
    at: Vec<usize>,
}

impl Scores {
    pub(super) fn new(n: usize) -> Self {
        let of = |first: f64| {
            let mut scores: Vec<f64> = (0..n).map(|k| probability(first + k as f64, n)).collect();
            scores.chunks_mut(MANY).for_each(|part| {
                normal_quantile_slice(part);
                pause();
            });
            scores
        };
        Self { of_rank: of(1.0), between: of(1.5) }
    }

    /// Returns the score of each value, at its position; equal values share the mean of their ranks.
    pub(super) fn of(&self, sorted: &Sorted) -> Vec<f64> {
        let n = self.of_rank.len();
        let mut scores = vec![0.0; n];
        for (scored, at) in self.of_rank.chunks(PAUSE_EVERY).zip(sorted.at.chunks(PAUSE_EVERY)) {
            pause();
            for (score, at) in scored.iter().zip(at) {
                scores[*at] = *score;
            }
        }
        // Ties, as of the draws of a chain that stays where it is, are few.
        for start in (0..n).step_by(PAUSE_EVERY) {
            pause();
            let end = (start + PAUSE_EVERY).min(n);
            self.share(sorted, start..end, &mut scores);
        }
        scores
    }

    /// Gives equal values their score, if the first one has its place in a range.
    fn share(&self, sorted: &Sorted, places: Range<usize>, scores: &mut [f64]) {
        let values = &sorted.values[..];
        let mut start = places.start;
        if start > 0 && values[start - 1] == values[start] {
            // They began before.
            start += values[start..].iter().take_while(|x| **x == values[start - 1]).count();
        }
        while start < places.end {
            let pairs = &values[start..(places.end + 1).min(values.len())];
            let Some(next) = pairs.windows(2).position(|pair| pair[0] == pair[1]) else { return };
            start += next;
            let size = values[start..].iter().take_while(|x| **x == values[start]).count();
            let shared = if size % 2 == 1 { &self.of_rank } else { &self.between };
            let score = shared[start + (size - 1) / 2];
            sorted.at[start..start + size].iter().for_each(|at| scores[*at] = score);
            start += size;
        }
    }
}

fn probability(rank: f64, n: usize) -> f64 {
    (rank - 0.375) / (n as f64 + 0.25)
}

impl Sorted {
    pub(super) fn new(values: &[f64]) -> Self {
        if let Some(sorted) = by_place(values) {
            return sorted;
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
        let at: Vec<usize> = keys.into_iter().map(|(_, at)| at).collect();
        Self { values: at.iter().map(|at| values[*at]).collect(), at }
    }

    /// Returns the distances from the median, in their order: the two sides, which are sorted
    /// already, are merged from both ends at once, as each choice waits for the one before it.
    pub(super) fn folded(&self) -> Self {
        let n = self.values.len();
        let median = 0.5 * self.values[(n - 1) / 2] + 0.5 * self.values[n / 2];
        let split = self.values.partition_point(|x| *x < median);
        let (below, above) = self.values.split_at(split);
        // As integers, in the same order.
        let distance = |x: &f64| (x - median).abs().to_bits() as i64;
        let below = between_ends(below.iter().rev().map(distance));
        let above = between_ends(above.iter().map(distance));
        let mut merged = Self { values: vec![0.0; n], at: vec![0; n] };
        let (values, at) = (&mut merged.values[..], &mut merged.at[..]);
        // The next distances below and above the median, from the front and from the back.
        let (mut i, mut j, mut k, mut l) = (1, 1, split, n - split);
        for front in 0..n.div_ceil(2) {
            if front.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            // Branches could not be predicted.
            let (x, y) = (below[i], above[j]);
            let is_below = x < y;
            let from = select_unpredictable(is_below, split.wrapping_sub(i), split + j - 1);
            values[front] = f64::from_bits(x.min(y) as u64);
            at[front] = self.at[from];
            i += usize::from(is_below);
            j += usize::from(!is_below);
            let back = n - 1 - front;
            if back == front {
                break;
            }
            let (x, y) = (below[k], above[l]);
            let is_below = x >= y;
            let from = select_unpredictable(is_below, split - k, (split + l).wrapping_sub(1));
            values[back] = f64::from_bits(x.max(y) as u64);
            at[back] = self.at[from];
            k -= usize::from(is_below);
            l -= usize::from(!is_below);
        }
        merged
    }

    /// The quantile of the values by linear interpolation (type 7 of Hyndman and Fan).
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let n = self.values.len();
        interpolated(n, p, |k| (self.values[k], self.values[(k + 1).min(n - 1)]))
    }
}

/// Returns distances, as integers, between the least and the largest integer that none can have.
fn between_ends(distances: impl ExactSizeIterator<Item = i64>) -> Vec<i64> {
    let mut all = Vec::with_capacity(distances.len() + 2);
    all.push(-1);
    all.extend(distances);
    all.push(i64::MAX);
    all
}

/// The places of values between the smallest and the largest one, above their positions.
struct Places<'a> {
    values: &'a [f64],
    low: f64,
    scale: f64,
    keys: &'a mut [u64],
}

impl Kernel for Places<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (at, (key, x)) in self.keys.iter_mut().zip(self.values).enumerate() {
            // The last bits of a sum with 2^52 are the nearest whole number; rounding keeps the
            // order of the values.
            let place = (x - self.low) * self.scale + TO_WHOLE;
            *key = place.to_bits() << 32 | at as u64;
        }
    }
}

/// Returns values by increasing value with their positions; `None` for few values, for many, and for
/// equal ones.
///
/// A radix sort by the place of a value between the smallest and the largest one, in two passes. Values
/// in the same place are few, unless the others are far away, and are sorted by themselves.
fn by_place(values: &[f64]) -> Option<Sorted> {
    let n = values.len();
    let (low, high) = extremes(values);
    let scale = (PLACES * PLACES - 1) as f64 / (high - low);
    if !(LEAST_PLACED..MANY).contains(&n) || !scale.is_normal() {
        return None;
    }
    pause();
    let mut keys = vec![0; n];
    dispatch(Places { values, low, scale, keys: &mut keys });
    let mut others = vec![0; n];
    let digit = |key: u64, pass: u32| (key >> (32 + pass * PLACES.ilog2())) as usize % PLACES;
    let mut ends = [[0_u32; PLACES]; 2];
    for key in &keys {
        ends[0][digit(*key, 0)] += 1;
        ends[1][digit(*key, 1)] += 1;
    }
    for (pass, ends) in ends.iter_mut().enumerate() {
        let mut start = 0;
        for end in ends.iter_mut() {
            start += std::mem::replace(end, start);
        }
        for key in &keys {
            let end = &mut ends[digit(*key, pass as u32)];
            others[*end as usize] = *key;
            *end += 1;
        }
        std::mem::swap(&mut keys, &mut others);
    }
    let mut sorted = Sorted {
        at: keys.iter().map(|key| *key as u32 as usize).collect(),
        values: keys.iter().map(|key| values[*key as u32 as usize]).collect(),
    };
    let place = |at: usize| keys[at] >> 32;
    let mut end = 1;
    while end < n {
        if place(end) != place(end - 1) {
            end += 1;
            continue;
        }
        let start = end - 1;
        while end < n && place(end) == place(start) {
            end += 1;
        }
        let at = &mut sorted.at[start..end];
        if let [a, b] = at {
            if values[*b] < values[*a] {
                std::mem::swap(a, b);
            }
        } else {
            pause();
            at.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
        }
        for (value, at) in sorted.values[start..end].iter_mut().zip(at) {
            *value = values[*at];
        }
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
    use fermiac_base::simd::normal_quantile;

    use super::*;

    #[test]
    fn equal_values_share_their_ranks() {
        let scores = Scores::new(4).of(&Sorted::new(&[2.0, -1.0, 2.0, -0.0]));
        let z = |rank: f64| normal_quantile((rank - 0.375) / 4.25);
        assert_eq!(scores, [z(3.5), z(1.0), z(3.5), z(2.0)]);
        // Also across the places that are looked at together.
        let n = PAUSE_EVERY + 5;
        let long: Vec<f64> =
            (0..n).map(|i| if (10..n - 2).contains(&i) { 10.0 } else { i as f64 }).collect();
        let scores = Scores::new(n).of(&Sorted::new(&long));
        let z = |rank: f64| normal_quantile(probability(rank, n));
        let middle = 0.5 * (11 + n - 2) as f64;
        assert!((0..n).all(|i| {
            let rank = if (10..n - 2).contains(&i) { middle } else { (i + 1) as f64 };
            scores[i] == z(rank)
        }));
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
            assert!(sorted.values.is_sorted());
            assert!(sorted.values.iter().zip(&sorted.at).all(|(x, at)| values[*at] == *x));
            let mut positions = sorted.at.clone();
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
        let mut stream = Stream::new(8, Domain::User, 0, 0);
        let mut normal = vec![0.0; 1001];
        stream.fill_normal(&mut normal);
        let skewed = normal.iter().map(|x| (3.0 * x).exp()).collect();
        let rounded = normal.iter().map(|x| (2.0 * x).round()).collect();
        let few = vec![3.0, 1.0, -4.0, 1.0, 5.0, -9.0];
        let above = vec![7.0, 7.0, 7.0, 9.0, 8.0];
        let zeros = vec![0.0, -0.0, -0.0, 0.0, 1.0, -0.0];
        let cases = [few, vec![2.0, 6.0, 5.0, 3.0, 5.0], above, zeros, vec![1.5]];
        for values in cases.into_iter().chain([normal, skewed, rounded]) {
            let folded = Sorted::new(&values).folded();
            let mut sorted = values.clone();
            let median = quantile(&mut sorted, 0.5);
            let distances: Vec<f64> = values.iter().map(|x| (x - median).abs()).collect();
            assert!(folded.values.iter().zip(&folded.at).all(|(d, at)| distances[*at] == *d));
            assert!(folded.values.is_sorted());
            let mut positions = folded.at;
            positions.sort_unstable();
            assert!(positions.into_iter().eq(0..values.len()));
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
