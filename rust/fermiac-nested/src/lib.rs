//! Nested sampling: the evidence of a likelihood under a prior, and points of its posterior.
//!
//! Points die in the order of their likelihoods and are replaced by new ones, drawn from the prior
//! above the level of the dead. The law of the prior mass left after each death does not depend on
//! the problem. [`run`] is the state machine of a run; [`bound`] and [`chains`] draw new points. The
//! prior masses of dead points, the evidence and its error are functions of their likelihoods and
//! of the levels above which they were born.

mod bootstrap;
pub mod bound;
pub mod chains;
pub mod importance;
mod online_evidence;
pub mod points;
pub mod problem;
mod ranks;
mod replicates;
pub mod run;
mod simulate;
pub mod surrogate;
#[cfg(test)]
mod tests;
mod volume;

pub use bootstrap::{bootstrap, bootstrap_for};
pub use online_evidence::OnlineEvidence;
pub use ranks::Ranks;
pub use replicates::Simulated;
pub use simulate::simulate;
pub use volume::{Volumes, n_alive, volumes};
