//! Chains in lock step: the questions of all of them are gathered into one batch a round.

use std::time::Instant;

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::{Error, Result};
use fermiac_target::RowStatus;

use super::chain::{Chain, port_of};
use super::ports::{Batch, Port};
use super::record::Track;
use crate::kernel::{Ask, Need};

/// The question of some chains, and room for its answer.
struct Group {
    ask: Ask,
    members: Vec<usize>,
    points: Vec<f64>,
    values: Vec<f64>,
    gradients: Vec<f64>,
    status: Vec<RowStatus>,
}

impl Group {
    fn new(ask: Ask) -> Self {
        let (members, status) = (Vec::new(), Vec::new());
        let (points, values, gradients) = (Vec::new(), Vec::new(), Vec::new());
        Self { ask, members, points, values, gradients, status }
    }

    fn clear(&mut self) {
        self.members.clear();
        self.points.clear();
        self.values.clear();
        self.gradients.clear();
    }

    /// Takes in the question of a chain.
    fn add(&mut self, i: usize, chain: &mut Chain) {
        let exchange = chain.kernel.exchange();
        self.members.push(i);
        self.points.extend_from_slice(exchange.points);
        // Room for the answer, of which the chain knows the size.
        self.values.resize(self.values.len() + exchange.values.len(), 0.0);
        if self.ask.need == Need::Gradient {
            self.gradients.resize(self.points.len(), 0.0);
        }
    }

    fn answer(
        &mut self,
        chains: &mut [Chain],
        ports: &[Port],
        context: &Context<'_>,
    ) -> Result<()> {
        let port = port_of(ports, self.ask)?;
        let x = Rows::new(&self.points, port.dim());
        if self.ask.need == Need::Draw {
            let indices: Vec<u64> = self.members.iter().map(|&i| chains[i].index).collect();
            let mut next = self.members.iter().copied().peekable();
            let mut streams: Vec<&mut Stream> = chains
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| next.next_if_eq(i).is_some())
                .map(|(_, chain)| &mut chain.stream)
                .collect();
            port.draw(x, &indices, &mut streams, &mut self.values)?;
        } else {
            let batch = Batch {
                x,
                values: &mut self.values,
                gradients: &mut self.gradients,
                status: &mut self.status,
            };
            // Which chain a row was refused for is known only from the row.
            let refused = port
                .answer_together(self.ask.need, batch, context)
                .map_err(|error| locate(error, &self.members, chains, port.dim()))?;
            if let Some(&first) = self.members.first() {
                chains[first].n_refused += refused;
            }
        }
        self.hand_back(chains);
        Ok(())
    }

    fn hand_back(&self, chains: &mut [Chain]) {
        let (mut points, mut values) = (0, 0);
        for &i in &self.members {
            let chain = &mut chains[i];
            let exchange = chain.kernel.exchange();
            let (n, m) = (exchange.points.len(), exchange.values.len());
            exchange.values.copy_from_slice(&self.values[values..values + m]);
            if self.ask.need == Need::Gradient {
                exchange.gradients.copy_from_slice(&self.gradients[points..points + n]);
            }
            (points, values) = (points + n, values + m);
            if self.ask.need != Need::Draw && self.ask.port == 0 {
                chain.n_evals += m as u64;
            }
            chain.pending = None;
        }
    }
}

/// Says in which of the chains that ask an error came up, where its row tells.
fn locate(error: Error, members: &[usize], chains: &mut [Chain], dim: usize) -> Error {
    let Error::Target { row: Some(row), .. } = error else { return error };
    let mut end = 0;
    for &i in members {
        end += chains[i].kernel.exchange().points.len() / dim;
        if row < end {
            return chains[i].locate(error);
        }
    }
    error
}

/// Runs every chain to `goal` transitions, or until a round ends after the deadline. A chain that
/// finishes a transition early starts its next at once.
pub(super) fn lock_step(
    chains: &mut [Chain],
    tracks: &mut [Track<'_>],
    ports: &[Port],
    goal: u64,
    deadline: Option<Instant>,
    context: &Context<'_>,
) -> Result<()> {
    let mut groups: Vec<Group> = Vec::new();
    loop {
        groups.iter_mut().for_each(Group::clear);
        let mut finished = 0;
        for (i, (chain, track)) in chains.iter_mut().zip(&mut *tracks).enumerate() {
            if !chain.advance(goal, track, || finished += 1)? {
                continue;
            }
            let Some(ask) = chain.pending else { continue };
            let at = groups.iter().position(|group| group.ask == ask).unwrap_or_else(|| {
                groups.push(Group::new(ask));
                groups.len() - 1
            });
            groups[at].add(i, chain);
        }
        context.advance(finished);
        if groups.iter().all(|group| group.members.is_empty()) {
            return Ok(());
        }
        for group in groups.iter_mut().filter(|group| !group.members.is_empty()) {
            group.answer(chains, ports, context)?;
        }
        context.poll()?;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(());
        }
    }
}
