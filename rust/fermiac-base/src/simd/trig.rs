//! sin and cos to about one unit in the last place, in scalar and vector form.
//!
//! Arguments are reduced by Cody and Waite's method (1980): π/2 in pieces so short that their
//! multiples are exact, with the rounding of each subtraction carried along in a second double.
//! Like exp and ln, the scalar forms never fuse.

use super::exp_log::{ROUND, polynomial};
use super::{V, fma};

/// The largest argument with exact multiples of the pieces of π/2: 33 bits times at most 2²⁰.
const LIMIT: f64 = 1.0e6;
/// π/2 in three pieces of 33 bits and a remainder.
const HALF_PI: [f64; 4] = [
    1.570_796_326_734_125_6,
    6.077_100_506_303_966e-11,
    2.022_266_248_711_166_5e-21,
    8.478_427_660_368_9e-32,
];
/// (sin r - r) / r³ in powers of r², highest first: Chebyshev interpolation on |r| ≤ π/4,
/// absolute error 3e-17.
const SIN: [f64; 6] = [
    1.591_784_866_512_194e-10,
    -2.505_112_794_596_564e-8,
    2.755_731_608_382_574e-6,
    -1.984_126_983_672_243_7e-4,
    8.333_333_333_330_925e-3,
    -1.666_666_666_666_666_6e-1,
];
/// (cos r - 1 + r²/2) / r⁴ likewise, absolute error 3e-18.
const COS: [f64; 6] = [
    -1.138_245_686_584_048_3e-11,
    2.087_614_382_921_393_5e-9,
    -2.755_731_726_001_471e-7,
    2.480_158_729_874_308e-5,
    -1.388_888_888_888_738_2e-3,
    4.166_666_666_666_666_4e-2,
];

/// Returns a - b and its rounding error.
#[inline(always)]
fn difference(a: f64, b: f64) -> (f64, f64) {
    let d = a - b;
    let back = d - a;
    (d, (a - (d - back)) - (b + back))
}

/// sin (`QUARTER` = 0) or cos (`QUARTER` = 1) of |x| ≤ [`LIMIT`]; NaN for NaN.
#[inline(always)]
fn body<const FMA: bool, const QUARTER: u64>(x: f64) -> f64 {
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let quadrant = shifted.to_bits().wrapping_add(QUARTER);
    // The first difference is exact, and the last piece too small for a rounding error to matter.
    let (r, e1) = difference(x - n * HALF_PI[0], n * HALF_PI[1]);
    let (r, e2) = difference(r, n * HALF_PI[2]);
    let low = (e1 + e2) - n * HALF_PI[3];
    let hi = r + low;
    let lo = low - (hi - r);
    let z = hi * hi;
    let half = 0.5 * z;
    let s = hi + fma::<FMA>(z * hi, polynomial::<FMA, _>(&SIN, z), lo * (1.0 - half));
    let one = 1.0 - half;
    let c =
        one + (((1.0 - one) - half) + fma::<FMA>(z * z, polynomial::<FMA, _>(&COS, z), -(hi * lo)));
    let value = if quadrant & 1 == 0 { s } else { c };
    f64::from_bits(value.to_bits() ^ ((quadrant & 2) << 62))
}

#[inline(always)]
fn sin_body<const FMA: bool>(x: f64) -> f64 {
    let value = body::<FMA, 0>(x);
    // The sums above lose the sign of zero.
    if x == 0.0 { x } else { value }
}

#[inline(always)]
fn cos_body<const FMA: bool>(x: f64) -> f64 {
    body::<FMA, 1>(x)
}

/// Returns true if x needs the standard library: a large or infinite number.
#[inline(always)]
fn is_far(x: f64) -> bool {
    x.abs() > LIMIT
}

/// Replaces the lanes that are outside the range of the kernel.
#[cold]
#[inline(never)]
fn repair(x: &V, value: &mut V, f: fn(f64) -> f64) {
    for (value, &x) in value.0.iter_mut().zip(&x.0) {
        if is_far(x) {
            *value = f(x);
        }
    }
}

#[inline(always)]
fn any_far(x: &V) -> bool {
    let mut far = false;
    for &x in &x.0 {
        far |= is_far(x);
    }
    far
}

/// The sine, without fused operations: the same bits at every level. Beyond |x| = 10⁶ it is the
/// standard library's.
#[inline]
pub fn sin(x: f64) -> f64 {
    if is_far(x) { x.sin() } else { sin_body::<false>(x) }
}

/// The cosine, without fused operations: the same bits at every level. Beyond |x| = 10⁶ it is the
/// standard library's.
#[inline]
pub fn cos(x: f64) -> f64 {
    if is_far(x) { x.cos() } else { cos_body::<false>(x) }
}

/// The sine in each lane, for use inside a [`Kernel`](super::Kernel).
#[inline(always)]
#[must_use]
pub fn sinv<const FMA: bool>(x: V) -> V {
    let mut value = x.map(sin_body::<FMA>);
    if any_far(&x) {
        repair(&x, &mut value, f64::sin);
    }
    value
}

/// The cosine in each lane, for use inside a [`Kernel`](super::Kernel).
#[inline(always)]
#[must_use]
pub fn cosv<const FMA: bool>(x: V) -> V {
    let mut value = x.map(cos_body::<FMA>);
    if any_far(&x) {
        repair(&x, &mut value, f64::cos);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, LANES, dispatch};
    use super::*;

    struct Both(V);

    impl Kernel for Both {
        type Output = (V, V);

        #[inline(always)]
        fn run<const FMA: bool>(self) -> (V, V) {
            (sinv::<FMA>(self.0), cosv::<FMA>(self.0))
        }
    }

    fn units(value: f64, truth: f64) -> f64 {
        let unit = f64::from_bits(truth.abs().to_bits() + 1) - truth.abs();
        (value - truth).abs() / unit
    }

    fn check(x: f64) {
        let (s, c) = dispatch(Both(V::splat(x)));
        for (value, truth) in [(s.0[0], x.sin()), (sin(x), x.sin())] {
            let off = units(value, truth);
            assert!(off <= 1.5, "sin({x:e}) = {value:e} is off by {off} ulp");
        }
        for (value, truth) in [(c.0[0], x.cos()), (cos(x), x.cos())] {
            let off = units(value, truth);
            assert!(off <= 1.5, "cos({x:e}) = {value:e} is off by {off} ulp");
        }
    }

    #[test]
    fn agree_with_the_standard_library() {
        let mut x = 1.0e-12;
        while x < LIMIT {
            check(x);
            check(-x);
            x *= 1.000_317;
        }
        for i in 0..100_000 {
            check(f64::from(i) * 0.001_234_567);
        }
    }

    #[test]
    fn hold_their_digits_next_to_the_zeros() {
        for n in 1..100_000 {
            // The double nearest to nπ/2, and its neighbours: the worst cancellation there is.
            let x = f64::from(n) * std::f64::consts::FRAC_PI_2;
            for bits in [x.to_bits() - 1, x.to_bits(), x.to_bits() + 1] {
                check(f64::from_bits(bits));
            }
        }
    }

    #[test]
    fn special_values() {
        for f in [sin as fn(f64) -> f64, |x| dispatch(Both(V::splat(x))).0.0[3]] {
            assert!(f(f64::NAN).is_nan() && f(f64::INFINITY).is_nan());
            assert_eq!(f(-0.0).to_bits(), (-0.0_f64).to_bits());
            assert_eq!(f(1.0e-310), 1.0e-310);
            assert_eq!(f(1.0e22), 1.0e22_f64.sin());
        }
        for f in [cos as fn(f64) -> f64, |x| dispatch(Both(V::splat(x))).1.0[3]] {
            assert!(f(f64::NAN).is_nan() && f(f64::NEG_INFINITY).is_nan());
            assert_eq!(f(0.0), 1.0);
            assert_eq!(f(-1.0e22), 1.0e22_f64.cos());
        }
    }

    #[test]
    fn a_far_lane_leaves_the_others_alone() {
        let mut x = V([0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let (s, c) = dispatch(Both(x));
        x.0[2] = 1.0e9;
        let (t, d) = dispatch(Both(x));
        for l in (0..LANES).filter(|l| *l != 2) {
            assert_eq!((s.0[l], c.0[l]), (t.0[l], d.0[l]));
        }
        assert_eq!((t.0[2], d.0[2]), (1.0e9_f64.sin(), 1.0e9_f64.cos()));
    }
}
