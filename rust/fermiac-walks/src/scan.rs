//! Steps that weigh all neighbours by the visits of the walker.

use super::graph::WeightSlice;
use super::history::History;
use super::neighbour_source::NeighbourSource;
use super::plan::{Base, Step};
use super::target::Target;
use super::walker_block::{Moves, NOWHERE, Scene, WalkerBlock, Words, unit};
use fermiac_base::Result;
use fermiac_base::simd::{LANES, V, expm1v, expv, ln, ln1pv, lnv};

/// A step of the base chain, with each outcome weighed by the walker's visits to it.
///
/// With `AVOIDING` the weight of a node is exp(-alpha · (visits - expected visits)), else
/// (measure / target)^-alpha. Logarithms are relative to the largest, so that no strength and no
/// history overflows.
///
/// References: V. Doshi, J. Hu, D. Y. Eun (2023), "Self-repellent random walks on general graphs",
/// ICML; D. J. Amit, G. Parisi, L. Peliti (1983), "Asymptotic behavior of the 'true' self-avoiding
/// walk", Physical Review B 27(3).
pub(super) struct Scan<'a, const AVOIDING: bool> {
    pub(super) target: &'a Target,
    pub(super) base: Base,
    /// Whether a neighbour is accepted or refused, so that its degree counts.
    pub(super) accepts: bool,
    pub(super) laziness: f64,
    pub(super) n_nodes: usize,
    /// Weights of the edges, by place.
    pub(super) weights: Option<WeightSlice<'a>>,
    /// Degrees of the neighbours, by place; empty if not known.
    pub(super) degrees: &'a [u32],
}

/// Neighbours of a hub that are prefetched.
const AHEAD: usize = 128;
/// NeighbourSource on a cache line, at least.
const LINE: usize = 8;

impl<const AVOIDING: bool> Scan<'_, AVOIDING> {
    /// Whether the degrees of all neighbours are needed.
    #[inline(always)]
    fn needs_degrees(&self) -> bool {
        self.accepts || self.target.is_degree()
    }

    /// The log-weights of a tile of nodes by their visits.
    #[inline(always)]
    fn bend<const FMA: bool>(
        &self,
        history: &impl History,
        l: usize,
        nodes: &[usize; LANES],
        degrees: V,
        step: &Step,
    ) -> V {
        let mut visits = V::ZERO;
        if AVOIDING {
            let done = step.done as f64 * history.walkers();
            for k in 0..LANES {
                let share = self.target.share(nodes[k], degrees.0[k], self.n_nodes);
                visits.0[k] = history.visits(l, nodes[k]) - done * share;
            }
        } else if history.is_log() {
            for k in 0..LANES {
                visits.0[k] = history.level(self.target, l, nodes[k], degrees.0[k] as usize);
            }
        } else {
            let counts = history.gather(l, nodes);
            visits = lnv::<FMA>(self.target.ratios(nodes, degrees, counts));
        }
        V::splat(-step.alpha) * visits
    }

    /// The log-probabilities of the base chain to move to a tile of neighbours, and the
    /// probabilities to be refused there, each times the degree (or strength).
    #[inline(always)]
    fn base<const FMA: bool>(
        &self,
        nodes: &[usize; LANES],
        degrees: V,
        (first, last): (usize, usize),
        (at, degree): (usize, usize),
    ) -> (V, V) {
        if let (Base::Weighted, Some(weights)) = (self.base, self.weights) {
            let mut tile = V::splat(1.0);
            for k in 0..LANES {
                tile.0[k] = weights.at((first + k).min(last));
            }
            return (lnv::<FMA>(tile), V::ZERO);
        }
        if !self.accepts {
            return (V::ZERO, V::ZERO);
        }
        let mut gain = V::ZERO;
        if !self.target.is_degree() {
            gain = lnv::<FMA>(V::splat(degree as f64) / degrees);
        }
        if let Target::Table { .. } = self.target {
            let own = self.target.log_of_table(at);
            for k in 0..LANES {
                gain.0[k] += self.target.log_of_table(nodes[k]) - own;
            }
        }
        if self.base == Base::Barker {
            let log = V::ZERO - ln1pv::<FMA>(expv::<FMA>(V::ZERO - gain));
            return (log, V::splat(1.0) / (V::splat(1.0) + expv::<FMA>(gain)));
        }
        let log = gain.map(|gain| if gain < 0.0 { gain } else { 0.0 });
        (log, V::ZERO - expm1v::<FMA>(log))
    }

    /// Chooses the next node of walker `l`.
    #[inline(always)]
    fn outcome<const FMA: bool>(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        room: &mut Vec<V>,
        l: usize,
    ) -> usize {
        let &Scene { ref o, words, source, history, step } = scene;
        let (start, degree) = (o.start[l], o.degree[l]);
        // The outcome after the last neighbour is to stay.
        let tiles = (degree + 1).div_ceil(LANES);
        if room.len() < 2 * tiles {
            room.resize(2 * tiles, V::ZERO);
        }
        let (outcomes, rest) = room.split_at_mut(tiles);
        let tame = !AVOIDING && !history.is_log() && !matches!(self.target, Target::Table { .. });
        let exponent = step.power.filter(|_| tame && self.base != Base::Weighted);
        if let Some(exponent) = exponent {
            self.by_powers(scene, (outcomes, rest), l, exponent);
        } else {
            self.by_logarithms::<FMA>(scene, outcomes, l);
        }
        let mut sum = V::ZERO;
        for tile in outcomes.iter() {
            sum = sum + *tile;
        }
        let chosen = choose_by(outcomes, unit(words[0][l]) * sum.sum());
        if chosen >= degree { NOWHERE } else { source.node(start + chosen) }
    }

    /// A tile of a row: its nodes, and their degrees where they count. Lanes beyond the row repeat
    /// the last place, without a branch or another load.
    #[inline(always)]
    fn tile(
        &self,
        source: &impl NeighbourSource,
        (first, last): (usize, usize),
    ) -> ([usize; LANES], V) {
        let mut nodes = [0; LANES];
        let mut degrees = V::splat(1.0);
        for k in 0..LANES {
            nodes[k] = source.node((first + k).min(last));
        }
        if self.needs_degrees() {
            for k in 0..LANES {
                degrees.0[k] = self.degree(source, (first + k).min(last), nodes[k]);
            }
        }
        (nodes, degrees)
    }

    /// The weights of all outcomes relative to about the largest, for moderate ratios of visits
    /// and a whole strength: as powers, at a third of the cost of logarithms.
    #[inline(always)]
    fn by_powers(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        (outcomes, factors): (&mut [V], &mut [V]),
        l: usize,
        exponent: u32,
    ) {
        let &Scene { ref o, source, history, .. } = scene;
        let (at, start, degree) = (o.at[l], o.start[l], o.degree[l]);
        let own = self.target.ratio(at, degree, history.visits(l, at));
        let mut least = V::splat(f64::INFINITY);
        let mut refused = V::ZERO;
        let last = (start + degree).saturating_sub(1);
        for (t, outcome) in outcomes.iter_mut().enumerate() {
            let used = degree - t * LANES;
            *outcome = V::splat(f64::INFINITY);
            if used == 0 {
                continue;
            }
            let (nodes, degrees) = self.tile(source, (start + t * LANES, last));
            let ratios = self.target.ratios(&nodes, degrees, history.gather(l, &nodes));
            for k in 0..LANES {
                outcome.0[k] = if k < used { ratios.0[k] } else { f64::INFINITY };
            }
            least = V::ZERO - (V::ZERO - least).max(V::ZERO - *outcome);
            if self.accepts && !self.target.is_degree() {
                let odds = V::splat(degree as f64) / degrees;
                let factor = if self.base == Base::Barker {
                    odds / (V::splat(1.0) + odds)
                } else {
                    odds.map(|odds| if odds < 1.0 { odds } else { 1.0 })
                };
                factors[t] = factor;
                for k in 0..LANES {
                    refused.0[k] += if k < used { 1.0 - factor.0[k] } else { 0.0 };
                }
            } else if self.accepts && self.base == Base::Barker {
                factors[t] = V::splat(0.5);
                refused = V::splat(degree as f64 / 2.0 / LANES as f64);
            }
        }
        let stay = self.stay(refused.sum(), start, degree);
        if stay > 0.0 {
            outcomes[degree / LANES].0[degree % LANES] = own;
            least.0[0] = least.0[0].min(own);
        }
        let least = least.0.iter().fold(f64::INFINITY, |a, &b| if b < a { b } else { a });
        let factored = self.accepts && !(self.target.is_degree() && self.base != Base::Barker);
        for (t, outcome) in outcomes.iter_mut().enumerate() {
            // Lanes beyond the row have an infinite ratio, and so the weight 0.
            let weight = power(V::splat(least) / *outcome, exponent);
            *outcome = if factored { weight * factors[t] } else { weight };
        }
        if stay > 0.0 {
            let weight = power(V::splat(least / own), exponent).0[0];
            outcomes[degree / LANES].0[degree % LANES] = stay * weight;
        }
    }

    /// The weights of all outcomes relative to the largest, in general.
    #[inline(always)]
    fn by_logarithms<const FMA: bool>(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        outcomes: &mut [V],
        l: usize,
    ) {
        let &Scene { ref o, source, history, step, .. } = scene;
        let (at, start, degree) = (o.at[l], o.start[l], o.degree[l]);
        let mut tops = V::splat(f64::NEG_INFINITY);
        let mut refused = V::ZERO;
        let last = (start + degree).saturating_sub(1);
        for (t, outcome) in outcomes.iter_mut().enumerate() {
            let first = start + t * LANES;
            let used = degree - t * LANES;
            *outcome = V::splat(f64::NEG_INFINITY);
            if used == 0 {
                continue;
            }
            let (nodes, degrees) = self.tile(source, (first, last));
            let (base, turned) = self.base::<FMA>(&nodes, degrees, (first, last), (at, degree));
            let bend = self.bend::<FMA>(history, l, &nodes, degrees, step);
            for k in 0..LANES {
                if k < used {
                    outcome.0[k] = base.0[k] + bend.0[k];
                    refused.0[k] += turned.0[k];
                }
            }
            tops = tops.max(*outcome);
        }
        let stay = self.stay(refused.sum(), start, degree);
        if stay > 0.0 {
            let degrees = V::splat(degree as f64);
            let bend = self.bend::<FMA>(history, l, &[at; LANES], degrees, step);
            let own = &mut outcomes[degree / LANES];
            own.0[degree % LANES] = ln(stay) + bend.0[0];
            tops = tops.max(*own);
        }
        let top = tops.0.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        for tile in outcomes.iter_mut() {
            *tile = expv::<FMA>(*tile - V::splat(top));
        }
    }

    /// The weight of staying: refusals, the rest of the base chain, and laziness.
    #[inline(always)]
    fn stay(&self, refused: f64, start: usize, degree: usize) -> f64 {
        let slots = self.base.slots(degree);
        let spare = (slots - degree) as f64;
        let total = if self.base == Base::Weighted && self.laziness > 0.0 {
            self.strength(start, degree)
        } else {
            slots as f64
        };
        refused + spare + self.laziness / (1.0 - self.laziness) * total
    }

    /// The degree of the node at a place.
    #[inline(always)]
    fn degree(&self, source: &impl NeighbourSource, place: usize, node: usize) -> f64 {
        match self.degrees.get(place) {
            Some(degree) => f64::from(*degree),
            None => source.row(node).1 as f64,
        }
    }

    /// The sum of the weights of a row.
    fn strength(&self, start: usize, degree: usize) -> f64 {
        self.weights.map_or(degree as f64, |weights| {
            (start..start + degree).map(|place| weights.at(place)).sum()
        })
    }
}

/// The outcome at which the sum of the weights passes a bar.
#[inline(always)]
fn choose_by(weights: &[V], mut left: f64) -> usize {
    for (t, tile) in weights.iter().enumerate() {
        let mass = tile.sum();
        if left < mass || t + 1 == weights.len() {
            let (mut passed, mut sum) = (0, 0.0);
            for weight in tile.0 {
                sum += weight;
                passed += usize::from(sum <= left);
            }
            if passed == LANES {
                // By rounding: the last possible outcome.
                passed = tile.0.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
            }
            return t * LANES + passed;
        }
        left -= mass;
    }
    0
}

/// A whole power, by squaring.
#[inline(always)]
fn power(x: V, exponent: u32) -> V {
    let (mut out, mut square, mut left) = (V::splat(1.0), x, exponent);
    while left > 0 {
        if left & 1 == 1 {
            out = out * square;
        }
        square = square * square;
        left >>= 1;
    }
    out
}

impl<const AVOIDING: bool> Moves for Scan<'_, AVOIDING> {
    const BATCH: usize = 1;
    const WORDS: usize = 1;
    const TWICE: bool = true;

    #[inline(always)]
    fn propose(&self, o: &mut WalkerBlock, _: &Words, source: &impl NeighbourSource) {
        for l in 0..o.n {
            for k in (0..o.degree[l].min(AHEAD)).step_by(LINE) {
                source.touch_place(o.start[l] + k);
                fermiac_base::simd::prefetch(self.degrees, o.start[l] + k);
            }
        }
    }

    #[inline(always)]
    fn fetch(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, history, .. } = scene;
        let rows = self.needs_degrees() && self.degrees.is_empty();
        for l in 0..o.n {
            let places_of = o.start[l]..o.start[l] + o.degree[l];
            for place in places_of.clone().take(AHEAD) {
                let node = source.node(place);
                history.touch(l, node);
                self.target.touch(node);
                if rows {
                    source.touch_row(node);
                }
            }
            if rows {
                source.require(places_of.map(|place| source.node(place)))?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decide<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let mut room = std::mem::take(&mut scene.o.room);
        for l in 0..scene.o.n {
            let node = self.outcome::<FMA>(&scene, &mut room[0], l);
            scene.o.candidate[l] = node;
            if node != NOWHERE {
                scene.source.touch_row(node);
            }
        }
        scene.o.room = room;
    }

    #[inline(always)]
    fn fetch_again(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, .. } = scene;
        source.require(o.candidate[..o.n].iter().copied().filter(|node| *node != NOWHERE))
    }

    #[inline(always)]
    fn decide_again<const FMA: bool>(&self, scene: Scene<'_, impl NeighbourSource, impl History>) {
        let Scene { o, source, .. } = scene;
        for l in 0..o.n {
            if o.candidate[l] != NOWHERE {
                o.go(l, o.candidate[l], source.row(o.candidate[l]));
            }
        }
    }
}
