//! Small dense linear algebra.

mod cholesky;
mod eigen;
mod gram;
mod rows;
mod triangle;

pub use cholesky::{Cholesky, dot, packed_start};
pub use eigen::SymmetricEigen;
pub use gram::{GRAM_BLOCK, add_gram, packed, packed_len};
pub use rows::Rows;
pub use triangle::Triangle;
