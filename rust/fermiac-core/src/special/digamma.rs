//! The digamma function.
#![allow(clippy::unreadable_literal, clippy::excessive_precision)] // constants keep their digits

use super::elementary::ln1p;
use crate::simd::{cos, ln, sin};

/// The zero of ψ on the positive axis, in two doubles.
const ROOT: (f64, f64) = (1.4616321449683622, 9.549995429965697e-17);
/// B₂ₖ / 2k for k = 1 … 8.
const SERIES: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32_760.0,
    1.0 / 12.0,
    -3617.0 / 8160.0,
];
/// From here on the asymptotic series is below the rounding.
const LARGE: f64 = 12.0;

/// ln x - ψ(x) for x ≥ 12.
fn asymptotic_gap(x: f64) -> f64 {
    let y = 1.0 / x;
    let square = y * y;
    0.5 * y + square * SERIES.iter().rev().fold(0.0, |sum, c| sum * square + c)
}

/// ψ(x), the derivative of ln Γ, to about 1e-15 of the value on the positive axis, its zero
/// included; below 0 by reflection, absolutely near the zeros there. Minus infinity at 0, plus
/// infinity at -0, NaN at the negative integers.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
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
    if x >= LARGE {
        return ln(x) - asymptotic_gap(x);
    }
    if (1.0..2.2).contains(&x) {
        // ψ(x) - ψ(root) term by term: every term has the sign of x - root.
        let off = (x - ROOT.0) - ROOT.1;
        let (mut sum, mut k) = (0.0, 0.0);
        while ROOT.0 + k < LARGE {
            sum += 1.0 / ((x + k) * (ROOT.0 + k));
            k += 1.0;
        }
        let base = ROOT.0 + k;
        // ln((base + off) / base), and the difference of the gaps divided out.
        let other = base + off;
        let (u, v) = (1.0 / (base * base), 1.0 / (other * other));
        let (value, slope) =
            SERIES.iter().rev().fold((0.0, 0.0), |(p, d), c| (p * v + c, d * u + p));
        let squares = off * (base + other) * u * v;
        let gaps = 0.5 * off / (base * other) + squares * (slope * u + value);
        return off * sum + (ln1p(off / base) + gaps);
    }
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum += 1.0 / x;
        x += 1.0;
    }
    ln(x) - asymptotic_gap(x) - sum
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
