//! Normal and exponential draws by the ziggurat method: one word for 98.9 % of the draws.
//!
//! Reference: G. Marsaglia and W. W. Tsang (2000), "The ziggurat method for generating random
//! variables", Journal of Statistical Software 5(8). The layer comes from bits that the position
//! within it does not use, as in J. A. Doornik (2005), "An improved ziggurat method to generate
//! normal random samples".

use super::lanes::{one_to_two, open_unit};
use super::ziggurat_tables::{EXPONENTIAL_F, EXPONENTIAL_X, NORMAL_F, NORMAL_X};
use crate::simd::{exp, ln};

/// A law with a decreasing density (or a symmetric one), cut into 256 layers.
pub(super) trait Ziggurat {
    /// Returns the proposal of a word, and true if it certainly lies under the density.
    fn propose(word: u64) -> (f64, bool);

    /// Returns the draw that begins with `word`, whose proposal was not accepted at once.
    fn resolve(word: u64, next: &mut impl FnMut() -> u64) -> f64;
}

/// Returns the lowest byte of the word; its upper 52 bits give the position in the layer.
#[inline(always)]
fn layer(word: u64) -> usize {
    (word & 0xff) as usize
}

/// Returns true if a point of the layer, at a height drawn from `word`, lies under the density,
/// whose logarithm there is `rise` above that at the layer's right edge.
#[inline]
fn under(rise: f64, heights: &[f64; 257], layer: usize, word: u64) -> bool {
    let (low, high) = (heights[layer], heights[layer + 1]);
    let height = low + (high - low) * open_unit(word);
    // e^rise lies between its cubic and the cubic plus the Lagrange remainder (0 ≤ rise < 0.76, so
    // e^rise / 24 < 1/10). Only heights between these bounds need the exponential itself.
    let cubic = 1.0 + rise * (1.0 + rise * (0.5 + rise * (1.0 / 6.0)));
    if height < low * cubic {
        return true;
    }
    let square = rise * rise;
    height < low * (cubic + 0.1 * square * square) && height < low * exp(rise)
}

/// The standard normal law.
pub(super) struct Normal;

impl Ziggurat for Normal {
    #[inline(always)]
    fn propose(word: u64) -> (f64, bool) {
        // Odd multiples of 2⁻⁵² in (-1, 1), each exact.
        let position = (2.0 * one_to_two(word) - 3.0) + f64::EPSILON;
        let i = layer(word);
        let x = position * NORMAL_X[i];
        (x, x.abs() < NORMAL_X[i + 1])
    }

    #[cold]
    fn resolve(mut word: u64, next: &mut impl FnMut() -> u64) -> f64 {
        loop {
            let (x, accepted) = Self::propose(word);
            if accepted {
                return x;
            }
            let i = layer(word);
            if i == 0 {
                return normal_tail(next).copysign(x);
            }
            let rise = 0.5 * (NORMAL_X[i] - x.abs()) * (NORMAL_X[i] + x.abs());
            if under(rise, &NORMAL_F, i, next()) {
                return x;
            }
            word = next();
        }
    }
}

/// Returns a standard normal draw beyond the last edge.
///
/// Reference: G. Marsaglia (1964), "Generating a variable from the tail of the normal
/// distribution", Technometrics 6(1).
fn normal_tail(next: &mut impl FnMut() -> u64) -> f64 {
    loop {
        let x = -ln(open_unit(next())) / NORMAL_X[1];
        let y = -ln(open_unit(next()));
        if y + y > x * x {
            return NORMAL_X[1] + x;
        }
    }
}

/// The exponential law with mean 1.
pub(super) struct Exponential;

impl Ziggurat for Exponential {
    #[inline(always)]
    fn propose(word: u64) -> (f64, bool) {
        let i = layer(word);
        let x = open_unit(word) * EXPONENTIAL_X[i];
        (x, x < EXPONENTIAL_X[i + 1])
    }

    #[cold]
    fn resolve(mut word: u64, next: &mut impl FnMut() -> u64) -> f64 {
        // Beyond the last edge the law is the same law, shifted.
        let mut shift = 0.0;
        loop {
            let (x, accepted) = Self::propose(word);
            if accepted {
                return shift + x;
            }
            let i = layer(word);
            if i == 0 {
                shift += EXPONENTIAL_X[1];
            } else if under(EXPONENTIAL_X[i] - x, &EXPONENTIAL_F, i, next()) {
                return shift + x;
            }
            word = next();
        }
    }
}
