//! All walkers of a run and their histories.

use super::dispatch::{ChainDispatch, Prepared};
use super::dyn_history::DynHistory;
use super::graph::Graph;
use super::hashed::{Hashed, HashedMasses, require_short};
use super::history::{Dense, Masses, NoHistory};
use super::plan::{Kernel, Plan};
use super::recent::Recent;
use super::record::Record;
use super::schedulers::{Call, Private, Sharing};
use super::shared::{Counts, SharedCounts, new_counts};
use super::visit_log::Logged;
use super::walker_block::{WALKERS, WalkerBlock, positions};
use fermiac_base::alloc::check_room;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use std::time::{Duration, Instant};

/// The way in which histories are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Not at all: visits are not counted.
    Nothing,
    /// A table of all nodes for each walker; before it, where steps do not depend on visits, a log
    /// of them as long as that is smaller.
    Table,
    /// A hash table of the visited nodes for each walker.
    Hashed,
    /// The last visited nodes of each walker.
    Recent {
        /// The number of nodes.
        size: usize,
        /// Whether all visits are counted too, for results.
        counts: bool,
    },
    /// One table for all walkers, with the visits of all earlier steps.
    Shared {
        /// Whether the visits of each walker are counted too, for results.
        counts: bool,
    },
    /// One table for all walkers, updated at once.
    Unordered {
        /// Whether the visits of each walker are counted too, for results.
        counts: bool,
    },
}

/// Walkers on one graph.
#[allow(clippy::struct_field_names)] // `n_walkers` is their number everywhere
pub struct Walkers {
    pub(super) graph: Graph,
    plan: Plan,
    pub(super) blocks: Vec<WalkerBlock>,
    pub(super) histories: Histories,
    n_walkers: usize,
    prepared: Option<Prepared>,
}

/// The histories of all blocks.
pub(super) enum Histories {
    NoHistory(Vec<NoHistory>),
    Logged(Vec<Logged>),
    Dense(Vec<Dense>),
    Masses(Vec<Masses>),
    Hashed(Vec<Hashed>),
    HashedMasses(Vec<HashedMasses>),
    Recent(Vec<Recent>),
    Shared(SharedCounts, Counts),
}

positions!(Walkers);

impl Walkers {
    /// Creates walkers at given nodes; walker `i` has lane `i % 8` of the stream at the address
    /// (key, walk, `i / 8`).
    pub fn new(
        graph: Graph,
        plan: Plan,
        start: &[usize],
        memory: Memory,
        key: u64,
    ) -> Result<Self> {
        Self::from_block(graph, plan, start, memory, key, 0)
    }

    /// Creates walkers as the later ones of a larger number: the first of them has lane 0 of the
    /// stream at the address (key, walk, `first`).
    pub fn from_block(
        graph: Graph,
        plan: Plan,
        start: &[usize],
        memory: Memory,
        key: u64,
        first: u64,
    ) -> Result<Self> {
        let n = graph.n_nodes();
        if start.is_empty() {
            return Err(Error::argument("init", "no walker given; one at least is needed"));
        }
        if let Some(node) = start.iter().find(|node| **node >= n) {
            let why = format!("node {node} given; nodes go from 0 to {}", n - 1);
            return Err(Error::argument("init", why));
        }
        check_room::<WalkerBlock>("n_walkers", &[start.len().div_ceil(WALKERS)])?;
        let mut blocks = WalkerBlock::all(start, key, first);
        let view = graph.view();
        for (block, index) in blocks.iter_mut().zip(first..) {
            block.arrive(&view)?;
            if plan.kernel == Kernel::Rotor {
                block.draw_turns(&view, key, index);
            }
        }
        let histories = Histories::new(&plan, memory, n, start.len())?;
        Ok(Self { graph, plan, blocks, histories, n_walkers: start.len(), prepared: None })
    }

    /// The visits of one walker to each node, if they are in a table of all nodes.
    pub fn visits(&self, walker: usize) -> Option<Vec<u32>> {
        let (block, lane) = (walker / WALKERS, walker % WALKERS);
        match &self.histories {
            Histories::Logged(all) => all.get(block).map(|logged| logged.visits(lane)),
            Histories::Dense(all) => all.get(block).map(|dense| dense.of(lane)),
            Histories::Masses(all) => all.get(block).map(|masses| masses.dense.of(lane)),
            _ => None,
        }
    }

    /// Moves every walker to step `until`, for at most `budget`; whether all are there.
    ///
    /// After an error all walkers can continue.
    pub fn run(
        &mut self,
        until: u64,
        record: Record<'_>,
        budget: Option<Duration>,
        context: &Context<'_>,
    ) -> Result<bool> {
        let mut tracks = record.split(self.n_walkers)?;
        let deadline = budget.and_then(|b| Instant::now().checked_add(b));
        let Self { graph, plan, blocks, histories, n_walkers, prepared } = self;
        // Shorter walks gain less than that takes.
        let steps = until.saturating_mul(*n_walkers as u64);
        if plan.base.facts().local && steps >= graph.n_nodes() as u64 {
            graph.pack_rows();
        }
        let view = graph.view();
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => prepared.insert(Prepared::new(graph, plan, context)?),
        };
        let (n_nodes, weights) = (view.n_nodes(), view.weights);
        let choice = ChainDispatch { plan, prepared, n_nodes, weights };
        let (call, tracks) = (&Call { plan, until, deadline, context }, &mut *tracks);
        let view = &view;
        // The scheduler of histories of the blocks, as they are or behind one type.
        macro_rules! private {
            ($all:ident as $kind:ident) => {
                private!(&mut $all.iter_mut().map(DynHistory::$kind).collect::<Vec<_>>())
            };
            ($histories:expr) => {
                Private { call, source: view, blocks, histories: $histories, tracks }
            };
        }
        match histories {
            Histories::NoHistory(all) => choice.memoryless(private!(all)),
            Histories::Logged(all) => choice.memoryless(private!(all)),
            Histories::Dense(all) => choice.any(private!(all)),
            Histories::Masses(all) => choice.with_history(private!(all as Masses)),
            Histories::Hashed(all) => choice.any(private!(all as Hashed)),
            Histories::HashedMasses(all) => choice.with_history(private!(all as HashedMasses)),
            Histories::Recent(all) => choice.towards_target::<true>(private!(all as Recent)),
            Histories::Shared(common, counts) => {
                choice.any(Sharing { call, view, blocks, common, counts, tracks })
            }
        }?;
        Ok(self.n_done() >= until)
    }
}

impl Histories {
    /// Creates empty histories.
    fn new(plan: &Plan, memory: Memory, n_nodes: usize, n_walkers: usize) -> Result<Self> {
        fn each<T>(n: usize, new: impl Fn() -> T) -> Vec<T> {
            (0..n).map(|_| new()).collect()
        }
        let n = n_walkers.div_ceil(WALKERS);
        let weighs = plan.step_exponent < 1.0 && plan.kernel.uses_history();
        // The least that each node takes in a table: a byte, or a logarithm, for each walker.
        let is_logged = !plan.kernel.uses_history() && u32::try_from(n_nodes).is_ok();
        let table = match memory {
            // A log at first.
            Memory::Table if is_logged => 0,
            Memory::Table if weighs => n.saturating_mul(9 * WALKERS),
            Memory::Table => n.saturating_mul(WALKERS),
            Memory::Shared { .. } | Memory::Unordered { .. } => 16,
            Memory::Nothing | Memory::Hashed | Memory::Recent { .. } => 0,
        };
        check_room::<u8>("n_walkers", &[n_nodes, table])?;
        if let Memory::Hashed
        | Memory::Recent { .. }
        | Memory::Shared { counts: true }
        | Memory::Unordered { counts: true } = memory
        {
            require_short(n_nodes)?;
        }
        let shared = |counts, unordered| {
            let common = SharedCounts::new(n_nodes, n_walkers, weighs, unordered);
            Self::Shared(common, new_counts(n, counts))
        };
        let refuse = |why: &str| Err(Error::argument("step_exponent", why.to_owned()));
        Ok(match memory {
            Memory::Nothing => Self::NoHistory(each(n, || NoHistory)),
            Memory::Table if weighs => Self::Masses(each(n, || Masses::new(n_nodes))),
            Memory::Table if is_logged => {
                let walkers = |block: usize| (n_walkers - block * WALKERS).min(WALKERS);
                Self::Logged((0..n).map(|block| Logged::new(n_nodes, walkers(block))).collect())
            }
            Memory::Table => Self::Dense(Dense::all(n, n_nodes)),
            Memory::Hashed if weighs => Self::HashedMasses(each(n, HashedMasses::new)),
            Memory::Hashed => Self::Hashed(each(n, Hashed::new)),
            Memory::Recent { .. } if weighs => {
                return refuse("below 1 given; histories of recent nodes need 1");
            }
            Memory::Recent { .. } if plan.kernel != Kernel::HistoryDrivenTarget => {
                let why = "given without a target that history bends; take hdt";
                return Err(Error::argument("memory_size", why));
            }
            Memory::Recent { size: 0, .. } => {
                return Err(Error::argument("memory_size", "0 given; 1 node is the least"));
            }
            Memory::Recent { size, counts } => {
                // There are no more nodes to remember.
                let size = size.min(n_nodes);
                Self::Recent(each(n, || Recent::new(size, counts)))
            }
            Memory::Shared { counts } => shared(counts, false),
            Memory::Unordered { .. } if weighs => {
                return refuse("below 1 given; walkers that share a history out of order need 1");
            }
            Memory::Unordered { counts } => shared(counts, true),
        })
    }
}
