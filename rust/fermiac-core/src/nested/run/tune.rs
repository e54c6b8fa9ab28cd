//! The length of moves, tuned between batches; within one it stands still.

use crate::nested::chains::{Moves, Report};

/// Tries for each slice that the width of brackets aims at.
const TRIES: f64 = 2.0;
/// The share of steps that walks aim to accept.
const ACCEPTANCE: f64 = 0.5;
/// The most by which a batch changes a length.
const MOST: f64 = 2.0;

impl Moves {
    /// The number that is tuned.
    pub(super) fn scale(&mut self) -> &mut f64 {
        match self {
            Self::Slice { width, .. } => width,
            Self::Walk { scale, .. } => scale,
        }
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
            *width *= (TRIES * made / tries).powi(2).clamp(1.0 / MOST, MOST);
        }
        Moves::Walk { scale, .. } => {
            let change = (made / tries - ACCEPTANCE) / (0.5 * dim as f64);
            *scale *= crate::simd::exp(change).clamp(1.0 / MOST, MOST);
        }
    }
    moves
}
