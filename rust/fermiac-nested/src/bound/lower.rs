//! Norms of points that are multiplied by a lower triangular matrix.

use fermiac_base::linalg::packed_start;
use fermiac_base::simd::V;

/// Rows whose sums are computed together: they do not wait for each other.
const GROUP: usize = 4;

/// A lower triangular matrix in groups of rows.
///
/// The numbers of a group that are multiplied by the same coordinate lie next to each other. One pointer passes
/// over them; with one for each row the CPU spends twice the time, most of it on the pointers.
#[derive(Debug, Clone)]
pub(crate) struct Lower {
    /// The columns of the groups, the last rows of the matrix first, with zeros above the diagonal.
    columns: Vec<[f64; GROUP]>,
    /// The rows before these, packed.
    rest: Vec<f64>,
}

impl Lower {
    /// The matrix whose rows are packed: each ends on the diagonal.
    pub(crate) fn new(rows: &[f64], dim: usize) -> Self {
        let mut columns = Vec::new();
        let mut end = dim;
        while end >= GROUP {
            let first = end - GROUP;
            columns.extend((0..end).map(|j| {
                std::array::from_fn(|r| {
                    let i = first + r;
                    if j <= i { rows[packed_start(i) + j] } else { 0.0 }
                })
            }));
            end = first;
        }
        Self { columns, rest: rows[..packed_start(end)].to_vec() }
    }

    /// |W y|² for this matrix W and eight points, of which nothing is left: `y` becomes W y.
    #[inline(always)]
    pub(crate) fn norm_in_place<const FMA: bool>(&self, y: &mut [V]) -> V {
        // The last rows first: those before them need only the numbers before theirs.
        let (mut end, mut left) = (y.len(), &self.columns[..]);
        while end >= GROUP {
            let (group, others) = left.split_at(end);
            let first = end - GROUP;
            let (before, own) = y[..end].split_at_mut(first);
            let (columns, corner) = group.split_at(first);
            let mut z = [V::ZERO; GROUP];
            for (y, column) in before.iter().zip(columns) {
                for r in 0..GROUP {
                    z[r] = y.mul_add::<FMA>(V::splat(column[r]), z[r]);
                }
            }
            for k in 0..GROUP {
                for r in k..GROUP {
                    z[r] = own[k].mul_add::<FMA>(V::splat(corner[k][r]), z[r]);
                }
            }
            // Stores of whole vectors keep the sums in registers.
            own.copy_from_slice(&z);
            (end, left) = (first, others);
        }
        for i in (0..end).rev() {
            let mut z = V::ZERO;
            for (c, y) in self.rest[packed_start(i)..packed_start(i + 1)].iter().zip(&*y) {
                z = y.mul_add::<FMA>(V::splat(*c), z);
            }
            y[i] = z;
        }
        let mut norm = V::ZERO;
        for z in y {
            norm = z.mul_add::<FMA>(*z, norm);
        }
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::super::tiles::norms_of;
    use super::*;
    use fermiac_base::simd::{Kernel, dispatch};

    struct Both<'a>(&'a [V], usize, &'a [f64]);

    impl Kernel for Both<'_> {
        type Output = [V; 2];

        #[inline(always)]
        fn run<const FMA: bool>(self) -> [V; 2] {
            let Self(y, d, w) = self;
            let [norm] = norms_of::<FMA, 1>(y, d, w);
            [norm, Lower::new(w, d).norm_in_place::<FMA>(&mut y.to_vec())]
        }
    }

    #[test]
    fn norms_in_place_are_the_same() {
        for d in 1..14 {
            let number = |i: usize| ((i * 37) % 101) as f64 / 7.0 - 6.0;
            let y: Vec<V> =
                (0..d).map(|j| V(std::array::from_fn(|l| number(3 * j + 11 * l)))).collect();
            let w: Vec<f64> = (0..packed_start(d)).map(number).collect();
            let [want, got] = dispatch(Both(&y, d, &w));
            assert_eq!(want.0, got.0, "{d}");
        }
    }
}
