//! G(n, m): uniform random graphs of n nodes and m edges.

use super::permutation::Permutation;
use super::{Model, Pair, check_nodes, in_tasks};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// Pairs of different nodes that an edge can join.
pub fn pairs_of(n: u64, directed: bool) -> u64 {
    let ordered = u128::from(n) * u128::from(n.saturating_sub(1));
    (if directed { ordered } else { ordered / 2 }) as u64
}

/// The edges `from` to `to` of a graph of `n` nodes and `m` different edges, none of them a loop.
///
/// They are the first m of all pairs in the order of a keyed permutation, so that any part of the
/// list can be computed alone.
pub fn erdos_renyi(
    n: u64,
    m: u64,
    directed: bool,
    (from, to): (u64, u64),
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<Pair>> {
    check_nodes(n)?;
    let all = pairs_of(n, directed);
    if m > all {
        let why = format!("{m} edges asked for; {n} nodes have {all} pairs");
        return Err(Error::argument("m", why));
    }
    let order = Permutation::new(all, key, Model::Uniform);
    in_tasks(from, to.min(m), context, |_, edges| {
        edges.map(|edge| pair(order.at(edge), n, directed)).collect()
    })
}

/// The pair of different nodes with a number.
///
/// Unordered pairs are numbered by the distance of their nodes on a circle; for an even number of
/// nodes, the last distance has half as many pairs.
#[inline]
pub(super) fn pair(number: u64, n: u64, directed: bool) -> Pair {
    if directed {
        let (from, to) = (number / (n - 1), number % (n - 1));
        return [from as u32, (to + u64::from(to >= from)) as u32];
    }
    let (distance, from) = (number / n + 1, number % n);
    let to = from + distance;
    [from as u32, (if to < n { to } else { to - n }) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_one_number() {
        for n in 2..20 {
            for directed in [false, true] {
                let mut seen: Vec<Pair> = (0..pairs_of(n, directed))
                    .map(|number| pair(number, n, directed))
                    .map(|[a, b]| if directed || a < b { [a, b] } else { [b, a] })
                    .collect();
                let all = seen.len();
                seen.sort_unstable();
                seen.dedup();
                assert_eq!(seen.len(), all);
                assert!(seen.iter().all(|[a, b]| a != b && *a.max(b) < n as u32));
            }
        }
    }
}
