//! All points of a run as one sample, weighted by the mixture of all samplers.
//!
//! Drawn in numbers `n_s` from samplers `q_s`, the points count as drawn from h = Σ (n_s / n) q_s:
//! J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, *Adaptive multiple importance sampling* (2012).
//! The later samplers follow the earlier points, so that averages are biased at second order.

use super::points::log_add;
use super::problem::Batch;
use super::proposal::{Mixed, Proposal};
use fermiac_base::simd::{V, expv, ln};

/// The points of the adaptation, stage by stage, each with its sampler.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) batches: Vec<Vec<Batch>>,
}

impl Stages {
    pub(crate) fn push(&mut self, proposal: &Proposal, batches: &[Batch]) {
        self.proposals.push(proposal.clone());
        self.batches.push(batches.to_vec());
    }
}

/// The samplers of all stages, for points that count as drawn from the mixture of them.
#[derive(Debug)]
pub(crate) struct Pooled {
    /// The samplers of the adaptation with the shares of their points.
    older: Vec<(Proposal, f64)>,
    /// The share of the points of the final sampler.
    last: f64,
    /// The first stratum of each stage, and their number: a component of a stage is a stratum.
    pub(crate) starts: Vec<usize>,
    pub(crate) n_strata: usize,
}

impl Pooled {
    /// The stages of an adaptation, and `n_final` points of a final sampler.
    pub(crate) fn new(stages: &Stages, sampler: &Proposal, n_final: usize) -> Self {
        let counts: Vec<usize> =
            stages.batches.iter().map(|batches| batches.iter().map(|b| b.n).sum()).collect();
        let n = (counts.iter().sum::<usize>() + n_final) as f64;
        let mut starts = vec![0];
        for proposal in &stages.proposals {
            starts.push(starts[starts.len() - 1] + proposal.strata().len());
        }
        let shares = counts.iter().map(|count| *count as f64 / n);
        Self {
            older: stages.proposals.iter().cloned().zip(shares).collect(),
            last: n_final as f64 / n,
            n_strata: starts[starts.len() - 1] + sampler.strata().len(),
            starts,
        }
    }

    pub(crate) fn scratch(&self) -> Vec<Mixed> {
        self.older.iter().map(|(proposal, _)| proposal.scratch()).collect()
    }

    /// Turns the values of the final sampler g at a tile into those of the mixture h: log h, and
    /// g_l / h.
    #[inline(always)]
    pub(crate) fn join<const FMA: bool>(
        &self,
        mixed: &mut Mixed,
        scratch: &mut [Mixed],
        tile: &[V],
        log_laws: &[V],
    ) {
        let mut log_h = mixed.log_g + V::splat(ln(self.last));
        for ((proposal, share), own) in self.older.iter().zip(scratch) {
            own.eval::<FMA>(proposal, tile, log_laws);
            log_h = log_add::<FMA>(log_h, own.log_g + V::splat(ln(*share)));
        }
        let ratio = expv::<FMA>(mixed.log_g - log_h);
        for r in &mut mixed.ratios {
            *r = *r * ratio;
        }
        mixed.log_g = log_h;
    }
}
