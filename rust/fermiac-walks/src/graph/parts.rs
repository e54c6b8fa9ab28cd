//! The connected components of a graph, and whether each is bipartite.

use super::{View, poll_at};
use fermiac_base::Result;
use fermiac_base::par::Context;

/// Rows between two polls of signals.
const ROWS: usize = 4096;

/// The connected components of a graph, in the order of their first nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The component of each node.
    pub labels: Vec<u64>,
    /// The number of nodes in each component.
    pub sizes: Vec<u64>,
    /// Whether the component is bipartite; empty for strong components.
    pub bipartite: Vec<bool>,
}

/// The components without regard to directions.
///
/// Each node has a parent of a lower number and the parity of the path to it, so that one pass over
/// the rows in their order finds the components and the odd cycles.
pub fn parts(view: View<'_>, context: &Context<'_>) -> Result<Parts> {
    let n = view.n_nodes();
    let mut forest: Vec<u64> = (0..n as u64).map(|node| node << 1).collect();
    let mut odd = vec![false; n];
    for node in 0..n {
        poll_at(context, node, ROWS)?;
        for to in view.neighbours(node) {
            let (a, side_a) = root(&mut forest, node);
            let (b, side_b) = root(&mut forest, to);
            if a == b {
                odd[a] |= side_a == side_b;
                continue;
            }
            let (low, high) = (a.min(b), a.max(b));
            forest[high] = (low as u64) << 1 | (side_a ^ side_b ^ 1);
            odd[low] |= odd[high];
        }
    }
    let mut all = Parts { labels: vec![0; n], sizes: Vec::new(), bipartite: Vec::new() };
    for node in 0..n {
        let parent = (forest[node] >> 1) as usize;
        let label = if parent == node {
            all.sizes.push(0);
            all.bipartite.push(!odd[node]);
            all.sizes.len() - 1
        } else {
            all.labels[parent] as usize
        };
        all.labels[node] = label as u64;
        all.sizes[label] += 1;
    }
    Ok(all)
}

/// The root of a node, and the parity of the path there; halves the path.
#[inline]
fn root(forest: &mut [u64], node: usize) -> (usize, u64) {
    let (mut at, mut side) = (node, 0);
    loop {
        let up = forest[at];
        let parent = (up >> 1) as usize;
        if parent == at {
            return (at, side);
        }
        let above = forest[parent];
        // A root is its own parent with parity 0, so this also holds one step below it.
        let short = above ^ (up & 1);
        forest[at] = short;
        side ^= short & 1;
        at = (short >> 1) as usize;
    }
}

/// The strongly connected components.
///
/// Reference: R. Tarjan (1972), "Depth-first search and linear graph algorithms", SIAM Journal on
/// Computing 1(2).
pub fn strong_parts(view: View<'_>, context: &Context<'_>) -> Result<Parts> {
    const UNSEEN: u64 = u64::MAX;
    let n = view.n_nodes();
    // Order of discovery, from 1, while a node is open; the component beyond that.
    let mut order = vec![0_u64; n];
    let mut raw = vec![UNSEEN; n];
    let (mut open, mut calls) = (Vec::new(), Vec::new());
    let (mut clock, mut found) = (0_u64, 0_u64);
    for start in 0..n {
        poll_at(context, start, ROWS)?;
        if order[start] != 0 {
            continue;
        }
        clock += 1;
        order[start] = clock;
        open.push(start);
        calls.push((start, view.row(start).0, clock));
        while let Some(&mut (node, ref mut place, ref mut low)) = calls.last_mut() {
            let (begin, degree) = view.row(node);
            if *place < begin + degree {
                let to = view.ids.at(*place);
                *place += 1;
                if order[to] == 0 {
                    clock += 1;
                    poll_at(context, clock as usize, ROWS)?;
                    order[to] = clock;
                    open.push(to);
                    calls.push((to, view.row(to).0, clock));
                } else if raw[to] == UNSEEN {
                    *low = (*low).min(order[to]);
                }
                continue;
            }
            let low = *low;
            calls.pop();
            if let Some((_, _, below)) = calls.last_mut() {
                *below = (*below).min(low);
            }
            if low == order[node] {
                while let Some(member) = open.pop() {
                    raw[member] = found;
                    if member == node {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    // Renumbered by first nodes.
    let mut names = vec![UNSEEN; found as usize];
    let mut all = Parts { labels: raw, sizes: Vec::new(), bipartite: Vec::new() };
    for label in &mut all.labels {
        let name = &mut names[*label as usize];
        if *name == UNSEEN {
            *name = all.sizes.len() as u64;
            all.sizes.push(0);
        }
        *label = *name;
        all.sizes[*label as usize] += 1;
    }
    Ok(all)
}
