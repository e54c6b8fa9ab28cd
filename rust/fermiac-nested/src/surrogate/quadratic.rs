//! Whitening of points, and the weighted least-squares quadratic in white coordinates.

use fermiac_base::linalg::{Cholesky, Rows, add_gram, dot, packed, packed_len, packed_start};
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};

/// The ridge added to a matrix scaled to a diagonal of 1, and the factor by which it grows while it
/// is too small.
const RIDGE: f64 = 1e-13;
const MORE: f64 = 1e4;
/// Tiles of points whose columns are made and summed together: they stay in a cache.
const TILES: usize = 32;

/// The Cholesky factor of a positive semidefinite row-major matrix with the least ridge that makes
/// it definite, and the scales by which its rows and columns were divided first.
fn factor(a: &[f64], dim: usize) -> Result<(Cholesky, Vec<f64>)> {
    let scales: Vec<f64> = (0..dim)
        .map(|i| a[i * dim + i])
        .map(|s| if s > 0.0 && s.is_finite() { s.sqrt() } else { 1.0 })
        .collect();
    let mut ridge = RIDGE;
    loop {
        let entry = |k: usize| {
            let (i, j) = (k / dim, k % dim);
            a[k] / (scales[i] * scales[j]) + if i == j { ridge } else { 0.0 }
        };
        match Cholesky::new(&(0..dim * dim).map(entry).collect::<Vec<f64>>(), dim) {
            Ok(factor) => return Ok((factor, scales)),
            Err(error) if ridge > 1.0 => return Err(error),
            Err(_) => ridge *= MORE,
        }
    }
}

/// The map to coordinates in which weighted points have mean 0 and covariance 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Whitening {
    centre: Vec<f64>,
    /// A lower triangle, packed by rows.
    inverse: Vec<f64>,
}

impl Whitening {
    /// Fits the map to weighted points.
    pub(super) fn fit(u: Rows<'_>, weights: &[f64]) -> Result<Self> {
        let dim = u.dim();
        let total: f64 = weights.iter().sum();
        let mut centre = vec![0.0; dim];
        for (row, w) in u.iter().zip(weights) {
            for (c, x) in centre.iter_mut().zip(row) {
                *c += w / total * x;
            }
        }
        let mut covariance = vec![0.0; dim * dim];
        for (row, w) in u.iter().zip(weights) {
            for i in 0..dim {
                let left = w / total * (row[i] - centre[i]);
                for j in 0..=i {
                    covariance[i * dim + j] += left * (row[j] - centre[j]);
                }
            }
        }
        let (factor, scales) = factor(&covariance, dim)?;
        let mut inverse = factor.inverse_lower();
        for i in 0..dim {
            for (x, scale) in inverse[packed_start(i)..].iter_mut().zip(&scales[..=i]) {
                *x /= scale;
            }
        }
        Ok(Self { centre, inverse })
    }

    /// The number of coordinates of a point.
    pub(super) fn dim(&self) -> usize {
        self.centre.len()
    }

    /// The squared length of a point in white coordinates.
    pub(super) fn square(&self, u: &[f64]) -> f64 {
        let rows = (0..u.len()).map(|i| {
            let row = &self.inverse[packed_start(i)..packed_start(i + 1)];
            row.iter().zip(u).zip(&self.centre).fold(0.0, |s, ((l, x), c)| s + l * (x - c))
        });
        rows.fold(0.0, |sum, z| sum + z * z)
    }

    /// Maps eight points, one in each lane; `shifted` is scratch space of as many vectors.
    #[inline(always)]
    pub(super) fn apply<const FMA: bool>(&self, u: &[V], shifted: &mut [V], z: &mut [V]) {
        for i in 0..self.centre.len() {
            shifted[i] = u[i] - V::splat(self.centre[i]);
            let row = &self.inverse[packed_start(i)..packed_start(i + 1)];
            let mut sum = V::ZERO;
            for (l, x) in row.iter().zip(&shifted[..=i]) {
                sum = x.mul_add::<FMA>(V::splat(*l), sum);
            }
            z[i] = sum;
        }
    }
}

/// A quadratic function c + Σ zᵢ (bᵢ + Σ aᵢⱼ zⱼ), j ≤ i; only j = i where it is not full.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Quadratic {
    constant: f64,
    linear: Vec<f64>,
    /// A lower triangle, packed by rows, or a diagonal.
    curvature: Vec<f64>,
    full: bool,
}

/// The number of coefficients of a full quadratic.
pub(super) fn n_coefficients(dim: usize) -> usize {
    (dim + 1) * (dim + 2) / 2
}

impl Quadratic {
    /// The weighted least-squares fit of values `y` at white points `z`; full if it has at most half as
    /// many coefficients as there are points, else diagonal.
    pub(super) fn fit(z: Rows<'_>, y: &[f64], weights: &[f64]) -> Result<Self> {
        let (n, dim) = (z.len(), z.dim());
        let full = 2 * n_coefficients(dim) <= n;
        let p = if full { n_coefficients(dim) } else { 2 * dim + 1 };
        let mut gram = vec![0.0; packed_len(p + 1)];
        let mut columns = vec![V::ZERO; n.div_ceil(LANES).min(TILES) * (p + 1)];
        let rows = z.data().chunks(TILES * LANES * dim);
        for ((z, y), weights) in
            rows.zip(y.chunks(TILES * LANES)).zip(weights.chunks(TILES * LANES))
        {
            let columns = &mut columns[..y.len().div_ceil(LANES) * (p + 1)];
            dispatch(Gram { z, y, weights, dim, full, columns, out: &mut gram });
        }
        let matrix: Vec<f64> = (0..p * p)
            .map(|k| gram[packed(p + 1, (k / p).min(k % p), (k / p).max(k % p))])
            .collect();
        let (factor, scales) = factor(&matrix, p)?;
        let right: Vec<f64> = (0..p).map(|i| gram[packed(p + 1, i, p)]).collect();
        let mut coefficients = vec![0.0; p];
        // The second solution, of the residuals, corrects for the ridge and for rounding.
        for _ in 0..2 {
            let mut left: Vec<f64> = (0..p)
                .map(|i| (right[i] - dot(&matrix[i * p..(i + 1) * p], &coefficients)) / scales[i])
                .collect();
            factor.solve(&mut left);
            for ((c, x), scale) in coefficients.iter_mut().zip(left).zip(&scales) {
                *c += x / scale;
            }
        }
        if !coefficients.iter().all(|c| c.is_finite()) {
            let why = "the least-squares quadratic overflowed: the log-likelihoods are too large";
            return Err(Error::Numerical(why.into()));
        }
        Ok(Self {
            constant: coefficients[0],
            linear: coefficients[1..=dim].to_vec(),
            curvature: coefficients[1 + dim..].to_vec(),
            full,
        })
    }

    /// The values at eight points, one in each lane.
    #[inline(always)]
    pub(super) fn values<const FMA: bool>(&self, z: &[V]) -> V {
        let mut sum = V::splat(self.constant);
        let mut rest = &self.curvature[..];
        for i in 0..self.linear.len() {
            let first = if self.full { 0 } else { i };
            let row = rest.split_off(..=i - first).unwrap_or_default();
            let mut slope = V::splat(self.linear[i]);
            for (a, z) in row.iter().zip(&z[first..]) {
                slope = z.mul_add::<FMA>(V::splat(*a), slope);
            }
            sum = z[i].mul_add::<FMA>(slope, sum);
        }
        sum
    }
}

/// The sums of products of the columns of the least-squares problem: one for each coefficient, and one for
/// the values.
struct Gram<'a> {
    z: &'a [f64],
    y: &'a [f64],
    weights: &'a [f64],
    dim: usize,
    full: bool,
    /// Room for the columns: eight points a tile.
    columns: &'a mut [V],
    out: &'a mut [f64],
}

impl Kernel for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { z, y, weights, dim, full, columns, out } = self;
        let p = if full { n_coefficients(dim) } else { 2 * dim + 1 };
        let tiles = columns.chunks_exact_mut(p + 1).zip(z.chunks(LANES * dim));
        let tiles = tiles.zip(y.chunks(LANES).zip(weights.chunks(LANES)));
        for ((tile, z), (y, weights)) in tiles {
            // Points that a tile lacks have no weight.
            let roots = V::padded(weights, 0.0).map(f64::sqrt);
            let (first, rest) = tile.split_at_mut(1 + dim);
            first[0] = roots;
            for a in 0..dim {
                let mut column = V::ZERO;
                for (l, row) in z.chunks_exact(dim).enumerate() {
                    column.0[l] = row[a];
                }
                first[1 + a] = column;
            }
            let mut at = 0;
            for a in 0..dim {
                let by = roots * first[1 + a];
                for b in if full { 0 } else { a }..=a {
                    rest[at] = by * first[1 + b];
                    at += 1;
                }
            }
            for x in &mut first[1..] {
                *x = roots * *x;
            }
            rest[at] = roots * V::padded(y, 0.0);
        }
        add_gram::<FMA>(columns, p + 1, 0, 1, out);
    }
}

/// The white coordinates of rows, and the values of the quadratic, if given.
pub(super) struct Bulk<'a> {
    pub(super) whitening: &'a Whitening,
    pub(super) quadratic: Option<&'a Quadratic>,
    pub(super) u: Rows<'a>,
    /// Rows × dim.
    pub(super) z: &'a mut [f64],
    /// One for each row, or empty.
    pub(super) values: &'a mut [f64],
}

impl Kernel for Bulk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let dim = self.u.dim();
        let mut space = vec![V::ZERO; 3 * dim];
        let (columns, rest) = space.split_at_mut(dim);
        let (shifted, white) = rest.split_at_mut(dim);
        let tiles = self.u.data().chunks(LANES * dim).zip(self.z.chunks_mut(LANES * dim));
        for (t, (u, z)) in tiles.enumerate() {
            // A lane without a row keeps old numbers; lanes do not affect each other.
            for (l, row) in u.chunks_exact(dim).enumerate() {
                for (column, x) in columns.iter_mut().zip(row) {
                    column.0[l] = *x;
                }
            }
            self.whitening.apply::<FMA>(columns, shifted, white);
            for (l, row) in z.chunks_exact_mut(dim).enumerate() {
                for (x, column) in row.iter_mut().zip(&*white) {
                    *x = column.0[l];
                }
            }
            if let Some(quadratic) = self.quadratic {
                let values = quadratic.values::<FMA>(white);
                for (to, value) in self.values[t * LANES..].iter_mut().zip(values.0) {
                    *to = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Purpose, stream};
    use super::*;

    fn values_of(whitening: &Whitening, quadratic: &Quadratic, u: Rows<'_>) -> Vec<f64> {
        let (mut z, mut values) = (vec![0.0; u.data().len()], vec![0.0; u.len()]);
        let quadratic = Some(quadratic);
        dispatch(Bulk { whitening, quadratic, u, z: &mut z, values: &mut values });
        values
    }

    #[test]
    fn an_exact_quadratic_is_recovered() {
        // Full and diagonal ones, and a coordinate that stands still.
        for (dim, n, full, still) in [(5, 60, true, 9), (6, 40, false, 9), (3, 50, true, 1)] {
            let mut random = stream(11, Purpose::Trial, 0);
            let mut u = vec![0.0; n * dim];
            random.fill_uniform(&mut u);
            for row in u.chunks_exact_mut(dim) {
                if still < dim {
                    row[still] = 0.25;
                }
            }
            let truth = |u: &[f64]| {
                let mut sum = -137.0;
                for i in 0..dim {
                    sum += 3.0 * u[i] - 40.0 * u[i] * u[i];
                    if full && i > 0 {
                        sum += 25.0 * u[i] * u[i - 1];
                    }
                }
                sum
            };
            let rows = Rows::new(&u, dim);
            let y: Vec<f64> = rows.iter().map(truth).collect();
            let weights: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + i as f64)).collect();
            let whitening = if full {
                Whitening::fit(rows, &weights).unwrap()
            } else {
                // A diagonal quadratic is one along the axes alone.
                let inverse =
                    (0..dim).flat_map(|i| (0..=i).map(move |j| if i == j { 3.0 } else { 0.0 }));
                Whitening { centre: vec![0.5; dim], inverse: inverse.collect() }
            };
            let mut z = vec![0.0; n * dim];
            let bulk = Bulk {
                whitening: &whitening,
                quadratic: None,
                u: rows,
                z: &mut z,
                values: &mut [],
            };
            dispatch(bulk);
            let quadratic = Quadratic::fit(Rows::new(&z, dim), &y, &weights).unwrap();
            assert_eq!(quadratic.full, full);
            for (value, y) in values_of(&whitening, &quadratic, rows).iter().zip(&y) {
                assert!((value - y).abs() < 1e-8, "{dim}: {value} {y}");
            }
        }
    }

    #[test]
    fn whitened_points_are_white() {
        let (n, dim) = (500, 4);
        let mut u = vec![0.0; n * dim];
        stream(11, Purpose::Trial, 1).fill_uniform(&mut u);
        for row in u.chunks_exact_mut(dim) {
            row[2] = 0.9 * row[0] + 0.1 * row[2];
        }
        let rows = Rows::new(&u, dim);
        let weights: Vec<f64> = (0..n).map(|i| (i % 7) as f64).collect();
        let total: f64 = weights.iter().sum();
        let whitening = Whitening::fit(rows, &weights).unwrap();
        let mut z = vec![0.0; n * dim];
        dispatch(Bulk {
            whitening: &whitening,
            quadratic: None,
            u: rows,
            z: &mut z,
            values: &mut [],
        });
        for i in 0..dim {
            for j in 0..dim {
                let mean = |f: &dyn Fn(&[f64]) -> f64| {
                    let sum: f64 = z.chunks_exact(dim).zip(&weights).map(|(z, w)| w * f(z)).sum();
                    sum / total
                };
                let unit = if i == j { 1.0 } else { 0.0 };
                assert!(mean(&|z| z[i]).abs() < 1e-10);
                assert!((mean(&|z| z[i] * z[j]) - unit).abs() < 1e-10);
            }
        }
        let square: f64 = z[..dim].iter().map(|z| z * z).sum();
        assert!((whitening.square(&u[..dim]) - square).abs() < 1e-10);
    }
}
