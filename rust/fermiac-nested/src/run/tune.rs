//! The length of moves and the number of them, tuned between batches; within one they stand still.

use fermiac_base::Result;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;

use super::settings::initial_width;
use crate::chains::{Moves, Report};

/// Tries for each slice that the width of brackets aims at.
const TRIES: f64 = 2.0;
/// The share of steps that walks aim to accept.
const ACCEPTANCE: f64 = 0.5;
/// The share of steps of flights that meet the boundary. More of them make longer ways, of which
/// fewer are reflected.
const REFLECTED: f64 = 0.35;
/// The most by which a batch changes a length.
const MOST: f64 = 2.0;
/// The widest bracket, in first widths.
const WIDEST: f64 = 16.0;

/// Chains that the correlation of starts is taken over, about.
const CHAINS: f64 = 1000.0;
/// The correlation of starts and ends above which chains are made longer, and below which they are
/// made shorter again.
const HIGH: f64 = 0.2;
const LOW: f64 = 0.1;
/// By how much a time, and by how much at most.
const LONGER: f64 = 1.25;
const LONGEST: f64 = 16.0;

impl Moves {
    /// The number that is tuned.
    pub(super) fn scale(&mut self) -> &mut f64 {
        match self {
            Self::Slice { width, .. } => width,
            Self::Walk { scale, .. } => scale,
            Self::Galilean { step, .. } => step,
        }
    }

    /// Moves of a chain.
    pub(super) fn n_moves(&self) -> f64 {
        match *self {
            Self::Slice { n_slices, .. } => f64::from(n_slices),
            Self::Walk { n_steps, .. } | Self::Galilean { n_steps, .. } => f64::from(n_steps),
        }
    }

    /// As many moves, times a factor.
    pub(super) fn longer(mut self, factor: f64) -> Self {
        let n = match &mut self {
            Self::Slice { n_slices, .. } => n_slices,
            Self::Walk { n_steps, .. } | Self::Galilean { n_steps, .. } => n_steps,
        };
        *n = (f64::from(*n) * factor).ceil() as u32;
        self
    }
}

/// The moves of the next batch.
pub(super) fn tune(mut moves: Moves, report: &Report, dim: usize) -> Moves {
    let counts = &report.counts;
    let (made, tries) = (counts.moves.max(1) as f64, counts.tries.max(1) as f64);
    match &mut moves {
        Moves::Slice { width, step_out: true, .. } => {
            // As many steps outwards as tries that shrink.
            let (out, shrunk) = (counts.steps_out.max(1) as f64, (tries - made).max(1.0));
            *width *= (2.0 * out / (out + shrunk)).clamp(1.0 / MOST, MOST);
        }
        Moves::Slice { width, .. } => {
            // Where the prior is flat, brackets are cut to the cube, and their width means nothing.
            let widest = WIDEST * initial_width(dim);
            *width *= (TRIES * made / tries).powi(2).clamp(1.0 / MOST, MOST);
            *width = width.min(widest);
        }
        Moves::Walk { scale, .. } => {
            let change = (made / tries - ACCEPTANCE) / (0.5 * dim as f64);
            *scale *= exp(change).clamp(1.0 / MOST, MOST);
        }
        Moves::Galilean { step, tuned: true, .. } => {
            let met = counts.met.max(1) as f64;
            *step *= (REFLECTED * tries / met).sqrt().clamp(1.0 / MOST, MOST);
        }
        Moves::Galilean { .. } => {}
    }
    moves
}

/// How much of their starts chains remember, and how much longer they are made for it.
///
/// A start is a point that stays alive. Where the coordinate that moves slowest still shows it at
/// the end of a chain, new points crowd about the old ones, and what part of the prior they stand
/// for drifts: the error of the evidence grows beyond what it is said to be.
#[derive(Debug, Clone, Default)]
pub(super) struct StartCorrelation {
    products: [Vec<f64>; 3],
    chains: f64,
    /// The factor of the length of chains, and whether it may change.
    pub(super) factor: f64,
}

impl StartCorrelation {
    pub(super) fn new() -> Self {
        Self { factor: 1.0, ..Self::default() }
    }

    /// Takes in a batch; the correlation of starts and ends in the coordinate that shows it most.
    pub(super) fn update(&mut self, report: &Report, n_chains: usize, adapts: bool) -> f64 {
        let fade = exp(-(n_chains as f64) / CHAINS);
        for (sums, new) in self.products.iter_mut().zip(&report.products) {
            sums.resize(new.len(), 0.0);
            for (sum, new) in sums.iter_mut().zip(new) {
                *sum = fade * *sum + new;
            }
        }
        self.chains = fade * self.chains + n_chains as f64;
        let [cross, before, after] = &self.products;
        let correlations =
            cross.iter().zip(before).zip(after).map(|((c, a), b)| c / (a * b).sqrt());
        let most = correlations.fold(0.0, f64::max);
        if adapts && self.chains > 0.5 * CHAINS {
            let factor = self.factor;
            if most > HIGH {
                self.factor = (factor * LONGER).min(LONGEST);
            } else if most < LOW {
                self.factor = (factor / LONGER).max(1.0);
            }
            if self.factor != factor {
                // What was learned is of chains of another length.
                self.chains = 0.0;
                self.products.iter_mut().for_each(|sums| sums.fill(0.0));
            }
        }
        most
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.products.iter_mut().try_for_each(|sums| codec.list(sums))?;
        codec.number(&mut self.chains)?;
        codec.number(&mut self.factor)
    }
}
