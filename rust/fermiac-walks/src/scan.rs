//! Steps that weigh all neighbours by the visits of the walker.

use super::graph::WeightSlice;
use super::history::History;
use super::neighbour_degrees::{NeighbourDegrees, unpacked};
use super::neighbour_source::NeighbourSource;
use super::plan::{Base, Step};
use super::powers::{Powers, passed};
use super::target::Target;
use super::walker_block::{Moves, NOWHERE, OutcomeBuffer, Scene, WalkerBlock, Words, choose, unit};
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
/// Neighbours on a cache line.
const LINE: usize = 16;
/// Cache lines of most rows.
const LINES: usize = 3;
/// Marks of walkers that choose among all neighbours, and of those that try some first.
const ALL: usize = 0;
const SOME: usize = 1;
/// Tries to choose a neighbour without a look at all of them.
const TRIES: usize = 2;
/// Visits per pseudo-count of a node, up to which its neighbours are likely to be new, so that
/// most tries succeed.
const FRESH: f64 = 2.0;

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
        let sums = room.of(degree);
        let places = start..start + degree;
        let refuses = self.accepts && !(self.target.is_degree() && self.base != Base::Barker);
        let table = self.powers.view();
        let (mut sum, mut accepted) = (0.0, 0.0);
        if let Some(words) = self.degrees.packed(places.clone()) {
            if refuses {
                history.weigh::<false>(l, words, table, sums);
            } else {
                sum = history.weigh::<true>(l, words, table, sums);
            }
        } else {
            for (to, place) in sums.iter_mut().zip(places.clone()) {
                let (node, theirs) = self.pair(source, place);
                let weight = table.at(theirs, history.count(l, node));
                sum += weight;
                *to = if refuses { weight } else { sum };
            }
        }
        if refuses {
            accepted = self.accept(source, places.clone(), sums);
            sum = add_up(&mut sums[..degree]);
        }
        if sum.is_nan() {
            (sum, accepted) = self.rare_sums(scene, sums, l, exponent);
        }
        let refused = if refuses { (degree as f64 - accepted).max(0.0) } else { 0.0 };
        let stay = self.stay(refused, start, degree);
        if stay > 0.0 {
            let own = history.count(l, at);
            sum += stay * self.powers.weight(self.target, exponent, degree, own);
        }
        let chosen = passed(sums, unit(words[TRIES][l]) * sum);
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
    /// the sum of these.
    #[inline(always)]
    fn accept(
        &self,
        source: &impl NeighbourSource,
        places: Range<usize>,
        weights: &mut [f64],
    ) -> f64 {
        let (degree, mut accepted) = (places.len(), 0.0);
        for (place, weight) in places.zip(weights) {
            let factor = self.acceptance(degree, self.pair(source, place).1);
            accepted += factor;
            *weight *= factor;
        }
        accepted
    }

    /// The running sums of a row with nodes of more visits, or with more neighbours, than tables
    /// hold. Returns the whole sum, and that of the probabilities of acceptance.
    #[cold]
    #[inline(never)]
    fn rare_sums(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        sums: &mut [f64],
        l: usize,
        exponent: u32,
    ) -> (f64, f64) {
        let &Scene { ref o, source, history, .. } = scene;
        let (mut sum, mut accepted) = (0.0, 0.0);
        for (to, place) in sums.iter_mut().zip(o.start[l]..o.start[l] + o.degree[l]) {
            let (node, theirs) = self.pair(source, place);
            let visits = history.count(l, node);
            let factor = self.acceptance(o.degree[l], theirs);
            accepted += factor;
            sum += factor * self.powers.weight(self.target, exponent, theirs, visits);
            *to = sum;
        }
        (sum, accepted)
    }

    /// Whether a walker tries a few neighbours first: while its node has few visits. That depends
    /// on nothing but the visits, as all outcomes do.
    #[inline(always)]
    fn tries(&self, o: &WalkerBlock, history: &impl History, l: usize) -> bool {
        let pseudo = self.target.pseudo(o.at[l], o.degree[l]);
        history.count(l, o.at[l]) as f64 <= FRESH * pseudo.max(1.0)
    }

    /// The place that a word chooses for a walker, if it is one of a neighbour, and the uniform
    /// number that decides on the try.
    #[inline(always)]
    fn tried(&self, o: &WalkerBlock, l: usize, word: u64) -> (Option<usize>, f64) {
        let (slot, rest) = choose(word, self.base.slots(o.degree[l]));
        ((slot < o.degree[l]).then_some(o.start[l] + slot), unit(rest))
    }

    /// Draws outcomes of the base chain, and keeps the first that passes a test by its weight over
    /// that of a new node, which is the largest. The outcome has the law of the choice among all;
    /// `None` if no try passes, which says nothing about it.
    ///
    /// All tries are made without a branch, as no predictor knows which of them passes.
    #[inline(always)]
    fn attempt(
        &self,
        scene: &Scene<'_, impl NeighbourSource, impl History>,
        l: usize,
        exponent: u32,
    ) -> Option<usize> {
        let &Scene { ref o, words, source, history, .. } = scene;
        let (at, degree) = (o.at[l], o.degree[l]);
        let top = self.powers.weight(self.target, exponent, 1, 0);
        let lively = 1.0 - self.laziness;
        let stays = self.laziness > 0.0 || self.accepts || !matches!(self.base, Base::Simple);
        let own = if stays {
            self.powers.weight(self.target, exponent, degree, history.count(l, at))
        } else {
            0.0
        };
        let (mut passed, mut chosen) = (false, NOWHERE);
        for word in words[..TRIES].iter().rev() {
            let (place, u) = self.tried(o, l, word[l]);
            let mut moves = 0.0;
            if let Some(place) = place {
                let (node, theirs) = self.pair(source, place);
                moves = lively * self.acceptance(degree, theirs);
                let visits = history.count(l, node);
                let weight = self.powers.weight(self.target, exponent, theirs, visits);
                let goes = u * top < moves * weight;
                chosen = if goes { node } else { chosen };
                passed |= goes;
            }
            if stays {
                let rests = (1.0 - u) * top < (1.0 - moves) * own;
                chosen = if rests { NOWHERE } else { chosen };
                passed |= rests;
            }
        }
        passed.then_some(chosen)
    }

    /// The probability of the base chain to accept a neighbour.
    #[inline(always)]
    fn acceptance(&self, degree: usize, theirs: usize) -> f64 {
        if !self.accepts {
            return 1.0;
        }
        let odds = if self.target.is_degree() { 1.0 } else { self.powers.odds(degree, theirs) };
        if self.base == Base::Barker { odds / (1.0 + odds) } else { odds.min(1.0) }
    }

    /// The node at a place, and its degree if that counts.
    #[inline(always)]
    fn pair(&self, source: &impl NeighbourSource, place: usize) -> (usize, usize) {
        if self.needs_degrees() {
            self.degrees.pair(source, place)
        } else {
            (self.node(source, place), 0)
        }
    }

    /// Prefetches the places of a row.
    #[inline(always)]
    fn touch_places(&self, source: &impl NeighbourSource, start: usize, degree: usize) {
        let touch = |place| {
            if self.degrees.is_empty() {
                source.touch_place(place);
            } else {
                self.degrees.touch(source, place);
            }
        };
        // Most rows are short, and have no loop, whose end would not be predicted.
        for ahead in 0..LINES {
            touch(start + (ahead * LINE).min(degree.saturating_sub(1)));
        }
        if degree > LINES * LINE {
            (start + LINES * LINE..start + degree.min(AHEAD)).step_by(LINE).for_each(touch);
        }
    }

    /// Prefetches what a choice among all neighbours of a walker reads.
    #[inline(always)]
    fn touch_all(
        &self,
        o: &WalkerBlock,
        source: &impl NeighbourSource,
        history: &impl History,
        l: usize,
    ) {
        let ahead = o.start[l]..o.start[l] + o.degree[l].min(AHEAD);
        if let Some(words) = self.degrees.packed(ahead.clone()) {
            history.touch_each(l, words.iter().map(|word| unpacked(*word).0));
        } else {
            history.touch_each(l, ahead.clone().map(|place| self.node(source, place)));
        }
        if let Target::Table { .. } = self.target {
            ahead.clone().for_each(|place| self.target.touch(self.node(source, place)));
        }
        if self.needs_degrees() && self.degrees.is_empty() {
            ahead.for_each(|place| source.touch_row(source.node(place)));
        }
    }

    /// Requires the rows of all neighbours of a walker, if only they tell degrees.
    #[inline(always)]
    fn require_all(&self, o: &WalkerBlock, source: &impl NeighbourSource, l: usize) -> Result<()> {
        if self.degrees.is_empty() {
            let places = o.start[l]..o.start[l] + o.degree[l];
            source.require(places.map(|place| source.node(place)))?;
        }
        Ok(())
    }

    /// The node at a place, from the array that the step has read.
    #[inline(always)]
    fn node(&self, source: &impl NeighbourSource, place: usize) -> usize {
        if self.degrees.is_empty() { source.node(place) } else { self.degrees.node(source, place) }
    }

    /// Chooses the next nodes of the walkers that are marked, among all.
    #[inline(always)]
    fn scan<const FMA: bool>(
        &self,
        scene: &mut Scene<'_, impl NeighbourSource, impl History>,
        mark: usize,
    ) {
        let mut room = std::mem::take(&mut scene.o.room);
        let mut outcomes = std::mem::take(&mut scene.o.outcomes);
        for l in scene.o.lanes() {
            if scene.o.place[l] != mark {
                continue;
            }
            let node = match self.exponent {
                Some(exponent) => self.outcome_by_powers(scene, &mut outcomes, l, exponent),
                None => self.outcome::<FMA>(scene, &mut room[0], l),
            };
            scene.o.candidate[l] = node;
            if node != NOWHERE {
                scene.source.touch_row(node);
            }
        }
        scene.o.room = room;
        scene.o.outcomes = outcomes;
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

/// Replaces weights by their running sums, and returns the last.
#[inline(always)]
fn add_up(weights: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for to in weights {
        sum += *to;
        *to = sum;
    }
    sum
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
    fn words(&self) -> usize {
        // The last one is for the choice among all.
        if self.exponent.is_some() { TRIES + 1 } else { 1 }
    }

    #[inline(always)]
    fn propose(&self, _: &mut WalkerBlock, _: &Words, _: &impl NeighbourSource) {
        // The last stage of the step before has prefetched the rows.
    }

    #[inline(always)]
    fn fetch(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, words, source, history, .. } = scene;
        for l in o.lanes() {
            if self.exponent.is_none() || !self.tries(o, history, l) {
                o.place[l] = ALL;
                self.touch_all(o, source, history, l);
                self.require_all(o, source, l)?;
                continue;
            }
            o.place[l] = SOME;
            for word in &words[..TRIES] {
                if let (Some(place), _) = self.tried(o, l, word[l]) {
                    let node = self.node(source, place);
                    history.touch(l, node);
                    if self.degrees.is_empty() {
                        source.touch_row(node);
                        source.require(std::iter::once(node))?;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decide<const FMA: bool>(&self, mut scene: Scene<'_, impl NeighbourSource, impl History>) {
        for l in scene.o.lanes() {
            let (true, Some(exponent)) = (scene.o.place[l] == SOME, self.exponent) else {
                continue;
            };
            if let Some(node) = self.attempt(&scene, l, exponent) {
                scene.o.place[l] = NOWHERE;
                scene.o.candidate[l] = node;
                if node != NOWHERE {
                    scene.source.touch_row(node);
                }
            } else {
                self.touch_all(scene.o, scene.source, scene.history, l);
            }
        }
        self.scan::<FMA>(&mut scene, ALL);
    }

    #[inline(always)]
    fn fetch_again(&self, scene: Scene<'_, impl NeighbourSource, impl History>) -> Result<()> {
        let Scene { o, source, .. } = scene;
        for l in o.lanes() {
            if o.place[l] == SOME {
                self.require_all(o, source, l)?;
            } else if o.candidate[l] != NOWHERE {
                source.require(std::iter::once(o.candidate[l]))?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn decide_again<const FMA: bool>(
        &self,
        mut scene: Scene<'_, impl NeighbourSource, impl History>,
    ) {
        self.scan::<FMA>(&mut scene, SOME);
        let Scene { o, source, .. } = scene;
        for l in o.lanes() {
            let goes = o.candidate[l] != NOWHERE;
            let node = if goes { o.candidate[l] } else { o.at[l] };
            let (start, degree) = source.row(node);
            o.before[l] = if goes { o.at[l] } else { o.before[l] };
            o.at[l] = node;
            (o.start[l], o.degree[l]) = (start, degree);
            o.moved += u64::from(goes);
            self.touch_places(source, start, degree);
        }
    }
}
