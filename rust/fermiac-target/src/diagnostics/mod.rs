//! Diagnostics of samples: convergence of chains, and tails of importance weights.

mod chains;
mod convergence;
mod fourier;
mod indicator;
mod pareto;
mod psis;
mod ranks;
mod weights;

pub use chains::correlation_time;
pub use convergence::{MIN_DRAWS, Statistic, convergence, judgement};
pub use pareto::{khat, tail_length};
pub use psis::{Smoothed, khat_threshold, log_khat, psis, psis_columns};
pub use ranks::sorted_indices;
pub use weights::normalize;
