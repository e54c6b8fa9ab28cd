//! The instruction-set level of the kernels, detected once or forced by `FERMIAC_ISA`.

use std::sync::OnceLock;

/// An instruction-set level that the SIMD kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The instructions of every CPU of the architecture.
    Baseline,
    /// AVX2 and FMA (x86-64).
    Avx2,
    /// AVX-512 F, BW, DQ and VL (x86-64).
    Avx512,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Returns the level of this process. `FERMIAC_ISA` (`baseline`, `avx2`, `avx512`), read at the first
/// call, lowers it; a level above that of the CPU or an unknown name is ignored.
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

/// Returns the name of [`level`], as spelled in `FERMIAC_ISA`.
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
