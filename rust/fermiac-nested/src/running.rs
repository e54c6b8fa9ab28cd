//! The evidence of a run that goes on: one cheap step a death.

use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::store::Codec;

/// The evidence that the deaths so far have gathered, shell by shell of the trapezoid rule.
///
/// What is left inside the last level is not in it: see [`remaining`](Self::remaining).
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    log_x: f64,
    log_evidence: f64,
    information: f64,
    variance: f64,
    /// The level of the last death.
    level: Option<f64>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            log_x: 0.0,
            log_evidence: f64::NEG_INFINITY,
            information: 0.0,
            variance: 0.0,
            level: None,
        }
    }
}

impl Running {
    /// Before the first death.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the first death of a run that begins above a level: the logarithms of the prior mass
    /// above it, and of the evidence below it.
    pub fn above(log_x: f64, log_evidence: f64) -> Self {
        Self { log_x, log_evidence, ..Self::default() }
    }

    /// Takes in a death at the level `ell`, not below the one before it, out of `n_alive` points.
    pub fn kill(&mut self, ell: f64, n_alive: u64) {
        let step = 1.0 / n_alive as f64;
        let below = self.level.unwrap_or(ell);
        self.level = Some(ell);
        if ell > f64::NEG_INFINITY {
            // Half of the shell has the likelihood of its lower rim, half that of its upper one.
            let height = ell + ln(0.5 + 0.5 * exp(below - ell));
            self.gather(height, self.log_x + ln(-expm1(-step)) + height, step);
        }
        self.log_x -= step;
    }

    /// Adds a shell of the mean height and the logarithm of its integral.
    fn gather(&mut self, height: f64, log_shell: f64, step: f64) {
        let before = self.log_evidence;
        let (larger, smaller) = (before.max(log_shell), before.min(log_shell));
        let after = larger + ln1p(exp(smaller - larger));
        // The mean log-likelihood changes by the parts of old and new; taken from the new log Z,
        // so that a large one does not cancel.
        let mut information = exp(log_shell - after) * (height - after);
        if before > f64::NEG_INFINITY {
            information += exp(before - after) * (self.information + (before - after));
        }
        self.variance = (self.variance + (information - self.information) * step).max(0.0);
        (self.log_evidence, self.information) = (after, information);
    }

    /// The logarithm of the prior mass that is left.
    pub fn log_x(&self) -> f64 {
        self.log_x
    }

    /// The logarithm of the evidence gathered; -inf before the first likelihood.
    pub fn log_evidence(&self) -> f64 {
        self.log_evidence
    }

    /// The information of what was gathered, relative to the prior, in nats.
    pub fn information(&self) -> f64 {
        self.information.max(0.0)
    }

    /// A rough standard error of the log-evidence: the square root of the information gained, each
    /// gain divided by the live points that it was made with.
    pub fn stderr(&self) -> f64 {
        self.variance.sqrt()
    }

    /// By how much log Z can still grow: log((Z + L X)/Z) where `max_ell` is the log-likelihood of
    /// the best point alive. Accurate where it is tiny; +inf as long as nothing is gathered.
    pub fn remaining(&self, max_ell: f64) -> f64 {
        if self.log_evidence == f64::NEG_INFINITY {
            return f64::INFINITY;
        }
        let excess = max_ell + self.log_x - self.log_evidence;
        // Without overflow at either end.
        excess.max(0.0) + ln1p(exp(-excess.abs()))
    }

    /// Writes or reads the state.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.log_x)?;
        codec.number(&mut self.log_evidence)?;
        codec.number(&mut self.information)?;
        codec.number(&mut self.variance)?;
        let mut started = self.level.is_some();
        codec.flag(&mut started)?;
        let mut level = self.level.unwrap_or(0.0);
        codec.number(&mut level)?;
        self.level = started.then_some(level);
        Ok(())
    }
}
