//! Quadratic losses.

use super::loss::{Gradient, Room, Visit};
use super::{Tile, product, tiled};
use fermiac_base::simd::{LANES, V, prefetch};
use fermiac_base::{Error, Result};

/// Cache lines of a node's matrix that are prefetched.
const AHEAD: usize = 32;

/// (θ - b)ᵀ A (θ - b) / 2, with b and A of the node.
#[derive(Debug)]
pub struct Quadratic {
    dim: usize,
    tiles: usize,
    centers: Vec<Tile>,
    curvature: Curvature<Tile>,
}

/// The matrices A of all nodes.
#[derive(Debug)]
pub enum Curvature<T> {
    /// One number, times the identity, for all nodes.
    Same(f64),
    /// One number, times the identity, for each.
    Scalars(Vec<f64>),
    /// Diagonals, row by row.
    Diagonals(Vec<T>),
    /// Symmetric matrices, row by row.
    Full(Vec<T>),
}

impl Quadratic {
    /// Creates the loss of centers b, row by row, and matrices.
    pub fn new(dim: usize, centers: &[f64], curvature: Curvature<f64>) -> Result<Self> {
        let n = centers.len() / dim.max(1);
        if dim == 0 || n == 0 || centers.len() != n * dim {
            let why = format!("{} numbers given for rows of {dim}", centers.len());
            return Err(Error::argument("b", why));
        }
        let needs = |given: usize, needed: usize| {
            if given == needed {
                return Ok(());
            }
            Err(Error::argument("A", format!("{given} numbers given; {needed} are needed")))
        };
        let tiles = dim.div_ceil(LANES);
        let curvature = match curvature {
            Curvature::Same(a) => Curvature::Same(a),
            Curvature::Scalars(a) => {
                needs(a.len(), n)?;
                Curvature::Scalars(a)
            }
            Curvature::Diagonals(a) => {
                needs(a.len(), n * dim)?;
                Curvature::Diagonals(tiled(&a, dim))
            }
            Curvature::Full(a) => {
                needs(a.len(), n * dim * dim)?;
                // Eight rows at a time, column by column: a column is read as one vector.
                let mut columns = vec![[0.0; LANES]; n * tiles * dim];
                for (to, matrix) in columns.chunks_exact_mut(tiles * dim).zip(a.chunks(dim * dim)) {
                    for (i, row) in matrix.chunks_exact(dim).enumerate() {
                        for (j, entry) in row.iter().enumerate() {
                            to[i / LANES * dim + j][i % LANES] = *entry;
                        }
                    }
                }
                Curvature::Full(columns)
            }
        };
        Ok(Self { dim, tiles, centers: tiled(centers, dim), curvature })
    }

    /// The number of parameters.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.centers.len() / self.tiles
    }
}

/// Prefetches the first tiles of a node, of `n` for each.
#[inline(always)]
fn touch_tiles(tiles: &[Tile], node: usize, n: usize) {
    for k in 0..n.min(AHEAD) {
        prefetch(tiles, node * n + k);
    }
}

impl Gradient for Quadratic {
    #[inline(always)]
    fn touch(&self, node: usize) {
        touch_tiles(&self.centers, node, self.tiles);
        match &self.curvature {
            Curvature::Same(_) => {}
            Curvature::Scalars(a) => prefetch(a, node),
            Curvature::Diagonals(a) => touch_tiles(a, node, self.tiles),
            Curvature::Full(a) => touch_tiles(a, node, self.tiles * self.dim),
        }
    }

    fn value(&self, node: usize, theta: &[Tile], gradient: &[Tile]) -> f64 {
        let center = &self.centers[node * self.tiles..][..self.tiles];
        let away: Vec<Tile> = theta.iter().zip(center).map(|(t, c)| (V(*t) - V(*c)).0).collect();
        0.5 * product::<false>(&away, gradient)
    }

    #[inline(always)]
    fn gradient<const FMA: bool>(&self, at: Visit<'_>, room: &mut Room) -> Result<()> {
        let Visit { node, theta, .. } = at;
        let Room { gradient, rest, .. } = room;
        let (tiles, dim) = (self.tiles, self.dim);
        let center = &self.centers[node * tiles..][..tiles];
        let away = |k: usize| V(theta[k]) - V(center[k]);
        match &self.curvature {
            Curvature::Same(a) => {
                for k in 0..tiles {
                    gradient[k] = (V::splat(*a) * away(k)).0;
                }
            }
            Curvature::Scalars(a) => {
                for k in 0..tiles {
                    gradient[k] = (V::splat(a[node]) * away(k)).0;
                }
            }
            Curvature::Diagonals(a) => {
                let a = &a[node * tiles..][..tiles];
                for k in 0..tiles {
                    gradient[k] = (V(a[k]) * away(k)).0;
                }
            }
            Curvature::Full(a) => {
                for k in 0..tiles {
                    rest[k] = away(k).0;
                }
                // Plain ranges, as iterator adaptors are not always inlined here.
                let away = &rest.as_flattened()[..dim];
                let columns = &a[node * tiles * dim..][..tiles * dim];
                for (k, to) in gradient[..tiles].iter_mut().enumerate() {
                    let columns = &columns[k * dim..][..dim];
                    // Two sums hide the latency of additions.
                    let (mut even, mut odd) = (V::ZERO, V::ZERO);
                    for j in 0..dim / 2 {
                        even = V(columns[2 * j]).mul_add::<FMA>(V::splat(away[2 * j]), even);
                        let (column, x) = (columns[2 * j + 1], away[2 * j + 1]);
                        odd = V(column).mul_add::<FMA>(V::splat(x), odd);
                    }
                    if dim % 2 == 1 {
                        even = V(columns[dim - 1]).mul_add::<FMA>(V::splat(away[dim - 1]), even);
                    }
                    *to = (even + odd).0;
                }
            }
        }
        Ok(())
    }
}
