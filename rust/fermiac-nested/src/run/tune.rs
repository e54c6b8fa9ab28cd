//! Tuning of the lengths of moves and of chains between batches; both are fixed within a batch.

use super::settings::initial_width;
use crate::chains::{Moves, Report};
use fermiac_base::Result;
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;

/// The target of tries per slice, which tunes the width of brackets.
const TRIES: f64 = 2.0;
/// The target acceptance rate of walks.
const ACCEPTANCE: f64 = 0.5;
/// The target share of Galilean steps that meet the boundary. Longer steps move farther, but fewer
/// of them can be reflected.
const REFLECTED: f64 = 0.35;
/// The largest factor by which a batch changes a length.
const MOST: f64 = 2.0;
/// The widest bracket, in units of the initial width.
const WIDEST: f64 = 16.0;

/// The approximate number of chains over which the correlation with starts is estimated.
const CHAINS: f64 = 1000.0;
/// Chains are lengthened above the first correlation of starts and ends, and shortened again below
/// the second.
const HIGH: f64 = 0.2;
const LOW: f64 = 0.1;
/// The factor of one change, and the largest factor in all.
const LONGER: f64 = 1.25;
const LONGEST: f64 = 16.0;

impl Moves {
    /// The length that is tuned.
    pub(super) fn scale(&mut self) -> &mut f64 {
        match self {
            Self::Slice { width, .. } => width,
            Self::Walk { scale, .. } => scale,
            Self::Galilean { step, .. } => step,
        }
    }

    /// The number of moves of a chain.
    pub(super) fn n_moves(&self) -> f64 {
        match *self {
            Self::Slice { n_slices, .. } => f64::from(n_slices),
            Self::Walk { n_steps, .. } | Self::Galilean { n_steps, .. } => f64::from(n_steps),
        }
    }

    /// The moves with their number multiplied by a factor.
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
            // The target is as many steps outwards as tries that shrink.
            let (out, shrunk) = (counts.steps_out.max(1) as f64, (tries - made).max(1.0));
            *width *= (2.0 * out / (out + shrunk)).clamp(1.0 / MOST, MOST);
        }
        Moves::Slice { width, .. } => {
            // If the likelihood is flat, brackets are cut to the cube, and their width has no effect.
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

/// The correlation of the ends of chains with their starts, and the factor on their length.
///
/// A start is a point that stays alive. If ends correlate with starts in any coordinate, new points
/// cluster about old ones and the masses of regions drift: the error of the evidence becomes larger
/// than the reported one.
#[derive(Debug, Clone, Default)]
pub(super) struct StartCorrelation {
    products: [Vec<f64>; 3],
    chains: f64,
    /// The factor on the length of chains.
    pub(super) factor: f64,
}

impl StartCorrelation {
    pub(super) fn new() -> Self {
        Self { factor: 1.0, ..Self::default() }
    }

    /// Adds a batch; returns the largest correlation of starts and ends of all coordinates.
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
                // The sums belong to chains of another length.
                self.chains = 0.0;
                self.products.iter_mut().for_each(|sums| sums.fill(0.0));
            }
        }
        most
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        self.products.iter_mut().try_for_each(|sums| codec.list(sums))?;
        codec.number(&mut self.chains)?;
        codec.number(&mut self.factor)?;
        let n = self.products[0].len();
        let even = self.products.iter().all(|sums| sums.len() == n);
        codec.require(even && (1.0..=LONGEST).contains(&self.factor))
    }
}
