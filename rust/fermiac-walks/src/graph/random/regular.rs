//! Random regular graphs.

use super::super::poll_at;
use super::{Model, NODES, Pair, check_nodes, list, stream};
use fermiac_base::alloc::vec_of;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result, simd};

/// Draws for one edge before the pairing starts again.
const TRIES: usize = 10_000;
/// The largest number of pairings with repairs.
const PAIRINGS: u64 = 1000;
/// The largest mean number of draws for a pairing without repairs.
const ENDS: f64 = 2e7;

/// A simple graph of `n` nodes of degree `d`.
///
/// The ends of all edges are paired at random. If affordable, this is repeated until no pair is a
/// loop or repeated: then all graphs are equally likely. Otherwise such a pair trades an end with a
/// random edge; this law converges to the uniform one as n grows. Above half of
/// n - 1 the complement is drawn.
///
/// References: B. Bollobás (1980), "A probabilistic proof of an asymptotic formula for the number
/// of labelled regular graphs", European Journal of Combinatorics 1(4); B. D. McKay and N. C.
/// Wormald (1990), "Uniform generation of random regular graphs of moderate degree", Journal of
/// Algorithms 11(1).
pub fn random_regular(n: u64, d: u64, key: u64, context: &Context<'_>) -> Result<Vec<Pair>> {
    check_nodes(n)?;
    if d >= n || !(n * d).is_multiple_of(2) {
        let why = format!("{d} given for {n} nodes; n · d must be even, and d below n");
        return Err(Error::argument("d", why));
    }
    if 2 * d > n - 1 {
        let rest = random_regular(n, n - 1 - d, key, context)?;
        return complement(n, &rest);
    }
    if d == 0 {
        return Ok(Vec::new());
    }
    // A pairing needs no repair with a probability that tends to exp(-(d² - 1) / 4).
    let wait = simd::exp((d * d - 1) as f64 / 4.0);
    let clean = if (n * d) as f64 * wait <= ENDS { (20.0 * wait) as u64 } else { 0 };
    for attempt in 0..clean + PAIRINGS {
        let mut stream = stream(key, Model::Regular, attempt);
        let repair = attempt >= clean;
        if let Some(edges) = pairing(n as usize, d as usize, repair, &mut stream, context)? {
            return Ok(edges);
        }
    }
    Err(Error::Numerical(format!("no simple graph of {n} nodes of degree {d} was found")))
}

/// The edges of the complement.
fn complement(n: u64, edges: &[Pair]) -> Result<Vec<Pair>> {
    let mut joined = vec_of("n", Vec::new(), n as usize)?;
    for &[a, b] in edges {
        joined[a.min(b) as usize].push(a.max(b));
    }
    let mut out = list(n * (n - 1) / 2 - edges.len() as u64)?;
    for (a, joined) in joined.iter_mut().enumerate() {
        joined.sort_unstable();
        let others = a as u32 + 1..n as u32;
        out.extend(others.filter(|b| joined.binary_search(b).is_err()).map(|b| [a as u32, b]));
    }
    Ok(out)
}

/// The neighbours of each node so far.
struct Rows {
    degree: usize,
    to: Vec<u32>,
    used: Vec<u32>,
}

impl Rows {
    fn row(&self, node: u32) -> &[u32] {
        let start = self.degree * node as usize;
        &self.to[start..start + self.used[node as usize] as usize]
    }

    fn joins(&self, [a, b]: Pair) -> bool {
        self.row(a).contains(&b)
    }

    fn add(&mut self, [a, b]: Pair) {
        for (from, to) in [(a as usize, b), (b as usize, a)] {
            self.to[self.degree * from + self.used[from] as usize] = to;
            self.used[from] += 1;
        }
    }

    fn remove(&mut self, [a, b]: Pair) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(at) = self.row(from).iter().position(|&other| other == to) {
                let start = self.degree * from as usize;
                self.used[from as usize] -= 1;
                self.to.swap(start + at, start + self.used[from as usize] as usize);
            }
        }
    }
}

/// A pairing with repairs; `None` if a repair fails or is not allowed.
fn pairing(
    n: usize,
    d: usize,
    repair: bool,
    stream: &mut Stream,
    context: &Context<'_>,
) -> Result<Option<Vec<Pair>>> {
    let mut edges = list((n * d / 2) as u64)?;
    edges.resize(n * d / 2, [0, 0]);
    let ends = edges.as_flattened_mut();
    ends.iter_mut().enumerate().for_each(|(i, end)| *end = (i / d) as u32);
    for i in (1..ends.len()).rev() {
        poll_at(context, i, NODES)?;
        ends.swap(i, stream.below(i as u64 + 1) as usize);
    }
    let to = vec_of("n", 0, n * d)?;
    let mut rows = Rows { degree: d, to, used: vec_of("n", 0, n)? };
    let mut good = vec_of("n", true, edges.len())?;
    let mut bad = Vec::new();
    for (i, &edge) in edges.iter().enumerate() {
        if edge[0] == edge[1] || rows.joins(edge) {
            if !repair {
                return Ok(None);
            }
            good[i] = false;
            bad.push(i);
        } else {
            rows.add(edge);
        }
    }
    for i in bad {
        context.poll()?;
        let [u, v] = edges[i];
        let mut repaired = false;
        for _ in 0..TRIES {
            let draw = stream.below(2 * edges.len() as u64);
            let j = (draw / 2) as usize;
            let [mut x, mut y] = edges[j];
            if draw % 2 == 1 {
                (x, y) = (y, x);
            }
            let (one, other) = ([u, x], [v, y]);
            let same = u == y && v == x;
            if good[j] && u != x && v != y && !same && !rows.joins(one) && !rows.joins(other) {
                rows.remove([x, y]);
                rows.add(one);
                rows.add(other);
                (edges[j], edges[i]) = (one, other);
                good[i] = true;
                repaired = true;
                break;
            }
        }
        if !repaired {
            return Ok(None);
        }
    }
    Ok(Some(edges))
}
