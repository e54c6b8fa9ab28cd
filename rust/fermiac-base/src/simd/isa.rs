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

/// Returns the level of this process: the best of [`levels`]. `FERMIAC_ISA` (`baseline`, `avx2`,
/// `avx512`), read at the first call, lowers it; a level that is not among [`levels`] is ignored.
///
/// # Panics
///
/// Panics if there is no level at all: the library was built with `FERMIAC_BUILD_LEVELS=host` for
/// another CPU.
#[inline]
pub fn level() -> Level {
    #[expect(clippy::panic, reason = "no kernel can run")]
    *LEVEL.get_or_init(|| {
        let wanted = std::env::var("FERMIAC_ISA").unwrap_or_default();
        let named = levels().find(|level| level.name() == wanted);
        named.or_else(|| levels().last()).unwrap_or_else(|| {
            panic!("fermiac was built for other CPUs than this one: build it with FERMIAC_BUILD_LEVELS=all")
        })
    })
}

/// Returns the levels that are compiled and that this CPU has, lowest first.
pub fn levels() -> impl Iterator<Item = Level> {
    [Level::Baseline, Level::Avx2, Level::Avx512].into_iter().filter(|level| level.available())
}

impl Level {
    /// The name, as spelled in `FERMIAC_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Returns whether the level is compiled and this CPU has its instructions.
    fn available(self) -> bool {
        match self {
            Self::Baseline => cfg!(level_baseline),
            Self::Avx2 => cfg!(level_avx2) && has_avx2(),
            Self::Avx512 => cfg!(level_avx512) && has_avx512(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}
