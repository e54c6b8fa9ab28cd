//! The layout of a problem and of its points: the law and the output of each expectation, and tiles of
//! eight points side by side, one vector per coordinate.

use super::pooled::Pooled;
use super::problem::{Batch, Problem};
use super::proposal::{Mixed, Proposal, weight};
use fermiac_base::linalg::Rows;
use fermiac_base::simd::{LANES, V};
use fermiac_base::{Error, Result};

/// The three shapes of a problem: one law and J integrands, J laws and one integrand, J pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) n_laws: usize,
    /// Densities that are evaluated at every point: those of the laws, and of a given sampler.
    pub(crate) columns: usize,
    pub(crate) outputs: usize,
    /// J
    pub(crate) len: usize,
}

impl Layout {
    pub(crate) fn new(problem: &Problem<'_>) -> Result<Self> {
        let (n_laws, outputs) = (problem.laws.len(), problem.outputs()?);
        if outputs == 0 {
            return Err(Error::argument("f", "it gave no output; at least one is needed"));
        }
        if n_laws > 1 && outputs > 1 && n_laws != outputs {
            let why = format!(
                "it has {outputs} outputs for {n_laws} laws; give one output for all laws, one for \
                 each law, or one law"
            );
            return Err(Error::argument("f", why));
        }
        Ok(Self { n_laws, columns: problem.columns(), outputs, len: n_laws.max(outputs) })
    }

    /// Refuses a batch with another number of outputs.
    pub(crate) fn require(&self, batch: &Batch) -> Result<()> {
        if batch.values.len() == n_tiles(batch.n) * self.outputs {
            return Ok(());
        }
        let found = batch.values.len() / n_tiles(batch.n).max(1);
        let why = format!("it gave {found} outputs, and {} in the adaptation", self.outputs);
        Err(Error::Target { row: None, why })
    }

    #[inline(always)]
    pub(crate) fn law(&self, j: usize) -> usize {
        if self.n_laws == 1 { 0 } else { j }
    }

    #[inline(always)]
    pub(crate) fn output(&self, j: usize) -> usize {
        if self.outputs == 1 { 0 } else { j }
    }
}

/// v and r at the eight points of a tile.
pub(crate) struct TileValues<'a> {
    pub(crate) mixed: Mixed,
    pooled: Option<(&'a Pooled, Vec<Mixed>)>,
}

impl<'a> TileValues<'a> {
    pub(crate) fn new(proposal: &Proposal) -> Self {
        Self { mixed: proposal.scratch(), pooled: None }
    }

    /// The same for points that count as drawn from the mixture of all samplers.
    pub(crate) fn pooled(proposal: &Proposal, pooled: Option<&'a Pooled>) -> Self {
        Self { mixed: proposal.scratch(), pooled: pooled.map(|p| (p, p.scratch())) }
    }

    /// Evaluates tile `t`: f_l / g of every law and f_j φ_j / g of every expectation. Without
    /// densities in the batch the proposal is the one law, and all weights are 1.
    #[inline(always)]
    pub(crate) fn eval<const FMA: bool>(
        &mut self,
        proposal: &Proposal,
        layout: Layout,
        batch: &Batch,
        t: usize,
        weights: &mut [V],
        v: &mut [V],
    ) {
        if batch.log_laws.is_empty() {
            weights.fill(V::splat(1.0));
        } else {
            let d = proposal.bank.dim();
            let log_laws = &batch.log_laws[t * layout.columns..(t + 1) * layout.columns];
            let tile = &batch.z[t * d..(t + 1) * d];
            self.mixed.eval::<FMA>(proposal, tile, log_laws);
            if let Some((pooled, scratch)) = &mut self.pooled {
                pooled.join::<FMA>(&mut self.mixed, scratch, tile, log_laws);
            }
            for l in 0..layout.n_laws {
                weights[l] = weight::<FMA>(log_laws[l], self.mixed.log_g);
            }
        }
        let values = &batch.values[t * layout.outputs..(t + 1) * layout.outputs];
        for j in 0..layout.len {
            v[j] = weights[layout.law(j)] * values[layout.output(j)];
        }
    }
}

/// Tiles that hold `n` points.
#[inline]
pub(crate) fn n_tiles(n: usize) -> usize {
    n.div_ceil(LANES)
}

/// The points as tiles × coordinates. The last tile is padded by repeating its last point, so that
/// padding lanes are as harmless as real ones.
pub(crate) fn from_rows(rows: Rows<'_>, tiles: &mut Vec<V>) {
    let (n, d) = (rows.len(), rows.dim());
    tiles.resize(n_tiles(n) * d, V::ZERO);
    for (t, tile) in tiles.chunks_exact_mut(d).enumerate() {
        for lane in 0..LANES {
            let row = rows.row((t * LANES + lane).min(n - 1));
            for k in 0..d {
                tile[k].0[lane] = row[k];
            }
        }
    }
}

/// The lanes of tile `t` that hold points, of `n` in all.
#[inline(always)]
pub(crate) fn lanes(t: usize, n: usize) -> usize {
    (n - t * LANES).min(LANES)
}
