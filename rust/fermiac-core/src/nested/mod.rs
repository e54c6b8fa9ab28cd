//! Nested sampling: the evidence of a likelihood under a prior, and points of its posterior.
//!
//! Points die in the order of their likelihoods while new ones, drawn from the prior above the
//! level of the dead, take their places; what prior mass is left after each death is known up to a
//! law that does not depend on the problem. [`run`] is the run, [`bound`] and [`chains`] find the
//! new points, [`volume`] and its neighbours turn births and deaths into an evidence with errors.

pub mod bound;
pub mod chains;
pub mod points;
pub mod problem;
pub mod ranks;
pub mod run;
pub mod running;
pub mod volume;
