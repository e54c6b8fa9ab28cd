//! A rung of parallel tempering: a chain, and the log-densities of target and reference at its
//! point.

use crate::kernel::{Kernel, Point, Request, RequestKind, Step};
use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

/// The progress of a rung in its transition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Status {
    /// It can continue.
    Moving,
    /// It waits for values, or for values and gradients.
    NeedsValue,
    NeedsGradient,
    /// Its transition has ended.
    Finished,
}

const STATUSES: [Status; 4] =
    [Status::Moving, Status::NeedsValue, Status::NeedsGradient, Status::Finished];

impl Status {
    pub(super) fn kind(self) -> Option<RequestKind> {
        match self {
            Self::NeedsValue => Some(RequestKind::Value),
            Self::NeedsGradient => Some(RequestKind::Gradient),
            Self::Moving | Self::Finished => None,
        }
    }
}

/// A point with the log-densities of target and reference, and their gradients.
#[derive(Debug, Clone)]
pub(super) struct RungPoint {
    pub(super) x: Vec<f64>,
    /// Whether the values, and whether the gradients, at `x` are known.
    pub(super) known: bool,
    has_gradient: bool,
    target: f64,
    reference: f64,
    target_gradient: Vec<f64>,
    reference_gradient: Vec<f64>,
}

impl RungPoint {
    fn new(dim: usize, with_gradient: bool) -> Self {
        let gradients = vec![0.0; if with_gradient { dim } else { 0 }];
        Self {
            x: vec![0.0; dim],
            known: false,
            has_gradient: false,
            target: f64::NAN,
            reference: f64::NAN,
            target_gradient: gradients.clone(),
            reference_gradient: gradients,
        }
    }

    /// log p - log r; infinite where one of the densities is 0, NaN where they are not known.
    pub(super) fn log_ratio(&self) -> f64 {
        self.target - self.reference
    }

    /// The point as one of the chain of the target.
    pub(super) fn point(&self) -> Point<'_> {
        let gradient = if self.has_gradient { self.target_gradient.as_slice() } else { &[] };
        Point { x: &self.x, log_density: self.target, gradient }
    }

    fn move_to(&mut self, x: &[f64]) {
        self.x.copy_from_slice(x);
        (self.known, self.has_gradient) = (false, false);
        (self.target, self.reference) = (f64::NAN, f64::NAN);
    }

    /// Takes over the last row of an answer.
    fn set(&mut self, answer: &Answer<'_>) {
        let dim = self.x.len();
        self.x.copy_from_slice(&answer.points[answer.points.len() - dim..]);
        self.known = true;
        self.target = answer.target.0[answer.target.0.len() - 1];
        self.reference = answer.reference.0[answer.reference.0.len() - 1];
        let (gradients, others) = (answer.target.1, answer.reference.1);
        self.has_gradient = !gradients.is_empty() && !self.target_gradient.is_empty();
        if self.has_gradient {
            self.target_gradient.copy_from_slice(&gradients[gradients.len() - dim..]);
            self.reference_gradient.copy_from_slice(&others[others.len() - dim..]);
        }
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.flag(&mut self.known)?;
        codec.flag(&mut self.has_gradient)?;
        codec.number(&mut self.target)?;
        codec.number(&mut self.reference)?;
        codec.numbers(&mut self.target_gradient)?;
        codec.numbers(&mut self.reference_gradient)
    }
}

/// The values of target and reference at some points, and the gradients if they were requested.
pub(super) struct Answer<'a> {
    pub(super) points: &'a [f64],
    pub(super) target: (&'a [f64], &'a [f64]),
    pub(super) reference: (&'a [f64], &'a [f64]),
}

pub(super) struct Rung {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) beta: f64,
    pub(super) status: Status,
    pub(super) current: RungPoint,
    /// The last point that it requested.
    requested: RungPoint,
    /// Room for a gradient.
    gradient: Vec<f64>,
}

impl Clone for Rung {
    fn clone(&self) -> Self {
        Self {
            kernel: self.kernel.duplicate(),
            beta: self.beta,
            status: self.status,
            current: self.current.clone(),
            requested: self.requested.clone(),
            gradient: self.gradient.clone(),
        }
    }
}

impl Rung {
    pub(super) fn new(kernel: Box<dyn Kernel>, beta: f64) -> Self {
        let current = RungPoint::new(kernel.dim(), kernel.needs_gradient());
        let (requested, gradient) = (current.clone(), current.target_gradient.clone());
        Self { kernel, beta, status: Status::Moving, current, requested, gradient }
    }

    /// A rung for the reference, with the room for gradients that the others have.
    pub(super) fn reference(kernel: Box<dyn Kernel>, like: &Self) -> Self {
        Self { kernel, ..like.clone() }
    }

    pub(super) fn begin(&mut self, x: &[f64]) {
        self.current.move_to(x);
        self.kernel.begin(x);
    }

    /// Restarts the kernel at a new point or with a new density there.
    pub(super) fn restart(&mut self) {
        if !self.current.known {
            return;
        }
        let Self { kernel, beta, current, gradient, .. } = self;
        let known = if current.has_gradient {
            mix_gradients(*beta, &current.target_gradient, &current.reference_gradient, gradient);
            gradient.as_slice()
        } else {
            &[]
        };
        kernel.restart(&current.x, mixed(*beta, current.target, current.reference), known);
    }

    pub(super) fn advance(&mut self, stream: &mut Stream) -> Result<()> {
        self.status = match self.kernel.advance(stream)? {
            Step::Request(Request { oracle: 0, kind: RequestKind::Value }) => Status::NeedsValue,
            Step::Request(Request { oracle: 0, kind: RequestKind::Gradient }) => {
                Status::NeedsGradient
            }
            Step::Request(Request { .. }) | Step::Pause => {
                let why = "a tempered kernel asked for what cannot be tempered";
                return Err(Error::Internal(why.into()));
            }
            Step::Done => {
                self.end_transition();
                Status::Finished
            }
        };
        Ok(())
    }

    /// Moves to the point where the transition has ended, with what is known there.
    fn end_transition(&mut self) {
        let point = self.kernel.point(0);
        if self.current.x == point.x {
            return;
        }
        if self.requested.known && self.requested.x == point.x {
            std::mem::swap(&mut self.current, &mut self.requested);
            self.requested.known = false;
        } else {
            self.current.move_to(point.x);
        }
    }

    /// Takes in an answer to its request, or, if it is probed, at its current point.
    pub(super) fn take(&mut self, answer: &Answer<'_>, probing: bool) {
        if probing {
            self.current.set(answer);
            return;
        }
        self.requested.set(answer);
        if self.current.x == self.requested.x && !(self.current.known && self.current.has_gradient)
        {
            self.current.clone_from(&self.requested);
        }
        let beta = self.beta;
        let buffer = self.kernel.eval_buffer();
        let values = answer.target.0.iter().zip(answer.reference.0);
        for (to, (target, reference)) in buffer.values.iter_mut().zip(values) {
            *to = mixed(beta, *target, *reference);
        }
        if !answer.target.1.is_empty() {
            mix_gradients(beta, answer.target.1, answer.reference.1, buffer.gradients);
        }
        self.status = Status::Moving;
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.beta)?;
        codec.choice(&mut self.status, &STATUSES)?;
        self.current.persist(codec)?;
        self.requested.persist(codec)?;
        self.kernel.persist(codec)
    }
}

/// β log p + (1 - β) log r, where 0 times anything is 0.
fn mixed(beta: f64, target: f64, reference: f64) -> f64 {
    if beta == 1.0 {
        target
    } else if beta == 0.0 {
        reference
    } else {
        beta * target + (1.0 - beta) * reference
    }
}

fn mix_gradients(beta: f64, target: &[f64], reference: &[f64], out: &mut [f64]) {
    for ((out, p), r) in out.iter_mut().zip(target).zip(reference) {
        *out = mixed(beta, *p, *r);
    }
}
