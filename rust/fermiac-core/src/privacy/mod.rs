//! Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests.

mod gaussian;
mod one_run;
mod root;

pub use gaussian::{Gaussian, gdp_delta, gdp_epsilon, gdp_mu};
pub use one_run::{Counts, Method};
