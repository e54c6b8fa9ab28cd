//! A step of the orbit that is divided into as many leapfrog steps as its energies need.

use super::tree::Tree;
use crate::kernel::Metric;
use crate::leapfrog::{land, leap};
use crate::phase_point::{DIVERGENT, PhasePoint};
use fermiac_base::Result;
use fermiac_base::store::Codec;

/// The position after the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Progress {
    /// Another leapfrog step is needed.
    Continues,
    /// The next state of the tree is the end of the step.
    Reached,
    /// The step back would be divided less.
    Irreversible,
    /// The energies differ too much, however small the steps.
    Diverged,
}

/// A step of size h from the head of a tree: 2^k leapfrog steps of size h 2^-k, with the least k
/// for which the energies along them lie within the tolerance, or with the largest k. After it the
/// same rule is applied to the step back: if it has another k, the step is irreversible.
#[derive(Debug, Clone)]
pub(super) struct MacroStep {
    tolerance: f64,
    most_halvings: usize,
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
        let is_last = self.made == 1 << self.halvings;
        match self.chosen {
            None => {
                if self.halvings == 0 {
                    self.coarse = energy;
                }
                let is_finest = self.halvings == self.most_halvings;
                let limit = if is_finest { DIVERGENT } else { self.tolerance };
                if self.high - self.low > limit {
                    if is_finest {
                        return Progress::Diverged;
                    }
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
                if self.high - self.low > self.tolerance {
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

    fn pass(&mut self) {
        std::mem::swap(&mut self.at, &mut self.to);
        std::mem::swap(&mut self.at_momentum, &mut self.to_momentum);
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.at.persist(codec)?;
        self.to.persist(codec)?;
        codec.numbers(&mut self.at_momentum)?;
        codec.numbers(&mut self.to_momentum)?;
        codec.count(&mut self.halvings)?;
        codec.count(&mut self.made)?;
        let (mut checks, mut chosen) = (self.chosen.is_some(), self.chosen.unwrap_or(0));
        codec.flag(&mut checks)?;
        codec.count(&mut chosen)?;
        self.chosen = checks.then_some(chosen);
        codec.require(
            self.halvings <= self.most_halvings
                && chosen <= self.most_halvings
                && self.made < 1 << self.halvings.max(1)
                && (!checks || self.halvings < chosen),
        )?;
        codec.number(&mut self.low)?;
        codec.number(&mut self.high)?;
        codec.number(&mut self.coarse)?;
        codec.count(&mut self.n_gradients)
    }
}
