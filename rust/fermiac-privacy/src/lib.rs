//! Differential privacy: posteriors of epsilon, audits and watermark tests.
//!
//! ```
//! use fermiac_privacy::posterior::Posterior;
//!
//! // An attack that is right on 60 % of 1000 members and of 1000 others.
//! let epsilon = Posterior::epsilon(600.0, 400.0, 400.0, 600.0, 0.0)?;
//! let (low, high) = (epsilon.quantile(0.05), epsilon.quantile(0.95));
//! assert!(low < 1.5_f64.ln() && 1.5_f64.ln() < high);
//! # Ok::<(), fermiac_base::Error>(())
//! ```

mod bootstrap;
mod gaussian;
mod intervals;
pub mod one_run;
pub mod posterior;
pub mod ranks;
mod rates;
mod roc;
pub mod watermark;

pub use bootstrap::{Bootstrap, bootstrap};
pub use gaussian::{Gaussian, gdp_delta, gdp_epsilon, gdp_mu};
pub use intervals::{Counts, Method, Sides, intervals};
pub use rates::{Direction, Rate, advantage_bound, delta_of, epsilon_of};
pub use roc::{Curve, Statistic};
