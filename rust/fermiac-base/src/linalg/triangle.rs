//! Products with a lower triangular matrix and its transpose, for eight points or for one.
//!
//! With eight points each lane holds one point; with one point the lanes hold entries of the
//! product. Both sum in the same order, so entries and sums of squares have the same bits.

use super::packed_start;
use crate::simd::{Kernel, LANES, V, dispatch};
use std::ops::Range;

/// A lower triangular matrix, stored in blocks of eight rows and again in blocks of eight columns.
/// Entries above the diagonal of a block, or beyond the matrix, are 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Triangle {
    dim: usize,
    /// Block after block, column by column up to the block's last row. The lanes are rows.
    rows: Vec<V>,
    /// Block after block, row by row from the block's first column on. The lanes are columns.
    columns: Vec<V>,
}

impl Triangle {
    /// Builds the matrix from its rows, each up to the diagonal.
    pub fn new(packed: &[f64], dim: usize) -> Self {
        let n = dim.div_ceil(LANES);
        let mut this = Self { dim, rows: Vec::new(), columns: Vec::new() };
        this.rows.resize((0..n).map(|b| this.width(b)).sum(), V::ZERO);
        this.columns.resize((0..n).map(|b| dim - b * LANES).sum(), V::ZERO);
        for i in 0..dim {
            let row = &packed[packed_start(i)..packed_start(i + 1)];
            for (j, value) in row.iter().enumerate() {
                let (b, c) = (i / LANES, j / LANES);
                let (in_rows, in_columns) =
                    (row_start(b) + j, this.column_start(c) + i - c * LANES);
                this.rows[in_rows].0[i % LANES] = *value;
                this.columns[in_columns].0[j % LANES] = *value;
            }
        }
        this
    }

    /// Number of rows and of columns.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The entry of row `i` and column `j` ≤ `i`.
    pub fn entry(&self, i: usize, j: usize) -> f64 {
        self.rows[row_start(i / LANES) + j].0[i % LANES]
    }

    /// Returns the rows, each up to the diagonal.
    pub fn packed(&self) -> Vec<f64> {
        (0..self.dim).flat_map(|i| (0..=i).map(move |j| self.entry(i, j))).collect()
    }

    /// out = T z.
    #[inline]
    pub fn forward(&self, z: &[f64], out: &mut [f64]) {
        dispatch(Product::<false> { triangle: self, point: z, out });
    }

    /// out = Tᵀ g.
    #[inline]
    pub fn backward(&self, g: &[f64], out: &mut [f64]) {
        dispatch(Product::<true> { triangle: self, point: g, out });
    }

    /// Columns of a block of rows.
    #[inline(always)]
    fn width(&self, block: usize) -> usize {
        self.dim.min((block + 1) * LANES)
    }

    #[inline(always)]
    fn column_start(&self, block: usize) -> usize {
        block * self.dim - block * block.saturating_sub(1) / 2 * LANES
    }

    #[inline(always)]
    fn row_block(&self, block: usize) -> &[V] {
        &self.rows[row_start(block)..][..self.width(block)]
    }

    #[inline(always)]
    fn column_block(&self, block: usize) -> &[V] {
        &self.columns[self.column_start(block)..][..self.dim - block * LANES]
    }

    /// out = T z.
    #[inline(always)]
    pub fn multiply<const FMA: bool>(&self, z: &[f64], out: &mut [f64]) {
        self.apply_to_point::<FMA, true>(z, out);
    }

    /// out = Tᵀ g.
    #[inline(always)]
    pub fn multiply_transposed<const FMA: bool>(&self, g: &[f64], out: &mut [f64]) {
        out.copy_from_slice(g);
        self.apply_transposed_to_row::<FMA>(out, |entries| entries);
    }

    /// Replaces eight points c by T c and returns |T c|².
    #[inline(always)]
    pub fn apply<const FMA: bool>(&self, points: &mut [V]) -> V {
        let mut squares = [V::ZERO; LANES];
        // From the last block up: a block reads entries that are not overwritten yet.
        for b in (0..self.dim.div_ceil(LANES)).rev() {
            let first = b * LANES;
            let (from, to) = (&*points, &mut [V::ZERO; LANES]);
            let size = LANES.min(self.dim - first);
            sums::<FMA>(self.row_block(b), from, size, to);
            points[first..first + size].copy_from_slice(&to[..size]);
        }
        for z in points.chunks(LANES) {
            for (square, z) in squares.iter_mut().zip(z) {
                *square = z.mul_add::<FMA>(*z, *square);
            }
        }
        let [a, b, c, d, e, f, g, h] = squares;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    /// Tᵀ z of eight points z.
    #[inline(always)]
    pub fn apply_transposed<const FMA: bool>(&self, points: &[V], product: &mut [V]) {
        for (b, product) in product.chunks_mut(LANES).enumerate() {
            sums::<FMA>(self.column_block(b), &points[b * LANES..], product.len(), product);
        }
    }

    /// Returns |T c|² for c = (`x` - `centre`) · `shrink` and writes T c to `product` if `KEEP`.
    #[inline(always)]
    pub fn apply_to_row<const FMA: bool, const KEEP: bool>(
        &self,
        x: &[f64],
        centre: &[f64],
        shrink: f64,
        product: &mut [f64],
    ) -> f64 {
        let point = Shrunk { x: &x[..self.dim], centre: &centre[..self.dim], shrink };
        self.apply_to_point::<FMA, KEEP>(point, product).sum()
    }

    /// Returns the squared entries of T c, summed by lane, and writes T c to `product` if `KEEP`.
    #[inline(always)]
    fn apply_to_point<const FMA: bool, const KEEP: bool>(
        &self,
        point: impl Point,
        product: &mut [f64],
    ) -> V {
        let mut squares = V::ZERO;
        let (mut first, n) = (0, self.dim.div_ceil(LANES));
        while first < n {
            let size = group(n - first);
            match size {
                4 => self.rows_of::<FMA, KEEP, 4>(first, point, &mut squares, product),
                3 => self.rows_of::<FMA, KEEP, 3>(first, point, &mut squares, product),
                2 => self.rows_of::<FMA, KEEP, 2>(first, point, &mut squares, product),
                _ => self.rows_of::<FMA, KEEP, 1>(first, point, &mut squares, product),
            }
            first += size;
        }
        squares
    }

    /// Replaces z by `scale` of Tᵀ z; `scale` must be inlined.
    #[inline(always)]
    pub fn apply_transposed_to_row<const FMA: bool>(
        &self,
        z: &mut [f64],
        scale: impl Fn(V) -> V + Copy,
    ) {
        let z = &mut z[..self.dim];
        let (mut first, n) = (0, self.dim.div_ceil(LANES));
        // A block reads no entry of the blocks before it, which are overwritten.
        while first < n {
            let size = group(n - first);
            match size {
                4 => self.columns_of::<FMA, 4>(first, z, scale),
                3 => self.columns_of::<FMA, 3>(first, z, scale),
                2 => self.columns_of::<FMA, 2>(first, z, scale),
                _ => self.columns_of::<FMA, 1>(first, z, scale),
            }
            first += size;
        }
    }

    /// Computes the entries of `B` blocks of rows.
    #[inline(always)]
    fn rows_of<const FMA: bool, const KEEP: bool, const B: usize>(
        &self,
        first: usize,
        point: impl Point,
        squares: &mut V,
        product: &mut [f64],
    ) {
        let (mut blocks, mut ends) = ([&self.rows[..]; B], [0; B]);
        for k in 0..B {
            (blocks[k], ends[k]) = (self.row_block(first + k), self.width(first + k));
        }
        let mut sums = [V::ZERO; B];
        stage_rows::<FMA, B, 0>(blocks, 0..ends[0], point, &mut sums);
        if B > 1 {
            stage_rows::<FMA, B, 1>(blocks, ends[0]..ends[1 % B], point, &mut sums);
        }
        if B > 2 {
            stage_rows::<FMA, B, 2>(blocks, ends[1 % B]..ends[2 % B], point, &mut sums);
        }
        if B > 3 {
            stage_rows::<FMA, B, 3>(blocks, ends[2 % B]..ends[3 % B], point, &mut sums);
        }
        for k in 0..B {
            *squares = sums[k].mul_add::<FMA>(sums[k], *squares);
            if KEEP {
                put(sums[k], &mut product[(first + k) * LANES..]);
            }
        }
    }

    /// Computes the entries of `B` blocks of columns, in place.
    #[inline(always)]
    fn columns_of<const FMA: bool, const B: usize>(
        &self,
        first: usize,
        z: &mut [f64],
        scale: impl Fn(V) -> V,
    ) {
        let mut blocks = [&self.columns[..]; B];
        for k in 0..B {
            blocks[k] = self.column_block(first + k);
        }
        let mut sums = [V::ZERO; B];
        let start = first * LANES;
        let end = |s: usize| if s + 1 == B { self.dim } else { start + (s + 1) * LANES };
        let from = &z[start..];
        stage_columns::<FMA, B, 0>(blocks, 0..end(0) - start, from, &mut sums);
        if B > 1 {
            stage_columns::<FMA, B, 1>(blocks, LANES..end(1) - start, from, &mut sums);
        }
        if B > 2 {
            stage_columns::<FMA, B, 2>(blocks, 2 * LANES..end(2) - start, from, &mut sums);
        }
        if B > 3 {
            stage_columns::<FMA, B, 3>(blocks, 3 * LANES..end(3) - start, from, &mut sums);
        }
        for k in 0..B {
            put(scale(sums[k]), &mut z[start + k * LANES..]);
        }
    }
}

/// Index of the first vector of a block of rows.
#[inline(always)]
fn row_start(block: usize) -> usize {
    block * (block + 1) / 2 * LANES
}

/// The coordinates of a point c.
trait Point: Copy {
    /// The coordinates in a range.
    fn part(self, range: Range<usize>) -> Self;

    /// Coordinate `j`.
    fn at(&self, j: usize) -> f64;
}

impl Point for &[f64] {
    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        &self[range]
    }

    #[inline(always)]
    fn at(&self, j: usize) -> f64 {
        self[j]
    }
}

/// A point relative to its centre, times a factor.
#[derive(Clone, Copy)]
struct Shrunk<'a> {
    x: &'a [f64],
    centre: &'a [f64],
    shrink: f64,
}

impl Point for Shrunk<'_> {
    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        let (x, centre) = (&self.x[range.clone()], &self.centre[range]);
        Self { x, centre, shrink: self.shrink }
    }

    #[inline(always)]
    fn at(&self, j: usize) -> f64 {
        (self.x[j] - self.centre[j]) * self.shrink
    }
}

/// Number of blocks, of those left, to sum together: four sums hide the latency of additions, and
/// the split leaves no single block at the end.
#[inline(always)]
fn group(left: usize) -> usize {
    match left {
        1..=4 => left,
        _ if left % 4 == 1 => 3,
        _ => 4,
    }
}

// Loops fill the arrays because closures given to library functions are not always inlined.

/// Adds the columns in a range, which only the blocks from `S` on have.
#[inline(always)]
fn stage_rows<const FMA: bool, const B: usize, const S: usize>(
    blocks: [&[V]; B],
    columns: Range<usize>,
    point: impl Point,
    sums: &mut [V; B],
) {
    let n = columns.len();
    let mut parts = blocks;
    for k in S..B {
        parts[k] = &blocks[k][columns.clone()][..n];
    }
    let point = point.part(columns);
    for j in 0..n {
        let c = V::splat(point.at(j));
        for k in S..B {
            sums[k] = parts[k][j].mul_add::<FMA>(c, sums[k]);
        }
    }
}

/// Adds the rows in a range, counted from the first column, which only the blocks up to `S` have.
#[inline(always)]
fn stage_columns<const FMA: bool, const B: usize, const S: usize>(
    blocks: [&[V]; B],
    rows: Range<usize>,
    z: &[f64],
    sums: &mut [V; B],
) {
    let n = rows.len();
    let mut parts = blocks;
    for k in 0..=S {
        parts[k] = &blocks[k][rows.start - k * LANES..][..n];
    }
    let z = &z[rows][..n];
    for i in 0..n {
        let z = V::splat(z[i]);
        for k in 0..=S {
            sums[k] = parts[k][i].mul_add::<FMA>(z, sums[k]);
        }
    }
}

/// Writes the products of the entries of a block with the numbers: as many sums as `to` has room.
#[inline(always)]
fn sums<const FMA: bool>(block: &[V], numbers: &[V], size: usize, to: &mut [V]) {
    if size == LANES {
        return sums_of::<FMA, LANES>(block, numbers, 0, to);
    }
    let mut at = 0;
    if size & 4 != 0 {
        sums_of::<FMA, 4>(block, numbers, at, to);
        at += 4;
    }
    if size & 2 != 0 {
        sums_of::<FMA, 2>(block, numbers, at, to);
        at += 2;
    }
    if size & 1 != 0 {
        sums_of::<FMA, 1>(block, numbers, at, to);
    }
}

/// Writes the `K` sums from `at` on.
#[inline(always)]
fn sums_of<const FMA: bool, const K: usize>(block: &[V], numbers: &[V], at: usize, to: &mut [V]) {
    let mut sums = [V::ZERO; K];
    for (entries, number) in block.iter().zip(numbers) {
        let entries = &entries.0[at..at + K];
        for k in 0..K {
            sums[k] = number.mul_add::<FMA>(V::splat(entries[k]), sums[k]);
        }
    }
    to[at..at + K].copy_from_slice(&sums);
}

/// Copies a vector into a slice that may be shorter.
#[inline(always)]
fn put(vector: V, place: &mut [f64]) {
    if let Some(whole) = place.first_chunk_mut() {
        *whole = vector.0;
    } else {
        for (place, value) in place.iter_mut().zip(vector.0) {
            *place = value;
        }
    }
}

struct Product<'a, const TRANSPOSED: bool> {
    triangle: &'a Triangle,
    point: &'a [f64],
    out: &'a mut [f64],
}

impl<const TRANSPOSED: bool> Kernel for Product<'_, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        if TRANSPOSED {
            self.triangle.multiply_transposed::<FMA>(self.point, self.out);
        } else {
            self.triangle.multiply::<FMA>(self.point, self.out);
        }
    }
}
