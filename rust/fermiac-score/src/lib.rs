//! Score models: what is known of noisy data, and what draws from it.
//!
//! A [`Model`] gives the mean of the data behind a noisy point, D(y, s) = E[x | x + s z = y]. From
//! it come the score (D - y) / s² of the noisy law and the direction (y - D) / s of the
//! probability-flow equation dy/ds. Here everything lives in these coordinates ("variance
//! exploding": noise is added, nothing is shrunk); other parametrisations are turned into them at
//! the border.
//!
//! An integrator on a grid of noise levels is a [`Program`](program::Program): a list of linear
//! combinations and calls of the model. So there is one text that carries any of them out.

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
