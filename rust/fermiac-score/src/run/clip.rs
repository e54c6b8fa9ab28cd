//! Thresholds: denoised points held to the range of the data.

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
