//! Draws from a table of weights in constant time.

use super::stream::Stream;
use crate::par::{PAUSE_EVERY, pause};
use crate::{Error, Result};

/// A table for drawing indices with given weights: one random word and one look-up per draw.
///
/// References: A. J. Walker (1977), "An efficient method for generating discrete random variables
/// with general distributions", ACM Transactions on Mathematical Software 3(3); M. D. Vose (1991),
/// "A linear algorithm for generating random numbers with a given distribution", IEEE
/// Transactions on Software Engineering 17(9).
#[derive(Debug, Clone)]
pub struct Alias {
    cells: Vec<Cell>,
}

/// The index itself while the rest of the word is below `keep`, else `other`.
#[derive(Debug, Clone, Copy)]
struct Cell {
    keep: u64,
    other: u32,
}

impl Alias {
    /// Builds the table in linear time. The weights need not sum to one; an index of weight zero
    /// is never drawn.
    pub fn new(weights: &[f64]) -> Result<Self> {
        let n = weights.len();
        if n == 0 || u32::try_from(n).is_err() {
            let why = format!("{n} weights were given; 1 to 2³² - 1 are needed");
            return Err(Error::argument("weights", why));
        }
        if let Some((i, w)) =
            weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0))
        {
            let why =
                format!("weights[{i}] is {w}; finite weights that are not negative are needed");
            return Err(Error::argument("weights", why));
        }
        let (heaviest, largest) = weights
            .iter()
            .enumerate()
            .fold((0, 0.0), |best, (i, &w)| if w > best.1 { (i, w) } else { best });
        if largest == 0.0 {
            return Err(Error::argument("weights", "all are zero; a positive one is needed"));
        }
        // Relative to the largest, so that the sum can neither overflow nor vanish.
        pause();
        let total: f64 = weights.iter().map(|w| w / largest).sum();
        let mut mass: Vec<f64> = weights.iter().map(|w| w / largest / total * n as f64).collect();
        // Columns left unpaired by rounding fall back on the largest weight, never on a zero weight.
        let mut cells: Vec<Cell> =
            mass.iter().map(|&m| Cell { keep: fraction(m), other: heaviest as u32 }).collect();
        pause();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| mass[i] < 1.0);
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            if s.is_multiple_of(PAUSE_EVERY) {
                pause();
            }
            cells[s] = Cell { keep: fraction(mass[s]), other: l as u32 };
            mass[l] -= 1.0 - mass[s];
            cells[l].keep = fraction(mass[l]);
            if mass[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Ok(Self { cells })
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Returns false: [`new`](Self::new) refuses an empty table.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Returns an index, with probability its weight over the sum of the weights.
    #[inline]
    pub fn sample(&self, stream: &mut Stream) -> usize {
        let (index, rest) = stream.below_with_rest(self.cells.len() as u64);
        let cell = self.cells[index as usize];
        if rest < cell.keep { index as usize } else { cell.other as usize }
    }
}

/// Returns `mass · 2⁶⁴`, and the largest word for masses of at least one.
fn fraction(mass: f64) -> u64 {
    // The cast saturates.
    (mass.max(0.0) * 18_446_744_073_709_551_616.0) as u64
}
