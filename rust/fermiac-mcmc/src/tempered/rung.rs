//! One chain of a tempered family: its kernel, and both log-densities where it stands.

use fermiac_base::rng::Stream;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

use crate::kernel::{Ask, Kernel, Need, Point, Step};

/// How far a rung is in its transition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Status {
    /// It can go on.
    Moving,
    /// It waits for values, or for gradients.
    WantsValue,
    WantsGradient,
    /// It has arrived.
    Finished,
}

const STATUSES: [Status; 4] =
    [Status::Moving, Status::WantsValue, Status::WantsGradient, Status::Finished];

impl Status {
    pub(super) fn need(self) -> Option<Need> {
        match self {
            Self::WantsValue => Some(Need::Value),
            Self::WantsGradient => Some(Need::Gradient),
            Self::Moving | Self::Finished => None,
        }
    }
}

/// A point with the log-densities of target and reference there, and their gradients.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) x: Vec<f64>,
    /// Whether the values, and whether the gradients, are those of `x`.
    pub(super) known: bool,
    sloped: bool,
    target: f64,
    reference: f64,
    target_gradient: Vec<f64>,
    reference_gradient: Vec<f64>,
}

impl Spot {
    fn new(dim: usize, with_gradient: bool) -> Self {
        let slopes = vec![0.0; if with_gradient { dim } else { 0 }];
        Self {
            x: vec![0.0; dim],
            known: false,
            sloped: false,
            target: f64::NAN,
            reference: f64::NAN,
            target_gradient: slopes.clone(),
            reference_gradient: slopes,
        }
    }

    /// log p - log r; infinite where one of them is 0, NaN where they are not known.
    pub(super) fn log_ratio(&self) -> f64 {
        self.target - self.reference
    }

    /// As a point of the target's own chain.
    pub(super) fn point(&self) -> Point<'_> {
        let gradient = if self.sloped { self.target_gradient.as_slice() } else { &[] };
        Point { x: &self.x, log_density: self.target, gradient }
    }

    fn go(&mut self, x: &[f64]) {
        self.x.copy_from_slice(x);
        (self.known, self.sloped) = (false, false);
        (self.target, self.reference) = (f64::NAN, f64::NAN);
    }

    /// Takes in the last row of an answer.
    fn set(&mut self, answer: &Answer<'_>) {
        let dim = self.x.len();
        self.x.copy_from_slice(&answer.points[answer.points.len() - dim..]);
        self.known = true;
        self.target = answer.target.0[answer.target.0.len() - 1];
        self.reference = answer.reference.0[answer.reference.0.len() - 1];
        let (slopes, others) = (answer.target.1, answer.reference.1);
        self.sloped = !slopes.is_empty() && !self.target_gradient.is_empty();
        if self.sloped {
            self.target_gradient.copy_from_slice(&slopes[slopes.len() - dim..]);
            self.reference_gradient.copy_from_slice(&others[others.len() - dim..]);
        }
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.numbers(&mut self.x)?;
        codec.flag(&mut self.known)?;
        codec.flag(&mut self.sloped)?;
        codec.number(&mut self.target)?;
        codec.number(&mut self.reference)?;
        codec.numbers(&mut self.target_gradient)?;
        codec.numbers(&mut self.reference_gradient)
    }
}

/// What target and reference say of some points: values, and gradients where they were asked for.
pub(super) struct Answer<'a> {
    pub(super) points: &'a [f64],
    pub(super) target: (&'a [f64], &'a [f64]),
    pub(super) reference: (&'a [f64], &'a [f64]),
}

pub(super) struct Rung {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) beta: f64,
    pub(super) status: Status,
    pub(super) here: Spot,
    /// The last point that it asked about.
    there: Spot,
    /// Room for a gradient.
    gradient: Vec<f64>,
}

impl Clone for Rung {
    fn clone(&self) -> Self {
        Self {
            kernel: self.kernel.duplicate(),
            beta: self.beta,
            status: self.status,
            here: self.here.clone(),
            there: self.there.clone(),
            gradient: self.gradient.clone(),
        }
    }
}

impl Rung {
    pub(super) fn new(kernel: Box<dyn Kernel>, beta: f64) -> Self {
        let here = Spot::new(kernel.dim(), kernel.needs_gradient());
        let (there, gradient) = (here.clone(), here.target_gradient.clone());
        Self { kernel, beta, status: Status::Moving, here, there, gradient }
    }

    pub(super) fn begin(&mut self, x: &[f64]) {
        self.here.go(x);
        self.kernel.begin(x);
    }

    /// Tells the kernel where it now stands, or what its density there now is.
    pub(super) fn restart(&mut self) {
        if !self.here.known {
            return;
        }
        let Self { kernel, beta, here, gradient, .. } = self;
        let known = if here.sloped {
            mix_slopes(*beta, &here.target_gradient, &here.reference_gradient, gradient);
            gradient.as_slice()
        } else {
            &[]
        };
        kernel.restart(&here.x, mixed(*beta, here.target, here.reference), known);
    }

    pub(super) fn advance(&mut self, stream: &mut Stream) -> Result<()> {
        self.status = match self.kernel.advance(stream)? {
            Step::Ask(Ask { port: 0, need: Need::Value }) => Status::WantsValue,
            Step::Ask(Ask { port: 0, need: Need::Gradient }) => Status::WantsGradient,
            Step::Ask(_) => {
                let why = "a tempered kernel asked for what cannot be tempered";
                return Err(Error::Internal(why.into()));
            }
            Step::Done => {
                self.arrive();
                Status::Finished
            }
        };
        Ok(())
    }

    /// Finds out what is known of the point where the transition has ended.
    fn arrive(&mut self) {
        let point = self.kernel.point(0);
        if self.here.x == point.x {
            return;
        }
        if self.there.known && self.there.x == point.x {
            std::mem::swap(&mut self.here, &mut self.there);
            self.there.known = false;
        } else {
            self.here.go(point.x);
        }
    }

    /// Takes an answer: to what it asked, or to where it stands.
    pub(super) fn take(&mut self, answer: &Answer<'_>, probing: bool) {
        if probing {
            self.here.set(answer);
            return;
        }
        self.there.set(answer);
        if self.here.x == self.there.x && !(self.here.known && self.here.sloped) {
            self.here.clone_from(&self.there);
        }
        let beta = self.beta;
        let exchange = self.kernel.exchange();
        let values = answer.target.0.iter().zip(answer.reference.0);
        for (to, (target, reference)) in exchange.values.iter_mut().zip(values) {
            *to = mixed(beta, *target, *reference);
        }
        if !answer.target.1.is_empty() {
            mix_slopes(beta, answer.target.1, answer.reference.1, exchange.gradients);
        }
        self.status = Status::Moving;
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.number(&mut self.beta)?;
        codec.choice(&mut self.status, &STATUSES)?;
        self.here.persist(codec)?;
        self.there.persist(codec)?;
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

fn mix_slopes(beta: f64, target: &[f64], reference: &[f64], out: &mut [f64]) {
    for ((out, p), r) in out.iter_mut().zip(target).zip(reference) {
        *out = mixed(beta, *p, *r);
    }
}
