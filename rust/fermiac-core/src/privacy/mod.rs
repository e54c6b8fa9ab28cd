//! Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests.

mod gaussian;

pub use gaussian::{Gaussian, gdp_delta, gdp_epsilon, gdp_mu};
