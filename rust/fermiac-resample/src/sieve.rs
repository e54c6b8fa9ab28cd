//! The sieve bootstrap of a series: an autoregression is fitted, its residuals are resampled, and the
//! statistic of each new series is divided by its standard error from a fit of that series.
//!
//! P. Bühlmann (1997), "Sieve bootstrap for time series", Bernoulli 3(2). The fitted autoregression
//! is too close to independence for few observations. Its partial autocorrelations are therefore
//! corrected by the bias that they have in series of its own, after L. Kilian (1998), "Small-sample
//! confidence intervals for impulse response functions", Review of Economics and Statistics 80(2).

use crate::replicates::{Outcome, rows, stream};
use fermiac_base::alloc::vec_of;
use fermiac_base::linalg::dot;
use fermiac_base::par::{Context, PAUSE_EVERY, pause};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};

/// Series from which the bias of the partial autocorrelations is found, and the block of their
/// streams in the domain of the bootstrap.
const PILOT: u64 = 200;
const PILOT_BLOCK: u32 = 0x5201;
/// The largest partial autocorrelation after the correction.
const LARGEST: f64 = 0.99;
/// Weights of past innovations below this share are forgotten.
const FORGOTTEN: f64 = 1e-4;

/// What the sieve resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesStatistic {
    /// The mean.
    Mean,
    /// The autocorrelation at a lag.
    Autocorrelation(usize),
}

/// An autoregression with its order by the corrected information criterion of Akaike.
#[derive(Debug, Clone, PartialEq)]
struct Fit {
    /// Coefficients.
    phi: Vec<f64>,
    /// Partial autocorrelations.
    partial: Vec<f64>,
    /// The variance of the innovations.
    variance: f64,
}

/// The autocovariances of a centred series at lags 0 to `most`.
fn autocovariances(x: &[f64], most: usize, out: &mut Vec<f64>) {
    out.clear();
    for k in 0..=most.min(x.len() - 1) {
        out.push(dot(&x[k..], &x[..x.len() - k]) / x.len() as f64);
        if x.len() > PAUSE_EVERY {
            pause();
        }
    }
}

impl Fit {
    /// By Levinson's recursion from autocovariances of `n` observations; an order that is given is
    /// taken.
    fn new(r: &[f64], n: usize, order: Option<usize>) -> Self {
        let mut phi: Vec<f64> = Vec::new();
        let mut partial = Vec::new();
        let mut variance = r[0];
        let mut best = Self { phi: Vec::new(), partial: Vec::new(), variance };
        let n = n as f64;
        let criterion = |variance: f64, p: usize| {
            let p = p as f64;
            n * fermiac_base::simd::ln(variance) + 2.0 * (p + 1.0) * n / (n - p - 2.0)
        };
        let mut least = criterion(variance, 0);
        let most = order.unwrap_or(r.len() - 1);
        for p in 1..=most {
            if variance <= 1e-14 * r[0] {
                break;
            }
            let sum: f64 = phi.iter().zip(r[1..p].iter().rev()).map(|(f, r)| f * r).sum();
            let k = (r[p] - sum) / variance;
            let before = phi.clone();
            phi.iter_mut().zip(before.iter().rev()).for_each(|(f, b)| *f -= k * b);
            phi.push(k);
            partial.push(k);
            variance *= 1.0 - k * k;
            let found = criterion(variance, p);
            if found < least || order.is_some() {
                least = found;
                best = Self { phi: phi.clone(), partial: partial.clone(), variance };
            }
        }
        best
    }

    /// The long-run variance, n times the variance of the mean.
    fn long_run(&self) -> f64 {
        let gain = 1.0 - self.phi.iter().sum::<f64>();
        self.variance / (gain * gain)
    }
}

/// The coefficients of partial autocorrelations, and the autocorrelations up to their number.
fn coefficients(partial: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut phi, mut rho, mut left): (Vec<f64>, Vec<f64>, f64) = (Vec::new(), vec![1.0], 1.0);
    for k in partial {
        let sum: f64 = phi.iter().zip(rho[1..].iter().rev()).map(|(f, r)| f * r).sum();
        rho.push(sum + k * left);
        left *= 1.0 - k * k;
        let before = phi.clone();
        phi.iter_mut().zip(before.iter().rev()).for_each(|(f, b)| *f -= k * b);
        phi.push(*k);
    }
    (phi, rho)
}

/// Autocorrelations at lags up to where they are forgotten, at least `least` of them and at most
/// `most`.
fn autocorrelations(fit: (&[f64], Vec<f64>), least: usize, most: usize) -> Vec<f64> {
    let (phi, mut rho) = fit;
    let (p, mut small) = (phi.len().max(1), 0);
    while rho.len() <= least || (rho.len() <= most && small < p) {
        let next = phi.iter().zip(rho.iter().rev()).map(|(f, r)| f * r).sum::<f64>();
        small = if next.abs() < FORGOTTEN { small + 1 } else { 0 };
        rho.push(next);
    }
    rho
}

/// The standard error of an autocorrelation of `n` observations by Bartlett's formula.
fn bartlett(partial: &[f64], lag: usize, n: usize) -> f64 {
    let (phi, known) = coefficients(partial);
    let rho = autocorrelations((&phi, known), 2 * lag, n);
    let at = |k: usize| rho.get(k).copied().unwrap_or(0.0);
    let sum: f64 = (1..rho.len() + lag)
        .map(|v| (at(v + lag) + at(v.abs_diff(lag)) - 2.0 * at(lag) * at(v)).powi(2))
        .sum();
    (sum / n as f64).sqrt()
}

/// A series with its autoregression.
#[derive(Debug, Clone)]
pub struct Sieve {
    statistic: SeriesStatistic,
    n: usize,
    most: usize,
    mean: f64,
    phi: Vec<f64>,
    innovations: Vec<f64>,
    /// The order that was chosen.
    pub order: usize,
    /// The statistic of the series, and its standard error by the fit.
    pub estimate: f64,
    #[allow(missing_docs, reason = "the line above says it")]
    pub stderr: f64,
    /// The statistic of the law that series are drawn from.
    pub centre: f64,
    /// The number of independent observations whose mean has the same variance.
    pub effective: f64,
}

/// The buffers of replicates.
#[derive(Debug, Default)]
struct Room {
    series: Vec<f64>,
    covariances: Vec<f64>,
    words: Vec<u64>,
}

impl Sieve {
    /// Fits `x`; at most `most` coefficients, fewer than half as many as observations.
    pub fn new(x: &[f64], statistic: SeriesStatistic, most: usize, key: u64) -> Result<Self> {
        let n = x.len();
        if let SeriesStatistic::Autocorrelation(lag) = statistic
            && (lag == 0 || lag >= n)
        {
            return Err(Error::Internal("a lag beyond the series".into()));
        }
        if n < 4 || 2 * most >= n {
            return Err(Error::Internal("a series that is too short for its orders".into()));
        }
        let mean = super::statistic::mean(x);
        let mut centred = vec_of("x", 0.0, n)?;
        centred.iter_mut().zip(x).for_each(|(c, x)| *c = x - mean);
        let lag = if let SeriesStatistic::Autocorrelation(lag) = statistic { lag } else { 0 };
        let mut r = Vec::new();
        autocovariances(&centred, most.max(lag), &mut r);
        let fit = Fit::new(&r[..=most], n, None);
        let (estimate, stderr) = match statistic {
            SeriesStatistic::Mean => (mean, (fit.long_run() / n as f64).sqrt()),
            SeriesStatistic::Autocorrelation(lag) => {
                (r[lag] / r[0], bartlett(&fit.partial, lag, n))
            }
        };
        let order = fit.phi.len();
        let mut sieve = Self {
            statistic,
            n,
            most: most.min((2 * order).max(order + 8)),
            mean,
            innovations: innovations(&centred, &fit.phi),
            phi: fit.phi.clone(),
            order,
            estimate,
            stderr,
            centre: estimate,
            effective: n as f64 * r[0] / fit.long_run(),
        };
        let partial = sieve.corrected(&fit.partial, key)?;
        let (phi, rho) = coefficients(&partial);
        sieve.innovations = innovations(&centred, &phi);
        if lag > 0 {
            sieve.centre = autocorrelations((&phi, rho), lag, lag)[lag];
        }
        sieve.phi = phi;
        Ok(sieve)
    }

    /// Partial autocorrelations less the bias that they have in series of the fit.
    fn corrected(&self, partial: &[f64], key: u64) -> Result<Vec<f64>> {
        let p = partial.len();
        let mut sums = vec![0.0; p];
        let mut room = Room::default();
        for i in 0..if p == 0 { 0 } else { PILOT } {
            let mut stream = Stream::new(key, Domain::Bootstrap, i, PILOT_BLOCK);
            self.series(&mut stream, &mut room)?;
            centre(&mut room.series);
            autocovariances(&room.series, p, &mut room.covariances);
            let fit = Fit::new(&room.covariances, self.n, Some(p));
            sums.iter_mut().zip(&fit.partial).for_each(|(s, k)| *s += k);
            pause();
        }
        let one = |(k, sum): (&f64, &f64)| {
            if k.abs() > LARGEST {
                *k
            } else {
                (2.0 * k - sum / PILOT as f64).clamp(-LARGEST, LARGEST)
            }
        };
        Ok(partial.iter().zip(&sums).map(one).collect())
    }

    /// Draws a series without its mean.
    fn series(&self, stream: &mut Stream, room: &mut Room) -> Result<()> {
        let p = self.phi.len();
        let warm = self.warm();
        let total = self.n + warm;
        if room.series.len() != total {
            room.series = vec_of("x", 0.0, total)?;
        }
        let pool = self.innovations.len();
        let (mut at, mut left) = (0_usize, total);
        while left > 0 {
            let now = left.min(2048);
            room.words.resize(now, 0);
            stream.fill_u64(&mut room.words);
            for word in &room.words {
                let pick = ((u128::from(*word) * pool as u128) >> 64) as usize;
                let past = &room.series[at.saturating_sub(p)..at];
                let sum: f64 = past.iter().rev().zip(&self.phi).map(|(x, f)| x * f).sum();
                room.series[at] = self.innovations[pick] + sum;
                at += 1;
            }
            left -= now;
            pause();
        }
        room.series.drain(..warm);
        Ok(())
    }

    /// Steps after which a start at the mean is forgotten.
    fn warm(&self) -> usize {
        if self.phi.is_empty() {
            return 0;
        }
        autocorrelations((&self.phi, vec![1.0]), 0, 10 * self.n).len()
    }

    /// The statistic of a new series, and its standard error.
    fn replicate(&self, stream: &mut Stream, room: &mut Room) -> Result<(f64, f64)> {
        self.series(stream, room)?;
        let mean = centre(&mut room.series);
        let lag = if let SeriesStatistic::Autocorrelation(lag) = self.statistic { lag } else { 0 };
        autocovariances(&room.series, self.most.max(lag), &mut room.covariances);
        let r = &room.covariances;
        let fit = Fit::new(&r[..=self.most], self.n, None);
        Ok(match self.statistic {
            SeriesStatistic::Mean => (self.mean + mean, (fit.long_run() / self.n as f64).sqrt()),
            SeriesStatistic::Autocorrelation(lag) => {
                (r[lag] / r[0], bartlett(&fit.partial, lag, self.n))
            }
        })
    }

    /// Replicates `first` to `first + n - 1` with their standard errors.
    #[allow(clippy::result_large_err, reason = "the partial result is boxed")]
    pub fn replicates(&self, first: u64, n: usize, key: u64, context: &Context<'_>) -> Outcome {
        let size = self.n * (1 + self.most / 8);
        rows(n, 1, size, context, |range, part| {
            let mut room = Room::default();
            for i in range {
                let (value, error) =
                    self.replicate(&mut stream(key, first + i as u64), &mut room)?;
                part.values.push(value);
                part.stderrs.push(error);
            }
            Ok(())
        })
    }

    /// Series `first` to `first + n - 1`, one after the other, with the mean of the data.
    #[allow(clippy::result_large_err, reason = "the partial result is boxed")]
    pub fn samples(&self, first: u64, n: usize, key: u64, context: &Context<'_>) -> Outcome {
        rows(n, self.n, 1, context, |range, part| {
            let mut room = Room::default();
            for i in range {
                self.series(&mut stream(key, first + i as u64), &mut room)?;
                part.values.extend(room.series.iter().map(|x| self.mean + x));
            }
            Ok(())
        })
    }
}

/// Takes away the mean, and returns it.
fn centre(x: &mut [f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter_mut().for_each(|v| *v -= mean);
    mean
}

/// The residuals of an autoregression, less their mean.
fn innovations(x: &[f64], phi: &[f64]) -> Vec<f64> {
    let p = phi.len();
    let mut found: Vec<f64> = (p..x.len())
        .map(|t| x[t] - x[t - p..t].iter().rev().zip(phi).map(|(x, f)| x * f).sum::<f64>())
        .collect();
    centre(&mut found);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn series(phi: f64, n: usize, key: u64) -> Vec<f64> {
        let mut stream = Stream::new(key, Domain::User, 0, 0);
        let mut last = 0.0;
        let mut out: Vec<f64> = (0..n + 200)
            .map(|_| {
                last = phi * last + stream.normal();
                last
            })
            .collect();
        out.drain(..200);
        out
    }

    #[test]
    fn coefficients_and_partial_autocorrelations_are_of_one_law() {
        let r = [1.0, 0.5, 0.4, 0.1];
        let fit = Fit::new(&r, 1000, Some(3));
        let (phi, rho) = coefficients(&fit.partial);
        for (a, b) in phi.iter().zip(&fit.phi).chain(rho.iter().zip(&r)) {
            assert!((a - b).abs() < 1e-14);
        }
    }

    #[test]
    fn bartlett_of_a_first_order_series() {
        // (1 - φ²) / n at lag 1.
        let se = bartlett(&[0.6], 1, 400);
        assert!((se - (0.64_f64 / 400.0).sqrt()).abs() < 1e-6, "{se}");
        assert!((bartlett(&[], 2, 400) - 0.05).abs() < 1e-15);
    }

    #[test]
    fn the_order_and_the_long_run_variance_are_found() {
        let x = series(0.5, 20_000, 3);
        let sieve = Sieve::new(&x, SeriesStatistic::Mean, 20, 1).unwrap();
        assert!(sieve.order >= 1);
        // The standard deviation of x is (4 / 3)^½, its long-run variance 4.
        assert!((sieve.stderr / (4.0_f64 / 20_000.0).sqrt() - 1.0).abs() < 0.1);
        assert!((sieve.effective / (20_000.0 / 3.0) - 1.0).abs() < 0.2);
    }

    #[test]
    fn replicates_have_the_spread_of_the_series() {
        let x = series(0.5, 400, 5);
        let sieve = Sieve::new(&x, SeriesStatistic::Mean, 10, 1).unwrap();
        let r = sieve.replicates(0, 2000, 1, &Context::serial()).map_err(|e| e.0).unwrap();
        let mean = r.values.iter().sum::<f64>() / 2000.0;
        let sd = (r.values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1999.0).sqrt();
        assert!((sd / sieve.stderr - 1.0).abs() < 0.25, "{sd} {}", sieve.stderr);
        assert!((mean - sieve.estimate).abs() < 5.0 * sd / 2000.0_f64.sqrt());
    }
}
