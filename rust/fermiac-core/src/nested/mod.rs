//! Nested sampling: evidence and posterior from points of ever higher likelihood.

pub mod surrogate;
