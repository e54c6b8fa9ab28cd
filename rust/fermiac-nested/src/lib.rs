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
//! Points die in the order of their likelihoods while new ones, drawn from the prior above the
//! level of the dead, take their places; what prior mass is left after each death is known up to a
//! law that does not depend on the problem. [`run`] is the run; [`bound`] and [`chains`] find the
//! new points. All that is said of the dead points — masses, evidence, errors — is a function of
//! their likelihoods and of the levels at which they were born.

mod bootstrap;
pub mod bound;
pub mod chains;
pub mod importance;
pub mod points;
pub mod problem;
mod ranks;
mod replicates;
pub mod run;
mod running;
mod sample;
mod simulate;
pub mod surrogate;
#[cfg(test)]
mod tests;
mod volume;

pub use bootstrap::{bootstrap, bootstrap_for};
pub use ranks::Ranks;
pub use replicates::Simulated;
pub use running::Running;
pub use sample::{NestedSample, sample};
pub use simulate::simulate;
pub use volume::{Volumes, n_alive, volumes};
