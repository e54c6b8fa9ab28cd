//! The floor of fermiac: random streams, SIMD, special functions, linear algebra, files, threads.
//!
//! Every other crate stands on this one; nothing here knows of laws, targets or methods.

pub mod error;
pub mod linalg;
pub mod par;
pub mod rng;
pub mod simd;
pub mod special;
pub mod store;

pub use error::{Error, Result};
