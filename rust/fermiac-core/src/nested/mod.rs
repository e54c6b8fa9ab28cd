//! Nested sampling: an evidence and a posterior from points that climb in likelihood.
//!
//! The dead points of a run, in the order of their likelihoods, stand for shells of prior mass that
//! shrink by known factors. All that is said of them — masses, evidence, errors — is a function of
//! the likelihoods and of the levels at which the points were born.

mod bootstrap;
mod ranks;
mod replicates;
mod running;
mod simulate;
#[cfg(test)]
mod tests;
mod volume;

pub use bootstrap::{bootstrap, bootstrap_for};
pub use ranks::Ranks;
pub use replicates::Simulated;
pub use running::Running;
pub use simulate::simulate;
pub use volume::{Volumes, n_alive, volumes};
