//! The loops in which tokens follow their walkers.

use super::Tile;
use super::loss::{Gradient, Room, Visit};
use super::rule::Rule;
use crate::graph::IdSlice as Nodes;
use fermiac_base::Error;
use fermiac_base::par::Signal;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, V};

/// Steps whose data are prefetched.
const AHEAD: usize = 4;

/// The output array of recorded parameters: (tokens, slots, dim).
#[derive(Debug)]
pub struct Trace<'a> {
    /// The step of the first slot.
    pub first: u64,
    /// The number of steps per slot.
    pub every: u64,
    /// The parameters.
    pub values: &'a mut [f64],
}

/// The data that all tokens share.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentPlan<'a> {
    pub(super) rule: &'a Rule,
    /// The paths of walkers: (tokens, slots), row by row.
    pub(super) nodes: Nodes<'a>,
    /// The number of slots of a token, and the step before the first.
    pub(super) n_slots: usize,
    pub(super) first: u64,
    /// The sizes of the steps after `from`.
    pub(super) sizes: &'a [f64],
    pub(super) from: u64,
    pub(super) trace_first: u64,
    pub(super) trace_every: u64,
    pub(super) dim: usize,
}

impl SegmentPlan<'_> {
    /// The index of a token's node at a step.
    #[inline(always)]
    pub(super) fn place(&self, token: usize, step: u64) -> usize {
        token * self.n_slots + (step - self.first) as usize - 1
    }

    #[inline(always)]
    pub(super) fn size(&self, step: u64) -> f64 {
        self.sizes[(step - self.from) as usize - 1]
    }
}

/// The state of one token.
pub(super) struct TokenState<'a> {
    pub(super) index: usize,
    pub(super) theta: &'a mut [Tile],
    pub(super) velocity: &'a mut [Tile],
    pub(super) mean: &'a mut [Tile],
    pub(super) stream: &'a mut Stream,
    pub(super) trace: &'a mut [f64],
}

impl TokenState<'_> {
    /// Updates the average and the trace after a step.
    #[inline(always)]
    pub(super) fn settle<const FMA: bool>(&mut self, plan: &SegmentPlan<'_>, step: u64) {
        if let Some(after) = plan.rule.average_after
            && step > after
        {
            let share = V::splat(1.0 / (step - after) as f64);
            for k in 0..self.mean.len() {
                let (mean, theta) = (V(self.mean[k]), V(self.theta[k]));
                self.mean[k] = share.mul_add::<FMA>(theta - mean, mean).0;
            }
        }
        if self.trace.is_empty() || step < plan.trace_first {
            return;
        }
        let since = step - plan.trace_first;
        if since.is_multiple_of(plan.trace_every) {
            let slot = (since / plan.trace_every) as usize;
            if let Some(to) = self.trace.chunks_exact_mut(plan.dim).nth(slot) {
                to.copy_from_slice(&self.theta.as_flattened()[..plan.dim]);
            }
        }
    }
}

/// A failed step.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: u64,
    pub(super) token: usize,
    /// `None` if parameters are not finite.
    pub(super) error: Option<Error>,
}

/// Some steps of some tokens, one token after the other. Returns the first failure.
pub(super) struct Segment<'a, 'b, L> {
    pub(super) loss: &'a L,
    pub(super) plan: &'a SegmentPlan<'a>,
    pub(super) states: &'a mut [TokenState<'b>],
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) signal: Option<&'a Signal<'a>>,
}

impl<L: Gradient> Kernel for Segment<'_, '_, L> {
    type Output = Option<Failure>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Option<Failure> {
        let Self { loss, plan, states, from, to, signal } = self;
        let rule = plan.rule;
        let mut failure: Option<Failure> = None;
        // The last step at which no token has failed.
        let mut good = to;
        let mut room = Room::new(states.first()?.theta.len(), rule.batch);
        for state in states {
            for step in from + 1..=good {
                if signal.is_some_and(Signal::is_set) {
                    return failure;
                }
                let place = plan.place(state.index, step);
                let node = plan.nodes.at(place);
                if step + AHEAD as u64 <= to {
                    loss.touch(plan.nodes.at(place + AHEAD));
                }
                let beta = plan.size(step);
                for _ in 0..rule.local_steps {
                    // Not a closure, which would be compiled for the baseline.
                    let TokenState { theta, velocity, stream, .. } = &mut *state;
                    let error = match loss.gradient::<FMA>(Visit { node, theta, stream }, &mut room)
                    {
                        Ok(()) => {
                            if rule.step::<FMA>(beta, &mut room.gradient, theta, velocity) {
                                continue;
                            }
                            None
                        }
                        Err(error) => Some(error),
                    };
                    failure = Some(Failure { step, token: state.index, error });
                    break;
                }
                if failure.as_ref().is_some_and(|failure| failure.step == step) {
                    good = step - 1;
                    break;
                }
                state.settle::<FMA>(plan, step);
            }
            if let Some(signal) = signal {
                signal.count(to - from);
            }
        }
        failure
    }
}

/// One update of all tokens by given gradients. Returns the first token that is not finite.
pub(super) struct Update<'a, 'b> {
    pub(super) plan: &'a SegmentPlan<'a>,
    pub(super) states: &'a mut [TokenState<'b>],
    pub(super) gradients: &'a [f64],
    pub(super) step: u64,
    /// Whether this is the last update of the step.
    pub(super) last: bool,
}

impl Kernel for Update<'_, '_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Option<usize> {
        let Self { plan, states, gradients, step, last } = self;
        let beta = plan.size(step);
        let Room { mut gradient, .. } = Room::new(states.first()?.theta.len(), 0);
        for (state, row) in states.iter_mut().zip(gradients.chunks_exact(plan.dim)) {
            gradient.as_flattened_mut()[..plan.dim].copy_from_slice(row);
            let TokenState { theta, velocity, .. } = &mut *state;
            if !plan.rule.step::<FMA>(beta, &mut gradient, theta, velocity) {
                return Some(state.index);
            }
            if last {
                state.settle::<FMA>(plan, step);
            }
        }
        None
    }
}
