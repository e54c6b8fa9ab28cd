//! Special functions to double accuracy, built on this crate's exp and ln.
//!
//! Nothing here calls the platform's mathematical library or fuses operations, so the values have
//! the same bits on every machine.

mod arithmetic;
mod batch;
mod beta;
mod digamma;
mod elementary;
mod expansion;
mod expansion_table;
mod gamma;
mod gamma_ratio;
mod gauss;
mod inverse;
mod laws;
mod normal;
mod solve;
mod tail;

pub use crate::simd::{erf, erfc, normal_cdf, normal_quantile};
pub use arithmetic::{log1p_less, two_product, two_sum};
pub use batch::Part;
pub use beta::{IncompleteBeta, beta_lower, beta_upper};
pub use digamma::{digamma, digamma_slice};
pub use elementary::{expm1, ln1p};
pub use gamma::{
    LN_SQRT_2PI, ln_abs_gamma, ln_abs_gamma_slice, ln_beta, ln_gamma, stirling_correction,
};
pub use gamma_ratio::{IncompleteGamma, gamma_lower, gamma_upper};
pub use gauss::MANY as GAUSS_LEGENDRE;
pub use laws::{beta_fill, beta_quantile_fill, gamma_fill, gamma_quantile_fill};
pub use normal::{
    mills, normal_ln_cdf, normal_ln_cdf_slice, normal_survival, normal_survival_quantile,
};
