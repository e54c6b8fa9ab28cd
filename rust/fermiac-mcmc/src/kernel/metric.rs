//! The linear map x = L z of the coordinates z in which a kernel moves: a root of a covariance.

use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, Triangle, packed_start};
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::store::Codec;

/// A factor L of the inverse metric M⁻¹ = L Lᵀ.
///
/// With momenta of unit mass in z, a step of ε moves x by ε L p, and the force is Lᵀ ∇ log p. So a
/// kernel needs only these two products.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// The identity.
    Unit,
    /// Standard deviations.
    Diagonal(Vec<f64>),
    /// A lower triangle.
    Dense(Triangle),
    /// diag(sd) (I + U (Λ^½ - I) Uᵀ): the orthonormal columns of U one after the other, and the
    /// diagonal of Λ^½ - I.
    LowRank {
        /// Standard deviations.
        sd: Vec<f64>,
        /// The columns of U.
        vectors: Vec<f64>,
        /// The diagonal of Λ^½ - I.
        gains: Vec<f64>,
    },
}

impl Metric {
    /// A dense metric with the Cholesky factor of a covariance.
    pub fn dense(factor: &Cholesky) -> Self {
        Self::Dense(Triangle::new(factor.packed(), factor.dim()))
    }

    /// Whether it has no directions but those of the coordinates.
    pub fn is_diagonal(&self) -> bool {
        matches!(self, Self::Unit | Self::Diagonal(_))
    }

    /// out = L z.
    #[inline]
    pub fn forward(&self, z: &[f64], out: &mut [f64]) {
        match self {
            Self::Unit => out.copy_from_slice(z),
            Self::Diagonal(sd) => scale(z, sd, out),
            Self::Dense(triangle) => triangle.forward(z, out),
            Self::LowRank { sd, vectors, gains } => {
                out.copy_from_slice(z);
                dispatch(Stretch { vectors, gains, out });
                out.iter_mut().zip(sd).for_each(|(out, sd)| *out *= sd);
            }
        }
    }

    /// out = Lᵀ g.
    #[inline]
    pub fn backward(&self, g: &[f64], out: &mut [f64]) {
        match self {
            Self::Unit => out.copy_from_slice(g),
            Self::Diagonal(sd) => scale(g, sd, out),
            Self::Dense(triangle) => triangle.backward(g, out),
            Self::LowRank { sd, vectors, gains } => {
                scale(g, sd, out);
                dispatch(Stretch { vectors, gains, out });
            }
        }
    }

    /// The z of L z = x.
    pub fn solve(&self, x: &[f64], out: &mut [f64]) {
        match self {
            Self::Unit => out.copy_from_slice(x),
            Self::Diagonal(sd) => {
                for ((out, x), sd) in out.iter_mut().zip(x).zip(sd) {
                    *out = x / sd;
                }
            }
            Self::Dense(triangle) => {
                for (i, x) in x.iter().enumerate() {
                    let known: f64 = (0..i).map(|j| triangle.entry(i, j) * out[j]).sum();
                    out[i] = (x - known) / triangle.entry(i, i);
                }
            }
            Self::LowRank { sd, vectors, gains } => {
                for ((out, x), sd) in out.iter_mut().zip(x).zip(sd) {
                    *out = x / sd;
                }
                let back: Vec<f64> = gains.iter().map(|gain| 1.0 / (1.0 + gain) - 1.0).collect();
                dispatch(Stretch { vectors, gains: &back, out });
            }
        }
    }

    /// out = L e_k, the direction in x of coordinate `k` of z.
    pub fn column(&self, k: usize, out: &mut [f64]) {
        out.fill(0.0);
        match self {
            Self::Unit => out[k] = 1.0,
            Self::Diagonal(sd) => out[k] = sd[k],
            Self::Dense(triangle) => {
                for (i, out) in out.iter_mut().enumerate().skip(k) {
                    *out = triangle.entry(i, k);
                }
            }
            Self::LowRank { sd, vectors, gains } => {
                out[k] = 1.0;
                dispatch(Stretch { vectors, gains, out });
                out.iter_mut().zip(sd).for_each(|(out, sd)| *out *= sd);
            }
        }
    }

    /// The variances, the diagonal of L Lᵀ.
    pub fn variances(&self, dim: usize) -> Vec<f64> {
        match self {
            Self::Unit => vec![1.0; dim],
            Self::Diagonal(sd) => sd.iter().map(|s| s * s).collect(),
            Self::Dense(triangle) => (0..dim)
                .map(|i| (0..=i).map(|j| triangle.entry(i, j)).map(|l| l * l).sum())
                .collect(),
            Self::LowRank { sd, vectors, gains } => {
                let mut shares = vec![1.0; dim];
                for (u, gain) in vectors.chunks_exact(dim).zip(gains) {
                    for (share, u) in shares.iter_mut().zip(u) {
                        *share += gain * (2.0 + gain) * u * u;
                    }
                }
                shares.iter().zip(sd).map(|(share, sd)| share * sd * sd).collect()
            }
        }
    }

    /// L Lᵀ, row-major, if the metric is dense.
    pub fn covariance(&self, dim: usize) -> Option<Vec<f64>> {
        let Self::Dense(triangle) = self else { return None };
        let packed = triangle.packed();
        let row = |i: usize| &packed[packed_start(i)..packed_start(i + 1)];
        let entry = |k: usize| row(k / dim).iter().zip(row(k % dim)).map(|(a, b)| a * b).sum();
        Some((0..dim * dim).map(entry).collect())
    }

    pub(super) fn persist(&mut self, codec: &mut Codec, dim: usize) -> Result<()> {
        let take = std::mem::take;
        let none = Vec::new();
        let (mut kind, mut numbers, mut vectors, mut gains) = match self {
            Self::Unit => (0, none, Vec::new(), Vec::new()),
            Self::Diagonal(sd) => (1, take(sd), none, Vec::new()),
            Self::Dense(triangle) => (2, triangle.packed(), none, Vec::new()),
            Self::LowRank { sd, vectors, gains } => (3, take(sd), take(vectors), take(gains)),
        };
        codec.index(&mut kind, 4)?;
        for list in [&mut numbers, &mut vectors, &mut gains] {
            codec.list(list)?;
            codec.require(list.iter().all(|number| number.is_finite()))?;
        }
        let sizes = match kind {
            0 => [0, 0],
            1 => [dim, 0],
            2 => [packed_start(dim), 0],
            _ => [dim, gains.len().saturating_mul(dim)],
        };
        codec.require(sizes == [numbers.len(), vectors.len()])?;
        *self = match kind {
            0 => Self::Unit,
            1 => Self::Diagonal(numbers),
            2 => Self::Dense(Triangle::new(&numbers, (8 * numbers.len() + 1).isqrt() / 2)),
            _ => Self::LowRank { sd: numbers, vectors, gains },
        };
        Ok(())
    }
}

#[inline]
fn scale(a: &[f64], sd: &[f64], out: &mut [f64]) {
    for ((out, a), sd) in out.iter_mut().zip(a).zip(sd) {
        *out = a * sd;
    }
}

struct Stretch<'a> {
    vectors: &'a [f64],
    gains: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (outs, out_rest) = self.out.as_chunks_mut::<LANES>();
        let dim = outs.len() * LANES + out_rest.len();
        for (vector, gain) in self.vectors.chunks_exact(dim).zip(self.gains) {
            let (us, u_rest) = vector.as_chunks::<LANES>();
            let mut sum = V::ZERO;
            for (out, u) in outs.iter().zip(us) {
                sum = V(*out).mul_add::<FMA>(V(*u), sum);
            }
            let tail = out_rest.iter().zip(u_rest).fold(0.0, |s, (out, u)| s + out * u);
            // The columns are orthonormal, so earlier additions do not change the sum.
            let factor = gain * (sum.loop_sum() + tail);
            let many = V::splat(factor);
            for (out, u) in outs.iter_mut().zip(us) {
                *out = V(*u).mul_add::<FMA>(many, V(*out)).0;
            }
            for (out, u) in out_rest.iter_mut().zip(u_rest) {
                *out += factor * u;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dense_products_are_those_of_the_triangle() {
        for dim in [1, 2, 7, 8, 9, 31, 69] {
            let packed: Vec<f64> =
                (0..packed_start(dim)).map(|k| ((k * 7) % 11) as f64 - 5.0).collect();
            let z: Vec<f64> = (0..dim).map(|i| ((i * 5) % 7) as f64 - 3.0).collect();
            let metric = Metric::Dense(Triangle::new(&packed, dim));
            let (mut forward, mut backward) = (vec![0.0; dim], vec![0.0; dim]);
            metric.forward(&z, &mut forward);
            metric.backward(&z, &mut backward);
            for i in 0..dim {
                let row: f64 = (0..=i).map(|j| packed[packed_start(i) + j] * z[j]).sum();
                let column: f64 = (i..dim).map(|k| packed[packed_start(k) + i] * z[k]).sum();
                assert_eq!((forward[i], backward[i]), (row, column));
            }
            for k in 0..dim {
                metric.column(k, &mut backward);
                let column =
                    (0..dim).map(|i| if i < k { 0.0 } else { packed[packed_start(i) + k] });
                assert!(column.eq(backward.iter().copied()));
            }
        }
    }

    #[test]
    fn solving_undoes_the_product() {
        let dim = 9;
        let packed: Vec<f64> = (0..dim)
            .flat_map(|i| (0..=i).map(move |j| if i == j { 2.0 } else { (i + 2 * j) as f64 / 8.0 }))
            .collect();
        let sd = (1..=dim).map(|i| i as f64).collect();
        let z: Vec<f64> = (0..dim).map(|i| ((i * 5) % 7) as f64 - 3.0).collect();
        for metric in
            [Metric::Unit, Metric::Diagonal(sd), Metric::Dense(Triangle::new(&packed, dim))]
        {
            let (mut x, mut back) = (vec![0.0; dim], vec![0.0; dim]);
            metric.forward(&z, &mut x);
            metric.solve(&x, &mut back);
            assert_eq!(back, z);
        }
    }

    #[test]
    fn the_low_rank_products_are_those_of_the_matrix() {
        for dim in [2, 7, 8, 19] {
            let root = (2f64).sqrt();
            let (mut u, mut v) = (vec![0.0; dim], vec![0.0; dim]);
            (u[0], u[dim - 1]) = (1.0 / root, 1.0 / root);
            (v[0], v[dim - 1]) = (1.0 / root, -1.0 / root);
            let sd: Vec<f64> = (0..dim).map(|i| 1.0 + i as f64).collect();
            let gains = vec![2.0, -0.5];
            let entry = |i: usize, j: usize| {
                let one = f64::from(u8::from(i == j));
                sd[i] * (one + 2.0 * u[i] * u[j] - 0.5 * v[i] * v[j])
            };
            let metric =
                Metric::LowRank { sd: sd.clone(), vectors: [u.clone(), v.clone()].concat(), gains };
            let z: Vec<f64> = (0..dim).map(|i| ((i * 5) % 7) as f64 - 3.0).collect();
            let (mut forward, mut backward) = (vec![0.0; dim], vec![0.0; dim]);
            metric.forward(&z, &mut forward);
            metric.backward(&z, &mut backward);
            let variances = metric.variances(dim);
            for i in 0..dim {
                let row: f64 = (0..dim).map(|j| entry(i, j) * z[j]).sum();
                let column: f64 = (0..dim).map(|k| entry(k, i) * z[k]).sum();
                let variance: f64 = (0..dim).map(|j| entry(i, j) * entry(i, j)).sum();
                assert!((forward[i] - row).abs() < 1e-12 * (1.0 + row.abs()));
                assert!((backward[i] - column).abs() < 1e-11 * (1.0 + column.abs()));
                assert!((variances[i] - variance).abs() < 1e-11 * variance);
            }
        }
    }
}
