//! Losses of data that lie on the nodes: least squares and logistic regression.

use super::loss::{Gradient, Room, Visit};
use super::{Tile, product, tiled};
use fermiac_base::simd::{LANES, V, expv, ln1pv, prefetch};
use fermiac_base::{Error, Result};

/// Rows that are prefetched.
const AHEAD: usize = 8;

/// The loss of a row and its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// (x·θ - y)² / 2.
    Square,
    /// ln(1 + exp(-y x·θ)), with y of 1 or -1.
    Logistic,
}

/// The mean loss of the rows of a node, with `ridge` |θ|² / 2.
#[derive(Debug)]
pub struct Data {
    dim: usize,
    tiles: usize,
    rows: Vec<Tile>,
    targets: Vec<f64>,
    /// The rows of node `i` are those from `starts[i]` to `starts[i + 1]`.
    starts: Vec<usize>,
    link: Link,
    ridge: f64,
}

impl Data {
    /// Creates the loss of rows that are sorted by node.
    pub fn new(
        dim: usize,
        rows: &[f64],
        targets: Vec<f64>,
        starts: Vec<usize>,
        link: Link,
        ridge: f64,
    ) -> Result<Self> {
        let n = targets.len();
        if dim == 0 || rows.len() != n * dim {
            let why = format!("{} numbers given for {n} rows of {dim}", rows.len());
            return Err(Error::argument("X", why));
        }
        let fits = starts.first() == Some(&0) && starts.last() == Some(&n);
        if starts.len() < 2 || !fits || !starts.is_sorted() {
            let why = format!("they must go from 0 to {n}, the rows, and never fall");
            return Err(Error::argument("shards", why));
        }
        if let Some(node) = starts.windows(2).position(|w| w[0] == w[1]) {
            let why = format!("node {node} has no rows; every node needs one at least");
            return Err(Error::argument("shards", why));
        }
        let (tiles, rows) = (dim.div_ceil(LANES), tiled(rows, dim));
        Ok(Self { dim, tiles, rows, targets, starts, link, ridge })
    }

    /// The number of parameters.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &[Tile] {
        &self.rows[i * self.tiles..][..self.tiles]
    }

    /// Adds the gradients of up to eight rows. Loops are plain ranges, as iterator adaptors are not
    /// always inlined here.
    #[inline(always)]
    fn add<const FMA: bool>(&self, rows: &[usize], theta: &[Tile], gradient: &mut [Tile]) {
        let (mut z, mut y) = (V::ZERO, V::ZERO);
        let n = rows.len().min(LANES);
        for l in 0..n {
            z.0[l] = product::<FMA>(self.row(rows[l]), theta);
            y.0[l] = self.targets[rows[l]];
        }
        let slopes = match self.link {
            Link::Square => z - y,
            // Beyond the range of doubles the exponential is infinite, and the slope 0.
            Link::Logistic => (V::ZERO - y) / (V::splat(1.0) + expv::<FMA>(y * z)),
        };
        for l in 0..n {
            let (slope, row) = (V::splat(slopes.0[l]), self.row(rows[l]));
            for k in 0..self.tiles {
                gradient[k] = V(row[k]).mul_add::<FMA>(slope, V(gradient[k])).0;
            }
        }
    }
}

impl Gradient for Data {
    #[inline(always)]
    fn touch(&self, node: usize) {
        let first = self.starts[node];
        prefetch(&self.targets, first);
        for k in 0..self.tiles * AHEAD.min(self.starts[node + 1] - first) {
            prefetch(&self.rows, first * self.tiles + k);
        }
    }

    fn value(&self, node: usize, theta: &[Tile], _: &[Tile]) -> f64 {
        let rows = self.starts[node]..self.starts[node + 1];
        let n = rows.len() as f64;
        let mut sum = 0.0;
        for i in rows {
            let z = product::<false>(self.row(i), theta);
            sum += match self.link {
                Link::Square => 0.5 * (z - self.targets[i]) * (z - self.targets[i]),
                Link::Logistic => {
                    let margin = z * self.targets[i];
                    let tail = ln1pv::<false>(expv::<false>(V::splat(-margin.abs()))).0[0];
                    (-margin).max(0.0) + tail
                }
            };
        }
        sum / n + 0.5 * self.ridge * product::<false>(theta, theta)
    }

    #[inline(always)]
    fn gradient<const FMA: bool>(&self, at: Visit<'_>, room: &mut Room) -> Result<()> {
        let Visit { node, theta, stream } = at;
        let Room { gradient, batch, .. } = room;
        let rows = self.starts[node]..self.starts[node + 1];
        let n = rows.len().min(*batch);
        let drawn = n < rows.len();
        gradient.fill([0.0; LANES]);
        for tile in 0..n.div_ceil(LANES) {
            let first = tile * LANES;
            let used = LANES.min(n - first);
            let mut group = [0; LANES];
            for k in 0..used {
                let place =
                    if drawn { stream.below(rows.len() as u64) as usize } else { first + k };
                group[k] = rows.start + place;
            }
            self.add::<FMA>(&group[..used], theta, gradient);
        }
        let (share, ridge) = (V::splat(1.0 / n as f64), V::splat(self.ridge));
        for k in 0..self.tiles {
            gradient[k] = V(theta[k]).mul_add::<FMA>(ridge, share * V(gradient[k])).0;
        }
        Ok(())
    }
}
