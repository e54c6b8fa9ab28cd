//! Graphs in compressed rows, with arrays on the heap, in NumPy, or in mapped files.

mod build;
mod check;
mod external;
mod parts;
pub mod random;

use super::neighbour_degrees::NeighbourDegrees;
use super::packed_rows::PackedRows;
pub use build::{Edges, Id, Rows, from_edges};
pub use check::{OneWay, Rigour, Survey, one_way, strengths, survey};
pub use external::{Record, Sorter, Sorting, Written};
use fermiac_base::par::Context;
use fermiac_base::simd::prefetch;
use fermiac_base::{Error, Result};
pub use parts::{Parts, parts, strong_parts};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Polls signals at every so many places of a loop.
#[inline]
fn poll_at(context: &Context<'_>, at: usize, every: usize) -> Result<()> {
    if at.is_multiple_of(every) { context.poll() } else { Ok(()) }
}

/// A shared array.
pub type Shared<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// The neighbours of all nodes, one row after the other.
#[derive(Clone)]
pub enum Ids {
    /// Below 2³² nodes.
    Short(Shared<u32>),
    /// Up to 2⁶⁴ nodes.
    Long(Shared<u64>),
}

/// The weights of the edges, in the order of [`Ids`].
#[derive(Clone)]
pub enum EdgeWeights {
    /// Single precision.
    Short(Shared<f32>),
    /// Double precision.
    Long(Shared<f64>),
}

/// A graph in compressed rows. Row `i` has the nodes to which edges lead from node `i`; an edge
/// of an undirected graph is in the rows of both ends, a loop once in its own.
#[derive(Clone)]
pub struct Graph {
    starts: Shared<u64>,
    ids: Ids,
    weights: Option<EdgeWeights>,
    /// The degrees of neighbours, once a walk has needed them.
    degrees: Arc<OnceLock<Arc<NeighbourDegrees>>>,
    /// The rows in single words, once a walk was long enough.
    packed: Arc<OnceLock<PackedRows>>,
}

/// Places up to which a graph keeps the degrees of neighbours between walks: 256 MiB.
const KEPT: usize = 1 << 26;

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} nodes, {} places)", self.n_nodes(), self.view().ids.len())
    }
}

impl Graph {
    /// Creates a graph of arrays that fit together: `starts` goes from 0 to the number of
    /// places. Nothing else is checked.
    pub fn new(starts: Shared<u64>, ids: Ids, weights: Option<EdgeWeights>) -> Result<Self> {
        let graph = Self { starts, ids, weights, degrees: Arc::default(), packed: Arc::default() };
        let view = graph.view();
        let n = view.ids.len() as u64;
        let (first, last) = (view.starts.first(), view.starts.last());
        if (first, last) != (Some(&0), Some(&n)) || view.starts.len() < 2 {
            let shown =
                |end: Option<&u64>| end.map_or("nothing".into(), |&end| (end as i64).to_string());
            let why = format!(
                "it goes from {} to {}; 0 to {n}, the number of indices, is needed, for one node \
                 at least",
                shown(first),
                shown(last)
            );
            return Err(Error::argument("indptr", why));
        }
        if let Some(m) = view.weights.map(|weights| weights.len())
            && m as u64 != n
        {
            return Err(Error::argument("weights", format!("{m} given for {n} indices")));
        }
        Ok(graph)
    }

    /// Creates a graph of arrays on the heap.
    pub fn from_vecs(starts: Vec<u64>, ids: Vec<u32>, weights: Option<Vec<f64>>) -> Result<Self> {
        let weights = weights.map(|weights| EdgeWeights::Long(Arc::new(weights)));
        Self::new(Arc::new(starts), Ids::Short(Arc::new(ids)), weights)
    }

    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        (*self.starts).as_ref().len().saturating_sub(1)
    }

    /// The degrees of all neighbours. They are computed once, as that takes as long as some hundred
    /// thousand steps; those of large graphs are not kept.
    pub(super) fn neighbour_degrees(&self) -> Arc<NeighbourDegrees> {
        let view = self.view();
        let new = || Arc::new(NeighbourDegrees::new(&view));
        if view.ids.len() > KEPT { new() } else { self.degrees.get_or_init(new).clone() }
    }

    /// Packs the rows, which takes about as long as a step for each node.
    pub(super) fn pack_rows(&self) {
        let view = self.view();
        if view.packed.is_none()
            && let Some(rows) = PackedRows::new(&view)
        {
            self.packed.get_or_init(|| rows);
        }
    }

    /// The arrays themselves, for reading.
    pub fn view(&self) -> View<'_> {
        View {
            starts: (*self.starts).as_ref(),
            ids: match &self.ids {
                Ids::Short(ids) => IdSlice::Short((**ids).as_ref()),
                Ids::Long(ids) => IdSlice::Long((**ids).as_ref()),
            },
            weights: self.weights.as_ref().map(|weights| match weights {
                EdgeWeights::Short(w) => WeightSlice::Short((**w).as_ref()),
                EdgeWeights::Long(w) => WeightSlice::Long((**w).as_ref()),
            }),
            packed: self.packed.get(),
        }
    }
}

/// The slices of a [`Graph`].
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The starts of the rows, and the end.
    pub starts: &'a [u64],
    /// The nodes in the rows.
    pub ids: IdSlice<'a>,
    /// The weights of the edges.
    pub weights: Option<WeightSlice<'a>>,
    pub(super) packed: Option<&'a PackedRows>,
}

/// The slice of [`Ids`], or other nodes.
#[derive(Debug, Clone, Copy)]
pub enum IdSlice<'a> {
    /// 32 bits.
    Short(&'a [u32]),
    /// 64 bits.
    Long(&'a [u64]),
}

impl IdSlice<'_> {
    /// The number of places.
    pub(crate) fn len(&self) -> usize {
        each!(self, Self::{Short, Long}, ids => ids.len())
    }

    /// The node at a place, an index into all rows.
    #[inline(always)]
    pub fn at(&self, place: usize) -> usize {
        each!(self, Self::{Short, Long}, ids => ids[place] as usize)
    }

    /// Prefetches a place.
    #[inline(always)]
    pub fn touch(&self, place: usize) {
        each!(self, Self::{Short, Long}, ids => prefetch(ids, place));
    }
}

/// The slice of [`EdgeWeights`].
#[derive(Clone, Copy)]
pub enum WeightSlice<'a> {
    /// 32 bits.
    Short(&'a [f32]),
    /// 64 bits.
    Long(&'a [f64]),
}

impl WeightSlice<'_> {
    /// The number of places.
    pub(crate) fn len(&self) -> usize {
        each!(self, Self::{Short, Long}, weights => weights.len())
    }

    /// The weight at a place.
    #[inline(always)]
    pub fn at(&self, place: usize) -> f64 {
        match self {
            Self::Short(weights) => f64::from(weights[place]),
            Self::Long(weights) => weights[place],
        }
    }
}

impl View<'_> {
    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The start and the length of the row of a node.
    #[inline(always)]
    pub fn row(&self, node: usize) -> (usize, usize) {
        let (start, end) = (self.starts[node], self.starts[node + 1]);
        (start as usize, end.wrapping_sub(start) as usize)
    }

    /// The nodes in a row, one for each place.
    pub fn neighbours(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let (start, degree) = self.row(node);
        let ids = self.ids;
        (start..start + degree).map(move |place| ids.at(place))
    }
}
