//! The fit of locations and scales: which coordinate depends on which, and how. Dependences by lines are left
//! to the copula.
//!
//! - A. C. Harvey, "Estimating regression models with multiplicative heteroscedasticity", Econometrica
//!   44, 461-465, 1976 (the fit of ln s).
//! - R. Koenker, "A note on studentizing a test for heteroscedasticity", Journal of Econometrics 17,
//!   107-112, 1981 (which pairs are looked at).

use super::{Basis, Branch, Curve, SIZE};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, dot};
use fermiac_base::par::Context;
use fermiac_base::simd::{exp, ln};

/// The functions that are tried, by their place in a design.
const CONSTANT: usize = 0;
const LINE: usize = 1;
const PARABOLA: usize = 2;
const FEW: usize = 3;
const MANY: usize = 4;
/// The knots of the splines with few and with more of them, as quantiles of the parent.
const KNOTS: [&[f64]; 2] = [&[0.05, 0.5, 0.95], &[0.02, 0.25, 0.5, 0.75, 0.98]];
/// The functions of locations and of scales by which parents are chosen.
const PAIRS: [[usize; 2]; 3] = [[FEW, FEW], [MANY, MANY], [PARABOLA, CONSTANT]];
/// Those that are tried for a branch.
const LOCATIONS: [usize; 5] = [CONSTANT, LINE, PARABOLA, FEW, MANY];
const SCALES: [usize; 4] = [CONSTANT, LINE, FEW, MANY];
/// Steps of a fit, and the limit of squares of residuals in them.
const STEPS: usize = 6;
const MOST_SQUARE: f64 = 16.0;
/// The ln of the square of a normal score is lower on average by this.
const LN_SQUARE: f64 = 1.270_362_845;
/// The number of parents of which the functions are fitted, for each coordinate.
const TRIED: usize = 3;
/// The share of the unit matrix in correlations, so that they have a factor.
const RIDGE: f64 = 1e-9;
/// The largest number of points of a branch.
const MOST_POINTS: usize = 50_000;
/// Weights of points are relative to those of so many neighbours along the parent, and points with less
/// than a share of them are left out.
const GROUP: usize = 64;
const LEAST_SIZE: f64 = 10.0;
const LEAST_SHARE: f64 = 1e-4;

/// The columns of rows.
pub(super) struct Columns {
    n: usize,
    pub(super) columns: Vec<Vec<f64>>,
}

/// Functions of a parent at rows, and the factor of their weighted products.
struct Functions {
    basis: Basis,
    rows: Vec<[f64; SIZE]>,
    products: Cholesky,
}

/// All functions of a parent at rows with weights.
struct Design {
    weights: Vec<f64>,
    n: f64,
    functions: [Option<Functions>; 5],
}

/// The functions of a parent at some of the rows.
pub(super) struct OfParent {
    pub(super) parent: usize,
    rows: Vec<usize>,
    design: Design,
}

/// A candidate for a branch, with its gain over a line with a constant scale.
struct Candidate {
    branch: Branch,
    pair: [usize; 2],
    gain: f64,
}

impl Columns {
    pub(super) fn new(points: &[f64], dim: usize) -> Self {
        let column = |j: usize| points.iter().skip(j).step_by(dim).copied().collect();
        Self { n: points.len() / dim, columns: (0..dim).map(column).collect() }
    }

    /// The pairs of child and parent that gain most, without circles, those of parents first.
    ///
    /// # Errors
    /// Those of `context`.
    pub(super) fn pairs(&self, context: &Context<'_>) -> Result<Vec<(usize, usize)>> {
        let dim = self.columns.len();
        let even = vec![1.0; self.n];
        let designs: Vec<Design> =
            self.columns.iter().map(|column| Design::new(column, &even)).collect();
        let residuals = self.residuals();
        let mut candidates: Vec<Candidate> = Vec::new();
        for (child, y) in residuals.iter().enumerate() {
            context.poll()?;
            let mut tests: Vec<(f64, usize)> = (0..dim)
                .filter(|parent| *parent != child)
                .map(|parent| (designs[parent].test(y), parent))
                .filter(|(excess, _)| *excess > 0.0)
                .collect();
            tests.sort_by(|a, b| b.0.total_cmp(&a.0));
            for &(_, parent) in tests.iter().take(TRIED) {
                candidates.extend(designs[parent].best(&PAIRS, y, child, parent));
            }
        }
        candidates.retain(|candidate| candidate.gain > 0.0);
        candidates.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let mut parents: Vec<Option<usize>> = vec![None; dim];
        let mut pairs = Vec::new();
        for Candidate { branch: Branch { child, parent, .. }, .. } in candidates {
            let mut above = Some(parent);
            while let Some(at) = above.filter(|at| *at != child) {
                above = parents[at];
            }
            if parents[child].is_none() && above.is_none() {
                parents[child] = Some(parent);
                pairs.push((child, parent));
            }
        }
        let depth = |mut at: usize| {
            let mut depth = 0;
            while let Some(parent) = parents[at] {
                (at, depth) = (parent, depth + 1);
            }
            depth
        };
        // Children of one parent follow each other.
        pairs.sort_by_key(|(child, parent)| (depth(*child), *parent));
        Ok(pairs)
    }

    /// What the others do not tell of each column by a linear function, which a copula has.
    fn residuals(&self) -> Vec<Vec<f64>> {
        let (dim, n) = (self.columns.len(), self.n as f64);
        let standard: Vec<Vec<f64>> = self
            .columns
            .iter()
            .map(|column| {
                let mean = column.iter().sum::<f64>() / n;
                let square = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let sd = square.sqrt().max(f64::MIN_POSITIVE);
                column.iter().map(|x| (x - mean) / sd).collect()
            })
            .collect();
        let mut products = vec![0.0; dim * dim];
        for (a, x) in standard.iter().enumerate() {
            for (b, y) in standard[..=a].iter().enumerate() {
                products[a * dim + b] = dot(x, y) / n;
            }
            products[a * dim + a] += RIDGE;
        }
        let Ok(factor) = Cholesky::new(&products, dim) else { return self.columns.clone() };
        (0..dim)
            .map(|child| {
                let mut by = vec![0.0; dim];
                by[child] = 1.0;
                factor.solve(&mut by);
                let mut out = vec![0.0; self.n];
                for (column, by_column) in standard.iter().zip(&by) {
                    let share = by_column / by[child];
                    out.iter_mut().zip(column).for_each(|(out, x)| *out += share * x);
                }
                out
            })
            .collect()
    }

    /// The functions of a parent at all points, of which neighbours along it count as many as their weights
    /// relative to each other are worth.
    pub(super) fn of_parent(&self, parent: usize, weights: &[f64]) -> OfParent {
        let parents = &self.columns[parent];
        let mut order: Vec<usize> = (0..self.n).filter(|&i| weights[i] > 0.0).collect();
        order.sort_by(|&a, &b| parents[a].total_cmp(&parents[b]));
        let every = order.len().div_ceil(MOST_POINTS).max(1);
        let order: Vec<usize> = order.into_iter().step_by(every).collect();
        let (mut rows, mut relative) = (Vec::new(), Vec::new());
        let mut left = &order[..];
        while left.len() >= GROUP {
            let (mut n, mut sums) = (0, [0.0; 2]);
            // Weights of few effective points favour those of the law that they were drawn from.
            while n < left.len() && (n < GROUP || sums[0] * sums[0] < LEAST_SIZE * sums[1]) {
                let w = weights[left[n]];
                sums = [sums[0] + w, sums[1] + w * w];
                n += 1;
            }
            let (group, rest) = left.split_at(n);
            left = rest;
            // At the end of the target a few points that it lacked have nearly all of the weights.
            let mut most = f64::INFINITY;
            if sums[0] * sums[0] < LEAST_SIZE * sums[1] {
                let mut sorted: Vec<f64> = group.iter().map(|&i| weights[i]).collect();
                sorted.sort_unstable_by(|a, b| b.total_cmp(a));
                most = sorted[LEAST_SIZE as usize - 1];
                sums = sorted
                    .iter()
                    .map(|w| w.min(most))
                    .fold([0.0; 2], |[sum, squares], w| [sum + w, squares + w * w]);
            }
            let [sum, squares] = sums;
            let size = sum * sum / squares;
            if !size.is_finite() {
                // The squares of such weights are 0.
                continue;
            }
            for &i in group {
                let w = weights[i].min(most) / sum * size;
                if w > LEAST_SHARE {
                    rows.push(i);
                    relative.push(w);
                }
            }
        }
        let x: Vec<f64> = rows.iter().map(|&i| parents[i]).collect();
        OfParent { parent, rows, design: Design::new(&x, &relative) }
    }

    /// A branch fitted to all points.
    pub(super) fn branch(&self, child: usize, of: &OfParent) -> Option<Branch> {
        let y: Vec<f64> = of.rows.iter().map(|&i| self.columns[child][i]).collect();
        // The location first, and then the scale with it.
        let locations = LOCATIONS.map(|location| [location, LINE]);
        let first = of.design.best(&locations, &y, child, of.parent)?;
        let [location, _] = first.pair;
        let scales = SCALES.map(|scale| [location, scale]);
        of.design.best(&scales, &y, child, of.parent).map(|candidate| candidate.branch)
    }
}

impl Functions {
    fn new(basis: Basis, column: &[f64], weights: &[f64]) -> Option<Self> {
        let rows: Vec<[f64; SIZE]> = column.iter().map(|x| basis.functions(*x)).collect();
        let products = products(&rows, basis.size(), weights)?;
        Some(Self { basis, rows, products })
    }

    /// The solution of the normal equations.
    fn solve(&self, mut sums: [f64; SIZE]) -> [f64; SIZE] {
        self.products.solve(&mut sums[..self.basis.size()]);
        sums
    }

    fn values(&self, by: [f64; SIZE]) -> impl Iterator<Item = f64> {
        self.rows.iter().map(move |row| dot(row, &by))
    }
}

impl Design {
    fn new(column: &[f64], weights: &[f64]) -> Self {
        let n: f64 = weights.iter().sum();
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_by(|&a, &b| column[a].total_cmp(&column[b]));
        let range = match order[..] {
            [first, .., last] => [column[first], column[last]],
            _ => [0.0; 2],
        };
        let of = |shares: &[f64], shape: Option<usize>| {
            let (mut sum, mut knots) = (0.0, Vec::new());
            for &i in &order {
                sum += weights[i];
                if knots.len() < shares.len() && sum >= shares[knots.len()] * n {
                    knots.push(column[i]);
                }
            }
            Functions::new(Basis::new(&knots, shares.len(), shape, range)?, column, weights)
        };
        let [few, many] = KNOTS;
        let functions =
            [of(few, Some(0)), of(few, Some(1)), of(few, Some(2)), of(few, None), of(many, None)];
        Self { weights: weights.to_vec(), n, functions }
    }

    /// The candidate of pairs of functions for a location and a scale that gains most.
    fn best(
        &self,
        pairs: &[[usize; 2]],
        y: &[f64],
        child: usize,
        parent: usize,
    ) -> Option<Candidate> {
        let fitted = pairs.iter().filter_map(|&pair| self.candidate(pair, y, child, parent));
        fitted.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    /// Weighted sums of functions times values.
    fn sums(&self, of: &Functions, y: impl Iterator<Item = f64>) -> [f64; SIZE] {
        let mut out = [0.0; SIZE];
        for ((row, weight), y) in of.rows.iter().zip(&self.weights).zip(y) {
            out.iter_mut().zip(row).for_each(|(sum, f)| *sum += weight * y * f);
        }
        out
    }

    /// The least-squares coefficients for values of different scales.
    fn regress_scaled(&self, of: &Functions, y: &[f64], scale: &[f64]) -> Option<[f64; SIZE]> {
        let weights: Vec<f64> =
            self.weights.iter().zip(scale).map(|(weight, s)| weight / (s * s)).collect();
        let mut out = self.sums(of, y.iter().zip(scale).map(|(y, s)| y / (s * s)));
        let size = of.basis.size();
        products(&of.rows, size, &weights)?.solve(&mut out[..size]);
        Some(out)
    }

    /// The weighted mean of terms.
    fn mean(&self, terms: impl Iterator<Item = f64>) -> f64 {
        self.weights.iter().zip(terms).map(|(weight, term)| weight * term).sum::<f64>() / self.n
    }

    /// The residuals of the line through values, and their standard deviation.
    fn line(&self, y: &[f64]) -> Option<(Vec<f64>, f64)> {
        let of = self.functions[LINE].as_ref()?;
        let by = of.solve(self.sums(of, y.iter().copied()));
        let residuals: Vec<f64> = y.iter().zip(of.values(by)).map(|(y, line)| y - line).collect();
        let sd = self.mean(residuals.iter().map(|r| r * r)).sqrt();
        (sd > 0.0 && sd.is_finite()).then_some((residuals, sd))
    }

    /// The excess of score statistics over what their parameters cost: of tests for a location that is no
    /// line, and for a scale that is not constant.
    fn test(&self, y: &[f64]) -> f64 {
        let Some((residuals, sd)) = self.line(y) else { return 0.0 };
        let scores: Vec<f64> = residuals.iter().map(|r| r / sd).collect();
        let squares: Vec<f64> = scores.iter().map(|z| (z * z).min(MOST_SQUARE) - 1.0).collect();
        let fourth = self.mean(squares.iter().map(|square| square * square));
        let norm = |of: &Functions, y: &[f64]| {
            let sums = self.sums(of, y.iter().copied());
            dot(&sums, &of.solve(sums))
        };
        let excess = |pair: [usize; 2]| {
            let [location, scale] = pair.map(|place| self.functions[place].as_ref());
            let (location, scale) = (location?, scale?);
            let cost = Branch::cost_of(&location.basis, &scale.basis) * ln(self.n);
            Some(norm(location, &scores) + norm(scale, &squares) / fourth - cost)
        };
        PAIRS.into_iter().filter_map(excess).fold(0.0, f64::max)
    }

    /// The branch of a child, fitted by maximum likelihood.
    fn candidate(
        &self,
        pair: [usize; 2],
        y: &[f64],
        child: usize,
        parent: usize,
    ) -> Option<Candidate> {
        let (_, sd) = self.line(y)?;
        let [location, scale] = pair.map(|place| self.functions[place].as_ref());
        let (location, scale) = (location?, scale?);
        let residuals = |by: [f64; SIZE]| -> Vec<f64> {
            y.iter().zip(location.values(by)).map(|(y, at)| y - at).collect()
        };
        let scales = |by: [f64; SIZE]| -> Vec<f64> { scale.values(by).map(exp).collect() };
        let mut of_location = location.solve(self.sums(location, y.iter().copied()));
        // To begin with, a regression of the ln of squares.
        let floor = 1e-6 * sd;
        let start = residuals(of_location);
        let logs = start.iter().map(|r| ln(r.abs().max(floor)) + 0.5 * LN_SQUARE);
        let mut of_scale = scale.solve(self.sums(scale, logs));
        for _ in 0..STEPS {
            let now = scales(of_scale);
            of_location = self.regress_scaled(location, y, &now)?;
            let left = residuals(of_location);
            let pairs = left.iter().zip(&now);
            let squares = pairs.map(|(r, s)| 0.5 * ((r / s).powi(2).min(MOST_SQUARE) - 1.0));
            let step = scale.solve(self.sums(scale, squares));
            of_scale.iter_mut().zip(step).for_each(|(at, step)| *at += step);
        }
        let (left, now) = (residuals(of_location), scales(of_scale));
        let mean = self.mean(left.iter().zip(&now).map(|(r, s)| ln(*s) + 0.5 * (r / s).powi(2)));
        let cost = 0.5 * Branch::cost_of(&location.basis, &scale.basis) * ln(self.n);
        let gain = self.n * (ln(sd) + 0.5 - mean) - cost;
        let branch = Branch {
            child,
            parent,
            location: Curve { basis: location.basis.clone(), by: of_location },
            ln_scale: Curve { basis: scale.basis.clone(), by: of_scale },
            width: 1.0,
            ln_width: 0.0,
        };
        gain.is_finite().then_some(Candidate { branch, pair, gain })
    }
}

/// The factor of the weighted sums of products of rows; `None` if they do not span their space.
fn products(rows: &[[f64; SIZE]], size: usize, weights: &[f64]) -> Option<Cholesky> {
    let mut out = vec![0.0; size * size];
    for (row, weight) in rows.iter().zip(weights) {
        for (a, out) in out.chunks_exact_mut(size).enumerate() {
            let by = weight * row[a];
            out[..=a].iter_mut().zip(row).for_each(|(sum, f)| *sum += by * f);
        }
    }
    Cholesky::new(&out, size).ok()
}
