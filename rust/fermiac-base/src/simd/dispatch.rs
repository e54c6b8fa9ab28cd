//! Dispatch to code compiled for more than the baseline instruction set.
#![allow(unsafe_code)]

use super::isa::{Level, level};

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
    #[cfg(target_arch = "x86_64")]
    {
        match level() {
            // SAFETY: `level` reports a level only where the CPU has all features it names.
            Level::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            Level::Avx2 => unsafe { avx2(kernel) },
            Level::Baseline => kernel.run::<false>(),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // AArch64 has FMA in its baseline.
        kernel.run::<{ cfg!(target_arch = "aarch64") }>()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}
