//! The standard normal law: distribution function, its logarithm, and quantile, right in both tails.
#![allow(clippy::excessive_precision)] // constants keep the digits of their sources

use super::elementary::ln1p;
use super::gamma::LN_SQRT_2PI;
use crate::simd::{exp, ln};

/// 1/√(2π).
const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// Chebyshev coefficients of (1 + x) Q(x)/φ(x) in t = (x - 5)/(x + 5), for all x ≥ 0: the form of
/// M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x",
/// Mathematics of Computation 36 (1981), fitted anew for the normal law.
const MILLS: [f64; 27] = [
    1.157_997_622_130_518_72e0,
    -1.633_449_388_451_397_89e-1,
    -1.368_313_605_578_157_64e-2,
    3.082_200_019_810_003_97e-2,
    -1.622_007_301_204_680_70e-2,
    5.616_691_016_460_093_49e-3,
    -1.413_393_378_354_921_63e-3,
    2.502_625_460_725_660_65e-4,
    -2.468_907_239_728_387_00e-5,
    -1.010_796_406_183_759_23e-6,
    7.495_419_179_740_572_91e-7,
    -7.600_274_268_728_336_88e-8,
    -1.157_477_144_132_864_47e-8,
    3.333_386_472_599_843_15e-9,
    7.538_039_628_171_347_02e-11,
    -1.110_424_726_372_749_45e-10,
    3.509_243_776_551_058_83e-12,
    3.689_495_386_175_095_37e-12,
    -2.337_669_777_638_309_37e-13,
    -1.327_179_752_354_140_55e-13,
    9.921_706_995_888_276_55e-15,
    5.276_004_995_455_379_07e-15,
    -3.373_097_694_187_921_83e-16,
    -2.280_433_877_637_994_56e-16,
    7.496_330_565_808_626_39e-18,
    1.032_804_187_729_066_83e-17,
    1.494_057_856_124_751_26e-19,
];

/// Mills' ratio Q(x)/φ(x) for x ≥ 0.
fn mills(x: f64) -> f64 {
    // At infinity t is 1 and the ratio 0.
    let t = 1.0 - 10.0 / (x + 5.0);
    let (mut b1, mut b2) = (0.0, 0.0);
    for &c in MILLS[1..].iter().rev() {
        (b1, b2) = (2.0 * t * b1 - b2 + c, b1);
    }
    (t * b1 - b2 + MILLS[0]) / (1.0 + x)
}

/// Q(x) for x ≥ 0.
fn upper_tail(x: f64) -> f64 {
    if x > 40.0 {
        return 0.0;
    }
    // x² in two parts, the first exact: exp keeps its relative accuracy where x² is large.
    let head = (x * 16.0).trunc() / 16.0;
    let rest = (x - head) * (x + head);
    // The large factor last, so that results below the normal range round only once.
    (INV_SQRT_2PI * exp(-0.5 * rest) * mills(x)) * exp(-0.5 * head * head)
}

/// Φ(x) - ½ for |x| ≤ ½, by its Taylor series.
fn central(x: f64) -> f64 {
    let h = -0.5 * x * x;
    let (mut power, mut sum) = (1.0, 1.0);
    for k in 1..=11 {
        power *= h / f64::from(k);
        sum += power / f64::from(2 * k + 1);
    }
    INV_SQRT_2PI * x * sum
}

/// Φ(x): the probability below x, to 1e-14 of its value in both tails.
pub fn normal_cdf(x: f64) -> f64 {
    normal_survival(-x)
}

/// 1 - Φ(x): the probability above x, to 1e-14 of its value in both tails.
pub fn normal_survival(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x.abs() <= 0.5 {
        0.5 - central(x)
    } else if x > 0.0 {
        upper_tail(x)
    } else {
        1.0 - upper_tail(-x)
    }
}

/// ln Φ(x), finite however far down the tail.
pub fn normal_ln_cdf(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x < 0.0 {
        ln(mills(-x)) - 0.5 * x * x - LN_SQRT_2PI
    } else {
        ln1p(-normal_survival(x))
    }
}

// The coefficients of algorithm AS 241, numerators and denominators by falling power.
const CENTRAL: [[f64; 8]; 2] = [
    [
        2.509_080_928_730_122_672_7e3,
        3.343_057_558_358_812_810_5e4,
        6.726_577_092_700_870_085_3e4,
        4.592_195_393_154_987_145_7e4,
        1.373_169_376_550_946_112_5e4,
        1.971_590_950_306_551_442_7e3,
        1.331_416_678_917_843_774_5e2,
        3.387_132_872_796_366_608_0,
    ],
    [
        5.226_495_278_852_854_561_0e3,
        2.872_908_573_572_194_267_4e4,
        3.930_789_580_009_271_061_0e4,
        2.121_379_430_158_659_586_7e4,
        5.394_196_021_424_751_107_7e3,
        6.871_870_074_920_579_083_0e2,
        4.231_333_070_160_091_125_2e1,
        1.0,
    ],
];
const MIDDLE: [[f64; 8]; 2] = [
    [
        7.745_450_142_783_414_076_40e-4,
        2.272_384_498_926_918_458_33e-2,
        2.417_807_251_774_506_117_70e-1,
        1.270_458_252_452_368_382_58,
        3.647_848_324_763_204_605_04,
        5.769_497_221_460_691_405_50,
        4.630_337_846_156_545_295_90,
        1.423_437_110_749_683_577_34,
    ],
    [
        1.050_750_071_644_416_843_24e-9,
        5.475_938_084_995_344_946_00e-4,
        1.519_866_656_361_645_719_66e-2,
        1.481_039_764_274_800_745_90e-1,
        6.897_673_349_851_000_045_50e-1,
        1.676_384_830_183_803_849_40,
        2.053_191_626_637_758_821_87,
        1.0,
    ],
];
const TAIL: [[f64; 8]; 2] = [
    [
        2.010_334_399_292_288_132_65e-7,
        2.711_555_568_743_487_578_15e-5,
        1.242_660_947_388_078_438_60e-3,
        2.653_218_952_657_612_309_30e-2,
        2.965_605_718_285_048_912_30e-1,
        1.784_826_539_917_291_335_80,
        5.463_784_911_164_114_369_90,
        6.657_904_643_501_103_777_20,
    ],
    [
        2.044_263_103_389_939_785_64e-15,
        1.421_511_758_316_445_888_70e-7,
        1.846_318_317_510_054_681_80e-5,
        7.868_691_311_456_132_591_00e-4,
        1.487_536_129_085_061_485_25e-2,
        1.369_298_809_227_358_053_10e-1,
        5.998_322_065_558_879_376_90e-1,
        1.0,
    ],
];

fn rational([numerator, denominator]: &[[f64; 8]; 2], r: f64) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().fold(0.0, |sum, c| sum * r + c);
    horner(numerator) / horner(denominator)
}

/// The quantile's size where the nearer tail has probability `p` ≤ 0.075.
fn tail_quantile(p: f64) -> f64 {
    if p == 0.0 {
        return f64::INFINITY;
    }
    let r = (-ln(p)).sqrt();
    if r <= 5.0 { rational(&MIDDLE, r - 1.6) } else { rational(&TAIL, r - 5.0) }
}

/// Φ⁻¹(p), to about 1e-15 of its value for every p in (0, 1); ∓inf at 0 and 1, NaN outside.
///
/// Above ½ the spacing of doubles limits what p can say: for a small upper tail use
/// [`normal_survival_quantile`].
///
/// # References
/// M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
/// Statistics 37 (1988).
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * rational(&CENTRAL, 0.180_625 - q * q);
    }
    if q < 0.0 { -tail_quantile(p) } else { tail_quantile(1.0 - p) }
}

/// The point that has probability `q` above it: -Φ⁻¹(q).
pub fn normal_survival_quantile(q: f64) -> f64 {
    -normal_quantile(q)
}

#[cfg(test)]
mod tests {
    use super::*;

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
