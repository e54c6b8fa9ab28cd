//! Lock step: the requests of all chains are gathered into one batch per round.

use super::chain::{Chain, oracle_of};
use super::oracle::{Batch, Oracle};
use super::record::Track;
use crate::kernel::{Request, RequestKind};
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::RowStatus;
use std::time::Instant;

/// The same request of some chains, and the room for the answer.
struct Group {
    request: Request,
    members: Vec<usize>,
    points: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
    status: Vec<RowStatus>,
}

impl Group {
    fn new(request: Request) -> Self {
        let (members, status) = (Vec::new(), Vec::new());
        let (points, values, gradients) = (Vec::new(), Vec::new(), Vec::new());
        Self { request, members, points, values, gradients, status }
    }

    fn clear(&mut self) {
        self.members.clear();
        self.points.clear();
        self.values.clear();
        self.gradients.clear();
    }

    /// Takes in the request of a chain.
    fn add(&mut self, i: usize, chain: &mut Chain) {
        let buffer = chain.kernel.eval_buffer();
        self.members.push(i);
        self.points.extend_from_slice(buffer.points);
        // The chain knows the size of the answer.
        self.values.resize(self.values.len() + buffer.values.len(), 0.0);
        if self.request.kind == RequestKind::Gradient {
            self.gradients.resize(self.points.len(), 0.0);
        }
    }

    fn answer(
        &mut self,
        chains: &mut [Chain],
        oracles: &[Oracle],
        context: &Context<'_>,
    ) -> Result<()> {
        let oracle = oracle_of(oracles, self.request)?;
        let x = Rows::new(&self.points, oracle.dim());
        if self.request.kind == RequestKind::Draw {
            let indices: Vec<u64> = self.members.iter().map(|&i| chains[i].index).collect();
            let mut next = self.members.iter().copied().peekable();
            let mut streams: Vec<&mut Stream> = chains
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| next.next_if_eq(i).is_some())
                .map(|(_, chain)| &mut chain.stream)
                .collect();
            oracle.draw(x, &indices, &mut streams, &mut self.values)?;
        } else {
            let batch = Batch {
                x,
                values: &mut self.values,
                gradients: &mut self.gradients,
                status: &mut self.status,
            };
            // The row of an error tells the chain.
            let misses = oracle
                .answer_together(self.request.kind, batch, context)
                .map_err(|error| locate(error, &self.members, chains, oracle.dim()))?;
            if let Some(&first) = self.members.first() {
                chains[first].misses.add(misses);
            }
        }
        self.distribute(chains);
        Ok(())
    }

    fn distribute(&self, chains: &mut [Chain]) {
        let (mut points, mut values) = (0, 0);
        for &i in &self.members {
            let chain = &mut chains[i];
            let buffer = chain.kernel.eval_buffer();
            let (n, m) = (buffer.points.len(), buffer.values.len());
            buffer.values.copy_from_slice(&self.values[values..values + m]);
            if self.request.kind == RequestKind::Gradient {
                buffer.gradients.copy_from_slice(&self.gradients[points..points + n]);
            }
            (points, values) = (points + n, values + m);
            if self.request.kind != RequestKind::Draw && self.request.oracle == 0 {
                chain.n_evals += m as u64;
            }
            chain.pending = None;
        }
    }
}

/// Adds the chain to the message of an error, if its row tells the chain.
fn locate(error: Error, members: &[usize], chains: &mut [Chain], dim: usize) -> Error {
    let Error::Target { row: Some(row), .. } = error else { return error };
    let mut end = 0;
    for &i in members {
        end += chains[i].kernel.eval_buffer().points.len() / dim;
        if row < end {
            return chains[i].locate(error);
        }
    }
    error
}

/// Runs every chain to `goal` transitions, or until a round ends after the deadline. A chain that
/// ends a transition starts the next one at once.
pub(super) fn lock_step(
    chains: &mut [Chain],
    tracks: &mut [Track<'_>],
    oracles: &[Oracle],
    goal: u64,
    deadline: Option<Instant>,
    context: &Context<'_>,
) -> Result<()> {
    let mut groups: Vec<Group> = Vec::new();
    loop {
        groups.iter_mut().for_each(Group::clear);
        let (mut finished, mut paused) = (0, false);
        for (i, (chain, track)) in chains.iter_mut().zip(&mut *tracks).enumerate() {
            if !chain.advance(goal, track, || finished += 1)? {
                continue;
            }
            let Some(request) = chain.pending else {
                paused = true;
                continue;
            };
            let at =
                groups.iter().position(|group| group.request == request).unwrap_or_else(|| {
                    groups.push(Group::new(request));
                    groups.len() - 1
                });
            groups[at].add(i, chain);
        }
        context.advance(finished);
        if !paused && groups.iter().all(|group| group.members.is_empty()) {
            return Ok(());
        }
        for group in groups.iter_mut().filter(|group| !group.members.is_empty()) {
            group.answer(chains, oracles, context)?;
        }
        context.poll()?;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(());
        }
    }
}
