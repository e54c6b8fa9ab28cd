//! Many posteriors at once: equal rows are computed once, the others on all threads.

use super::region::{Measure, Posterior};
use crate::Direction;
use fermiac_base::Result;
use fermiac_base::alloc::room;
use fermiac_base::par::Context;
use fermiac_base::simd::exp;
use fermiac_base::special::IncompleteBeta;
use std::collections::HashMap;

/// The function of each posterior that is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// P(≤ value).
    Lower,
    /// P(> value).
    Upper,
    /// ln P(≤ value).
    LnLower,
    /// ln P(> value).
    LnUpper,
    /// The logarithm of the density at the value.
    LnDensity,
    /// The point with this probability at or below it.
    Quantile,
    /// The point with this probability above it.
    UpperQuantile,
    /// The ends of the shortest interval with this probability: two columns.
    Shortest,
    /// Mean, variance and the total probability of the quadrature: three columns.
    Moments,
    /// The mode of the continuous part.
    Mode,
    /// The distribution function, and how it changes with twice as many nodes: two columns.
    Refined,
}

impl Query {
    /// Numbers for each row.
    pub fn width(self) -> usize {
        match self {
            Self::Shortest | Self::Refined => 2,
            Self::Moments => 3,
            Self::Lower
            | Self::Upper
            | Self::LnLower
            | Self::LnUpper
            | Self::LnDensity
            | Self::Quantile
            | Self::UpperQuantile
            | Self::Mode => 1,
        }
    }

    fn answer(self, posterior: &Posterior, value: f64, out: &mut Vec<f64>) {
        let below = value < 0.0;
        match self {
            // All probability is at 0 and above.
            Self::Lower | Self::Refined if below => out.extend(&[0.0; 2][..self.width()]),
            Self::LnLower if below => out.push(f64::NEG_INFINITY),
            Self::Upper if below => out.push(1.0),
            Self::LnUpper if below => out.push(0.0),
            Self::Lower => out.push(exp(posterior.tails(value).ln_lower)),
            Self::Upper => out.push(exp(posterior.tails(value).ln_upper)),
            Self::LnLower => out.push(posterior.tails(value).ln_lower),
            Self::LnUpper => out.push(posterior.tails(value).ln_upper),
            Self::LnDensity => out.push(posterior.ln_density(value)),
            Self::Quantile => out.push(posterior.quantile(value)),
            Self::UpperQuantile => out.push(posterior.upper_quantile(value)),
            Self::Shortest => {
                let (low, high) = posterior.shortest(value);
                out.extend([low, high]);
            }
            Self::Moments => {
                let m = posterior.moments();
                out.extend([m.mean, m.variance, m.total]);
            }
            Self::Mode => out.push(posterior.mode()),
            Self::Refined => {
                let coarse = exp(posterior.tails(value).ln_lower);
                let fine = exp(posterior.refined(2.0).tails(value).ln_lower);
                out.extend([coarse, fine - coarse]);
            }
        }
    }
}

/// The measure of privacy; the number that it is given at comes with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Epsilon, at a delta.
    Epsilon,
    /// Delta, at an epsilon.
    Delta,
    /// Mu of Gaussian differential privacy; the number is not used.
    Mu,
}

/// Rows of one chunk: some tenths of a second at most.
const ROWS: usize = 64;

/// The answers, [`Query::width`] numbers for each of `n` rows. A row has the parameters (a, b) of
/// the laws of the rates of false negatives and of false positives, the number that the measure is
/// given at, and the value or probability that is asked for.
pub fn evaluate(
    row: impl Fn(usize) -> [f64; 6],
    n: usize,
    kind: Kind,
    direction: Direction,
    query: Query,
    context: &Context<'_>,
) -> Result<Vec<f64>> {
    let mut known = HashMap::new();
    let mut distinct: Vec<[f64; 6]> = Vec::new();
    let mut place = room("n", n)?;
    for i in 0..n {
        let row = row(i);
        place.push(*known.entry(row.map(f64::to_bits)).or_insert_with(|| {
            distinct.push(row);
            distinct.len() - 1
        }));
    }
    let width = query.width();
    context.set_total(distinct.len() as u64);
    let mut answers = Vec::with_capacity(distinct.len() * width);
    context.ordered(
        distinct.len().div_ceil(ROWS),
        |chunk| {
            let rows = &distinct[chunk * ROWS..distinct.len().min((chunk + 1) * ROWS)];
            let mut out = Vec::with_capacity(rows.len() * width);
            for &[a, b, c, d, given, value] in rows {
                if given.is_nan() || value.is_nan() {
                    out.extend(std::iter::repeat_n(f64::NAN, width));
                    continue;
                }
                let (fnr, fpr) = (IncompleteBeta::new(a, b), IncompleteBeta::new(c, d));
                let measure = match kind {
                    Kind::Epsilon => Measure::Epsilon(given),
                    Kind::Delta => Measure::Delta(given),
                    Kind::Mu => Measure::Mu,
                };
                query.answer(&Posterior::new(fnr, fpr, measure, direction), value, &mut out);
            }
            Ok(out)
        },
        |_, out| {
            context.advance((out.len() / width) as u64);
            answers.extend(out);
            Ok(())
        },
    )?;
    if distinct.len() == n {
        return Ok(answers);
    }
    Ok(place.iter().flat_map(|&k| &answers[k * width..(k + 1) * width]).copied().collect())
}
