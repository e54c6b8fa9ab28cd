//! The digamma function.
#![allow(clippy::unreadable_literal, clippy::excessive_precision)] // constants keep their digits

use crate::simd::{Kernel, LANES, Real, V, cos, dispatch, sin};

/// The zero of ψ on the positive axis, in two doubles.
const ROOT: (f64, f64) = (1.4616321449683622, 9.549995429965697e-17);
/// B₂ₖ / 2k for k = 12 … 1.
const SERIES: [f64; 12] = [
    -236_364_091.0 / 65_520.0,
    854_513.0 / 3_036.0,
    -174_611.0 / 6_600.0,
    43_867.0 / 14_364.0,
    -3617.0 / 8160.0,
    1.0 / 12.0,
    -691.0 / 32_760.0,
    1.0 / 132.0,
    -1.0 / 240.0,
    1.0 / 252.0,
    -1.0 / 120.0,
    1.0 / 12.0,
];
/// The least argument of the asymptotic series.
const LARGE: f64 = 8.0;
/// Below this the products of the recurrence would be subnormal, and ψ is -1/x.
const TINY: f64 = 1.0e-250;
/// The interval in which ψ is computed as a difference from its zero.
const NEAR: (f64, f64) = (1.0, 2.2);

/// ψ(x) for x ≥ `TINY`.
#[inline(always)]
fn positive<R: Real>(x: R) -> R {
    let (zero, one, large) = (R::of(0.0), R::of(1.0), R::of(LARGE));
    let near = x.below(R::of(NEAR.0), zero, x.below(R::of(NEAR.1), one, zero));
    // Σ 1 / (x + k) until x + k is large, as one fraction; near the zero, where
    // ψ(x) - ψ(root) is wanted, the terms are (x - root) / ((x + k) (root + k)).
    let (mut sum, mut product, mut y, mut count) = (zero, one, x, zero);
    for k in 0..8 {
        if !y.any_below(large) {
            break;
        }
        let weight = zero.below(near, R::of(1.0 / (ROOT.0 + f64::from(k))), one);
        sum = y.below(large, sum * y + weight * product, sum);
        product = y.below(large, product * y, product);
        count = y.below(large, count + one, count);
        y = y.below(large, y + one, y);
    }
    let sum = sum / product;
    let over = one / y;
    let v = over * over;
    let far = y.ln() - (over * R::of(0.5) + v * v.horner(&SERIES)) - sum;
    if !zero.any_below(near) {
        return far;
    }
    let off = (x - R::of(ROOT.0)) - R::of(ROOT.1);
    let base = R::of(ROOT.0) + count;
    // ln((base + off) / base), and the difference of the gaps ln y - ψ(y) divided out.
    let other = base + off;
    let (u, v) = (one / (base * base), one / (other * other));
    let (mut value, mut slope) = (zero, zero);
    for c in SERIES {
        slope = slope * u + value;
        value = value * v + R::of(c);
    }
    let squares = off * (base + other) * u * v;
    let gaps = R::of(0.5) * off / (base * other) + squares * (slope * u + value);
    let ratio = off / base;
    let more = one + ratio;
    let ln = more.ln() + (ratio - (more - one)) / more;
    zero.below(near, off * sum + (ln + gaps), far)
}

/// Returns ψ(x), the derivative of ln Γ, with a relative error of about 1e-15 on the positive axis,
/// its zero included; below 0 by reflection, with an absolute error near the zeros. Minus infinity at 0, plus
/// infinity at -0, NaN at the negative integers.
pub fn digamma(x: f64) -> f64 {
    if x.abs() < TINY {
        return -1.0 / x;
    }
    if x < 0.0 {
        let turn = x - x.floor();
        if turn == 0.0 || x == f64::NEG_INFINITY {
            return f64::NAN;
        }
        let angle = std::f64::consts::PI * turn;
        return digamma(1.0 - x) - std::f64::consts::PI * cos(angle) / sin(angle);
    }
    positive(x)
}

struct Digamma<'a>(&'a mut [f64]);

impl Kernel for Digamma<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for tile in self.0.chunks_mut(LANES) {
            let x = V::padded(tile, 1.0);
            let values = positive(x);
            let rare = x.any_below(V::splat(TINY));
            tile.copy_from_slice(&values.0[..tile.len()]);
            if rare {
                for (value, x) in tile.iter_mut().zip(x.0).filter(|(_, x)| *x < TINY) {
                    *value = digamma(x);
                }
            }
        }
    }
}

/// Replaces every element by its [`digamma`], with the same bits.
pub fn digamma_slice(x: &mut [f64]) {
    dispatch(Digamma(x));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments and values to 17 digits.
    const VALUES: [(f64, f64); 12] = [
        (1e-300, -9.9999999999999997e+299),
        (1e-08, -100000000.57721565),
        (0.3, -3.5025242222001331),
        (0.999, -0.57886180210864543),
        (1.2, -0.28903989659218835),
        (1.4616, -3.110625123034165e-5),
        (1.461632144968362, -3.0727905665462928e-16),
        (1.7, 0.20854787487349392),
        (3.5, 1.1031566406452432),
        (11.99, 2.4417922836683349),
        (1000000.0, 13.815510057964191),
        (-2.3, 3.3173231575618227),
    ];

    #[test]
    fn meets_reference_values() {
        for (x, value) in VALUES {
            let error = (digamma(x) / value - 1.0).abs();
            assert!(error < 4.0e-15, "digamma({x}) is off by {error}");
        }
    }

    #[test]
    fn obeys_its_recurrence() {
        for i in 1..3000 {
            let x = f64::from(i) * 0.01;
            let (next, this) = (digamma(x + 1.0), digamma(x));
            assert!((next - this - 1.0 / x).abs() < 1e-15 * (1.0 + this.abs() + 1.0 / x), "{x}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(digamma(0.0), f64::NEG_INFINITY);
        assert_eq!(digamma(-0.0), f64::INFINITY);
        assert_eq!(digamma(f64::INFINITY), f64::INFINITY);
        assert!(digamma(-3.0).is_nan() && digamma(f64::NAN).is_nan());
        assert!(digamma(f64::NEG_INFINITY).is_nan());
    }
}
