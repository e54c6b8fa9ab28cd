//! Resampling: replicates of statistics by the bootstrap, and permutation tests.
//!
//! ```
//! use fermiac_base::par::Context;
//! use fermiac_resample::{Law, Scheme, bootstrap, statistics};
//!
//! let x = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0];
//! let scheme = Scheme::new(Law::Counts, vec![0, 7], None, None, 7)?;
//! let mean = statistics("mean", &[], &[&x], true)?;
//! let r = bootstrap(&mean, &scheme, 0, 4000, false, 1, &Context::serial()).map_err(|e| e.0)?;
//! let average = r.values.iter().sum::<f64>() / 4000.0;
//! let squares = r.values.iter().map(|v| (v - average).powi(2)).sum::<f64>();
//! // The exact standard deviation of the resampled mean is 23.36.
//! assert!(((squares / 3999.0).sqrt() - 23.36).abs() < 1.0);
//! # Ok::<(), fermiac_base::Error>(())
//! ```

mod binomial;
mod exact;
mod groups;
mod permute;
mod replicates;
mod scheme;
mod sieve;
mod statistic;

pub use exact::{Tails, choices, group_law, group_tails, pair_tails, sign_law, sign_tails};
pub use groups::{group_choices, log_groups_above, middle_tails};
pub use permute::{Columns, Design, Exceedances, Permutations, coefficients, exceedances, sums};
pub use replicates::{
    Outcome, Replicates, Value, bootstrap, draw, evaluate, leave_one_out, of_samples, stream,
    weighted,
};
pub use scheme::{Draw, Law, Scheme};
pub use sieve::{SeriesStatistic, Sieve};
pub use statistic::{Panel, Statistic, Statistics, statistics};
