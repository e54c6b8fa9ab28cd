//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod barker;
mod langevin;
mod place;
mod random_walk;
mod underdamped;

pub use langevin::{Drift, Langevin, LangevinOptions};
pub use random_walk::RandomWalk;
pub use underdamped::{Letter, Underdamped, UnderdampedOptions};
