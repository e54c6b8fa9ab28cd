//! Monte Carlo and statistics in Rust: streams, laws, targets, and one module a domain.
//!
//! Each module is a crate of its own. Dependencies point one way: `fermiac-base` carries
//! `fermiac-target`, and those two carry the domains, none of which depends on another.

pub use fermiac_base::{Error, Result, linalg, par, rng, simd, special, store};
pub use fermiac_importance as importance;
pub use fermiac_mcmc as mcmc;
pub use fermiac_nested as nested;
pub use fermiac_privacy as privacy;
pub use fermiac_score as score;
pub use fermiac_target as target;
pub use fermiac_target::{controls, diagnostics};
pub use fermiac_walks as walks;
