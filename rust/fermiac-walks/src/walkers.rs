//! All walkers of a run, and the threads that move them.

use std::time::{Duration, Instant};

use fermiac_base::par::Context;
use fermiac_base::{Error, Result};

use super::choose::{Choice, Prepared};
use super::crews::{Apart, Call};
use super::graph::Graph;
use super::hashed::{Hashed, HashedMasses, require_short};
use super::history::{Dense, Forgotten, Masses};
use super::octet::{OCTET, Octet};
use super::plan::{Base, Kernel, Plan};
use super::rare::Rare;
use super::recent::Recent;
use super::record::Record;
use super::shared::{Common, Counts, Meanwhile, Together, new_counts};

/// What walkers remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: visits are not counted.
    Nothing,
    /// A table of all nodes for each walker.
    Table,
    /// A table of the nodes that it has visited for each walker.
    Hashed,
    /// The nodes that each walker has visited last.
    Recent {
        /// How many.
        size: usize,
        /// Whether all visits are counted too, for whoever asks.
        counts: bool,
    },
    /// One table for all walkers, who see in each step what the steps before have left.
    Shared {
        /// Whether the visits of each are counted too, for whoever asks.
        counts: bool,
    },
    /// One table for all walkers, who see what is there.
    Unordered {
        /// Whether the visits of each are counted too, for whoever asks.
        counts: bool,
    },
}

/// Walkers on one graph.
#[allow(clippy::struct_field_names)] // `n_walkers` is their number everywhere
pub struct Walkers {
    pub(super) graph: Graph,
    plan: Plan,
    pub(super) octets: Vec<Octet>,
    pub(super) histories: Histories,
    n_walkers: usize,
    prepared: Option<Prepared>,
}

/// Those of all octets.
pub(super) enum Histories {
    Forgotten(Vec<Forgotten>),
    Dense(Vec<Dense>),
    Masses(Vec<Masses>),
    Hashed(Vec<Hashed>),
    HashedMasses(Vec<HashedMasses>),
    Recent(Vec<Recent>),
    Shared(Common, Counts),
    Unordered(Common, Counts),
}

impl Walkers {
    /// Walkers that start at given nodes; walker `i` has lane `i % 8` of the stream at the address
    /// (key, walk, `i / 8`).
    pub fn new(
        graph: Graph,
        plan: Plan,
        start: &[usize],
        memory: Memory,
        key: u64,
    ) -> Result<Self> {
        let n = graph.n_nodes();
        if start.is_empty() {
            return Err(Error::argument("start", "no walker given; one at least is needed"));
        }
        if let Some(node) = start.iter().find(|node| **node >= n) {
            let why = format!("node {node} given; nodes go from 0 to {}", n - 1);
            return Err(Error::argument("start", why));
        }
        let mut octets: Vec<Octet> = start
            .chunks(OCTET)
            .zip(0..)
            .map(|(nodes, index)| Octet::new(nodes, key, index))
            .collect();
        let view = graph.view();
        for (octet, index) in octets.iter_mut().zip(0..) {
            octet.arrive(&view)?;
            if plan.base == Base::Rotor {
                octet.draw_turns(&view, key, index);
            }
        }
        let histories = Histories::new(&plan, memory, n, start.len())?;
        Ok(Self { graph, plan, octets, histories, n_walkers: start.len(), prepared: None })
    }

    /// Walkers.
    pub fn n_walkers(&self) -> usize {
        self.n_walkers
    }

    /// Steps that all walkers have made.
    pub fn n_done(&self) -> u64 {
        self.octets.iter().map(|octet| octet.done).min().unwrap_or(0)
    }

    /// Moves, of all steps of all walkers.
    pub fn n_moves(&self) -> u64 {
        self.octets.iter().map(|octet| octet.moved).sum()
    }

    /// Where walkers stand.
    pub fn positions(&self) -> Vec<usize> {
        self.octets.iter().flat_map(|octet| octet.at[..octet.n].to_vec()).collect()
    }

    /// Visits of all nodes by one walker, where they are counted in a table of all nodes.
    pub fn visits(&self, walker: usize) -> Option<Vec<u32>> {
        let (octet, lane) = (walker / OCTET, walker % OCTET);
        match &self.histories {
            Histories::Dense(all) => all.get(octet).map(|dense| dense.of(lane)),
            Histories::Masses(all) => all.get(octet).map(|masses| masses.dense.of(lane)),
            _ => None,
        }
    }

    /// Moves every walker to `until` steps in all, at most for `budget`; whether all are there.
    ///
    /// After an error all walkers stand where they can go on from.
    pub fn run(
        &mut self,
        until: u64,
        record: Record<'_>,
        budget: Option<Duration>,
        context: &Context<'_>,
    ) -> Result<bool> {
        let mut tracks = record.split(self.n_walkers)?;
        let deadline = budget.map(|b| Instant::now() + b);
        let Self { graph, plan, octets, histories, prepared, .. } = self;
        let view = graph.view();
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => prepared.insert(Prepared::new(&view, plan, context)?),
        };
        let (n_nodes, weights) = (view.n_nodes(), view.weights);
        let choice = Choice { plan, prepared, n_nodes, weights };
        let (call, tracks) = (&Call { plan, until, deadline, context }, &mut *tracks);
        let places = &view;
        match histories {
            Histories::Forgotten(histories) => {
                choice.plain(Apart { call, places, octets, histories, tracks })
            }
            Histories::Dense(histories) => {
                choice.any(Apart { call, places, octets, histories, tracks })
            }
            Histories::Masses(all) => {
                let histories = &mut all.iter_mut().map(Rare::Masses).collect::<Vec<_>>()[..];
                choice.bent(Apart { call, places, octets, histories, tracks })
            }
            Histories::Hashed(all) => {
                let histories = &mut all.iter_mut().map(Rare::Hashed).collect::<Vec<_>>()[..];
                choice.any(Apart { call, places, octets, histories, tracks })
            }
            Histories::HashedMasses(all) => {
                let histories = &mut all.iter_mut().map(Rare::HashedMasses).collect::<Vec<_>>()[..];
                choice.bent(Apart { call, places, octets, histories, tracks })
            }
            Histories::Recent(all) => {
                let histories = &mut all.iter_mut().map(Rare::Recent).collect::<Vec<_>>()[..];
                choice.towards(Apart { call, places, octets, histories, tracks })
            }
            Histories::Shared(common, counts) => {
                choice.any(Together { call, view: places, octets, common, counts, tracks })
            }
            Histories::Unordered(common, counts) => {
                choice.any(Meanwhile { call, view: places, octets, common, counts, tracks })
            }
        }?;
        Ok(self.n_done() >= until)
    }
}

impl Histories {
    /// Empty ones, of a walk.
    fn new(plan: &Plan, memory: Memory, n_nodes: usize, n_walkers: usize) -> Result<Self> {
        fn each<T>(n: usize, new: impl Fn() -> T) -> Vec<T> {
            (0..n).map(|_| new()).collect()
        }
        let n = n_walkers.div_ceil(OCTET);
        let weighs = plan.step_exponent < 1.0 && plan.kernel != Kernel::Plain;
        if matches!(
            memory,
            Memory::Hashed
                | Memory::Recent { .. }
                | Memory::Shared { counts: true }
                | Memory::Unordered { counts: true }
        ) {
            require_short(n_nodes)?;
        }
        let refuse = |why: &str| Err(Error::argument("step_exponent", why.to_owned()));
        Ok(match memory {
            Memory::Nothing => Self::Forgotten(each(n, || Forgotten)),
            Memory::Table if weighs => Self::Masses(each(n, || Masses::new(n_nodes))),
            Memory::Table => Self::Dense(each(n, || Dense::new(n_nodes))),
            Memory::Hashed if weighs => Self::HashedMasses(each(n, HashedMasses::new)),
            Memory::Hashed => Self::Hashed(each(n, Hashed::new)),
            Memory::Recent { .. } if weighs => {
                return refuse("below 1 given; histories of recent nodes need 1");
            }
            Memory::Recent { .. } if plan.kernel != Kernel::Target => {
                let why = "given where history does not bend a target; take hdt";
                return Err(Error::argument("memory_size", why));
            }
            Memory::Recent { size: 0, .. } => {
                return Err(Error::argument("memory_size", "0 given; 1 node is the least"));
            }
            Memory::Recent { size, counts } => {
                // More than all nodes are never remembered.
                let size = size.min(n_nodes);
                Self::Recent(each(n, || Recent::new(size, counts)))
            }
            Memory::Shared { counts } => {
                Self::Shared(Common::new(n_nodes, n_walkers, weighs), new_counts(n, counts))
            }
            Memory::Unordered { .. } if weighs => {
                return refuse("below 1 given; walkers that share a history out of order need 1");
            }
            Memory::Unordered { counts } => {
                Self::Unordered(Common::new(n_nodes, n_walkers, false), new_counts(n, counts))
            }
        })
    }
}
