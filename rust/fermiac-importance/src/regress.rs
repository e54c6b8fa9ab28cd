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

/// The controls of all expectations on these groups of a sampler and, where it draws from the laws,
/// on these, by weighted least squares of v on r with intercept: the points count with g / h, as if
/// drawn from the sampler.
pub(crate) fn controls(
    context: &Context<'_>,
    points: &Points,
    proposal: &Proposal,
    table: &Table,
    columns: &[usize],
) -> Result<Vec<Control>> {
    let n_laws = if proposal.uses_laws() { points.layout.n_laws } else { 0 };
    let width = 1 + columns.len() + n_laws + points.layout.len;
    let mut gram = vec![0.0; packed_len(width)];
    points.spans(
        context,
        |span| dispatch(Cross { points, span, proposal, table, columns, n_laws, width }),
        |part: Vec<f64>| gram.iter_mut().zip(&part).for_each(|(g, p)| *g += p),
    )?;
    let beta = coefficients(&gram, columns.len(), n_laws, points.layout.len)?;
    let of = |k: usize| {
        let of_column = |c: usize| beta[c * points.layout.len + k];
        let terms = columns.iter().enumerate().map(|(c, g)| (*g, of_column(c)));
        let laws = (0..n_laws).map(|l| (l, of_column(columns.len() + l)));
        Control { terms: terms.collect(), laws: laws.collect() }
    };
    Ok((0..points.layout.len).map(of).collect())
}

/// Least-squares coefficients (columns and laws × J) from the Gram matrix of (1, r of the columns, r
/// of the laws, v).
///
/// The laws are eliminated first, without truncation: what is a multiple of their ratio f / g, as a
/// constant is, becomes exact.
fn coefficients(gram: &[f64], columns: usize, n_laws: usize, j: usize) -> Result<Vec<f64>> {
    let p = 1 + columns + n_laws + j;
    let size = p - 1;
    let entry = |a: usize, b: usize| gram[packed(p, a.min(b), a.max(b))];
    let total = entry(0, 0);
    let mut centred = vec![0.0; size * size];
    for a in 0..size {
        for b in 0..size {
            centred[a * size + b] = entry(1 + a, 1 + b) - entry(0, 1 + a) * entry(0, 1 + b) / total;
        }
    }
    let squares: Vec<f64> = (0..columns + n_laws).map(|c| centred[c * size + c]).collect();
    // A column that is constant, or that those before it explain, is left out.
    let kept = |c: usize, square: f64| square > 1e-10 * squares[c] && squares[c] > 1e-14 * total;
    let mut used = Vec::with_capacity(n_laws);
    for law in columns..columns + n_laws {
        let pivot = centred[law * size + law];
        if !kept(law, pivot) {
            continue;
        }
        let row = centred[law * size..(law + 1) * size].to_vec();
        for a in (0..size).filter(|a| *a < columns || *a > law) {
            let factor = centred[a * size + law] / pivot;
            for (to, from) in centred[a * size..(a + 1) * size].iter_mut().zip(&row) {
                *to -= factor * from;
            }
        }
        used.push((law, row));
    }
    let at = |a: usize, b: usize| centred[a * size + b];
    let inverse_norm = |c: usize| if kept(c, at(c, c)) { 1.0 / at(c, c).sqrt() } else { 0.0 };
    let mut scaled = vec![0.0; columns * columns];
    for a in 0..columns {
        for b in 0..columns {
            scaled[a * columns + b] = at(a, b) * inverse_norm(a) * inverse_norm(b);
        }
    }
    let (inverse, _) = SymmetricEigen::new(&scaled, columns)?.pseudo_inverse(RCOND * RCOND);
    let mut beta = vec![0.0; (columns + n_laws) * j];
    for a in 0..columns {
        for b in 0..columns {
            let factor = inverse[a * columns + b] * inverse_norm(a) * inverse_norm(b);
            for k in 0..j {
                beta[a * j + k] += factor * at(b, columns + n_laws + k);
            }
        }
    }
    for (law, row) in used.iter().rev() {
        let others = || (0..columns).chain(law + 1..columns + n_laws);
        for k in 0..j {
            let known: f64 = others().map(|c| row[c] * beta[c * j + k]).sum();
            beta[law * j + k] = (row[columns + n_laws + k] - known) / row[*law];
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
    n_laws: usize,
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
            for log in &log_laws[..self.n_laws] {
                let of_law = weight::<FMA>(*log, table.log_ref[t]);
                y.push(counted(of_law * inverse - V::splat(1.0)));
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
        // Two columns, or one and a law.
        for (columns, laws) in [(2, 0), (1, 1)] {
            let beta = coefficients(&gram, columns, laws, 1).unwrap();
            assert!((beta[0] - 3.0).abs() < 1e-12 && (beta[1] + 1.0).abs() < 1e-12, "{beta:?}");
        }
    }
}
