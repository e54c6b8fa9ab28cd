//! Chains that look at all neighbours before they choose one.

use super::graph::WeightSlice;
use super::history::History;
use super::octet::{Moves, NOWHERE, OCTET, Octet, unit};
use super::places::Places;
use super::plan::{Base, Step};
use super::target::Target;
use crate::Result;
use crate::simd::{LANES, V, expm1v, expv, ln, ln1pv, lnv};

/// A step of the base chain, each outcome weighed by the walker's visits of it.
///
/// With `AVOIDING` the weight of a node is exp(-alpha · (visits less expected visits)), else
/// (measure / target)^-alpha. All is in logarithms relative to the largest, so that no strength
/// and no history is too much.
///
/// References: V. Doshi, J. Hu, D. Y. Eun (2023), "Self-repellent random walks on general graphs",
/// ICML; D. J. Amit, G. Parisi, L. Peliti (1983), "Asymptotic behavior of the 'true' self-avoiding
/// walk", Physical Review B 27(3).
pub(super) struct Scan<'a, const AVOIDING: bool> {
    pub(super) target: &'a Target,
    pub(super) base: Base,
    pub(super) laziness: f64,
    pub(super) n_nodes: usize,
    /// Weights of edges, place by place.
    pub(super) weights: Option<WeightSlice<'a>>,
}

/// Neighbours of a hub that are asked for ahead.
const AHEAD: usize = 128;
/// Places on a cache line, at least.
const LINE: usize = 8;

impl<const AVOIDING: bool> Scan<'_, AVOIDING> {
    /// Whether rows of all neighbours are read.
    #[inline(always)]
    fn needs_rows(&self) -> bool {
        matches!(self.base, Base::Metropolis | Base::Barker | Base::Delayed)
            || self.target.is_degree()
    }

    /// Visits beyond what is expected, or the measure's ratio to the target.
    #[inline(always)]
    fn level<H: History>(
        &self,
        history: &H,
        l: usize,
        node: usize,
        degree: usize,
        step: &Step,
    ) -> f64 {
        if AVOIDING {
            let done = step.done as f64 * history.walkers();
            history.visits(l, node) - done * self.target.share(node, degree, self.n_nodes)
        } else {
            history.level(self.target, l, node, degree)
        }
    }

    /// Chooses where walker `l` goes.
    #[inline(always)]
    fn outcome<const FMA: bool, P: Places, H: History>(
        &self,
        o: &Octet,
        [levels, factors]: &mut [Vec<V>; 2],
        l: usize,
        word: u64,
        places: &P,
        history: &H,
        step: &Step,
    ) -> usize {
        let (at, start, degree) = (o.at[l], o.start[l], o.degree[l]);
        let tiles = (degree + 1).div_ceil(LANES);
        levels.clear();
        levels.resize(tiles, V::splat(1.0));
        let accepts = matches!(self.base, Base::Metropolis | Base::Barker | Base::Delayed);
        let weighted = self.base == Base::Weighted;
        if accepts || weighted {
            factors.clear();
            factors.resize(tiles, V::splat(1.0));
        }
        let rows = self.needs_rows();
        for k in 0..degree {
            let node = places.node(start + k);
            let d = if rows { places.row(node).1 } else { 1 };
            levels[k / LANES].0[k % LANES] = self.level(history, l, node, d, step);
            if accepts {
                factors[k / LANES].0[k % LANES] =
                    if self.target.is_degree() { 1.0 } else { degree as f64 / d as f64 };
            } else if weighted && let Some(weights) = self.weights {
                factors[k / LANES].0[k % LANES] = weights.at(start + k);
            }
        }
        // The probabilities of the base chain times `total`; what is left over stays.
        let mut total = degree as f64;
        let mut stay = 0.0;
        match self.base {
            Base::Weighted => {
                total = (0..degree).map(|k| factors[k / LANES].0[k % LANES]).sum();
                for tile in factors.iter_mut() {
                    *tile = lnv::<FMA>(*tile);
                }
            }
            Base::Metropolis | Base::Barker | Base::Delayed => {
                for (t, tile) in factors.iter_mut().enumerate() {
                    let mut gain = lnv::<FMA>(*tile);
                    let used = LANES.min(degree.saturating_sub(t * LANES));
                    if let Target::Table { .. } = self.target {
                        for k in 0..used {
                            let node = places.node(start + t * LANES + k);
                            gain.0[k] +=
                                self.target.log_of_table(node) - self.target.log_of_table(at);
                        }
                    }
                    let refused = if self.base == Base::Barker {
                        let odds = expv::<FMA>(gain);
                        *tile = V::ZERO - ln1pv::<FMA>(expv::<FMA>(V::ZERO - gain));
                        V::splat(1.0) / (V::splat(1.0) + odds)
                    } else {
                        *tile = gain.map(|gain| gain.min(0.0));
                        V::ZERO - expm1v::<FMA>(*tile)
                    };
                    stay += refused.0[..used].iter().sum::<f64>();
                }
            }
            Base::MaxDegree { largest } => {
                total = largest as f64;
                stay = (largest - degree) as f64;
            }
            // The others are not let in here.
            _ => {}
        }
        stay += self.laziness / (1.0 - self.laziness) * total;
        let alpha = V::splat(-step.alpha);
        let mut top = f64::NEG_INFINITY;
        for (t, tile) in levels.iter_mut().enumerate() {
            let level = if AVOIDING || H::LOG { *tile } else { lnv::<FMA>(*tile) };
            *tile = alpha * level;
            if accepts || weighted {
                *tile = *tile + factors[t];
            }
            for k in degree.saturating_sub(t * LANES)..LANES {
                tile.0[k] = f64::NEG_INFINITY;
            }
        }
        if stay > 0.0 {
            let level = self.level(history, l, at, degree, step);
            let level = if AVOIDING || H::LOG { level } else { ln(level) };
            levels[degree / LANES].0[degree % LANES] = ln(stay) - step.alpha * level;
        }
        let mut tops = V::splat(f64::NEG_INFINITY);
        for tile in levels.iter() {
            tops = tops.max(*tile);
        }
        for top_of_lane in tops.0 {
            top = top.max(top_of_lane);
        }
        let mut sum = V::ZERO;
        for tile in levels.iter_mut() {
            *tile = expv::<FMA>(*tile - V::splat(top));
            sum = sum + *tile;
        }
        let mut left = unit(word) * sum.sum();
        let mut chosen = degree;
        // Tile by tile, then within the one where the sum passes the bar.
        for (t, tile) in levels.iter().enumerate() {
            let mass = tile.sum();
            if left < mass || t + 1 == tiles {
                for k in 0..LANES {
                    if tile.0[k] > 0.0 {
                        chosen = t * LANES + k;
                        left -= tile.0[k];
                        if left < 0.0 {
                            break;
                        }
                    }
                }
                break;
            }
            left -= mass;
        }
        if chosen >= degree { NOWHERE } else { places.node(start + chosen) }
    }
}

impl<const AVOIDING: bool> Moves for Scan<'_, AVOIDING> {
    const WORDS: usize = 1;
    const TWICE: bool = true;

    #[inline(always)]
    fn propose<P: Places, H: History>(&self, o: &mut Octet, _: &[[u64; OCTET]], places: &P, _: &H) {
        for l in 0..o.n {
            for k in (0..o.degree[l].min(AHEAD)).step_by(LINE) {
                places.touch_place(o.start[l] + k);
            }
        }
    }

    #[inline(always)]
    fn look<P: Places, H: History>(&self, o: &mut Octet, places: &P, history: &H) -> Result<()> {
        let rows = self.needs_rows();
        for l in 0..o.n {
            let places_of = o.start[l]..o.start[l] + o.degree[l];
            for place in places_of.clone().take(AHEAD) {
                let node = places.node(place);
                history.touch(l, node);
                self.target.touch(node);
                if rows {
                    places.touch_row(node);
                }
            }
            if rows {
                places.require(places_of.map(|place| places.node(place)))?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decide<const FMA: bool, P: Places, H: History>(
        &self,
        o: &mut Octet,
        words: &[[u64; OCTET]],
        places: &P,
        history: &H,
        step: &Step,
    ) {
        let mut room = std::mem::take(&mut o.room);
        for l in 0..o.n {
            o.candidate[l] =
                self.outcome::<FMA, P, H>(o, &mut room, l, words[0][l], places, history, step);
            if o.candidate[l] != NOWHERE {
                places.touch_row(o.candidate[l]);
            }
        }
        o.room = room;
    }

    #[inline(always)]
    fn look_again<P: Places, H: History>(&self, o: &mut Octet, places: &P, _: &H) -> Result<()> {
        places.require(o.candidate[..o.n].iter().copied().filter(|node| *node != NOWHERE))
    }

    #[inline(always)]
    fn decide_again<const FMA: bool, P: Places, H: History>(
        &self,
        o: &mut Octet,
        _: &[[u64; OCTET]],
        places: &P,
        _: &H,
        _: &Step,
    ) {
        for l in 0..o.n {
            if o.candidate[l] != NOWHERE {
                o.go(l, o.candidate[l], places.row(o.candidate[l]));
            }
        }
    }
}
