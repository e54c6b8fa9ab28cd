//! Dispatch to code compiled for more than the baseline instruction set.
//!
//! `build.rs` says which levels are compiled, by `level_baseline`, `level_avx2` and `level_avx512`.
#![allow(unsafe_code)]

use super::isa::{Level, level};
#[cfg(level_avx2)]
use super::shuffle::Avx2;
#[cfg(level_avx512)]
use super::shuffle::Avx512;
#[cfg(level_baseline)]
use super::shuffle::Plain;
use super::shuffle::Shuffle;

/// A computation that is compiled once per instruction-set level.
///
/// `run`, and everything called in its hot loop, must be `#[inline(always)]`: only code inlined into
/// the clone is compiled for the clone's level.
pub trait Kernel {
    /// The result.
    type Output;

    /// Runs the computation. `FMA` is true if fused multiply-add is one instruction.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs the kernel's clone for the level of this process.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match level() {
        // SAFETY: `level` reports a level only where the CPU has all features it names.
        #[cfg(level_avx512)]
        Level::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: as above.
        #[cfg(level_avx2)]
        Level::Avx2 => unsafe { avx2(kernel) },
        // AArch64 has FMA in its baseline.
        #[cfg(level_baseline)]
        Level::Baseline => kernel.run::<{ cfg!(target_arch = "aarch64") }>(),
        #[cfg(not(all(level_baseline, level_avx2, level_avx512)))]
        _ => unreachable!("`level` returns compiled levels only"),
    }
}

/// A [`Kernel`] that is given the shuffles of its level.
pub trait WideKernel {
    /// The result.
    type Output;

    /// Runs the computation. `FMA` is true if fused multiply-add is one instruction.
    fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) -> Self::Output;
}

/// Runs the kernel's clone for the level of this process.
#[inline]
pub fn dispatch_wide<K: WideKernel>(kernel: K) -> K::Output {
    match level() {
        // SAFETY: `level` reports a level only where the CPU has all features it names.
        #[cfg(level_avx512)]
        Level::Avx512 => unsafe { avx512(Wide(kernel, Avx512::new())) },
        // SAFETY: as above.
        #[cfg(level_avx2)]
        Level::Avx2 => unsafe { avx2(Wide(kernel, Avx2::new())) },
        #[cfg(level_baseline)]
        Level::Baseline => Wide(kernel, Plain).run::<{ cfg!(target_arch = "aarch64") }>(),
        #[cfg(not(all(level_baseline, level_avx2, level_avx512)))]
        _ => unreachable!("`level` returns compiled levels only"),
    }
}

/// A kernel with its shuffles.
struct Wide<K, S>(K, S);

impl<K: WideKernel, S: Shuffle> Kernel for Wide<K, S> {
    type Output = K::Output;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> K::Output {
        self.0.run::<FMA, S>(self.1)
    }
}

#[cfg(level_avx512)]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(level_avx2)]
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}
