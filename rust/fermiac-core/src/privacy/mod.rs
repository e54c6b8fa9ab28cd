//! Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests.

pub mod watermark;
