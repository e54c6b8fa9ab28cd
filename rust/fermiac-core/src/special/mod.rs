//! Special functions of double accuracy, built on this crate's own exp and ln.
//!
//! Nothing here calls the platform's mathematical library or fuses operations, so the values have
//! the same bits on every machine.

mod elementary;
mod gamma;
mod normal;

pub use elementary::{expm1, ln1p};
pub use gamma::{LN_SQRT_2PI, ln_beta, ln_gamma, stirling_correction};
pub use normal::{
    normal_cdf, normal_ln_cdf, normal_quantile, normal_survival, normal_survival_quantile,
};
