//! Score models: the laws of noisy data, and the integrators and chains that draw from them.
//!
//! ```
//! use fermiac_base::linalg::Rows;
//! use fermiac_score::mixture::{Covariances, GaussianMixture};
//! use fermiac_score::{program::Method, sample, schedule::Spread};
//!
//! let means = Rows::new(&[-2.0, 2.0], 1);
//! let model = GaussianMixture::new(&[0.3, 0.7], means, Covariances::Isotropic(&[0.25]))?;
//! let levels = Spread::Power { rho: 7.0 }.grid(20, 0.002, 20.0)?;
//! let draws = sample(&model, 4000, &levels, Method::dpm_solver_multistep(), 0)?;
//! let share = draws.iter().filter(|x| **x > 0.0).count() as f64 / 4000.0;
//! assert!((share - 0.7).abs() < 5.0 * (0.21_f64 / 4000.0).sqrt());
//! # Ok::<(), fermiac_base::Error>(())
//! ```
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
mod sample;
pub mod schedule;
#[cfg(test)]
mod testing;

pub use model::Model;
pub use sample::{integrate, sample};
