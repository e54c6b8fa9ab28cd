//! Foundations of fermiac: random streams, quasi-random points, SIMD, special functions, linear
//! algebra, files, threads.
//!
//! ```
//! use fermiac_base::rng::{Domain, Stream};
//!
//! let mut stream = Stream::new(7, Domain::User, 0, 0);
//! let mut x = vec![0.0; 10_000];
//! stream.fill_normal(&mut x);
//! let mean = x.iter().sum::<f64>() / 10_000.0;
//! assert!(mean.abs() < 5.0 / 100.0);
//! assert_eq!(fermiac_base::special::normal_cdf(0.0), 0.5);
//! ```
//!
//! Every other crate depends on this one; it knows nothing of laws, targets or methods.

pub mod alloc;
pub mod error;
pub mod linalg;
pub mod par;
pub mod qmc;
pub mod rng;
pub mod simd;
pub mod special;
pub mod store;

pub use error::{Error, Result};
