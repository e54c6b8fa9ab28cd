//! The loops in which tokens follow their walkers.

use fermiac_base::Error;
use fermiac_base::par::Signal;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, V};

use super::Tile;
use super::loss::{Gradient, Room};
use super::rule::Rule;

/// Steps ahead for which memory is asked.
const AHEAD: usize = 4;

/// The nodes that walkers came to: (tokens, slots), row by row.
#[derive(Debug, Clone, Copy)]
pub enum Nodes<'a> {
    /// Of 32 bits.
    Short(&'a [u32]),
    /// Of 64 bits.
    Long(&'a [u64]),
}

impl Nodes<'_> {
    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(nodes) => nodes.len(),
            Self::Long(nodes) => nodes.len(),
        }
    }

    #[inline(always)]
    pub(super) fn at(&self, i: usize) -> usize {
        match self {
            Self::Short(nodes) => nodes[i] as usize,
            Self::Long(nodes) => nodes[i] as usize,
        }
    }
}

/// Where parameters are written down: (tokens, slots, dim).
#[derive(Debug)]
pub struct Trace<'a> {
    /// The step of the first slot.
    pub first: u64,
    /// Steps for each slot.
    pub every: u64,
    /// The parameters.
    pub values: &'a mut [f64],
}

/// What is the same for all tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course<'a> {
    pub(super) rule: &'a Rule,
    pub(super) nodes: Nodes<'a>,
    /// Slots of a token, and the step before the first.
    pub(super) n_slots: usize,
    pub(super) first: u64,
    /// The sizes of the steps after `from`.
    pub(super) sizes: &'a [f64],
    pub(super) from: u64,
    pub(super) trace_first: u64,
    pub(super) trace_every: u64,
    pub(super) dim: usize,
}

impl Course<'_> {
    /// The place of a token's node at a step.
    #[inline(always)]
    pub(super) fn place(&self, token: usize, step: u64) -> usize {
        token * self.n_slots + (step - self.first) as usize - 1
    }

    #[inline(always)]
    pub(super) fn size(&self, step: u64) -> f64 {
        self.sizes[(step - self.from) as usize - 1]
    }
}

/// One token.
pub(super) struct Seat<'a> {
    pub(super) index: usize,
    pub(super) theta: &'a mut [Tile],
    pub(super) velocity: &'a mut [Tile],
    pub(super) mean: &'a mut [Tile],
    pub(super) stream: &'a mut Stream,
    pub(super) trace: &'a mut [f64],
}

impl Seat<'_> {
    /// What follows a step.
    #[inline(always)]
    pub(super) fn settle<const FMA: bool>(&mut self, course: &Course<'_>, step: u64) {
        if let Some(after) = course.rule.average_after
            && step > after
        {
            let share = V::splat(1.0 / (step - after) as f64);
            for k in 0..self.mean.len() {
                let (mean, theta) = (V(self.mean[k]), V(self.theta[k]));
                self.mean[k] = share.mul_add::<FMA>(theta - mean, mean).0;
            }
        }
        if self.trace.is_empty() || step < course.trace_first {
            return;
        }
        let since = step - course.trace_first;
        if since.is_multiple_of(course.trace_every) {
            let slot = (since / course.trace_every) as usize;
            if let Some(to) = self.trace.chunks_exact_mut(course.dim).nth(slot) {
                to.copy_from_slice(&self.theta.as_flattened()[..course.dim]);
            }
        }
    }
}

/// Where a step failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: u64,
    pub(super) token: usize,
    /// None where parameters are no longer finite.
    pub(super) error: Option<Error>,
}

/// Some tokens for some steps, one token after the other. Gives the first failure, if any.
pub(super) struct Ride<'a, 'b, L> {
    pub(super) loss: &'a L,
    pub(super) course: &'a Course<'a>,
    pub(super) seats: &'a mut [Seat<'b>],
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) signal: Option<&'a Signal<'a>>,
}

impl<L: Gradient> Kernel for Ride<'_, '_, L> {
    type Output = Option<Failure>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Option<Failure> {
        let Self { loss, course, seats, from, to, signal } = self;
        let rule = course.rule;
        let mut failure: Option<Failure> = None;
        // A step that no token has failed at.
        let mut good = to;
        let mut room = Room::new(seats.first()?.theta.len(), rule.batch);
        for seat in seats {
            for step in from + 1..=good {
                if signal.is_some_and(Signal::is_set) {
                    return failure;
                }
                let place = course.place(seat.index, step);
                let node = course.nodes.at(place);
                if step + AHEAD as u64 <= to {
                    loss.touch(course.nodes.at(place + AHEAD));
                }
                let beta = course.size(step);
                for _ in 0..rule.local_steps {
                    // No closure: what is in one is compiled for the baseline.
                    let error = match loss.gradient::<FMA>(node, seat.theta, &mut room, seat.stream)
                    {
                        Ok(()) => {
                            let Seat { theta, velocity, .. } = &mut *seat;
                            if rule.step::<FMA>(beta, &mut room.gradient, theta, velocity) {
                                continue;
                            }
                            None
                        }
                        Err(error) => Some(error),
                    };
                    failure = Some(Failure { step, token: seat.index, error });
                    break;
                }
                if failure.as_ref().is_some_and(|failure| failure.step == step) {
                    good = step - 1;
                    break;
                }
                seat.settle::<FMA>(course, step);
            }
            if let Some(signal) = signal {
                signal.count(to - from);
            }
        }
        failure
    }
}

/// All tokens for one update, by gradients that are known. Gives the first that is not finite.
pub(super) struct Update<'a, 'b> {
    pub(super) course: &'a Course<'a>,
    pub(super) seats: &'a mut [Seat<'b>],
    pub(super) gradients: &'a [f64],
    pub(super) step: u64,
    /// Whether this is the last update of the step.
    pub(super) last: bool,
}

impl Kernel for Update<'_, '_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Option<usize> {
        let Self { course, seats, gradients, step, last } = self;
        let beta = course.size(step);
        let Room { mut gradient, .. } = Room::new(seats.first()?.theta.len(), 0);
        for (seat, row) in seats.iter_mut().zip(gradients.chunks_exact(course.dim)) {
            gradient.as_flattened_mut()[..course.dim].copy_from_slice(row);
            let Seat { theta, velocity, .. } = &mut *seat;
            if !course.rule.step::<FMA>(beta, &mut gradient, theta, velocity) {
                return Some(seat.index);
            }
            if last {
                seat.settle::<FMA>(course, step);
            }
        }
        None
    }
}
