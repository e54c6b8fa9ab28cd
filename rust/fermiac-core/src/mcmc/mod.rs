//! Markov chain Monte Carlo: the kernels that only this domain uses.

mod elliptical;
mod ensemble;
mod langevin;
mod place;
mod random_walk;
mod slice;

pub use elliptical::EllipticalSlice;
pub use ensemble::{Ensemble, Move};
pub use langevin::{Drift, Langevin, LangevinOptions};
pub use random_walk::RandomWalk;
pub use slice::{Direction, Slice};
