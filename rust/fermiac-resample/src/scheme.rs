//! Schemes: how the weights of the observations are drawn in each replicate.

use crate::binomial::Binomial;
use fermiac_base::alloc::vec_of;
use fermiac_base::par::{PAUSE_EVERY, pause};
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};

/// Words that are drawn at once, so that they stay in the cache.
const WORDS: usize = 2048;

/// The law of the weights of the units of a stratum, which sum to the number of draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Counts of draws with replacement.
    Counts,
    /// n E / ΣE with exponential E, the Bayesian bootstrap.
    Dirichlet,
    /// Counts of blocks of geometric lengths on a circle (Politis, Romano 1994).
    Stationary {
        /// The mean length.
        mean: f64,
    },
}

/// The units that are drawn: observations or clusters of them, within strata.
#[derive(Debug, Clone)]
pub struct Scheme {
    law: Law,
    /// The first unit of each stratum, and the number of units.
    strata: Vec<usize>,
    /// The draws from each stratum.
    draws: Vec<usize>,
    /// The probabilities of the units of each stratum; equal ones where there are none.
    shares: Option<Vec<f64>>,
    /// With probabilities the laws of counts of each stratum's first units.
    cells: Vec<Cells>,
    members: Members,
    n: usize,
}

#[derive(Debug, Clone)]
enum Members {
    /// Unit i is observation i.
    Same,
    /// Unit i is this observation.
    One(Vec<u32>),
    /// The observations of all units, and where those of each begin.
    Many(Vec<u32>, Vec<usize>),
}

/// The weights of a replicate, and buffers that replicates share.
#[derive(Debug)]
pub struct Draw {
    /// The weights of the observations.
    pub weights: Vec<f64>,
    units: Vec<f64>,
    counts: Vec<u32>,
    words: Vec<u64>,
    /// The blocks of neighbours: the first unit within its stratum, and the length; and how many
    /// there are up to the end of each stratum.
    blocks: Vec<(usize, usize)>,
    ends: Vec<usize>,
}

/// Calls `take` with `n` numbers below `size`, drawn by blocks.
#[inline(always)]
fn each_below(
    stream: &mut Stream,
    words: &mut Vec<u64>,
    size: usize,
    n: usize,
    mut take: impl FnMut(usize),
) {
    let mut left = n;
    while left > 0 {
        let now = left.min(WORDS);
        words.resize(now, 0);
        stream.fill_u64(words);
        for word in &*words {
            // The bias is below size / 2⁶⁴.
            take(((u128::from(*word) * size as u128) >> 64) as usize);
        }
        left -= now;
        pause();
    }
}

/// Calls `take` with the units of a block, the first of which follows the last one.
#[inline(always)]
fn neighbours(start: usize, length: usize, size: usize, mut take: impl FnMut(usize)) {
    let mut at = start;
    for _ in 0..length {
        take(at);
        at = if at + 1 < size { at + 1 } else { 0 };
    }
}

/// Calls `take` with the first unit and the length of each block of a stratum of `size`, until there
/// are `n` units.
#[inline(always)]
fn each_block(
    stream: &mut Stream,
    mean: f64,
    size: usize,
    n: usize,
    mut take: impl FnMut(usize, usize),
) {
    let end = 1.0 / mean;
    let (mut start, mut length) = (stream.below(size as u64) as usize, 0);
    for k in 0..n {
        if k.is_multiple_of(PAUSE_EVERY) {
            pause();
        }
        length += 1;
        if stream.uniform() < end {
            take(start, length);
            (start, length) = (stream.below(size as u64) as usize, 0);
        }
    }
    if length > 0 {
        take(start, length);
    }
}

/// The laws of counts that all replicates share: that of the first unit, and those of the second one
/// for each number of draws that the first one leaves.
#[derive(Debug, Clone)]
struct Cells {
    first: Binomial,
    second: Vec<Binomial>,
    /// The least number that the first unit leaves.
    least: usize,
}

impl Cells {
    fn new(n: usize, shares: &[f64]) -> Self {
        let first = Binomial::of_many(n, shares[0].clamp(0.0, 1.0));
        let (mut second, mut least) = (Vec::new(), 0);
        if let (Some((low, high)), Some(own)) = (first.counts(), shares.get(1)) {
            let share = (own / (1.0 - shares[0])).clamp(0.0, 1.0);
            least = n - high;
            second =
                (least..=n - low).map(|left| Binomial::new(left, share).with_fixed()).collect();
        }
        Self { first, second, least }
    }
}

/// Fills `counts` with those of `n` draws, each unit given what the ones before it left.
fn multinomial(stream: &mut Stream, n: usize, cells: &Cells, shares: &[f64], counts: &mut [u32]) {
    let (mut left, mut share) = (n, 1.0);
    let last = shares.iter().rposition(|s| *s > 0.0).unwrap_or(0);
    for (k, (count, own)) in counts.iter_mut().zip(shares).enumerate() {
        let drawn = if k == last {
            left
        } else if k == 0 {
            cells.first.draw(stream)
        } else if let (1, Some(law)) = (k, cells.second.get(left.wrapping_sub(cells.least))) {
            law.draw(stream)
        } else {
            Binomial::new(left, (own / share).clamp(0.0, 1.0)).draw(stream)
        };
        *count = drawn as u32;
        left -= drawn;
        share -= own;
    }
}

impl Scheme {
    /// `strata` has the first unit of each stratum, and the number of units at its end. Unit i has
    /// the observations `members[starts[i]..starts[i + 1]]`, or `members[i]` alone without `starts`,
    /// or observation i without `members`. There are `n` observations.
    pub fn new(
        law: Law,
        strata: Vec<usize>,
        members: Option<Vec<u32>>,
        starts: Option<Vec<usize>>,
        n: usize,
    ) -> Result<Self> {
        let units = strata.last().copied().unwrap_or(0);
        let wrong = |why: &str| Err(Error::Internal(format!("a scheme with {why}")));
        if strata.len() < 2 || strata[0] != 0 || strata.windows(2).any(|s| s[0] >= s[1]) {
            return wrong("empty strata");
        }
        if u32::try_from(n).is_err() {
            let why = format!("{n} observations were given; fewer than 2^32 are needed");
            return Err(Error::argument("x", why));
        }
        let members = match (members, starts) {
            (None, _) if units == n => Members::Same,
            (Some(one), None) if one.len() == units => Members::One(one),
            (Some(many), Some(starts))
                if starts.len() == units + 1
                    && starts[0] == 0
                    && starts[units] == many.len()
                    && starts.windows(2).all(|s| s[0] <= s[1]) =>
            {
                Members::Many(many, starts)
            }
            _ => return wrong("members that do not fit"),
        };
        if let Members::One(list) | Members::Many(list, _) = &members
            && list.iter().any(|i| *i as usize >= n)
        {
            return wrong("members that are no observations");
        }
        if matches!(law, Law::Stationary { mean } if mean.is_nan() || mean < 1.0) {
            return wrong("empty blocks");
        }
        let draws = strata.windows(2).map(|s| s[1] - s[0]).collect();
        Ok(Self { law, strata, draws, shares: None, cells: Vec::new(), members, n })
    }

    /// The scheme with other numbers of draws from the strata, none of them 0.
    pub fn with_draws(self, draws: Vec<usize>) -> Result<Self> {
        if draws.len() != self.draws.len() || draws.contains(&0) || self.law == Law::Dirichlet {
            return Err(Error::Internal("a scheme with draws that do not fit".into()));
        }
        Ok(Self { draws, ..self })
    }

    /// The scheme of draws with probabilities of the units, which sum to 1 in each stratum. Such a
    /// unit stands for observations that are alike; its counts are binomial.
    pub fn with_shares(self, shares: Vec<f64>) -> Result<Self> {
        if self.law != Law::Counts
            || shares.len() != self.units()
            || shares.iter().any(|s| *s < 0.0)
        {
            return Err(Error::Internal("a scheme with probabilities that do not fit".into()));
        }
        let strata = self.strata.windows(2).zip(&self.draws);
        let cells = strata.map(|(s, n)| Cells::new(*n, &shares[s[0]..s[1]])).collect();
        Ok(Self { shares: Some(shares), cells, ..self })
    }

    /// Whether counts are drawn from probabilities of units.
    pub fn has_shares(&self) -> bool {
        self.shares.is_some()
    }

    /// The number of observations.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The number of units.
    pub fn units(&self) -> usize {
        self.strata[self.strata.len() - 1]
    }

    /// Whether the weights are whole numbers.
    pub fn is_whole(&self) -> bool {
        self.law != Law::Dirichlet
    }

    /// Returns the buffers of replicates.
    pub fn room(&self) -> Result<Draw> {
        Ok(Draw {
            weights: vec_of("x", 0.0, self.n)?,
            units: vec_of("x", 0.0, self.units())?,
            counts: vec_of("x", 0, self.units())?,
            words: Vec::new(),
            blocks: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Draws the weights of a replicate.
    pub fn draw(&self, stream: &mut Stream, draw: &mut Draw) {
        let Draw { units, counts, words, blocks, ends, .. } = draw;
        blocks.clear();
        ends.clear();
        if self.law == Law::Dirichlet {
            stream.fill_exponential(units);
            for s in self.strata.windows(2) {
                let stratum = &mut units[s[0]..s[1]];
                let share = stratum.len() as f64 / stratum.iter().sum::<f64>();
                stratum.iter_mut().for_each(|unit| *unit *= share);
            }
        } else {
            counts.fill(0);
            for (k, (s, n)) in self.strata.windows(2).zip(&self.draws).enumerate() {
                let stratum = &mut counts[s[0]..s[1]];
                if let Some(shares) = &self.shares {
                    multinomial(stream, *n, &self.cells[k], &shares[s[0]..s[1]], stratum);
                    continue;
                }
                if let Law::Stationary { mean } = self.law {
                    let size = stratum.len();
                    each_block(stream, mean, size, *n, |start, length| {
                        blocks.push((start, length));
                        neighbours(start, length, size, |i| stratum[i] += 1);
                    });
                    ends.push(blocks.len());
                    continue;
                }
                each_below(stream, words, stratum.len(), *n, |i| stratum[i] += 1);
            }
            for (unit, count) in units.iter_mut().zip(&*counts) {
                *unit = f64::from(*count);
            }
        }
        self.spread(draw);
    }

    /// Calls `take` with `n` drawn units of a stratum of `size`, in their order.
    #[inline(always)]
    fn each(
        &self,
        stream: &mut Stream,
        words: &mut Vec<u64>,
        size: usize,
        n: usize,
        mut take: impl FnMut(usize),
    ) {
        let Law::Stationary { mean } = self.law else {
            return each_below(stream, words, size, n, take);
        };
        each_block(stream, mean, size, n, |start, length| {
            neighbours(start, length, size, &mut take);
        });
    }

    /// Whether blocks of neighbours are drawn.
    fn is_of_blocks(&self) -> bool {
        matches!(self.law, Law::Stationary { .. })
    }

    /// Gives all units the weight 1.
    pub fn take_all(&self, draw: &mut Draw) {
        draw.units.fill(1.0);
        self.spread(draw);
    }

    /// Gives the units these weights.
    pub fn give(&self, weights: &[f64], draw: &mut Draw) {
        draw.units.copy_from_slice(weights);
        self.spread(draw);
    }

    /// Gives all units but one the weight 1, and that one 0.
    pub fn leave_out(&self, unit: usize, draw: &mut Draw) {
        draw.units.fill(1.0);
        draw.units[unit] = 0.0;
        self.spread(draw);
    }

    /// Sets the weights of the observations from those of their units.
    fn spread(&self, draw: &mut Draw) {
        let Draw { weights, units, .. } = draw;
        match &self.members {
            Members::Same => weights.copy_from_slice(units),
            Members::One(list) => {
                for (i, unit) in list.iter().zip(&*units) {
                    weights[*i as usize] = *unit;
                }
            }
            Members::Many(list, starts) => {
                for (bounds, unit) in starts.windows(2).zip(&*units) {
                    for i in &list[bounds[0]..bounds[1]] {
                        weights[*i as usize] = *unit;
                    }
                }
            }
        }
    }

    /// Writes the observations of a replicate, one after the other; clusters are written whole.
    pub fn draw_indices(&self, stream: &mut Stream, draw: &mut Draw, out: &mut Vec<i64>) {
        for (s, n) in self.strata.windows(2).zip(&self.draws) {
            self.each(stream, &mut draw.words, s[1] - s[0], *n, |i| match &self.members {
                Members::Same => out.push((s[0] + i) as i64),
                Members::One(list) => out.push(i64::from(list[s[0] + i])),
                Members::Many(list, starts) => {
                    let bounds = starts[s[0] + i]..starts[s[0] + i + 1];
                    out.extend(list[bounds].iter().map(|i| i64::from(*i)));
                }
            });
        }
    }

    /// Whether observations are drawn one by one from a single stratum.
    pub fn is_plain(&self) -> bool {
        self.draws.len() == 1
            && !matches!(self.members, Members::Many(..))
            && matches!(self.law, Law::Counts | Law::Dirichlet)
    }

    /// Whether observations are drawn one by one from two samples, the first one before the second.
    pub fn is_of_two(&self) -> bool {
        self.draws.len() == 2
            && matches!(self.members, Members::Same)
            && matches!(self.law, Law::Counts | Law::Dirichlet)
            && self.shares.is_none()
    }

    /// The standard error of a statistic in a plain scheme from Σ w U², for influences U with
    /// Σ w U = 0.
    pub fn plain_stderr(&self, squares: f64) -> f64 {
        let n = self.draws[0] as f64;
        (squares.max(0.0) * (n / (n - 1.0).max(1.0))).sqrt()
    }

    /// The standard error of a statistic at the drawn weights, from the influence of each
    /// observation: √Σ n/(n-1) Σ w (U - Ū)² over strata of n draws with influences U. Of blocks it is
    /// √Σ b/(b-1) Σ (S - l Ū)² over b blocks of l units with sums S of influences.
    pub fn stderr(&self, draw: &Draw, influence: &[f64]) -> f64 {
        let mut variance = 0.0;
        if self.is_of_blocks() {
            let mut from = 0;
            for ((s, n), end) in self.strata.windows(2).zip(&self.draws).zip(&draw.ends) {
                let value = |i: usize| match &self.members {
                    Members::One(list) => influence[list[s[0] + i] as usize],
                    _ => influence[s[0] + i],
                };
                variance += of_blocks(&draw.blocks[from..*end], s[1] - s[0], *n, value);
                from = *end;
            }
            return variance.sqrt();
        }
        for (s, n) in self.strata.windows(2).zip(&self.draws) {
            let (first, n) = (s[0], *n as f64);
            let weights = &draw.units[s[0]..s[1]];
            let (sum, squares) = match &self.members {
                Members::Same => sums(weights, |i| influence[first + i]),
                Members::One(list) => sums(weights, |i| influence[list[first + i] as usize]),
                Members::Many(list, starts) => sums(weights, |i| {
                    let members = &list[starts[first + i]..starts[first + i + 1]];
                    members.iter().map(|i| influence[*i as usize]).sum()
                }),
            };
            variance += (squares - sum * sum / n).max(0.0) * (n / (n - 1.0).max(1.0));
        }
        variance.sqrt()
    }
}

/// The variance of the sum of `n` values in blocks from a stratum of `size`.
fn of_blocks(
    blocks: &[(usize, usize)],
    size: usize,
    n: usize,
    value: impl Fn(usize) -> f64,
) -> f64 {
    // The sums of the values before each place.
    let mut sums = Vec::with_capacity(size + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for i in 0..size {
        sum += value(i);
        sums.push(sum);
    }
    let upto = |end: usize| (end / size) as f64 * sum + sums[end % size];
    let of = |(start, length): (usize, usize)| upto(start + length) - upto(start);
    let mean = blocks.iter().map(|b| of(*b)).sum::<f64>() / n as f64;
    let squares: f64 = blocks.iter().map(|b| (of(*b) - b.1 as f64 * mean).powi(2)).sum();
    let count = blocks.len() as f64;
    squares * count / (count - 1.0).max(1.0)
}

/// (Σ w u, Σ w u²), in four interleaved parts.
#[inline(always)]
fn sums(weights: &[f64], value: impl Fn(usize) -> f64) -> (f64, f64) {
    let (mut one, mut two) = ([0.0; 4], [0.0; 4]);
    let (groups, rest) = weights.as_chunks::<4>();
    for (g, group) in groups.iter().enumerate() {
        for l in 0..4 {
            let u = value(4 * g + l);
            one[l] += group[l] * u;
            two[l] += group[l] * u * u;
        }
    }
    for (k, w) in rest.iter().enumerate() {
        let u = value(4 * groups.len() + k);
        one[k] += w * u;
        two[k] += w * u * u;
    }
    (one.iter().sum(), two.iter().sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fermiac_base::rng::Domain;

    #[test]
    fn indices_and_weights_are_of_one_draw() {
        let schemes = [
            Scheme::new(Law::Counts, vec![0, 7], None, None, 7).unwrap(),
            Scheme::new(Law::Counts, vec![0, 3, 7], Some(vec![6, 0, 2, 1, 3, 4, 5]), None, 7)
                .unwrap(),
            Scheme::new(
                Law::Counts,
                vec![0, 3],
                Some(vec![0, 1, 2, 3, 4, 5, 6]),
                Some(vec![0, 2, 3, 7]),
                7,
            )
            .unwrap(),
            Scheme::new(Law::Counts, vec![0, 3, 7], None, None, 7)
                .unwrap()
                .with_draws(vec![2, 1])
                .unwrap(),
            Scheme::new(Law::Stationary { mean: 2.5 }, vec![0, 7], None, None, 7).unwrap(),
        ];
        for scheme in schemes {
            let mut draw = scheme.room().unwrap();
            for b in 0..20 {
                scheme.draw(&mut Stream::new(1, Domain::User, b, 0), &mut draw);
                let mut indices = Vec::new();
                let mut stream = Stream::new(1, Domain::User, b, 0);
                scheme.draw_indices(&mut stream, &mut scheme.room().unwrap(), &mut indices);
                let mut counts = vec![0.0; 7];
                indices.iter().for_each(|i| counts[*i as usize] += 1.0);
                assert_eq!(counts, draw.weights);
            }
        }
    }

    #[test]
    fn errors_of_blocks_are_those_of_their_sums() {
        let u: Vec<f64> = (0..9).map(|i| f64::from(i * i % 5) - 1.5).collect();
        for mean in [1.0, 2.5, 4.0] {
            let scheme = Scheme::new(Law::Stationary { mean }, vec![0, 9], None, None, 9).unwrap();
            let mut draw = scheme.room().unwrap();
            for b in 0..20 {
                scheme.draw(&mut Stream::new(1, Domain::User, b, 0), &mut draw);
                let sums: Vec<(f64, f64)> = (draw.blocks.iter())
                    .map(|(s, l)| ((0..*l).map(|k| u[(s + k) % 9]).sum(), *l as f64))
                    .collect();
                let mean = sums.iter().map(|s| s.0).sum::<f64>() / 9.0;
                assert_eq!(sums.iter().map(|s| s.1).sum::<f64>(), 9.0);
                let squares: f64 = sums.iter().map(|(s, l)| (s - l * mean).powi(2)).sum();
                let count = sums.len() as f64;
                let expected = (squares * count / (count - 1.0).max(1.0)).sqrt();
                assert!((scheme.stderr(&draw, &u) - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn stationary_blocks_have_their_mean_length() {
        let scheme =
            Scheme::new(Law::Stationary { mean: 4.0 }, vec![0, 1000], None, None, 1000).unwrap();
        let (mut indices, mut ends) = (Vec::new(), 0);
        for b in 0..200 {
            indices.clear();
            let mut stream = Stream::new(2, Domain::User, b, 0);
            scheme.draw_indices(&mut stream, &mut scheme.room().unwrap(), &mut indices);
            ends += indices.windows(2).filter(|p| p[1] != (p[0] + 1) % 1000).count();
        }
        // 199,800 steps; a new start is the next unit in one case of a thousand.
        let expected = 199_800.0 * 0.25 * 0.999;
        assert!((f64::from(ends as u32) - expected).abs() < 5.0 * (expected * 0.75).sqrt());
    }

    #[test]
    fn bayesian_weights_sum_to_the_number() {
        let scheme = Scheme::new(Law::Dirichlet, vec![0, 2, 5], None, None, 5).unwrap();
        let mut draw = scheme.room().unwrap();
        scheme.draw(&mut Stream::new(1, Domain::User, 0, 0), &mut draw);
        assert!((draw.weights[..2].iter().sum::<f64>() - 2.0).abs() < 1e-14);
        assert!((draw.weights[2..].iter().sum::<f64>() - 3.0).abs() < 1e-14);
    }
}
