//! The inner loop of the final phase: from the values of a block of tiles to sums.

use super::basis::{Basis, Scratch};
use super::layout::{Layout, TileValues};
use super::layout::{lanes, n_tiles};
use super::moments::Moments;
use super::nets::in_order;
use super::pooled::Pooled;
use super::problem::Batch;
use super::proposal::Sampler;
use super::seen::Seen;
use fermiac_base::linalg::add_gram;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, ln_slice};
use std::ops::Range;

/// A jump is this many times all of so many steps on either side. (Neighbours in a net may be close to
/// each other by chance.)
const STEEP: f64 = 8.0;
const BESIDE: usize = 8;
/// Tiles whose values are worked on at a time.
const BLOCK_TILES: usize = 32;

/// The points of the final sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draws {
    pub(crate) x: Vec<f64>,
    /// n × laws: log f_l / g.
    pub(crate) log_weights: Vec<f64>,
}

/// What the first moments of a chunk are kept apart by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Strata<'a> {
    /// The components that the points were drawn from.
    Components,
    /// The replicate, of so many, that they belong to; and whether they are the first of it.
    Replicate { of: usize, count: usize, is_first: bool },
    /// The components of all stages, those of this one from a number on. The points count as drawn
    /// from the mixture of all samplers.
    Stages(&'a Pooled, usize),
}

/// Sums over a chunk, or over all of them.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) moments: Moments,
    pub(super) abs_sum: Vec<f64>,
    pub(super) square_sum: Vec<f64>,
    pub(super) largest: Vec<f64>,
    /// The largest squared deviation of a corrected value.
    pub(super) largest_square: Vec<f64>,
    /// Σ f / g of every law, and Σ (f / g)².
    pub(super) weight_sum: Vec<f64>,
    pub(super) weight_square: Vec<f64>,
    /// n × J, from the first chunks alone.
    pub(super) tail: Vec<f64>,
    /// Of one axis: the largest jump of y in a replicate; see [`jumps`].
    pub(super) jump: Vec<f64>,
    pub(super) seen: Seen,
    pub(super) draws: Option<Draws>,
}

impl Part {
    pub(super) fn new(shape: &Shape, strata: usize) -> Self {
        Self {
            moments: Moments::new(shape.layout.len, strata, shape.full),
            abs_sum: vec![0.0; shape.layout.len],
            square_sum: vec![0.0; shape.layout.len],
            largest: vec![0.0; shape.layout.len],
            largest_square: vec![0.0; shape.layout.len],
            weight_sum: vec![0.0; shape.layout.n_laws],
            weight_square: vec![0.0; shape.layout.n_laws],
            tail: Vec::new(),
            jump: vec![0.0; shape.layout.len],
            seen: Seen::default(),
            draws: None,
        }
    }

    /// The sums of one chunk.
    pub(super) fn of(
        sampler: &Sampler,
        shape: &Shape,
        batch: &Batch,
        chunk: usize,
        by: Strata<'_>,
    ) -> Self {
        let n = batch.n;
        let strata = sampler.proposal.strata();
        let (counts, pooled) = match by {
            Strata::Components => (batch.counts.clone(), None),
            Strata::Replicate { of, count, .. } => {
                let mut counts = vec![0; count];
                counts[of] = n;
                (counts, None)
            }
            Strata::Stages(pooled, start) => {
                let mut counts = vec![0; pooled.n_strata];
                counts[start..start + batch.counts.len()].copy_from_slice(&batch.counts);
                (counts, Some(pooled))
            }
        };
        let mut part = Self::new(shape, counts.len());
        let is_final = pooled.is_none();
        part.draws = (shape.keep_draws && is_final).then(Draws::default);
        if is_final {
            part.seen = Seen::of(shape.layout, batch, sampler.proposal.bank.len());
        }
        let one_axis = sampler.proposal.bank.dim() == 1;
        let steps = one_axis && matches!(by, Strata::Replicate { is_first: true, .. });
        let mut rows = Vec::new();
        // In blocks whose intermediate values stay in the cache, in buffers that are used again.
        let mut filled = Filled::default();
        for start in (0..n_tiles(n)).step_by(BLOCK_TILES) {
            let tiles = start..(start + BLOCK_TILES).min(n_tiles(n));
            dispatch(Fill {
                sampler,
                shape,
                batch,
                tiles: tiles.clone(),
                pooled,
                filled: &mut filled,
                part: &mut part,
            });
            dispatch(Sums { y: &filled.y, moments: &mut part.moments });
            add_strata(&filled.y, &counts, tiles.clone(), &mut part.moments);
            if steps {
                rows.extend(by_rows(&filled.y, shape.layout.len, &tiles, n));
            }
            if chunk < shape.khat_chunks {
                part.tail.extend(by_rows(&filled.v, shape.layout.len, &tiles, n).map(f64::abs));
            }
            if let Some(draws) = &mut part.draws {
                ln_slice_of(&mut filled.weights);
                draws.log_weights.extend(by_rows(&filled.weights, shape.layout.n_laws, &tiles, n));
            }
        }
        if let Some(draws) = &mut part.draws {
            draws.x.clone_from(&batch.x);
            if !batch.order.is_empty() {
                // Any stretch of the points of a net is a sample, which the points of a part are not.
                let n_laws = shape.layout.n_laws;
                draws.x = in_order(&draws.x, batch.x.len() / n, &batch.order);
                draws.log_weights = in_order(&draws.log_weights, n_laws, &batch.order);
            }
        }
        if steps {
            part.jump = jumps(&batch.x, &rows);
        }
        if let Strata::Components = by {
            for (s, probability) in strata.iter().enumerate() {
                let expected = probability * n as f64;
                let q = expected - expected.floor();
                part.moments.rounding[s] = q * (1.0 - q);
            }
        }
        part
    }

    /// The same without what has a number for each point.
    pub(super) fn sums(&self) -> Self {
        Self {
            moments: self.moments.clone(),
            abs_sum: self.abs_sum.clone(),
            square_sum: self.square_sum.clone(),
            largest: self.largest.clone(),
            largest_square: self.largest_square.clone(),
            weight_sum: self.weight_sum.clone(),
            weight_square: self.weight_square.clone(),
            tail: Vec::new(),
            jump: self.jump.clone(),
            seen: self.seen.clone(),
            draws: None,
        }
    }

    /// The sums of two ranges of chunks, one after the other.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    pub(super) fn add(&mut self, other: Self) {
        self.moments.add(&other.moments);
        for (a, b) in [
            (&mut self.abs_sum, &other.abs_sum),
            (&mut self.square_sum, &other.square_sum),
            (&mut self.weight_sum, &other.weight_sum),
            (&mut self.weight_square, &other.weight_square),
        ] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        for (a, b) in [
            (&mut self.largest, &other.largest),
            (&mut self.largest_square, &other.largest_square),
            (&mut self.jump, &other.jump),
        ] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(*b));
        }
        self.tail.extend(other.tail);
        self.seen.add(&other.seen);
        if let (Some(a), Some(b)) = (&mut self.draws, other.draws) {
            a.x.extend(b.x);
            a.log_weights.extend(b.log_weights);
        }
    }
}

/// The shifts and scales, fixed before the bulk of the sample is drawn.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// The shift and the unit of the values of every expectation.
    pub(super) shift: Vec<f64>,
    pub(super) unit: Vec<f64>,
    pub(super) khat_chunks: usize,
    /// Whether the whole covariance is wanted, and the points.
    pub(super) full: bool,
    pub(super) keep_draws: bool,
}

#[derive(Debug, Default)]
pub(super) struct Filled {
    /// (z - shift) / unit, z the corrected values: tiles × J, 0 in padding.
    pub(super) y: Vec<V>,
    /// f φ / g: tiles × J.
    pub(super) v: Vec<V>,
    /// f / g: tiles × laws.
    pub(super) weights: Vec<V>,
}

/// Fills a block of tiles, and adds up what is needed of |v| and of the weights.
pub(super) struct Fill<'a> {
    pub(super) sampler: &'a Sampler,
    pub(super) shape: &'a Shape,
    pub(super) batch: &'a Batch,
    pub(super) tiles: Range<usize>,
    /// The samplers of all stages, where the points count as drawn from the mixture of them.
    pub(super) pooled: Option<&'a Pooled>,
    pub(super) filled: &'a mut Filled,
    pub(super) part: &'a mut Part,
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (shape, batch) = (self.shape, self.batch);
        let layout = shape.layout;
        let j = layout.len;
        let sampler = self.sampler;
        let proposal = &sampler.proposal;
        let inverse: Vec<f64> = shape.unit.iter().map(|u| 1.0 / u).collect();
        let filled = self.filled;
        filled.y.resize(self.tiles.len() * j, V::ZERO);
        filled.v.resize(self.tiles.len() * j, V::ZERO);
        filled.weights.resize(self.tiles.len() * layout.n_laws, V::ZERO);
        let mut sums = vec![[V::ZERO; 4]; j];
        let mut weight_sums = vec![[V::ZERO; 2]; layout.n_laws];
        let mut at = TileValues::pooled(proposal, self.pooled);
        let mut polynomials = vec![V::ZERO; sampler.basis.as_ref().map_or(0, Basis::len)];
        let mut scratch = Scratch::default();
        for (i, t) in self.tiles.enumerate() {
            let v = &mut filled.v[i * j..(i + 1) * j];
            let weights = &mut filled.weights[i * layout.n_laws..(i + 1) * layout.n_laws];
            at.eval::<FMA>(proposal, layout, batch, t, weights, v);
            let used = lanes(t, batch.n);
            let mut mask = V::splat(1.0);
            mask.0[used..].fill(0.0);
            for l in 0..layout.n_laws {
                let w = weights[l] * mask;
                let [sum, square] = &mut weight_sums[l];
                *sum = *sum + w;
                *square = w.mul_add::<FMA>(w, *square);
            }
            if let Some(basis) = &sampler.basis {
                let d = proposal.bank.dim();
                let z = &batch.z[t * d..(t + 1) * d];
                basis.fill::<FMA>(z, &mut scratch, &mut polynomials);
                polynomials.iter_mut().for_each(|p| *p = *p * weights[0]);
            }
            let y = &mut filled.y[i * j..(i + 1) * j];
            for k in 0..j {
                let (shift, inverse) = (V::splat(shape.shift[k]), inverse[k]);
                let mut z = v[k];
                if let Some(control) = sampler.controls.get(k) {
                    for (group, beta) in &control.terms {
                        let ratio = at.mixed.ratios[*group] - V::splat(1.0);
                        z = ratio.mul_add::<FMA>(V::splat(-beta), z);
                    }
                    for (p, beta) in &control.polynomials {
                        z = polynomials[*p].mul_add::<FMA>(V::splat(-beta), z);
                    }
                    for (law, beta) in &control.laws {
                        let ratio = weights[*law] - V::splat(1.0);
                        z = ratio.mul_add::<FMA>(V::splat(-beta), z);
                    }
                }
                y[k] = (z - shift) * V::splat(inverse) * mask;
                let mut absolute = v[k];
                for lane in 0..LANES {
                    absolute.0[lane] = absolute.0[lane].abs() * inverse * mask.0[lane];
                }
                let [sum, square, largest, deviation] = &mut sums[k];
                *sum = *sum + absolute;
                *square = absolute.mul_add::<FMA>(absolute, *square);
                *largest = largest.max(absolute);
                *deviation = deviation.max(y[k] * y[k]);
            }
        }
        let most = |so_far: f64, v: V| v.0.into_iter().fold(so_far, f64::max);
        for (k, [sum, square, largest, deviation]) in sums.into_iter().enumerate() {
            self.part.abs_sum[k] += sum.sum();
            self.part.square_sum[k] += square.sum();
            self.part.largest[k] = most(self.part.largest[k], largest);
            self.part.largest_square[k] = most(self.part.largest_square[k], deviation);
        }
        for (l, [sum, square]) in weight_sums.into_iter().enumerate() {
            self.part.weight_sum[l] += sum.sum();
            self.part.weight_square[l] += square.sum();
        }
    }
}

/// Adds the squares.
struct Sums<'a> {
    y: &'a [V],
    moments: &'a mut Moments,
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let p = self.moments.p;
        if self.moments.full {
            add_gram::<FMA>(self.y, p, 0, 1, &mut self.moments.gram);
            return;
        }
        let mut squares = vec![V::ZERO; p];
        for tile in self.y.chunks_exact(p) {
            for k in 0..p {
                squares[k] = tile[k].mul_add::<FMA>(tile[k], squares[k]);
            }
        }
        for (g, s) in self.moments.gram.iter_mut().zip(squares) {
            *g += s.sum();
        }
    }
}

/// Adds the rows of a block of tiles to the sums of their strata, which lie one after the other;
/// a tile on a border belongs to several.
fn add_strata(y: &[V], counts: &[usize], tiles: Range<usize>, moments: &mut Moments) {
    let p = moments.p;
    let mut start = 0;
    let mut sums = vec![V::ZERO; p];
    for (s, count) in counts.iter().enumerate() {
        let end = start + count;
        let own = (start / LANES).max(tiles.start)..end.div_ceil(LANES).min(tiles.end);
        if *count > 0 && own.start < own.end {
            sums.fill(V::ZERO);
            for t in own {
                let low = start.max(t * LANES) - t * LANES;
                let high = end.min((t + 1) * LANES) - t * LANES;
                moments.counts[s] += (high - low) as f64;
                let at = (t - tiles.start) * p;
                for (sum, y) in sums.iter_mut().zip(&y[at..at + p]) {
                    for lane in low..high {
                        sum.0[lane] += y.0[lane];
                    }
                }
            }
            for (total, sum) in moments.sums[s * p..(s + 1) * p].iter_mut().zip(&sums) {
                *total += sum.sum();
            }
        }
        start = end;
    }
}

/// The largest step of every column of `rows` between neighbours on the only axis, 0 where the steps
/// beside it are like it: a jump of a function has none, a slope or a tail has.
fn jumps(x: &[f64], rows: &[f64]) -> Vec<f64> {
    let k = rows.len() / x.len();
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    (0..k)
        .map(|j| {
            let at = |i: usize| rows[order[i] * k + j];
            let step = |i: usize| (at(i + 1) - at(i)).abs();
            let last = x.len() - 1;
            let (top, largest) = (0..last)
                .map(|i| (i, step(i)))
                .fold((0, 0.0), |b, s| if s.1 > b.1 { s } else { b });
            let mut beside =
                (top.saturating_sub(BESIDE)..last.min(top + BESIDE + 1)).filter(|i| *i != top);
            let like = beside.any(|i| step(i) > largest / STEEP);
            if like { 0.0 } else { largest }
        })
        .collect()
}

/// The values of a block of tiles (tiles × width) point by point, without padding.
fn by_rows(table: &[V], width: usize, tiles: &Range<usize>, n: usize) -> impl Iterator<Item = f64> {
    let first = tiles.start * LANES;
    let end = (tiles.end * LANES).min(n);
    (0..(end - first) * width).map(move |k| {
        let (row, column) = (k / width, k % width);
        table[row / LANES * width + column].0[row % LANES]
    })
}

fn ln_slice_of(table: &mut [V]) {
    for v in table {
        ln_slice(&mut v.0);
    }
}
