//! Weighted sums over the rows of a sample, chunk by chunk, folded in order.

use fermiac_base::Result;
use fermiac_base::linalg::Rows;
use fermiac_base::par::{CHUNK, Context};

/// Σ w · f(xⱼ - centreⱼ) for every column j, over the rows of positive weight.
fn sums(
    context: &Context<'_>,
    weights: &[f64],
    rows: Rows<'_>,
    centre: &[f64],
    f: impl Fn(f64) -> f64 + Sync,
) -> Result<Vec<f64>> {
    let n = rows.len();
    let mut total = vec![0.0; rows.dim()];
    context.ordered(
        n.div_ceil(CHUNK),
        |c| {
            let mut part = vec![0.0; rows.dim()];
            for i in c * CHUNK..((c + 1) * CHUNK).min(n) {
                if weights[i] > 0.0 {
                    for ((sum, x), m) in part.iter_mut().zip(rows.row(i)).zip(centre) {
                        *sum += weights[i] * f(x - m);
                    }
                }
            }
            Ok(part)
        },
        |_, part| {
            total.iter_mut().zip(&part).for_each(|(t, p)| *t += p);
            Ok(())
        },
    )?;
    Ok(total)
}

/// Returns the weighted mean of every column.
pub(super) fn means(context: &Context<'_>, weights: &[f64], rows: Rows<'_>) -> Result<Vec<f64>> {
    let total = weights.iter().sum::<f64>();
    let mut mean = sums(context, weights, rows, &vec![0.0; rows.dim()], |x| x)?;
    mean.iter_mut().for_each(|m| *m /= total);
    Ok(mean)
}

/// Returns the weighted standard deviation of every column about `mean`.
pub(super) fn deviations(
    context: &Context<'_>,
    weights: &[f64],
    rows: Rows<'_>,
    mean: &[f64],
) -> Result<Vec<f64>> {
    let total = weights.iter().sum::<f64>();
    let mut squares = sums(context, weights, rows, mean, |x| x * x)?;
    squares.iter_mut().for_each(|s| *s = (*s / total).sqrt());
    Ok(squares)
}
