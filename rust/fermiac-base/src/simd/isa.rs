//! The instruction-set level of the kernels: detected once, forced by `FERMIAC_ISA`.

use std::sync::OnceLock;

/// The levels that the SIMD kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every CPU of the architecture has.
    Baseline,
    /// AVX2 and FMA (x86-64).
    Avx2,
    /// AVX-512 F, BW, DQ and VL (x86-64).
    Avx512,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// The level of this process. `FERMIAC_ISA` (`baseline`, `avx2`, `avx512`), read at the first
/// call, lowers it; a level that the CPU does not have, or an unknown name, is not taken.
#[inline]
pub fn level() -> Level {
    *LEVEL.get_or_init(|| {
        let best = detect();
        let wanted = match std::env::var("FERMIAC_ISA").as_deref() {
            Ok("baseline") => Level::Baseline,
            Ok("avx2") => Level::Avx2,
            _ => best,
        };
        wanted.min(best)
    })
}

/// The name of [`level`], as `FERMIAC_ISA` spells it.
pub fn level_name() -> &'static str {
    match level() {
        Level::Baseline => "baseline",
        Level::Avx2 => "avx2",
        Level::Avx512 => "avx512",
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Baseline
}
