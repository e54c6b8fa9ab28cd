//! Nested sampling: evidences and posteriors by the prior mass above rising levels of likelihood.

pub mod bound;
