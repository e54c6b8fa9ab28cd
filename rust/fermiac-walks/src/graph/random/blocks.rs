//! The stochastic block model: the groups of two nodes decide the probability of an edge.

use super::uniform::{pair, pairs_of};
use super::{Model, Pair, check_nodes, stream};
use fermiac_base::par::Context;
use fermiac_base::special::ln1p;
use fermiac_base::{Error, Result, simd};

/// The mean number of edges of a task.
const EDGES: f64 = 32_768.0;

/// A part of the pairs between two groups.
struct Share {
    first: u64,
    last: u64,
    offsets: [u64; 2],
    /// Nodes of the second group; the groups are the same if `within`.
    size: u64,
    within: bool,
    p: f64,
}

/// Groups of the given sizes, in this order; `p` has the probabilities, row by row.
/// An undirected graph uses the upper triangle.
///
/// One draw skips all pairs up to the next edge.
///
/// Reference: V. Batagelj and U. Brandes (2005), "Efficient generation of large random networks",
/// Physical Review E 71.
pub fn stochastic_block(
    sizes: &[u64],
    p: &[f64],
    directed: bool,
    key: u64,
    context: &Context<'_>,
) -> Result<Vec<Pair>> {
    let groups = sizes.len();
    if p.len() != groups * groups {
        let why = format!("{} chances given for {groups} groups", p.len());
        return Err(Error::argument("p", why));
    }
    if let Some(wrong) = p.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::argument("p", format!("{wrong} given; 0 to 1 is needed")));
    }
    let n = sizes.iter().try_fold(0_u64, |sum, &size| sum.checked_add(size));
    check_nodes(n.unwrap_or(u64::MAX))?;
    let mut shares = Vec::new();
    let mut row = 0;
    for i in 0..groups {
        let mut column = 0;
        for j in 0..groups {
            let p = p[groups * i + j];
            if (directed || j >= i) && p > 0.0 {
                let pairs = if i == j { pairs_of(sizes[i], directed) } else { sizes[i] * sizes[j] };
                let step = (EDGES / p).min(1e18) as u64;
                for first in (0..pairs).step_by(step as usize) {
                    shares.push(Share {
                        first,
                        last: pairs.min(first + step),
                        offsets: [row, column],
                        size: sizes[j],
                        within: i == j,
                        p,
                    });
                }
            }
            column += sizes[j];
        }
        row += sizes[i];
    }
    let mut all = Vec::new();
    context.ordered(
        shares.len(),
        |task| Ok(edges(&shares[task], directed, key, task as u64)),
        |_, part| {
            all.extend(part);
            Ok(())
        },
    )?;
    Ok(all)
}

fn edges(share: &Share, directed: bool, key: u64, task: u64) -> Vec<Pair> {
    let mut stream = stream(key, Model::Blocks, task);
    // -inf if p is 1: nothing is skipped.
    let miss = ln1p(-share.p);
    let [row, column] = share.offsets.map(|offset| offset as u32);
    let mut out = Vec::new();
    let mut at = share.first;
    loop {
        let skip = simd::ln(stream.uniform()) / miss;
        // Also ends the part when the skip is larger than any number of pairs.
        if skip >= (share.last - at) as f64 {
            return out;
        }
        at += skip as u64;
        let [from, to] = if share.within {
            pair(at, share.size, directed)
        } else {
            [(at / share.size) as u32, (at % share.size) as u32]
        };
        out.push([row + from, column + to]);
        at += 1;
    }
}
