//! erf, erfc, the normal distribution function and its quantile, accurate in both tails, in scalar,
//! vector and slice form.
//!
//! A value is a piecewise polynomial, times an exponential in the tail. The leading terms of the
//! pieces and the argument of the exponential are held in two doubles, which limits the error to 1.5
//! units in the last place. The scalar forms never fuse.

use super::exp_log::{EXP, LN2_HI, LN2_LO, ROUND, forms, ln_body, polynomial, times_power_of_two};
use super::normal_tables::{MILLS, QUANTILE_CENTRE, QUANTILE_TAIL};
use super::{Kernel, LANES, Plain, Shuffle, V, WideKernel, dispatch, dispatch_wide, fma};

/// (erf(x)/x - 1 - `ERF_SLOPE`) / x² in powers of x², highest first, for |x| ≤ 0.51: Chebyshev
/// interpolation, absolute error 6e-19.
const ERF: [f64; 9] = [
    -1.472_714_375_430_998_7e-7,
    1.638_368_265_716_478_6e-6,
    -1.492_360_654_274_039_2e-5,
    1.205_530_182_096_509_4e-4,
    -8.548_326_743_820_234e-4,
    5.223_977_624_030_938e-3,
    -2.686_617_064_509_554_8e-2,
    1.128_379_167_095_509_1e-1,
    -3.761_263_890_318_375_4e-1,
];
/// 2/√π - 1.
const ERF_SLOPE: f64 = 0.128_379_167_095_512_57;
/// √2.
const SQRT_2: f64 = std::f64::consts::SQRT_2;
/// The number of standard deviations beyond which a tail underflows.
const FAR: f64 = 40.0;
/// The upper 16 bits of the first piece of [`QUANTILE_TAIL`].
const FIRST_TAIL: u64 = 0x3ff9;
/// Pieces of [`QUANTILE_CENTRE`] in a unit.
const CENTRE_PIECES: f64 = 176.0;
/// The distance from ½ up to which [`QUANTILE_CENTRE`] serves.
const CENTRE: f64 = 0.3;
const N_CENTRE: usize = QUANTILE_CENTRE.len();
const N_TAIL: usize = QUANTILE_TAIL.len();
/// Both tables, the centre first: the lanes of a vector read rows of either.
/// [`MILLS`] in rows of whole vectors.
static MILLS_WIDE: [[f64; 16]; MILLS.len()] = {
    let mut all = [[0.0; 16]; MILLS.len()];
    let mut k = 0;
    while k < all.len() {
        let mut j = 0;
        while j < MILLS[k].len() {
            all[k][j] = MILLS[k][j];
            j += 1;
        }
        k += 1;
    }
    all
};
static QUANTILE: [[f64; 12]; N_CENTRE + N_TAIL] = {
    let mut all = [[0.0; 12]; N_CENTRE + N_TAIL];
    let mut k = 0;
    while k < all.len() {
        all[k] = if k < N_CENTRE { QUANTILE_CENTRE[k] } else { QUANTILE_TAIL[k - N_CENTRE] };
        k += 1;
    }
    all
};

/// Returns x² and its rounding error, for |x| below 1e150.
#[inline(always)]
fn square<const FMA: bool>(x: f64) -> (f64, f64) {
    let p = x * x;
    if FMA {
        return (p, x.mul_add(x, -p));
    }
    let c = 134_217_729.0 * x;
    let hi = c - (c - x);
    let lo = x - hi;
    (p, ((hi * hi - p) + 2.0 * (hi * lo)) + lo * lo)
}

/// The terms of a piece after its constant.
#[inline(always)]
fn rest<const FMA: bool>(c: &[f64; 10], u: f64) -> f64 {
    let mut sum = c[9];
    for k in (1..9).rev() {
        sum = fma::<FMA>(sum, u, c[k]);
    }
    sum * u
}

/// Q(z) for z ≥ 0 and its argument's Gaussian exp(-(hi + lo)); with `ERFC`, z stands for √2 z.
#[inline(always)]
fn upper_tail<const FMA: bool, const ERFC: bool>(z: f64) -> f64 {
    let limit = if ERFC { FAR / SQRT_2 } else { FAR };
    // NaN passes into the result.
    let z = if z > limit { limit } else { z };
    let y = 1.0 + if ERFC { z * SQRT_2 } else { z };
    let piece = ((y.to_bits() >> 48).wrapping_sub(0x3ff0) as usize).min(MILLS.len() - 1);
    let [centre, high, low, c_low, c @ ..] = &MILLS[piece];
    let u = if ERFC { ((z - high) - low) * SQRT_2 } else { z - centre };
    let small = rest::<FMA>(c, u) + c_low;
    times_gaussian::<FMA>(z, if ERFC { -1.0 } else { -0.5 }, c[0], small)
}

/// (`first` + `small`) · exp(`half` · z²).
#[inline(always)]
fn times_gaussian<const FMA: bool>(z: f64, half: f64, first: f64, small: f64) -> f64 {
    let mills = first + small;
    let (hi, lo) = square::<FMA>(z);
    let (hi, lo) = (half * hi, half * lo);
    let shifted = fma::<FMA>(hi, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // The first difference is exact.
    let head = hi - n * LN2_HI;
    let tail = fma::<FMA>(-n, LN2_LO, lo);
    let r = head + tail;
    let lost = (head - r) + tail;
    let q = r + fma::<FMA>(r * r, polynomial::<FMA, _>(&EXP, r), lost);
    times_power_of_two(first + fma::<FMA>(mills, q, small), shifted)
}

#[inline(always)]
pub(super) fn normal_cdf_body<const FMA: bool>(x: f64) -> f64 {
    let q = upper_tail::<FMA, false>(x.abs());
    if x > 0.0 { 1.0 - q } else { q }
}

#[inline(always)]
pub(super) fn erfc_body<const FMA: bool>(x: f64) -> f64 {
    let q = 2.0 * upper_tail::<FMA, true>(x.abs());
    if x < 0.0 { 2.0 - q } else { q }
}

#[inline(always)]
pub(super) fn erf_body<const FMA: bool>(x: f64) -> f64 {
    let size = x.abs();
    let far = (1.0 - 2.0 * upper_tail::<FMA, true>(size)).copysign(x);
    // Outside its range the polynomial may overflow; it is not selected there.
    let z = x * x;
    let near = x + x * fma::<FMA>(polynomial::<FMA, _>(&ERF, z), z, ERF_SLOPE);
    if size <= 0.5 { near } else { far }
}

#[inline(always)]
pub(super) fn normal_quantile_body<const FMA: bool>(p: f64) -> f64 {
    let q = p - 0.5;
    let size = q.abs();
    if size <= CENTRE {
        let v = q * q;
        let piece = ((v * CENTRE_PIECES - 0.5 + ROUND).to_bits() & 0xf) as usize;
        let [centre, c_low, c @ ..] = &QUANTILE[piece];
        let small = rest::<FMA>(c, v - centre) + c_low;
        return fma::<FMA>(q, c[0], q * small);
    }
    // The smaller tail, exactly; below 0 and above 1 it is negative and its logarithm NaN.
    let s = -ln_body::<FMA>(if q < 0.0 { p } else { 1.0 - p });
    let index = (s.to_bits() >> 48).wrapping_sub(FIRST_TAIL) as usize;
    let [centre, c_low, c @ ..] = &QUANTILE[N_CENTRE + index.min(N_TAIL - 1)];
    let value = c[0] + (rest::<FMA>(c, s - centre) + c_low);
    let value = if s < f64::INFINITY { value } else { s };
    if q < 0.0 { -value } else { value }
}

/// Φ, the distribution function of the standard normal law, without fused operations: the same bits at
/// every level.
#[inline]
pub fn normal_cdf(x: f64) -> f64 {
    normal_cdf_body::<false>(x)
}

/// Φ in each lane, for use inside a [`Kernel`]; [`normal_cdf_by`] is faster.
#[inline(always)]
#[must_use]
pub fn normal_cdfv<const FMA: bool>(x: V) -> V {
    normal_cdf_by::<FMA, _>(Plain, x)
}

/// Φ⁻¹, the quantile of the standard normal law (∓inf at 0 and 1, NaN outside), without fused
/// operations: the same bits at every level.
#[inline]
pub fn normal_quantile(p: f64) -> f64 {
    normal_quantile_body::<false>(p)
}

/// Φ⁻¹ in each lane, for use inside a [`Kernel`]; [`normal_quantile_by`] is faster.
#[inline(always)]
#[must_use]
pub fn normal_quantilev<const FMA: bool>(p: V) -> V {
    normal_quantile_by::<FMA, _>(Plain, p)
}

/// Φ⁻¹ in each lane, by the shuffles of a level, for use inside a [`WideKernel`].
///
/// Both regions are computed for all lanes: uniform numbers are in the tails in 4 cases of 10, which
/// no branch predicts. With branches a number took 9 ns, without 3.
#[inline(always)]
#[must_use]
pub fn normal_quantile_by<const FMA: bool, S: Shuffle>(shuffle: S, p: V) -> V {
    let q = p - V::splat(0.5);
    let square = q * q;
    let tail = p.zip(q, |p, q| if q < 0.0 { p } else { 1.0 - p });
    let s = tail.map(|t| -ln_body::<FMA>(t));
    // The whole part, by rounding half a unit below.
    let shifted = square * V::splat(CENTRE_PIECES) - V::splat(0.5) + V::splat(ROUND);
    let (mut near, mut far, mut at) = ([0_u64; LANES], [0_u64; LANES], [0_u64; LANES]);
    for l in 0..LANES {
        near[l] = shifted.0[l].to_bits() & 0xf;
    }
    for l in 0..LANES {
        far[l] = (s.0[l].to_bits() >> 48).wrapping_sub(FIRST_TAIL - N_CENTRE as u64);
    }
    let size = q.map(f64::abs);
    for l in 0..LANES {
        at[l] = if size.0[l] <= CENTRE { near[l] } else { far[l] };
    }
    let x = select(size, square, s);
    let [a, b, c] = rows_of(shuffle, &QUANTILE, at);
    let ([centre, c_low, c_first, c1], [c2, c3, c4, c5], [c6, c7, c8, c9]) = (a, b, c);
    let u = x - centre;
    let mut sum = c9;
    for c in [c8, c7, c6, c5, c4, c3, c2, c1] {
        sum = sum.mul_add::<FMA>(u, c);
    }
    let small = sum * u + c_low;
    let near = q.mul_add::<FMA>(c_first, q * small);
    let far = s.zip(c_first + small, |s, far| if s < f64::INFINITY { far } else { s });
    let far = q.zip(far, |q, far| if q < 0.0 { -far } else { far });
    select(size, near, far)
}

/// The first number in lanes of the centre, else the second.
#[inline(always)]
fn select(size: V, centre: V, tail: V) -> V {
    let mut out = tail;
    for l in 0..LANES {
        out.0[l] = if size.0[l] <= CENTRE { centre.0[l] } else { tail.0[l] };
    }
    out
}

/// The columns of eight rows of a table, in fours; of the last row for a place beyond it.
#[inline(always)]
fn rows_of<const WIDTH: usize, const FOURS: usize, S: Shuffle>(
    shuffle: S,
    table: &[[f64; WIDTH]],
    at: [u64; LANES],
) -> [[V; 4]; FOURS] {
    let mut rows = [[&[0.0; 4]; LANES]; FOURS];
    for l in 0..LANES {
        let row = &table[(at[l] as usize).min(table.len() - 1)];
        for (to, part) in rows.iter_mut().zip(row.as_chunks().0) {
            to[l] = part;
        }
    }
    let mut columns = [[V::ZERO; 4]; FOURS];
    for (columns, rows) in columns.iter_mut().zip(rows) {
        *columns = shuffle.columns(rows);
    }
    columns
}

/// Φ in each lane, by the shuffles of a level, for use inside a [`WideKernel`].
#[inline(always)]
#[must_use]
pub fn normal_cdf_by<const FMA: bool, S: Shuffle>(shuffle: S, x: V) -> V {
    let z = x.map(|x| if x.abs() > FAR { FAR } else { x.abs() });
    let mut at = [0; LANES];
    for l in 0..LANES {
        at[l] = ((1.0 + z.0[l]).to_bits() >> 48).wrapping_sub(0x3ff0);
    }
    let [a, b, c, d] = rows_of(shuffle, &MILLS_WIDE, at);
    let ([centre, _, _, c_low], [c_first, c1, c2, c3]) = (a, b);
    let ([c4, c5, c6, c7], [c8, c9, ..]) = (c, d);
    let u = z - centre;
    let mut sum = c9;
    for c in [c8, c7, c6, c5, c4, c3, c2, c1] {
        sum = sum.mul_add::<FMA>(u, c);
    }
    let small = sum * u + c_low;
    let mut out = V::ZERO;
    for l in 0..LANES {
        let q = times_gaussian::<FMA>(z.0[l], -0.5, c_first.0[l], small.0[l]);
        out.0[l] = if x.0[l] > 0.0 { 1.0 - q } else { q };
    }
    out
}

/// Defines the slice form of a function that reads tables by shuffles. (A closure for the function would
/// not be compiled for the level.)
macro_rules! slices {
    ($($slice:ident, $by:ident, $kernel:ident, $what:literal;)*) => {$(
        struct $kernel<'a>(&'a mut [f64]);

        impl WideKernel for $kernel<'_> {
            type Output = ();

            #[inline(always)]
            fn run<const FMA: bool, S: Shuffle>(self, shuffle: S) {
                let (tiles, rest) = self.0.as_chunks_mut::<LANES>();
                for tile in tiles {
                    *tile = $by::<FMA, S>(shuffle, V(*tile)).0;
                }
                // The remainder runs in padded lanes, so a value does not depend on its position.
                let padded = $by::<FMA, S>(shuffle, V::padded(rest, 0.5));
                rest.copy_from_slice(&padded.0[..rest.len()]);
            }
        }

        #[doc = concat!($what, " of every element, in place.")]
        pub fn $slice(x: &mut [f64]) {
            dispatch_wide($kernel(x));
        }
    )*};
}

slices! {
    normal_cdf_slice, normal_cdf_by, NormalCdf, "Φ, the normal distribution function,";
    normal_quantile_slice, normal_quantile_by, NormalQuantile, "Φ⁻¹, the normal quantile,";
}

forms! {
    erf, erfv, erf_slice, erf_body, Erf, "The error function";
    erfc, erfcv, erfc_slice, erfc_body, Erfc, "The complement of the error function";
}

#[cfg(test)]
mod tests {
    use super::super::normal_values::{
        CDF, ERF as ERF_VALUES, ERFC, EXP as EXP_VALUES, LN, QUANTILE,
    };
    use super::super::{exp, exp_slice, ln, ln_slice};
    use super::*;

    /// Returns the worst error in units in the last place, beyond the spacing of subnormals.
    fn worst(
        table: &[(f64, f64, f64)],
        scalar: fn(f64) -> f64,
        slice: fn(&mut [f64]),
    ) -> (f64, f64) {
        let mut values: Vec<f64> = table.iter().map(|row| row.0).collect();
        slice(&mut values);
        let mut worst = (0.0, 0.0);
        for (value, &(x, high, low)) in values.iter().zip(table) {
            let unit = f64::from_bits(high.abs().to_bits() + 1) - high.abs();
            for value in [*value, scalar(x)] {
                let off = ((value - high) - low).abs() / unit;
                if off > worst.1 {
                    worst = (x, off);
                }
            }
        }
        worst
    }

    #[test]
    fn all_are_within_one_and_a_half_units_in_the_last_place() {
        for (name, (x, off)) in [
            ("exp", worst(&EXP_VALUES, exp, exp_slice)),
            ("ln", worst(&LN, ln, ln_slice)),
            ("erf", worst(&ERF_VALUES, erf, erf_slice)),
            ("erfc", worst(&ERFC, erfc, erfc_slice)),
            ("normal_cdf", worst(&CDF, normal_cdf, normal_cdf_slice)),
            ("normal_quantile", worst(&QUANTILE, normal_quantile, normal_quantile_slice)),
        ] {
            assert!(off <= 1.5, "{name}({x:e}) is off by {off} ulp");
        }
    }

    /// Scalar form, slice form, values at -inf, -0, 0 and inf.
    type Form = (fn(f64) -> f64, fn(&mut [f64]), [f64; 4]);

    #[test]
    fn special_values() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let forms: [Form; 4] = [
            (erf, erf_slice, [-1.0, -0.0, 0.0, 1.0]),
            (erfc, erfc_slice, [2.0, 1.0, 1.0, 0.0]),
            (normal_cdf, normal_cdf_slice, [0.0, 0.5, 0.5, 1.0]),
            (normal_quantile, normal_quantile_slice, [nan, -inf, -inf, nan]),
        ];
        for (scalar, slice, expected) in forms {
            let mut x = [-inf, -0.0, 0.0, inf, nan];
            let scalars = x.map(scalar);
            slice(&mut x);
            for (l, value) in expected.iter().enumerate() {
                for got in [x[l], scalars[l]] {
                    assert!(got.to_bits() == value.to_bits() || got.is_nan() && value.is_nan());
                }
            }
            assert!(x[4].is_nan() && scalars[4].is_nan());
        }
        assert_eq!(normal_quantile(1.0), inf);
        assert_eq!(normal_quantile(0.5), 0.0);
        assert!(normal_quantile(-1e-300).is_nan() && normal_quantile(1.5).is_nan());
        assert_eq!(erf(1e-310), 1e-310 + 1e-310 * ERF_SLOPE);
        assert!(normal_cdf(-38.4) > 0.0 && normal_cdf(-38.6) == 0.0);
        assert!(erfc(27.2) > 0.0 && erfc(27.3) == 0.0);
    }

    /// By number: Φ⁻¹, and Φ; then both in vectors.
    struct BothForms(V);

    impl Kernel for BothForms {
        type Output = [V; 4];

        #[inline(always)]
        fn run<const FMA: bool>(self) -> [V; 4] {
            let x = self.0;
            let by_number = [x.map(normal_quantile_body::<FMA>), x.map(normal_cdf_body::<FMA>)];
            [by_number[0], by_number[1], normal_quantilev::<FMA>(x), normal_cdfv::<FMA>(x)]
        }
    }

    #[test]
    fn values_are_the_same_in_vectors() {
        let (mut x, mut at) = (Vec::new(), 0.618_033_988_749_895_f64);
        for i in 0..40_000 {
            at = (at + 0.754_877_666_246_693).fract();
            // Probabilities, also near 0 and 1, and numbers of both signs.
            let size = if i % 3 == 0 { at.powi(40) } else { at };
            x.push([size, 1.0 - size, 50.0 * at - 25.0][i % 5 % 3]);
        }
        // The ends of the pieces of the centre, and what is no probability.
        x.extend((0..=16).map(|k| 0.5 + (f64::from(k) / CENTRE_PIECES).sqrt()));
        x.extend([0.0, -0.0, 1.0, 0.2, 0.8, 1e-320, -1.0, 2.0, f64::NAN]);
        x.extend([f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 38.5, -38.5]);
        let (mut quantiles, mut masses) = (x.clone(), x.clone());
        normal_quantile_slice(&mut quantiles);
        normal_cdf_slice(&mut masses);
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        for (i, x) in x.chunks(LANES).enumerate() {
            let [q, p, qs, ps] = dispatch(BothForms(V::padded(x, 0.5)));
            for (l, x) in x.iter().enumerate() {
                let (quantile, mass) = (quantiles[i * LANES + l], masses[i * LANES + l]);
                assert!(same(q.0[l], qs.0[l]) && same(q.0[l], quantile), "{x}: {quantile}");
                assert!(same(p.0[l], ps.0[l]) && same(p.0[l], mass), "{x}: {mass}");
            }
        }
    }

    #[test]
    fn a_value_does_not_depend_on_its_place() {
        let forms: [fn(&mut [f64]); 4] =
            [erf_slice, erfc_slice, normal_cdf_slice, normal_quantile_slice];
        for slice in forms {
            for x in [0.123, 0.456, 0.987] {
                let mut v = [x; 19];
                slice(&mut v);
                assert!(v.iter().all(|e| e.to_bits() == v[0].to_bits()));
                for n in 1..9 {
                    let mut w = vec![x; n];
                    slice(&mut w);
                    assert_eq!(w[n - 1].to_bits(), v[0].to_bits());
                }
            }
        }
    }
}
