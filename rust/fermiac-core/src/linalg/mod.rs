//! Small dense linear algebra.

mod cholesky;
mod eigen;
mod gram;
mod rows;
mod triangle;

pub(crate) use cholesky::dot;
pub use cholesky::{Cholesky, packed_start};
pub use eigen::SymmetricEigen;
pub(crate) use gram::{add_gram, packed, packed_len};
pub use rows::Rows;
pub use triangle::Triangle;
