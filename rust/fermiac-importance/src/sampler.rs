//! The outcome of the adaptation, for the final phase: a fixed sampler with fixed controls.

use super::proposal::Proposal;

/// The control of one expectation: Σ beta (g_l / g - 1).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Control {
    pub(crate) terms: Vec<(usize, f64)>,
}

/// A fixed sampler, and the controls of the expectations (none where it is empty).
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    pub(crate) proposal: Proposal,
    pub(crate) controls: Vec<Control>,
}
