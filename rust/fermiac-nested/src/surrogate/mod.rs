//! A surrogate of an expensive log-likelihood on the unit cube, and where it may be trusted.
//!
//! A quadratic in whitened coordinates takes the bulk of the log-likelihood, an ensemble of
//! multilayer perceptrons the rest. [`Guarded`] asks it inside the region of its training points
//! where the ensemble agrees, and the true log-likelihood elsewhere; [`gate`] judges it on points
//! that it has not seen. [`maximize`] and [`search_architecture`] are genetic algorithms: one finds
//! points of high likelihood, the other widths and rates of the perceptrons.

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
pub use search::{MaximizeOptions, Maximum, maximize};
pub use train::{Fitted, TrainOptions, train};

use fermiac_base::rng::{Domain, Stream};

/// What the streams of a surrogate are for: the upper part of their index, so that they share no
/// numbers with each other or with the run.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Purpose {
    /// Which points validate.
    Split = 0,
    /// A head's first weights and its batches.
    Head = 1,
    /// Generations of architectures.
    Architectures = 2,
    /// The trial of an architecture.
    Trial = 3,
    /// Generations of points.
    Points = 4,
}

/// The stream of the `number`-th user of a purpose.
fn stream(key: u64, purpose: Purpose, number: u64) -> Stream {
    Stream::new(key, Domain::Nested, 1 << 59 | (purpose as u64) << 32 | number, 0)
}

#[cfg(test)]
mod tests;
