//! Tiles of eight points, one in each vector lane, and the sums over them for fits and tests.

use fermiac_base::linalg::{add_gram, packed, packed_len, packed_start};
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

/// Tiles, or rows, whose sums are computed together: four hide the latency of the additions.
pub(super) const GROUP: usize = 4;
/// Rows of a product between two looks at whether all norms are above a limit.
const LOOK: usize = 4;

/// Points row by row, and in tiles of which the last repeats its last point.
pub struct Tiled {
    d: usize,
    rows: Vec<f64>,
    tiles: Vec<V>,
}

impl Tiled {
    /// Puts points, row-major, into tiles.
    pub fn new(rows: Vec<f64>, d: usize) -> Self {
        let n = rows.len() / d;
        let mut tiles = Vec::with_capacity(n.div_ceil(LANES) * d);
        for first in (0..n).step_by(LANES) {
            let at: [usize; LANES] = std::array::from_fn(|l| (first + l).min(n - 1) * d);
            tiles.extend((0..d).map(|j| V(at.map(|at| rows[at + j]))));
        }
        Self { d, rows, tiles }
    }

    /// The number of points.
    pub fn n_points(&self) -> usize {
        self.rows.len() / self.d
    }

    /// The points, row-major.
    pub(super) fn rows(&self) -> &[f64] {
        &self.rows
    }

    /// The coordinates of the first eight points, of the next eight, and so on.
    pub(super) fn tiles(&self) -> &[V] {
        &self.tiles
    }
}

/// Puts the chosen rows of `points`, less `centre`, into tiles; unused lanes are 0.
pub(super) fn gather(points: &[f64], chosen: &[u32], centre: &[f64], tiles: &mut Vec<V>) {
    let d = centre.len();
    let row = |p: u32| &points[p as usize * d..][..d];
    tiles.clear();
    let (whole, rest) = chosen.as_chunks::<LANES>();
    for chosen in whole {
        let rows = chosen.map(row);
        for j in 0..d {
            tiles.push(V(rows.map(|row| row[j] - centre[j])));
        }
    }
    if !rest.is_empty() {
        let start = tiles.len();
        tiles.resize(start + d, V::ZERO);
        for (l, p) in rest.iter().enumerate() {
            for ((to, x), c) in tiles[start..].iter_mut().zip(row(*p)).zip(centre) {
                to.0[l] = x - c;
            }
        }
    }
}

struct Covariance<'a> {
    tiles: &'a [V],
    d: usize,
    sums: &'a mut [f64],
}

impl Kernel for Covariance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        add_gram::<FMA>(self.tiles, self.d, 0, 1, self.sums);
    }
}

/// The row-major covariance, divided by `n`, of `n` centred points in tiles.
pub(super) fn covariance(tiles: &[V], d: usize, n: usize, sums: &mut Vec<f64>, out: &mut Vec<f64>) {
    sums.clear();
    sums.resize(packed_len(d), 0.0);
    dispatch(Covariance { tiles, d, sums });
    out.clear();
    out.resize(d * d, 0.0);
    let share = 1.0 / n as f64;
    for i in 0..d {
        for j in i..d {
            let value = sums[packed(d, i, j)] * share;
            (out[i * d + j], out[j * d + i]) = (value, value);
        }
    }
}

/// |W y|² of `T` tiles of centred points; `w` is lower triangular, packed by rows.
#[inline(always)]
pub(super) fn norms_of<const FMA: bool, const T: usize>(y: &[V], d: usize, w: &[f64]) -> [V; T] {
    norms_until::<FMA, T>(y, d, w, f64::INFINITY)
}

/// |W y|² of `T` tiles of centred points, or numbers above `most` if all are above it.
#[inline(always)]
pub(super) fn norms_until<const FMA: bool, const T: usize>(
    y: &[V],
    d: usize,
    w: &[f64],
    most: f64,
) -> [V; T] {
    let mut tiles = [&y[..0]; T];
    for t in 0..T {
        tiles[t] = &y[t * d..(t + 1) * d];
    }
    let mut norms = [V::ZERO; T];
    for i in 0..d {
        let row = &w[packed_start(i)..packed_start(i + 1)];
        let n = row.len();
        let mut parts = tiles;
        for t in 0..T {
            parts[t] = &tiles[t][..n];
        }
        let mut z = [V::ZERO; T];
        for j in 0..n {
            let c = V::splat(row[j]);
            for t in 0..T {
                z[t] = parts[t][j].mul_add::<FMA>(c, z[t]);
            }
        }
        for t in 0..T {
            norms[t] = z[t].mul_add::<FMA>(z[t], norms[t]);
        }
        if most < f64::INFINITY && i % LOOK == LOOK - 1 {
            let mut least = norms[0];
            for norm in &norms[1..] {
                least = least.zip(*norm, f64::min);
            }
            if least.0.iter().all(|least| *least > most) {
                break;
            }
        }
    }
    norms
}

struct Norms<'a> {
    tiles: &'a [V],
    d: usize,
    w: &'a [f64],
    out: &'a mut [V],
}

impl Kernel for Norms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { tiles, d, w, out } = self;
        let (groups, rest) = out.as_chunks_mut::<GROUP>();
        let (many, few) = tiles.split_at(groups.len() * GROUP * d);
        for (to, y) in groups.iter_mut().zip(many.chunks_exact(GROUP * d)) {
            *to = norms_of::<FMA, GROUP>(y, d, w);
        }
        for (to, y) in rest.iter_mut().zip(few.chunks_exact(d)) {
            [*to] = norms_of::<FMA, 1>(y, d, w);
        }
    }
}

/// Computes squared Mahalanobis radii |W y|² of centred points, tile by tile.
pub(super) fn norms(tiles: &[V], d: usize, w: &[f64], out: &mut Vec<V>) {
    out.resize(tiles.len() / d, V::ZERO);
    dispatch(Norms { tiles, d, w, out });
}

/// Subtracts another centre from points in tiles.
pub(super) fn shift(tiles: &[V], by: &[f64], out: &mut Vec<V>) {
    out.clear();
    for tile in tiles.chunks_exact(by.len()) {
        out.extend(tile.iter().zip(by).map(|(x, c)| x.map(|x| x - c)));
    }
}

/// One step of 2-means with centred points.
pub(super) struct Lloyd<'a> {
    pub(super) tiles: &'a [V],
    /// Points whose product with this is above the threshold are on the first side.
    pub(super) direction: &'a [f64],
    pub(super) threshold: f64,
    /// 1 for points on the first side, 0 for others.
    pub(super) sides: &'a mut [V],
    /// Sums of the points on the first side.
    pub(super) sums: &'a mut [V],
}

impl Kernel for Lloyd<'_> {
    /// The number of lanes on the first side, and whether any changed sides.
    type Output = (f64, bool);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, bool) {
        let d = self.direction.len();
        let threshold = V::splat(self.threshold);
        let (mut count, mut changed) = (V::ZERO, V::ZERO);
        for (tile, side) in self.tiles.chunks_exact(d).zip(self.sides) {
            let mut product = V::ZERO;
            for (x, c) in tile.iter().zip(self.direction) {
                product = x.mul_add::<FMA>(V::splat(*c), product);
            }
            let now = product.zip(threshold, |a, b| if a > b { 1.0 } else { 0.0 });
            changed = changed + (now - *side).map(f64::abs);
            count = count + now;
            *side = now;
            for (sum, x) in self.sums.iter_mut().zip(tile) {
                *sum = x.mul_add::<FMA>(now, *sum);
            }
        }
        (count.sum(), changed.sum() > 0.0)
    }
}
