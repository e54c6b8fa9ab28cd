//! The eight-schools model, a hierarchical normal model whose eight effects fill one vector.

use super::{Smooth, smooth_density};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, Real, V, dispatch, ln};
use fermiac_base::special::LN_SQRT_2PI;

/// Effects of coaching in eight schools, and their standard errors.
const EFFECT: V = V([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]);
const ERROR: V = V([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]);
/// The scale of the priors of μ (normal) and τ (half-Cauchy).
const SCALE: f64 = 5.0;
/// ln 5.
const LN_SCALE: f64 = 1.609_437_912_434_100_3;
/// Number of coordinates: μ, ln τ, and the schools.
const DIM: usize = 2 + LANES;

/// The log-density of μ, ln τ and one effect per school given the data, with μ ~ N(0, 5²) and
/// τ half-Cauchy of scale 5.
///
/// The effects are θᵢ ~ N(μ, τ²) if centred; else the coordinates are ηᵢ = (θᵢ - μ) / τ.
///
/// # References
/// D. B. Rubin, "Estimation in parallel randomized experiments", Journal of Educational Statistics
/// 6 (1981).
#[derive(Debug, Clone, PartialEq)]
pub struct EightSchools {
    centered: bool,
    constant: f64,
}

impl EightSchools {
    /// Returns the centred or the non-centred model.
    pub fn new(centered: bool) -> Self {
        let schools =
            2.0 * LANES as f64 * LN_SQRT_2PI + ERROR.0.iter().fold(0.0, |s, e| s + ln(*e));
        let location = LN_SQRT_2PI + LN_SCALE;
        // ln of the half-Cauchy law's 2 / π.
        let spread = ln(std::f64::consts::FRAC_2_PI) - LN_SCALE;
        Self { centered, constant: spread - location - schools }
    }

    #[inline(always)]
    fn row<const FMA: bool>(&self, x: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        let (mu, log_tau) = (x[0], x[1]);
        let effects = V::load(&x[2..DIM]);
        let tau = log_tau.exp_fma::<FMA>();
        // ln(1 + (τ/5)²) and twice its derivative in ln τ, from τ/5 or 5/τ, whichever is at most 1.
        let ratio = tau / SCALE;
        let near = if ratio > 1.0 { 1.0 / (ratio * ratio) } else { ratio * ratio };
        let beyond = if ratio > 1.0 { 2.0 * (log_tau - LN_SCALE) } else { 0.0 };
        let tail = beyond + near.ln1p_fma::<FMA>();
        let weight = if ratio > 1.0 { 1.0 } else { near } / (1.0 + near);

        let theta = if self.centered {
            effects
        } else {
            effects.mul_add::<FMA>(V::splat(tau), V::splat(mu))
        };
        let residual = (EFFECT - theta) / ERROR;
        let z = if self.centered { (theta - V::splat(mu)) * V::splat(1.0 / tau) } else { effects };
        let squares = residual.mul_add::<FMA>(residual, z * z).sum();
        // The slope of ln τ: the Jacobian, and the scale of centred effects.
        let power = if self.centered { 1.0 - LANES as f64 } else { 1.0 };
        let location = mu / SCALE;
        if let Some(gradient) = gradient {
            let pull = residual / ERROR;
            let (slopes, along) = if self.centered {
                let back = z * V::splat(1.0 / tau);
                gradient[0] = back.sum();
                (pull - back, (z * z).sum())
            } else {
                gradient[0] = pull.sum();
                (
                    pull.mul_add::<FMA>(V::splat(tau), effects.map(|e| -e)),
                    tau * (pull * effects).sum(),
                )
            };
            gradient[0] -= location / SCALE;
            gradient[1] = along + power - 2.0 * weight;
            gradient[2..].copy_from_slice(&slopes.0);
        }
        self.constant + power * log_tau - tail - 0.5 * (location * location + squares)
    }
}

struct Evaluate<'a> {
    model: &'a EightSchools,
    x: Rows<'a>,
    out: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl Kernel for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let mut gradients = self.gradient.chunks_exact_mut(DIM);
        for (row, out) in self.x.iter().zip(self.out) {
            *out = self.model.row::<FMA>(row, gradients.next());
        }
    }
}

impl Smooth for EightSchools {
    fn dim(&self) -> usize {
        DIM
    }

    fn evaluate(&self, x: Rows<'_>, out: &mut [f64], gradient: &mut [f64]) {
        dispatch(Evaluate { model: self, x, out, gradient });
    }

    fn log_evidence(&self) -> Option<f64> {
        None
    }
}

smooth_density!(EightSchools);
