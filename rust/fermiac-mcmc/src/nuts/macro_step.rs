//! A step of the orbit that is divided into as many leapfrog steps as its energies need.

use super::tree::Tree;
use crate::kernel::Metric;
use crate::leapfrog::{land, leap};
use crate::phase_point::{DIVERGENT, PhasePoint};
use fermiac_base::Result;
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::store::Codec;

/// The largest oscillation of the energy in a leapfrog step, relative to the tolerance.
const OSCILLATION: f64 = 0.8;

/// The position after the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Progress {
    /// Another leapfrog step is needed.
    Continues,
    /// The next state of the tree is the end of the step.
    Reached,
    /// The step back would be divided less.
    Irreversible,
    /// The energy has risen too much with the most halvings.
    Diverged,
}

/// A step of size h from the head of a tree: 2^k leapfrog steps of size h 2^-k, with the least k
/// for which they are accurate, or with the largest k. They are accurate if the range of their
/// energies is within the tolerance, and the oscillation of the energy in each of them within a part
/// of it. After the step the same rule is applied to the step back: if it has another k, the step is
/// irreversible.
///
/// The range alone can be small by chance, above all that of a single leapfrog step, which makes many
/// steps irreversible. The oscillation does not depend on the phase of a motion.
#[derive(Debug, Clone)]
pub(super) struct MacroStep {
    tolerance: f64,
    /// The largest number of halvings, in the settings and now.
    most_halvings: usize,
    limit: usize,
    /// The state before the requested one, unless that is the first of an attempt, and the requested
    /// one.
    at: PhasePoint,
    to: PhasePoint,
    at_momentum: Vec<f64>,
    to_momentum: Vec<f64>,
    /// The number of halvings of the current attempt, its leapfrog steps so far, and the range of its
    /// energies.
    halvings: usize,
    made: usize,
    low: f64,
    high: f64,
    /// The number of halvings of the step, while the step back is tried.
    chosen: Option<usize>,
    /// The energy at the end of the step without halvings.
    coarse: f64,
    /// The number of requests since the last call of `count`.
    n_gradients: usize,
}

impl MacroStep {
    pub(super) fn new(dim: usize, tolerance: f64, most_halvings: usize) -> Self {
        let (point, momentum) = (PhasePoint::new(dim, true), vec![0.0; dim]);
        Self {
            tolerance,
            most_halvings,
            limit: most_halvings,
            at: point.clone(),
            to: point,
            at_momentum: momentum.clone(),
            to_momentum: momentum,
            halvings: 0,
            made: 0,
            low: f64::NAN,
            high: f64::NAN,
            chosen: None,
            coarse: f64::NAN,
            n_gradients: 0,
        }
    }

    /// The state whose density is requested.
    pub(super) fn next_mut(&mut self) -> &mut PhasePoint {
        &mut self.to
    }

    /// The number of halvings of the step that was reached.
    pub(super) fn halvings(&self) -> usize {
        self.chosen.unwrap_or(self.halvings)
    }

    /// The energy at the end of the step without halvings.
    pub(super) fn coarse_energy(&self) -> f64 {
        self.coarse
    }

    /// The number of gradients so far; starts a new count.
    pub(super) fn count(&mut self) -> usize {
        std::mem::take(&mut self.n_gradients)
    }

    /// Makes halvings impossible, or possible again.
    pub(super) fn allow_halvings(&mut self, allowed: bool) {
        self.limit = if allowed { self.most_halvings } else { 0 };
    }

    /// Starts a step from the head of a tree.
    pub(super) fn start(&mut self, tree: &mut Tree) {
        tree.reserve();
        self.chosen = None;
        self.attempt(0, tree.head().0.energy);
    }

    fn attempt(&mut self, halvings: usize, energy: f64) {
        (self.halvings, self.made) = (halvings, 0);
        (self.low, self.high) = (energy, energy);
    }

    /// The size of the leapfrog steps, with its sign.
    fn size(&self, tree: &Tree) -> f64 {
        let step = if self.chosen.is_some() { -tree.step() } else { tree.step() };
        step / (1_u64 << self.halvings) as f64
    }

    /// Moves to the next state.
    #[inline]
    pub(super) fn leap(&mut self, tree: &Tree, metric: &Metric) {
        let size = self.size(tree);
        let (from, momentum) = match (self.made, self.chosen) {
            (0, None) => tree.head(),
            (0, Some(_)) => tree.next(),
            _ => (&self.at, &self.at_momentum[..]),
        };
        leap(metric, size, from, momentum, &mut self.to, &mut self.to_momentum);
    }

    /// Takes in the density at the state.
    #[inline]
    pub(super) fn land(&mut self, tree: &mut Tree, metric: &Metric) -> Progress {
        let size = self.size(tree);
        land(metric, size, &mut self.to, &mut self.to_momentum);
        self.n_gradients += 1;
        self.made += 1;
        let energy = self.to.energy;
        (self.low, self.high) = (self.low.min(energy), self.high.max(energy));
        let is_last = self.made >= 1 << self.halvings;
        match self.chosen {
            None => {
                if self.halvings == 0 {
                    self.coarse = energy;
                }
                let is_finest = self.halvings == self.limit;
                if is_finest && energy - tree.start_energy() > DIVERGENT {
                    return Progress::Diverged;
                }
                if !is_finest && self.is_inaccurate(tree, size) {
                    self.attempt(self.halvings + 1, tree.head().0.energy);
                } else if is_last {
                    tree.swap_next(&mut self.to, &mut self.to_momentum);
                    if self.halvings == 0 {
                        return Progress::Reached;
                    }
                    self.chosen = Some(self.halvings);
                    self.attempt(0, energy);
                } else {
                    self.pass();
                }
            }
            Some(chosen) => {
                if self.is_inaccurate(tree, size) {
                    if self.halvings + 1 == chosen {
                        return Progress::Reached;
                    }
                    self.attempt(self.halvings + 1, tree.next().0.energy);
                } else if is_last {
                    return Progress::Irreversible;
                } else {
                    self.pass();
                }
            }
        }
        Progress::Continues
    }

    /// Whether the energies of the attempt, or their oscillation in a leapfrog step of this size,
    /// exceed the tolerance.
    fn is_inaccurate(&self, tree: &Tree, size: f64) -> bool {
        if self.high - self.low > self.tolerance {
            return true;
        }
        let from = match (self.made, self.chosen) {
            (1, None) => tree.head().0,
            (1, Some(_)) => tree.next().0,
            _ => &self.at,
        };
        let (before, after) = (&from.force[..], &self.to.force[..]);
        let momentum = &self.to_momentum[..];
        let square = dispatch(Oscillation { size, before, after, momentum });
        square.is_nan() || square > (OSCILLATION * self.tolerance).powi(2)
    }

    fn pass(&mut self) {
        std::mem::swap(&mut self.at, &mut self.to);
        std::mem::swap(&mut self.at_momentum, &mut self.to_momentum);
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.at.persist(codec)?;
        self.to.persist(codec)?;
        codec.numbers(&mut self.at_momentum)?;
        codec.numbers(&mut self.to_momentum)?;
        codec.count(&mut self.limit)?;
        codec.count(&mut self.halvings)?;
        codec.count(&mut self.made)?;
        let (mut checks, mut chosen) = (self.chosen.is_some(), self.chosen.unwrap_or(0));
        codec.flag(&mut checks)?;
        codec.count(&mut chosen)?;
        self.chosen = checks.then_some(chosen);
        codec.require(
            self.limit <= self.most_halvings
                && self.halvings <= self.limit
                && chosen <= self.limit
                && self.made <= 1 << self.halvings
                && (!checks || self.halvings < chosen),
        )?;
        codec.number(&mut self.low)?;
        codec.number(&mut self.high)?;
        codec.number(&mut self.coarse)?;
        codec.count(&mut self.n_gradients)
    }
}

/// The squared amplitude of the oscillation of the energy in a leapfrog step of size e, summed over
/// the coordinates: e²/8 (f² + |p Δf / e|) with the mean square f² of the forces at both ends, their
/// difference Δf, and the momentum p in the middle.
///
/// For a normal law of frequency ω this is (e ω)²/4 times the energy, whatever the phase, where the
/// change of the energy in a single step may be 0 by chance.
struct Oscillation<'a> {
    size: f64,
    before: &'a [f64],
    after: &'a [f64],
    /// The momentum at the end.
    momentum: &'a [f64],
}

impl Kernel for Oscillation<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        let (half, share) = (0.5 * self.size, 0.125 * self.size.abs());
        let square = 0.5 * share * self.size.abs();
        let n = self.momentum.len();
        let (before, before_rest) = self.before[..n].as_chunks::<LANES>();
        let (after, after_rest) = self.after[..n].as_chunks::<LANES>();
        let (momentum, momentum_rest) = self.momentum.as_chunks::<LANES>();
        let mut sum = V::ZERO;
        for ((f, g), p) in before.iter().zip(after).zip(momentum) {
            let (f, g) = (V(*f), V(*g));
            let middle = V::splat(-half).mul_add::<FMA>(g, V(*p));
            let work = (middle * (g - f)).map(f64::abs);
            let force = g.mul_add::<FMA>(g, f * f);
            let each = V::splat(share).mul_add::<FMA>(work, V::splat(square) * force);
            sum = each.mul_add::<FMA>(each, sum);
        }
        let mut tail = 0.0;
        for ((f, g), p) in before_rest.iter().zip(after_rest).zip(momentum_rest) {
            let work = ((p - half * g) * (g - f)).abs();
            let each = share * work + square * (f * f + g * g);
            tail += each * each;
        }
        sum.loop_sum() + tail
    }
}
