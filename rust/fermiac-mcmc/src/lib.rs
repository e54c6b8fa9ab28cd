//! Markov chain Monte Carlo over many chains.
//!
//! ```
//! use std::sync::Arc;
//! use fermiac_mcmc::{Options, sample};
//! use fermiac_target::{LogDensity, density::Banana, diagnostics::Statistic};
//!
//! let target: Arc<dyn LogDensity> = Arc::new(Banana::new(2, 0.1, 3.0)?);
//! let draws = sample(&target, &Options::default())?;
//! let (variance, error) = draws.expect(|x| x[0] * x[0])?;
//! assert!((variance - 9.0).abs() < 5.0 * error);
//! assert!(draws.diagnostic(Statistic::RhatRank)?[0] < 1.05);
//! # Ok::<(), fermiac_base::Error>(())
//! ```
//!
//! [`sample`] chooses the kernel; [`sample_with`] takes any, such as [`Hmc`], [`Slice`] or
//! [`Gibbs`]. A [`kernel::Kernel`] is a state machine that requests log-densities and never
//! computes them, and [`drive::Sampler`] runs many of them, on worker threads or in batches.

mod chees;
pub mod conjugate;
pub mod drive;
mod elliptical;
mod ensemble;
mod gibbs;
mod hmc;
mod isokinetic;
pub mod kernel;
mod leapfrog;
mod metropolis;
mod microcanonical;
mod nuts;
mod phase_point;
pub mod proposals;
mod recent;
mod sample;
mod slice;
mod tempered;
mod underdamped;

pub use chees::{Chees, CheesOptions, Criterion, Learner, Trajectory};
pub use elliptical::EllipticalSlice;
pub use ensemble::{Ensemble, Move};
pub use gibbs::{Block, Constrained, Discrete, DiscreteOptions, ExactDraw, Gibbs, Scan};
pub use hmc::{Hmc, Length};
pub use metropolis::{Metropolized, Proposal};
pub use microcanonical::{Microcanonical, MicrocanonicalOptions};
pub use nuts::{Nuts, Walnuts, WalnutsOptions};
pub use phase_point::PhasePoint;
pub use sample::{Draws, Options, sample, sample_with};
pub use slice::{Direction, Slice};
pub use tempered::Tempered;
pub use underdamped::{SplittingStep, Underdamped, UnderdampedOptions};
