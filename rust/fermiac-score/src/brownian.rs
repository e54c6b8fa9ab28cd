//! Brownian paths: noise of integrators that does not depend on the grid.
//!
//! The path W runs in v = s², the variance of the noise, as it does in the reverse stochastic
//! equation dy = -2 s ∇log p ds + dW(s²). The noise of a step between levels a > b is
//! W(a²) - W(b²), of variance a² - b², and a refined grid has the same path. The path is a tree of
//! Brownian bridges (P. Lévy (1948), "Processus stochastiques et mouvement brownien") over equal
//! parts of log s: bisected in v it would be too coarse at small s. Each node has an address, so
//! that intervals can be evaluated in any order.

use super::noise::{Purpose, stream};
use fermiac_base::simd::{exp, ln};
use fermiac_base::special::expm1;
use fermiac_base::{Error, Result};

/// The deepest tree: its nodes have 32-bit numbers.
const MAX_DEPTH: u32 = 31;
/// The tolerance of levels at the ends of the path, for rounding.
const SLACK: f64 = 1e-9;

/// A Brownian path for every row, with independent coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brownian {
    key: u64,
    log_low: f64,
    log_high: f64,
    dim: usize,
    depth: u32,
    /// Levels of the tree whose nodes share an address.
    height: u32,
}

/// An increment of the paths between two levels: a weighted sum over nodes of the tree, the same
/// for all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Increment {
    terms: Vec<Term>,
}

/// A node's share of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    address: u32,
    /// The position of its normal numbers at the address, in units of the dimension.
    offset: usize,
    weight: f64,
}

impl Brownian {
    /// Paths between levels `low` and `high`. Levels are rounded to 2^k equal parts of log s, each
    /// at most `tolerance`. Increments are standard normal and independent, and those of a coarse
    /// grid are sums of those of a fine one.
    pub fn new(key: u64, low: f64, high: f64, dim: usize, tolerance: f64) -> Result<Self> {
        if !(low > 0.0 && low < high && high.is_finite()) {
            let why = format!("the path runs from {low} to {high}; 0 < low < high is needed");
            return Err(Error::argument("levels", why));
        }
        if dim == 0 {
            return Err(Error::argument("dim", "0 was given; at least 1 is needed"));
        }
        let (log_low, log_high) = (ln(low), ln(high));
        let parts = ((log_high - log_low) / tolerance).log2().ceil().max(0.0);
        if !(tolerance > 0.0 && parts <= f64::from(MAX_DEPTH)) {
            let least = (log_high - log_low) / f64::from(1u32 << MAX_DEPTH);
            let why = format!("{tolerance} was given; at least {least:.3e} is needed");
            return Err(Error::argument("tolerance", why));
        }
        // An address costs as much as some 15 normal numbers. It holds 2^height - 1 of them for
        // each coordinate, of which `height` are used.
        let height = match dim {
            1..=3 => 3,
            4..=12 => 2,
            _ => 1,
        };
        Ok(Self { key, log_low, log_high, dim, depth: parts as u32, height })
    }

    /// The increment W(high²) - W(low²), divided by its standard deviation.
    pub fn between(&self, high: f64, low: f64) -> Result<Increment> {
        let (a, b) = (self.place(low)?, self.place(high)?);
        if a >= b {
            let why = format!(
                "the Brownian path was asked for its increment from {high} down to {low}; levels \
                 that fall by more than the tolerance, {:.3e} in log s, are needed",
                self.part(1) - self.log_low
            );
            return Err(Error::argument("sigmas", why));
        }
        let (below, mut terms) = (self.descend(a), self.descend(b));
        let scale = self.variance(a, b).sqrt().recip();
        terms.iter_mut().for_each(|term| term.weight *= scale);
        for (i, y) in below.iter().enumerate() {
            let weight = -y.weight * scale;
            match terms.get_mut(i).filter(|x| (x.address, x.offset) == (y.address, y.offset)) {
                // The two descents separate once and never meet again.
                Some(x) => x.weight += weight,
                None => terms.push(Term { weight, ..*y }),
            }
        }
        terms.retain(|term| term.weight != 0.0);
        terms.sort_unstable_by_key(|term| (term.address, term.offset));
        Ok(Increment { terms })
    }

    /// Writes the increment of the path of a row, standard normal numbers; `room` is scratch memory.
    pub fn fill_with(&self, row: u64, increment: &Increment, out: &mut [f64], room: &mut Vec<f64>) {
        out.fill(0.0);
        for terms in increment.terms.chunk_by(|a, b| a.address == b.address) {
            room.resize((terms[terms.len() - 1].offset + 1) * self.dim, 0.0);
            stream(self.key, Purpose::Path, row, terms[0].address).fill_normal(room);
            for term in terms {
                let normals = &room[term.offset * self.dim..(term.offset + 1) * self.dim];
                out.iter_mut().zip(normals).for_each(|(to, z)| *to += term.weight * z);
            }
        }
    }

    /// The number of the end of a part nearest to a level.
    fn place(&self, level: f64) -> Result<u32> {
        let share = (ln(level) - self.log_low) / (self.log_high - self.log_low);
        if !(-SLACK..=1.0 + SLACK).contains(&share) {
            let why = format!(
                "level {level} lies beyond the Brownian path, which runs from {:.6e} to {:.6e}",
                exp(self.log_low),
                exp(self.log_high)
            );
            return Err(Error::argument("sigmas", why));
        }
        Ok((share * f64::from(1u32 << self.depth)).round() as u32)
    }

    /// log s at the end of part `i`.
    fn part(&self, i: u32) -> f64 {
        let share = f64::from(i) / f64::from(1u32 << self.depth);
        self.log_low + share * (self.log_high - self.log_low)
    }

    /// The variance of the path between the ends of two parts.
    fn variance(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (self.part(a), self.part(b));
        exp(2.0 * a) * expm1(2.0 * (b - a))
    }

    /// The path at the end of part `at`, with value 0 at `low`: the nodes of the descent and their
    /// weights. Node 0 gives the value at `high`; node k ≥ 1 bisects an interval, whose halves are
    /// bisected by 2 k and 2 k + 1.
    fn descend(&self, at: u32) -> Vec<Term> {
        let (mut left, mut right) = (0, 1u32 << self.depth);
        // Weights of the nodes so far in the values at both ends.
        let mut nodes = vec![0u32];
        let mut left_weights = vec![0.0];
        let mut right_weights = vec![self.variance(left, right).sqrt()];
        let mut node = 1;
        while at != left && at != right {
            let middle = left + (right - left) / 2;
            let (below, above) = (self.variance(left, middle), self.variance(middle, right));
            let share = below / (below + above);
            let mut weights: Vec<f64> = left_weights
                .iter()
                .zip(&right_weights)
                .map(|(l, r)| l * (1.0 - share) + r * share)
                .collect();
            nodes.push(node);
            weights.push((below * (1.0 - share)).sqrt());
            if at < middle {
                (right, right_weights) = (middle, weights);
                left_weights.push(0.0);
                node *= 2;
            } else {
                (left, left_weights) = (middle, weights);
                right_weights.push(0.0);
                node = 2 * node + 1;
            }
        }
        let weights = if at == left { left_weights } else { right_weights };
        nodes.into_iter().zip(weights).map(|(node, weight)| self.term(node, weight)).collect()
    }

    /// The address of a node: that of the highest node of its part of the tree.
    fn term(&self, node: u32, weight: f64) -> Term {
        let level = node.checked_ilog2().map_or(0, |level| level % self.height);
        let inside = node & ((1 << level) - 1);
        Term { address: node >> level, offset: ((1 << level) - 1 + inside) as usize, weight }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn increments_have_unit_variance_and_are_independent_by_their_weights() {
        for dim in [1, 4, 1000] {
            let path = Brownian::new(1, 0.01, 50.0, dim, 1e-6).unwrap();
            let levels = [50.0, 13.0, 12.9, 2.0, 0.7, 0.69, 0.02, 0.01];
            let all: Vec<_> =
                levels.windows(2).map(|w| path.between(w[0], w[1]).unwrap().terms).collect();
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate() {
                    let other = |x: &Term| {
                        b.iter().find(|y| (x.address, x.offset) == (y.address, y.offset))
                    };
                    let covariance: f64 =
                        a.iter().filter_map(|x| Some(x.weight * other(x)?.weight)).sum();
                    let wanted = f64::from(u8::from(i == j));
                    assert!((covariance - wanted).abs() < 1e-9, "{i} {j}: {covariance}");
                }
            }
        }
    }

    #[test]
    fn nodes_have_places_of_their_own() {
        let path = Brownian::new(1, 0.01, 50.0, 2, 1e-6).unwrap();
        let mut seen: Vec<_> = (0..4096)
            .map(|node| {
                let term = path.term(node, 1.0);
                assert!(term.offset < 7);
                (term.address, term.offset)
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4096);
    }

    #[test]
    fn what_lies_beyond_the_path_is_refused() {
        let path = Brownian::new(1, 0.1, 10.0, 2, 1e-6).unwrap();
        for (high, low) in [(10.1, 1.0), (1.0, 0.09), (1.0, 1.0), (1.0, 2.0), (f64::NAN, 1.0)] {
            assert!(path.between(high, low).is_err());
        }
        assert!(Brownian::new(1, 0.0, 1.0, 1, 1e-6).is_err());
        assert!(Brownian::new(1, 0.1, 1.0, 1, 1e-12).is_err());
    }
}
