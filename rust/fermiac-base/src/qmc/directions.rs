//! Generator matrices of Sobol' points.
//!
//! Reference: S. Joe and F. Y. Kuo (2008), "Constructing Sobol sequences with better two-dimensional
//! projections", SIAM Journal on Scientific Computing 30(5), 2635–2654. `joe_kuo.bin` holds their
//! numbers; `tools/joe_kuo.py` writes it and describes its format, and `LICENSE-joe-kuo` is their
//! licence.

/// Number of dimensions that have direction numbers.
pub const DIMENSIONS: usize = 21_201;

/// Binary digits of a coordinate, and of the index of a point.
pub(super) const DIGITS: usize = 52;

/// A square matrix over the integers modulo 2, by columns. The top digit of a column, the first
/// digit of a coordinate, is bit `DIGITS - 1`.
pub(super) type Matrix = [u64; DIGITS];

/// The polynomials and the initial numbers of all dimensions after the first, packed.
static TABLE: &[u8] = include_bytes!("joe_kuo.bin");

/// Number of polynomials of each degree from 1 on, in the order of the dimensions.
const COUNTS: [usize; 18] =
    [1, 1, 2, 2, 6, 6, 18, 16, 48, 60, 176, 144, 630, 756, 1800, 2048, 7710, 7776];

/// Returns the generator matrices of all dimensions in order: digit `k` of the Gray code of an index,
/// from the lowest, adds column `k` to the coordinate.
pub(super) fn generators() -> impl Iterator<Item = Matrix> {
    let first = std::array::from_fn(|k| 1 << (DIGITS - 1 - k));
    let degrees = COUNTS.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(i + 1, n));
    let mut bits = Bits { at: 0 };
    std::iter::once(first).chain(degrees.map(move |degree| generator(degree, &mut bits)))
}

/// Reads the polynomial and the initial numbers of a dimension and returns its matrix.
///
/// Column k is m_{k+1} / 2^{k+1}, with m_k = 2 a_1 m_{k-1} ⊕ … ⊕ 2^{s-1} a_{s-1} m_{k-s+1} ⊕
/// 2^s m_{k-s} ⊕ m_{k-s} for the polynomial x^s + a_1 x^{s-1} + … + a_{s-1} x + 1.
fn generator(degree: usize, bits: &mut Bits) -> Matrix {
    let inner = bits.take(degree - 1);
    let mut columns = [0; DIGITS];
    for k in 0..degree {
        columns[k] = (bits.take(k) << 1 | 1) << (DIGITS - 1 - k);
    }
    for k in degree..DIGITS {
        let mut column = columns[k - degree] ^ columns[k - degree] >> degree;
        for i in 1..degree {
            if inner >> (degree - 1 - i) & 1 == 1 {
                column ^= columns[k - i];
            }
        }
        columns[k] = column;
    }
    columns
}

/// A reader of the packed table.
struct Bits {
    at: usize,
}

impl Bits {
    /// Returns the next `n` bits, the first one lowest.
    fn take(&mut self, n: usize) -> u64 {
        let bit = |at: usize| u64::from(TABLE[at / 8] >> (at % 8) & 1);
        let value = (0..n).map(|i| bit(self.at + i) << i).sum();
        self.at += n;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_dimension() {
        let mut n = 0;
        for columns in generators() {
            // Upper triangular with ones on the diagonal: each coordinate is a (0, 1)-sequence.
            for (k, column) in columns.iter().enumerate() {
                assert_eq!(column.trailing_zeros() as usize, DIGITS - 1 - k, "dimension {n}");
                assert!(*column < 1 << DIGITS);
            }
            n += 1;
        }
        assert_eq!(n, DIMENSIONS);
        let n_bits: usize = COUNTS.iter().enumerate().map(|(i, n)| n * (i + i * (i + 1) / 2)).sum();
        assert_eq!(TABLE.len(), n_bits.div_ceil(8));
    }

    #[test]
    fn the_first_direction_numbers_are_those_of_the_paper() {
        let shown: Vec<Vec<u64>> = generators()
            .take(5)
            .map(|columns| (0..4).map(|k| columns[k] >> (DIGITS - 1 - k)).collect())
            .collect();
        let expected = [[1, 1, 1, 1], [1, 3, 5, 15], [1, 3, 3, 9], [1, 3, 1, 5], [1, 1, 1, 11]];
        assert_eq!(shown, expected.map(Vec::from));
    }
}
