//! Chains of an indicator, one bit for each draw: their variances, autocovariances and effective
//! sample size, from counts of bits.

use super::chains::{Chains, direct_lags, effective_size, variance};
use super::fourier::Fourier;
use fermiac_base::par::pause;
use fermiac_base::simd::{Kernel, LANES, dispatch};
use std::sync::OnceLock;

/// Bits of a word.
const WORD: usize = 64;

/// Chains of `n` draws, one after the other, and whether each draw lies between two bounds.
pub(super) struct Indicator {
    n: usize,
    /// The words of a chain, with zeros after its last bit and in one more word.
    words: Vec<u64>,
    per_chain: usize,
    /// The number of ones of each chain.
    counts: Vec<u64>,
}

impl Indicator {
    /// An indicator of `low` ≤ x ≤ `high` for chains of equal length.
    pub(super) fn new<'a>(chains: impl Iterator<Item = &'a [f64]>, low: f64, high: f64) -> Self {
        let mut made = Self { n: 0, words: Vec::new(), per_chain: 0, counts: Vec::new() };
        for chain in chains {
            pause();
            made.n = chain.len();
            made.per_chain = chain.len().div_ceil(WORD) + 1;
            made.words.resize(made.words.len() + made.per_chain, 0);
            let start = made.words.len() - made.per_chain;
            dispatch(Between { chain, low, high, words: &mut made.words[start..] });
            made.counts.push(count(&made.words[start..]));
        }
        made
    }

    /// Returns the effective sample size; the number of draws if all indicators are equal.
    pub(super) fn ess(&self, fourier: &OnceLock<Fourier>) -> f64 {
        let (m, n) = (self.counts.len(), self.n as f64);
        let total: u64 = self.counts.iter().sum();
        let varies = total > 0 && total < (m * self.n) as u64;
        let variances = varies.then(|| {
            let squares = self.counts.iter().map(|k| *k as f64 * (n - *k as f64) / n);
            let means: Vec<f64> = self.counts.iter().map(|k| *k as f64 / n).collect();
            (squares.sum::<f64>() / (m as f64 * (n - 1.0)), variance(&means))
        });
        let mut lags = Lags { of: self, fourier, sums: Vec::new(), ends: vec![[0, 0]; m] };
        effective_size([m, self.n], variances, |lag| lags.sum(lag) / (m as f64 * n))
    }

    fn chains(&self) -> impl Iterator<Item = &[u64]> {
        self.words.chunks_exact(self.per_chain)
    }

    /// The indicators as numbers.
    fn numbers(&self) -> Vec<f64> {
        let bit = |words: &[u64], i: usize| (words[i / WORD] >> (i % WORD) & 1) as f64;
        self.chains().flat_map(|words| (0..self.n).map(move |i| bit(words, i))).collect()
    }
}

/// Σ (y_i - ȳ)(y_{i+t} - ȳ) over all chains, for one lag t after the other.
struct Lags<'a> {
    of: &'a Indicator,
    fourier: &'a OnceLock<Fourier>,
    sums: Vec<f64>,
    /// The ones of each chain before the first draw of the next lag, and after the last one.
    ends: Vec<[u64; 2]>,
}

impl Lags<'_> {
    fn sum(&mut self, lag: usize) -> f64 {
        let n = self.of.n;
        while self.sums.len() <= lag {
            pause();
            if self.sums.len() < 2 * direct_lags(n) {
                let next = self.next();
                self.sums.push(next);
            } else {
                let numbers = Chains::new(&self.of.numbers(), n);
                let fourier = self.fourier.get_or_init(|| Fourier::of_at_least(2 * n));
                let series: Vec<&[f64]> = numbers.chains().collect();
                self.sums = fourier.autocorrelation_sums(&series, n);
            }
        }
        self.sums[lag]
    }

    fn next(&mut self) -> f64 {
        let (n, lag) = (self.of.n, self.sums.len());
        if lag >= n {
            return 0.0;
        }
        let mut total = 0.0;
        for ((words, count), ends) in self.of.chains().zip(&self.of.counts).zip(&mut self.ends) {
            if lag > 0 {
                let bit = |i: usize| words[i / WORD] >> (i % WORD) & 1;
                ends[0] += bit(lag - 1);
                ends[1] += bit(n - lag);
            }
            let both = dispatch(Pairs { words, lag });
            let mean = *count as f64 / n as f64;
            let either = (2 * count - ends[0] - ends[1]) as f64;
            total += both as f64 - mean * (either - mean * (n - lag) as f64);
        }
        total
    }
}

/// Sets the bits of the draws between two bounds.
struct Between<'a> {
    chain: &'a [f64],
    low: f64,
    high: f64,
    words: &'a mut [u64],
}

impl Kernel for Between<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let holds = |x: f64| self.low <= x && x <= self.high;
        for (draws, word) in self.chain.chunks(WORD).zip(self.words) {
            let (tiles, rest) = draws.as_chunks::<LANES>();
            let mut lanes = [0_u64; LANES];
            for (t, tile) in tiles.iter().enumerate() {
                for l in 0..LANES {
                    let bit = 1_u64 << (l + LANES * t);
                    lanes[l] |= if holds(tile[l]) { bit } else { 0 };
                }
            }
            *word = lanes.into_iter().fold(0, |word, lane| word | lane);
            for (i, x) in rest.iter().enumerate() {
                *word |= u64::from(holds(*x)) << (LANES * tiles.len() + i);
            }
        }
    }
}

fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// The number of draws that are ones together with the draw `lag` later.
struct Pairs<'a> {
    words: &'a [u64],
    lag: usize,
}

impl Kernel for Pairs<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> u64 {
        let (skipped, shift) = (self.lag / WORD, self.lag % WORD);
        let later = &self.words[skipped..];
        let last = later.len() - 1;
        let mut total = 0;
        for i in 0..last {
            // No word can be shifted by all of its bits at once.
            let moved = later[i] >> shift | (later[i + 1] << 1) << (WORD - 1 - shift);
            total += u64::from((self.words[i] & moved).count_ones());
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn it_is_the_effective_size_of_the_numbers() {
        let mut rng = Stream::new(4, Domain::User, 0, 0);
        for (m, n, keep) in
            [(1, 4, 0.0), (2, 63, 0.5), (3, 64, -0.7), (4, 200, 0.99), (2, 777, 0.0)]
        {
            let mut values = vec![0.0; m * n];
            rng.fill_normal(&mut values);
            for i in 1..m * n {
                values[i] += keep * values[i - 1];
            }
            for (low, high) in [(f64::NEG_INFINITY, 0.3), (-0.5, 0.5), (-9e9, 9e9), (7e9, 8e9)] {
                let holds = |x: &f64| f64::from(u8::from(low <= *x && *x <= high));
                let numbers: Vec<f64> = values.iter().map(holds).collect();
                let fourier = OnceLock::new();
                let bits = Indicator::new(values.chunks_exact(n), low, high);
                assert_eq!(bits.numbers(), numbers);
                let chains = Chains::new(&numbers, n);
                let (found, known) = (bits.ess(&fourier), chains.ess(&fourier));
                assert!((found / known - 1.0).abs() < 1e-11, "{m} × {n}: {found}, not {known}");
                let mut lags =
                    Lags { of: &bits, fourier: &fourier, sums: Vec::new(), ends: vec![[0, 0]; m] };
                for lag in 0..n {
                    let pairs = |y: &[f64]| (lag..n).map(|i| y[i] * y[i - lag]).sum::<f64>();
                    let defined: f64 = chains.chains().map(pairs).sum();
                    assert!((lags.sum(lag) - defined).abs() < 1e-11, "{m} × {n}, lag {lag}");
                }
            }
        }
    }
}
