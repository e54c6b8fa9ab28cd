//! The test of insertion ranks: new points and survivors are draws from the same law.

use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::store::Codec;

/// The sum over the run of the ranks of new points among the survivors of their batch.
///
/// New points and survivors of one level are draws from the same law, so that each new point is
/// equally likely to have any number of survivors below it. Within a batch all are compared with
/// the same survivors, as the variance of a two-sample rank sum allows for. If points are replaced
/// one at a time, their ranks are independent, and windows of them are tested for uniformity.
///
/// The test detects draws that are too high or too low among the survivors, but not a bias that
/// survivors and new points share.
///
/// # References
/// A. Fowlie, W. Handley, L. Su, "Nested sampling cross-checks using order statistics", Monthly
/// Notices of the Royal Astronomical Society 497 (2020). H. B. Mann, D. R. Whitney, "On a test of
/// whether one of two random variables is stochastically larger than the other", Annals of
/// Mathematical Statistics 18 (1947).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranks {
    /// The sum of ranks less its expectation, and its variance.
    excess: f64,
    variance: f64,
    n_batches: usize,
    /// The points of a window, 0 for none; the ranks of the current window, mapped to (0, 1).
    window: usize,
    places: Vec<f64>,
    p_values: Vec<f64>,
}

impl Ranks {
    /// The state before the first batch. A `window` is a number of successive points replaced one at a
    /// time, usually that of live points; 0 for no windows.
    pub fn new(window: usize) -> Self {
        Self { window, ..Self::default() }
    }

    /// Adds a batch: the sorted log-likelihoods of its survivors, and those of the new points in any
    /// order. `ties` draws the order of equal values.
    pub fn observe(&mut self, survivors: &[f64], new: &[f64], ties: &mut Stream) {
        let (s, m) = (survivors.len() as f64, new.len() as f64);
        if s * m == 0.0 {
            return;
        }
        let mut sorted = new.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut sum = 0;
        for equal in sorted.chunk_by(|a, b| a == b) {
            let below = survivors.partition_point(|x| *x < equal[0]);
            let tied = survivors[below..].partition_point(|x| *x == equal[0]);
            sum += equal.len() * below;
            if tied > 0 {
                sum += tied_ranks(tied, equal.len(), ties);
            }
        }
        self.excess += sum as f64 - 0.5 * m * s;
        self.variance += m * s * (m + s + 1.0) / 12.0;
        self.n_batches += 1;
        if self.window > 0 && new.len() == 1 {
            self.places.push((sum as f64 + ties.uniform()) / (s + 1.0));
            if self.places.len() == self.window {
                self.p_values.push(uniformity(&mut self.places));
                self.places.clear();
            }
        }
    }

    /// The standardized rank sum, standard normal without bias and positive if new points lie too
    /// high; 0 before the first batch.
    pub fn z(&self) -> f64 {
        if self.variance > 0.0 { self.excess / self.variance.sqrt() } else { 0.0 }
    }

    /// The number of batches so far.
    pub fn n_batches(&self) -> usize {
        self.n_batches
    }

    /// The p-value of the Kolmogorov–Smirnov test of uniformity in each full window.
    pub fn windows(&self) -> &[f64] {
        &self.p_values
    }

    /// The smallest p-value of the windows, corrected for their number; 1 without windows.
    pub fn smallest_p_value(&self) -> f64 {
        let smallest = self.p_values.iter().copied().fold(1.0, f64::min);
        if smallest < 1.0 { -expm1(self.p_values.len() as f64 * ln1p(-smallest)) } else { 1.0 }
    }

    /// Writes or reads the state.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.excess)?;
        codec.number(&mut self.variance)?;
        codec.count(&mut self.n_batches)?;
        let window = self.window;
        codec.count(&mut self.window)?;
        codec.list(&mut self.places)?;
        codec.require(self.window == window && self.places.len() <= window)?;
        codec.list(&mut self.p_values)
    }
}

/// The sum over `m` new points of the number of `tied` survivors of the same value that come before
/// each. All orders of the points are equally likely; an urn of gaps draws one.
fn tied_ranks(tied: usize, m: usize, ties: &mut Stream) -> usize {
    let mut gaps: Vec<usize> = Vec::with_capacity(m);
    for placed in 0..m {
        let ball = ties.below((tied + 1 + placed) as u64) as usize;
        gaps.push(if ball <= tied { ball } else { gaps[ball - tied - 1] });
    }
    gaps.iter().sum()
}

/// The p-value of the Kolmogorov–Smirnov test of uniformity, with the finite-sample correction of
/// M. A. Stephens, "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without
/// extensive tables", Journal of the Royal Statistical Society B 32 (1970).
fn uniformity(places: &mut [f64]) -> f64 {
    places.sort_unstable_by(f64::total_cmp);
    let n = places.len() as f64;
    let distance = places
        .iter()
        .enumerate()
        .fold(0.0_f64, |d, (i, u)| d.max((i + 1) as f64 / n - u).max(u - i as f64 / n));
    let root = n.sqrt();
    kolmogorov(distance * (root + 0.12 + 0.11 / root))
}

/// The probability that the supremum of a Brownian bridge's modulus exceeds `x`.
fn kolmogorov(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0;
    }
    if x < 1.0 {
        // Jacobi's transform of the series, which converges fast here.
        let step = std::f64::consts::PI.powi(2) / (8.0 * x * x);
        let sum = [1.0_f64, 9.0, 25.0, 49.0].iter().map(|k| exp(-k * step)).sum::<f64>();
        return 1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * sum;
    }
    let term = |k: f64| exp(-2.0 * k * k * x * x);
    2.0 * ((term(1.0) - term(2.0)) + (term(3.0) - term(4.0)))
}
