//! Chains that run freely: each on a worker, every question answered on the spot.

use std::time::Instant;

use super::chain::Chain;
use super::ports::Port;
use super::record::Track;
use crate::Result;
use crate::par::Context;

/// Runs every chain to `goal` transitions, or until the deadline.
pub(super) fn free_run(
    chains: &mut [Chain],
    tracks: &mut [Track<'_>],
    ports: &[Port],
    goal: u64,
    deadline: Option<Instant>,
    context: &Context<'_>,
) -> Result<()> {
    let items = chains.iter_mut().zip(tracks).filter(|(chain, _)| chain.done < goal).collect();
    context.each(items, deadline, |(chain, track), signal| {
        while !signal.is_set() && chain.advance(goal, track, || signal.count(1))? {
            chain.answer(ports)?;
        }
        Ok(())
    })
}
