//! Arithmetic that is generic over one number, `f64`, and eight, [`V`].
//!
//! A function that is generic over [`Real`] gives a value the same bits alone and in a batch.
//! Operations named after FMA fuse if the clone has the instruction; all others never fuse and have
//! the same bits at every level.

use super::exp_log::{exp_body, fma, ln_body, ln1p_body};
use super::normal::{normal_cdf_body, normal_quantile_body};
use super::{LANES, V};
use std::ops::{Add, Div, Mul, Sub};

/// A double, or [`LANES`] of them.
#[allow(clippy::return_self_not_must_use, reason = "arithmetic: every result is used")]
pub trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// Returns the same number in all lanes.
    fn of(x: f64) -> Self;
    /// Returns column `j` of as many rows, which lie `dim` apart.
    fn column(rows: &[f64], dim: usize, j: usize) -> Self;
    /// Applies `f`, which must be inlined, to every lane.
    fn each(self, f: impl Fn(f64) -> f64) -> Self;
    /// Applies `f`, which must be inlined, to every pair of lanes.
    fn pair(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self;
    /// Returns `self · b + c`, fused if `FMA`.
    fn fma<const FMA: bool>(self, b: Self, c: Self) -> Self;
    /// Selects `yes` in the lanes with `self` < `bound`, else `no`.
    fn below(self, bound: Self, yes: Self, no: Self) -> Self;
    /// Returns true if `self` < `bound` in any lane.
    fn any_below(self, bound: Self) -> bool;

    /// |x|.
    #[inline(always)]
    fn abs(self) -> Self {
        self.each(f64::abs)
    }

    /// √x.
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.each(f64::sqrt)
    }

    /// exp x.
    #[inline(always)]
    fn exp(self) -> Self {
        self.each(exp_body::<false>)
    }

    /// ln x.
    #[inline(always)]
    fn ln(self) -> Self {
        self.each(ln_body::<false>)
    }

    /// exp x, fused if `FMA`.
    #[inline(always)]
    fn exp_fma<const FMA: bool>(self) -> Self {
        self.each(exp_body::<FMA>)
    }

    /// ln x, fused if `FMA`.
    #[inline(always)]
    fn ln_fma<const FMA: bool>(self) -> Self {
        self.each(ln_body::<FMA>)
    }

    /// ln(1 + x) for x > -1 or +inf.
    #[inline(always)]
    fn ln1p_fma<const FMA: bool>(self) -> Self {
        self.each(ln1p_body::<FMA>)
    }

    /// Φ(x), the normal distribution function.
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        self.each(normal_cdf_body::<false>)
    }

    /// Φ⁻¹(x), the normal quantile.
    #[inline(always)]
    fn normal_quantile(self) -> Self {
        self.each(normal_quantile_body::<false>)
    }

    /// The polynomial with these coefficients, highest first.
    #[inline(always)]
    fn horner<const N: usize>(self, c: &[f64; N]) -> Self {
        let mut sum = Self::of(c[0]);
        for &c in &c[1..] {
            sum = sum * self + Self::of(c);
        }
        sum
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn column(rows: &[f64], _dim: usize, j: usize) -> Self {
        rows[j]
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        f(self)
    }

    #[inline(always)]
    fn pair(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        f(self, other)
    }

    #[inline(always)]
    fn fma<const FMA: bool>(self, b: Self, c: Self) -> Self {
        fma::<FMA>(self, b, c)
    }

    #[inline(always)]
    fn below(self, bound: Self, yes: Self, no: Self) -> Self {
        if self < bound { yes } else { no }
    }

    #[inline(always)]
    fn any_below(self, bound: Self) -> bool {
        self < bound
    }
}

impl Real for V {
    #[inline(always)]
    fn of(x: f64) -> Self {
        Self::splat(x)
    }

    #[inline(always)]
    fn column(rows: &[f64], dim: usize, j: usize) -> Self {
        let mut column = Self::ZERO;
        for l in 0..LANES {
            column.0[l] = rows[l * dim + j];
        }
        column
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        self.map(f)
    }

    #[inline(always)]
    fn pair(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        self.zip(other, f)
    }

    #[inline(always)]
    fn fma<const FMA: bool>(self, b: Self, c: Self) -> Self {
        self.mul_add::<FMA>(b, c)
    }

    #[inline(always)]
    fn below(self, bound: Self, yes: Self, no: Self) -> Self {
        let mut out = no;
        for l in 0..LANES {
            out.0[l] = if self.0[l] < bound.0[l] { yes.0[l] } else { no.0[l] };
        }
        out
    }

    #[inline(always)]
    fn any_below(self, bound: Self) -> bool {
        let mut any = false;
        for l in 0..LANES {
            any |= self.0[l] < bound.0[l];
        }
        any
    }
}
