//! Score models: the laws of noisy data, and the integrators and chains that draw from them.
//!
//! A [`Model`] gives the mean of the data behind a noisy point, D(y, s) = E[x | x + s z = y]. From
//! it come the score (D - y) / s² of the noisy law and the direction (y - D) / s of the
//! probability-flow equation dy/ds. Here everything lives in these coordinates ("variance
//! exploding": noise is added, the data are not scaled); other parametrisations are converted at the
//! border.
//!
//! An integrator on a grid of noise levels is a [`Program`](program::Program): a list of linear
//! combinations and calls of the model, so that one executor serves all of them.

pub mod adaptive;
pub mod brownian;
pub mod langevin;
pub mod masked;
pub mod mixture;
pub mod model;
pub mod noise;
pub mod program;
pub mod run;
pub mod schedule;

pub use model::Model;
