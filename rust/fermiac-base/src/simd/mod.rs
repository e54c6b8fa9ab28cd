//! SIMD by run-time dispatch: one portable body, compiled once per instruction-set level.
//!
//! A kernel is an ordinary struct with an inlined `run`; [`dispatch`] calls the clone compiled for
//! the level of this machine. Bodies work on arrays of [`LANES`] doubles, which the compiler keeps
//! in vector registers, so a value never depends on its lane or its batch.

mod dispatch;
mod exp_log;
mod isa;
mod memory;
mod normal;
mod normal_tables;
#[cfg(test)]
mod normal_values;
mod real;
mod shuffle;
mod trig;
mod zeros;

pub use dispatch::{Kernel, WideKernel, dispatch, dispatch_wide};
pub(crate) use exp_log::EXP;
pub use exp_log::{exp, exp_slice, expm1v, expv, fma, ln, ln_slice, ln1p_pos, ln1pv, lnv};
pub use isa::{Level, level, levels};
pub use memory::{prefer_huge_pages, prefetch};
pub use normal::{
    erf, erf_slice, erfc, erfc_slice, erfcv, erfv, normal_cdf, normal_cdf_by, normal_cdf_slice,
    normal_cdfv, normal_quantile, normal_quantile_by, normal_quantile_slice, normal_quantilev,
};
pub use real::Real;
pub use shuffle::{Plain, Shuffle};
pub use trig::{cos, cosv, sin, sinv};
pub use zeros::{Unsigned, Zeros};

/// Doubles in one vector of the portable bodies: one AVX-512 register, two AVX2 registers.
pub const LANES: usize = 8;

/// [`LANES`] doubles, aligned for full-register loads.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct V(pub [f64; LANES]);

impl V {
    /// All lanes zero.
    pub const ZERO: Self = Self([0.0; LANES]);

    /// Returns a vector with the same value in all lanes.
    #[inline(always)]
    pub const fn splat(x: f64) -> Self {
        Self([x; LANES])
    }

    /// Returns the first numbers of a slice, at least [`LANES`] long.
    #[inline(always)]
    pub fn load(from: &[f64]) -> Self {
        let mut out = Self::ZERO;
        out.0.copy_from_slice(&from[..LANES]);
        out
    }

    /// Returns at most [`LANES`] numbers, and `padding` in the lanes after them.
    #[inline(always)]
    pub fn padded(numbers: &[f64], padding: f64) -> Self {
        let mut out = Self::splat(padding);
        out.0[..numbers.len()].copy_from_slice(numbers);
        out
    }

    /// Applies a function to each lane.
    #[inline(always)]
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let mut out = self;
        for x in &mut out.0 {
            *x = f(*x);
        }
        out
    }

    /// Applies a function to each pair of lanes.
    #[inline(always)]
    #[must_use]
    pub fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut out = self;
        for l in 0..LANES {
            out.0[l] = f(self.0[l], other.0[l]);
        }
        out
    }

    /// Returns the lane-wise maximum; if one side is NaN, the other.
    #[inline(always)]
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    /// Returns `self · b + c`, fused if `FMA`.
    #[inline(always)]
    #[must_use]
    pub fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self {
        let mut out = self;
        for l in 0..LANES {
            out.0[l] = fma::<FMA>(self.0[l], b.0[l], c.0[l]);
        }
        out
    }

    /// Returns the sum of the lanes of a vector that a loop added up, the same as [`sum`](Self::sum).
    ///
    /// The vector passes through memory. Otherwise the compiler begins at the sum, in which the lanes
    /// are apart, and then also splits the vectors of the loop.
    #[inline(always)]
    pub fn loop_sum(self) -> f64 {
        std::hint::black_box(self).sum()
    }

    /// Returns the sum of the lanes, always in the same order.
    #[inline(always)]
    pub fn sum(self) -> f64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

macro_rules! lane_by_lane {
    ($($Trait:ident $method:ident $sign:tt),*) => {$(
        impl std::ops::$Trait for V {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: Self) -> Self {
                self.zip(o, |a, b| a $sign b)
            }
        }
    )*};
}
lane_by_lane!(Add add +, Sub sub -, Mul mul *, Div div /);
