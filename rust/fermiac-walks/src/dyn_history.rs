//! The less frequent histories behind one type, so that chains are not compiled for each of them.

use super::hashed::{Hashed, HashedMasses};
use super::history::{History, Masses};
use super::neighbour_source::NeighbourSource;
use super::recent::Recent;
use super::shared::Shared;
use super::target::Target;
use super::walker_block::WalkerBlock;

/// A history that costs one more branch per call than one of its own type.
pub(super) enum DynHistory<'a> {
    Masses(&'a mut Masses),
    Hashed(&'a mut Hashed),
    HashedMasses(&'a mut HashedMasses),
    Recent(&'a mut Recent),
    Shared(Shared<'a>),
}

/// The same call on the history of each variant.
macro_rules! any {
    ($self:ident, $history:ident => $call:expr) => {
        each!($self, Self::{Masses, Hashed, HashedMasses, Recent, Shared}, $history => $call)
    };
}

impl History for DynHistory<'_> {
    #[inline(always)]
    fn is_log(&self) -> bool {
        any!(self, history => history.is_log())
    }

    #[inline(always)]
    fn has_counts(&self) -> bool {
        any!(self, history => history.has_counts())
    }

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        any!(self, history => history.touch(lane, node));
    }

    #[inline]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        any!(self, history => history.level(target, lane, node, degree))
    }

    #[inline]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        any!(self, history => history.visits(lane, node))
    }

    #[inline]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        any!(self, history => history.visit(target, lane, node, degree, weight));
    }

    #[inline]
    fn survey<P: NeighbourSource>(&mut self, target: &Target, block: &WalkerBlock, source: &P) {
        any!(self, history => history.survey(target, block, source));
    }

    #[inline(always)]
    fn walkers(&self) -> f64 {
        any!(self, history => history.walkers())
    }
}
