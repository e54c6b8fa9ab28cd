//! Bayesian linear regression on observations reduced to a triangular factor.

use super::design::{Design, Likelihood, Sums};
use super::regression::{NormalPrior, Posterior, check_data};
use super::smooth_density;
use crate::law::positive;
use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{V, exp, ln};
use fermiac_base::special::LN_SQRT_2PI;
use std::f64::consts::LN_2;

/// Normal observations with means `x β`, and a standard deviation that is known or whose logarithm
/// is the last coordinate.
///
/// An orthogonal transformation of the data keeps the sum of squares, so the evaluation needs only
/// the rows of the triangular factor, for any number of observations.
#[derive(Debug, Clone)]
pub struct LinearRegression(Posterior<NormalNoise>);

/// The noise of a [`LinearRegression`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// A known standard deviation.
    Known(f64),
    /// A half-normal prior of the standard deviation, with this scale; the last coordinate is the
    /// logarithm of the standard deviation.
    HalfNormal(f64),
}

impl LinearRegression {
    /// Returns the model of observations `y`, one for each row of `x`.
    pub fn new(x: Rows<'_>, y: &[f64], noise: Noise, prior: NormalPrior) -> Result<Self> {
        check_data(x, y, &vec![0.0; y.len()], &prior)?;
        let (name, scale) = match noise {
            Noise::Known(sd) => ("noise_sd", sd),
            Noise::HalfNormal(scale) => ("noise_scale", scale),
        };
        positive(name, scale)?;
        let n = y.len() as f64;
        let (factor, rotated) = triangular(x, y);
        let rows = Rows::new(&factor, x.dim());
        // The linear predictor is the residual.
        let negative: Vec<f64> = rotated.iter().map(|y| -y).collect();
        let design = Design::new(rows, &negative, 0.0);
        let (likelihood, constant, log_evidence) = match noise {
            Noise::Known(sd) => {
                let constant = -n * (LN_SQRT_2PI + ln(sd));
                let evidence = evidence(rows, &rotated, sd, &prior).map(|value| value + constant);
                (NormalNoise::Known { precision: (1.0 / sd) / sd }, constant, evidence)
            }
            Noise::HalfNormal(scale) => {
                let constant = -(n + 1.0) * LN_SQRT_2PI + LN_2 - ln(scale);
                let prior_precision = (1.0 / scale) / scale;
                (NormalNoise::Unknown { n, prior_precision }, constant, None)
            }
        };
        Ok(Self(Posterior { design, likelihood, prior, constant, log_evidence }))
    }
}

/// The likelihood of normal residuals.
#[derive(Debug, Clone)]
enum NormalNoise {
    Known { precision: f64 },
    Unknown { n: f64, prior_precision: f64 },
}

impl Likelihood for NormalNoise {
    fn extra(&self) -> usize {
        usize::from(matches!(self, Self::Unknown { .. }))
    }

    /// -½ Σ r² and its derivatives.
    #[inline(always)]
    fn observe<const FMA: bool>(&self, _block: usize, residual: V, sums: &mut Sums) -> V {
        sums.sum = (residual * V::splat(-0.5)).mul_add::<FMA>(residual, sums.sum);
        residual.map(|r| -r)
    }

    fn finish(&self, point: &[f64], sum: f64, mut gradient: Option<&mut [f64]>) -> f64 {
        let log_sd = point[point.len() - 1];
        let precision = match self {
            Self::Known { precision } => *precision,
            Self::Unknown { .. } => exp(-2.0 * log_sd),
        };
        let scaled = sum * precision;
        for slope in gradient.as_deref_mut().into_iter().flatten() {
            *slope *= precision;
        }
        let Self::Unknown { n, prior_precision } = self else { return scaled };
        let prior = exp(2.0 * log_sd) * prior_precision;
        if let Some(gradient) = gradient {
            gradient[point.len() - 1] = -2.0 * scaled - (n - 1.0) - prior;
        }
        scaled - (n - 1.0) * log_sd - 0.5 * prior
    }
}

smooth_density!(LinearRegression, |this| &this.0);

/// Returns the triangular factor of [x | y] by Householder reflections, as the rows of x and as y.
fn triangular(x: Rows<'_>, y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (n, d) = (x.len(), x.dim());
    let mut columns: Vec<Vec<f64>> = (0..d).map(|j| x.iter().map(|row| row[j]).collect()).collect();
    columns.push(y.to_vec());
    let kept = n.min(d + 1);
    for j in 0..kept {
        let (done, later) = columns.split_at_mut(j + 1);
        let pivot = &mut done[j][j..];
        let size = pivot.iter().fold(0.0_f64, |size, v| size.max(v.abs()));
        if size == 0.0 {
            continue;
        }
        pivot.iter_mut().for_each(|v| *v /= size);
        let norm = pivot.iter().fold(0.0, |sum, v| sum + v * v).sqrt();
        let head = if pivot[0] < 0.0 { -norm } else { norm };
        pivot[0] += head;
        // With v the pivot column now, the reflection subtracts v · (v · column) / (head · v₀).
        let unit = 1.0 / (head * pivot[0]);
        for column in later {
            let column = &mut column[j..];
            let product = pivot.iter().zip(&*column).fold(0.0, |sum, (v, c)| sum + v * c);
            for (c, v) in column.iter_mut().zip(&*pivot) {
                *c -= v * (product * unit);
            }
        }
        pivot.fill(0.0);
        pivot[0] = -head * size;
    }
    let factor = (0..kept).flat_map(|i| columns[..d].iter().map(move |column| column[i]));
    (factor.collect(), columns[d][..kept].to_vec())
}

/// The least share of its column at which a pivot has enough accurate digits.
const LEAST_PIVOT: f64 = 1.0e-10;

/// Returns ln ∫ exp(-½ |y - x β|² / `noise_sd`²) · prior(β) dβ, if rounding leaves it accurate.
///
/// In units of the noise and of the priors' standard deviations the exponent is the sum of squares of
/// one triangle, that of the observations with those of the prior, β = 0, below them. Normal
/// equations would square the condition number of the design.
fn evidence(x: Rows<'_>, y: &[f64], noise_sd: f64, prior: &NormalPrior) -> Option<f64> {
    let d = x.dim();
    let mut rows = Vec::with_capacity((x.len() + d) * d);
    let mut residual = Vec::with_capacity(x.len() + d);
    for (row, y) in x.iter().zip(y) {
        rows.extend(row.iter().zip(&prior.sd).map(|(x, sd)| x * sd / noise_sd));
        let r = row.iter().zip(&prior.mean).fold(*y, |r, (x, m)| r - x * m);
        residual.push(r / noise_sd);
    }
    for i in 0..d {
        rows.extend((0..d).map(|j| if i == j { 1.0 } else { 0.0 }));
        residual.push(0.0);
    }
    let (factor, rotated) = triangular(Rows::new(&rows, d), &residual);
    let mut value = -0.5 * rotated[d] * rotated[d];
    for j in 0..d {
        let pivot = factor[j * d + j].abs();
        let largest = rows.iter().skip(j).step_by(d).fold(0.0_f64, |size, v| size.max(v.abs()));
        if pivot < LEAST_PIVOT * largest {
            return None;
        }
        value -= ln(pivot);
    }
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_triangle_keeps_the_sum_of_squares() {
        let place = |k: usize| (k as f64 * 0.754_877_666_246_692_8 + 0.213).fract() - 0.5;
        for (n, d) in [(40, 3), (3, 5), (4, 3), (1, 1), (9, 9)] {
            let mut x: Vec<f64> = (0..n * d).map(place).collect();
            // A column of zeros, and a multiple of another column.
            if d >= 3 {
                x.chunks_exact_mut(d).for_each(|row| (row[0], row[2]) = (0.0, 3.0 * row[1]));
            }
            let y: Vec<f64> = (0..n).map(|i| place(i + 1000)).collect();
            let (factor, rotated) = triangular(Rows::new(&x, d), &y);
            assert_eq!(rotated.len(), n.min(d + 1));
            let square = |x: &[f64], y: &[f64]| {
                let rows = x.chunks_exact(d).zip(y);
                let residual = |(row, y): (&[f64], &f64)| {
                    y - row.iter().enumerate().map(|(j, x)| x * (1.0 + j as f64)).sum::<f64>()
                };
                rows.map(|row| residual(row).powi(2)).sum::<f64>()
            };
            let (before, after) = (square(&x, &y), square(&factor, &rotated));
            assert!((before / after - 1.0).abs() < 1.0e-13, "{n} x {d}: {before} {after}");
        }
    }
}
