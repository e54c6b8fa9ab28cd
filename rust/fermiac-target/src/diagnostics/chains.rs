//! Variances and autocovariances of chains of equal length, R-hat and the effective sample size.
//!
//! Gelman, Carlin, Stern, Dunson, Vehtari, Rubin, *Bayesian Data Analysis* (3rd ed., 2013);
//! Geyer, *Practical Markov chain Monte Carlo*, Statistical Science (1992).

use super::convergence::MIN_DRAWS;
use super::fourier::Fourier;
use fermiac_base::par::pause;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, fma, ln};
use std::sync::OnceLock;

/// Number of lags summed at a time.
const BLOCK: usize = 8;
/// Draws with a smaller range, relative to the largest, are equal up to rounding.
const EQUAL: f64 = 1e-15;

/// Chains of `n` draws, each about its mean, and the means.
pub(super) struct Chains {
    n: usize,
    /// The draws; a chain takes n + 2 `BLOCK` places, with zeros at its end.
    centred: Vec<f64>,
    means: Vec<f64>,
    range: f64,
}

impl Chains {
    /// Centres chains that lie one after the other.
    pub(super) fn new(values: &[f64], n: usize) -> Self {
        let mut centred = vec![0.0; values.len() / n * (n + 2 * BLOCK)];
        let mut means = Vec::with_capacity(values.len() / n);
        for (chain, into) in values.chunks_exact(n).zip(centred.chunks_exact_mut(n + 2 * BLOCK)) {
            pause();
            means.push(dispatch(Centre { chain, into: &mut into[..n] }));
        }
        let (low, high) = extremes(values);
        Self { n, centred, means, range: high - low }
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = &[f64]> {
        self.centred.chunks_exact(self.n + 2 * BLOCK).map(|chain| &chain[..self.n])
    }

    /// Returns the mean variance within the chains and the variance of their means, both unbiased.
    fn variances(&self) -> (f64, f64) {
        let m = self.means.len() as f64;
        let within = sum_of(&self.centred, |x| x * x) / (m * (self.n as f64 - 1.0));
        (within, variance(&self.means))
    }

    /// Returns the root of the pooled variance over that within the chains; 1 for constant chains.
    pub(super) fn rhat(&self) -> f64 {
        let (within, between) = self.variances();
        if within == 0.0 && between == 0.0 {
            return 1.0;
        }
        let n = self.n as f64;
        ((n * between / within + n - 1.0) / n).sqrt()
    }

    /// Returns the effective sample size; the number of draws if they are all equal.
    pub(super) fn ess(&self, fourier: &OnceLock<Fourier>) -> f64 {
        let mut lags = Lags { chains: self, fourier, sums: Vec::new() };
        let variances = if self.range < EQUAL { None } else { Some(self.variances()) };
        effective_size([self.means.len(), self.n], variances, |t| lags.mean_autocovariance(t))
    }
}

/// Returns the effective sample size of m chains of n draws, from their variances within and between
/// the chains and from their mean autocovariances; the number of draws without variances.
pub(super) fn effective_size(
    [m, n]: [usize; 2],
    variances: Option<(f64, f64)>,
    mut mean_autocovariance: impl FnMut(usize) -> f64,
) -> f64 {
    let size = (m * n) as f64;
    let Some((within, between)) = variances else { return size };
    let pooled = within * (n as f64 - 1.0) / n as f64 + if m > 1 { between } else { 0.0 };
    let rho = |t| 1.0 - (within - mean_autocovariance(t)) / pooled;
    size / initial_sequence(n, rho).max(std::f64::consts::LN_10 / ln(size))
}

/// Writes the draws of a chain about their mean, and returns the mean.
struct Centre<'a> {
    chain: &'a [f64],
    into: &'a mut [f64],
}

impl Kernel for Centre<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        // Relative to the first draw, so that a constant chain has a variance of exactly 0.
        let first = self.chain[0];
        for (to, x) in self.into.iter_mut().zip(self.chain) {
            *to = x - first;
        }
        let mean = SumOf(self.into, |x| x).run::<FMA>() / self.into.len() as f64;
        self.into.iter_mut().for_each(|x| *x -= mean);
        first + mean
    }
}

/// Returns the integrated autocorrelation time of one series: its draws over their effective number.
pub fn correlation_time(series: &[f64]) -> f64 {
    let n = series.len();
    if n < MIN_DRAWS {
        return 1.0;
    }
    n as f64 / Chains::new(series, n).ess(&OnceLock::new())
}

impl Chains {
    /// Returns the integrated autocorrelation time of the mean autocorrelations of the chains, each
    /// about its mean, up to the first lag that is at least `window` times as long. A constant chain
    /// has autocorrelations of 1.
    pub(super) fn windowed_time(mut self, window: f64, fourier: &OnceLock<Fourier>) -> f64 {
        let (n, m) = (self.n as f64, self.means.len() as f64);
        let mut still = 0.0;
        for chain in self.centred.chunks_exact_mut(self.n + 2 * BLOCK) {
            let length = sum_of(chain, |x| x * x).sqrt();
            if length > 0.0 {
                chain.iter_mut().for_each(|x| *x /= length);
            } else {
                still += 1.0;
            }
        }
        let mut lags = Lags { chains: &self, fourier, sums: Vec::new() };
        let mut time = -1.0;
        for lag in 0..self.n {
            time += 2.0 * (n * lags.mean_autocovariance(lag) + still / m);
            if lag as f64 >= window * time {
                break;
            }
        }
        time.max(std::f64::consts::LN_10 / ln(n * m))
    }
}

/// Returns the integrated autocorrelation time by Geyer's initial monotone sequence.
fn initial_sequence(n: usize, mut rho: impl FnMut(usize) -> f64) -> f64 {
    let (mut even, mut odd) = (1.0, rho(1));
    let mut pairs = vec![(even, odd)];
    let mut t = 1;
    while t + 3 < n && even + odd > 0.0 {
        (even, odd) = (rho(t + 1), rho(t + 2));
        pairs.push((even, odd));
        t += 2;
    }
    // Of the last pair only the even half counts, and only if it or the pair is positive.
    pairs.pop();
    let mut total = if even > 0.0 || even + odd >= 0.0 { even - 1.0 } else { -1.0 };
    let mut bound = f64::INFINITY;
    for (even, odd) in pairs {
        bound = bound.min(even + odd);
        total += 2.0 * bound;
    }
    total
}

/// Mean autocovariances of the chains, computed on demand.
struct Lags<'a> {
    chains: &'a Chains,
    fourier: &'a OnceLock<Fourier>,
    sums: Vec<f64>,
}

impl Lags<'_> {
    fn mean_autocovariance(&mut self, lag: usize) -> f64 {
        let n = self.chains.n;
        let direct = direct_lags(n);
        while self.sums.len() <= lag {
            pause();
            if self.sums.len() < direct {
                let kernel = Products { padded: &self.chains.centred, n, lag: self.sums.len() };
                self.sums.extend(dispatch(kernel));
            } else {
                let fourier = self.fourier.get_or_init(|| Fourier::of_at_least(2 * n));
                let series: Vec<&[f64]> = self.chains.chains().collect();
                self.sums = fourier.autocorrelation_sums(&series, n);
            }
        }
        self.sums[lag] / (self.chains.means.len() * n) as f64
    }
}

/// The number of lags of chains of `n` draws that are summed directly. One lag takes a few passes over
/// the draws, the transform some ten for each doubling.
pub(super) fn direct_lags(n: usize) -> usize {
    8 * n.ilog2() as usize
}

/// Σ y_i y_{i+t} over all chains for `BLOCK` lags t from `lag` on; 0 from lag n on.
struct Products<'a> {
    padded: &'a [f64],
    n: usize,
    lag: usize,
}

impl Kernel for Products<'_> {
    type Output = [f64; BLOCK];

    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; BLOCK] {
        let mut sums = [V::ZERO; BLOCK];
        for chain in self.padded.chunks_exact(self.n + 2 * BLOCK) {
            let count = self.n.saturating_sub(self.lag).div_ceil(LANES);
            let later = chain[self.lag.min(self.n)..].windows(LANES + BLOCK).step_by(LANES);
            for (a, b) in chain.as_chunks::<LANES>().0[..count].iter().zip(later) {
                let a = V(*a);
                for k in 0..BLOCK {
                    sums[k] = a.mul_add::<FMA>(V::load(&b[k..k + LANES]), sums[k]);
                }
            }
        }
        sums.map(V::sum)
    }
}

struct SumOf<'a, F>(&'a [f64], F);

impl<F: Fn(f64) -> f64> Kernel for SumOf<'_, F> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let (tiles, rest) = self.0.as_chunks::<LANES>();
        let mut total = V::ZERO;
        for tile in tiles {
            total = total + V(*tile).map(&self.1);
        }
        rest.iter().fold(total.loop_sum(), |sum, x| fma::<FMA>((self.1)(*x), 1.0, sum))
    }
}

/// Returns the sum of a function of the values, in eight parts.
pub(super) fn sum_of(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    dispatch(SumOf(values, f))
}

/// The mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    sum_of(values, |x| x) / values.len() as f64
}

/// The unbiased variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    sum_of(values, |x| (x - mean) * (x - mean)) / (values.len() as f64 - 1.0)
}

struct Extremes<'a>(&'a [f64]);

impl Kernel for Extremes<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, f64) {
        let lower = |a: f64, b: f64| if b < a { b } else { a };
        let upper = |a: f64, b: f64| if b > a { b } else { a };
        // One after the other: together they are shuffled between registers.
        (furthest(self.0, f64::INFINITY, lower), furthest(self.0, f64::NEG_INFINITY, upper))
    }
}

/// The last value by a choice of one of two.
#[inline(always)]
fn furthest(values: &[f64], start: f64, choose: impl Fn(f64, f64) -> f64) -> f64 {
    let (tiles, rest) = values.as_chunks::<LANES>();
    let lanes = tiles.iter().fold(V::splat(start), |found, tile| found.zip(V(*tile), &choose));
    lanes.0.iter().chain(rest).copied().fold(start, choose)
}

/// The smallest and the largest value; NaN is neither.
pub(super) fn extremes(values: &[f64]) -> (f64, f64) {
    dispatch(Extremes(values))
}

#[cfg(test)]
mod tests {
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    #[test]
    fn lags_are_the_same_directly_and_by_transform() {
        let (m, n) = (3, 700);
        let mut rng = Stream::new(3, Domain::User, 0, 0);
        let mut walk = 0.0;
        let values: Vec<f64> = (0..m * n)
            .map(|_| {
                walk = 0.99 * walk + rng.uniform() - 0.5;
                walk
            })
            .collect();
        let (chains, fourier) = (Chains::new(&values, n), OnceLock::new());
        let mut lags = Lags { chains: &chains, fourier: &fourier, sums: Vec::new() };
        let direct: Vec<f64> = (0..72).map(|t| lags.mean_autocovariance(t)).collect();
        assert_eq!(lags.sums.len(), direct.len());
        lags.mean_autocovariance(n - 1);
        for (t, value) in direct.iter().enumerate() {
            assert!((lags.mean_autocovariance(t) - value).abs() < 1e-14);
            let defined: f64 = chains
                .chains()
                .map(|y| (t..n).map(|i| y[i] * y[i - t]).sum::<f64>() / (m * n) as f64)
                .sum();
            assert!((defined - value).abs() < 1e-14);
        }
    }

    #[test]
    fn chains_that_stand_still() {
        let fourier = OnceLock::new();
        let same = Chains::new(&[0.1; 40], 10);
        assert_eq!((same.rhat(), same.ess(&fourier)), (1.0, 40.0));
        let apart: Vec<f64> = (0..40).map(|i| 0.1 * f64::from(i / 10)).collect();
        let apart = Chains::new(&apart, 10);
        assert_eq!(apart.rhat(), f64::INFINITY);
        assert!(apart.ess(&fourier) < 4.0);
    }
}
