//! erf, erfc, the normal distribution function and its quantile, accurate in both tails, in scalar,
//! vector and slice form.
//!
//! A value is a piecewise polynomial, times an exponential in the tail. The leading terms of the
//! pieces and the argument of the exponential are held in two doubles, which limits the error to 1.5
//! units in the last place. The scalar forms never fuse.

use super::exp_log::{EXP, LN2_HI, LN2_LO, ROUND, forms, ln_body, polynomial, times_power_of_two};
use super::normal_tables::{MILLS, QUANTILE_CENTRE, QUANTILE_TAIL};
use super::{Kernel, LANES, V, dispatch, fma};

/// (erf(x)/x - 1 - `ERF_SLOPE`) / x² in powers of x², highest first, for |x| ≤ 0.51: Chebyshev
/// interpolation, absolute error 6e-19.
const ERF: [f64; 9] = [
    -1.472_714_375_430_998_7e-7,
    1.638_368_265_716_478_6e-6,
    -1.492_360_654_274_039_2e-5,
    1.205_530_182_096_509_4e-4,
    -8.548_326_743_820_234e-4,
    5.223_977_624_030_938e-3,
    -2.686_617_064_509_554_8e-2,
    1.128_379_167_095_509_1e-1,
    -3.761_263_890_318_375_4e-1,
];
/// 2/√π - 1.
const ERF_SLOPE: f64 = 0.128_379_167_095_512_57;
/// √2.
const SQRT_2: f64 = std::f64::consts::SQRT_2;
/// The number of standard deviations beyond which a tail underflows.
const FAR: f64 = 40.0;
/// The upper 16 bits of the first piece of [`QUANTILE_TAIL`].
const FIRST_TAIL: u64 = 0x3ff9;
/// Pieces of [`QUANTILE_CENTRE`] in a unit.
const CENTRE_PIECES: f64 = 176.0;

/// Returns x² and its rounding error, for |x| below 1e150.
#[inline(always)]
fn square<const FMA: bool>(x: f64) -> (f64, f64) {
    let p = x * x;
    if FMA {
        return (p, x.mul_add(x, -p));
    }
    let c = 134_217_729.0 * x;
    let hi = c - (c - x);
    let lo = x - hi;
    (p, ((hi * hi - p) + 2.0 * (hi * lo)) + lo * lo)
}

/// The terms of a piece after its constant.
#[inline(always)]
fn rest<const FMA: bool>(c: &[f64; 10], u: f64) -> f64 {
    let mut sum = c[9];
    for k in (1..9).rev() {
        sum = fma::<FMA>(sum, u, c[k]);
    }
    sum * u
}

/// Q(z) for z ≥ 0 and its argument's Gaussian exp(-(hi + lo)); with `ERFC`, z stands for √2 z.
#[inline(always)]
fn upper_tail<const FMA: bool, const ERFC: bool>(z: f64) -> f64 {
    let limit = if ERFC { FAR / SQRT_2 } else { FAR };
    // NaN passes into the result.
    let z = if z > limit { limit } else { z };
    let y = 1.0 + if ERFC { z * SQRT_2 } else { z };
    let piece = ((y.to_bits() >> 48).wrapping_sub(0x3ff0) as usize).min(MILLS.len() - 1);
    let [centre, high, low, c_low, c @ ..] = &MILLS[piece];
    let u = if ERFC { ((z - high) - low) * SQRT_2 } else { z - centre };
    let small = rest::<FMA>(c, u) + c_low;
    let mills = c[0] + small;
    let (hi, lo) = square::<FMA>(z);
    let half = if ERFC { -1.0 } else { -0.5 };
    let (hi, lo) = (half * hi, half * lo);
    let shifted = fma::<FMA>(hi, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // The first difference is exact.
    let head = hi - n * LN2_HI;
    let tail = fma::<FMA>(-n, LN2_LO, lo);
    let r = head + tail;
    let lost = (head - r) + tail;
    let q = r + fma::<FMA>(r * r, polynomial::<FMA, _>(&EXP, r), lost);
    times_power_of_two(c[0] + fma::<FMA>(mills, q, small), shifted)
}

#[inline(always)]
pub(super) fn normal_cdf_body<const FMA: bool>(x: f64) -> f64 {
    let q = upper_tail::<FMA, false>(x.abs());
    if x > 0.0 { 1.0 - q } else { q }
}

#[inline(always)]
pub(super) fn erfc_body<const FMA: bool>(x: f64) -> f64 {
    let q = 2.0 * upper_tail::<FMA, true>(x.abs());
    if x < 0.0 { 2.0 - q } else { q }
}

#[inline(always)]
pub(super) fn erf_body<const FMA: bool>(x: f64) -> f64 {
    let size = x.abs();
    let far = (1.0 - 2.0 * upper_tail::<FMA, true>(size)).copysign(x);
    // Outside its range the polynomial may overflow; it is not selected there.
    let z = x * x;
    let near = x + x * fma::<FMA>(polynomial::<FMA, _>(&ERF, z), z, ERF_SLOPE);
    if size <= 0.5 { near } else { far }
}

#[inline(always)]
pub(super) fn normal_quantile_body<const FMA: bool>(p: f64) -> f64 {
    let q = p - 0.5;
    let size = q.abs();
    if size <= 0.3 {
        let v = q * q;
        let piece = ((v * CENTRE_PIECES) as usize).min(QUANTILE_CENTRE.len() - 1);
        let [centre, c_low, c @ ..] = &QUANTILE_CENTRE[piece];
        let small = rest::<FMA>(c, v - centre) + c_low;
        return fma::<FMA>(q, c[0], q * small);
    }
    // The smaller tail, exactly; below 0 and above 1 it is negative and its logarithm NaN.
    let s = -ln_body::<FMA>(if q < 0.0 { p } else { 1.0 - p });
    let index = (s.to_bits() >> 48).wrapping_sub(FIRST_TAIL) as usize;
    let [centre, c_low, c @ ..] = &QUANTILE_TAIL[index.min(QUANTILE_TAIL.len() - 1)];
    let value = c[0] + (rest::<FMA>(c, s - centre) + c_low);
    let value = if s < f64::INFINITY { value } else { s };
    if q < 0.0 { -value } else { value }
}

forms! {
    erf, erfv, erf_slice, erf_body, Erf, "The error function";
    erfc, erfcv, erfc_slice, erfc_body, Erfc, "The complement of the error function";
    normal_cdf, normal_cdfv, normal_cdf_slice, normal_cdf_body, NormalCdf,
        "Φ, the distribution function of the standard normal law";
    normal_quantile, normal_quantilev, normal_quantile_slice, normal_quantile_body, NormalQuantile,
        "Φ⁻¹, the quantile of the standard normal law (∓inf at 0 and 1, NaN outside)";
}

#[cfg(test)]
mod tests {
    use super::super::normal_values::{
        CDF, ERF as ERF_VALUES, ERFC, EXP as EXP_VALUES, LN, QUANTILE,
    };
    use super::super::{exp, exp_slice, ln, ln_slice};
    use super::*;

    /// Returns the worst error in units in the last place, beyond the spacing of subnormals.
    fn worst(
        table: &[(f64, f64, f64)],
        scalar: fn(f64) -> f64,
        slice: fn(&mut [f64]),
    ) -> (f64, f64) {
        let mut values: Vec<f64> = table.iter().map(|row| row.0).collect();
        slice(&mut values);
        let mut worst = (0.0, 0.0);
        for (value, &(x, high, low)) in values.iter().zip(table) {
            let unit = f64::from_bits(high.abs().to_bits() + 1) - high.abs();
            for value in [*value, scalar(x)] {
                let off = ((value - high) - low).abs() / unit;
                if off > worst.1 {
                    worst = (x, off);
                }
            }
        }
        worst
    }

    #[test]
    fn all_are_within_one_and_a_half_units_in_the_last_place() {
        for (name, (x, off)) in [
            ("exp", worst(&EXP_VALUES, exp, exp_slice)),
            ("ln", worst(&LN, ln, ln_slice)),
            ("erf", worst(&ERF_VALUES, erf, erf_slice)),
            ("erfc", worst(&ERFC, erfc, erfc_slice)),
            ("normal_cdf", worst(&CDF, normal_cdf, normal_cdf_slice)),
            ("normal_quantile", worst(&QUANTILE, normal_quantile, normal_quantile_slice)),
        ] {
            assert!(off <= 1.5, "{name}({x:e}) is off by {off} ulp");
        }
    }

    /// Scalar form, slice form, values at -inf, -0, 0 and inf.
    type Form = (fn(f64) -> f64, fn(&mut [f64]), [f64; 4]);

    #[test]
    fn special_values() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let forms: [Form; 4] = [
            (erf, erf_slice, [-1.0, -0.0, 0.0, 1.0]),
            (erfc, erfc_slice, [2.0, 1.0, 1.0, 0.0]),
            (normal_cdf, normal_cdf_slice, [0.0, 0.5, 0.5, 1.0]),
            (normal_quantile, normal_quantile_slice, [nan, -inf, -inf, nan]),
        ];
        for (scalar, slice, expected) in forms {
            let mut x = [-inf, -0.0, 0.0, inf, nan];
            let scalars = x.map(scalar);
            slice(&mut x);
            for (l, value) in expected.iter().enumerate() {
                for got in [x[l], scalars[l]] {
                    assert!(got.to_bits() == value.to_bits() || got.is_nan() && value.is_nan());
                }
            }
            assert!(x[4].is_nan() && scalars[4].is_nan());
        }
        assert_eq!(normal_quantile(1.0), inf);
        assert_eq!(normal_quantile(0.5), 0.0);
        assert!(normal_quantile(-1e-300).is_nan() && normal_quantile(1.5).is_nan());
        assert_eq!(erf(1e-310), 1e-310 + 1e-310 * ERF_SLOPE);
        assert!(normal_cdf(-38.4) > 0.0 && normal_cdf(-38.6) == 0.0);
        assert!(erfc(27.2) > 0.0 && erfc(27.3) == 0.0);
    }

    #[test]
    fn a_value_does_not_depend_on_its_place() {
        let forms: [fn(&mut [f64]); 4] =
            [erf_slice, erfc_slice, normal_cdf_slice, normal_quantile_slice];
        for slice in forms {
            for x in [0.123, 0.456, 0.987] {
                let mut v = [x; 19];
                slice(&mut v);
                assert!(v.iter().all(|e| e.to_bits() == v[0].to_bits()));
                for n in 1..9 {
                    let mut w = vec![x; n];
                    slice(&mut w);
                    assert_eq!(w[n - 1].to_bits(), v[0].to_bits());
                }
            }
        }
    }
}
