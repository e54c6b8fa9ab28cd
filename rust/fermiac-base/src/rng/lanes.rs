//! Eight xoshiro256++ generators side by side, and the kernels that run them.
//!
//! Reference: D. Blackman and S. Vigna (2021), "Scrambled linear pseudorandom number generators",
//! ACM Transactions on Mathematical Software 47(4).

use crate::simd::{Kernel, LANES, Level, level};

/// One step of all lanes: eight words, in lane order.
pub(super) type Group = [u64; LANES];

/// The states of the eight generators: `s[r][lane]` is word `r` of the lane's state.
///
/// Aligned to its words only: objects that hold a stream may come from Python's allocator, which
/// aligns to 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lanes(pub(super) [Group; 4]);

impl Lanes {
    /// Returns the first lane whose state is all zeros, which is not allowed.
    #[inline(always)]
    pub(super) fn all_zero(&self) -> Option<usize> {
        let [s0, s1, s2, s3] = &self.0;
        let mut least = u64::MAX;
        for l in 0..LANES {
            least = least.min(s0[l] | s1[l] | s2[l] | s3[l]);
        }
        if least > 0 {
            return None;
        }
        (0..LANES).find(|&l| s0[l] | s1[l] | s2[l] | s3[l] == 0)
    }

    /// Returns the words of the present states.
    #[inline(always)]
    pub(super) fn output(&self) -> Group {
        let [s0, _, _, s3] = &self.0;
        std::array::from_fn(|l| s0[l].wrapping_add(s3[l]).rotate_left(23).wrapping_add(s0[l]))
    }

    /// Advances every lane by one step.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        let [s0, s1, s2, s3] = &mut self.0;
        for l in 0..LANES {
            let t = s1[l] << 17;
            s2[l] ^= s0[l];
            s3[l] ^= s1[l];
            s1[l] ^= s2[l];
            s0[l] ^= s3[l];
            s2[l] ^= t;
            s3[l] = s3[l].rotate_left(45);
        }
    }
}

/// The bits of a double in [1, 2) whose fraction is the word's upper 52 bits. (A conversion from
/// integers would need AVX-512 to be one instruction.)
#[inline(always)]
pub(super) fn one_to_two(word: u64) -> f64 {
    f64::from_bits((word >> 12) | 0x3ff0_0000_0000_0000)
}

/// `((word >> 11) | 1) · 2⁻⁵³`: uniform on the open interval (0, 1), symmetric about ½.
#[inline(always)]
pub(super) fn open_unit(word: u64) -> f64 {
    const HALF_STEP: f64 = f64::EPSILON / 2.0;
    (one_to_two(word) - 1.0) + HALF_STEP
}

/// Advances the lanes once per group and writes `map` of their words.
///
/// The lanes start one group before the first group written and end at the last.
pub(super) struct Fill<'a, T, F> {
    pub(super) lanes: &'a mut Lanes,
    pub(super) out: &'a mut [[T; LANES]],
    pub(super) map: F,
}

impl<T, F: Fn(u64) -> T> Kernel for Fill<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        // `FMA` keeps the branch out of the baseline clone, which it would slow.
        if FMA && level() == Level::Avx512 { self.by_rotations() } else { self.by_shifts() }
    }
}

impl<T, F: Fn(u64) -> T> Fill<'_, T, F> {
    /// Fills with vector rotations, for CPUs that have them as one instruction.
    #[inline(always)]
    fn by_rotations(self) {
        let mut lanes = self.lanes.clone();
        for group in self.out {
            lanes.step();
            let words = lanes.output();
            for l in 0..LANES {
                group[l] = (self.map)(words[l]);
            }
        }
        *self.lanes = lanes;
    }

    /// Fills the same words with shifts alone.
    ///
    /// On CPUs without vector rotations the compiler rotates lane by lane, which costs more than the
    /// rest of the step, and it recognises two shifts joined at once as a rotation. So each half of
    /// a rotated word is combined with another term first, and the halves of the last row stay
    /// separate between steps: 0.4 ns per word with AVX2 instead of 1.3.
    #[inline(always)]
    fn by_shifts(self) {
        let [mut s0, mut s1, mut s2, s3] = self.lanes.0;
        let mut high = s3.map(|word| word >> 45 << 45);
        let mut low: Group = std::array::from_fn(|l| s3[l] ^ high[l]);
        for group in self.out {
            for l in 0..LANES {
                let t = s1[l] << 17;
                s2[l] ^= s0[l];
                let last = (high[l] ^ s1[l]) ^ low[l];
                s1[l] ^= s2[l];
                s0[l] ^= last;
                s2[l] ^= t;
                high[l] = last << 45;
                low[l] = last >> 19;
                let sum = s0[l].wrapping_add(high[l]).wrapping_add(low[l]);
                group[l] = (self.map)((sum << 23).wrapping_add(s0[l]).wrapping_add(sum >> 41));
            }
        }
        self.lanes.0 = [s0, s1, s2, std::array::from_fn(|l| high[l] | low[l])];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::dispatch;

    fn start() -> Lanes {
        let mut x = 0x1234_5678_9abc_def1_u64;
        Lanes(std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                x ^ (x >> 29)
            })
        }))
    }

    #[test]
    fn the_level_of_the_machine_does_not_change_a_bit() {
        let (mut a, mut b, mut c) = (start(), start(), start());
        let [mut x, mut y, mut z] = [[[0.0; LANES]; 33]; 3];
        Fill { lanes: &mut a, out: &mut x, map: open_unit }.by_rotations();
        Fill { lanes: &mut b, out: &mut y, map: open_unit }.by_shifts();
        dispatch(Fill { lanes: &mut c, out: &mut z, map: open_unit });
        assert_eq!((&a, x), (&b, y));
        assert_eq!((a, x), (c, z));
    }

    #[test]
    fn uniforms_are_the_odd_multiples() {
        for word in [0, 1, 0x7ff, 0x800, 0x1000, u64::MAX, 0x0123_4567_89ab_cdef] {
            let expected = ((word >> 11) | 1) as f64 / 9_007_199_254_740_992.0;
            assert_eq!(open_unit(word), expected);
            assert!(open_unit(word) > 0.0 && open_unit(word) < 1.0);
        }
    }
}
