//! Tiles: eight points side by side, one vector per coordinate, which is how the engine computes.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::{LANES, V};

/// Tiles that hold `n` points.
#[inline]
pub(crate) fn n_tiles(n: usize) -> usize {
    n.div_ceil(LANES)
}

/// The points as tiles × coordinates. The last tile is padded by repeating its last point, so that
/// padding lanes are as harmless as real ones.
pub(crate) fn from_rows(rows: Rows<'_>, tiles: &mut Vec<V>) {
    let (n, d) = (rows.len(), rows.dim());
    tiles.resize(n_tiles(n) * d, V::ZERO);
    for (t, tile) in tiles.chunks_exact_mut(d).enumerate() {
        for lane in 0..LANES {
            let row = rows.row((t * LANES + lane).min(n - 1));
            for k in 0..d {
                tile[k].0[lane] = row[k];
            }
        }
    }
}

/// The lanes of tile `t` that hold points, of `n` in all.
#[inline(always)]
pub(crate) fn lanes(t: usize, n: usize) -> usize {
    (n - t * LANES).min(LANES)
}
