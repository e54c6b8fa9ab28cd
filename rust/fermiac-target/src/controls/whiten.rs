//! Coordinates in which the controls are orthonormal.

use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, SymmetricEigen};

/// If a control adds less than this share of its variance to those before it, the rest is rounding,
/// and the controls are replaced by the directions in which they vary.
const SINGULAR: f64 = 1e-10;

/// Returns T with T S Tᵀ = 1 on the span of the m controls, from their covariance S.
pub(super) fn whitening(
    m: usize,
    covariance: impl Fn(usize, usize) -> f64,
) -> Result<Vec<Vec<f64>>> {
    let inverse: Vec<f64> = (0..m)
        .map(|a| covariance(a, a))
        .map(|s| if s > 0.0 { 1.0 / s.sqrt() } else { 0.0 })
        .collect();
    let mut unit = vec![0.0; m * m];
    for a in 0..m {
        for b in 0..m {
            unit[a * m + b] = covariance(a, b) * inverse[a] * inverse[b];
        }
    }
    if let Ok(factor) = Cholesky::new(&unit, m)
        && (0..m).all(|i| factor.row(i)[i] * factor.row(i)[i] > SINGULAR)
    {
        let lower = factor.inverse_lower();
        let rows = (0..m).map(|i| {
            let start = i * (i + 1) / 2;
            lower[start..=start + i].iter().zip(&inverse).map(|(l, s)| l * s).collect()
        });
        return Ok(rows.collect());
    }
    let eigen = SymmetricEigen::new(&unit, m)?;
    let largest = eigen.values.iter().fold(0.0_f64, |a, v| a.max(*v));
    let kept = (0..m).filter(|&i| eigen.values[i] > SINGULAR * largest);
    let rows = kept.map(|i| {
        let scale = 1.0 / eigen.values[i].sqrt();
        (0..m).map(|a| eigen.vectors[a * m + i] * scale * inverse[a]).collect()
    });
    Ok(rows.collect())
}
