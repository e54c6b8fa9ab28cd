//! Logarithms of the gamma and beta functions, free of cancellation at large arguments.
#![allow(clippy::excessive_precision)] // constants keep the digits of their sources

use super::elementary::ln1p;
use crate::simd::{Kernel, LANES, Real, V, dispatch, ln, ln1p_pos, sin};

/// ln √(2π).
pub const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_7;

/// The least argument at which eight terms of Stirling's series are enough.
const LARGE: f64 = 12.0;
const ONE_LESS_EULER: f64 = 4.227_843_350_984_671_39e-1;

/// (-1)ᵏ (ζ(k) - 1) / k for k = 28 … 2: the Taylor series of ln Γ(2 + z) after its linear term.
const TAYLOR: [f64; 27] = [
    1.330_476_437_424_448_95e-10,
    -2.759_522_885_124_233_15e-10,
    5.731_367_241_678_862_01e-10,
    -1.192_140_140_586_091_21e-9,
    2.483_674_543_802_478_32e-9,
    -5.183_475_041_970_046_66e-9,
    1.083_865_921_489_695_41e-8,
    -2.271_109_460_894_316_49e-8,
    4.769_810_169_363_980_57e-8,
    -1.004_322_482_396_809_96e-7,
    2.120_718_480_555_466_59e-7,
    -4.492_469_198_764_566_04e-7,
    9.551_412_130_407_419_83e-7,
    -2.039_215_753_801_366_24e-6,
    4.374_866_789_907_487_80e-6,
    -9.439_488_275_268_395_90e-6,
    2.050_721_277_567_069_16e-5,
    -4.492_623_673_813_314_17e-5,
    9.945_751_278_180_853_37e-5,
    -2.231_547_584_535_793_80e-4,
    5.096_695_247_430_424_22e-4,
    -1.192_753_911_703_260_98e-3,
    2.890_510_330_741_523_29e-3,
    -7.385_551_028_673_985_27e-3,
    2.058_080_842_778_454_79e-2,
    -6.735_230_105_319_809_51e-2,
    3.224_670_334_241_132_18e-1,
];

/// B₂ₖ / (2k (2k - 1)) for k = 8 … 1.
const STIRLING: [f64; 8] = [
    -3617.0 / 122_400.0,
    1.0 / 156.0,
    -691.0 / 360_360.0,
    1.0 / 1188.0,
    -1.0 / 1680.0,
    1.0 / 1260.0,
    -1.0 / 360.0,
    1.0 / 12.0,
];

/// ln Γ(2 + z) for |z| ≤ 1/2.
#[inline(always)]
fn near_two<R: Real>(z: R) -> R {
    z * (R::of(ONE_LESS_EULER) + z * z.horner(&TAYLOR))
}

/// Returns ln Γ(x) for x > 0 with a relative error of about 1e-15, absolute near the zeros at 1 and
/// 2; +inf at 0 and on overflow, NaN below 0.
pub fn ln_gamma(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        f64::NAN
    } else if x < 0.5 {
        near_two(x) - ln1p_pos(x) - ln(x)
    } else if x < 1.5 {
        near_two(x - 1.0) - ln(x)
    } else if x < LARGE {
        let mut y = x;
        let mut product = 1.0;
        while y > 2.5 {
            y -= 1.0;
            product *= y;
        }
        near_two(y - 2.0) + ln(product)
    } else if x > 2.0e305 {
        // (x - ½) ln x overflows a little before ln Γ(x).
        x * (ln(x) - 1.0)
    } else {
        stirling(x, ln(x))
    }
}

/// Returns ln |Γ(x)|: below 0 by reflection, with an absolute error near the zeros; +inf at the poles.
pub fn ln_abs_gamma(x: f64) -> f64 {
    if x.is_nan() || x >= 0.0 {
        return ln_gamma(x);
    }
    let turn = x - x.floor();
    if turn == 0.0 || x == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    ln(std::f64::consts::PI / sin(std::f64::consts::PI * turn)) - ln_gamma(1.0 - x)
}

/// Returns the error of Stirling's formula, ln Γ(x) - ((x - ½) ln x - x + ln √(2π)), for x > 0.
///
/// Differences of ln Γ at large arguments, and densities around their mode, are exact sums of
/// such corrections; differences of [`ln_gamma`] lose all digits below its rounding error.
pub fn stirling_correction(x: f64) -> f64 {
    if x < LARGE {
        return ln_gamma(x) - ((x - 0.5) * ln(x) - x + LN_SQRT_2PI);
    }
    stirling_series(x)
}

/// [`stirling_correction`] for x ≥ 12.
#[inline(always)]
pub(super) fn stirling_series<R: Real>(x: R) -> R {
    let y = R::of(1.0) / x;
    y * (y * y).horner(&STIRLING)
}

/// The range covered by the lanes of [`ln_abs_gamma_slice`].
const SERVED: (f64, f64) = (f64::MIN_POSITIVE, 2.0e305);

/// Returns [`ln_gamma`] within [`SERVED`], by the same operations.
#[inline(always)]
pub(super) fn ln_gamma_inside(x: V) -> V {
    let (one, large) = (V::splat(1.0), V::splat(LARGE));
    if !x.any_below(large) {
        return stirling(x, x.ln());
    }
    let (mut y, mut product) = (x.below(large, x, V::splat(2.0)), one);
    let top = V::splat(2.5);
    for _ in 0..10 {
        if !top.any_below(y) {
            break;
        }
        let less = y - one;
        product = top.below(y, product * less, product);
        y = top.below(y, less, y);
    }
    let (half, low) = (V::splat(0.5), V::splat(1.5));
    let z = x.below(low, x.below(half, x, x - one), y - V::splat(2.0));
    let ln = x.below(low, x, x.below(large, product, x)).ln();
    let near = near_two(z);
    let mut value = x.below(low, near - ln, near + ln);
    if x.any_below(half) {
        let u = one + x;
        let more = u.ln() + (x - (u - one)) / u;
        value = x.below(half, (near - more) - ln, value);
    }
    if x.0.iter().any(|&x| x >= LARGE) {
        value = x.below(large, value, stirling(x, ln));
    }
    value
}

#[inline(always)]
fn stirling<R: Real>(x: R, ln: R) -> R {
    (x - R::of(0.5)) * ln - x + R::of(LN_SQRT_2PI) + stirling_series(x)
}

struct LnAbsGamma<'a>(&'a mut [f64]);

impl Kernel for LnAbsGamma<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let inside = |x: f64| x >= SERVED.0 && x <= SERVED.1;
        for tile in self.0.chunks_mut(LANES) {
            let x = V::padded(tile, 1.0);
            tile.copy_from_slice(&ln_gamma_inside(x).0[..tile.len()]);
            if !x.0.iter().all(|&x| inside(x)) {
                for (value, x) in tile.iter_mut().zip(x.0).filter(|(_, x)| !inside(*x)) {
                    *value = ln_abs_gamma(x);
                }
            }
        }
    }
}

/// Replaces every element by its [`ln_abs_gamma`], with the same bits.
pub fn ln_abs_gamma_slice(x: &mut [f64]) {
    dispatch(LnAbsGamma(x));
}

/// Returns ln B(a, b) for a, b > 0 of any size, with an absolute or relative error of about 1e-14.
///
/// # References
/// A. R. DiDonato and A. H. Morris, "Algorithm 708: significant digit computation of the
/// incomplete beta function ratios", ACM Transactions on Mathematical Software 18 (1992).
pub fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a <= b { (a, b) } else { (b, a) };
    if large < LARGE {
        return ln_gamma(small) + (ln_gamma(large) - ln_gamma(small + large));
    }
    let ratio = small / large;
    let corrections = stirling_correction(large) - stirling_correction(small + large);
    if small < LARGE {
        // ln Γ(large) - ln Γ(small + large), with the large parts cancelled analytically.
        let difference =
            corrections - (large - 0.5) * ln1p_pos(ratio) - small * (ln(small + large) - 1.0);
        return ln_gamma(small) + difference;
    }
    let share = ratio / (1.0 + ratio);
    LN_SQRT_2PI - 0.5 * ln(large)
        + corrections
        + stirling_correction(small)
        + (small - 0.5) * ln(share)
        + large * ln1p(-share)
}

/// Returns ln Γ(1 + a) for a ≥ 0, to a few ulp of the value even for tiny a.
pub(super) fn ln_gamma_1p(a: f64) -> f64 {
    if a < 0.5 { near_two(a) - ln1p_pos(a) } else { ln_gamma(1.0 + a) }
}

/// Returns ln Γ(b + a) - ln Γ(b) for b > 0 and 0 < a ≤ 1, to a few ulp of the value even for tiny a.
pub(super) fn ln_rising(b: f64, a: f64) -> f64 {
    let mut low = b;
    let mut shift = 0.0;
    while low < LARGE {
        shift += ln1p_pos(a / low);
        low += 1.0;
    }
    let sum = low + a;
    let corrections = stirling_correction(sum) - stirling_correction(low);
    (low - 0.5) * ln1p_pos(a / low) + a * (ln(sum) - 1.0) + corrections - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments and values to 20 digits.
    const LN_GAMMA: [(f64, f64); 23] = [
        (1e-300, 6.907_755_278_982_137_05e2),
        (1e-10, 2.302_585_092_988_273_52e1),
        (0.01, 4.599_479_878_042_021_70e0),
        (0.25, 1.288_022_524_698_077_46e0),
        (0.4999, 5.725_613_186_041_184_16e-1),
        (0.5, 5.723_649_429_247_000_87e-1),
        (0.75, 2.032_809_514_312_953_71e-1),
        (1.25, -9.827_183_642_181_316_15e-2),
        (1.461_632_144_968_362_2, -1.214_862_905_358_496_08e-1),
        (1.75, -8.440_112_102_048_555_60e-2),
        (2.25, 1.248_717_148_923_965_94e-1),
        (2.5, 2.846_828_704_729_191_60e-1),
        (3.0, std::f64::consts::LN_2),
        (5.5, 3.957_813_967_618_716_29e0),
        (9.99, 1.277_931_521_435_019_34e1),
        (11.999, 1.749_986_522_764_610_57e1),
        (12.0, 1.750_230_784_587_388_58e1),
        (20.0, 3.933_988_418_719_949_40e1),
        (100.5, 3.614_355_404_677_776_22e2),
        (10_000.0, 8.209_971_749_644_237_73e4),
        (10_000_000_000.0, 2.202_585_092_888_105_81e11),
        (1e+100, 2.292_585_092_994_045_72e102),
        (1e+300, 6.897_755_278_982_137_41e302),
    ];
    const LN_BETA: [(f64, f64, f64); 15] = [
        (0.5, 0.5, 1.144_729_885_849_400_17e0),
        (1.0, 1.0, 0.000_000_000_000_000_00e0),
        (2.0, 3.0, -2.484_906_649_788_000_31e0),
        (0.001, 5.0, 6.905_672_657_062_074_72e0),
        (0.5, 20.0, -9.192_518_444_066_039_86e-1),
        (3.0, 1_000_000.0, -4.075_338_749_333_037_70e1),
        (0.5, 500_000_000_000.0, -1.289_657_202_475_935_14e1),
        (11.9, 11.9, -1.645_915_885_641_458_69e1),
        (12.0, 12.0, -1.660_205_987_601_660_19e1),
        (15.0, 400.0, -6.494_013_135_313_101_56e1),
        (100_000.5, 100_000.5, -1.386_346_202_110_286_22e5),
        (1_000_000.0, 3.0, -4.075_338_749_333_037_70e1),
        (1_000_000.0, 2_000_000.0, -1.909_548_290_968_532_96e6),
        (100_000_000.0, 100_000_000.0, -1.386_294_440_568_173_09e8),
        (50.0, 1_000_000_000_000.0, -1.236_985_311_851_307_52e3),
    ];

    #[test]
    fn ln_gamma_meets_reference_values() {
        for (x, value) in LN_GAMMA {
            let error = (ln_gamma(x) - value).abs() / value.abs().max(1.0);
            assert!(error < 1.0e-15, "ln_gamma({x}) is off by {error}");
        }
    }

    #[test]
    fn ln_gamma_keeps_its_relative_accuracy_at_its_zeros() {
        for step in [1.0e-6, 1.0e-10, -1.0e-6, -1.0e-10] {
            // Γ's Taylor series at 1 and 2, three terms.
            let z = (1.0 + step) - 1.0;
            let euler = 1.0 - ONE_LESS_EULER;
            let series = z * (-euler + z * (0.822_467_033_424_113_2 - z * 0.400_685_634_386_531_4));
            assert!((ln_gamma(1.0 + step) / series - 1.0).abs() < 1.0e-15, "at 1 + {step}");
            let z = (2.0 + step) - 2.0;
            let series = z * (ONE_LESS_EULER + z * (TAYLOR[26] + z * TAYLOR[25]));
            assert!((ln_gamma(2.0 + step) / series - 1.0).abs() < 1.0e-15, "at 2 + {step}");
        }
        assert_eq!((ln_gamma(1.0), ln_gamma(2.0)), (0.0, 0.0));
    }

    #[test]
    fn ln_gamma_edges() {
        assert_eq!(ln_gamma(0.0), f64::INFINITY);
        assert_eq!(ln_gamma(f64::INFINITY), f64::INFINITY);
        assert!(ln_gamma(-1.0).is_nan() && ln_gamma(f64::NAN).is_nan());
    }

    #[test]
    fn ln_gamma_obeys_its_recurrence() {
        for i in 1..4000 {
            let x = f64::from(i) * 0.01;
            let (next, this) = (ln_gamma(x + 1.0), ln_gamma(x));
            let error = (next - this - ln(x)).abs();
            assert!(error < 1.0e-15 * (1.0 + next.abs() + this.abs()), "at {x}: {error}");
        }
    }

    #[test]
    fn ln_beta_meets_reference_values() {
        for (a, b, value) in LN_BETA {
            for computed in [ln_beta(a, b), ln_beta(b, a)] {
                let error = (computed - value).abs() / value.abs().max(1.0);
                assert!(error < 1.0e-14, "ln_beta({a}, {b}) is off by {error}");
            }
        }
    }
}
