//! Steps that weigh all neighbours by the visits of the walker.

use super::graph::WeightSlice;
use super::history::History;
use super::neighbour_degrees::{NeighbourDegrees, unpacked};
use super::neighbour_source::NeighbourSource;
use super::plan::{Base, Step};
use super::powers::{Powers, passed};
use super::target::Target;
use super::walker_block::{Moves, NOWHERE, OutcomeBuffer, Scene, WalkerBlock, Words, unit};
use fermiac_base::Result;
use fermiac_base::simd::{LANES, V, expm1v, expv, ln, ln1pv, lnv};
use std::ops::Range;

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
    /// Degrees of the neighbours; empty if not known or not needed.
    pub(super) degrees: &'a NeighbourDegrees,
    /// The strength, if weights are whole powers, and a table of them.
    pub(super) exponent: Option<u32>,
    pub(super) powers: &'a Powers,
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
        let &Scene { ref o, words, source, .. } = scene;
        let (start, degree) = (o.start[l], o.degree[l]);
        // The outcome after the last neighbour is to stay.
        let tiles = (degree + 1).div_ceil(LANES);
        if room.len() < tiles {
            room.resize(tiles, V::ZERO);
        }
        let outcomes = &mut room[..tiles];
        self.by_logarithms::<FMA>(scene, outcomes, l);
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
            let place = (first + k).min(last);
            if self.needs_degrees() {
                let (node, degree) = self.degrees.pair(source, place);
                (nodes[k], degrees.0[k]) = (node, degree as f64);
            } else {
                nodes[k] = source.node(place);
            }
        }
        (nodes, degrees)
    }

    /// Chooses the next node by weights that are whole powers, of which most are in a table: at a
    /// fifth of the cost of logarithms.
    #[inline(always)]
    fn outcome_by_powers(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        room: &mut OutcomeBuffer,
        l: usize,
        exponent: u32,
    ) -> usize {
        let &Scene { ref o, words, source, history, .. } = scene;
        let (at, start, degree) = (o.at[l], o.start[l], o.degree[l]);
        let (codes, sums) = room.of(degree);
        let places = start..start + degree;
        let by_degree = self.target.is_degree();
        let code = |degree, visits| self.powers.code(if by_degree { degree } else { 0 }, visits);
        if let Some(words) = self.degrees.packed(places.clone()) {
            // The degree of a hub is not in its word, and beyond the table of weights.
            history.read(l, words.iter().map(|word| unpacked(*word)), codes, code);
        } else if self.needs_degrees() {
            let pairs = places.clone().map(|place| self.degrees.pair(source, place));
            history.read(l, pairs, codes, code);
        } else {
            let pairs = places.clone().map(|place| (source.node(place), 0));
            history.read(l, pairs, codes, code);
        }
        for ((place, code), weight) in places.clone().zip(codes.iter()).zip(sums.iter_mut()) {
            *weight = match self.powers.at(*code) {
                Some(weight) => weight,
                None => self.rare(scene, l, place, exponent),
            };
        }
        let refused = if self.accepts { self.accept(source, places, sums) } else { 0.0 };
        let mut sum = 0.0;
        for to in sums.iter_mut() {
            sum += *to;
            *to = sum;
        }
        let stay = self.stay(refused, start, degree);
        if stay > 0.0 {
            let own = history.visits(l, at) as u64;
            sum += stay * self.powers.weight(self.target, exponent, degree, own);
        }
        let chosen = passed(sums, unit(words[0][l]) * sum);
        if chosen < degree {
            self.node(source, start + chosen)
        } else if stay > 0.0 || degree == 0 {
            NOWHERE
        } else {
            // By rounding: the last outcome.
            self.node(source, start + degree - 1)
        }
    }

    /// Multiplies the weights of the neighbours by the probabilities of their acceptance. Returns
    /// the sum of the probabilities of refusal.
    fn accept(
        &self,
        source: &impl NeighbourSource,
        places: Range<usize>,
        weights: &mut [f64],
    ) -> f64 {
        let (degree, mut refused) = (places.len() as f64, 0.0);
        let (by_degree, barker) = (self.target.is_degree(), self.base == Base::Barker);
        if by_degree && !barker {
            return 0.0;
        }
        for (place, weight) in places.zip(weights) {
            let odds =
                if by_degree { 1.0 } else { degree / self.degrees.pair(source, place).1 as f64 };
            let factor = if barker { odds / (1.0 + odds) } else { odds.min(1.0) };
            refused += 1.0 - factor;
            *weight *= factor;
        }
        refused
    }

    /// The weight of the node at a place after more visits, or with more neighbours, than the
    /// table of weights has.
    #[cold]
    fn rare(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        l: usize,
        place: usize,
        exponent: u32,
    ) -> f64 {
        let (node, degree) = self.degrees.pair(scene.source, place);
        let visits = scene.history.visits(l, node) as u64;
        self.powers.weight(self.target, exponent, degree, visits)
    }

    /// The node at a place, from the array that the step has read.
    #[inline(always)]
    fn node(&self, source: &impl NeighbourSource, place: usize) -> usize {
        if self.degrees.is_empty() { source.node(place) } else { self.degrees.node(source, place) }
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

impl<const AVOIDING: bool> Moves for Scan<'_, AVOIDING> {
    const BATCH: usize = 4;
    const WORDS: usize = 1;
    const TWICE: bool = true;

    #[inline(always)]
    fn propose(&self, _: &mut WalkerBlock, _: &Words, _: &impl NeighbourSource) {
        // The last stage of the step before has prefetched the rows.
    }

    #[inline(always)]
    fn fetch(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, history, .. } = scene;
        let rows = self.needs_degrees() && self.degrees.is_empty();
        for l in 0..o.n {
            let places_of = o.start[l]..o.start[l] + o.degree[l];
            let ahead = o.start[l]..o.start[l] + o.degree[l].min(AHEAD);
            if let Some(words) = self.degrees.packed(ahead.clone()) {
                history.touch_each(l, words.iter().map(|word| unpacked(*word).0));
            } else {
                history.touch_each(l, ahead.clone().map(|place| self.node(source, place)));
            }
            if let Target::Table { .. } = self.target {
                ahead.clone().for_each(|place| self.target.touch(self.node(source, place)));
            }
            if rows {
                ahead.for_each(|place| source.touch_row(source.node(place)));
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
        let mut outcomes = std::mem::take(&mut scene.o.outcomes);
        let exponent = self.exponent.filter(|_| !AVOIDING && !scene.history.is_log());
        for l in 0..scene.o.n {
            let node = match exponent {
                Some(exponent) => self.outcome_by_powers(&scene, &mut outcomes, l, exponent),
                None => self.outcome::<FMA>(&scene, &mut room[0], l),
            };
            scene.o.candidate[l] = node;
            if node != NOWHERE {
                scene.source.touch_row(node);
            }
        }
        scene.o.room = room;
        scene.o.outcomes = outcomes;
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
            if o.candidate[l] == NOWHERE {
                continue;
            }
            let (start, degree) = source.row(o.candidate[l]);
            o.go(l, o.candidate[l], (start, degree));
            for place in (start..start + degree.min(AHEAD)).step_by(LINE) {
                if self.degrees.is_empty() {
                    source.touch_place(place);
                } else {
                    self.degrees.touch(source, place);
                }
            }
        }
    }
}
