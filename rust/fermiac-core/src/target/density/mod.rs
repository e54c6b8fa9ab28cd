//! Log-densities: the rules that hold for all of them, and those that are built in.

use super::{LogDensity, RowStatus, unwritten};
use crate::linalg::Rows;
use crate::{Error, Result};

/// Evaluates the rows of `x` and holds the values to the rules: a row that the target refused
/// counts as -inf, a NaN or +inf is an error that names the row, counted from `first`.
pub fn evaluate(target: &dyn LogDensity, x: Rows<'_>, first: usize, out: &mut [f64]) -> Result<()> {
    let mut status = vec![RowStatus::Good; x.len()];
    target.log_density(x, out, &mut status)?;
    settle(target, x, first, out, &status)
}

/// As [`evaluate`], with the gradient (rows × dim). Where the density is 0 it means nothing;
/// elsewhere it must be finite.
pub fn evaluate_gradient(
    target: &dyn LogDensity,
    x: Rows<'_>,
    first: usize,
    out: &mut [f64],
    gradient: &mut [f64],
) -> Result<()> {
    let mut status = vec![RowStatus::Good; x.len()];
    target.log_density_gradient(x, out, gradient, &mut status)?;
    settle(target, x, first, out, &status)?;
    let rows = out.iter().zip(gradient.chunks_exact(x.dim())).enumerate();
    for (i, (value, slope)) in rows {
        if *value == f64::NEG_INFINITY {
            continue;
        }
        if let Some(k) = slope.iter().position(|s| !s.is_finite()) {
            return Err(Error::Target {
                row: Some(first + i),
                why: format!(
                    "the gradient of the log-density is {} in coordinate {k} at row {} of the \
                     batch, x = {}; it must be finite wherever the density is not 0",
                    slope[k],
                    first + i,
                    show(x.row(i))
                ),
            });
        }
    }
    Ok(())
}

fn settle(
    target: &dyn LogDensity,
    x: Rows<'_>,
    first: usize,
    out: &mut [f64],
    status: &[RowStatus],
) -> Result<()> {
    // Nearly always all is well, which a pass without branches tells: NaN is not below infinity.
    let below = out.iter().filter(|value| **value < f64::INFINITY).count();
    let good = status.iter().filter(|status| **status == RowStatus::Good).count();
    if below == out.len() && good == status.len() {
        return Ok(());
    }
    for (i, (value, status)) in out.iter_mut().zip(status).enumerate() {
        if *status == RowStatus::Failed {
            *value = f64::NEG_INFINITY;
        } else if *status == RowStatus::Unwritten {
            let what = format!("row {} of the batch", first + i);
            return Err(unwritten(&target.describe(), first + i, &what, x.row(i)));
        } else if value.is_nan() || *value == f64::INFINITY {
            return Err(Error::Target {
                row: Some(first + i),
                why: format!(
                    "the log-density is {value} at row {} of the batch, x = {}; give -inf where \
                     the density is 0, and a finite number elsewhere",
                    first + i,
                    show(x.row(i))
                ),
            });
        }
    }
    Ok(())
}

/// A point, cut to its first coordinates.
pub fn show(x: &[f64]) -> String {
    let shown: Vec<String> = x.iter().take(6).map(|x| format!("{x:.6e}")).collect();
    let more = if x.len() > 6 { ", …" } else { "" };
    format!("[{}{more}]", shown.join(", "))
}
