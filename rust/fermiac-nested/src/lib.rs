//! Nested sampling: the evidence of a likelihood under a prior, and points of its posterior.
//!
//! ```
//! use std::sync::Arc;
//! use fermiac_nested::{run::Settings, sample};
//! use fermiac_target::density;
//! use fermiac_target::law::{Independent, Marginal};
//!
//! let prior = Arc::new(Independent::new(vec![Marginal::uniform(0.0, 1.0)?; 3])?);
//! let likelihood = density::from_fn(3, |x| x.iter().map(|x| x.ln()).sum());
//! let found = sample(&likelihood, prior, Settings::new(3, 200, 0))?;
//! assert!((found.log_evidence - 0.125_f64.ln()).abs() < 5.0 * found.log_evidence_stderr);
//! # Ok::<(), fermiac_base::Error>(())
//! ```
//!
//! Points die in the order of their likelihoods and are replaced by new ones, drawn from the prior
//! above the level of the dead. The law of the prior mass left after each death does not depend on
//! the problem. [`run`] is the state machine of a run; [`bound`] and [`chains`] draw new points. The
//! prior masses of dead points, the evidence and its error are functions of their likelihoods and
//! of the levels above which they were born.

mod basins;
mod bootstrap;
pub mod bound;
pub mod chains;
pub mod importance;
pub mod learnt;
mod online_evidence;
mod peaks;
pub mod points;
pub mod problem;
mod proposals;
mod ranks;
mod replicates;
pub mod run;
mod sample;
mod simulate;
pub mod surrogate;
#[cfg(test)]
mod tests;
mod volume;

pub use bootstrap::{bootstrap, bootstrap_for};
pub use online_evidence::OnlineEvidence;
pub use ranks::Ranks;
pub use replicates::Simulated;
pub use sample::{NestedSample, sample};
pub use simulate::simulate;
pub use volume::{Volumes, n_alive, volumes};
