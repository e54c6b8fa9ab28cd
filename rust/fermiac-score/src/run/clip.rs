//! Thresholds: denoised points held to the range of the data.

use fermiac_base::{Error, Result};

/// The range of denoised points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// To [-bound, bound].
    Static(f64),
    /// To [-q, q], q the quantile of a row's absolute values but at least `bound`, and then scaled
    /// by bound / q (C. Saharia et al., "Photorealistic text-to-image diffusion models with deep
    /// language understanding", 2022).
    Dynamic {
        /// The probability of the quantile.
        probability: f64,
        /// The range of the data.
        bound: f64,
    },
}

impl Threshold {
    /// Refuses invalid numbers.
    pub fn check(self) -> Result<Self> {
        let (Self::Static(bound) | Self::Dynamic { bound, .. }) = self;
        let probability = match self {
            Self::Static(_) => 1.0,
            Self::Dynamic { probability, .. } => probability,
        };
        if bound > 0.0 && bound.is_finite() && probability > 0.0 && probability <= 1.0 {
            return Ok(self);
        }
        let why = format!(
            "{self:?} given; a positive bound and a probability above 0 and at most 1 are needed"
        );
        Err(Error::argument("threshold", why))
    }

    /// Applies the threshold to one row.
    pub(super) fn apply(self, row: &mut [f64], scratch: &mut Vec<f64>) {
        match self {
            Self::Static(bound) => row.iter_mut().for_each(|x| *x = x.clamp(-bound, bound)),
            Self::Dynamic { probability, bound } => {
                scratch.clear();
                scratch.extend(row.iter().map(|x| x.abs()));
                let q = quantile(scratch, probability).max(bound);
                let scale = bound / q;
                row.iter_mut().for_each(|x| *x = x.clamp(-q, q) * scale);
            }
        }
    }
}

/// The quantile by linear interpolation of order statistics; NaN if a value is NaN.
fn quantile(values: &mut [f64], probability: f64) -> f64 {
    if values.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let at = probability * (values.len() - 1) as f64;
    let below = at.floor();
    let (_, low, above) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
    let low = *low;
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    if at > below { low + (at - below) * (next - low) } else { low }
}
