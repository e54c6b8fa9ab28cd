//! ln(1 + x) and eˣ - 1 without cancellation at small x.

use crate::simd::{EXP, exp, ln};

/// ln(1 + x) for x ≥ -1, to a few units in the last place; NaN below.
#[inline]
pub fn ln1p(x: f64) -> f64 {
    let u = 1.0 + x;
    if u <= 0.0 || u == f64::INFINITY {
        return ln(u);
    }
    // The second term corrects the rounding of u: ln(1 + x) = ln(u) + ln(1 + (x - (u - 1)) / u).
    ln(u) + (x - (u - 1.0)) / u
}

/// eˣ - 1, to a few units in the last place.
#[inline]
pub fn expm1(x: f64) -> f64 {
    if x.abs() >= 0.35 {
        return exp(x) - 1.0;
    }
    // The first omitted term is below 2e-18 of the sum.
    let series = EXP.iter().fold(0.0, |sum, term| sum * x + term);
    x + x * x * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_standard_library() {
        for i in -4000..4000 {
            let x = f64::from(i) * 0.005 + 1.0e-4;
            for x in [x, x * 1.0e-3, x * 1.0e-9, x * 1.0e-18] {
                let error = (expm1(x) / x.exp_m1() - 1.0).abs();
                assert!(error < 1.0e-15, "expm1({x}) is off by {error}");
                if x > -1.0 {
                    let error = (ln1p(x) / x.ln_1p() - 1.0).abs();
                    assert!(error < 1.0e-15, "ln1p({x}) is off by {error}");
                }
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(ln1p(-1.0), f64::NEG_INFINITY);
        assert!(ln1p(-1.1).is_nan() && ln1p(f64::NAN).is_nan() && expm1(f64::NAN).is_nan());
        assert_eq!(ln1p(f64::INFINITY), f64::INFINITY);
        assert_eq!(expm1(f64::INFINITY), f64::INFINITY);
        assert_eq!(expm1(f64::NEG_INFINITY), -1.0);
        assert_eq!((ln1p(0.0), expm1(0.0)), (0.0, 0.0));
    }
}
