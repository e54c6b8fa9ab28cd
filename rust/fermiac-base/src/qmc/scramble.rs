//! Scrambles of binary digits, one for each coordinate.

use super::directions::{DIGITS, Matrix};
use crate::rng::{Domain, Stream};

/// The randomisation of quasi-random points.
///
/// All but `None` make each point uniform on its own, so that averages over points are unbiased, and
/// keep the points a net: an elementary interval holds as many points as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scramble {
    /// The points as they are.
    None,
    /// One random word for each coordinate, added to it without carries.
    Shift,
    /// A random lower triangular matrix over the integers modulo 2 for each coordinate, and a shift.
    ///
    /// Reference: J. Matoušek (1998), "On the L2-discrepancy for anchored boxes", Journal of
    /// Complexity 14(4).
    Linear,
    /// Each digit is flipped by a random bit that depends on the values of all digits before it.
    ///
    /// The coins of the first 36 digits are hashes of the digits before; those of the other digits
    /// depend on the first 36 digits only. So coins are shared by points that agree in 36 digits of a
    /// coordinate, which the first 2³⁶ points do not. The variance is then that of the exact method.
    ///
    /// References: A. B. Owen (1995), "Randomly permuted (t, m, s)-nets and (t, s)-sequences", in
    /// Monte Carlo and Quasi-Monte Carlo Methods in Scientific Computing, Springer; I. Friedel and
    /// A. Keller (2002), "Fast generation of randomized low-discrepancy point sets", in Monte Carlo
    /// and Quasi-Monte Carlo Methods 2000, Springer, for permutations made when they are needed.
    Owen,
}

impl Scramble {
    /// Returns the scramble of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "shift" => Self::Shift,
            "linear" => Self::Linear,
            "owen" => Self::Owen,
            _ => return None,
        })
    }
}

/// The stream of the scramble of a coordinate.
pub(super) fn stream_of(key: u64, replicate: u64, coordinate: u32) -> Stream {
    Stream::new(key, Domain::Scramble, replicate, coordinate)
}

/// Returns a random word of digits.
pub(super) fn random_shift(stream: &mut Stream) -> u64 {
    stream.next_u64() >> (64 - DIGITS)
}

/// Multiplies a matrix from the left by a random lower triangular matrix with ones on the diagonal:
/// each digit of a coordinate gets a random sum of the digits before it.
pub(super) fn scramble_linearly(columns: &mut Matrix, stream: &mut Stream) {
    let mut words = [0; DIGITS];
    stream.fill_u64(&mut words);
    let mut product = [0; DIGITS];
    for (bit, word) in words.iter().enumerate() {
        // The column of the triangle for this digit.
        let column = 1 << bit | word & ((1 << bit) - 1);
        for (to, from) in product.iter_mut().zip(&*columns) {
            *to ^= column & (from >> bit & 1).wrapping_neg();
        }
    }
    *columns = product;
}

/// Digits whose coins come from one hash: a binary tree of six levels has 63 inner nodes.
const LEVELS: usize = 6;
/// Digits whose coins depend on all digits before.
const EXACT: usize = 36;

/// The generator from which the coins of a coordinate come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coins {
    start: u64,
    step: u64,
}

impl Coins {
    /// Returns the coins of a coordinate from its stream.
    pub(super) fn new(stream: &mut Stream) -> Self {
        Self { start: stream.next_u64(), step: stream.next_u64() | 1 }
    }

    /// Flips the digits of a word. The bits above the digits stay; they are not zero.
    ///
    /// There is no loop in it, so that a loop over words becomes a loop over vectors.
    #[inline(always)]
    pub(super) fn flip(self, word: u64) -> u64 {
        const { assert!(EXACT == 6 * LEVELS) };
        let [a, b, c, d, e, f] =
            std::array::from_fn(|tree| self.tree(word, DIGITS - LEVELS * tree));
        let rest = self.hash(word, DIGITS - EXACT) >> (64 - (DIGITS - EXACT));
        word ^ (a | b | c | d | e | f | rest)
    }

    /// Returns the flips of the digits just below those above the lowest `below` ones.
    #[inline(always)]
    fn tree(self, word: u64, below: usize) -> u64 {
        let coins = self.hash(word, below);
        let [a, b, c, d, e, f]: [u64; LEVELS] = std::array::from_fn(|level| {
            // The nodes of a level follow those of the levels above.
            let path = word >> (below - level) & ((1 << level) - 1);
            (coins >> ((1 << level) - 1 + path) & 1) << (below - 1 - level)
        });
        a | b | c | d | e | f
    }

    /// Returns 64 coins for the values of the digits above the lowest `below` ones: the output of
    /// SplitMix64 (G. L. Steele, D. Lea and C. H. Flood (2014), "Fast splittable pseudorandom number
    /// generators", OOPSLA '14) at the number that the bits form. The bits above the digits make a
    /// different number of each group of digits.
    #[inline(always)]
    fn hash(self, word: u64, below: usize) -> u64 {
        let x = self.start.wrapping_add((word >> below).wrapping_mul(self.step));
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
}
