//! The objective of tokens: the mean of losses, one on each node.

use super::{Data, Quadratic, Tile};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, dispatch};
use fermiac_base::{Error, Result};
use fermiac_target::Dispatch;
use std::sync::Arc;

/// A loss for each node.
#[derive(Clone)]
pub enum Loss {
    /// Quadratic functions.
    Quadratic(Arc<Quadratic>),
    /// Rows of data that lie on the nodes.
    Data(Arc<Data>),
    /// Foreign code.
    Foreign(Arc<dyn Foreign>),
}

/// Gradients by foreign code.
pub trait Foreign: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// Whether it takes one token per call on any thread, or all of them on the calling thread.
    fn dispatch(&self) -> Dispatch;

    /// Writes the gradients of tokens, row by row, at their nodes.
    fn gradients(&self, theta: &[f64], nodes: &[i64], out: &mut [f64]) -> Result<()>;
}

impl Loss {
    /// The number of parameters.
    pub fn dim(&self) -> usize {
        each!(self, Self::{Quadratic, Data, Foreign}, loss => loss.dim())
    }

    /// The number of nodes, if known.
    pub fn n_nodes(&self) -> Option<usize> {
        match self {
            Self::Quadratic(loss) => Some(loss.n_nodes()),
            Self::Data(loss) => Some(loss.n_nodes()),
            Self::Foreign(_) => None,
        }
    }

    /// The gradients of rows of parameters at nodes, or with `values` the losses (for foreign code
    /// only gradients are known).
    pub fn evaluate(&self, theta: &[f64], nodes: &[usize], values: bool) -> Result<Vec<f64>> {
        let dim = self.dim();
        let known = self.n_nodes().unwrap_or(usize::MAX);
        if let Some(node) = nodes.iter().find(|node| **node >= known) {
            let why = format!("node {node} given of {known}");
            return Err(Error::argument("nodes", why));
        }
        match self {
            Self::Quadratic(loss) => {
                dispatch(Evaluation { loss: &**loss, theta, nodes, dim, values })
            }
            Self::Data(loss) => dispatch(Evaluation { loss: &**loss, theta, nodes, dim, values }),
            Self::Foreign(loss) => {
                dispatch(Evaluation { loss: &OneByOne(&**loss), theta, nodes, dim, values })
            }
        }
    }
}

/// The evaluation of losses or gradients with all rows of each node.
struct Evaluation<'a, L> {
    loss: &'a L,
    theta: &'a [f64],
    nodes: &'a [usize],
    dim: usize,
    values: bool,
}

impl<L: Gradient> Kernel for Evaluation<'_, L> {
    type Output = Result<Vec<f64>>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Result<Vec<f64>> {
        let Self { loss, nodes, dim, .. } = self;
        let theta = super::tiled(self.theta, dim);
        let tiles = dim.div_ceil(LANES);
        let mut room = Room::new(tiles, usize::MAX);
        let mut stream = Stream::new(0, Domain::Token, 0, 0);
        let mut out = Vec::with_capacity(if self.values { nodes.len() } else { self.theta.len() });
        for (theta, &node) in theta.chunks_exact(tiles).zip(nodes) {
            loss.gradient::<FMA>(Visit { node, theta, stream: &mut stream }, &mut room)?;
            if self.values {
                out.push(loss.value(node, theta, &room.gradient));
            } else {
                out.extend_from_slice(&room.gradient.as_flattened()[..dim]);
            }
        }
        Ok(out)
    }
}

/// The output of a gradient, and buffers.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) gradient: Vec<Tile>,
    pub(super) rest: Vec<Tile>,
    /// The number of rows of data to use.
    pub(super) batch: usize,
}

impl Room {
    pub(super) fn new(tiles: usize, batch: usize) -> Self {
        Self { gradient: vec![[0.0; LANES]; tiles], rest: vec![[0.0; LANES]; tiles], batch }
    }
}

/// A token at a node, with its parameters and its stream.
pub(super) struct Visit<'a> {
    pub(super) node: usize,
    pub(super) theta: &'a [Tile],
    pub(super) stream: &'a mut Stream,
}

/// Gradients at one node.
pub(super) trait Gradient: Sync {
    /// Prefetches the data that the gradient at a node reads first.
    fn touch(&self, node: usize);

    /// The loss at a node, of all its rows; `gradient` is its gradient.
    fn value(&self, node: usize, theta: &[Tile], gradient: &[Tile]) -> f64;

    /// Writes the gradient of a token.
    fn gradient<const FMA: bool>(&self, at: Visit<'_>, room: &mut Room) -> Result<()>;
}

/// Foreign code that takes one token at a time.
pub(super) struct OneByOne<'a>(pub(super) &'a dyn Foreign);

impl Gradient for OneByOne<'_> {
    #[inline(always)]
    fn touch(&self, _: usize) {}

    fn value(&self, _: usize, _: &[Tile], _: &[Tile]) -> f64 {
        f64::NAN
    }

    #[inline(always)]
    fn gradient<const FMA: bool>(&self, at: Visit<'_>, room: &mut Room) -> Result<()> {
        let dim = self.0.dim();
        let out = &mut room.gradient.as_flattened_mut()[..dim];
        self.0.gradients(&at.theta.as_flattened()[..dim], &[at.node as i64], out)
    }
}
