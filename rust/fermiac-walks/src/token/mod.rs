//! Token optimisation: stochastic approximation of parameters that walkers carry from node to
//! node.
//!
//! The walk does not depend on the parameters. Its paths are drawn first, some steps at a time, and
//! the tokens follow them.

mod data;
mod loss;
mod quadratic;
mod rule;
mod segment;
#[cfg(test)]
mod tests;
mod tokens;

pub use data::{Data, Link};
pub use loss::{Foreign, Loss};
pub use quadratic::{Curvature, Quadratic};
pub use rule::{Projection, Rule, StepSizes};
pub use segment::Trace;
pub use tokens::{Lost, Tokens};

pub use crate::graph::IdSlice as Nodes;

use fermiac_base::simd::LANES;

/// Eight coordinates, padded by 0.
type Tile = [f64; LANES];

/// Rows of `dim` numbers, padded to rows of whole tiles.
fn tiled(rows: &[f64], dim: usize) -> Vec<Tile> {
    let tiles = dim.div_ceil(LANES);
    let mut out = vec![[0.0; LANES]; rows.len() / dim * tiles];
    for (to, row) in out.chunks_exact_mut(tiles).zip(rows.chunks_exact(dim)) {
        to.as_flattened_mut()[..dim].copy_from_slice(row);
    }
    out
}

/// The scalar product.
#[inline(always)]
fn product<const FMA: bool>(a: &[Tile], b: &[Tile]) -> f64 {
    use fermiac_base::simd::V;
    let mut sum = V::ZERO;
    for k in 0..a.len().min(b.len()) {
        sum = V(a[k]).mul_add::<FMA>(V(b[k]), sum);
    }
    sum.sum()
}
