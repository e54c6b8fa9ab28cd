//! Graphs that grow edge by edge: preferential attachment and small worlds.

use super::super::poll_at;
use super::{Model, NODES, Pair, check_nodes, list, stream};
use fermiac_base::alloc::vec_of;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// A star of `m` + 1 nodes; each further node is joined by `m` edges to different nodes that are
/// drawn with probabilities proportional to their degrees, with rejection of repeated
/// nodes.
///
/// Reference: A.-L. Barabási and R. Albert (1999), "Emergence of scaling in random networks",
/// Science 286.
pub fn barabasi_albert(n: u64, m: u64, key: u64, context: &Context<'_>) -> Result<Vec<Pair>> {
    check_nodes(n)?;
    if m == 0 || m >= n {
        let why = format!("{m} edges for each node asked for; 1 to n - 1 = {} can be made", n - 1);
        return Err(Error::argument("m", why));
    }
    let mut stream = stream(key, Model::Growth, 0);
    let mut edges = list((n - m).saturating_mul(m))?;
    edges.extend((1..=m as u32).map(|leaf| [0, leaf]));
    // The last node that was joined to each node.
    let mut joined = vec_of("n", 0_u32, n as usize)?;
    for node in m + 1..n {
        poll_at(context, node as usize, NODES)?;
        let ends = 2 * edges.len() as u64;
        for _ in 0..m {
            loop {
                // Each edge adds one to the degrees of both its ends.
                let end = stream.below(ends);
                let to = edges[(end / 2) as usize][(end % 2) as usize];
                if joined[to as usize] != node as u32 {
                    joined[to as usize] = node as u32;
                    edges.push([node as u32, to]);
                    break;
                }
            }
        }
    }
    Ok(edges)
}

/// A ring in which each node is joined to its `k` nearest (k even). Then, ring by ring, each edge
/// is rewired with probability `p` to a uniform node among those to which its first end
/// is not yet joined.
///
/// Reference: D. J. Watts and S. H. Strogatz (1998), "Collective dynamics of 'small-world'
/// networks", Nature 393.
pub fn watts_strogatz(
    n: u64,
    k: u64,
    p: f64,
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<Pair>> {
    check_nodes(n)?;
    if !k.is_multiple_of(2) || k == 0 || k >= n {
        let why = format!("{k} given; an even number from 2 to n - 1 = {} is needed", n - 1);
        return Err(Error::argument("k", why));
    }
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::argument("p", format!("{p} given; 0 to 1 is needed")));
    }
    let half = (k / 2) as usize;
    // Edge j of node i is at half · i + j. An edge stays with its first node, so that two nodes are
    // joined if one has the other among its edges.
    let mut edges = list(n.saturating_mul(k / 2))?;
    for first in (0..n).step_by(NODES) {
        context.poll()?;
        let nodes = first..n.min(first + NODES as u64);
        edges
            .extend(nodes.flat_map(|i| (1..=k / 2).map(move |j| [i as u32, ((i + j) % n) as u32])));
    }
    let mut degrees = vec_of("n", k as u32, n as usize)?;
    let mut stream = stream(key, Model::SmallWorld, 0);
    for j in 0..half {
        for i in 0..n as usize {
            poll_at(context, i, NODES)?;
            if stream.uniform() >= p || u64::from(degrees[i]) == n - 1 {
                continue;
            }
            let own = |node: usize| half * node..half * (node + 1);
            let new = loop {
                let new = stream.below(n) as usize;
                if new != i
                    && !edges[own(i)].contains(&[i as u32, new as u32])
                    && !edges[own(new)].contains(&[new as u32, i as u32])
                {
                    break new;
                }
            };
            let [_, old] = std::mem::replace(&mut edges[half * i + j], [i as u32, new as u32]);
            degrees[old as usize] -= 1;
            degrees[new] += 1;
        }
    }
    Ok(edges)
}
