//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod hmc;
mod langevin;
mod leapfrog;
mod nuts;
mod place;
mod random_walk;

pub use hmc::{Hmc, HmcOptions, Length};
pub use langevin::{Drift, Langevin, LangevinOptions};
pub use nuts::Nuts;
pub use random_walk::RandomWalk;
