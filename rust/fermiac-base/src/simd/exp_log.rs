//! exp and log to one unit in the last place, in scalar, vector and slice form.
//!
//! The scalar forms never fuse, so that code built on them (the wedges of the ziggurat, the gamma
//! sampler) gives the same bits at every instruction-set level.

#![expect(clippy::excessive_precision, reason = "coefficients as published")]

use super::{Kernel, LANES, V, dispatch};

/// Returns `a · b + c`, fused if the caller is compiled for a CPU with the instruction. (Otherwise
/// `mul_add` is a library call that takes 17 times as long as the kernel around it.)
#[inline(always)]
pub fn fma<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

pub(super) const LN2_HI: f64 = 6.931_471_803_691_238_164_9e-1;
pub(super) const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
/// 1.5 · 2⁵²: adding it rounds to an integer and leaves that integer in the low bits.
pub(super) const ROUND: f64 = 6_755_399_441_055_744.0;
/// 1/k! for k = 13 … 2, the Taylor series of exp on |r| ≤ ln(2)/2 (truncation 5e-18).
pub(crate) const EXP: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];

#[inline(always)]
pub(super) fn exp_body<const FMA: bool>(x: f64) -> f64 {
    // Outside these bounds the result is 0 or infinity; NaN passes both comparisons.
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let shifted = fma::<FMA>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-n, LN2_LO, fma::<FMA>(-n, LN2_HI, x));
    let q = polynomial::<FMA, _>(&EXP, r);
    times_power_of_two(1.0 + fma::<FMA>(r * r, q, r), shifted)
}

/// The polynomial with these coefficients, highest first.
#[inline(always)]
pub(super) fn polynomial<const FMA: bool, const N: usize>(c: &[f64; N], x: f64) -> f64 {
    let mut sum = c[0];
    for &c in &c[1..] {
        sum = fma::<FMA>(sum, x, c);
    }
    sum
}

/// `value` · 2ⁿ with `shifted` = n + [`ROUND`], in two factors, so that subnormal results are right.
#[inline(always)]
pub(super) fn times_power_of_two(value: f64, shifted: f64) -> f64 {
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(2048);
    let half = k >> 1;
    let a = f64::from_bits(half.wrapping_sub(1) << 52);
    let b = f64::from_bits(k.wrapping_sub(half).wrapping_sub(1) << 52);
    value * a * b
}

/// eˣ - 1 for -40 ≤ x ≤ 700; outside, the value at the bound.
#[inline(always)]
fn expm1_body<const FMA: bool>(x: f64) -> f64 {
    let x = if x > 700.0 { 700.0 } else { x };
    let x = if x < -40.0 { -40.0 } else { x };
    let shifted = fma::<FMA>(x, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-n, LN2_LO, fma::<FMA>(-n, LN2_HI, x));
    let q = fma::<FMA>(r * r, polynomial::<FMA, _>(&EXP, r), r);
    let scale =
        f64::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023) << 52);
    fma::<FMA>(scale, q, scale - 1.0)
}

/// Coefficients of log(1+f) in s = f/(2+f) (fdlibm's minimax polynomial, Sun Microsystems 1993).
const LOG: [f64; 7] = [
    6.666_666_666_666_735_13e-1,
    3.999_999_999_940_941_908e-1,
    2.857_142_874_366_239_149e-1,
    2.222_219_843_214_978_396e-1,
    1.818_357_216_161_805_012e-1,
    1.531_383_769_920_937_332e-1,
    1.479_819_860_511_658_591e-1,
];
/// The bits of 1 less those of √½, both cut to the upper 32: brings the mantissa to [√½, √2).
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_0000_0000;
const ONE_BITS: u64 = 0x3ff0_0000_0000_0000;
const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
const TWO52: f64 = 4_503_599_627_370_496.0;

#[inline(always)]
pub(super) fn ln_body<const FMA: bool>(x: f64) -> f64 {
    let tiny = x < f64::MIN_POSITIVE;
    let y = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let bits = y.to_bits().wrapping_add(ONE_BITS - SQRT_HALF_BITS);
    let exponent = f64::from_bits((bits >> 52) | TWO52.to_bits()) - TWO52;
    let k = exponent - if tiny { 1077.0 } else { 1023.0 };
    let f = f64::from_bits((bits & MANTISSA).wrapping_add(SQRT_HALF_BITS)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut r = LOG[6];
    for &c in LOG[..6].iter().rev() {
        r = fma::<FMA>(r, z, c);
    }
    r *= z;
    let half_square = 0.5 * f * f;
    let tail = fma::<FMA>(s, half_square + r, k * LN2_LO);
    let value = fma::<FMA>(k, LN2_HI, f - (half_square - tail));
    // x < 0 and NaN give NaN, 0 gives -inf, +inf gives itself.
    let value = if x == f64::INFINITY { x } else { value };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    if x >= 0.0 { value } else { f64::NAN }
}

/// ln(1 + x), with the rounding of 1 + x corrected to first order.
#[inline(always)]
pub(super) fn ln1p_body<const FMA: bool>(x: f64) -> f64 {
    let u = 1.0 + x;
    let value = ln_body::<FMA>(u) + (x - (u - 1.0)) / u;
    if x < f64::INFINITY { value } else { x }
}

/// ln(1 + x) for x ≥ 0, without fused operations.
#[inline]
pub fn ln1p_pos(x: f64) -> f64 {
    ln1p_body::<false>(x)
}

/// eˣ - 1 in each lane, to a few ulp, for -40 ≤ x ≤ 700; outside, the value at the bound.
#[inline(always)]
#[must_use]
pub fn expm1v<const FMA: bool>(x: V) -> V {
    x.map(expm1_body::<FMA>)
}

/// ln(1 + x) in each lane, for x > -1 or +inf; for use inside a [`Kernel`].
#[inline(always)]
#[must_use]
pub fn ln1pv<const FMA: bool>(x: V) -> V {
    x.map(ln1p_body::<FMA>)
}

/// Defines the scalar form of a function that never fuses, its vector form and its slice form.
macro_rules! forms {
    ($($name:ident, $vector:ident, $slice:ident, $body:ident, $kernel:ident, $what:literal;)*) => {$(
        #[doc = concat!($what, ", without fused operations: the same bits at every level.")]
        #[inline]
        pub fn $name(x: f64) -> f64 {
            $body::<false>(x)
        }

        #[doc = concat!($what, " in each lane, for use inside a [`Kernel`].")]
        #[inline(always)]
        #[must_use]
        pub fn $vector<const FMA: bool>(x: V) -> V {
            x.map($body::<FMA>)
        }

        struct $kernel<'a>(&'a mut [f64]);

        impl Kernel for $kernel<'_> {
            type Output = ();

            #[inline(always)]
            fn run<const FMA: bool>(self) {
                let (tiles, rest) = self.0.as_chunks_mut::<LANES>();
                for tile in tiles {
                    *tile = $vector::<FMA>(V(*tile)).0;
                }
                // The remainder runs in padded lanes, so a value does not depend on its position.
                let padded = $vector::<FMA>(V::padded(rest, 0.5));
                rest.copy_from_slice(&padded.0[..rest.len()]);
            }
        }

        #[doc = concat!($what, " of every element, in place.")]
        pub fn $slice(x: &mut [f64]) {
            dispatch($kernel(x));
        }
    )*};
}
pub(super) use forms;

forms! {
    exp, expv, exp_slice, exp_body, Exp, "eˣ";
    ln, lnv, ln_slice, ln_body, Ln, "The natural logarithm";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(a: f64, b: f64) -> f64 {
        if a == b || (a.is_nan() && b.is_nan()) {
            return 0.0;
        }
        let unit = f64::from_bits(b.abs().to_bits() + 1) - b.abs();
        (a - b).abs() / unit
    }

    #[test]
    fn exp_and_ln_agree_with_the_standard_library() {
        let mut x = Vec::new();
        let mut y = -745.0;
        while y < 709.0 {
            x.push(y);
            y += 0.009_173;
        }
        let mut e = x.clone();
        exp_slice(&mut e);
        let mut worst = 0.0_f64;
        for (a, b) in x.iter().zip(&e) {
            // std's exp is itself good to about half a unit; subnormals lose bits by rounding.
            if *a > -708.0 {
                worst = worst.max(ulps(*b, a.exp())).max(ulps(exp(*a), a.exp()));
            } else {
                assert!((b - a.exp()).abs() <= 1.0e-323, "exp({a}) = {b}");
            }
        }
        assert!(worst <= 1.0, "exp is off by {worst} ulp");
        let arguments: Vec<f64> = e.iter().copied().filter(|v| *v > 0.0).collect();
        let mut l = arguments.clone();
        ln_slice(&mut l);
        let worst = arguments
            .iter()
            .zip(&l)
            .map(|(a, b)| ulps(*b, a.ln()).max(ulps(ln(*a), a.ln())))
            .fold(0.0, f64::max);
        assert!(worst <= 1.0, "ln is off by {worst} ulp");
    }

    #[test]
    fn special_values() {
        for f in [exp as fn(f64) -> f64, |x| {
            let mut v = [x];
            exp_slice(&mut v);
            v[0]
        }] {
            assert!(f(f64::NAN).is_nan());
            assert_eq!(f(f64::INFINITY), f64::INFINITY);
            assert_eq!(f(f64::NEG_INFINITY), 0.0);
            assert_eq!(f(0.0), 1.0);
            assert_eq!(f(-800.0), 0.0);
        }
        for f in [ln as fn(f64) -> f64, |x| {
            let mut v = [x];
            ln_slice(&mut v);
            v[0]
        }] {
            assert!(f(f64::NAN).is_nan());
            assert!(f(-1.0).is_nan());
            assert_eq!(f(f64::INFINITY), f64::INFINITY);
            assert_eq!(f(0.0), f64::NEG_INFINITY);
            assert_eq!(f(1.0), 0.0);
            assert_eq!(f(f64::from_bits(1)), f64::from_bits(1).ln());
        }
        assert_eq!(ln1p_pos(1e-300), 1e-300);
        assert_eq!(ln1p_pos(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn a_value_does_not_depend_on_its_place() {
        let x = 1.234_567;
        for n in 1..20 {
            let mut v = vec![x; n];
            exp_slice(&mut v);
            assert!(v.iter().all(|e| e.to_bits() == v[0].to_bits()));
            let mut one = [x];
            exp_slice(&mut one);
            assert_eq!(one[0].to_bits(), v[n - 1].to_bits());
        }
    }
}
