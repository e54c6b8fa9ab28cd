//! Sixteen numbers in single precision side by side: weights and activations of perceptrons.

use fermiac_base::simd::LANES;

/// Numbers in one vector: as many bytes as [`LANES`] doubles have.
pub(super) const WIDE: usize = 2 * LANES;

/// [`WIDE`] numbers in single precision, aligned for full-register loads.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Singles(pub(super) [f32; WIDE]);

/// `a · b + c`, fused where the caller is compiled for a CPU that has it.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

impl Singles {
    /// All zero.
    pub(super) const ZERO: Self = Self([0.0; WIDE]);

    /// The same number everywhere.
    #[inline(always)]
    pub(super) const fn splat(x: f32) -> Self {
        Self([x; WIDE])
    }

    /// Applies `f`, which must be inlined, to every pair.
    #[inline(always)]
    pub(super) fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for l in 0..WIDE {
            out.0[l] = f(self.0[l], other.0[l]);
        }
        out
    }

    /// `self · b + c`, fused where `FMA`.
    #[inline(always)]
    pub(super) fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self {
        let mut out = self;
        for l in 0..WIDE {
            out.0[l] = fma::<FMA>(self.0[l], b.0[l], c.0[l]);
        }
        out
    }

    /// x σ(x) with the logistic function σ, and its derivative.
    #[inline(always)]
    pub(super) fn silu<const FMA: bool>(self) -> (Self, Self) {
        let (mut value, mut slope) = (self, self);
        for l in 0..WIDE {
            let x = self.0[l];
            let share = 1.0 / (1.0 + exp::<FMA>(-x));
            value.0[l] = x * share;
            slope.0[l] = fma::<FMA>(value.0[l], 1.0 - share, share);
        }
        (value, slope)
    }
}

/// What has to be added to round to an integer, which then stands in the low bits: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// eˣ to 2·10⁻⁷ relative for |x| ≤ 87; beyond, the value at the bound.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(-n, LN2_LO, fma::<FMA>(-n, LN2_HI, x));
    // The Taylor series on |r| ≤ ln(2)/2.
    let mut q = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        q = fma::<FMA>(q, r, c);
    }
    let p = 1.0 + fma::<FMA>(r * r, q, r);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_activations_are_right() {
        for i in -2000..2000 {
            let x = i as f32 * 0.02173;
            let truth = f64::from(x).exp();
            assert!((f64::from(exp::<false>(x)) / truth - 1.0).abs() < 4e-7, "{x}");
            let (value, slope) = Singles::splat(x).silu::<false>();
            let share = 1.0 / (1.0 + (-f64::from(x)).exp());
            let (want, steep) =
                (f64::from(x) * share, share * (1.0 + f64::from(x) * (1.0 - share)));
            assert!((f64::from(value.0[3]) - want).abs() < 1e-6 * (1.0 + want.abs()), "{x}");
            assert!((f64::from(slope.0[3]) - steep).abs() < 1e-5, "{x}");
        }
        assert!(exp::<false>(-1e30) > 0.0 && exp::<false>(1e30).is_finite());
    }
}
