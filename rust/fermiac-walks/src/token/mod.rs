//! Parameters that walkers carry from node to node, and improve at each of them: stochastic
//! approximation along walks.
//!
//! A walk does not depend on the parameters, so that it is drawn first, a block of steps at a time,
//! and the tokens follow it.

mod data;
mod loss;
mod quadratic;
mod ride;
mod rule;
#[cfg(test)]
mod tests;
mod tokens;

pub use data::{Data, Link};
pub use loss::{Foreign, Loss};
pub use quadratic::{Curvature, Quadratic};
pub use ride::{Nodes, Trace};
pub use rule::{Projection, Rule, StepSizes};
pub use tokens::{Lost, Tokens};

use fermiac_base::simd::LANES;

/// Eight coordinates; those beyond the last are 0.
type Tile = [f64; LANES];

/// Rows of `dim` numbers as rows of whole tiles.
fn tiled(rows: &[f64], dim: usize) -> Vec<Tile> {
    let tiles = dim.div_ceil(LANES);
    let mut out = vec![[0.0; LANES]; rows.len() / dim * tiles];
    for (to, row) in out.chunks_exact_mut(tiles).zip(rows.chunks_exact(dim)) {
        to.as_flattened_mut()[..dim].copy_from_slice(row);
    }
    out
}

/// The sum of products, tile by tile.
#[inline(always)]
fn product<const FMA: bool>(a: &[Tile], b: &[Tile]) -> f64 {
    use fermiac_base::simd::V;
    let mut sum = V::ZERO;
    for k in 0..a.len().min(b.len()) {
        sum = V(a[k]).mul_add::<FMA>(V(b[k]), sum);
    }
    sum.sum()
}
