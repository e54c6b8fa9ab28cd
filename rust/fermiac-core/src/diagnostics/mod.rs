//! Diagnostics of samples.

mod pareto;

pub use pareto::{khat, tail_length};
