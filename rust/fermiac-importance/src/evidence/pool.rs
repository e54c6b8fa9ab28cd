//! All points of a run with the density that they count as drawn from.

use super::draw::Drawn;
use crate::component_bank::Fitted;
use crate::layout::{lanes, n_tiles};
use crate::points::{SPAN, log_add};
use crate::proposal::Proposal;
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln};
use std::ops::Range;

/// The share of the weight that fits may leave out.
const NEGLIGIBLE: f64 = 1e-12;

/// One stage of points.
#[derive(Debug)]
pub(super) struct Stage {
    proposal: Proposal,
    pub(super) n: usize,
    tiles: Range<usize>,
    /// Points per chunk and stratum.
    pub(super) counts: Vec<Vec<usize>>,
}

/// Points of several stages. Drawn in numbers `n_s` from densities `q_s`, they count as drawn from
/// h = Σ (n_s / n) q_s with `balance` (the deterministic mixture), else each from its own `q_s`.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) dim: usize,
    balance: bool,
    stages: Vec<Stage>,
    pub(super) n: usize,
    /// The points of the newest stage, row-major, in the law's space.
    pub(super) x: Vec<f64>,
    pub(super) log_density: Vec<f64>,
    /// tiles × d, in the working space, as all that follows.
    pub(super) z: Vec<V>,
    log_law: Vec<V>,
    log_target: Vec<V>,
    /// log Σ n_s q_s, or log n_s q_s of the own stage.
    log_sum: Vec<V>,
    /// Points in each tile: chunks fill whole tiles.
    lanes: Vec<u8>,
}

impl Pool {
    pub(super) fn new(dim: usize, balance: bool) -> Self {
        Self {
            dim,
            balance,
            stages: Vec::new(),
            n: 0,
            x: Vec::new(),
            log_density: Vec::new(),
            z: Vec::new(),
            log_law: Vec::new(),
            log_target: Vec::new(),
            log_sum: Vec::new(),
            lanes: Vec::new(),
        }
    }

    /// Adds a stage, and gives its log-weights under its own sampler alone: tiles.
    pub(super) fn append(
        &mut self,
        drawn: Vec<Drawn>,
        points: Vec<f64>,
        proposal: Proposal,
    ) -> Vec<V> {
        let old = self.lanes.len();
        let mut stage = Stage { proposal, n: 0, tiles: old..old, counts: Vec::new() };
        let mut own = Vec::new();
        let n: usize = drawn.iter().map(|batch| batch.n).sum();
        self.x = points;
        self.log_density = Vec::with_capacity(n);
        for batch in drawn {
            let tiles = n_tiles(batch.n);
            self.log_target.extend(batch.log_target());
            self.lanes.extend((0..tiles).map(|t| lanes(t, batch.n) as u8));
            self.log_density.extend_from_slice(&batch.log_density);
            self.z.extend_from_slice(&batch.z);
            self.log_law.extend_from_slice(&batch.log_law);
            own.extend_from_slice(&batch.log_own);
            stage.n += batch.n;
            stage.counts.push(batch.counts);
        }
        stage.tiles.end = self.lanes.len();
        self.n += stage.n;
        let log_n = V::splat(ln(stage.n as f64));
        self.log_sum.extend(own.iter().map(|log_q| *log_q + log_n));
        self.stages.push(stage);
        for (log_q, log_p) in own.iter_mut().zip(&self.log_target[old..]) {
            *log_q = log_ratio(*log_p, *log_q);
        }
        own
    }

    /// Makes the points count as drawn from the mixture of all samplers, after a stage that a fit
    /// follows: the newest sampler at the older points, and the older ones at the newest.
    pub(super) fn mix(&mut self, context: &Context<'_>) -> Result<()> {
        let Some(newest) = self.stages.len().checked_sub(1).filter(|_| self.balance) else {
            return Ok(());
        };
        let Range { start, end } = self.stages[newest].tiles.clone();
        let mut sums = self.visit(context, 0..start, &self.stages[newest..])?;
        sums.extend(self.visit(context, start..end, &self.stages[..newest])?);
        self.log_sum = sums;
        Ok(())
    }

    /// The sums at `tiles` with the densities of `stages` in them.
    fn visit(
        &self,
        context: &Context<'_>,
        tiles: Range<usize>,
        stages: &[Stage],
    ) -> Result<Vec<V>> {
        let mut sums = Vec::with_capacity(tiles.len());
        context.ordered(
            tiles.len().div_ceil(SPAN),
            |i| {
                let start = tiles.start + i * SPAN;
                let span = start..(start + SPAN).min(tiles.end);
                Ok(dispatch(Densities { pool: self, stages, span }))
            },
            |_, part| {
                sums.extend(part);
                Ok(())
            },
        )?;
        Ok(sums)
    }

    /// The newest stage.
    pub(super) fn newest(&self) -> Option<&Stage> {
        self.stages.last()
    }

    /// The tiles that fits are from: all of them, or those of the newest stage.
    pub(super) fn tiles(&self) -> Range<usize> {
        let from = if self.balance { 0 } else { self.newest().map_or(0, |s| s.tiles.start) };
        from..self.lanes.len()
    }

    /// The log-weights that fits use: tiles, -inf in padding.
    pub(super) fn log_weights(&self) -> Vec<V> {
        let n = if self.balance { self.n } else { self.newest().map_or(0, |s| s.n) };
        let log_n = V::splat(ln(n as f64));
        self.tiles().map(|t| log_ratio(self.log_target[t], self.log_sum[t] - log_n)).collect()
    }

    /// Mean and covariance of all points, whatever their weights: the spread of the law after the
    /// first stage.
    pub(super) fn spread(&self) -> Fitted {
        let (d, n) = (self.dim, self.n as f64);
        let points = || {
            self.z.chunks_exact(d).zip(&self.lanes).flat_map(|(tile, lanes)| {
                (0..usize::from(*lanes)).map(move |lane| tile.iter().map(move |v| v.0[lane]))
            })
        };
        let mut mean = vec![0.0; d];
        for z in points() {
            mean.iter_mut().zip(z).for_each(|(m, z)| *m += z / n);
        }
        let mut covariance = vec![0.0; d * d];
        for z in points() {
            let offset: Vec<f64> = z.zip(&mean).map(|(z, m)| z - m).collect();
            for (row, a) in covariance.chunks_exact_mut(d).zip(&offset) {
                row.iter_mut().zip(&offset).for_each(|(c, b)| *c += a * b / n);
            }
        }
        Fitted { mean, covariance }
    }

    /// Values of the newest stage's tiles as rows, without padding.
    pub(super) fn to_rows(&self, values: &[V]) -> Vec<f64> {
        let lanes = &self.lanes[self.lanes.len() - values.len()..];
        values.iter().zip(lanes).flat_map(|(v, n)| v.0.into_iter().take(usize::from(*n))).collect()
    }
}

/// log p - log q; -inf where p is 0.
fn log_ratio(log_p: V, log_q: V) -> V {
    log_p.zip(log_q, |p, q| if p == f64::NEG_INFINITY { p } else { p - q })
}

struct Densities<'a> {
    pool: &'a Pool,
    stages: &'a [Stage],
    span: Range<usize>,
}

impl Kernel for Densities<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let d = self.pool.dim;
        let mut sums = self.pool.log_sum[self.span.clone()].to_vec();
        for stage in self.stages {
            let mut mixed = stage.proposal.scratch();
            let log_count = V::splat(ln(stage.n as f64));
            for (i, t) in self.span.clone().enumerate() {
                let tile = &self.pool.z[t * d..(t + 1) * d];
                mixed.eval::<FMA>(&stage.proposal, tile, &self.pool.log_law[t..=t]);
                sums[i] = log_add::<FMA>(sums[i], mixed.log_g + log_count);
            }
        }
        sums
    }
}

/// Weights for a fit, summing to 1.
#[derive(Debug)]
pub(crate) struct Tempered {
    pub(crate) weights: Vec<V>,
    /// The power of the weights.
    pub(crate) power: f64,
    /// The effective sample size of the tempered weights.
    pub(crate) effective: f64,
}

/// Raises weights to the largest power up to 1 at which they are worth `wanted` points: the fit is
/// then to p^γ h^(1-γ), on the way from where the points are to where the target is. None where no
/// weight is positive.
pub(crate) fn temper(log_weights: &[V], wanted: f64) -> Option<Tempered> {
    let largest = log_weights.iter().flat_map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return None;
    }
    let positive = log_weights.iter().flat_map(|v| v.0).filter(|l| *l > f64::NEG_INFINITY).count();
    // Of few points with weight, half.
    let wanted = wanted.min(positive as f64 / 2.0);
    let at = |power: f64| dispatch(Raised { log_weights, largest, power });
    let effective = |power: f64| at(power).0;
    let (mut low, mut high) = (1.0, 1.0);
    while effective(low) < wanted && low > f64::EPSILON * f64::EPSILON {
        high = low;
        low /= 2.0;
    }
    for _ in 0..8 {
        let middle = f64::midpoint(low, high);
        if low < high && effective(middle) >= wanted {
            low = middle;
        } else {
            high = middle.max(low);
        }
    }
    let (effective, weights) = at(low);
    Some(Tempered { weights, power: low, effective })
}

/// Weights of a power, summing to 1, and their effective sample size.
struct Raised<'a> {
    log_weights: &'a [V],
    largest: f64,
    power: f64,
}

impl Kernel for Raised<'_> {
    type Output = (f64, Vec<V>);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, Vec<V>) {
        let (mut sum, mut squares) = (V::ZERO, V::ZERO);
        let mut weights = Vec::with_capacity(self.log_weights.len());
        for log in self.log_weights {
            let mut scaled = V::ZERO;
            for lane in 0..LANES {
                scaled.0[lane] = (log.0[lane] - self.largest) * self.power;
            }
            let w = expv::<FMA>(scaled);
            sum = sum + w;
            squares = w.mul_add::<FMA>(w, squares);
            weights.push(w);
        }
        let (sum, squares) = (sum.sum(), squares.sum());
        // What all such points together could add is below the rounding of a fit; without them the
        // passes skip most tiles while the weights are uneven.
        let least = sum * NEGLIGIBLE / (self.log_weights.len() * LANES) as f64;
        for w in &mut weights {
            *w = w.map(|w| if w < least { 0.0 } else { w / sum });
        }
        (sum * sum / squares, weights)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tempering_stops_at_the_size_that_is_wanted() {
        let log_weights: Vec<V> = (0..100)
            .map(|t| V(std::array::from_fn(|l| -0.5 * ((t * LANES + l) as f64).powi(2))))
            .collect();
        let tempered = temper(&log_weights, 50.0).unwrap();
        assert!(tempered.power < 1.0);
        assert!(tempered.effective >= 50.0 && tempered.effective < 50.5, "{}", tempered.effective);
        let sum: f64 = tempered.weights.iter().flat_map(|v| v.0).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        // Even weights need none.
        assert_eq!(temper(&[V::splat(-1e5); 100], 50.0).unwrap().power, 1.0);
        assert!(temper(&[V::splat(f64::NEG_INFINITY); 3], 5.0).is_none());
    }
}
