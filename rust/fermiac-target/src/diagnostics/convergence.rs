//! R-hat, effective sample sizes and Monte Carlo standard errors of the draws of Markov chains.
//!
//! Vehtari, Gelman, Simpson, Carpenter, Bürkner, *Rank-normalization, folding, and localization: an
//! improved R-hat for assessing convergence of MCMC*, Bayesian Analysis (2021).

use super::chains::{Chains, extremes, mean, sum_of, variance};
use super::fourier::Fourier;
use super::indicator::Indicator;
use super::ranks::{Scores, Sorted, order_statistic, quantile};
use fermiac_base::par::{Context, pause};
use fermiac_base::simd::prefetch;
use fermiac_base::special::IncompleteBeta;
use fermiac_base::{Error, Result};
use std::ops::Range;
use std::sync::OnceLock;

/// The least number of draws per chain.
pub const MIN_DRAWS: usize = 4;
/// Probabilities one standard deviation below and above the mean of a normal law, to the usual
/// digits.
const ONE_SIGMA: [f64; 2] = [0.158_655_3, 0.841_344_7];
/// Number of values of neighbouring columns gathered at a time.
const GATHER: usize = 1 << 16;
/// Number of rows that they are gathered from at a time.
const CACHED_ROWS: usize = 64;
/// Doubles in a cache line.
const LINE: usize = 8;

/// A diagnostic of the draws of one quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The larger of the R-hats of normal scores and of scores of the distances from the median.
    RhatRank,
    /// R-hat of split chains.
    RhatSplit,
    /// R-hat of the normal scores of the distances from the median.
    RhatFolded,
    /// R-hat of the chains as they are.
    RhatUnsplit,
    /// Effective sample size of the normal scores.
    EssBulk,
    /// The smaller of the effective sample sizes for two quantiles.
    EssTail(f64, f64),
    /// Effective sample size for a quantile.
    EssQuantile(f64),
    /// Effective sample size for the probability of lying between two quantiles.
    EssLocal(f64, f64),
    /// Effective sample size for the mean.
    EssMean,
    /// Effective sample size for the standard deviation.
    EssSd,
    /// Effective sample size for the median absolute deviation.
    EssMad,
    /// Effective sample size for the mean, of chains that are not split.
    EssUnsplit,
    /// Standard error of the mean.
    McseMean,
    /// Standard error of the standard deviation.
    McseSd,
    /// Standard error of a quantile.
    McseQuantile(f64),
    /// The estimated fraction of missing information, of the energies of one chain.
    Bfmi,
    /// The integrated autocorrelation time up to a lag of this multiple of its length.
    WindowedTime(f64),
}

/// Returns a statistic of each column of a (chains, draws, columns) array, on the threads of
/// `context`.
pub fn convergence(
    values: &[f64],
    shape: [usize; 3],
    statistic: Statistic,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    of_columns(values, shape, 0..shape[2], context, |shared, x| shared.of(statistic, x))
}

/// Returns `RhatRank`, `EssBulk` and `EssTail(low, high)` of some columns of a (chains, draws, columns)
/// array; they share the sorting of the draws.
pub fn judgement(
    values: &[f64],
    shape: [usize; 3],
    columns: Range<usize>,
    [low, high]: [f64; 2],
    context: &Context<'_>,
) -> Result<Vec<[f64; 3]>> {
    of_columns(values, shape, columns, context, |shared, x| {
        let sorted = Sorted::new(&shared.split(&x));
        let scores = shared.chains(&shared.scores().of(&sorted));
        let rhat = scores.rhat().max(shared.rhat_of_scores(&sorted.folded()));
        let tail = if shared.n.is_multiple_of(2) {
            // No draw was left out of the halves.
            let cuts = [sorted.quantile(low), sorted.quantile(high)];
            let [low, high] = cuts.map(|cut| shared.ess_between(&x, f64::NEG_INFINITY, cut));
            low.min(high)
        } else {
            shared.of(Statistic::EssTail(low, high), x)?
        };
        Ok([rhat, scores.ess(&shared.fourier), tail])
    })
}

/// Applies a function to each of some columns.
fn of_columns<T: Send>(
    values: &[f64],
    [m, n, width]: [usize; 3],
    columns: Range<usize>,
    context: &Context<'_>,
    of: impl Fn(&Shared, Vec<f64>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if m == 0 || n < MIN_DRAWS {
        let why = format!("{m} chains of {n} draws given; {MIN_DRAWS} draws are needed");
        return Err(Error::argument("x", why));
    }
    let shared = Shared { m, n, scores: OnceLock::new(), fourier: OnceLock::new() };
    // Neighbouring columns share cache lines.
    let step = (GATHER / (m * n)).clamp(1, 16);
    let mut found = Vec::with_capacity(columns.len());
    context.ordered_apart(
        columns.len().div_ceil(step),
        m * n,
        |block| {
            let first = columns.start + block * step;
            let some = first..(first + step).min(columns.end);
            let mut gathered = vec![Vec::with_capacity(m * n); some.len()];
            // Rows that stay in the cache for all columns.
            let size = width * CACHED_ROWS;
            for (start, rows) in (0..).step_by(size).zip(values.chunks(size)) {
                for row in (start + size..start + 2 * size).step_by(width) {
                    (some.start..some.end + LINE)
                        .step_by(LINE)
                        .for_each(|at| prefetch(values, row + at.min(some.end - 1)));
                }
                for (column, at) in gathered.iter_mut().zip(some.clone()) {
                    column.extend(rows.chunks_exact(width).map(|row| row[at]));
                }
            }
            let each = gathered.into_iter().zip(some);
            each.map(|(column, at)| {
                pause();
                shared.check(at, &column)?;
                of(&shared, column)
            })
            .collect::<Result<Vec<T>>>()
        },
        |_, part| {
            found.extend(part);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Data shared by all columns.
struct Shared {
    m: usize,
    n: usize,
    scores: OnceLock<Scores>,
    fourier: OnceLock<Fourier>,
}

impl Shared {
    fn check(&self, quantity: usize, x: &[f64]) -> Result<()> {
        // Without an end before the last draw, so that several are compared at a time.
        let all = x.iter().fold(true, |all, x| all & x.is_finite());
        if let (false, Some(at)) = (all, x.iter().position(|x| !x.is_finite())) {
            let why = format!(
                "draw {} of chain {}, of quantity {quantity}, is {}; finite numbers are needed",
                at % self.n,
                at / self.n,
                x[at]
            );
            return Err(Error::argument("x", why));
        }
        Ok(())
    }

    fn of(&self, statistic: Statistic, mut x: Vec<f64>) -> Result<f64> {
        Ok(match statistic {
            Statistic::RhatRank => {
                let sorted = Sorted::new(&self.split(&x));
                self.rhat_of_scores(&sorted).max(self.rhat_of_scores(&sorted.folded()))
            }
            Statistic::RhatFolded => self.rhat_of_scores(&Sorted::new(&self.split(&x)).folded()),
            Statistic::RhatSplit => {
                standardize(&mut x);
                self.chains(&self.split(&x)).rhat()
            }
            Statistic::RhatUnsplit => {
                standardize(&mut x);
                Chains::new(&x, self.n).rhat()
            }
            Statistic::EssBulk => {
                let sorted = Sorted::new(&self.split(&x));
                self.chains(&self.scores().of(&sorted)).ess(&self.fourier)
            }
            Statistic::EssTail(low, high) => {
                self.ess_of_quantile(&x, low).min(self.ess_of_quantile(&x, high))
            }
            Statistic::EssQuantile(p) => self.ess_of_quantile(&x, p),
            Statistic::EssLocal(low, high) => {
                let mut scratch = x.clone();
                let (low, high) = (quantile(&mut scratch, low), quantile(&mut scratch, high));
                self.ess_between(&x, low, high)
            }
            Statistic::EssMean => {
                standardize(&mut x);
                self.ess(&x)
            }
            Statistic::EssSd => {
                standardize(&mut x);
                x.iter_mut().for_each(|x| *x *= *x);
                self.ess(&x)
            }
            Statistic::EssMad => {
                let median = quantile(&mut x.clone(), 0.5);
                x.iter_mut().for_each(|x| *x = (*x - median).abs());
                let cut = quantile(&mut x.clone(), 0.5);
                self.ess_between(&x, 0.0, cut)
            }
            Statistic::EssUnsplit => {
                standardize(&mut x);
                Chains::new(&x, self.n).ess(&self.fourier)
            }
            Statistic::McseMean => {
                let scale = standardize(&mut x);
                scale * (variance(&x) / self.ess(&x)).sqrt()
            }
            Statistic::McseSd => {
                let scale = standardize(&mut x);
                x.iter_mut().for_each(|x| *x *= *x);
                let square = mean(&x);
                if square == 0.0 {
                    return Ok(0.0);
                }
                let spread = sum_of(&x, |c| (c - square) * (c - square)) / x.len() as f64;
                scale * (spread / self.ess(&x) / (4.0 * square)).sqrt()
            }
            Statistic::McseQuantile(p) => self.mcse_of_quantile(&mut x, p),
            Statistic::WindowedTime(window) => {
                standardize(&mut x);
                Chains::new(&x, self.n).windowed_time(window, &self.fourier)
            }
            Statistic::Bfmi => {
                standardize(&mut x);
                pause();
                let steps: Vec<f64> = x.windows(2).map(|e| e[1] - e[0]).collect();
                sum_of(&steps, |d| d * d) / steps.len() as f64 / variance(&x)
            }
        })
    }

    /// Returns the first and the last half of each chain, without a draw in the middle.
    fn split(&self, x: &[f64]) -> Vec<f64> {
        let half = self.n / 2;
        let mut halves = Vec::with_capacity(2 * half * self.m);
        for chain in x.chunks_exact(self.n) {
            pause();
            halves.extend_from_slice(&chain[..half]);
            halves.extend_from_slice(&chain[self.n - half..]);
        }
        halves
    }

    fn chains(&self, halves: &[f64]) -> Chains {
        Chains::new(halves, self.n / 2)
    }

    fn scores(&self) -> &Scores {
        self.scores.get_or_init(|| Scores::new(2 * self.m * (self.n / 2)))
    }

    fn rhat_of_scores(&self, sorted: &Sorted) -> f64 {
        self.chains(&self.scores().of(sorted)).rhat()
    }

    fn ess(&self, x: &[f64]) -> f64 {
        self.chains(&self.split(x)).ess(&self.fourier)
    }

    /// The effective sample size for the probability of lying between two bounds.
    fn ess_between(&self, x: &[f64], low: f64, high: f64) -> f64 {
        let half = self.n / 2;
        let chains = x.chunks_exact(self.n);
        let halves = chains.flat_map(|chain| [&chain[..half], &chain[self.n - half..]]);
        Indicator::new(halves, low, high).ess(&self.fourier)
    }

    fn ess_of_quantile(&self, x: &[f64], p: f64) -> f64 {
        let cut = quantile(&mut x.to_vec(), p);
        self.ess_between(x, f64::NEG_INFINITY, cut)
    }

    /// Returns half of the distance between the order statistics that bound the quantile, by the beta
    /// law of its rank among the effective number of draws.
    fn mcse_of_quantile(&self, x: &mut [f64], p: f64) -> f64 {
        let ess = self.ess_of_quantile(x, p);
        let rank = IncompleteBeta::new(ess * p + 1.0, ess * (1.0 - p) + 1.0);
        let size = x.len() as f64;
        let [low, high] = ONE_SIGMA.map(|q| rank.quantile(q).0 * size - 1.0);
        let low = order_statistic(x, low.max(0.0).floor() as usize);
        let high = order_statistic(x, high.min(size - 1.0).ceil() as usize);
        0.5 * (high - low)
    }
}

/// Shifts the draws to mean 0, scales them to a largest size from 1 to 2 and returns the scale.
/// Draws that are all equal become 0.
fn standardize(x: &mut [f64]) -> f64 {
    pause();
    let (low, high) = extremes(x);
    if low == high {
        x.fill(0.0);
        return 1.0;
    }
    // Sums of the largest doubles overflow; scaling by powers of two is exact.
    let first = power_of_two(high.max(-low));
    x.iter_mut().for_each(|x| *x /= first);
    // Far from 0 the first mean is too inaccurate for the draws about it.
    for _ in 0..2 {
        pause();
        let center = mean(x);
        x.iter_mut().for_each(|x| *x -= center);
    }
    pause();
    let (low, high) = extremes(x);
    let second = power_of_two(high.max(-low));
    x.iter_mut().for_each(|x| *x /= second);
    first * second
}

/// Returns the largest power of two not above a positive number, at least the smallest normal double.
fn power_of_two(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & f64::INFINITY.to_bits()).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::simd::sin;

    use super::*;

    /// A (4, 100, columns) array of slow waves; column k is scaled by 10^k.
    fn waves(columns: usize) -> Vec<f64> {
        let mut values = Vec::new();
        for c in 0..4 {
            for t in 0..100 {
                let (c, t) = (f64::from(c), f64::from(t));
                let x = sin(1.7 * t + 0.9 * c)
                    + 0.5 * sin(0.31 * t + 2.1 * c)
                    + 0.1 * c
                    + 0.2 * ((t / 7.0).floor() % 3.0);
                values.extend((0..columns).map(|k| x * 10_f64.powi(k as i32)));
            }
        }
        values
    }

    #[test]
    fn reference_values() {
        for (statistic, value) in [
            (Statistic::RhatRank, 1.004_663_752),
            (Statistic::EssBulk, 322.212_611_3),
            (Statistic::EssTail(0.05, 0.95), 459.069_134_4),
            (Statistic::EssMean, 339.957_044_6),
            (Statistic::EssSd, 1_040.823_997),
            (Statistic::McseMean, 0.043_466_109),
            (Statistic::McseSd, 0.012_628_610_81),
        ] {
            let found = convergence(&waves(1), [4, 100, 1], statistic, &Context::serial()).unwrap();
            assert!(
                (found[0] / value - 1.0).abs() < 1e-8,
                "{statistic:?}: {} not {value}",
                found[0]
            );
        }
    }

    #[test]
    fn a_judgement_is_three_statistics() {
        for shape in [[4, 100, 3], [3, 99, 3]] {
            let (values, context) = (waves(3), Context::serial());
            let values = &values[..shape.iter().product()];
            let judged = judgement(values, shape, 0..3, [0.05, 0.95], &context).unwrap();
            let kinds = [Statistic::RhatRank, Statistic::EssBulk, Statistic::EssTail(0.05, 0.95)];
            for (k, statistic) in kinds.into_iter().enumerate() {
                let alone = convergence(values, shape, statistic, &context).unwrap();
                assert!(judged.iter().map(|all| all[k]).eq(alone));
            }
            assert_eq!(
                judgement(values, shape, 1..2, [0.05, 0.95], &context).unwrap(),
                judged[1..2]
            );
        }
    }

    #[test]
    fn columns_are_apart_and_scales_do_not_count() {
        let shape = [4, 100, 19];
        let all = |statistic, n_threads| {
            let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
            convergence(&waves(19), shape, statistic, &context).unwrap()
        };
        for statistic in [Statistic::RhatRank, Statistic::EssSd, Statistic::McseQuantile(0.3)] {
            assert_eq!(all(statistic, 1), all(statistic, 3));
        }
        let ess = all(Statistic::EssSd, 2);
        assert!(ess.iter().all(|e| (e / ess[0] - 1.0).abs() < 1e-9));
    }

    #[test]
    fn the_largest_and_smallest_doubles() {
        let alone = |scale: f64, statistic| {
            let values: Vec<f64> = waves(1).iter().map(|x| x * scale).collect();
            convergence(&values, [4, 100, 1], statistic, &Context::serial()).unwrap()[0]
        };
        for scale in [2_f64.powi(1021), 2_f64.powi(-1000)] {
            assert_eq!(alone(scale, Statistic::EssSd), alone(1.0, Statistic::EssSd));
            assert_eq!(alone(scale, Statistic::McseSd), scale * alone(1.0, Statistic::McseSd));
        }
    }

    #[test]
    fn bad_draws_are_errors() {
        let mut values = waves(2);
        values[7] = f64::NAN;
        for (values, shape) in [(&values[..], [4, 100, 2]), (&values[..6], [1, 3, 2])] {
            let found = convergence(values, shape, Statistic::EssMean, &Context::serial());
            assert!(matches!(found, Err(Error::Argument { .. })));
        }
    }
}
