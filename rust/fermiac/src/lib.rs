//! Monte Carlo and statistics: MCMC, importance sampling, nested sampling, score models, random
//! walks, differential privacy and resampling on one set of laws, targets and random streams.
//!
//! A target is a Rust function or a built-in density, and a run is one call. This program samples
//! a normal law with mean 1 and standard deviation 2 by the No-U-Turn sampler:
//!
//! ```
//! use fermiac::diagnostics::Statistic;
//! use fermiac::mcmc::{Options, sample};
//! use fermiac::target::density;
//!
//! fn main() -> fermiac::Result<()> {
//!     // Returns the log-density, up to a constant, and writes its gradient.
//!     let target = density::from_fn_with_gradient(1, |x, gradient| {
//!         let z = (x[0] - 1.0) / 2.0;
//!         gradient[0] = -z / 2.0;
//!         -0.5 * z * z
//!     });
//!     // Four chains in parallel; the same key gives the same draws on any number of cores.
//!     let draws = sample(&target, &Options { n_draws: 2000, key: 7, ..Options::default() })?;
//!
//!     let (mean, error) = draws.expect(|x| x[0])?;
//!     println!("mean {mean:.3} ± {error:.3}");
//!     assert!((mean - 1.0).abs() < 5.0 * error);
//!     assert!(draws.diagnostic(Statistic::RhatRank)?[0] < 1.01);
//!     Ok(())
//! }
//! ```
//!
//! | module | start with | does |
//! |---|---|---|
//! | [`importance`] | [`importance::expectations`] | many expectations from one sample |
//! | [`mcmc`] | [`mcmc::sample`] | Markov chain Monte Carlo over many chains |
//! | [`nested`] | [`nested::sample`] | evidence and posterior by nested sampling |
//! | [`privacy`] | [`privacy::posterior::Posterior::epsilon`] | epsilon posteriors, audits |
//! | [`resample`] | [`resample::bootstrap`] | replicates of statistics, permutation tests |
//! | [`score`] | [`score::sample`] | integrators and samplers of score models |
//! | [`walks`] | [`walks::walk`] | random walks on graphs, with and without memory |
//!
//! The folder `examples` has a program for each. All of them stand on [`target`] (laws, densities
//! and integrands, with [`diagnostics`] and [`controls`]), [`rng`] (streams addressed by a key),
//! [`special`], [`simd`], [`linalg`], [`par`] and [`store`]. Each module is a crate of its own;
//! dependencies point one way, and no domain depends on another.

pub use fermiac_base::{Error, Result, linalg, par, qmc, rng, simd, special, store};
pub use fermiac_importance as importance;
pub use fermiac_mcmc as mcmc;
pub use fermiac_nested as nested;
pub use fermiac_privacy as privacy;
pub use fermiac_resample as resample;
pub use fermiac_score as score;
pub use fermiac_target as target;
pub use fermiac_target::{controls, diagnostics};
pub use fermiac_walks as walks;
