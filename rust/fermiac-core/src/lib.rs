//! The core of fermiac: streams, laws, targets and Monte Carlo methods, without Python.
//!
//! Dependencies point one way: the floor (`rng`, `simd`, `special`, `linalg`, `store`) carries `par`
//! and `target`, those carry `diagnostics`, `controls` and `kernel`, that one carries `drive`, and
//! all of them carry the domains. A domain never imports another domain.

pub mod controls;
pub mod diagnostics;
pub mod drive;
pub mod error;
pub mod importance;
pub mod kernel;
pub mod linalg;
pub mod mcmc;
pub mod nested;
pub mod par;
pub mod privacy;
pub mod rng;
pub mod score;
pub mod simd;
pub mod special;
pub mod store;
pub mod target;
pub mod walks;

pub use error::{Error, Result};
