//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod barker;
pub mod drive;
mod elliptical;
mod ensemble;
mod gibbs;
mod hmc;
mod isokinetic;
pub mod kernel;
mod langevin;
mod leapfrog;
mod microcanonical;
mod nuts;
mod place;
mod random_walk;
mod recent;
mod slice;
mod tempered;
mod underdamped;

pub use elliptical::EllipticalSlice;
pub use ensemble::{Ensemble, Move};
pub use gibbs::{Block, Discrete, DiscreteOptions, ExactDraw, Gibbs, Scan};
pub use hmc::{Hmc, HmcOptions, Length};
pub use langevin::{Drift, Langevin, LangevinOptions};
pub use microcanonical::{Microcanonical, MicrocanonicalOptions};
pub use nuts::Nuts;
pub use random_walk::RandomWalk;
pub use slice::{Direction, Slice};
pub use tempered::Tempered;
pub use underdamped::{Letter, Underdamped, UnderdampedOptions};
