//! Moves of points at their levels, and their Metropolis correction.

use super::block::{Block, Ports};
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::ln;

/// The move of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A Langevin step of one size for all levels.
    Langevin {
        /// Its size, a variance.
        eta: f64,
    },
    /// A Langevin step whose size is a share of the variance of the noise.
    Scaled {
        /// The share.
        c: f64,
    },
    /// A step of the Ornstein-Uhlenbeck process about the denoised point.
    Ou {
        /// The share of the noise that is new.
        c: f64,
    },
}

impl Step {
    /// The share of a move towards the denoised point, and the deviation of its noise.
    pub(super) fn rates(self, s: f64) -> (f64, f64) {
        match self {
            Self::Langevin { eta } => (eta / (2.0 * s * s), eta.sqrt()),
            Self::Scaled { c } => (0.5 * c, s * c.sqrt()),
            Self::Ou { c } => (c / (1.0 + (1.0 - c).sqrt()), s * c.sqrt()),
        }
    }
}

/// The correction of moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// None: every move is accepted.
    None,
    /// Acceptance by the log-densities of the model.
    Exact,
    /// Acceptance by the trapezoid rule for the score along the move, exact for a linear score.
    Score,
}

impl Block<'_> {
    /// Moves all points once, given the denoised points `self.d`. After a correction these are the
    /// denoised points at the new points.
    pub(super) fn move_points(&mut self, ports: &mut Ports<'_>, step: Step) -> Result<()> {
        let (dim, model) = (self.dim, ports.oracles.model);
        for i in 0..self.chains.sigma.len() {
            let (a, tau) = step.rates(self.chains.sigma[i]);
            for j in i * dim..(i + 1) * dim {
                let x = self.chains.x[j];
                self.to[j] = x + a * (self.d[j] - x) + tau * self.z[j];
            }
        }
        let correction = self.settings.correction;
        if correction == Correction::None {
            std::mem::swap(&mut self.chains.x, &mut self.to);
            self.moved.fill(true);
            return Ok(());
        }
        model.denoise(Rows::new(&self.to, dim), &self.chains.sigma, &mut self.d_to)?;
        ports.poll()?;
        if correction == Correction::Exact {
            let (from, to) = self.logs.split_at_mut(self.chains.sigma.len());
            model.log_density(Rows::new(&self.chains.x, dim), &self.chains.sigma, from)?;
            model.log_density(Rows::new(&self.to, dim), &self.chains.sigma, to)?;
            ports.poll()?;
        }
        for i in 0..self.chains.sigma.len() {
            let ratio = self.log_ratio(i, step);
            // A chain also stays if the ratio is NaN.
            self.moved[i] = ln(self.uniform[2 * i]) < ratio;
            if self.moved[i] {
                let row = i * dim..(i + 1) * dim;
                self.chains.x[row.clone()].copy_from_slice(&self.to[row.clone()]);
                self.d[row.clone()].copy_from_slice(&self.d_to[row]);
            }
        }
        Ok(())
    }

    /// The logarithm of the acceptance ratio of the move of row `i`.
    fn log_ratio(&self, i: usize, step: Step) -> f64 {
        let (s, row) = (self.chains.sigma[i], i * self.dim..(i + 1) * self.dim);
        let (a, tau) = step.rates(s);
        let (x, to) = (&self.chains.x[row.clone()], &self.to[row.clone()]);
        let (d, d_to, z) = (&self.d[row.clone()], &self.d_to[row.clone()], &self.z[row]);
        let (mut back, mut forth, mut slope) = (0.0, 0.0, 0.0);
        for j in 0..self.dim {
            let pull = d_to[j] - to[j];
            let miss = x[j] - to[j] - a * pull;
            back += miss * miss;
            forth += z[j] * z[j];
            slope += (to[j] - x[j]) * ((d[j] - x[j]) + pull);
        }
        let n = self.chains.sigma.len();
        let gain = match self.settings.correction {
            Correction::Exact => self.logs[n + i] - self.logs[i],
            Correction::None | Correction::Score => slope / (2.0 * s * s),
        };
        let variance = tau * tau;
        gain + (variance * forth - back) / (2.0 * variance)
    }
}
