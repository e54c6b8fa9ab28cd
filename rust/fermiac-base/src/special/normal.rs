//! The upper tail of the standard normal law, Mills' ratio and the logarithm of its distribution
//! function.
#![allow(clippy::unreadable_literal, clippy::excessive_precision)] // constants keep their digits

use super::arithmetic::two_product;
use crate::simd::{Kernel, LANES, Real, V, dispatch, normal_cdf, normal_quantile};

/// The zero of the variable of [`MILLS`].
const MIDDLE: f64 = 4.0;
/// (z + 4) Q(z) exp(z²/2) in powers of (z - 4) / (z + 4), highest first: Chebyshev interpolation,
/// relative error 5e-18.
#[rustfmt::skip]
const MILLS: [f64; 26] = [
    1.175478991480774e-10,
    3.403312308649495e-10,
    -8.546521899880147e-10,
    -3.73064508186837e-09,
    1.4329918401088613e-09,
    2.1427603843452355e-08,
    1.4630727405651175e-08,
    -8.686647015997893e-08,
    -1.5650236461993106e-07,
    2.7246296951145873e-07,
    1.0225604158296038e-06,
    -6.298367338492369e-07,
    -5.920586519556891e-06,
    7.166587641195121e-07,
    3.514479478753355e-05,
    -1.908246351414571e-06,
    -0.00023109495324019437,
    0.00013334430941183256,
    0.001630818459394586,
    -0.0034796923670479736,
    -0.00754018896682524,
    0.060396574890917876,
    -0.18652185795965484,
    0.3871374007422149,
    -0.6078966419718921,
    0.7552851304157515,
];
/// The number of standard deviations beyond which a tail underflows.
const FAR: f64 = 40.0;

/// Returns 1 - Φ(x), the probability above x, to 1.5 ulp in both tails.
#[inline]
pub fn normal_survival(x: f64) -> f64 {
    normal_cdf(-x)
}

/// Returns Mills' ratio over √(2π), Q(z) exp(z²/2), for finite z ≥ 0.
#[inline(always)]
pub fn mills<R: Real>(z: R) -> R {
    let over = R::of(1.0) / (z + R::of(MIDDLE));
    ((z - R::of(MIDDLE)) * over).horner(&MILLS) * over
}

#[inline(always)]
fn ln_cdf<R: Real>(x: R) -> R {
    let (zero, one, half) = (R::of(0.0), R::of(1.0), R::of(0.5));
    let size = x.abs();
    let finite = R::of(f64::MAX).below(size, R::of(f64::MAX), size);
    let ratio = mills(finite);
    // The tail above x from x² in two doubles; ln(1 - tail) is -tail if that is small.
    let near = R::of(FAR).below(size, R::of(FAR), size);
    let (square, lost) = two_product(near, near);
    let gauss = (zero - half * square).exp();
    let tail = ratio * (gauss - gauss * (half * lost));
    let u = one - tail;
    let lost = ((zero - tail) - (u - one)) / u;
    let ln = x.below(zero, ratio, u).ln();
    ln + x.below(zero, zero - half * (x * x), lost)
}

/// Returns ln Φ(x), finite even in the far lower tail.
pub fn normal_ln_cdf(x: f64) -> f64 {
    ln_cdf(x)
}

struct LnCdf<'a>(&'a mut [f64]);

impl Kernel for LnCdf<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (tiles, rest) = self.0.as_chunks_mut::<LANES>();
        for tile in tiles {
            *tile = ln_cdf(V(*tile)).0;
        }
        let padded = ln_cdf(V::padded(rest, 0.0));
        rest.copy_from_slice(&padded.0[..rest.len()]);
    }
}

/// Replaces every element by its [`normal_ln_cdf`], with the same bits.
pub fn normal_ln_cdf_slice(x: &mut [f64]) {
    dispatch(LnCdf(x));
}

/// Returns the point with probability `q` above it, -Φ⁻¹(q).
#[inline]
pub fn normal_survival_quantile(q: f64) -> f64 {
    -normal_quantile(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1/√(2π).
    const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

    /// x, Φ(x), ln Φ(x).
    const CDF: [(f64, f64, f64); 21] = [
        (-37.5, 4.605_353_009_581_954_84e-308, -7.076_689_893_175_071_91e2),
        (-37.0, 5.725_571_222_524_576_82e-300, -6.890_305_855_768_905_94e2),
        (-30.031_25, 1.918_564_690_023_452_34e-198, -4.552_602_710_636_210_84e2),
        (-20.7, 1.731_851_879_019_737_86e-95, -2.181_963_925_481_476_13e2),
        (-12.3, 4.528_706_956_158_784_65e-35, -7.908_004_179_618_399_60e1),
        (-8.1, 2.747_959_392_398_228_49e-16, -3.583_050_289_080_147_18e1),
        (-5.0, 2.866_515_718_791_939_12e-7, -1.506_499_839_398_872_57e1),
        (-3.3, 4.834_241_423_837_775_07e-4, -7.634_616_148_071_127_29e0),
        (-2.0, 2.275_013_194_817_920_72e-2, -3.783_184_333_682_031_95e0),
        (-1.5, 6.680_720_126_885_806_60e-2, -2.705_944_400_823_889_81e0),
        (-1.0, 1.586_552_539_314_570_51e-1, -1.841_021_645_009_263_51e0),
        (-0.5, 3.085_375_387_259_868_96e-1, -1.175_911_761_593_618_61e0),
        (-0.1, 4.601_721_627_229_710_16e-1, -7.761_545_927_302_733_26e-1),
        (-1e-08, 4.999_999_960_105_771_96e-1, -6.931_471_885_387_909_49e-1),
        (0.001, 5.003_989_422_139_110_63e-1, -6.923_496_142_726_882_43e-1),
        (0.7, 7.580_363_477_769_269_71e-1, -2.770_239_422_771_312_63e-1),
        (1.96, 9.750_021_048_517_795_64e-1, -2.531_564_916_428_211_49e-2),
        (3.0, 9.986_501_019_683_699_05e-1, -1.350_809_964_748_193_80e-3),
        (6.5, 9.999_999_999_598_399_94e-1, -4.016_000_583_939_759_11e-11),
        (9.0, 1.000_000_000_000_000_00e0, -1.128_588_405_953_840_65e-19),
        (20.0, 1.000_000_000_000_000_00e0, -2.753_624_118_606_233_70e-89),
    ];
    const QUANTILE: [(f64, f64); 22] = [
        (1e-307, -3.747_933_256_432_157_66e1),
        (1e-200, -3.020_559_417_957_964_31e1),
        (1e-100, -2.127_345_356_096_532_43e1),
        (1e-30, -1.146_402_468_844_361_57e1),
        (1e-16, -8.222_082_216_130_435_62e0),
        (1e-12, -7.034_483_825_301_131_93e0),
        (1e-11, -6.706_023_155_495_136_30e0),
        (1e-08, -5.612_001_244_174_788_73e0),
        (0.0001, -3.719_016_485_455_680_55e0),
        (0.01, -2.326_347_874_040_841_09e0),
        (0.07, -1.475_791_028_179_170_69e0),
        (0.075, -1.439_531_470_938_455_93e0),
        (0.08, -1.405_071_560_309_632_54e0),
        (0.2, -8.416_212_335_729_141_66e-1),
        (0.4, -2.533_471_031_357_997_41e-1),
        (0.49, -2.506_890_825_871_105_80e-2),
        (0.499_999_9, -2.506_628_274_703_106_51e-7),
        (0.500_01, 2.506_628_274_882_086_27e-5),
        (0.6, 2.533_471_031_357_997_41e-1),
        (0.9, 1.281_551_565_544_600_59e0),
        (0.95, 1.644_853_626_951_472_28e0),
        (0.999, 3.090_232_306_167_813_28e0),
    ];

    #[test]
    fn the_distribution_function_meets_reference_values() {
        for (x, cdf, ln_cdf) in CDF {
            let error = (normal_cdf(x) / cdf - 1.0).abs();
            assert!(error < 2.0e-15, "cdf({x}) is off by {error}");
            assert_eq!(normal_survival(-x), normal_cdf(x));
            let error = (normal_ln_cdf(x) / ln_cdf - 1.0).abs();
            assert!(error < 2.0e-15, "ln_cdf({x}) is off by {error}");
        }
    }

    #[test]
    fn the_quantile_meets_reference_values() {
        for (p, x) in QUANTILE {
            let error = (normal_quantile(p) / x - 1.0).abs();
            assert!(error < 2.0e-15, "quantile({p}) is off by {error}");
            assert_eq!(normal_survival_quantile(p), -normal_quantile(p));
        }
    }

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        let mut x = -37.0;
        while x < 4.0 {
            let p = normal_cdf(x);
            // dx = dp / φ(x), and one unit of p is all that p can say.
            let slack = 1.0e-15 * (8.0 + p / (INV_SQRT_2PI * (-0.5 * x * x).exp()) + x.abs() * 4.0);
            let error = (normal_quantile(p) - x).abs();
            assert!(error < slack, "at {x}: {error}");
            x += 0.037;
        }
    }

    #[test]
    fn mills_ratio_joins_its_continued_fraction() {
        for z in [20.0, 40.0, 1.0e3, 1.0e9] {
            let tail = (1..=30).rev().fold(0.0, |t, k| f64::from(k) / (z + t));
            assert!((mills(z) * (z + tail) / INV_SQRT_2PI - 1.0).abs() < 2e-15, "at {z}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(normal_cdf(f64::NEG_INFINITY), 0.0);
        assert_eq!(normal_cdf(f64::INFINITY), 1.0);
        assert_eq!(normal_cdf(0.0), 0.5);
        assert_eq!(normal_ln_cdf(f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(normal_ln_cdf(f64::INFINITY), 0.0);
        assert_eq!(normal_ln_cdf(-1.0e200), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert_eq!(normal_quantile(0.5), 0.0);
        assert!(normal_quantile(-0.1).is_nan() && normal_quantile(1.1).is_nan());
        assert!(normal_quantile(f64::NAN).is_nan() && normal_cdf(f64::NAN).is_nan());
        assert!(normal_ln_cdf(f64::NAN).is_nan());
    }
}
