//! Diagnostics of samples.

mod pareto;
mod psis;
mod weights;

pub use pareto::{khat, tail_length};
pub use psis::{Smoothed, khat_threshold, log_khat, psis, psis_columns};
pub use weights::normalize;
