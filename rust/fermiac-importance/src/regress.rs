//! Coefficients of the controls when each estimate uses all components (Owen and Zhou, *Safe and
//! effective importance sampling*, 2000). They come from the points of the adaptation and are fixed
//! before the final sample is drawn, so that its estimates stay unbiased.

use super::basis::{Basis, Scratch};
use super::layout::Layout;
use super::points::{Points, Table, relative};
use super::proposal::{Control, Proposal, weight};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, SymmetricEigen, add_gram, packed, packed_len};
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv};
use std::ops::Range;

/// Directions whose scaled singular value is below this share of the largest are left out: the
/// components overlap, and a regression on their differences would fit noise.
const RCOND: f64 = 1e-2;

/// Added to the squares of the scaled columns where polynomials are fitted, as a share of them.
const RIDGE: f64 = 1e-6;

/// The columns of a regression: r = `g_l` / g of some groups of a sampler, the polynomials times f / g,
/// f / g of the laws where the sampler draws from them, and the values v.
pub(crate) struct Columns<'a> {
    pub(crate) proposal: &'a Proposal,
    /// Its densities at all points.
    pub(crate) table: &'a Table,
    pub(crate) groups: Vec<usize>,
    pub(crate) basis: Option<&'a Basis>,
    pub(crate) layout: Layout,
}

impl Columns<'_> {
    fn n_polynomials(&self) -> usize {
        self.basis.map_or(0, Basis::len)
    }

    fn n_laws(&self) -> usize {
        if self.proposal.uses_laws() { self.layout.n_laws } else { 0 }
    }

    /// With a column of ones before all others.
    fn width(&self) -> usize {
        1 + self.groups.len() + self.n_polynomials() + self.n_laws() + self.layout.len
    }
}

/// The controls of all expectations by weighted least squares with intercept on all columns: the
/// points count with g / h, as if drawn from the sampler.
pub(crate) fn controls(
    context: &Context<'_>,
    points: &Points,
    columns: &Columns<'_>,
) -> Result<Vec<Control>> {
    let gram = grams(context, points, columns, 1)?.swap_remove(0);
    let all = fit(&gram, columns, columns.n_polynomials())?;
    Ok((0..columns.layout.len).map(|k| all.control(columns, k)).collect())
}

/// The Gram matrices of the columns, of every `folds`-th tile each.
pub(crate) fn grams(
    context: &Context<'_>,
    points: &Points,
    columns: &Columns<'_>,
    folds: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut grams = vec![vec![0.0; packed_len(columns.width())]; folds];
    points.spans(
        context,
        |span| dispatch(Cross { points, span, columns, folds }),
        |parts: Vec<Vec<f64>>| {
            for (gram, part) in grams.iter_mut().zip(parts) {
                gram.iter_mut().zip(&part).for_each(|(g, p)| *g += p);
            }
        },
    )?;
    Ok(grams)
}

/// Coefficients on the groups, the first polynomials and the laws.
pub(crate) struct Fit {
    /// Positions in the Gram matrix of the columns that have coefficients.
    positions: Vec<usize>,
    /// Columns × J.
    beta: Vec<f64>,
    /// The weighted means of these columns and of the values.
    means: Vec<f64>,
    n_groups: usize,
    n_polynomials: usize,
}

/// Fits the values on the columns, of the polynomials on the first `polynomials`.
pub(crate) fn fit(gram: &[f64], columns: &Columns<'_>, polynomials: usize) -> Result<Fit> {
    let (width, j) = (columns.width(), columns.layout.len);
    let (n_groups, n_laws) = (columns.groups.len(), columns.n_laws());
    let all = 1 + n_groups + columns.n_polynomials();
    let positions: Vec<usize> = (1..=n_groups + polynomials).chain(all..all + n_laws).collect();
    let used: Vec<usize> =
        [0].into_iter().chain(positions.clone()).chain(width - j..width).collect();
    let entry = |a: usize, b: usize| gram[packed(width, a.min(b), a.max(b))];
    let mut reduced = Vec::with_capacity(packed_len(used.len()));
    for (at, a) in used.iter().enumerate() {
        reduced.extend(used[at..].iter().map(|b| entry(*a, *b)));
    }
    let ridge = if columns.basis.is_some() { RIDGE } else { 0.0 };
    let beta = coefficients(&reduced, n_groups + polynomials, n_laws, j, ridge)?;
    let means = used[1..].iter().map(|c| entry(0, *c) / entry(0, 0)).collect();
    Ok(Fit { positions, beta, means, n_groups, n_polynomials: polynomials })
}

impl Fit {
    /// The control of expectation `k`.
    pub(crate) fn control(&self, columns: &Columns<'_>, k: usize) -> Control {
        let j = columns.layout.len;
        let of_column = |c: usize| self.beta[c * j + k];
        let first_law = self.n_groups + self.n_polynomials;
        Control {
            terms: columns.groups.iter().enumerate().map(|(c, g)| (*g, of_column(c))).collect(),
            polynomials: (0..self.n_polynomials)
                .map(|p| (p, of_column(self.n_groups + p)))
                .collect(),
            laws: (0..columns.n_laws()).map(|l| (l, of_column(first_law + l))).collect(),
        }
    }

    /// The weighted sum of squares that it leaves of the values of expectation `k`, of other points.
    pub(crate) fn rest(&self, gram: &[f64], columns: &Columns<'_>, k: usize) -> f64 {
        let (width, j) = (columns.width(), columns.layout.len);
        let n = self.positions.len();
        let mut intercept = self.means[n + k];
        let mut combination = Vec::with_capacity(n + 2);
        for (c, position) in self.positions.iter().enumerate() {
            let beta = self.beta[c * j + k];
            intercept -= beta * self.means[c];
            combination.push((*position, -beta));
        }
        combination.push((0, -intercept));
        combination.push((width - j + k, 1.0));
        let entry = |a: usize, b: usize| gram[packed(width, a.min(b), a.max(b))];
        let of = |a: usize| combination.iter().map(|(b, y)| y * entry(a, *b)).sum::<f64>();
        combination.iter().map(|(a, x)| x * of(*a)).sum()
    }
}

/// Least-squares coefficients (columns and laws × J) from the Gram matrix of (1, r of the columns, r
/// of the laws, v).
///
/// The laws are eliminated first, without truncation: what is a multiple of their ratio f / g, as a
/// constant is, becomes exact.
///
/// With a `ridge` nothing else is truncated: polynomials hardly overlap.
fn coefficients(
    gram: &[f64],
    columns: usize,
    n_laws: usize,
    j: usize,
    ridge: f64,
) -> Result<Vec<f64>> {
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
    let mut beta = vec![0.0; (columns + n_laws) * j];
    if columns == 0 {
        // The laws alone.
    } else if ridge > 0.0 {
        (0..columns).for_each(|c| scaled[c * columns + c] += ridge);
        let cholesky = Cholesky::new(&scaled, columns)?;
        for k in 0..j {
            let mut right: Vec<f64> =
                (0..columns).map(|b| at(b, columns + n_laws + k) * inverse_norm(b)).collect();
            cholesky.solve(&mut right);
            for (a, r) in right.iter().enumerate() {
                beta[a * j + k] = r * inverse_norm(a);
            }
        }
    } else {
        let (inverse, _) = SymmetricEigen::new(&scaled, columns)?.pseudo_inverse(RCOND * RCOND);
        for a in 0..columns {
            for b in 0..columns {
                let factor = inverse[a * columns + b] * inverse_norm(a) * inverse_norm(b);
                for k in 0..j {
                    beta[a * j + k] += factor * at(b, columns + n_laws + k);
                }
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

/// The Gram matrices of √w times the columns over a span of tiles.
struct Cross<'a> {
    points: &'a Points,
    span: Range<usize>,
    columns: &'a Columns<'a>,
    folds: usize,
}

impl Kernel for Cross<'_> {
    type Output = Vec<Vec<f64>>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<Vec<f64>> {
        let (points, columns) = (self.points, self.columns);
        let (layout, table) = (columns.layout, columns.table);
        let (n_all, width, d) = (columns.proposal.n_groups(), columns.width(), points.dim);
        let mut y = Vec::with_capacity(self.span.len() * width);
        let mut polynomials = vec![V::ZERO; columns.n_polynomials()];
        let mut scratch = Scratch::default();
        for t in self.span {
            let log_laws = points.laws_at(t);
            let sum = relative::<FMA>(columns.proposal, table, t, log_laws);
            let inverse = V::splat(1.0) / sum;
            let w = expv::<FMA>(table.log_ref[t] - points.log_h(t)) * sum;
            let mut root = V::ZERO;
            for lane in 0..usize::from(points.lanes[t]) {
                root.0[lane] = w.0[lane].sqrt();
            }
            y.push(root);
            let rho = &table.rho[t * n_all..(t + 1) * n_all];
            // Where the sampler never goes ratios are 0/0 and v may overflow; nothing counts there.
            let counted = |mut y: V| {
                for lane in 0..LANES {
                    y.0[lane] = if root.0[lane] > 0.0 { y.0[lane] * root.0[lane] } else { 0.0 };
                }
                y
            };
            for c in &columns.groups {
                y.push(counted(rho[*c] * inverse - V::splat(1.0)));
            }
            if let Some(basis) = columns.basis {
                let of_law = weight::<FMA>(log_laws[0], table.log_ref[t]) * inverse;
                basis.fill::<FMA>(&points.z[t * d..(t + 1) * d], &mut scratch, &mut polynomials);
                y.extend(polynomials.iter().map(|p| counted(of_law * *p)));
            }
            for log in &log_laws[..columns.n_laws()] {
                let of_law = weight::<FMA>(*log, table.log_ref[t]);
                y.push(counted(of_law * inverse - V::splat(1.0)));
            }
            let values = &points.values[t * layout.outputs..(t + 1) * layout.outputs];
            for k in 0..layout.len {
                let of_law = weight::<FMA>(log_laws[layout.law(k)], table.log_ref[t]);
                y.push(counted(of_law * inverse * values[layout.output(k)]));
            }
        }
        // No closure: it would not be compiled for the instruction set of this kernel.
        let mut grams = vec![vec![0.0; packed_len(width)]; self.folds];
        for (fold, gram) in grams.iter_mut().enumerate() {
            add_gram::<FMA>(&y, width, fold, self.folds, gram);
        }
        grams
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
        for (columns, laws, ridge) in [(2, 0, 0.0), (1, 1, 0.0), (2, 0, 1e-15)] {
            let beta = coefficients(&gram, columns, laws, 1, ridge).unwrap();
            assert!((beta[0] - 3.0).abs() < 1e-12 && (beta[1] + 1.0).abs() < 1e-12, "{beta:?}");
        }
    }
}
