//! Tiles of eight rows, stored as columns with one row per lane.

use fermiac_base::simd::{LANES, Real, V};

/// A number that depends on the noise level: one for all rows, or one per lane.
pub(super) trait Lane: Real {
    /// Whether one number serves all rows.
    const SHARED: bool;
    /// The number of every lane.
    fn spread(self) -> V;
    /// The numbers of the lanes, which are equal if [`Lane::SHARED`].
    fn gather(lanes: V) -> Self;
}

impl Lane for f64 {
    const SHARED: bool = true;

    #[inline(always)]
    fn spread(self) -> V {
        V::splat(self)
    }

    #[inline(always)]
    fn gather(lanes: V) -> Self {
        lanes.0[0]
    }
}

impl Lane for V {
    const SHARED: bool = false;

    #[inline(always)]
    fn spread(self) -> V {
        self
    }

    #[inline(always)]
    fn gather(lanes: V) -> Self {
        lanes
    }
}

/// Whether `f`, which must be inlined, holds of any lane.
#[inline(always)]
pub(super) fn any(v: V, f: impl Fn(f64) -> bool) -> bool {
    let mut any = false;
    for l in 0..LANES {
        any |= f(v.0[l]);
    }
    any
}

/// Exchanges the off-diagonal blocks of size `B` in every square of size 2 `B`.
#[inline(always)]
fn exchange<const B: usize>(m: &mut [V; LANES]) {
    for i in (0..LANES).filter(|i| i & B == 0) {
        let (low, high) = (m[i], m[i | B]);
        for l in 0..LANES {
            if l & B == 0 {
                m[i | B].0[l] = low.0[l | B];
            } else {
                m[i].0[l] = high.0[l & !B];
            }
        }
    }
}

#[inline(always)]
fn transpose(m: &mut [V; LANES]) {
    exchange::<1>(m);
    exchange::<2>(m);
    exchange::<4>(m);
}

/// Loads up to eight rows as columns; lanes without a row hold zeros.
#[inline(always)]
pub(super) fn load(rows: &[f64], dim: usize, tile: &mut [V]) {
    let tile = &mut tile[..dim];
    if rows.len() < LANES * dim {
        for (j, column) in tile.iter_mut().enumerate() {
            *column = V::ZERO;
            for (l, row) in rows.chunks_exact(dim).enumerate() {
                column.0[l] = row[j];
            }
        }
        return;
    }
    let (squares, rest) = tile.as_chunks_mut::<LANES>();
    let whole = LANES * squares.len();
    for (b, square) in squares.iter_mut().enumerate() {
        for (l, to) in square.iter_mut().enumerate() {
            to.0.copy_from_slice(&rows[l * dim + b * LANES..][..LANES]);
        }
        transpose(square);
    }
    for (j, column) in rest.iter_mut().enumerate() {
        *column = V::column(rows, dim, whole + j);
    }
}

/// Stores columns as up to eight rows; `tile` is overwritten.
#[inline(always)]
pub(super) fn store(tile: &mut [V], dim: usize, rows: &mut [f64]) {
    let tile = &mut tile[..dim];
    if rows.len() < LANES * dim {
        for (l, row) in rows.chunks_exact_mut(dim).enumerate() {
            row.iter_mut().zip(&*tile).for_each(|(to, column)| *to = column.0[l]);
        }
        return;
    }
    let (squares, rest) = tile.as_chunks_mut::<LANES>();
    let whole = LANES * squares.len();
    for (b, square) in squares.iter_mut().enumerate() {
        transpose(square);
        for (l, from) in square.iter().enumerate() {
            rows[l * dim + b * LANES..][..LANES].copy_from_slice(&from.0);
        }
    }
    for (j, column) in rest.iter().enumerate() {
        for l in 0..LANES {
            rows[l * dim + whole + j] = column.0[l];
        }
    }
}

/// Columns that a loop takes at a time, so that it stays a loop over whole vectors: compilers turn
/// a loop over single columns into one across them, with gathers.
pub(super) const WIDE: usize = 4;

/// Replaces every column by an expression of its place and itself. (A macro, because closures
/// are not always inlined.)
macro_rules! update {
    ($columns:expr, |$j:ident, $column:ident| $value:expr) => {{
        let columns: &mut [V] = $columns;
        let (blocks, rest) = columns.as_chunks_mut::<WIDE>();
        let whole = WIDE * blocks.len();
        for (b, block) in blocks.iter_mut().enumerate() {
            for w in 0..WIDE {
                let ($j, $column) = (b * WIDE + w, block[w]);
                block[w] = $value;
            }
        }
        for (r, column) in rest.iter_mut().enumerate() {
            let ($j, $column) = (whole + r, *column);
            *column = $value;
        }
    }};
}
pub(super) use update;

/// Folds an expression of every place and the total so far, in [`WIDE`] independent totals that are
/// then added.
macro_rules! total {
    ($n:expr, |$j:ident, $sum:ident| $value:expr) => {{
        let n = $n;
        let mut totals = [V::ZERO; WIDE];
        for b in 0..n / WIDE {
            for w in 0..WIDE {
                let ($j, $sum) = (b * WIDE + w, totals[w]);
                totals[w] = $value;
            }
        }
        let mut last = (totals[0] + totals[1]) + (totals[2] + totals[3]);
        for $j in n / WIDE * WIDE..n {
            let $sum = last;
            last = $value;
        }
        last
    }};
}
pub(super) use total;
