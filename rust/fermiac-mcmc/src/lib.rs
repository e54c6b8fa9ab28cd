//! Markov chain Monte Carlo: kernels, and drivers that run many chains of them.

pub mod drive;
mod elliptical;
mod ensemble;
mod gibbs;
mod hmc;
mod isokinetic;
pub mod kernel;
mod leapfrog;
mod metropolis;
mod microcanonical;
mod nuts;
mod phase_point;
pub mod proposals;
mod recent;
mod slice;
mod tempered;
mod underdamped;

pub use elliptical::EllipticalSlice;
pub use ensemble::{Ensemble, Move};
pub use gibbs::{Block, Discrete, DiscreteOptions, ExactDraw, Gibbs, Scan};
pub use hmc::{Hmc, Length};
pub use metropolis::{Metropolized, Proposal};
pub use microcanonical::{Microcanonical, MicrocanonicalOptions};
pub use nuts::Nuts;
pub use phase_point::PhasePoint;
pub use slice::{Direction, Slice};
pub use tempered::Tempered;
pub use underdamped::{SplittingStep, Underdamped, UnderdampedOptions};
