//! The settings of a run with learnt densities.

use fermiac_base::{Error, Result};

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The number of points of a round.
    pub n_round: usize,
    /// The effective number of points that the estimate is to have.
    pub n_effective: usize,
    /// The run ends after this number of evaluations.
    pub max_evals: u64,
    /// The largest number of rounds of prior draws to find points with a likelihood above 0.
    pub max_init_blocks: u64,
    /// The key of the streams.
    pub key: u64,
}

impl Settings {
    /// Checks the settings for a dimension.
    pub fn check(&self, dim: usize) -> Result<()> {
        let least = 8 * dim + 40;
        if self.n_round < least {
            let why = format!(
                "{} was given; {least} or more points a round are needed in {dim} dimensions to fit \
                 a density: 8 d + 40",
                self.n_round
            );
            return Err(Error::argument("n_live", why));
        }
        Ok(())
    }
}
