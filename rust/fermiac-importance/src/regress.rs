//! Coefficients of the controls when each estimate uses all components (Owen and Zhou, *Safe and
//! effective importance sampling*, 2000). They come from the points of the adaptation and are fixed
//! before the final sample is drawn, so that its estimates stay unbiased.

use super::points::{Points, Table, relative};
use super::proposal::Control;
use super::proposal::{Proposal, weight};
use fermiac_base::Result;
use fermiac_base::linalg::{SymmetricEigen, add_gram, packed, packed_len};
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv};
use std::ops::Range;

/// Directions whose scaled singular value is below this share of the largest are left out: the
/// components overlap, and a regression on their differences would fit noise.
const RCOND: f64 = 1e-2;

/// The controls of all expectations on these groups of a sampler, by weighted least squares of v
/// on r with intercept: the points count with g / h, as if drawn from the sampler.
pub(crate) fn controls(
    context: &Context<'_>,
    points: &Points,
    proposal: &Proposal,
    table: &Table,
    columns: &[usize],
) -> Result<Vec<Control>> {
    let width = 1 + columns.len() + points.layout.len;
    let mut gram = vec![0.0; packed_len(width)];
    points.spans(
        context,
        |span| dispatch(Cross { points, span, proposal, table, columns, width }),
        |part: Vec<f64>| gram.iter_mut().zip(&part).for_each(|(g, p)| *g += p),
    )?;
    let beta = coefficients(&gram, columns.len(), points.layout.len)?;
    let of = |k: usize| {
        let terms = columns.iter().enumerate().map(|(c, g)| (*g, beta[c * points.layout.len + k]));
        Control { terms: terms.collect() }
    };
    Ok((0..points.layout.len).map(of).collect())
}

/// Least-squares coefficients (columns × J) from the Gram matrix of (1, r, v).
fn coefficients(gram: &[f64], columns: usize, j: usize) -> Result<Vec<f64>> {
    let p = 1 + columns + j;
    let entry = |a: usize, b: usize| gram[packed(p, a.min(b), a.max(b))];
    let total = entry(0, 0);
    let centred =
        |a: usize, b: usize| entry(1 + a, 1 + b) - entry(0, 1 + a) * entry(0, 1 + b) / total;
    let norms: Vec<f64> = (0..columns).map(|c| centred(c, c).max(0.0).sqrt()).collect();
    let inverse_norm = |c: usize| if norms[c] > 0.0 { 1.0 / norms[c] } else { 0.0 };
    let mut scaled = vec![0.0; columns * columns];
    for a in 0..columns {
        for b in 0..columns {
            scaled[a * columns + b] = centred(a, b) * inverse_norm(a) * inverse_norm(b);
        }
    }
    let (inverse, _) = SymmetricEigen::new(&scaled, columns)?.pseudo_inverse(RCOND * RCOND);
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

/// The Gram matrix of √w (1, r, v) over a span of tiles.
struct Cross<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
    table: &'a Table,
    columns: &'a [usize],
    width: usize,
}

impl Kernel for Cross<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let (points, table) = (self.points, self.table);
        let (layout, groups) = (points.layout, self.proposal.n_groups());
        let mut y = Vec::with_capacity(self.span.len() * self.width);
        for t in self.span {
            let log_laws = points.laws_at(t);
            let sum = relative::<FMA>(self.proposal, table, t, log_laws);
            let inverse = V::splat(1.0) / sum;
            let w = expv::<FMA>(table.log_ref[t] - points.log_h(t)) * sum;
            let mut root = V::ZERO;
            for lane in 0..usize::from(points.lanes[t]) {
                root.0[lane] = w.0[lane].sqrt();
            }
            y.push(root);
            let rho = &table.rho[t * groups..(t + 1) * groups];
            // Where the sampler never goes ratios are 0/0 and v may overflow; nothing counts there.
            let counted = |mut y: V| {
                for lane in 0..LANES {
                    y.0[lane] = if root.0[lane] > 0.0 { y.0[lane] * root.0[lane] } else { 0.0 };
                }
                y
            };
            for c in self.columns {
                y.push(counted(rho[*c] * inverse - V::splat(1.0)));
            }
            let values = &points.values[t * layout.outputs..(t + 1) * layout.outputs];
            for k in 0..layout.len {
                let of_law = weight::<FMA>(log_laws[layout.law(k)], table.log_ref[t]);
                y.push(counted(of_law * inverse * values[layout.output(k)]));
            }
        }
        let mut gram = vec![0.0; packed_len(self.width)];
        add_gram::<FMA>(&y, self.width, 0, 1, &mut gram);
        gram
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn coefficients_solve_a_regression() {
        // v = 2 + 3 a - b exactly, for (a, b) of four weighted points.
        let rows = [[1.0, 0.0, 1.0], [1.0, 1.0, 0.5], [1.0, -2.0, 0.3], [1.0, 0.7, -1.0]];
        let mut gram = vec![0.0; packed_len(4)];
        for (row, w) in rows.iter().zip([1.0, 0.5, 2.0, 0.3]) {
            let y = [row[0], row[1], row[2], 2.0 + 3.0 * row[1] - row[2]];
            for j in 0..4 {
                for k in j..4 {
                    gram[packed(4, j, k)] += w * y[j] * y[k];
                }
            }
        }
        let beta = coefficients(&gram, 2, 1).unwrap();
        assert!((beta[0] - 3.0).abs() < 1e-12 && (beta[1] + 1.0).abs() < 1e-12, "{beta:?}");
    }
}
