//! The choice of the compiled chain for a plan.

use super::alias::AliasRows;
use super::graph::{Graph, View, WeightSlice};
use super::metropolis::Metropolis;
use super::multiple_try::MultipleTry;
use super::neighbour_degrees::{MANY, NeighbourDegrees};
use super::node2vec::Node2Vec;
use super::nonbacktracking::NonBacktracking;
use super::plan::{Base, Facts, Kernel, Plan};
use super::powers::Powers;
use super::rotor::Rotor;
use super::scan::Scan;
use super::simple::{Simple, Weighted};
use super::walker_block::Moves;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use std::sync::Arc;

/// Runs walkers with a chain.
pub(super) trait Scheduler {
    fn run<M: Moves>(self, moves: &M) -> Result<()>;
}

/// The data that chains read besides the graph.
#[derive(Default)]
pub(super) struct Prepared {
    /// Alias tables, where weights differ and are needed.
    rows: Option<AliasRows>,
    /// Whether rows are known to be in ascending order.
    sorted: bool,
    /// Degrees of the neighbours, where they are needed.
    degrees: Arc<NeighbourDegrees>,
    /// Weights of visited nodes, where they are whole powers.
    powers: Powers,
}

impl Prepared {
    pub(super) fn new(graph: &Graph, plan: &Plan, context: &Context<'_>) -> Result<Self> {
        let view = &graph.view();
        let facts = plan.base.facts();
        let rows = if plan.kernel == Kernel::Plain && facts.weighted {
            AliasRows::new(view, context)?
        } else {
            None
        };
        let mut prepared =
            Self { rows, sorted: facts.sorted && in_order(view, context)?, ..Self::default() };
        if plan.needs_degrees() {
            prepared.degrees = graph.neighbour_degrees();
        }
        if let Some(exponent) = plan.exponent() {
            let largest =
                if plan.needs_degrees() { prepared.degrees.largest() } else { MANY as usize };
            prepared.powers = Powers::new(&plan.target, exponent, largest);
        }
        Ok(prepared)
    }
}

/// Nodes of one task.
const CHUNK: usize = 1 << 14;

/// Whether all rows are in ascending order.
fn in_order(view: &View<'_>, context: &Context<'_>) -> Result<bool> {
    let n = view.n_nodes();
    let mut all = true;
    context.ordered(
        n.div_ceil(CHUNK),
        |c| {
            let mut nodes = c * CHUNK..n.min((c + 1) * CHUNK);
            Ok(nodes.all(|node| view.neighbours(node).is_sorted()))
        },
        |_, part| {
            all &= part;
            Ok(())
        },
    )?;
    Ok(all)
}

/// The chain of a plan on a graph.
pub(super) struct ChainDispatch<'a> {
    pub(super) plan: &'a Plan,
    pub(super) prepared: &'a Prepared,
    pub(super) n_nodes: usize,
    pub(super) weights: Option<WeightSlice<'a>>,
}

impl ChainDispatch<'_> {
    /// Runs any chain.
    pub(super) fn any(&self, scheduler: impl Scheduler) -> Result<()> {
        match self.plan.kernel {
            Kernel::Plain | Kernel::Rotor => self.memoryless(scheduler),
            Kernel::SelfRepellent | Kernel::HistoryDrivenTarget | Kernel::TrueSelfAvoiding => {
                self.with_history(scheduler)
            }
        }
    }

    /// Runs a chain that reads no visits.
    pub(super) fn memoryless(&self, scheduler: impl Scheduler) -> Result<()> {
        if self.plan.kernel == Kernel::Rotor {
            return scheduler.run(&Rotor { n_nodes: self.n_nodes });
        }
        let Plan { base, laziness, .. } = *self.plan;
        let &Self { weights, prepared, .. } = self;
        match base {
            Base::Simple => scheduler.run(&Simple { laziness, least: 0 }),
            Base::Weighted => match &prepared.rows {
                Some(rows) => scheduler.run(&Weighted { rows, laziness }),
                None => scheduler.run(&Simple { laziness, least: 0 }),
            },
            Base::MaxDegree { largest } => scheduler.run(&Simple { laziness, least: largest }),
            Base::NonBacktracking => scheduler.run(&NonBacktracking { laziness }),
            Base::Node2Vec { back, out } => {
                let rows = prepared.rows.as_ref();
                let weights = weights.filter(|_| rows.is_some());
                let sorted = prepared.sorted;
                scheduler.run(&Node2Vec { rows, weights, sorted, back, out, laziness })
            }
            Base::Metropolis
            | Base::Barker
            | Base::DelayedAcceptance
            | Base::MultipleTry { .. } => self.towards_target::<false>(scheduler),
        }
    }

    /// Runs a chain that reads visits.
    pub(super) fn with_history(&self, scheduler: impl Scheduler) -> Result<()> {
        match self.plan.kernel {
            Kernel::TrueSelfAvoiding => self.scanning::<true>(scheduler),
            Kernel::SelfRepellent => self.scanning::<false>(scheduler),
            Kernel::HistoryDrivenTarget | Kernel::Plain | Kernel::Rotor => {
                self.towards_target::<true>(scheduler)
            }
        }
    }

    /// Runs a chain that weighs all neighbours.
    fn scanning<const AVOIDING: bool>(&self, scheduler: impl Scheduler) -> Result<()> {
        let Plan { base, laziness, ref target, .. } = *self.plan;
        let &Self { n_nodes, weights, prepared, .. } = self;
        let (exponent, powers) = (self.plan.exponent(), &prepared.powers);
        let (Facts { accepts, scans, .. }, degrees) = (base.facts(), &prepared.degrees);
        if !scans {
            return Err(self.unfit("a chain whose probabilities are those of the neighbours"));
        }
        let scan =
            Scan { target, base, accepts, laziness, n_nodes, weights, degrees, exponent, powers };
        scheduler.run::<Scan<'_, AVOIDING>>(&scan)
    }

    /// Runs a chain that accepts and refuses, towards a target that history bends if `BENT`.
    pub(super) fn towards_target<const BENT: bool>(&self, scheduler: impl Scheduler) -> Result<()> {
        let Plan { base, laziness, ref target, .. } = *self.plan;
        let (exponent, powers) = (self.plan.exponent(), &self.prepared.powers);
        match base {
            Base::Metropolis | Base::Barker => {
                let barker = base == Base::Barker;
                let chain =
                    Metropolis::<BENT, false> { target, laziness, barker, exponent, powers };
                scheduler.run(&chain)
            }
            Base::DelayedAcceptance => {
                let barker = false;
                let chain = Metropolis::<BENT, true> { target, laziness, barker, exponent, powers };
                scheduler.run(&chain)
            }
            Base::MultipleTry { tries, root } => {
                scheduler.run(&MultipleTry::<BENT> { target, laziness, tries, root })
            }
            Base::Simple
            | Base::Weighted
            | Base::MaxDegree { .. }
            | Base::NonBacktracking
            | Base::Node2Vec { .. } => Err(self.unfit("a chain that accepts and refuses")),
        }
    }

    fn unfit(&self, needed: &str) -> Error {
        let Plan { base, kernel, .. } = self.plan;
        let why = format!("'{}' given; '{}' needs {needed}", base.name(), kernel.name());
        Error::argument("base", why)
    }
}
