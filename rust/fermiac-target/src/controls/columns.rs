//! Columns of a regression on controls, given or made from polynomials by Stein's identity.

use fermiac_base::linalg::Rows;
use fermiac_base::simd::V;
use fermiac_base::{Error, Result};

/// Control variates of a sample: functions whose mean under its law is zero.
#[derive(Debug, Clone, Copy)]
pub enum Controls<'a> {
    /// No controls: a plain weighted average.
    None,
    /// The values of the controls, one row per point.
    Given(Rows<'a>),
    /// ΔP + ∇P · ∇ ln p for every polynomial P up to a degree; its mean is zero if p ∇P vanishes at
    /// the bounds.
    ///
    /// References: A. Mira, R. Solgi, D. Imparato (2013), "Zero variance Markov chain Monte Carlo
    /// for Bayesian estimators", Statistics and Computing 23; L. F. South, C. J. Oates, A. Mira,
    /// C. Drovandi (2023), "Regularized zero-variance control variates", Bayesian Analysis 18(3).
    Stein {
        /// The points.
        points: Rows<'a>,
        /// The gradients of the log-density at the points.
        gradients: Rows<'a>,
        /// The degree of the polynomials, at least 1.
        degree: usize,
    },
}

/// A source of columns for tiles of eight rows.
pub(super) enum Columns<'a> {
    Given(Rows<'a>),
    Stein(Stein<'a>),
}

impl<'a> Columns<'a> {
    /// Returns the number of columns; `None` if it overflows.
    pub(super) fn count(controls: Controls<'a>) -> Option<usize> {
        match controls {
            Controls::None => Some(0),
            Controls::Given(rows) => Some(rows.dim()),
            Controls::Stein { points, degree, .. } => {
                // C(d + Q, Q) - 1; every partial product is a binomial coefficient itself.
                let all = (1..=degree)
                    .try_fold(1_usize, |c, q| Some(c.checked_mul(points.dim() + q)? / q))?;
                Some(all - 1)
            }
        }
    }

    /// Returns the columns; polynomials use `centre` and `scale` of the coordinates.
    pub(super) fn new(controls: Controls<'a>, centre: &[f64], scale: &[f64]) -> Result<Self> {
        match controls {
            Controls::None => Ok(Self::Given(Rows::new(&[], 1))),
            Controls::Given(rows) => Ok(Self::Given(rows)),
            Controls::Stein { points, gradients, degree } => {
                if degree == 0 {
                    return Err(Error::argument("degree", "0 was given; at least 1 is needed"));
                }
                Ok(Self::Stein(Stein {
                    points,
                    gradients,
                    degree,
                    centre: centre.to_vec(),
                    scale: scale.to_vec(),
                    monomials: monomials(points.dim(), degree),
                }))
            }
        }
    }

    /// Returns the number of the first `n` columns whose mean can be tested against zero: polynomials
    /// above the second degree have such long tails that their averages are skewed.
    pub(super) fn testable(&self, n: usize) -> usize {
        match self {
            Self::Given(_) => n,
            Self::Stein(stein) => n.min(stein.centre.len() * (stein.centre.len() + 3) / 2),
        }
    }

    /// Appends the columns of `lanes` rows from `first` on.
    #[inline(always)]
    pub(super) fn push(
        &self,
        n: usize,
        first: usize,
        lanes: usize,
        work: &mut Work,
        y: &mut Vec<V>,
    ) {
        match self {
            Self::Given(rows) => (0..n).for_each(|j| y.push(gather(*rows, first, lanes, j))),
            Self::Stein(stein) => stein.push(first, lanes, work, y),
        }
    }
}

/// Returns column `j` of `lanes` rows from `first` on; the other lanes are 0.
#[inline(always)]
pub(super) fn gather(rows: Rows<'_>, first: usize, lanes: usize, j: usize) -> V {
    let mut out = V::ZERO;
    for l in 0..lanes {
        out.0[l] = rows.row(first + l)[j];
    }
    out
}

/// Buffers that the tiles of one chunk share.
#[derive(Default)]
pub(super) struct Work {
    /// Power k of coordinate j at `j (degree + 1) + k`.
    powers: Vec<V>,
    /// The score in the scaled coordinates.
    score: Vec<V>,
}

pub(super) struct Stein<'a> {
    points: Rows<'a>,
    gradients: Rows<'a>,
    degree: usize,
    centre: Vec<f64>,
    scale: Vec<f64>,
    /// The factors of each monomial as (coordinate, exponent ≥ 1).
    monomials: Vec<Vec<(usize, usize)>>,
}

impl Stein<'_> {
    /// In z = (x - centre) / scale the score is scale · ∇ ln p. The polynomials in z up to a degree
    /// are those in x, so that centre and scale change the conditioning and not the space.
    #[inline(always)]
    fn push(&self, first: usize, lanes: usize, work: &mut Work, y: &mut Vec<V>) {
        work.powers.clear();
        work.score.clear();
        for j in 0..self.points.dim() {
            let x = gather(self.points, first, lanes, j);
            let z = (x - V::splat(self.centre[j])) / V::splat(self.scale[j]);
            let mut power = V::splat(1.0);
            work.powers.push(power);
            for _ in 0..self.degree {
                power = power * z;
                work.powers.push(power);
            }
            let g = gather(self.gradients, first, lanes, j);
            work.score.push(g * V::splat(self.scale[j]));
        }
        let power = |j: usize, k: usize| work.powers[j * (self.degree + 1) + k];
        for monomial in &self.monomials {
            let mut sum = V::ZERO;
            for (i, &(coordinate, a)) in monomial.iter().enumerate() {
                // From powers: the monomial cannot be divided by a coordinate that may be 0.
                let mut term = power(coordinate, a - 1) * work.score[coordinate];
                if a > 1 {
                    term = term + power(coordinate, a - 2) * V::splat((a - 1) as f64);
                }
                term = term * V::splat(a as f64);
                for (k, &(other, b)) in monomial.iter().enumerate() {
                    if k != i {
                        term = term * power(other, b);
                    }
                }
                sum = sum + term;
            }
            y.push(sum);
        }
    }
}

/// Returns all monomials of `dim` variables with degrees from 1 to `degree`, by degree.
fn monomials(dim: usize, degree: usize) -> Vec<Vec<(usize, usize)>> {
    let mut all = Vec::new();
    let mut last: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
    for _ in 0..degree {
        let mut next = Vec::new();
        for monomial in &last {
            // One more factor, the last variable or a later one, so that each product arises once.
            let from = monomial.last().map_or(0, |(j, _)| *j);
            for j in from..dim {
                let mut longer = monomial.clone();
                match longer.last_mut() {
                    Some((k, a)) if *k == j => *a += 1,
                    _ => longer.push((j, 1)),
                }
                next.push(longer);
            }
        }
        all.extend(next.iter().cloned());
        last = next;
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_monomial_arises_once() {
        let count = |dim, degree| {
            let zeros = vec![0.0; dim];
            let rows = Rows::new(&zeros, dim);
            Columns::count(Controls::Stein { points: rows, gradients: rows, degree }).unwrap()
        };
        for (dim, degree, n) in [(1, 3, 3), (2, 2, 5), (3, 2, 9), (4, 3, 34)] {
            let all = monomials(dim, degree);
            assert_eq!((all.len(), count(dim, degree)), (n, n));
            for (i, a) in all.iter().enumerate() {
                assert!(!all[..i].contains(a), "{a:?} twice");
                assert!((1..=degree).contains(&a.iter().map(|(_, e)| e).sum::<usize>()));
            }
        }
    }

    #[test]
    fn columns_are_the_stein_operator_of_the_monomials() {
        // At z = (2, -3) (and at 0) with score (0.5, 7): x₀, x₁, x₀², x₀x₁, x₁².
        let (points, gradients) = ([2.0, -3.0, 0.0, 0.0], [0.5, 7.0, 1.0, -1.0]);
        let controls = Controls::Stein {
            points: Rows::new(&points, 2),
            gradients: Rows::new(&gradients, 2),
            degree: 2,
        };
        let columns = Columns::new(controls, &[0.0; 2], &[1.0; 2]).unwrap();
        let mut y = Vec::new();
        columns.push(5, 0, 2, &mut Work::default(), &mut y);
        let of = |l: usize| y.iter().map(|v| v.0[l]).collect::<Vec<f64>>();
        assert_eq!(of(0), [0.5, 7.0, 2.0 + 2.0 * 2.0 * 0.5, -3.0 * 0.5 + 2.0 * 7.0, 2.0 - 42.0]);
        assert_eq!(of(1), [1.0, -1.0, 2.0, 0.0, 2.0]);
    }
}
