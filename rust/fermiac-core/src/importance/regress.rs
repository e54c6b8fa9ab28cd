//! Regression on all density controls, from sums alone (Owen and Zhou, *Safe and effective
//! importance sampling*, 2000), cross-fitted so that the estimates are exactly unbiased.

use super::moments::Moments;
use crate::Result;
use crate::linalg::{SymmetricEigen, packed, packed_len};

/// Folds: the coefficients of each come from the others.
pub(crate) const FOLDS: usize = 5;
/// Directions whose scaled singular value is below this share of the largest are left out: the
/// components overlap, and a regression on their differences would fit noise.
const RCOND: f64 = 1e-4;

/// Means, packed covariance of the means, and the number of points. The first `columns` entries
/// of the moments are regressors of mean 0.
pub(crate) fn estimate(folds: &[Moments], columns: usize) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let p = folds[0].p;
    let j = p - columns;
    let n: f64 = folds.iter().map(Moments::n).sum();
    let mut mean = vec![0.0; j];
    let mut within = vec![0.0; packed_len(j)];
    let mut fold_means = Vec::with_capacity(folds.len());
    for (f, own) in folds.iter().enumerate() {
        if own.n() == 0.0 {
            continue;
        }
        let mut others = Moments::new(p, own.counts.len(), true);
        for (_, other) in folds.iter().enumerate().filter(|(g, _)| *g != f) {
            others.add(other);
        }
        let beta = coefficients(&others, columns)?;
        let mut map = vec![0.0; j * p];
        for k in 0..j {
            map[k * p + columns + k] = 1.0;
            for c in 0..columns {
                map[k * p + c] = -beta[c * j + k];
            }
        }
        let corrected = own.mapped(&map);
        let share = corrected.n() / n;
        let fold_mean = corrected.mean();
        let covariance = corrected.covariance_of_mean();
        mean.iter_mut().zip(&fold_mean).for_each(|(m, x)| *m += share * x);
        within.iter_mut().zip(&covariance).for_each(|(w, c)| *w += share * share * c);
        fold_means.push((share, fold_mean));
    }
    // The folds' own spread also holds what the coefficients vary by; take the larger.
    let scale = fold_means.len() as f64 / (fold_means.len() as f64 - 1.0);
    for k in 0..j {
        let spread: f64 =
            scale * fold_means.iter().map(|(s, m)| s * s * (m[k] - mean[k]).powi(2)).sum::<f64>();
        let at = packed(j, k, k);
        if spread > within[at] && within[at] > 0.0 {
            let factor = (spread / within[at]).sqrt();
            for l in 0..j {
                within[packed(j, k.min(l), k.max(l))] *=
                    if k == l { factor * factor } else { factor };
            }
        }
    }
    Ok((mean, within, n))
}

/// Least-squares coefficients (columns × J) of the values on the regressors, with intercept.
fn coefficients(moments: &Moments, columns: usize) -> Result<Vec<f64>> {
    let (p, n) = (moments.p, moments.n());
    let j = p - columns;
    let mean = moments.mean();
    let centred =
        |a: usize, b: usize| moments.gram[packed(p, a.min(b), a.max(b))] - n * mean[a] * mean[b];
    let norms: Vec<f64> = (0..columns).map(|c| centred(c, c).max(0.0).sqrt()).collect();
    let inverse_norm = |c: usize| if norms[c] > 0.0 { 1.0 / norms[c] } else { 0.0 };
    let mut gram = vec![0.0; columns * columns];
    for a in 0..columns {
        for b in 0..columns {
            gram[a * columns + b] = centred(a, b) * inverse_norm(a) * inverse_norm(b);
        }
    }
    let (inverse, _) = SymmetricEigen::new(&gram, columns)?.pseudo_inverse(RCOND * RCOND);
    let mut beta = vec![0.0; columns * j];
    for a in 0..columns {
        for b in 0..columns {
            let factor = inverse[a * columns + b] * inverse_norm(a) * inverse_norm(b);
            for k in 0..j {
                beta[a * j + k] += factor * centred(b, columns + k);
            }
        }
    }
    Ok(beta)
}

/// A packed upper triangle as a full matrix in the units of its coordinates.
pub(crate) fn unpack(upper: &[f64], j: usize, unit: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; j * j];
    for a in 0..j {
        for b in a..j {
            let value = upper[packed(j, a, b)] * unit[a] * unit[b];
            out[a * j + b] = value;
            out[b * j + a] = value;
        }
    }
    out
}
