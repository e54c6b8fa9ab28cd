//! The moments of a window of the warm-up, and the metric that they give.

use super::{Archive, Metric, MetricKind};
use crate::linalg::{Cholesky, SymmetricEigen, packed_start};
use crate::{Error, Result};

/// Numbers that stand for the draws that a window does not have: it shrinks towards independent
/// coordinates as if it had seen this many draws of them.
const PRIOR_DRAWS: f64 = 5.0;
/// The variance of those draws, of a covariance alone, in that of the window's: whatever the units.
const PRIOR_VARIANCE: f64 = 1e-3;
/// The weight of the identity where gradients are known as well: it decides only where neither
/// draws nor gradients say anything.
const RIDGE: f64 = 1e-3;
/// Variances stay within these bounds.
const BOUNDS: (f64, f64) = (1e-20, 1e20);

/// Means and centred sums of products of draws, and of the gradients at them.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    dim: usize,
    dense: bool,
    n: f64,
    draws: Moments,
    gradients: Option<Moments>,
}

#[derive(Debug, Clone, PartialEq)]
struct Moments {
    mean: Vec<f64>,
    /// Centred sums: of squares, or the packed lower triangle.
    sums: Vec<f64>,
    delta: Vec<f64>,
}

impl Moments {
    fn new(dim: usize, dense: bool) -> Self {
        let sums = vec![0.0; if dense { packed_start(dim) } else { dim }];
        Self { mean: vec![0.0; dim], sums, delta: vec![0.0; dim] }
    }

    /// Takes in a point that moves the mean of `n` points, itself included.
    fn push(&mut self, x: &[f64], n: f64, dense: bool) {
        for ((delta, mean), x) in self.delta.iter_mut().zip(&mut self.mean).zip(x) {
            *delta = x - *mean;
            *mean += *delta / n;
        }
        self.add_outer((n - 1.0) / n, dense);
    }

    /// Adds `weight` · δ δᵀ.
    fn add_outer(&mut self, weight: f64, dense: bool) {
        if !dense {
            for (sum, delta) in self.sums.iter_mut().zip(&self.delta) {
                *sum += weight * delta * delta;
            }
            return;
        }
        let mut rest = self.sums.as_mut_slice();
        for (i, delta) in self.delta.iter().enumerate() {
            let (row, after) = rest.split_at_mut(i + 1);
            rest = after;
            let factor = weight * delta;
            for (sum, other) in row.iter_mut().zip(&self.delta) {
                *sum += factor * other;
            }
        }
    }

    fn merge(&mut self, other: &Self, n: f64, m: f64, dense: bool) {
        for ((delta, mean), x) in self.delta.iter_mut().zip(&mut self.mean).zip(&other.mean) {
            *delta = x - *mean;
            *mean += *delta * m / (n + m);
        }
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        self.add_outer(n * m / (n + m), dense);
    }

    /// The variance of coordinate `i` times n - 1.
    fn squares(&self, i: usize, dense: bool) -> f64 {
        self.sums[if dense { packed_start(i) + i } else { i }]
    }
}

impl Window {
    /// For a metric of this kind.
    pub fn new(dim: usize, kind: MetricKind) -> Self {
        let dense = kind.is_dense();
        let gradients = kind.uses_gradients().then(|| Moments::new(dim, dense));
        Self { dim, dense, n: 0.0, draws: Moments::new(dim, dense), gradients }
    }

    /// Coordinates of a draw.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many draws it has seen.
    pub fn len(&self) -> f64 {
        self.n
    }

    /// Whether it has seen none.
    pub fn is_empty(&self) -> bool {
        self.n == 0.0
    }

    /// Takes in a draw, and the gradient there if gradients count.
    pub fn push(&mut self, x: &[f64], gradient: &[f64]) {
        self.n += 1.0;
        self.draws.push(x, self.n, self.dense);
        if let Some(moments) = &mut self.gradients {
            moments.push(gradient, self.n, self.dense);
        }
    }

    /// Takes in the draws of another window.
    ///
    /// # References
    /// T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance:
    /// analysis and recommendations", The American Statistician 37 (1983).
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        self.draws.merge(&other.draws, self.n, other.n, self.dense);
        if let (Some(ours), Some(theirs)) = (&mut self.gradients, &other.gradients) {
            ours.merge(theirs, self.n, other.n, self.dense);
        }
        self.n += other.n;
    }

    /// Forgets all draws.
    pub fn clear(&mut self) {
        self.n = 0.0;
        for moments in std::iter::once(&mut self.draws).chain(&mut self.gradients) {
            moments.mean.fill(0.0);
            moments.sums.fill(0.0);
        }
    }

    /// The metric of the draws; `None` where they are too few to tell.
    ///
    /// With gradients it is the matrix Σ that makes the gradients of the draws, seen as draws with
    /// covariance Σ⁻¹, fit best: Σ C(∇) Σ = C(x). For a normal law any dim + 1 draws give it exactly.
    pub fn metric(&self) -> Option<Metric> {
        if self.n < 3.0 {
            return None;
        }
        let metric = match (&self.gradients, self.dense) {
            (None, false) => Metric::Diagonal(self.shrunk_deviations()),
            (None, true) => {
                self.shrunk_covariance().map_or_else(|_| self.fallback(), |c| Metric::dense(&c))
            }
            (Some(gradients), false) => Metric::Diagonal(self.balanced_deviations(gradients)),
            (Some(gradients), true) => self
                .balanced_covariance(gradients)
                .map_or_else(|_| self.fallback(), |c| Metric::dense(&c)),
        };
        Some(metric)
    }

    /// What serves where the matrices cannot be factored.
    fn fallback(&self) -> Metric {
        Metric::Diagonal(match &self.gradients {
            Some(gradients) => self.balanced_deviations(gradients),
            None => self.shrunk_deviations(),
        })
    }

    /// The factor of the sums.
    fn shrink(&self) -> f64 {
        self.n / (self.n + PRIOR_DRAWS) / (self.n - 1.0)
    }

    /// What is added to the variance of a coordinate; one that stood still has none to go by.
    fn ridge(&self, i: usize) -> f64 {
        let variance = self.draws.squares(i, self.dense) / (self.n - 1.0);
        let unit = if variance > 0.0 { variance } else { 1.0 };
        PRIOR_VARIANCE * PRIOR_DRAWS / (self.n + PRIOR_DRAWS) * unit
    }

    fn shrunk_deviations(&self) -> Vec<f64> {
        let variance = |i| self.draws.squares(i, self.dense) * self.shrink() + self.ridge(i);
        (0..self.dim).map(|i| bounded(variance(i)).sqrt()).collect()
    }

    fn shrunk_covariance(&self) -> Result<Cholesky> {
        let mut matrix = square(&self.draws.sums, self.dim);
        let factor = self.shrink();
        matrix.iter_mut().for_each(|c| *c *= factor);
        (0..self.dim).for_each(|i| matrix[i * self.dim + i] += self.ridge(i));
        Cholesky::new(&matrix, self.dim)
    }

    /// (Var xᵢ / Var gᵢ)^¼.
    fn balanced_deviations(&self, gradients: &Moments) -> Vec<f64> {
        (0..self.dim)
            .map(|i| {
                let (x, g) = (self.draws.squares(i, self.dense), gradients.squares(i, self.dense));
                let variance = (x / g).sqrt();
                if variance.is_finite() { bounded(variance).sqrt() } else { 1.0 }
            })
            .collect()
    }

    fn balanced_covariance(&self, gradients: &Moments) -> Result<Cholesky> {
        let dim = self.dim;
        let sd = self.balanced_deviations(gradients);
        // In units in which both have about the same diagonal.
        let scaled = |sums: &[f64], inverse: bool| {
            let mut matrix = square(sums, dim);
            for (k, entry) in matrix.iter_mut().enumerate() {
                let unit = sd[k / dim] * sd[k % dim];
                *entry *= if inverse { 1.0 / unit } else { unit } / (self.n + RIDGE);
            }
            (0..dim).for_each(|i| matrix[i * dim + i] += RIDGE / (self.n + RIDGE));
            matrix
        };
        let draws = scaled(&self.draws.sums, true);
        let slopes = Cholesky::new(&scaled(&gradients.sums, false), dim)?;
        // With C(∇) = R Rᵀ: Σ = R⁻ᵀ (Rᵀ C(x) R)^½ R⁻¹.
        let lower = |i: usize, j: usize| if j <= i { slopes.row(i)[j] } else { 0.0 };
        let mut half = vec![0.0; dim * dim];
        for i in 0..dim {
            for k in 0..dim {
                let entry = draws[i * dim + k];
                for (j, r) in slopes.row(k).iter().enumerate() {
                    half[i * dim + j] += entry * r;
                }
            }
        }
        let mut middle = vec![0.0; dim * dim];
        for k in 0..dim {
            for i in 0..=k {
                let r = lower(k, i);
                for j in 0..dim {
                    middle[i * dim + j] += r * half[k * dim + j];
                }
            }
        }
        let eigen = SymmetricEigen::new(&middle, dim)?;
        // The columns of R⁻ᵀ Q, scaled by the fourth roots.
        let mut roots = vec![0.0; dim * dim];
        let mut column = vec![0.0; dim];
        for (k, value) in eigen.values.iter().enumerate() {
            if !(*value > 0.0) {
                return Err(Error::Numerical("a window's moments are singular".into()));
            }
            (0..dim).for_each(|i| column[i] = eigen.vectors[i * dim + k]);
            slopes.solve_upper(&mut column);
            let root = value.sqrt().sqrt();
            (0..dim).for_each(|i| roots[i * dim + k] = column[i] * root * sd[i]);
        }
        let mut matrix = vec![0.0; dim * dim];
        for i in 0..dim {
            for j in 0..=i {
                let (a, b) = (&roots[i * dim..(i + 1) * dim], &roots[j * dim..(j + 1) * dim]);
                matrix[i * dim + j] = a.iter().zip(b).map(|(a, b)| a * b).sum();
            }
        }
        Cholesky::new(&matrix, dim)
    }

    pub(super) fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.number(&mut self.n)?;
        for moments in std::iter::once(&mut self.draws).chain(&mut self.gradients) {
            archive.numbers(&mut moments.mean)?;
            archive.numbers(&mut moments.sums)?;
        }
        Ok(())
    }
}

fn bounded(variance: f64) -> f64 {
    variance.clamp(BOUNDS.0, BOUNDS.1)
}

/// The symmetric row-major matrix of a packed lower triangle.
fn square(packed: &[f64], dim: usize) -> Vec<f64> {
    let entry = |k: usize| {
        let (i, j) = ((k / dim).max(k % dim), (k / dim).min(k % dim));
        packed[packed_start(i) + j]
    };
    (0..dim * dim).map(entry).collect()
}
