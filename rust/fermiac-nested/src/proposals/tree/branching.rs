//! The choice of parents with the largest sum of gains, without cycles.
//!
//! - J. Edmonds, "Optimum branchings", Journal of Research of the National Bureau of Standards 71B,
//!   233-240, 1967, doi:10.6028/jres.071B.032.
//! - C. K. Chow, C. N. Liu, "Approximating discrete probability distributions with dependence trees", IEEE
//!   Transactions on Information Theory 14, 462-467, 1968 (trees of coordinates by sums over pairs).

/// The parent of each node, if it has one, for gains by child and parent; those of pairs that are no
/// candidates are -∞.
pub(super) fn branching(gains: &[Vec<f64>]) -> Vec<Option<usize>> {
    let n = gains.len();
    // A last node is the parent of those without one, and gains nothing.
    let gains: Vec<Vec<f64>> =
        gains.iter().map(|row| row.iter().copied().chain([0.0]).collect()).collect();
    best(&gains).into_iter().map(|parent| (parent < n).then_some(parent)).collect()
}

/// The parent of each node but the last, which has none.
fn best(gains: &[Vec<f64>]) -> Vec<usize> {
    let n = gains.len();
    let parent = |child: usize| {
        let others = (0..=n).filter(|parent| *parent != child);
        others
            .fold(n, |at, parent| if gains[child][parent] > gains[child][at] { parent } else { at })
    };
    let mut parents: Vec<usize> = (0..n).map(parent).collect();
    let Some(cycle) = cycle(&parents) else { return parents };
    // The cycle becomes one node, which is entered where this loses least.
    let outside: Vec<usize> = (0..n).filter(|node| !cycle.contains(node)).collect();
    let largest = |gain: &dyn Fn(usize) -> f64| {
        let nodes = cycle.iter().copied();
        nodes.fold(cycle[0], |at, node| if gain(node) > gain(at) { node } else { at })
    };
    let excess = |node: usize, from: usize| gains[node][from] - gains[node][parents[node]];
    let left: Vec<usize> = outside.iter().map(|&node| largest(&|from| gains[node][from])).collect();
    let from: Vec<usize> = outside.iter().copied().chain([n]).collect();
    let entered: Vec<usize> =
        from.iter().map(|&from| largest(&|node| excess(node, from))).collect();
    let mut smaller: Vec<Vec<f64>> = outside
        .iter()
        .zip(&left)
        .map(|(&node, &left)| {
            let of_outside = outside.iter().map(|&from| gains[node][from]);
            of_outside.chain([gains[node][left], gains[node][n]]).collect()
        })
        .collect();
    let k = outside.len();
    let mut of_cycle: Vec<f64> =
        from.iter().zip(&entered).map(|(&from, &node)| excess(node, from)).collect();
    of_cycle.insert(k, f64::NEG_INFINITY);
    smaller.push(of_cycle);
    let chosen = best(&smaller);
    let node_of = |at: usize| if at > k { n } else { outside[at] };
    for ((&node, &parent), &left) in outside.iter().zip(&chosen).zip(&left) {
        parents[node] = if parent == k { left } else { node_of(parent) };
    }
    let at = chosen[k];
    parents[entered[at.min(k)]] = node_of(at);
    parents
}

/// The nodes of a cycle of parents; `None` if there is none.
fn cycle(parents: &[usize]) -> Option<Vec<usize>> {
    let n = parents.len();
    (0..n).find_map(|start| {
        let (mut at, mut path) = (parents[start], vec![start]);
        while at < n && at != start && path.len() <= n {
            path.push(at);
            at = parents[at];
        }
        (at == start).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermiac_base::rng::{Domain, Stream};

    const NONE: f64 = f64::NEG_INFINITY;

    fn is_free(parents: &[Option<usize>]) -> bool {
        (0..parents.len()).all(|start| {
            let (mut at, mut steps) = (Some(start), 0);
            while let Some(node) = at.filter(|_| steps <= parents.len()) {
                (at, steps) = (parents[node], steps + 1);
            }
            at.is_none()
        })
    }

    fn sum(gains: &[Vec<f64>], parents: &[Option<usize>]) -> f64 {
        let terms = gains.iter().zip(parents);
        terms.filter_map(|(row, parent)| parent.map(|parent| row[parent])).sum()
    }

    #[test]
    fn the_sum_is_the_largest_of_all_choices_without_cycles() {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        for case in 0..300_usize {
            let n = 2 + case % 4;
            let gains: Vec<Vec<f64>> = (0..n)
                .map(|i| {
                    let gain = |j| {
                        if i == j || stream.uniform() < 0.2 { NONE } else { stream.normal() + 0.7 }
                    };
                    (0..n).map(gain).collect()
                })
                .collect();
            let found = branching(&gains);
            assert!(is_free(&found));
            let mut most = 0.0_f64;
            for code in 0..(n + 1_usize).pow(n as u32) {
                let mut left = code;
                let parents: Vec<Option<usize>> = (0..n)
                    .map(|_| {
                        let at = left % (n + 1);
                        left /= n + 1;
                        (at < n).then_some(at)
                    })
                    .collect();
                if is_free(&parents) {
                    most = most.max(sum(&gains, &parents));
                }
            }
            assert!((sum(&gains, &found) - most).abs() < 1e-12, "{gains:?} {found:?}");
        }
    }

    #[test]
    fn a_pair_that_gains_most_is_given_up_for_two_others() {
        // The first and the second gain most together, in this direction, and least of all choices.
        let gains = [vec![NONE, 3.0, NONE], vec![2.0, NONE, 2.5], vec![NONE, NONE, NONE]];
        assert_eq!(branching(&gains), [Some(1), Some(2), None]);
        let gains = [vec![NONE, 3.0, NONE], vec![2.9, NONE, NONE], vec![2.0, NONE, NONE]];
        assert_eq!(branching(&gains), [Some(1), None, Some(0)]);
    }
}
