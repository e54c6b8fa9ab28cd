//! Tiles: eight points side by side, one vector per coordinate, which is how the engine computes.

use crate::linalg::Rows;
use crate::simd::{LANES, V};

/// Tiles that hold `n` points.
#[inline]
pub(crate) fn n_tiles(n: usize) -> usize {
    n.div_ceil(LANES)
}

/// The points as tiles × coordinates. The last tile is padded by repeating its last point, so that
/// padding lanes are as harmless as real ones.
pub(crate) fn from_rows(rows: Rows<'_>) -> Vec<V> {
    let (n, d) = (rows.len(), rows.dim());
    let mut tiles = vec![V::ZERO; n_tiles(n) * d];
    if n == 0 {
        return tiles;
    }
    for (t, tile) in tiles.chunks_exact_mut(d).enumerate() {
        for lane in 0..LANES {
            let row = rows.row((t * LANES + lane).min(n - 1));
            for (v, x) in tile.iter_mut().zip(row) {
                v.0[lane] = *x;
            }
        }
    }
    tiles
}

/// One column as tiles; the last tile is padded with `pad`.
pub(crate) fn from_column(column: &[f64], pad: f64) -> Vec<V> {
    let mut tiles = vec![V::splat(pad); n_tiles(column.len())];
    for (tile, values) in tiles.iter_mut().zip(column.chunks(LANES)) {
        tile.0[..values.len()].copy_from_slice(values);
    }
    tiles
}

/// The lanes of tile `t` that hold points, of `n` in all.
#[inline(always)]
pub(crate) fn lanes(t: usize, n: usize) -> usize {
    (n - t * LANES).min(LANES)
}
