//! A random permutation of 0 … n - 1 without a table.

use super::{Model, stream};

/// Rounds of the network.
const ROUNDS: usize = 8;

/// A keyed permutation.
///
/// A Feistel network on two digits of unequal base; numbers beyond n are mapped again. It is a
/// permutation whatever the rounds are; its randomness depends on
/// the mixing.
///
/// References: M. Luby and C. Rackoff (1988), "How to construct pseudorandom permutations from
/// pseudorandom functions", SIAM Journal on Computing 17(2); J. Black and P. Rogaway (2002),
/// "Ciphers with arbitrary finite domains", CT-RSA.
#[derive(Debug, Clone)]
pub(super) struct Permutation {
    n: u64,
    bases: [u64; 2],
    keys: [u64; ROUNDS],
}

impl Permutation {
    pub(super) fn new(n: u64, key: u64, model: Model) -> Self {
        let mut stream = stream(key, model, 0);
        let mut keys = [0; ROUNDS];
        stream.fill_u64(&mut keys);
        let mut high = (n as f64).sqrt() as u64;
        while high.saturating_mul(high) < n {
            high += 1;
        }
        let high = high.max(1);
        Self { n, bases: [high, n.div_ceil(high).max(1)], keys }
    }

    /// The number at a place below n.
    #[inline]
    pub(super) fn at(&self, place: u64) -> u64 {
        let [a, b] = self.bases;
        let mut number = place;
        loop {
            let mut digits = [number / b, number % b];
            for pair in self.keys.as_chunks::<2>().0 {
                digits[0] = turned(digits[0], digits[1], pair[0], a);
                digits[1] = turned(digits[1], digits[0], pair[1], b);
            }
            number = digits[0] * b + digits[1];
            if number < self.n {
                return number;
            }
        }
    }
}

/// A digit plus the mixed other digit.
#[inline]
fn turned(digit: u64, other: u64, key: u64, base: u64) -> u64 {
    let mut word = other ^ key;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    let shift = ((u128::from(word) * u128::from(base)) >> 64) as u64;
    let sum = digit + shift;
    if sum < base { sum } else { sum - base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for n in (1..40).chain([255, 256, 257, 1000, 65_537]) {
            for key in 0..3 {
                let permutation = Permutation::new(n, key, Model::Uniform);
                let mut seen: Vec<u64> = (0..n).map(|place| permutation.at(place)).collect();
                seen.sort_unstable();
                assert!(seen.iter().copied().eq(0..n), "{n}");
            }
        }
    }

    #[test]
    fn every_order_of_four_comes_equally_often() {
        let runs = 24_000;
        let mut counts = std::collections::BTreeMap::new();
        for key in 0..runs {
            let permutation = Permutation::new(4, key, Model::Uniform);
            let order: Vec<u64> = (0..4).map(|place| permutation.at(place)).collect();
            *counts.entry(order).or_insert(0.0) += 1.0;
        }
        let expected = runs as f64 / 24.0;
        let square: f64 = counts.values().map(|c: &f64| (c - expected).powi(2) / expected).sum();
        assert_eq!(counts.len(), 24);
        // 23 degrees of freedom, standard deviation 6.8.
        assert!((square - 23.0).abs() < 5.0 * 6.8, "{square}");
    }
}
