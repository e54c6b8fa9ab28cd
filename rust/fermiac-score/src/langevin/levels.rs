//! Draws of levels, given points.

use super::block::{Block, Oracles, Ports};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{exp, exp_slice, ln};
use fermiac_base::special::normal_quantile;
use fermiac_base::{Error, Result};
use fermiac_target::RowStatus;

/// The law of the level given a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predictor {
    /// The model's log-densities at all levels.
    Exact {
        /// The most likely level, not a draw.
        argmax: bool,
    },
    /// A function that gives the logarithm of each level's probability, up to a constant.
    Logits {
        /// The most likely level, not a draw.
        argmax: bool,
    },
    /// A function that gives the mean and the deviation of log s.
    Regression {
        /// The nearest level of the table.
        nearest: bool,
    },
    /// The distance to the denoised point.
    Estimate {
        /// The nearest level of the table.
        nearest: bool,
    },
}

/// Noise levels, from the highest to the lowest, and their prior probabilities.
#[derive(Debug, Clone)]
pub struct Levels {
    sigma: Vec<f64>,
    log_prior: Vec<f64>,
    /// log s half-way between neighbours.
    between: Vec<f64>,
}

impl Levels {
    /// Levels and the logarithms of their probabilities, up to a constant.
    pub fn new(sigma: Vec<f64>, log_prior: Vec<f64>) -> Result<Self> {
        let falls = sigma.windows(2).all(|pair| pair[0] > pair[1]);
        if sigma.is_empty() || !falls || !sigma.iter().all(|s| *s > 0.0 && s.is_finite()) {
            return Err(Error::argument(
                "levels",
                "positive, finite numbers, each below the one before, are needed",
            ));
        }
        if log_prior.len() != sigma.len()
            || log_prior.iter().any(|p| p.is_nan() || *p == f64::INFINITY)
        {
            return Err(Error::argument("log_prior", "one number for each level is needed"));
        }
        let between = sigma.windows(2).map(|pair| 0.5 * (ln(pair[0]) + ln(pair[1]))).collect();
        Ok(Self { sigma, log_prior, between })
    }

    /// The levels.
    pub fn sigma(&self) -> &[f64] {
        &self.sigma
    }

    /// The lowest and the highest.
    pub(super) fn range(&self) -> (f64, f64) {
        (self.sigma[self.sigma.len() - 1], self.sigma[0])
    }

    /// The number of the level nearest in log s, the first of equals.
    pub(super) fn nearest(&self, s: f64) -> usize {
        let log = ln(s);
        self.between.partition_point(|b| *b > log)
    }

    /// A level within the range, or the nearest level of the table.
    fn within(&self, s: f64, nearest: bool) -> f64 {
        let (low, high) = self.range();
        let s = s.clamp(low, high);
        if nearest { self.sigma[self.nearest(s)] } else { s }
    }

    /// A level drawn by the logarithms of the probabilities; None if they are invalid.
    fn drawn(&self, logs: &mut [f64], argmax: bool, u: f64) -> Option<f64> {
        let mut most = f64::NEG_INFINITY;
        for (l, p) in logs.iter_mut().zip(&self.log_prior) {
            *l += p;
            if l.is_nan() {
                return None;
            }
            most = most.max(*l);
        }
        if !most.is_finite() {
            return None;
        }
        if argmax {
            return logs.iter().position(|l| *l == most).map(|k| self.sigma[k]);
        }
        logs.iter_mut().for_each(|l| *l -= most);
        exp_slice(logs);
        let mut total = 0.0;
        for l in &mut *logs {
            total += *l;
            *l = total;
        }
        let k = logs.iter().position(|sum| *sum > u * total);
        k.map(|k| self.sigma[k])
    }
}

impl Block<'_> {
    /// Draws the levels of all rows with the uniform numbers `self.uniform[2 i + 1]`. `current` means
    /// that `self.d` are the denoised points at the present points and levels.
    pub(super) fn draw_levels(&mut self, ports: &mut Ports<'_>, current: bool) -> Result<()> {
        let (n, oracles) = (self.chains.sigma.len(), ports.oracles);
        let levels = &self.settings.levels;
        match self.settings.predictor {
            Predictor::Exact { argmax } => {
                self.table.resize(n * levels.sigma().len(), 0.0);
                let x = Rows::new(&self.chains.x, self.dim);
                oracles.model.level_log_densities(x, levels.sigma(), &mut self.table)?;
                self.draw_from_table(argmax)?;
            }
            Predictor::Logits { argmax } => {
                self.predict(&oracles, levels.sigma().len())?;
                self.draw_from_table(argmax)?;
            }
            Predictor::Regression { nearest } => {
                self.predict(&oracles, 2)?;
                for i in 0..n {
                    let (mean, deviation) = (self.table[2 * i], self.table[2 * i + 1]);
                    // NaN is refused too.
                    if !(mean.is_finite() && deviation >= 0.0 && deviation.is_finite()) {
                        return Err(self.refused(i, &format!("mean {mean}, deviation {deviation}")));
                    }
                    let z = normal_quantile(self.uniform[2 * i + 1]);
                    self.chains.sigma[i] = levels.within(exp(mean + deviation * z), nearest);
                }
            }
            Predictor::Estimate { nearest } => {
                if !current {
                    self.denoise(oracles.model)?;
                }
                for i in 0..n {
                    let row = i * self.dim..(i + 1) * self.dim;
                    let pairs = self.chains.x[row.clone()].iter().zip(&self.d[row]);
                    let square: f64 = pairs.map(|(x, d)| (x - d) * (x - d)).sum();
                    self.chains.sigma[i] =
                        levels.within((square / self.dim as f64).sqrt(), nearest);
                }
            }
        }
        ports.poll()
    }

    /// Writes the outputs of the function for all points to the table.
    fn predict(&mut self, oracles: &Oracles<'_>, outputs: usize) -> Result<()> {
        let function = oracles
            .predict
            .ok_or_else(|| Error::Internal("a predictor of levels without a function".into()))?;
        let n = self.chains.sigma.len();
        let mut status = vec![RowStatus::Good; n];
        function.eval(Rows::new(&self.chains.x, self.dim), &mut self.table, &mut status)?;
        if self.table.len() == n * outputs {
            return Ok(());
        }
        Err(Error::target(format!(
            "noise_predictor: it gave {} numbers for each of {n} points; {outputs} are needed",
            self.table.len() / n.max(1)
        )))
    }

    fn draw_from_table(&mut self, argmax: bool) -> Result<()> {
        let levels = &self.settings.levels;
        let rows = self.table.chunks_exact_mut(levels.sigma().len());
        for (i, row) in rows.enumerate() {
            match levels.drawn(row, argmax, self.uniform[2 * i + 1]) {
                Some(s) => self.chains.sigma[i] = s,
                None => return Err(self.refused(i, "log-probabilities that are no law")),
            }
        }
        Ok(())
    }

    fn refused(&self, row: usize, gave: &str) -> Error {
        let chain = self.first + row;
        Error::Target {
            row: Some(chain),
            why: format!(
                "chain {chain}: the law of the level that was given has {gave}; finite \
                 log-probabilities, or a finite mean and deviation of log s, are needed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_are_drawn_by_their_probabilities() {
        let levels = Levels::new(vec![4.0, 2.0, 1.0], vec![0.0, 2.0_f64.ln(), 0.0]).unwrap();
        let at = |u| levels.drawn(&mut [-700.0; 3], false, u).unwrap();
        for (u, s) in [(0.001, 4.0), (0.249, 4.0), (0.251, 2.0), (0.749, 2.0), (0.751, 1.0)] {
            assert!((at(u) - s).abs() < 1e-15, "{u}");
        }
        assert_eq!(levels.drawn(&mut [0.0, -1.0, 1.5], true, 0.5), Some(1.0));
        assert_eq!(levels.drawn(&mut [f64::NAN, 0.0, 0.0], false, 0.5), None);
        assert_eq!(levels.drawn(&mut [f64::NEG_INFINITY; 3], false, 0.5), None);
        assert_eq!(levels.drawn(&mut [f64::NEG_INFINITY, 0.0, 0.0], false, 1e-16), Some(2.0));
    }

    #[test]
    fn the_nearest_level_is_that_in_log_s() {
        let levels = Levels::new(vec![4.0, 1.0, 0.25], vec![0.0; 3]).unwrap();
        for (s, k) in [(9.0, 0), (2.01, 0), (2.0, 0), (1.99, 1), (0.51, 1), (0.49, 2), (0.0, 2)] {
            assert_eq!(levels.nearest(s), k, "{s}");
        }
        assert!(Levels::new(vec![1.0, 1.0], vec![0.0; 2]).is_err());
        assert!(Levels::new(vec![1.0], vec![0.0; 2]).is_err());
    }
}
