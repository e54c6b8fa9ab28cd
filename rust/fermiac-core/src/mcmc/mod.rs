//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod gibbs;
mod langevin;
mod place;
mod random_walk;
mod tempered;

pub use gibbs::{Block, Discrete, DiscreteOptions, ExactDraw, Gibbs, Scan};
pub use langevin::{Drift, Langevin, LangevinOptions};
pub use random_walk::RandomWalk;
pub use tempered::Tempered;
