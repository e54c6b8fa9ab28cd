//! Averages over a weighted sample with control variates, functions of known mean zero.
//!
//! The estimate is the intercept of the weighted least-squares fit of the values on the controls
//! ([`average`]). The controls are given or made from the score of the target
//! ([`Controls::Stein`]).

mod columns;
mod fit;
mod sums;
mod whiten;

pub use columns::Controls;
pub use fit::{Average, average};
