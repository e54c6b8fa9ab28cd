//! Arithmetic in two doubles, and logarithms free of cancellation.

use crate::simd::{Real, ln};

/// 2/(2k + 1) for k = 11 … 1.
const ARTANH: [f64; 11] = [
    2.0 / 23.0,
    2.0 / 21.0,
    2.0 / 19.0,
    2.0 / 17.0,
    2.0 / 15.0,
    2.0 / 13.0,
    2.0 / 11.0,
    2.0 / 9.0,
    2.0 / 7.0,
    2.0 / 5.0,
    2.0 / 3.0,
];

/// ln(1 + u) - u for u > -1; `one_more` is 1 + u without the rounding of u.
#[inline(always)]
pub fn log1p_less<R: Real>(u: R, one_more: R) -> R {
    let limit = R::of(0.3);
    // ln(1 + u) = 2 artanh r, and 2 r = u - u r.
    let r = u / (u + R::of(2.0));
    let z = r * r;
    let near = r * (z * z.horner(&ARTANH) - u);
    let size = u.abs();
    if !limit.any_below(size) {
        return near;
    }
    let one = R::of(1.0);
    let sum = one + u;
    let lost = (u - (sum - one)) / sum;
    let low = R::of(-0.5);
    let far = u.below(low, one_more.ln(), sum.ln() + lost) - u;
    limit.below(size, far, near)
}

/// Returns p · q and its rounding error, for factors below 1e150.
#[inline(always)]
pub fn two_product<R: Real>(p: R, q: R) -> (R, R) {
    let split = |x: R| {
        let c = R::of(134_217_729.0) * x;
        let hi = c - (c - x);
        (hi, x - hi)
    };
    let value = p * q;
    let ((a, b), (c, d)) = (split(p), split(q));
    (value, ((a * c - value) + a * d + b * c) + b * d)
}

/// Returns p + q and its rounding error.
#[inline(always)]
pub fn two_sum<R: Real>(p: R, q: R) -> (R, R) {
    let value = p + q;
    let back = value - p;
    (value, (p - (value - back)) + (q - back))
}

/// Returns x b - y a to full accuracy, even if the products cancel.
#[inline(always)]
pub(super) fn cross<R: Real>(x: R, b: R, y: R, a: R) -> R {
    let ((p, p_low), (q, q_low)) = (two_product(x, b), two_product(y, a));
    (p - q) + (p_low - q_low)
}

/// The two parts of ln 2; multiples of the first by exponents are exact.
const LN2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);

/// Returns a ln x in two doubles for x > 0; near the ends of the range of exp one double would lose
/// digits.
pub(super) fn power_ln(a: f64, x: f64) -> (f64, f64) {
    if (1.0e-30..1.0e30).contains(&x) || x == f64::INFINITY {
        return (a * ln(x), 0.0);
    }
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * TWO54, 54.0) } else { (x, 0.0) };
    let exponent = (x.to_bits() >> 52) as f64 - 1023.0 - shift;
    let mantissa = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | 1.0_f64.to_bits());
    let (head, low) = two_product(a, exponent * LN2.0);
    let rest = a * (exponent * LN2.1 + ln(mantissa)) + low;
    two_sum(head, rest)
}

/// 2⁵⁴, which makes a subnormal normal.
const TWO54: f64 = 18_014_398_509_481_984.0;
