//! Densities fitted to the posterior points of a run, from which independent points are drawn for an
//! importance estimate of the evidence.
//!
//! A density is a mixture of multivariate Student's t laws, fitted by expectation and maximisation,
//! of normal copulas with the margins of each cluster of points, and, so that weights stay bounded,
//! of wider laws and of the uniform law on the cube.
//!
//! - D. Peel, G. J. McLachlan, "Robust mixture modelling using the t distribution", Statistics and
//!   Computing, 2000.
//! - O. Cappé, R. Douc, A. Guillin, J.-M. Marin, C. P. Robert, "Adaptive importance sampling in
//!   general mixture classes", Statistics and Computing, 2008 (the weights of the parts).
//! - T. Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
//!   Technometrics, 1995.

mod copula;
mod density;
mod fit;
mod student;

pub(crate) use density::Density;
pub(crate) use fit::{Target, fit};

use density::Start;
