//! Measurements of one adaptation stage on its own sampler, from its own points.

use super::layout::{Layout, TileValues};
use super::layout::{lanes, n_tiles};
use super::points::Table;
use super::problem::Batch;
use super::proposal::Control;
use super::proposal::Proposal;
use fermiac_base::linalg::packed;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// The controls of an expectation at most: two groups, and its law.
const CONTROLS: usize = 3;
/// Sums per expectation: |v|, then v and the controls, then the upper triangle of their products.
const SUMS: usize = 1 + (CONTROLS + 1) + (CONTROLS + 1) * (CONTROLS + 2) / 2;
/// Points that a coefficient takes at least, for the law to be a control.
const ENOUGH: f64 = 10.0;

/// Sums over the points of a stage, about fixed shifts: v about a pilot mean, the controls about 1.
#[derive(Debug, Clone)]
pub(crate) struct StageSums {
    n: f64,
    /// J × [`SUMS`]
    sums: Vec<f64>,
}

/// The measurements of one expectation in a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// The estimate from this stage's points alone.
    pub(crate) mean: f64,
    /// The mean of |v|.
    pub(crate) mean_abs: f64,
    /// The variance of one corrected value.
    pub(crate) variance: f64,
    /// Least-squares coefficients of the controls.
    pub(crate) control: Control,
}

impl StageSums {
    pub(crate) fn new(expectations: usize) -> Self {
        Self { n: 0.0, sums: vec![0.0; expectations * SUMS] }
    }

    /// The sums of a batch, and the densities of the sampler at its points.
    pub(crate) fn of(
        proposal: &Proposal,
        layout: Layout,
        controls: &[Vec<usize>],
        shifts: &[f64],
        batch: &Batch,
    ) -> (Self, Table) {
        dispatch(Collect { proposal, layout, controls, shifts, batch })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
    }

    /// Estimates, coefficients and the variances that they leave; `use_laws` adds the law of each
    /// expectation to its controls.
    pub(crate) fn measured(
        &self,
        layout: Layout,
        controls: &[Vec<usize>],
        use_laws: bool,
        shifts: &[f64],
    ) -> Vec<Measured> {
        let n = self.n;
        let use_laws = use_laws && n >= ENOUGH * (CONTROLS + 1) as f64;
        let of = |j: usize, s: &[f64]| {
            let first = |a: usize| s[1 + a];
            let product = |a: usize, b: usize| {
                s[2 + CONTROLS + packed(CONTROLS + 1, a.min(b), a.max(b))] - first(a) * first(b) / n
            };
            // In order of preference: where columns are collinear the later ones are left out.
            let groups = controls[j].len().min(CONTROLS - 1);
            let mut columns: Vec<usize> = (1..=groups).collect();
            columns.extend(use_laws.then_some(CONTROLS));
            let beta = solve(&columns, n, product);
            let beta_of = |c: usize| columns.iter().position(|x| *x == c).map_or(0.0, |i| beta[i]);
            let terms = controls[j].iter().enumerate().map(|(c, g)| (*g, beta_of(c + 1))).collect();
            let law = beta_of(CONTROLS);
            let laws = if law == 0.0 { Vec::new() } else { vec![(layout.law(j), law)] };
            let (mut sum, mut rest) = (first(0), product(0, 0));
            for (c, beta) in columns.iter().zip(&beta) {
                sum -= beta * first(*c);
                rest -= beta * product(*c, 0);
            }
            Measured {
                mean: shifts[j] + sum / n,
                mean_abs: s[0] / n,
                variance: (rest / (n - 1.0)).max(0.0),
                control: Control { terms, laws, ..Control::default() },
            }
        };
        self.sums.chunks_exact(SUMS).enumerate().map(|(j, s)| of(j, s)).collect()
    }
}

/// Least-squares coefficients of variable 0 on these columns, by elimination in their order. A
/// column that is constant, or that those before it explain, gets 0.
fn solve(columns: &[usize], n: f64, product: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let k = columns.len();
    // The rows of the matrix with the right side as a last column.
    let mut rows: Vec<Vec<f64>> = columns
        .iter()
        .map(|a| columns.iter().map(|b| product(*a, *b)).chain([product(*a, 0)]).collect())
        .collect();
    let kept = |i: usize, pivot: f64| {
        let square = product(columns[i], columns[i]);
        square / n > 1e-14 && pivot > 1e-8 * square
    };
    let mut used = vec![false; k];
    for i in 0..k {
        used[i] = kept(i, rows[i][i]);
        if !used[i] {
            continue;
        }
        let row = rows[i].clone();
        for other in &mut rows[i + 1..] {
            let factor = other[i] / row[i];
            other.iter_mut().zip(&row).for_each(|(o, r)| *o -= factor * r);
        }
    }
    let mut beta = vec![0.0; k];
    for i in (0..k).rev().filter(|i| used[*i]) {
        let known: f64 = (i + 1..k).map(|c| rows[i][c] * beta[c]).sum();
        beta[i] = (rows[i][k] - known) / rows[i][i];
    }
    beta
}

struct Collect<'a> {
    proposal: &'a Proposal,
    layout: Layout,
    controls: &'a [Vec<usize>],
    shifts: &'a [f64],
    batch: &'a Batch,
}

impl Kernel for Collect<'_> {
    type Output = (StageSums, Table);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (StageSums, Table) {
        let expectations = self.layout.len;
        let mut sums = vec![V::ZERO; expectations * SUMS];
        let mut at = TileValues::new(self.proposal);
        let mut weights = vec![V::ZERO; self.layout.n_laws];
        let mut values = vec![V::ZERO; expectations];
        let mut table = Table::default();
        for t in 0..n_tiles(self.batch.n) {
            at.eval::<FMA>(self.proposal, self.layout, self.batch, t, &mut weights, &mut values);
            table.rho.extend_from_slice(&at.mixed.ratios);
            table.log_ref.push(at.mixed.log_g);
            let used = lanes(t, self.batch.n);
            let mut mask = V::splat(1.0);
            mask.0[used..LANES].fill(0.0);
            for (j, s) in sums.chunks_exact_mut(SUMS).enumerate() {
                let absolute = values[j].map(f64::abs) * mask;
                s[0] = s[0] + absolute;
                let mut y = [V::ZERO; CONTROLS + 1];
                y[0] = (values[j] - V::splat(self.shifts[j])) * mask;
                for (y, group) in y[1..CONTROLS].iter_mut().zip(&self.controls[j]) {
                    *y = (at.mixed.ratios[*group] - V::splat(1.0)) * mask;
                }
                y[CONTROLS] = (weights[self.layout.law(j)] - V::splat(1.0)) * mask;
                let (first, products) = s[1..].split_at_mut(CONTROLS + 1);
                // The second group, if there is none, has zeros alone.
                let used = [true, !self.controls[j].is_empty(), self.controls[j].len() > 1, true];
                let mut at = 0;
                for a in 0..=CONTROLS {
                    if used[a] {
                        first[a] = first[a] + y[a];
                        for b in a..=CONTROLS {
                            products[at + b - a] = y[a].mul_add::<FMA>(y[b], products[at + b - a]);
                        }
                    }
                    at += CONTROLS + 1 - a;
                }
            }
        }
        let sums = sums.into_iter().map(V::sum).collect();
        (StageSums { n: self.batch.n as f64, sums }, table)
    }
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn collinear_columns_are_left_out_and_the_others_solve() {
        // Centred columns a, b = 2 a, c, and v = 3 a - c.
        let (a, c) = ([1.0, -1.0, 2.0, -2.0], [0.5, 1.0, -2.0, 0.5]);
        let v: Vec<f64> = (0..4).map(|i| 3.0 * a[i] - c[i]).collect();
        let columns = [v.clone(), a.to_vec(), a.iter().map(|a| 2.0 * a).collect(), c.to_vec()];
        let product = |i: usize, j: usize| (0..4).map(|k| columns[i][k] * columns[j][k]).sum();
        let beta = solve(&[1, 2, 3], 4.0, product);
        assert!((beta[0] - 3.0).abs() < 1e-12 && beta[1] == 0.0 && (beta[2] + 1.0).abs() < 1e-12);
    }
}
