//! Diagnostics of samples.

mod pareto;
mod weights;

pub use pareto::{khat, tail_length};
pub use weights::normalize;
