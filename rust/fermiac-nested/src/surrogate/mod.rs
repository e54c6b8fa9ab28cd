//! A surrogate of an expensive log-likelihood on the unit cube, with a region of trust.
//!
//! The surrogate is a quadratic in whitened coordinates plus an ensemble of multilayer perceptrons
//! for its residuals. [`Guarded`] evaluates it inside the region of its training points where the
//! ensemble agrees, and the true log-likelihood elsewhere; [`gate`] tests it on held-out points.
//! [`maximize`] and [`search_architecture`] are genetic algorithms: one finds points of high
//! likelihood, the other widths and learning rates of the perceptrons.

mod adam;
mod architecture;
mod gate;
mod guarded;
mod mlp;
mod quadratic;
mod search;
mod train;

pub use architecture::{Architecture, SearchOptions, search_architecture};
pub use gate::{Gate, gate};
pub use guarded::{Guarded, Trust};
pub use search::maximize;
pub use train::{Fitted, TrainOptions, train};

use fermiac_base::rng::{Domain, Stream};

/// The purpose of a stream of the surrogate: the upper part of its index, so that streams share no
/// numbers with each other or with the run.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Purpose {
    /// The choice of validation points.
    Split = 0,
    /// The initial weights of a perceptron and its batches.
    Head = 1,
    /// The generations of architectures.
    Architectures = 2,
    /// The trial of an architecture.
    Trial = 3,
    /// The generations of points.
    Points = 4,
}

/// The stream of number `number` for a purpose.
fn stream(key: u64, purpose: Purpose, number: u64) -> Stream {
    Stream::new(key, Domain::Nested, 1 << 59 | (purpose as u64) << 32 | number, 0)
}

#[cfg(test)]
mod tests;
