//! Quasi-random points: Sobol' points with the direction numbers of Joe and Kuo, scrambled or not.
//!
//! A [`Net`] is a function of (dimension, key, replicate, scramble), and its points are functions of
//! their index. So a chunk of points of a replicate is an address, as a stream is.

mod directions;
mod net;
mod scramble;
#[cfg(test)]
mod tests;

pub use directions::DIMENSIONS;
pub use net::{MAX_POINTS, Net};
pub use scramble::Scramble;
