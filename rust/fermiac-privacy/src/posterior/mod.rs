//! Posteriors of epsilon, delta and mu from the errors of an attack.
//!
//! The rates of false negatives and false positives have independent beta posteriors. How far they
//! are from those of a private mechanism is one number, whose distribution function at a value is
//! the probability of a region of the unit square. Its border is a line, or two that meet on the
//! diagonal, so that the probability is a sum of integrals of one law's density against the other
//! law's distribution function, along the border.
//!
//! # References
//! S. Zanella-Béguelin et al., "Bayesian Estimation of Differential Privacy", ICML 2023.

mod batch;
mod integral;
mod moments;
mod path;
mod quadrature;
mod region;
mod solve;

pub use batch::{Kind, Query, evaluate};
pub use moments::Moments;
pub use region::{Measure, Posterior, Tails};
