//! The rarer histories behind one type: each would be another compilation of every chain.

use super::hashed::{Hashed, HashedMasses};
use super::history::{History, Masses};
use super::octet::Octet;
use super::places::Places;
use super::recent::Recent;
use super::shared::Shared;
use super::target::Target;

/// A history that costs a branch more than one of its own type.
pub(super) enum Rare<'a> {
    Masses(&'a mut Masses),
    Hashed(&'a mut Hashed),
    HashedMasses(&'a mut HashedMasses),
    Recent(&'a mut Recent),
    Shared(Shared<'a>),
}

/// The same call of whatever it is.
macro_rules! each {
    ($self:ident, $history:ident => $call:expr) => {
        match $self {
            Self::Masses($history) => $call,
            Self::Hashed($history) => $call,
            Self::HashedMasses($history) => $call,
            Self::Recent($history) => $call,
            Self::Shared($history) => $call,
        }
    };
}

impl History for Rare<'_> {
    #[inline(always)]
    fn is_log(&self) -> bool {
        each!(self, history => history.is_log())
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        each!(self, history => history.touch(lane, node));
    }

    #[inline]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        each!(self, history => history.level(target, lane, node, degree))
    }

    #[inline]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        each!(self, history => history.visits(lane, node))
    }

    #[inline]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        each!(self, history => history.visit(target, lane, node, degree, weight));
    }

    #[inline]
    fn survey<P: Places>(&mut self, target: &Target, octet: &Octet, places: &P) {
        each!(self, history => history.survey(target, octet, places));
    }

    #[inline(always)]
    fn walkers(&self) -> f64 {
        each!(self, history => history.walkers())
    }
}
