//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod barker;
mod isokinetic;
mod langevin;
mod microcanonical;
mod place;
mod random_walk;
mod recent;
mod underdamped;

pub use langevin::{Drift, Langevin, LangevinOptions};
pub use microcanonical::{Microcanonical, MicrocanonicalOptions};
pub use random_walk::RandomWalk;
pub use underdamped::{Letter, Underdamped, UnderdampedOptions};
