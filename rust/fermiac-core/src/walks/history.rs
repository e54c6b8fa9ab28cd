//! What the walkers of an octet know of where they have been.

use super::octet::{OCTET, Octet};
use super::places::Places;
use super::target::Target;
use crate::simd::{ln, prefetch};

/// The counts of eight walkers, or those that they share.
pub(super) trait History: Send {
    /// Whether [`level`](Self::level) is a logarithm already.
    const LOG: bool;
    /// Asks the memory for a count that is read soon.
    fn touch(&self, lane: usize, node: usize);
    /// (c / w), or its logarithm, of a node of this degree.
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64;
    /// The visits of a node.
    fn visits(&self, lane: usize, node: usize) -> f64;
    /// Counts a visit, with the weight of the step.
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64);
    /// Looks around where walkers stand, before candidates are judged.
    #[inline(always)]
    fn survey<P: Places>(&mut self, _: &Target, _: &Octet, _: &P) {}
    /// Walkers whose visits are counted together.
    #[inline(always)]
    fn walkers(&self) -> f64 {
        1.0
    }
}

/// None.
pub(super) struct Forgotten;

impl History for Forgotten {
    const LOG: bool = true;

    #[inline(always)]
    fn touch(&self, _: usize, _: usize) {}

    #[inline(always)]
    fn level(&self, _: &Target, _: usize, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visits(&self, _: usize, _: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, _: usize, _: usize, _: usize, _: f64) {}
}

/// A table of visits, walker by walker.
pub(super) struct Dense {
    pub(super) visits: Vec<u32>,
    n_nodes: usize,
}

impl Dense {
    pub(super) fn new(n_nodes: usize) -> Self {
        Self { visits: vec![0; n_nodes * OCTET], n_nodes }
    }

    /// Those of one walker.
    pub(super) fn lane(&self, lane: usize) -> &[u32] {
        &self.visits[lane * self.n_nodes..][..self.n_nodes]
    }

    /// The same, to be changed.
    pub(super) fn of(&mut self, lane: usize) -> &mut [u32] {
        &mut self.visits[lane * self.n_nodes..][..self.n_nodes]
    }
}

impl History for Dense {
    const LOG: bool = false;

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        prefetch(&self.visits, lane * self.n_nodes + node);
    }

    #[inline(always)]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        target.ratio(node, degree, self.visits(lane, node))
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        f64::from(self.visits[lane * self.n_nodes + node])
    }

    #[inline(always)]
    fn visit(&mut self, _: &Target, lane: usize, node: usize, _: usize, _: f64) {
        // The driver refuses runs of 2³² steps.
        self.visits[lane * self.n_nodes + node] += 1;
    }
}

/// Visits that weigh the more the later they are (step exponents below 1), as logarithms of masses
/// relative to what is left of the first: these grow beyond doubles themselves.
pub(super) struct Masses {
    pub(super) dense: Dense,
    /// ln y; NaN where nobody was.
    pub(super) logs: Vec<f64>,
}

impl Masses {
    pub(super) fn new(n_nodes: usize) -> Self {
        Self { dense: Dense::new(n_nodes), logs: vec![f64::NAN; n_nodes * OCTET] }
    }
}

impl History for Masses {
    const LOG: bool = true;

    #[inline(always)]
    fn touch(&self, lane: usize, node: usize) {
        prefetch(&self.logs, lane * self.dense.n_nodes + node);
        self.dense.touch(lane, node);
    }

    #[inline(always)]
    fn level(&self, target: &Target, lane: usize, node: usize, degree: usize) -> f64 {
        let log = self.logs[lane * self.dense.n_nodes + node];
        if log.is_nan() {
            ln(target.ratio(node, degree, 0.0))
        } else {
            log - target.log(node, degree)
        }
    }

    #[inline(always)]
    fn visits(&self, lane: usize, node: usize) -> f64 {
        self.dense.visits(lane, node)
    }

    #[inline(always)]
    fn visit(&mut self, target: &Target, lane: usize, node: usize, degree: usize, weight: f64) {
        let log = &mut self.logs[lane * self.dense.n_nodes + node];
        if log.is_nan() {
            *log = ln(target.pseudo(node, degree));
        }
        let (low, high) = if *log < weight { (*log, weight) } else { (weight, *log) };
        *log = high + crate::simd::ln1p_pos(crate::simd::exp(low - high));
        self.dense.visit(target, lane, node, degree, weight);
    }
}
