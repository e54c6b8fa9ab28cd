//! The trajectory of one transition, which doubles by an iteration over single steps.
//!
//! New states come one by one. A state is a tree of depth 0. As in a binary counter, the two
//! youngest trees are merged while they have the same depth, which visits the same trees in the
//! same order as the recursion.

use super::pool::Pool;
use super::turn::{join, sum};
use crate::kernel::Metric;
use crate::leapfrog::{kinetic, land, leap};
use crate::phase_point::{DIVERGENT, PhasePoint, acceptance};
use fermiac_base::Result;
use fermiac_base::rng::Stream;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;

/// A state whose log-weight is above this becomes the new reference of all weights.
const REBASE: f64 = 500.0;
/// Energy errors above this do not occur on nearly normal targets at usual acceptance rates. They
/// show a region that is too curved for the step size before trajectories diverge there.
const STRAINED: f64 = 10.0;

/// A part of the trajectory: 2^depth states.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    depth: usize,
    /// The momenta at its ends, in the order of the states, and the sum of all momenta.
    begin: usize,
    end: usize,
    sum: usize,
    /// The state sampled from it, and the weight of all its states.
    sample: usize,
    weight: f64,
}

impl Node {
    const NONE: Self = Self { depth: 0, begin: 0, end: 0, sum: 0, sample: 0, weight: 0.0 };

    fn persist(&mut self, codec: &mut Codec, points: usize, momenta: usize) -> Result<()> {
        codec.count(&mut self.depth)?;
        for momentum in [&mut self.begin, &mut self.end, &mut self.sum] {
            codec.index(momentum, momenta)?;
        }
        codec.index(&mut self.sample, points)?;
        codec.number(&mut self.weight)
    }
}

/// The state of a trajectory after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Growth {
    /// It continues.
    Continues,
    /// It has ended.
    Ended,
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    dim: usize,
    points: Pool<PhasePoint>,
    momenta: Pool<Vec<f64>>,
    whole: Node,
    stack: Vec<Node>,
    /// The states at the ends of the trajectory; steps continue from the head.
    head: usize,
    tail: usize,
    /// The state and momentum at the end of the current step, and its size with its sign.
    next: usize,
    next_momentum: usize,
    step: f64,
    start_energy: f64,
    /// The energy of a state of weight 1.
    reference: f64,
    accept_sum: f64,
    pub(super) n_steps: usize,
    pub(super) diverging: bool,
    /// Whether the energy error passed `STRAINED`.
    pub(super) strained: bool,
}

impl Tree {
    pub(super) fn new(dim: usize) -> Self {
        let mut points = Pool::new();
        let current = points.take(1, || PhasePoint::new(dim, true));
        let whole = Node { sample: current, ..Node::NONE };
        Self {
            dim,
            points,
            momenta: Pool::new(),
            whole,
            stack: Vec::new(),
            head: current,
            tail: current,
            next: current,
            next_momentum: 0,
            step: f64::NAN,
            start_energy: f64::NAN,
            reference: f64::NAN,
            accept_sum: 0.0,
            n_steps: 0,
            diverging: false,
            strained: false,
        }
    }

    /// The sampled state: the outcome, after the trajectory has ended.
    pub(super) fn current(&self) -> &PhasePoint {
        self.points.get(self.whole.sample)
    }

    pub(super) fn current_mut(&mut self) -> &mut PhasePoint {
        self.points.get_mut(self.whole.sample)
    }

    /// The state whose density is requested.
    pub(super) fn next_mut(&mut self) -> &mut PhasePoint {
        self.points.get_mut(self.next)
    }

    /// Clears all but the outcome, whose density is requested.
    pub(super) fn clear(&mut self) {
        let current = self.whole.sample;
        self.points.keep(Some(current), 1);
        self.momenta.keep(None, 0);
        self.stack.clear();
        (self.head, self.tail, self.next) = (current, current, current);
    }

    /// Starts a trajectory from the last outcome, with a new momentum.
    pub(super) fn begin(&mut self, stream: &mut Stream, step: f64) {
        let (current, dim) = (self.whole.sample, self.dim);
        self.stack.clear();
        self.points.keep(Some(current), 3);
        self.momenta.keep(None, 0);
        let m = self.momenta.take(3, || vec![0.0; dim]);
        let momentum = self.momenta.get_mut(m);
        stream.fill_normal(momentum);
        let point = self.points.get_mut(current);
        point.energy = kinetic(momentum) - point.log_density;
        (self.start_energy, self.reference) = (point.energy, point.energy);
        self.whole = Node { depth: 0, begin: m, end: m, sum: m, sample: current, weight: 1.0 };
        (self.head, self.tail) = (current, current);
        self.step = step;
        (self.accept_sum, self.n_steps) = (0.0, 0);
        (self.diverging, self.strained) = (false, false);
        self.choose_side(stream);
    }

    fn choose_side(&mut self, stream: &mut Stream) {
        if stream.uniform() < 0.5 {
            std::mem::swap(&mut self.whole.begin, &mut self.whole.end);
            std::mem::swap(&mut self.head, &mut self.tail);
            self.step = -self.step;
        }
    }

    /// Moves to the next state.
    #[inline]
    pub(super) fn leap(&mut self, metric: &Metric) {
        self.reserve();
        let last = self.head_momentum();
        let (from, to) = self.points.pair(self.head, self.next);
        let (momentum, next) = self.momenta.pair(last, self.next_momentum);
        leap(metric, self.step, from, momentum, to, next);
    }

    fn head_momentum(&self) -> usize {
        self.stack.last().map_or(self.whole.end, |node| node.end)
    }

    /// The step size with its sign.
    pub(super) fn step(&self) -> f64 {
        self.step
    }

    /// The energy of the first state.
    pub(super) fn start_energy(&self) -> f64 {
        self.start_energy
    }

    /// The state that steps continue from, and its momentum.
    pub(super) fn head(&self) -> (&PhasePoint, &[f64]) {
        (self.points.get(self.head), self.momenta.get(self.head_momentum()))
    }

    /// The next state and its momentum.
    pub(super) fn next(&self) -> (&PhasePoint, &[f64]) {
        (self.points.get(self.next), self.momenta.get(self.next_momentum))
    }

    /// Exchanges the next state and its momentum for these.
    pub(super) fn swap_next(&mut self, point: &mut PhasePoint, momentum: &mut Vec<f64>) {
        std::mem::swap(self.points.get_mut(self.next), point);
        std::mem::swap(self.momenta.get_mut(self.next_momentum), momentum);
    }

    /// Updates the next state once its density is known. Returns its energy error.
    #[inline]
    fn land(&mut self, metric: &Metric) -> f64 {
        let point = self.points.get_mut(self.next);
        land(metric, self.step, point, self.momenta.get_mut(self.next_momentum));
        point.energy - self.start_energy
    }

    /// The acceptance probability of a single step to the next state.
    pub(super) fn trial(&mut self, metric: &Metric) -> f64 {
        acceptance(-self.land(metric))
    }

    /// Takes in the next state.
    #[inline]
    pub(super) fn grow(
        &mut self,
        metric: &Metric,
        max_depth: usize,
        stream: &mut Stream,
    ) -> Growth {
        let error = self.land(metric);
        self.n_steps += 1;
        self.strained |= error > STRAINED;
        if error > DIVERGENT {
            self.diverging = true;
            return Growth::Ended;
        }
        self.attach(error, max_depth, stream)
    }

    /// Makes room for the next state.
    pub(super) fn reserve(&mut self) {
        let dim = self.dim;
        // Held by the state's node, its sample and the head.
        self.next = self.points.take(2, || PhasePoint::new(dim, true));
        self.next_momentum = self.momenta.take(3, || vec![0.0; dim]);
    }

    /// Adds the next state, whose energy error is known, to the trajectory.
    #[inline]
    pub(super) fn attach(&mut self, error: f64, max_depth: usize, stream: &mut Stream) -> Growth {
        let weight = self.weigh(error);
        self.points.release(self.head);
        self.head = self.next;
        let (sample, m) = (self.next, self.next_momentum);
        let mut node = Node { depth: 0, begin: m, end: m, sum: m, sample, weight };
        while let Some(older) = self.stack.pop_if(|older| older.depth == node.depth) {
            let Some(merged) = self.merge(older, node, false, stream) else {
                return Growth::Ended;
            };
            node = merged;
        }
        if node.depth < self.whole.depth {
            self.stack.push(node);
            return Growth::Continues;
        }
        let merged = self.merge(self.whole, node, true, stream);
        if merged.is_none() || self.whole.depth == max_depth {
            return Growth::Ended;
        }
        self.choose_side(stream);
        Growth::Continues
    }

    /// The weight of a state, which also enters the acceptance rate.
    #[inline]
    fn weigh(&mut self, error: f64) -> f64 {
        let log_weight = self.reference - self.start_energy - error;
        if log_weight > REBASE {
            let factor = exp(-log_weight);
            self.whole.weight *= factor;
            self.stack.iter_mut().for_each(|node| node.weight *= factor);
            self.reference = self.start_energy + error;
            self.accept_sum += 1.0;
            return 1.0;
        }
        let weight = exp(log_weight);
        let fresh = self.reference == self.start_energy;
        self.accept_sum += if fresh { weight.min(1.0) } else { acceptance(-error) };
        weight
    }

    /// Merges two trees that follow each other; `None` if the trajectory turns back within them.
    ///
    /// The sample of an inner tree is drawn in proportion to the weights. That of the whole
    /// trajectory prefers the new half, and a turn ends the trajectory only after that choice.
    fn merge(&mut self, a: Node, b: Node, is_whole: bool, stream: &mut Stream) -> Option<Node> {
        let goes_on = if a.depth == 0 {
            let dim = self.dim;
            let at = self.momenta.take(1, || vec![0.0; dim]);
            let mut out = std::mem::take(self.momenta.get_mut(at));
            let goes_on = sum(self.momenta.get(a.sum), self.momenta.get(b.sum), &mut out);
            *self.momenta.get_mut(at) = out;
            self.momenta.release(a.sum);
            (goes_on, at)
        } else {
            let mut out = std::mem::take(self.momenta.get_mut(a.sum));
            let ends = [a.begin, a.end, b.begin, b.end].map(|at| &self.momenta.get(at)[..]);
            let goes_on = join(ends, self.momenta.get(b.sum), &mut out);
            *self.momenta.get_mut(a.sum) = out;
            (goes_on, a.sum)
        };
        let (goes_on, total) = goes_on;
        for at in [a.end, b.begin, b.sum] {
            self.momenta.release(at);
        }
        let weight = a.weight + b.weight;
        let rival = if is_whole { a.weight } else { weight };
        let (sample, other) = if (is_whole || goes_on) && stream.uniform() * rival < b.weight {
            (b.sample, a.sample)
        } else {
            (a.sample, b.sample)
        };
        self.points.release(other);
        let node =
            Node { depth: a.depth + 1, begin: a.begin, end: b.end, sum: total, sample, weight };
        if is_whole {
            self.whole = node;
        }
        goes_on.then_some(node)
    }

    /// The mean acceptance probability of the states.
    pub(super) fn acceptance(&self) -> f64 {
        self.accept_sum / self.n_steps as f64
    }

    /// The energy of the outcome, and its error.
    pub(super) fn energy(&self) -> (f64, f64) {
        let energy = self.current().energy;
        (energy, energy - self.start_energy)
    }

    pub(super) fn depth(&self) -> usize {
        self.whole.depth
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let dim = self.dim;
        self.points.persist(codec, || PhasePoint::new(dim, true), PhasePoint::persist)?;
        self.momenta.persist(codec, || vec![0.0; dim], |m, codec| codec.numbers(m))?;
        let (points, momenta) = (self.points.len(), self.momenta.len());
        self.whole.persist(codec, points, momenta)?;
        let mut n = self.stack.len();
        codec.count(&mut n)?;
        if codec.is_reading() {
            self.stack.clear();
        }
        for at in 0..n {
            if codec.is_reading() {
                self.stack.push(Node::NONE);
            }
            self.stack[at].persist(codec, points, momenta)?;
        }
        for point in [&mut self.head, &mut self.tail, &mut self.next] {
            codec.index(point, points)?;
        }
        codec.index(&mut self.next_momentum, momenta)?;
        codec.count(&mut self.n_steps)?;
        for number in
            [&mut self.step, &mut self.start_energy, &mut self.reference, &mut self.accept_sum]
        {
            codec.number(number)?;
        }
        codec.flag(&mut self.diverging)?;
        codec.flag(&mut self.strained)
    }
}
