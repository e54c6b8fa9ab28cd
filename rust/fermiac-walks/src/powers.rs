//! Weights of visited nodes as powers, from a table.

use super::neighbour_degrees::{MANY, unpacked};
use super::target::Target;
use fermiac_base::simd::{LANES, V};

/// The weight of a node, (c / w)^-n for its pseudo-count and visits c and its target w.
///
/// Few nodes have many visits or neighbours, so that a table holds almost all weights that a walk
/// needs. Other weights are computed, with the same bits.
#[derive(Debug, Default)]
pub(super) struct Powers {
    /// Weights by degree, then by visits; NaN in the last column. Without degrees (a uniform target)
    /// there is one row.
    table: Vec<f64>,
    by_degree: bool,
    /// 1 / degree, below [`MANY`].
    inverses: Vec<f64>,
}

/// A view of the tables, with NaN for what they do not hold.
#[derive(Clone, Copy)]
pub(super) struct PowerView<'a> {
    table: &'a [f64],
    /// The bits of a degree that choose a row: all or none.
    mask: usize,
}

impl PowerView<'_> {
    /// The weight of a node of this degree after so many visits.
    #[inline(always)]
    pub(super) fn at(&self, degree: usize, visits: u64) -> f64 {
        let column = (visits as usize).min(VISITS - 1);
        let at = (degree & self.mask) * VISITS + column;
        self.table.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Writes the weights of the nodes in packed words, or the running sums of these if `SUMS`.
    /// Returns their sum, or NaN.
    ///
    /// It is a function of its own, as the loop needs all registers. It gains nothing by vectors.
    #[inline(never)]
    pub(super) fn weigh<T: Copy + Into<u64>, const SUMS: bool>(
        self,
        words: &[u32],
        counts: &[T],
        to: &mut [f64],
    ) -> f64 {
        let mut sum = 0.0;
        for (to, word) in to.iter_mut().zip(words) {
            let (node, degree) = unpacked(*word);
            let weight = self.at(degree, counts[node].into());
            if SUMS {
                sum += weight;
                *to = sum;
            } else {
                *to = weight;
            }
        }
        sum
    }
}

/// Columns of the table, one more than the visits that have one.
const VISITS: usize = 256;
/// Degrees of the nodes in the table, all of which words beside nodes can hold; it has at most
/// 256 KiB, of which a walk reads a few.
const DEGREES: usize = 128;
const _: () = assert!(DEGREES <= MANY as usize);
/// Powers are at most 2^±(28 · 33): sums of them neither overflow nor vanish.
const MOST: u32 = 28;
const SPAN: f64 = 4_294_967_296.0;

impl Powers {
    /// The table of a target and a strength, for nodes of degrees up to `largest`.
    pub(super) fn new(target: &Target, exponent: u32, largest: usize) -> Self {
        let n_degrees = if target.is_degree() { DEGREES.min(largest + 1) } else { 1 };
        let mut table = Vec::with_capacity(n_degrees * VISITS);
        for degree in 0..n_degrees {
            table.extend((1..VISITS as u64).map(|n| direct(target, exponent, degree, n - 1)));
            table.push(f64::NAN);
        }
        let inverses = (0..MANY).map(|degree| 1.0 / f64::from(degree)).collect();
        Self { table, by_degree: target.is_degree(), inverses }
    }

    /// The ratio of two degrees.
    #[inline(always)]
    pub(super) fn odds(&self, degree: usize, theirs: usize) -> f64 {
        let inverse = self.inverses.get(theirs).copied();
        degree as f64 * inverse.unwrap_or_else(|| 1.0 / theirs as f64)
    }

    /// Whether weights are powers that can be summed, for this target and strength.
    pub(super) fn fit(target: &Target, exponent: u32) -> bool {
        let pseudo = match target {
            Target::Uniform { pseudo } | Target::Degree { pseudo, .. } => *pseudo,
            Target::Table { .. } => return false,
        };
        exponent <= MOST && (1.0 / SPAN..=SPAN).contains(&pseudo)
    }

    /// The tables.
    #[inline(always)]
    pub(super) fn view(&self) -> PowerView<'_> {
        PowerView { table: &self.table, mask: if self.by_degree { usize::MAX } else { 0 } }
    }

    /// The weight of a node of this degree after so many visits.
    #[inline(always)]
    pub(super) fn weight(&self, target: &Target, exponent: u32, degree: usize, visits: u64) -> f64 {
        let known = self.view().at(degree, visits);
        if known.is_nan() { direct(target, exponent, degree, visits) } else { known }
    }
}

/// A weight that is not in the table.
#[inline(never)]
fn direct(target: &Target, exponent: u32, degree: usize, n: u64) -> f64 {
    // Targets that are tables have no powers, so that the node does not matter.
    power(1.0 / target.ratio(0, degree, n as f64), exponent)
}

/// A whole power, by squaring.
fn power(x: f64, exponent: u32) -> f64 {
    let (mut out, mut square, mut left) = (1.0, x, exponent);
    while left > 0 {
        if left & 1 == 1 {
            out *= square;
        }
        square *= square;
        left >>= 1;
    }
    out
}

/// The number of sums, in whole tiles, that are not above a bar: the outcome at which they pass it.
#[inline(always)]
pub(super) fn passed(sums: &[f64], bar: f64) -> usize {
    // As doubles, which vectors select and add up without a way through other registers.
    let mut counts = V::ZERO;
    for tile in sums.as_chunks::<LANES>().0 {
        let mut more = V::ZERO;
        for (more, sum) in more.0.iter_mut().zip(tile) {
            *more = if *sum <= bar { 1.0 } else { 0.0 };
        }
        counts = counts + more;
    }
    counts.sum() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_bits_of_what_is_computed() {
        let degree = Target::Degree { pseudo: 0.3, total: 100.0 };
        for target in [Target::Uniform { pseudo: 1.0 }, degree] {
            for exponent in [1, 5, MOST] {
                assert!(Powers::fit(&target, exponent));
                let (some, none) = (Powers::new(&target, exponent, 20), Powers::default());
                for at in [1, 7, 20, 21, 5000] {
                    for n in [0, 1, 255, 256, u64::from(u32::MAX)] {
                        let one = some.weight(&target, exponent, at, n);
                        let two = none.weight(&target, exponent, at, n);
                        assert_eq!(one.to_bits(), two.to_bits());
                        assert!(one.is_normal(), "{target:?} {exponent} {at} {n}: {one}");
                        let ratio = target.ratio(0, at, n as f64);
                        let exact = ratio.powi(-(exponent as i32));
                        assert!((one / exact - 1.0).abs() < 1e-13);
                    }
                }
            }
        }
    }

    #[test]
    fn extreme_pseudo_counts_and_strengths_have_no_powers() {
        assert!(!Powers::fit(&Target::Uniform { pseudo: 1e-12 }, 1));
        assert!(!Powers::fit(&Target::Uniform { pseudo: 1e12 }, 1));
        assert!(!Powers::fit(&Target::Uniform { pseudo: 1.0 }, MOST + 1));
    }

    #[test]
    fn the_outcome_is_where_sums_pass_the_bar() {
        let mut sums = vec![f64::INFINITY; 24];
        (0..21).for_each(|k| sums[k] = (k + 1) as f64);
        for bar in [0.0, 0.5, 1.0, 8.0, 8.5, 20.9, 21.0, 30.0] {
            assert_eq!(passed(&sums, bar), (bar as usize).min(21));
        }
    }
}
