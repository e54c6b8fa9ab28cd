//! Walkers on graphs behind an oracle.

use super::crawl::{Crawl, Oracle};
use super::dispatch::{ChainDispatch, Prepared, Scheduler};
use super::hashed::Hashed;
use super::neighbour_source::NeighbourSource;
use super::persist::{self, Rows};
use super::plan::{Kernel, Plan};
use super::record::Record;
use super::schedulers::{Call, run};
use super::walker_block::{Batch, Member, Moves, WalkerBlock, positions};
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::time::{Duration, Instant};

/// Walkers on a graph that is known near their paths.
///
/// All of them move on the calling thread, step by step, so that one request serves all. Paths
/// and visits use the numbers of the nodes in the order of [`names`](Self::names).
pub struct Crawlers {
    crawl: Crawl,
    plan: Plan,
    blocks: Vec<WalkerBlock>,
    histories: Vec<Hashed>,
    n_walkers: usize,
    /// Whether the rows of the first nodes are known.
    begun: bool,
}

positions!(Crawlers);

impl Crawlers {
    /// Creates walkers at given nodes, with the streams of [`Walkers`](super::Walkers).
    pub fn new(plan: Plan, start: &[i64], key: u64) -> Result<Self> {
        if start.is_empty() {
            return Err(Error::argument("init", "no walker given; one at least is needed"));
        }
        if !plan.base.facts().local {
            let why = format!("'{}' needs the whole graph", plan.base.name());
            return Err(Error::argument("base", why));
        }
        match plan.kernel {
            Kernel::Plain | Kernel::SelfRepellent | Kernel::HistoryDrivenTarget => {}
            Kernel::TrueSelfAvoiding | Kernel::Rotor => {
                let name = plan.kernel.name();
                let why = format!("'{name}' needs the whole graph; take 'srrw' or 'hdt'");
                return Err(Error::argument("kernel", why));
            }
        }
        if plan.step_exponent < 1.0 {
            let why = "below 1 needs the pseudo-counts' sum over the whole graph; 1 is needed";
            return Err(Error::argument("step_exponent", why));
        }
        let mut crawl = Crawl::default();
        let mut nodes = Vec::with_capacity(start.len());
        for name in start {
            nodes.push(crawl.number(*name)? as usize);
        }
        let blocks = WalkerBlock::all(&nodes, key, 0);
        let histories = blocks.iter().map(|_| Hashed::new()).collect();
        Ok(Self { crawl, plan, blocks, histories, n_walkers: start.len(), begun: false })
    }

    /// The names of the nodes.
    pub fn names(&self) -> &[i64] {
        &self.crawl.names
    }

    /// The weights of all nodes, for a target that is a table; NaN if not requested.
    pub fn weights(&self) -> &[f64] {
        &self.crawl.weights
    }

    /// The number of nodes whose rows were requested.
    pub fn n_asked(&self) -> usize {
        self.crawl.n_asked
    }

    /// The known rows: their starts and the end, and the nodes in them; rows that were not
    /// requested are empty.
    pub fn known(&self) -> (Vec<u64>, Vec<u32>) {
        self.crawl.known()
    }

    /// The visits of the walkers.
    pub fn rows(&self) -> Result<Rows<u32>> {
        let rows = persist::rows_of(&self.histories, self.n_walkers);
        rows.ok_or_else(|| Error::Internal("a node above 2³² in a crawl".into()))
    }

    /// Moves every walker to step `until`, for at most `budget`; whether all are there.
    ///
    /// After an error all walkers are at the end of the last step that all of them finished.
    pub fn run(
        &mut self,
        until: u64,
        record: Record<'_>,
        budget: Option<Duration>,
        oracle: &mut dyn Oracle,
        context: &Context<'_>,
    ) -> Result<bool> {
        let mut tracks = record.split(self.n_walkers)?;
        let deadline = budget.and_then(|b| Instant::now().checked_add(b));
        let Self { crawl, plan, blocks, histories, begun, n_walkers } = self;
        let sinks = plan.base.facts().sinks;
        if !*begun {
            let mut nodes: Vec<_> =
                blocks.iter().flat_map(|block| block.at.map(|node| node as u32)).collect();
            nodes.sort_unstable();
            nodes.dedup();
            crawl.ask(&nodes, &mut plan.target, oracle, sinks)?;
            blocks.iter_mut().try_for_each(|block| block.arrive(&*crawl))?;
            plan.target.begin(crawl.row(0).1);
            *begun = true;
        }
        let prepared = Prepared::default();
        let mut saved = Vec::new();
        loop {
            let choice = ChainDispatch { plan, prepared: &prepared, n_nodes: 0, weights: None };
            let attempt = Attempt {
                crawl,
                call: &Call { plan, until, deadline, context },
                blocks,
                saved: &mut saved,
                histories,
                tracks: &mut tracks,
                n_walkers: *n_walkers as u64,
            };
            let Err(error) = choice.any(attempt) else { break };
            let missing = crawl.take_missing();
            if missing.is_empty() {
                return Err(error);
            }
            crawl.ask(&missing, &mut plan.target, oracle, sinks)?;
        }
        Ok(self.n_done() >= until)
    }

    /// Writes the state to a codec, or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let Self { crawl, plan, blocks, histories, begun, n_walkers } = self;
        codec.flag(begun)?;
        crawl.persist(codec, &mut plan.target)?;
        let n_nodes = crawl.names.len();
        blocks.iter_mut().try_for_each(|block| block.persist(codec, n_nodes, &*crawl))?;
        persist::persist_rows(histories, codec, *n_walkers, n_nodes)?;
        if *begun {
            plan.target.begin(crawl.row(0).1);
        }
        codec.finish()
    }
}

/// Steps until one needs a missing row.
struct Attempt<'a, 'c, 't> {
    crawl: &'a Crawl,
    call: &'a Call<'a, 'c>,
    blocks: &'a mut Vec<WalkerBlock>,
    /// The blocks before the step; histories and paths only change at its end.
    saved: &'a mut Vec<WalkerBlock>,
    histories: &'a mut [Hashed],
    tracks: &'a mut [Record<'t>],
    n_walkers: u64,
}

impl Scheduler for Attempt<'_, '_, '_> {
    fn run<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { crawl, call, blocks, saved, histories, tracks, n_walkers } = self;
        while blocks.first().is_some_and(|block| block.done < call.until) && !call.is_late() {
            saved.clone_from(blocks);
            let mut members: Vec<_> = Member::each(blocks, histories, tracks).collect();
            let batch =
                Batch { moves, source: crawl, plan: call.plan, members: &mut members, n_steps: 1 };
            if let Err(error) = run(batch) {
                std::mem::swap(blocks, saved);
                return Err(error);
            }
            call.context.advance(n_walkers);
            call.context.poll()?;
        }
        Ok(())
    }
}
