//! Log-densities of rows at many levels: what rows fix is computed once for all of them.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};

use super::evaluate::{Sum, block_of};
use super::shape::Shape;
use super::tile::load;

/// Numbers that the tables of a stretch of levels may take: they stay in the second-level cache.
const TABLES: usize = 1 << 16;

/// The log-densities of every row at every level, (rows × levels).
pub(super) fn log_densities<S: Shape>(shape: &S, y: Rows<'_>, levels: &[f64], out: &mut [f64]) {
    dispatch(AtLevels { shape, y, levels, out });
}

struct AtLevels<'a, S> {
    shape: &'a S,
    y: Rows<'a>,
    levels: &'a [f64],
    out: &'a mut [f64],
}

impl<S: Shape> Kernel for AtLevels<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (shape, dim, n_levels) = (self.shape, self.shape.dim(), self.levels.len());
        let (block, width) = (block_of(shape), shape.table_len());
        let stretch = (TABLES / width).clamp(1, n_levels.max(1));
        let mut tables = vec![0.0; stretch * width];
        let mut sums = vec![Sum::EMPTY; stretch];
        let mut y = vec![V::ZERO; dim];
        let mut scratch = vec![V::ZERO; dim];
        let mut kept = vec![V::ZERO; block * shape.space_len()];
        let mut logs = vec![V::ZERO; block];
        for (s, levels) in self.levels.chunks(stretch).enumerate() {
            for (table, level) in tables.chunks_exact_mut(width).zip(levels) {
                shape.table::<f64, FMA>(level * level, table);
            }
            for first in (0..self.y.len()).step_by(LANES) {
                let rows = LANES.min(self.y.len() - first);
                load(&self.y.data()[first * dim..(first + rows) * dim], dim, &mut y);
                sums.fill(Sum::EMPTY);
                for start in (0..shape.len()).step_by(block) {
                    let block = start..shape.len().min(start + block);
                    let logs = &mut logs[..block.len()];
                    shape.squares::<FMA>(block.clone(), &y, &mut kept, &mut scratch);
                    let tables = tables.chunks_exact(width).take(levels.len());
                    for (table, sum) in tables.zip(&mut sums) {
                        shape.logs::<f64, FMA>(block.clone(), &kept, table, logs);
                        sum.add::<FMA>(logs);
                    }
                }
                for (k, sum) in sums[..levels.len()].iter().enumerate() {
                    let values = sum.log::<FMA>();
                    for l in 0..rows {
                        self.out[(first + l) * n_levels + s * stretch + k] = values.0[l];
                    }
                }
            }
        }
    }
}
