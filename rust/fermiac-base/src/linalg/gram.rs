//! Gram matrices of columns that lie in tiles (eight points side by side), register-blocked.

use crate::simd::V;

/// Columns per register block: 16 accumulators and 8 loads for 16 products. Whole blocks are the fastest.
pub const GRAM_BLOCK: usize = 4;

/// Adds Σ yᵢⱼ yᵢₖ (j ≤ k) over the tiles `first`, `first + step`, … of `y` (tiles × p) to the
/// packed upper triangle `out`. The order of summation depends on the tiles alone.
#[inline(always)]
pub fn add_gram<const FMA: bool>(y: &[V], p: usize, first: usize, step: usize, out: &mut [f64]) {
    for j0 in (0..p).step_by(GRAM_BLOCK) {
        for k0 in (j0..p).step_by(GRAM_BLOCK) {
            let (nj, nk) = ((p - j0).min(GRAM_BLOCK), (p - k0).min(GRAM_BLOCK));
            let mut sums = [[V::ZERO; GRAM_BLOCK]; GRAM_BLOCK];
            let tiles = y.chunks_exact(p).skip(first).step_by(step);
            if nj == GRAM_BLOCK && nk == GRAM_BLOCK {
                // These sums have no changing indices, and so they stay in registers.
                let mut whole = [[V::ZERO; GRAM_BLOCK]; GRAM_BLOCK];
                for tile in tiles {
                    let (a, b) = (&tile[j0..j0 + GRAM_BLOCK], &tile[k0..k0 + GRAM_BLOCK]);
                    let b = [b[0], b[1], b[2], b[3]];
                    for j in 0..GRAM_BLOCK {
                        let a = a[j];
                        for k in 0..GRAM_BLOCK {
                            whole[j][k] = a.mul_add::<FMA>(b[k], whole[j][k]);
                        }
                    }
                }
                sums = whole;
            } else {
                for tile in tiles {
                    for j in 0..nj {
                        for k in 0..nk {
                            sums[j][k] = tile[j0 + j].mul_add::<FMA>(tile[k0 + k], sums[j][k]);
                        }
                    }
                }
            }
            for j in 0..nj {
                for k in 0..nk {
                    if k0 + k >= j0 + j {
                        out[packed(p, j0 + j, k0 + k)] += sums[j][k].sum();
                    }
                }
            }
        }
    }
}

/// Index of entry (j, k), j ≤ k, in a packed upper triangle of order p.
#[inline(always)]
pub fn packed(p: usize, j: usize, k: usize) -> usize {
    j * (2 * p - j + 1) / 2 + (k - j)
}

/// Number of entries of a packed triangle of order p.
#[inline]
pub fn packed_len(p: usize) -> usize {
    p * (p + 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, LANES, dispatch};

    struct Gram<'a>(&'a [V], usize, &'a mut [f64]);

    impl Kernel for Gram<'_> {
        type Output = ();
        #[inline(always)]
        fn run<const FMA: bool>(self) {
            add_gram::<FMA>(self.0, self.1, 1, 3, self.2);
        }
    }

    #[test]
    fn agrees_with_the_plain_sum() {
        for p in [1, 3, 4, 5, 9] {
            let tiles = 10;
            let y: Vec<V> = (0..tiles * p)
                .map(|i| V(std::array::from_fn(|l| ((i * 7 + l * 3) % 11) as f64 - 5.0)))
                .collect();
            let mut out = vec![0.0; packed_len(p)];
            dispatch(Gram(&y, p, &mut out));
            for j in 0..p {
                for k in j..p {
                    let mut sum = 0.0;
                    for t in (1..tiles).step_by(3) {
                        for l in 0..LANES {
                            sum += y[t * p + j].0[l] * y[t * p + k].0[l];
                        }
                    }
                    assert_eq!(out[packed(p, j, k)], sum);
                }
            }
        }
    }
}
