//! Alias tables of the rows, for neighbours by the weights of their edges.

use super::graph::{View, WeightSlice};
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

/// The alias tables of all rows, in the order of the places.
///
/// References: A. J. Walker (1977), "An efficient method for generating discrete random variables
/// with general distributions", ACM Transactions on Mathematical Software 3(3); M. D. Vose (1991),
/// "A linear algorithm for generating random numbers with a given distribution", IEEE Transactions
/// on Software Engineering 17(9).
pub(super) struct AliasRows {
    cells: Vec<Cell>,
}

/// A place is kept if the uniform is below `threshold` · 2⁻³², else the `other` of its row is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) threshold: u32,
    pub(super) other: u32,
}

/// Places of one task.
const CHUNK: usize = 1 << 16;

impl AliasRows {
    /// Creates the tables of a graph; none if weights are equal within each row.
    pub(super) fn new(view: &View<'_>, context: &Context<'_>) -> Result<Option<Self>> {
        let Some(weights) = view.weights else { return Ok(None) };
        let n_places = weights.len();
        let cut = |c: usize| view.starts.partition_point(|start| *start < (c * CHUNK) as u64);
        let mut cells = Vec::with_capacity(n_places);
        let mut differ = false;
        context.ordered(
            n_places.div_ceil(CHUNK),
            |c| {
                let nodes = cut(c)..cut(c + 1).min(view.n_nodes());
                let mut row = Row::default();
                let mut cells = Vec::with_capacity(CHUNK);
                for node in nodes {
                    row.build(view.row(node), weights, &mut cells)?;
                }
                Ok((cells, row.differ))
            },
            |_, (part, some_differ): (Vec<Cell>, bool)| {
                cells.extend(part);
                differ |= some_differ;
                Ok(())
            },
        )?;
        Ok(differ.then_some(Self { cells }))
    }

    /// The cell at a place.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> Cell {
        self.cells[place]
    }

    /// Prefetches a cell.
    #[inline(always)]
    pub(super) fn touch(&self, place: usize) {
        fermiac_base::simd::prefetch(&self.cells, place);
    }
}

/// Buffers for one row.
#[derive(Default)]
struct Row {
    shares: Vec<f64>,
    poor: Vec<u32>,
    rich: Vec<u32>,
    /// Whether weights differed within some row.
    differ: bool,
}

impl Row {
    fn build(
        &mut self,
        (start, degree): (usize, usize),
        weights: WeightSlice<'_>,
        cells: &mut Vec<Cell>,
    ) -> Result<()> {
        if u32::try_from(degree).is_err() {
            let why = format!("a node has {degree} neighbours; below 2³² are possible");
            return Err(Error::argument("graph", why));
        }
        let Self { shares, poor, rich, differ } = self;
        shares.clear();
        shares.extend((start..start + degree).map(|place| weights.at(place)));
        let most = shares.iter().fold(0.0_f64, |a, b| a.max(*b));
        *differ |= shares.iter().any(|weight| *weight != most);
        // Relative to the largest, so that no sum overflows.
        let sum: f64 = shares.iter().map(|weight| weight / most).sum();
        poor.clear();
        rich.clear();
        let first = cells.len();
        for (k, share) in (0_u32..).zip(shares.iter_mut()) {
            *share = *share / most * (degree as f64 / sum);
            if *share < 1.0 {
                poor.push(k);
            } else {
                rich.push(k);
            }
            // Cells that are never filled up are full, except for rounding.
            cells.push(Cell { threshold: u32::MAX, other: k });
        }
        while let (Some(low), Some(high)) = (poor.pop(), rich.last().copied()) {
            let share = shares[low as usize];
            let threshold = (share * TWO_32).round() as u32;
            cells[first + low as usize] = Cell { threshold, other: high };
            let left = &mut shares[high as usize];
            *left = (*left + share) - 1.0;
            if *left < 1.0 {
                rich.pop();
                poor.push(high);
            }
        }
        Ok(())
    }
}

/// 2³².
pub(super) const TWO_32: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::Graph;

    #[test]
    fn cells_add_up_to_the_weights() {
        let weights = vec![1.0, 2.0, 3.0, 0.25, 1e-9, 1e300, 2e300, 5.0, 5.0, 5.0];
        let starts = vec![0, 4, 4, 7, 10];
        let ids = vec![0, 1, 2, 3, 0, 1, 2, 0, 1, 2];
        let graph = Graph::from_vecs(starts, ids, Some(weights.clone())).unwrap();
        let view = graph.view();
        let rows = AliasRows::new(&view, &Context::serial()).unwrap().unwrap();
        for node in 0..4 {
            let (start, degree) = view.row(node);
            let mut mass = vec![0.0; degree];
            for k in 0..degree {
                let cell = rows.at(start + k);
                let own = f64::from(cell.threshold) / TWO_32;
                mass[k] += own;
                mass[cell.other as usize] += 1.0 - own;
            }
            let row = &weights[start..start + degree];
            let most = row.iter().fold(0.0_f64, |a, b| a.max(*b));
            let sum: f64 = row.iter().map(|w| w / most).sum();
            for (k, m) in mass.iter().enumerate() {
                let share = row[k] / most / sum;
                assert!((m / degree as f64 - share).abs() < 1e-9, "{node} {k} {m} {share}");
            }
        }
    }

    #[test]
    fn equal_weights_need_no_table() {
        let graph = Graph::from_vecs(vec![0, 1, 2], vec![1, 0], Some(vec![2.0, 2.0])).unwrap();
        assert!(AliasRows::new(&graph.view(), &Context::serial()).unwrap().is_none());
    }

    #[test]
    fn chunks_meet() {
        let n = 70_000_u32;
        let mut starts = vec![0, u64::from(n)];
        starts.extend((1..=2 * u64::from(n)).map(|k| u64::from(n) + k));
        let ids: Vec<u32> = (0..n).chain((0..2 * n).map(|k| k % 7)).collect();
        let weights: Vec<f64> = (0..3 * n).map(|k| 1.0 + f64::from(k % 3)).collect();
        let graph = Graph::from_vecs(starts, ids, Some(weights)).unwrap();
        let one = AliasRows::new(&graph.view(), &Context::serial()).unwrap().unwrap();
        let context = Context::new(3, |_, _| Ok(())).unwrap();
        let two = AliasRows::new(&graph.view(), &context).unwrap().unwrap();
        assert_eq!(one.cells.len(), 3 * n as usize);
        let same = |(a, b): (&Cell, &Cell)| a.threshold == b.threshold && a.other == b.other;
        assert!(one.cells.iter().zip(&two.cells).all(same));
    }
}
