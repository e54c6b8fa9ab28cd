//! The moments of the draws in a window of the warm-up, and the metric that they give.

use super::fisher_metric::{Directions, MOST_DIRECTIONS, directions, geometric_mean, reduced};
use super::{Metric, MetricKind};
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, packed_start};
use fermiac_base::simd::{Kernel, dispatch, fma};
use fermiac_base::store::Codec;

/// The number of draws with independent coordinates towards which a window is shrunk.
const PRIOR_DRAWS: f64 = 5.0;
/// The variance of those draws, relative to that of the window.
const PRIOR_VARIANCE: f64 = 1e-3;
/// The weight of the identity if gradients are used: it matters only in directions in which neither
/// draws nor gradients vary.
const RIDGE: f64 = 1e-3;
/// The number of draws of a window that are kept.
const MOST_ROWS: usize = 128;
/// Chains agree while the variance of their means is below this share of the variance within them
/// (R-hat below 1.1), and their variances are within these factors of the mean one.
const MOST_BETWEEN: f64 = 0.2;
const LEAST_SHARE: f64 = 0.2;
const MOST_SHARE: f64 = 2.5;
/// Where the variances of the gradients are this close, those of the draws may differ.
const CLOSE_SHARES: [f64; 2] = [0.5, 1.7];
/// The most coordinates of which the whole matrix is learned, if the kind of the metric is chosen.
const MOST_DENSE: usize = 200;
/// The number of draws whose products enter a matrix together, which is read and written once for all.
const PENDING: usize = 8;
/// The draws for each coordinate from which the determinant of their covariance is taken: with
/// fewer, those of slow chains are far too small.
const VOLUME_DRAWS: f64 = 8.0;
/// The bounds of variances.
const BOUNDS: (f64, f64) = (1e-20, 1e20);

/// Means and centred sums of products of draws, and of the gradients at them.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    dim: usize,
    dense: bool,
    /// Whether a dense metric is reduced where that pays.
    reduces: bool,
    n: f64,
    draws: Moments,
    gradients: Option<Moments>,
    rows: Option<Rows>,
}

/// Some of the draws and gradients, evenly spread.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    draws: Vec<f64>,
    gradients: Vec<f64>,
    /// One of this many draws is kept, and so many have come since.
    stride: usize,
    since: usize,
}

impl Rows {
    const fn new() -> Self {
        Self { draws: Vec::new(), gradients: Vec::new(), stride: 1, since: 0 }
    }

    fn len(&self, dim: usize) -> usize {
        self.draws.len() / dim
    }

    fn push(&mut self, x: &[f64], gradient: &[f64]) {
        self.since += 1;
        if self.since < self.stride {
            return;
        }
        self.since = 0;
        self.draws.extend_from_slice(x);
        self.gradients.extend_from_slice(gradient);
        let dim = x.len();
        if self.len(dim) == 2 * MOST_ROWS {
            self.stride *= 2;
            for list in [&mut self.draws, &mut self.gradients] {
                for k in 0..MOST_ROWS {
                    list.copy_within((2 * k + 1) * dim..(2 * k + 2) * dim, k * dim);
                }
                list.truncate(MOST_ROWS * dim);
            }
        }
    }

    fn persist(&mut self, codec: &mut Codec, dim: usize) -> Result<()> {
        codec.list(&mut self.draws)?;
        codec.list(&mut self.gradients)?;
        codec.count(&mut self.stride)?;
        codec.count(&mut self.since)?;
        let n = self.draws.len();
        let rows = n == self.gradients.len() && n.is_multiple_of(dim) && n / dim < 2 * MOST_ROWS;
        codec.require(rows && self.stride.is_power_of_two() && self.since < self.stride)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Moments {
    mean: Vec<f64>,
    /// Centred sums: of squares, or the packed lower triangle.
    sums: Vec<f64>,
    delta: Vec<f64>,
    /// The δ of products that are not in the sums of a matrix yet, one after the other, and their
    /// weights.
    pending: Vec<f64>,
    weights: Vec<f64>,
}

impl Moments {
    fn new(dim: usize, dense: bool) -> Self {
        let sums = vec![0.0; if dense { packed_start(dim) } else { dim }];
        let (pending, weights) = (Vec::new(), Vec::new());
        Self { mean: vec![0.0; dim], sums, delta: vec![0.0; dim], pending, weights }
    }

    /// Takes in a point; `n` counts it.
    fn push(&mut self, x: &[f64], n: f64, dense: bool) {
        let share = 1.0 / n;
        for ((delta, mean), x) in self.delta.iter_mut().zip(&mut self.mean).zip(x) {
            *delta = x - *mean;
            *mean += *delta * share;
        }
        self.add_outer((n - 1.0) * share, dense);
    }

    /// Adds `weight` · δ δᵀ.
    fn add_outer(&mut self, weight: f64, dense: bool) {
        if dense {
            self.pending.extend_from_slice(&self.delta);
            self.weights.push(weight);
            if self.weights.len() == PENDING {
                self.settle();
            }
            return;
        }
        for (sum, delta) in self.sums.iter_mut().zip(&self.delta) {
            *sum += weight * delta * delta;
        }
    }

    /// Adds the products that are not in the sums yet.
    fn settle(&mut self) {
        let Some(weights) = self.weights.first_chunk::<PENDING>() else {
            for (weight, delta) in self.weights.iter().zip(self.pending.chunks(self.mean.len())) {
                dispatch(AddOuter { weights: [*weight], deltas: [delta], sums: &mut self.sums });
            }
            self.weights.clear();
            self.pending.clear();
            return;
        };
        let dim = self.mean.len();
        let deltas = std::array::from_fn(|k| &self.pending[k * dim..(k + 1) * dim]);
        dispatch(AddOuter { weights: *weights, deltas, sums: &mut self.sums });
        self.weights.clear();
        self.pending.clear();
    }

    fn merge(&mut self, other: &Self, n: f64, m: f64, dense: bool) {
        debug_assert!(self.weights.is_empty() && other.weights.is_empty());
        for ((delta, mean), x) in self.delta.iter_mut().zip(&mut self.mean).zip(&other.mean) {
            *delta = x - *mean;
            *mean += *delta * m / (n + m);
        }
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        self.add_outer(n * m / (n + m), dense);
        self.settle();
    }

    /// The variance of coordinate `i` times n - 1.
    fn squares(&self, i: usize, dense: bool) -> f64 {
        self.sums[if dense { packed_start(i) + i } else { i }]
    }
}

/// Adds `weight` · δ δᵀ for each δ to a packed triangle, in their order for each entry.
struct AddOuter<'a, const N: usize> {
    weights: [f64; N],
    deltas: [&'a [f64]; N],
    sums: &'a mut [f64],
}

impl<const N: usize> Kernel for AddOuter<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let mut rest = self.sums;
        let dim = self.deltas[0].len();
        for i in 0..dim {
            let (row, after) = rest.split_at_mut(i + 1);
            rest = after;
            let mut factors = self.weights;
            for (factor, delta) in factors.iter_mut().zip(&self.deltas) {
                *factor *= delta[i];
            }
            let deltas = self.deltas.map(|delta| &delta[..row.len()]);
            for (j, sum) in row.iter_mut().enumerate() {
                for k in 0..N {
                    *sum = fma::<FMA>(factors[k], deltas[k][j], *sum);
                }
            }
        }
    }
}

impl Window {
    /// An empty window for a metric of this kind.
    pub fn new(dim: usize, kind: MetricKind) -> Self {
        let reduces = kind == MetricKind::Auto;
        let dense = if reduces { dim <= MOST_DENSE } else { kind.is_dense() };
        let gradients = kind.uses_gradients().then(|| Moments::new(dim, dense));
        let rows = (kind == MetricKind::LowRank || (reduces && !dense)).then(Rows::new);
        let draws = Moments::new(dim, dense);
        Self { dim, dense, reduces, n: 0.0, draws, gradients, rows }
    }

    /// The number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of directions whose scales are learned: of a whole matrix the coordinates, else at
    /// most those of a low-rank metric.
    pub fn n_directions(&self) -> usize {
        if self.dense { self.dim } else { self.dim.min(MOST_DIRECTIONS) }
    }

    /// The number of draws.
    pub fn len(&self) -> f64 {
        self.n
    }

    /// Whether it has no draws.
    pub fn is_empty(&self) -> bool {
        self.n == 0.0
    }

    /// Takes in a draw, and the gradient there if gradients are used.
    pub fn push(&mut self, x: &[f64], gradient: &[f64]) {
        self.n += 1.0;
        self.draws.push(x, self.n, self.dense);
        if let Some(moments) = &mut self.gradients {
            moments.push(gradient, self.n, self.dense);
        }
        if let Some(rows) = &mut self.rows {
            rows.push(x, gradient);
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
        if let (Some(ours), Some(theirs)) = (&mut self.rows, &other.rows) {
            ours.draws.extend_from_slice(&theirs.draws);
            ours.gradients.extend_from_slice(&theirs.gradients);
        }
        self.n += other.n;
    }

    /// Brings the moments up to date; they are used only after that.
    pub fn settle(&mut self) {
        self.draws.settle();
        self.gradients.iter_mut().for_each(Moments::settle);
    }

    /// Whether the draws of chains are of one law, as far as their means and variances show: the
    /// variance of the means is small beside that of the draws, and no more than `differing` chains
    /// have far less or more variance than the others, of the draws or of the gradients.
    pub fn agree(windows: &[&Self], differing: usize) -> bool {
        let Some(first) = windows.first() else { return false };
        if windows.len() < 2 || windows.iter().any(|window| window.n < 4.0) {
            return false;
        }
        let n = windows.len() as f64;
        let variance = |w: &Self, of: &Moments, i: usize| of.squares(i, w.dense) / (w.n - 1.0);
        let even = |i: usize, of: fn(&Self) -> &Moments, [least, most]: [f64; 2]| {
            let within = windows.iter().map(|w| variance(w, of(w), i)).sum::<f64>() / n;
            let odd = windows.iter().filter(|w| {
                let share = variance(w, of(w), i) / within;
                !(share > least && share < most)
            });
            odd.count() <= differing
        };
        let near = |i: usize| {
            let within = windows.iter().map(|w| variance(w, &w.draws, i)).sum::<f64>() / n;
            let mean = windows.iter().map(|w| w.draws.mean[i]).sum::<f64>() / n;
            let between =
                windows.iter().map(|w| (w.draws.mean[i] - mean).powi(2)).sum::<f64>() / (n - 1.0);
            between < MOST_BETWEEN * within
        };
        let has_gradients = first.gradients.is_some();
        (0..first.dim).all(|i| {
            let shares = [LEAST_SHARE, MOST_SHARE];
            // A few draws in heavy tails may have most of the variance, but not of the gradients.
            let is_even = even(i, |w| &w.draws, shares)
                || (has_gradients && even(i, Self::slopes, CLOSE_SHARES));
            near(i) && is_even && (!has_gradients || even(i, Self::slopes, shares))
        })
    }

    /// Half of the logarithm of the determinant of the covariance of the draws; `None` if they are
    /// too few for it, or if only variances are kept.
    pub fn log_volume(&self) -> Option<f64> {
        if !self.dense || self.n < VOLUME_DRAWS * self.dim as f64 {
            return None;
        }
        self.shrunk_covariance().ok().map(|covariance| 0.5 * covariance.log_determinant())
    }

    /// The moments of the gradients; those of the draws if there are none.
    fn slopes(&self) -> &Moments {
        self.gradients.as_ref().unwrap_or(&self.draws)
    }

    /// Clears the window.
    pub fn clear(&mut self) {
        self.n = 0.0;
        for moments in std::iter::once(&mut self.draws).chain(&mut self.gradients) {
            moments.mean.fill(0.0);
            moments.sums.fill(0.0);
            moments.pending.clear();
            moments.weights.clear();
        }
        if let Some(rows) = &mut self.rows {
            *rows = Rows::new();
        }
    }

    /// The metric of the draws; `None` if they are too few.
    ///
    /// With gradients it is the matrix Σ of least Fisher divergence, which solves Σ C(∇) Σ = C(x)
    /// with the covariances of gradients and draws. For a normal law any dim + 1 draws give it
    /// exactly.
    ///
    /// Where the kind of the metric is chosen, `short` trajectories with the present one, which is
    /// diagonal, leave it so.
    pub fn metric(&self, short: bool) -> Option<Metric> {
        if self.n < 3.0 {
            return None;
        }
        if let (true, true, Some(gradients)) = (short, self.reduces, &self.gradients) {
            return Some(Metric::Diagonal(self.fisher_deviations(gradients)));
        }
        if let (Some(gradients), Some(rows)) = (&self.gradients, &self.rows) {
            return Some(self.low_rank(gradients, rows).unwrap_or_else(|_| self.fallback()));
        }
        let metric = match (&self.gradients, self.dense) {
            (None, false) => Metric::Diagonal(self.shrunk_deviations()),
            (None, true) => {
                self.shrunk_covariance().map_or_else(|_| self.fallback(), |c| Metric::dense(&c))
            }
            (Some(gradients), false) => Metric::Diagonal(self.fisher_deviations(gradients)),
            (Some(gradients), true) => {
                self.fisher_covariance(gradients).unwrap_or_else(|_| self.fallback())
            }
        };
        Some(metric)
    }

    /// The metric if the matrices cannot be factored.
    fn fallback(&self) -> Metric {
        Metric::Diagonal(match &self.gradients {
            Some(gradients) => self.fisher_deviations(gradients),
            None => self.shrunk_deviations(),
        })
    }

    /// The factor that shrinks the sums.
    fn shrink(&self) -> f64 {
        self.n / (self.n + PRIOR_DRAWS) / (self.n - 1.0)
    }

    /// The addition to the variance of a coordinate, whose unit is 1 if the variance is 0.
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
    fn fisher_deviations(&self, gradients: &Moments) -> Vec<f64> {
        (0..self.dim)
            .map(|i| {
                let (x, g) = (self.draws.squares(i, self.dense), gradients.squares(i, self.dense));
                let variance = (x / g).sqrt();
                if variance.is_finite() { bounded(variance).sqrt() } else { 1.0 }
            })
            .collect()
    }

    fn fisher_covariance(&self, gradients: &Moments) -> Result<Metric> {
        let dim = self.dim;
        let sd = self.fisher_deviations(gradients);
        if self.reduces && self.n < dim as f64 {
            // The spectrum of the whole matrix is that of the noise.
            return Ok(Metric::Diagonal(sd));
        }
        // Both have about the same diagonal in these units.
        let scaled = |sums: &[f64], inverse: bool| {
            let mut matrix = square(sums, dim);
            for (k, entry) in matrix.iter_mut().enumerate() {
                let unit = sd[k / dim] * sd[k % dim];
                *entry *= if inverse { 1.0 / unit } else { unit } / (self.n + RIDGE);
            }
            (0..dim).for_each(|i| matrix[i * dim + i] += RIDGE / (self.n + RIDGE));
            matrix
        };
        let (draws, slopes) = (scaled(&self.draws.sums, true), scaled(&gradients.sums, false));
        let mut matrix = geometric_mean(&draws, &slopes, dim)?;
        if self.reduces
            && let Some((scale, Directions { vectors, gains })) = reduced(&matrix, dim)?
        {
            let sd: Vec<f64> = sd.iter().map(|sd| sd * scale.sqrt()).collect();
            return Ok(if gains.is_empty() {
                Metric::Diagonal(sd)
            } else {
                Metric::LowRank { sd, vectors, gains }
            });
        }
        for (k, entry) in matrix.iter_mut().enumerate() {
            *entry *= sd[k / dim] * sd[k % dim];
        }
        Ok(Metric::dense(&Cholesky::new(&matrix, dim)?))
    }

    /// The metric with the deviations of the moments and the directions of the rows.
    fn low_rank(&self, gradients: &Moments, rows: &Rows) -> Result<Metric> {
        let (dim, sd) = (self.dim, self.fisher_deviations(gradients));
        let n = rows.len(dim);
        let chosen = n.min(MOST_ROWS);
        let pick = |of: &[f64], mean: &[f64], inverse: bool| {
            let mut out = Vec::with_capacity(chosen * dim);
            for k in 0..chosen {
                let row = &of[k * n / chosen * dim..];
                out.extend(
                    (0..dim)
                        .map(|i| (row[i] - mean[i]) * if inverse { 1.0 / sd[i] } else { sd[i] }),
                );
            }
            out
        };
        let draws = pick(&rows.draws, &self.draws.mean, true);
        let slopes = pick(&rows.gradients, &gradients.mean, false);
        let Directions { vectors, gains } = directions(&draws, &slopes, dim, RIDGE, self.reduces)?;
        Ok(if gains.is_empty() {
            Metric::Diagonal(sd)
        } else {
            Metric::LowRank { sd, vectors, gains }
        })
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.settle();
        codec.number(&mut self.n)?;
        for moments in std::iter::once(&mut self.draws).chain(&mut self.gradients) {
            codec.numbers(&mut moments.mean)?;
            codec.numbers(&mut moments.sums)?;
        }
        let dim = self.dim;
        self.rows.as_mut().map_or(Ok(()), |rows| rows.persist(codec, dim))
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

#[cfg(test)]
mod tests {
    use super::*;
    use fermiac_base::rng::{Domain, Stream};

    /// Windows of four chains of normal draws with these deviations and means.
    fn windows(deviations: [f64; 4], means: [f64; 4]) -> Vec<Window> {
        drawn(means, |chain, z| [deviations[chain] * z, -z / deviations[chain]])
    }

    /// Windows of four chains with these means, whose draws and gradients are functions of normals.
    fn drawn(means: [f64; 4], of: impl Fn(usize, f64) -> [f64; 2]) -> Vec<Window> {
        let mut windows = Vec::new();
        for (index, mean) in means.into_iter().enumerate() {
            let mut stream = Stream::new(2, Domain::Chain, index as u64, 0);
            let mut window = Window::new(3, MetricKind::Auto);
            for _ in 0..200 {
                let mut x = [0.0; 3];
                stream.fill_normal(&mut x);
                let both = x.map(|z| of(index, z));
                window.push(&both.map(|[x, _]| mean + x), &both.map(|[_, slope]| slope));
            }
            window.settle();
            windows.push(window);
        }
        windows
    }

    #[test]
    fn chains_of_one_law_agree() {
        let agree = |windows: Vec<Window>| Window::agree(&windows.iter().collect::<Vec<_>>(), 0);
        assert!(agree(windows([1.0; 4], [0.0; 4])));
        assert!(!agree(windows([1.0; 4], [0.0, 0.0, 0.0, 2.0])));
        assert!(!agree(windows([1.0, 1.0, 1.0, 4.0], [0.0; 4])));
        assert!(!agree(windows([1.0; 4], [0.0; 4]).split_off(3)));
        // Heavy tails, with gradients that are bounded there, and not.
        let wide = |chain: usize, z: f64| if chain == 1 { z * (1.0 + z.abs()) } else { z };
        let bounded = drawn([0.0; 4], |chain, z| [wide(chain, z), -z / (1.0 + z * z)]);
        assert!(agree(bounded));
        assert!(!agree(drawn([0.0; 4], |chain, z| [wide(chain, z), -wide(chain, z)])));
    }
}
