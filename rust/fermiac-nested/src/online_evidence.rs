//! The evidence of a run under way, updated at every death.

use fermiac_base::Result;
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::store::Codec;

/// The evidence of the dead points so far, by the trapezoid rule.
///
/// The mass inside the last level is not included; see [`remaining`](Self::remaining).
#[derive(Debug, Clone, PartialEq)]
pub struct OnlineEvidence {
    log_x: f64,
    log_evidence: f64,
    information: f64,
    variance: f64,
    /// The level of the last death.
    level: Option<f64>,
}

impl Default for OnlineEvidence {
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

impl OnlineEvidence {
    /// The state before the first death.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state before the first death of a run that starts above a level, with the logarithms of the
    /// prior mass above it and of the evidence below it.
    pub fn above(log_x: f64, log_evidence: f64) -> Self {
        Self { log_x, log_evidence, ..Self::default() }
    }

    /// Adds a death at the level `ell`, not below the one before it, out of `n_alive` points.
    pub fn add_death(&mut self, ell: f64, n_alive: u64) {
        let step = 1.0 / n_alive as f64;
        let below = self.level.unwrap_or(ell);
        self.level = Some(ell);
        if ell > f64::NEG_INFINITY {
            // Half of the shell has the likelihood of its lower level, half that of its upper one.
            let height = ell + ln(0.5 + 0.5 * exp(below - ell));
            self.gather(height, self.log_x + ln(-expm1(-step)) + height, step);
        }
        self.log_x -= step;
    }

    /// Adds a shell with the log of its mean likelihood, `height`, and the log of its integral.
    fn gather(&mut self, height: f64, log_shell: f64, step: f64) {
        let before = self.log_evidence;
        let (larger, smaller) = (before.max(log_shell), before.min(log_shell));
        let after = larger + ln1p(exp(smaller - larger));
        // The mean log-likelihood is a weighted mean of old and new. It is taken relative to the new
        // log Z, which avoids cancellation of large values.
        let mut information = exp(log_shell - after) * (height - after);
        if before > f64::NEG_INFINITY {
            information += exp(before - after) * (self.information + (before - after));
        }
        self.variance = (self.variance + (information - self.information) * step).max(0.0);
        (self.log_evidence, self.information) = (after, information);
    }

    /// The logarithm of the prior mass left.
    pub fn log_x(&self) -> f64 {
        self.log_x
    }

    /// The log-evidence so far; -inf before the first likelihood above 0.
    pub fn log_evidence(&self) -> f64 {
        self.log_evidence
    }

    /// The information so far, relative to the prior, in nats.
    pub fn information(&self) -> f64 {
        self.information.max(0.0)
    }

    /// A rough standard error of the log-evidence: the square root of the sum of the gains of
    /// information, each divided by the number of live points.
    pub fn stderr(&self) -> f64 {
        self.variance.sqrt()
    }

    /// The largest possible growth of log Z, log((Z + L X)/Z), where `max_ell` is the largest
    /// log-likelihood of the live points. Accurate for tiny values; +inf while Z is 0.
    pub fn remaining(&self, max_ell: f64) -> f64 {
        if self.log_evidence == f64::NEG_INFINITY {
            return f64::INFINITY;
        }
        let excess = max_ell + self.log_x - self.log_evidence;
        // This form overflows at neither end.
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
        let known = !(self.log_evidence.is_nan() || level.is_nan());
        codec.require(self.log_x <= 0.0 && known)
    }
}
