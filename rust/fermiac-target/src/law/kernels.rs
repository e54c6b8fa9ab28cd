//! Log-densities of the gamma and beta laws without cancellation at large parameters.

use fermiac_base::simd::{Real, ln};
use fermiac_base::special::{LN_SQRT_2PI, ln_beta, ln_gamma, stirling_correction};

/// The log-density of a gamma law up to a constant: power · ln y - rate · (y - origin) at
/// y = `inv_unit` · x.
///
/// From shape 2 on the unit is the mode, where both terms vanish, so that nothing cancels. Below 2
/// it is the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GammaKernel {
    pub(super) inv_unit: f64,
    pub(super) power: f64,
    pub(super) rate: f64,
    pub(super) origin: f64,
    /// The constant of the log-density.
    pub(super) constant: f64,
}

impl GammaKernel {
    /// Of Gamma(shape, scale).
    pub(super) fn new(shape: f64, scale: f64) -> Self {
        let power = shape - 1.0;
        if shape >= 2.0 {
            let constant = -LN_SQRT_2PI - 0.5 * ln(power) - stirling_correction(power) - ln(scale);
            Self { inv_unit: 1.0 / (scale * power), power, rate: power, origin: 1.0, constant }
        } else {
            let constant = -ln_gamma(shape) - ln(scale);
            Self { inv_unit: 1.0 / scale, power, rate: 1.0, origin: 0.0, constant }
        }
    }

    /// The log-density at x ≥ 0 if `constant` is that of the kernel.
    #[inline(always)]
    pub(super) fn value<R: Real, const FMA: bool>(&self, x: R, constant: R) -> R {
        let y = x * R::of(self.inv_unit);
        let linear = (y - R::of(self.origin)).fma::<FMA>(R::of(-self.rate), constant);
        // A power of zero makes no term, not 0 · ln 0.
        if self.power == 0.0 {
            linear
        } else {
            y.ln_fma::<FMA>().fma::<FMA>(R::of(self.power), linear)
        }
    }
}

/// The log-density of a beta law up to a constant: p · ln(x / below) + q · ln((1 - x) / above).
///
/// Where both parameters are at least 2, `below` is the mode and `above` what is left of 1, so
/// that both terms vanish there; otherwise both are 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BetaKernel {
    pub(super) p: f64,
    pub(super) q: f64,
    pub(super) below: f64,
    pub(super) above: f64,
    pub(super) reference: Reference,
    /// The constant of the log-density.
    pub(super) constant: f64,
}

/// Where the terms of a [`BetaKernel`] vanish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reference {
    /// At 1 and at 0, one each.
    Ends,
    /// Both at the mode, of which `below` is rounded on its own scale, for it is at most ½.
    Below,
    /// Both at the mode, of which `above` is.
    Above,
}

impl BetaKernel {
    /// Of Beta(a, b).
    pub(super) fn new(a: f64, b: f64) -> Self {
        let (p, q) = (a - 1.0, b - 1.0);
        if a >= 2.0 && b >= 2.0 {
            let n = p + q;
            let (below, above, reference) = if p <= q {
                (p / n, 1.0 - p / n, Reference::Below)
            } else {
                (1.0 - q / n, q / n, Reference::Above)
            };
            // Stirling's formula for (n + 1)! / (p! q!), whose powers are those of the mode.
            let constant =
                ln(n + 1.0) - LN_SQRT_2PI + 0.5 * (ln(n / p) - ln(q)) + stirling_correction(n)
                    - stirling_correction(p)
                    - stirling_correction(q);
            Self { p, q, below, above, reference, constant }
        } else {
            let reference = Reference::Ends;
            Self { p, q, below: 1.0, above: 1.0, reference, constant: -ln_beta(a, b) }
        }
    }

    /// x - `below` and (1 - x) - `above`, from whichever of the two is not rounded by the other:
    /// where the mode is 1 but for 1e-16, what is left of 1 still has all its digits.
    #[inline(always)]
    pub(super) fn offsets<R: Real>(&self, x: R, complement: R) -> (R, R) {
        match self.reference {
            Reference::Ends => (x - R::of(1.0), R::of(0.0) - x),
            Reference::Below => (x - R::of(self.below), R::of(self.below) - x),
            Reference::Above => (R::of(self.above) - complement, complement - R::of(self.above)),
        }
    }
}

/// ln(x / unit), where `offset` is x - unit computed exactly: by way of ln(1 + offset/unit) near
/// 1, where the quotient itself would lose the offset's low digits.
#[inline(always)]
pub(super) fn ln_ratio<R: Real, const FMA: bool>(offset: R, x: R, unit: f64) -> R {
    let unit = R::of(unit);
    let (t, quotient) = (offset / unit, x / unit);
    let near = |t: f64| t.abs() < 0.5;
    let u = t.pair(quotient, |t, r| if near(t) { 1.0 + t } else { r });
    let repair = t.pair(u, |t, u| if near(t) { (t - (u - 1.0)) / u } else { 0.0 });
    u.ln_fma::<FMA>() + repair
}
