//! Compressed rows of a list of edges.

use super::{EdgeWeights, Graph, IdSlice, Ids, Shared, View, poll_at};
use fermiac_base::alloc::vec_of;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use std::sync::Arc;

/// Entries that one task sorts.
const PLACES: usize = 1 << 16;

/// The number type of nodes in an array.
pub trait Id: Copy + Ord + Default + Send + Sync + 'static {
    /// The node as an index.
    fn get(self) -> usize;
    /// The node of an index, which must fit.
    fn of(index: usize) -> Self;
}

macro_rules! id {
    ($kind:ty) => {
        impl Id for $kind {
            fn get(self) -> usize {
                self as usize
            }
            fn of(index: usize) -> Self {
                index as Self
            }
        }
    };
}

id!(u32);
id!(u64);

/// Compressed rows on the heap.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<T> {
    /// The starts of the rows, and the end.
    pub starts: Vec<u64>,
    /// The nodes in the rows.
    pub ids: Vec<T>,
    /// The weights of the edges.
    pub weights: Option<Vec<f64>>,
}

/// A list of edges and its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Edges<'a, T> {
    /// The ends, from and to.
    pub pairs: &'a [[T; 2]],
    /// A weight for each.
    pub weights: Option<&'a [f64]>,
    /// Each edge leads one way only.
    pub directed: bool,
    /// Repeated edges become one, with the sum of their weights.
    pub merge: bool,
}

/// The rows of a list of edges, in ascending order. An edge of an undirected graph is given once,
/// in either direction.
pub fn from_edges<T: Id>(
    n_nodes: usize,
    edges: Edges<'_, T>,
    context: &Context<'_>,
) -> Result<Rows<T>> {
    let n_edges = edges.pairs.len();
    if let Some(m) = edges.weights.map(<[f64]>::len)
        && m != n_edges
    {
        return Err(Error::argument("weights", format!("{m} given for {n_edges} edges")));
    }
    let mut starts = vec_of("n_nodes", 0_u64, n_nodes.saturating_add(1))?;
    for (i, &[from, to]) in edges.pairs.iter().enumerate() {
        poll_at(context, i, PLACES)?;
        let (from, to) = (from.get(), to.get());
        if from.max(to) >= n_nodes {
            let why = format!(
                "edge {i} leads from node {from} to node {to}; nodes are numbered from 0 to {}",
                n_nodes.wrapping_sub(1) as i64
            );
            return Err(Error::argument("edges", why));
        }
        starts[from + 1] += 1;
        if !edges.directed && from != to {
            starts[to + 1] += 1;
        }
    }
    for i in 0..n_nodes {
        starts[i + 1] += starts[i];
    }
    let places = starts[n_nodes] as usize;
    let mut ids = vec_of("edges", T::default(), places)?;
    let mut weights = edges.weights.map(|_| vec_of("weights", 0.0, places)).transpose()?;
    // The starts serve as cursors; after the pass each is at the start of the next row.
    let mut put = |from: T, to: T, weight: Option<f64>| {
        let place = starts[from.get()] as usize;
        starts[from.get()] += 1;
        ids[place] = to;
        if let (Some(weights), Some(weight)) = (&mut weights, weight) {
            weights[place] = weight;
        }
    };
    for (i, &[from, to]) in edges.pairs.iter().enumerate() {
        poll_at(context, i, PLACES)?;
        let weight = edges.weights.map(|weights| weights[i]);
        put(from, to, weight);
        if !edges.directed && from != to {
            put(to, from, weight);
        }
    }
    starts.copy_within(0..n_nodes, 1);
    starts[0] = 0;
    let mut rows = Rows { starts, ids, weights };
    sort_rows(&mut rows, context)?;
    if edges.merge {
        merge_repeated(&mut rows, context)?;
    }
    Ok(rows)
}

/// A copy of a graph, each row of which is in ascending order.
pub(super) fn sorted_copy(view: View<'_>, context: &Context<'_>) -> Result<Graph> {
    match view.ids {
        IdSlice::Short(ids) => sorted(view, ids, Ids::Short, context),
        IdSlice::Long(ids) => sorted(view, ids, Ids::Long, context),
    }
}

fn sorted<T: Id>(
    view: View<'_>,
    ids: &[T],
    wrap: fn(Shared<T>) -> Ids,
    context: &Context<'_>,
) -> Result<Graph> {
    let mut rows = Rows {
        starts: view.starts.to_vec(),
        ids: ids.to_vec(),
        weights: view.weights.map(|weights| (0..ids.len()).map(|at| weights.at(at)).collect()),
    };
    sort_rows(&mut rows, context)?;
    let weights = rows.weights.map(|weights| EdgeWeights::Long(Arc::new(weights)));
    Graph::new(Arc::new(rows.starts), wrap(Arc::new(rows.ids)), weights)
}

/// The rows of one task.
struct Share<'a, T> {
    starts: &'a [u64],
    ids: &'a mut [T],
    weights: Option<&'a mut [f64]>,
}

/// Sorts each row by the nodes; repeated edges keep their order.
fn sort_rows<T: Id>(rows: &mut Rows<T>, context: &Context<'_>) -> Result<()> {
    let n = rows.starts.len() - 1;
    let (mut ids, mut weights) = (&mut rows.ids[..], rows.weights.as_deref_mut());
    let mut shares = Vec::new();
    let mut first = 0;
    while first < n {
        let begin = rows.starts[first];
        let ahead = rows.starts[first + 1..].partition_point(|&s| s < begin + PLACES as u64);
        let last = (first + ahead + 1).min(n);
        let places = (rows.starts[last] - begin) as usize;
        let (mine, rest) = ids.split_at_mut(places);
        ids = rest;
        let (share, rest) = match weights {
            Some(weights) => {
                let (share, rest) = weights.split_at_mut(places);
                (Some(share), Some(rest))
            }
            None => (None, None),
        };
        weights = rest;
        shares.push(Share { starts: &rows.starts[first..=last], ids: mine, weights: share });
        first = last;
    }
    context.each(shares, None, |share, signal| {
        if !signal.is_set() {
            sort_share(share);
        }
        Ok(())
    })
}

fn sort_share<T: Id>(share: Share<'_, T>) {
    let Share { starts, ids, mut weights } = share;
    let mut scratch = Vec::new();
    for row in starts.windows(2) {
        let row = (row[0] - starts[0]) as usize..(row[1] - starts[0]) as usize;
        let ids = &mut ids[row.clone()];
        if ids.is_sorted() {
            continue;
        }
        let Some(weights) = weights.as_deref_mut() else {
            ids.sort_unstable();
            continue;
        };
        let weights = &mut weights[row];
        scratch.clear();
        scratch.extend(ids.iter().copied().zip(weights.iter().copied()));
        scratch.sort_by_key(|(id, _)| *id);
        for ((id, weight), (to_id, to_weight)) in
            scratch.iter().zip(ids.iter_mut().zip(weights.iter_mut()))
        {
            (*to_id, *to_weight) = (*id, *weight);
        }
    }
}

/// Merges repeated edges within a sorted row.
fn merge_repeated<T: Id>(rows: &mut Rows<T>, context: &Context<'_>) -> Result<()> {
    let (mut from, mut to) = (0, 0);
    for node in 0..rows.starts.len() - 1 {
        poll_at(context, node, PLACES)?;
        let end = rows.starts[node + 1] as usize;
        let begin = to;
        while from < end {
            let id = rows.ids[from];
            let repeated = to > begin && rows.ids[to - 1] == id;
            if let Some(weights) = &mut rows.weights {
                if repeated {
                    weights[to - 1] += weights[from];
                } else {
                    weights[to] = weights[from];
                }
            }
            if !repeated {
                rows.ids[to] = id;
                to += 1;
            }
            from += 1;
        }
        rows.starts[node + 1] = to as u64;
    }
    rows.ids.truncate(to);
    if let Some(weights) = &mut rows.weights {
        weights.truncate(to);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::{Rigour, Survey, one_way, parts, survey};

    fn graph(rows: Rows<u32>) -> Graph {
        Graph::from_vecs(rows.starts, rows.ids, rows.weights).unwrap()
    }

    #[test]
    fn edges_become_rows() {
        let context = Context::serial();
        let pairs = [[2_u32, 0], [1, 1], [0, 2], [3, 0]];
        let weights = [1.0, 2.0, 4.0, 8.0];
        let list = Edges { pairs: &pairs, weights: Some(&weights), directed: false, merge: true };
        let rows = from_edges(5, list, &context).unwrap();
        assert_eq!(rows.starts, [0, 2, 3, 4, 5, 5]);
        assert_eq!(rows.ids, [2, 3, 1, 0, 0]);
        assert_eq!(rows.weights.as_deref(), Some(&[5.0, 8.0, 2.0, 5.0, 8.0][..]));
        let merged = graph(rows);
        assert_eq!(one_way(merged.view(), true, &context).unwrap(), None);
        let found = parts(merged.view(), &context).unwrap();
        assert_eq!(found.labels, [0, 1, 0, 0, 2]);
        assert_eq!(found.sizes, [3, 1, 1]);
        assert_eq!(found.bipartite, [true, false, true]);
        let list = Edges { directed: true, merge: false, ..list };
        let kept = graph(from_edges(5, list, &context).unwrap());
        let found = survey(kept.view(), Rigour::Full, false, &context).unwrap();
        assert_eq!(found, Survey { sorted: true, repeated: false, loops: 1 });
        let edge = one_way(kept.view(), true, &context).unwrap().unwrap();
        assert_eq!((edge.from, edge.to, edge.there, edge.back), (0, 2, 4.0, 1.0));
    }

    #[test]
    fn nodes_that_do_not_exist_are_named() {
        let list =
            Edges { pairs: &[[0_u32, 1], [2, 5]], weights: None, directed: true, merge: true };
        let error = from_edges(5, list, &Context::serial()).unwrap_err();
        assert!(error.to_string().contains("edge 1 leads from node 2 to node 5"), "{error}");
    }
}
