//! Densities fitted to the posterior points of a run, from which independent points are drawn for an
//! importance estimate of the evidence.
//!
//! A density is a mixture of multivariate Student's t laws, fitted by expectation and maximisation,
//! of normal copulas with the margins of each cluster of points, and, so that weights stay bounded,
//! of wider laws and of the uniform law on the cube. If asked for, there are also copulas of coordinates
//! that are straightened where their locations and scales depend on others (`tree`).
//!
//! - D. Peel, G. J. McLachlan, "Robust mixture modelling using the t distribution", Statistics and
//!   Computing, 2000.
//! - O. Cappé, R. Douc, A. Guillin, J.-M. Marin, C. P. Robert, "Adaptive importance sampling in
//!   general mixture classes", Statistics and Computing, 2008 (the weights of the parts).
//! - H. Akaike, "A new look at the statistical model identification", IEEE Transactions on Automatic
//!   Control, 1974 (by how much a law is too good at the points that it was fitted to).
//! - T. Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
//!   Technometrics, 1995.

mod copula;
mod density;
mod fit;
mod student;
mod tree;

pub(crate) use density::{Density, to_own};
pub(crate) use fit::{Target, fit};
pub(crate) use tree::Tree;

use density::Start;

/// Points, row-major, and their weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighted<'a> {
    pub(crate) u: &'a [f64],
    pub(crate) weights: &'a [f64],
}
