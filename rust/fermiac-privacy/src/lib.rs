//! Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests.

mod bootstrap;
mod gaussian;
mod intervals;
pub mod one_run;
pub mod posterior;
mod rates;
mod roc;
pub mod watermark;

pub use bootstrap::{Bootstrap, bootstrap};
pub use gaussian::{Gaussian, gdp_delta, gdp_epsilon, gdp_mu};
pub use intervals::{Counts, Method, Sides, intervals};
pub use rates::{Direction, Rate, advantage_bound, delta_of, epsilon_of};
pub use roc::{Curve, Statistic, split};
