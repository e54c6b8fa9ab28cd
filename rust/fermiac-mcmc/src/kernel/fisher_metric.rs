//! The metric of least Fisher divergence between draws and gradients, from moments or from rows.

use fermiac_base::linalg::{Cholesky, SymmetricEigen};
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, ln};
use fermiac_base::{Error, Result};

/// The largest number of directions of a low-rank metric.
pub(super) const MOST_DIRECTIONS: usize = 50;
/// Directions with a variance within this factor of 1 are left out.
const NEGLIGIBLE: f64 = 1.3;
/// The cost of a step beside the products with the metric, in multiplications per coordinate: that of
/// a gradient of a typical model. It is a constant and not measured, as the draws must not depend on
/// a clock.
const STEP_COST: f64 = 100.0;
/// A diagonal metric stays unless another one is predicted to cost less than this part. Predictions are
/// too good where the law is not normal, and where the spectrum has much noise.
const LEAST_GAIN: f64 = 0.7;
/// The cost of a direction of a low-rank metric in both products of a step.
const DIRECTION_COST: f64 = 4.0;
/// Directions of the span of the rows with a smaller share of the largest are rounding errors.
const NOISE: f64 = 1e-12;

/// The symmetric Σ with Σ S Σ = D, row-major: the geometric mean of D and S⁻¹.
///
/// For a normal law the covariances S of the gradients and D of the draws at dim + 1 or more points
/// give its covariance exactly.
pub(super) fn geometric_mean(draws: &[f64], slopes: &[f64], dim: usize) -> Result<Vec<f64>> {
    // With S = R Rᵀ: Σ = R⁻ᵀ (Rᵀ D R)^½ R⁻¹.
    let factor = Cholesky::new(slopes, dim)?;
    let mut half = vec![0.0; dim * dim];
    for i in 0..dim {
        for k in 0..dim {
            add(draws[i * dim + k], factor.row(k), &mut half[i * dim..]);
        }
    }
    let mut middle = vec![0.0; dim * dim];
    for k in 0..dim {
        for (i, r) in factor.row(k).iter().enumerate() {
            add(*r, &half[k * dim..(k + 1) * dim], &mut middle[i * dim..]);
        }
    }
    let eigen = SymmetricEigen::new(&middle, dim)?;
    // The rows of Qᵀ R⁻¹, scaled by the fourth roots of the eigenvalues.
    let mut roots = vec![0.0; dim * dim];
    for (k, row) in roots.chunks_exact_mut(dim).enumerate() {
        if eigen.values[k].is_nan() || eigen.values[k] <= 0.0 {
            return Err(Error::Numerical("a window's moments are singular".into()));
        }
        let root = eigen.values[k].sqrt().sqrt();
        for (i, r) in row.iter_mut().enumerate() {
            *r = eigen.vectors[i * dim + k] * root;
        }
        factor.solve_upper(row);
    }
    let mut matrix = vec![0.0; dim * dim];
    for row in roots.chunks_exact(dim) {
        for (i, r) in row.iter().enumerate() {
            add(*r, &row[..=i], &mut matrix[i * dim..]);
        }
    }
    for i in 0..dim {
        for j in 0..i {
            matrix[j * dim + i] = matrix[i * dim + j];
        }
    }
    Ok(matrix)
}

/// The directions U and gains Λ^½ - I of I + U (Λ^½ - I) Uᵀ, in units in which all coordinates have
/// variance 1.
pub(super) struct Directions {
    /// The directions, one after the other.
    pub(super) vectors: Vec<f64>,
    pub(super) gains: Vec<f64>,
}

/// The directions in which centred rows of draws and of gradients differ most from variance 1. The
/// identity counts as `ridge` rows of each. With `sparing` only the directions that are predicted to
/// save more than they cost.
pub(super) fn directions(
    draws: &[f64],
    slopes: &[f64],
    dim: usize,
    ridge: f64,
    sparing: bool,
) -> Result<Directions> {
    let n = draws.len() / dim;
    let basis = if 2 * n < dim { Some(Basis::new(draws, slopes, dim)?) } else { None };
    let rank = basis.as_ref().map_or(dim, |basis| basis.rank);
    let moments = |of: &[f64], first: usize| {
        let mut matrix = vec![0.0; rank * rank];
        for k in 0..n {
            let row = match &basis {
                Some(basis) => &basis.rows[(first + k) * rank..(first + k + 1) * rank],
                None => &of[k * dim..(k + 1) * dim],
            };
            for (i, r) in row.iter().enumerate() {
                add(*r / (n as f64 + ridge), row, &mut matrix[i * rank..]);
            }
        }
        (0..rank).for_each(|i| matrix[i * rank + i] += ridge / (n as f64 + ridge));
        matrix
    };
    let matrix = geometric_mean(&moments(draws, 0), &moments(slopes, n), rank)?;
    let eigen = SymmetricEigen::new(&matrix, rank)?;
    let mut chosen = farthest(&eigen.values);
    if sparing {
        chosen.truncate(Selection::new(&eigen.values, dim).chosen.len());
    } else {
        chosen.retain(|&k| !(1.0 / NEGLIGIBLE..=NEGLIGIBLE).contains(&eigen.values[k]));
        chosen.truncate(MOST_DIRECTIONS);
    }
    let mut vectors = Vec::with_capacity(chosen.len() * dim);
    for &k in &chosen {
        let coordinates: Vec<f64> = (0..rank).map(|i| eigen.vectors[i * rank + k]).collect();
        match &basis {
            Some(basis) => vectors.extend(basis.vector(&coordinates, draws, slopes, dim)),
            None => vectors.extend(coordinates),
        }
    }
    let gains = chosen.iter().map(|&k| eigen.values[k].sqrt() - 1.0).collect();
    Ok(Directions { vectors, gains })
}

/// The reduction of a covariance Σ, in units in which all coordinates have about variance 1, to a
/// multiple of the identity and some directions; `None` if the whole matrix is predicted to cost
/// less.
pub(super) fn reduced(matrix: &[f64], dim: usize) -> Result<Option<(f64, Directions)>> {
    let eigen = SymmetricEigen::new(matrix, dim)?;
    let values = &eigen.values;
    if values.iter().any(|value| *value <= 0.0) {
        return Ok(None);
    }
    let mean = exp(values.iter().map(|value| ln(*value)).sum::<f64>() / dim as f64);
    let relative: Vec<f64> = values.iter().map(|value| value / mean).collect();
    let Selection { chosen, cost } = Selection::new(&relative, dim);
    let least_gain = if chosen.is_empty() { LEAST_GAIN } else { 1.0 };
    if least_gain * cost >= STEP_COST + dim as f64 {
        return Ok(None);
    }
    let vectors = chosen
        .iter()
        .flat_map(|&k| (0..dim).map(move |i| (i, k)))
        .map(|(i, k)| eigen.vectors[i * dim + k]);
    let vectors = vectors.collect();
    let gains = chosen.iter().map(|&k| relative[k].sqrt() - 1.0).collect();
    Ok(Some((mean, Directions { vectors, gains })))
}

/// The directions that a low-rank metric keeps.
struct Selection {
    /// The positions of their variances, the farthest from 1 first.
    chosen: Vec<usize>,
    /// The predicted cost of a unit of trajectory per coordinate.
    cost: f64,
}

impl Selection {
    /// The selection of least predicted cost, from variances of which all further ones up to `dim`
    /// are 1.
    ///
    /// A step costs more with each direction. Without the rest, the step size falls as
    /// (mean λ⁻²)^-¼, with the energy errors of leapfrog steps, and trajectories must be longer by
    /// the root of the largest λ.
    fn new(values: &[f64], dim: usize) -> Self {
        let mut order = farthest(values);
        let n = order.len().min(MOST_DIRECTIONS);
        let (mut best, mut least) = (0, f64::INFINITY);
        for k in 0..=n {
            let rest = order[k..].iter().map(|&k| values[k]);
            let excess: f64 = rest.clone().map(|value| 1.0 / (value * value) - 1.0).sum();
            let shorter = (1.0 + excess / dim as f64).sqrt().sqrt();
            let longer = rest.fold(1.0, f64::max).sqrt();
            let cost = (STEP_COST + DIRECTION_COST * k as f64) * shorter * longer;
            let gain = if best == 0 { LEAST_GAIN } else { 1.0 };
            if cost < gain * least {
                (best, least) = (k, cost);
            }
        }
        order.truncate(best);
        Self { chosen: order, cost: least }
    }
}

/// The positions of the positive values, the farthest from 1 first.
fn farthest(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&k| values[k] > 0.0).collect();
    let far = |k: &usize| values[*k].max(1.0 / values[*k]);
    order.sort_by(|a, b| far(b).total_cmp(&far(a)));
    order
}

/// An orthonormal basis of the span of the rows, as linear combinations of them.
struct Basis {
    rank: usize,
    /// The coordinates of the rows in it.
    rows: Vec<f64>,
    /// The weights of the rows in each basis vector.
    weights: Vec<f64>,
}

impl Basis {
    fn new(draws: &[f64], slopes: &[f64], dim: usize) -> Result<Self> {
        let rows: Vec<&[f64]> = draws.chunks_exact(dim).chain(slopes.chunks_exact(dim)).collect();
        let n = rows.len();
        let mut gram = vec![0.0; n * n];
        dispatch(Gram { rows: &rows, out: &mut gram });
        let eigen = SymmetricEigen::new(&gram, n)?;
        let floor = NOISE * eigen.values[n - 1];
        let kept: Vec<usize> = (0..n).filter(|&k| eigen.values[k] > floor).collect();
        let entry = |i: usize, k: usize| eigen.vectors[i * n + k];
        let rows = (0..n)
            .flat_map(|i| kept.iter().map(move |&k| (i, k)))
            .map(|(i, k)| entry(i, k) * eigen.values[k].sqrt())
            .collect();
        let weights = kept
            .iter()
            .flat_map(|&k| (0..n).map(move |i| (i, k)))
            .map(|(i, k)| entry(i, k) / eigen.values[k].sqrt())
            .collect();
        Ok(Self { rank: kept.len(), rows, weights })
    }

    /// The vector with these coordinates.
    fn vector(&self, coordinates: &[f64], draws: &[f64], slopes: &[f64], dim: usize) -> Vec<f64> {
        let n = self.weights.len() / self.rank;
        let mut weights = vec![0.0; n];
        for (c, row) in coordinates.iter().zip(self.weights.chunks_exact(n)) {
            add(*c, row, &mut weights);
        }
        let mut out = vec![0.0; dim];
        for (w, row) in weights.iter().zip(draws.chunks_exact(dim).chain(slopes.chunks_exact(dim)))
        {
            add(*w, row, &mut out);
        }
        out
    }
}

/// Adds `factor` times a row.
#[inline]
fn add(factor: f64, row: &[f64], out: &mut [f64]) {
    dispatch(Add { factor, row, out });
}

/// The lower triangle of the scalar products of rows.
struct Gram<'a> {
    rows: &'a [&'a [f64]],
    out: &'a mut [f64],
}

impl Kernel for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let n = self.rows.len();
        for (i, row) in self.rows.iter().enumerate() {
            let (a, a_rest) = row.as_chunks::<LANES>();
            for (other, out) in self.rows[..=i].iter().zip(&mut self.out[i * n..]) {
                let (b, b_rest) = other.as_chunks::<LANES>();
                let mut sum = V::ZERO;
                for (a, b) in a.iter().zip(b) {
                    sum = V(*a).mul_add::<FMA>(V(*b), sum);
                }
                *out = a_rest.iter().zip(b_rest).fold(sum.loop_sum(), |s, (a, b)| s + a * b);
            }
        }
    }
}

struct Add<'a> {
    factor: f64,
    row: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (out, r) in self.out.iter_mut().zip(self.row) {
            *out += self.factor * r;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    const DIM: usize = 40;

    /// A direction and the variance along it.
    type Spike = (Vec<f64>, f64);

    /// Rows of a normal law of variance 1 but for two directions, and the gradients at them.
    fn spiked(n: usize) -> ([Vec<f64>; 2], [Spike; 2]) {
        let root = (DIM as f64).sqrt();
        let even = (0..DIM).map(|_| 1.0 / root).collect();
        let odd = (0..DIM).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } / root).collect();
        let spikes: [Spike; 2] = [(even, 100.0), (odd, 0.04)];
        let mut stream = Stream::new(5, Domain::Chain, 0, 0);
        let (mut draws, mut slopes) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let mut x = vec![0.0; DIM];
            stream.fill_normal(&mut x);
            let mut g: Vec<f64> = x.iter().map(|x| -x).collect();
            for (u, variance) in &spikes {
                let along: f64 = u.iter().zip(&x).map(|(u, x)| u * x).sum();
                add(along * (variance.sqrt() - 1.0), u, &mut x);
                add(-along * (1.0 / variance.sqrt() - 1.0), u, &mut g);
            }
            draws.extend(x);
            slopes.extend(g);
        }
        ([draws, slopes], spikes)
    }

    #[test]
    fn the_geometric_mean_solves_its_equation() {
        let (dim, n) = (7, 12);
        let mut stream = Stream::new(1, Domain::Chain, 0, 0);
        let [draws, slopes] = [(); 2].map(|()| {
            let mut rows = vec![0.0; n * dim];
            stream.fill_normal(&mut rows);
            let mut matrix = vec![0.0; dim * dim];
            for row in rows.chunks_exact(dim) {
                row.iter().enumerate().for_each(|(i, r)| add(*r, row, &mut matrix[i * dim..]));
            }
            matrix
        });
        let product = |a: &[f64], b: &[f64]| {
            let mut out = vec![0.0; dim * dim];
            for i in 0..dim {
                for k in 0..dim {
                    let row = &b[k * dim..(k + 1) * dim];
                    add(a[i * dim + k], row, &mut out[i * dim..]);
                }
            }
            out
        };
        let mean = geometric_mean(&draws, &slopes, dim).unwrap();
        let got = product(&product(&mean, &slopes), &mean);
        assert!(got.iter().zip(&draws).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn a_covariance_is_reduced_where_that_costs_less() {
        let dim = 60;
        let matrix = |entry: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..dim * dim).map(|k| entry(k / dim, k % dim)).collect()
        };
        let plain = matrix(&|i, j| if i == j { 4.0 } else { 0.0 });
        let (scale, Directions { gains, .. }) = reduced(&plain, dim).unwrap().unwrap();
        assert!(gains.is_empty() && (scale - 4.0).abs() < 1e-12);
        // One long direction beside a short spectrum.
        let shared = matrix(&|i, j| if i == j { 1.0 } else { 0.9 });
        let (scale, Directions { vectors, gains }) = reduced(&shared, dim).unwrap().unwrap();
        assert_eq!((gains.len(), vectors.len()), (1, dim));
        let long = scale * (gains[0] + 1.0).powi(2);
        assert!((long - (0.1 + 60.0 * 0.9)).abs() < 1e-9, "{long}");
        // Many scales need the whole matrix.
        let many = matrix(&|i, j| 0.95_f64.powi((i as i32 - j as i32).abs()));
        assert!(reduced(&many, dim).unwrap().is_none());
    }

    #[test]
    fn rows_find_the_directions() {
        // Roughly from few rows, in their span; without an error from more than there are
        // coordinates.
        for (n, least, most) in [(15, 0.9, 1.0), (100, 0.9999, 1e-3)] {
            let ([draws, slopes], spikes) = spiked(n);
            let Directions { vectors, gains } =
                directions(&draws, &slopes, DIM, 1e-6, false).unwrap();
            let by = |a: &usize, b: &usize| gains[*a].total_cmp(&gains[*b]);
            let ends = [(0..gains.len()).max_by(by), (0..gains.len()).min_by(by)];
            for ((u, variance), k) in spikes.iter().zip(ends.map(Option::unwrap)) {
                let vector = &vectors[k * DIM..(k + 1) * DIM];
                let cosine: f64 = vector.iter().zip(u).map(|(a, b)| a * b).sum();
                assert!(cosine.abs() > least, "{cosine}");
                let error = (gains[k] + 1.0).ln() / variance.sqrt().ln() - 1.0;
                assert!(error.abs() < most, "{error}");
            }
            assert!(gains.len() == 2 || n < DIM);
        }
    }
}
