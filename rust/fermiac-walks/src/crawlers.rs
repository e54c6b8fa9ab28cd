//! Walkers on graphs that are asked for.

use std::time::{Duration, Instant};

use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};

use super::choose::{Choice, Driver, Prepared};
use super::crawl::{Crawl, Oracle};
use super::crews::run;
use super::hashed::Hashed;
use super::octet::{Crew, Member, Moves, OCTET, Octet};
use super::persist::{self, Rows};
use super::places::Places;
use super::plan::{Base, Kernel, Plan};
use super::record::{Record, Track};

/// Walkers on a graph that is known where they have been.
///
/// All of them move on the calling thread, step by step, so that what they need is asked for at
/// once. Paths and visits are of nodes as numbered here, in the order of [`names`](Self::names).
pub struct Crawlers {
    crawl: Crawl,
    plan: Plan,
    octets: Vec<Octet>,
    histories: Vec<Hashed>,
    n_walkers: usize,
    /// Whether the rows where walkers began are known.
    begun: bool,
}

impl Crawlers {
    /// Walkers that start at given nodes, with the streams of [`Walkers`](super::Walkers).
    pub fn new(plan: Plan, start: &[i64], key: u64) -> Result<Self> {
        if start.is_empty() {
            return Err(Error::argument("start", "no walker given; one at least is needed"));
        }
        if matches!(plan.base, Base::MaxDegree { .. } | Base::Weighted | Base::Rotor) {
            let why = format!("{:?} needs the whole graph", plan.base);
            return Err(Error::argument("base", why));
        }
        if plan.kernel == Kernel::Avoiding {
            let why = "tsaw needs the target's sum over the whole graph; take srrw or hdt";
            return Err(Error::argument("kernel", why));
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
        let octets: Vec<Octet> = nodes
            .chunks(OCTET)
            .zip(0..)
            .map(|(nodes, index)| Octet::new(nodes, key, index))
            .collect();
        let histories = octets.iter().map(|_| Hashed::new()).collect();
        Ok(Self { crawl, plan, octets, histories, n_walkers: start.len(), begun: false })
    }

    /// Walkers.
    pub fn n_walkers(&self) -> usize {
        self.n_walkers
    }

    /// Steps that each walker has made.
    pub fn n_done(&self) -> u64 {
        self.octets.first().map_or(0, |octet| octet.done)
    }

    /// Moves, of all steps of all walkers.
    pub fn n_moves(&self) -> u64 {
        self.octets.iter().map(|octet| octet.moved).sum()
    }

    /// Where walkers stand.
    pub fn positions(&self) -> Vec<usize> {
        self.octets.iter().flat_map(|octet| octet.at[..octet.n].to_vec()).collect()
    }

    /// The nodes as they are called outside.
    pub fn names(&self) -> &[i64] {
        self.crawl.names()
    }

    /// Weights of all nodes in the target, if it is a table; NaN where nobody has asked.
    pub fn weights(&self) -> &[f64] {
        self.crawl.weights()
    }

    /// Nodes whose rows were asked for.
    pub fn n_asked(&self) -> usize {
        self.crawl.n_asked()
    }

    /// What is known of the graph: where rows begin, and the end, and the nodes in them; rows that
    /// nobody has asked for are empty.
    pub fn known(&self) -> (Vec<u64>, Vec<u32>) {
        self.crawl.known()
    }

    /// What walkers have visited.
    pub fn rows(&self) -> Result<Rows<u32>> {
        let rows = persist::rows_of(&self.histories, self.n_walkers, false);
        rows.ok_or_else(|| Error::Internal("a node above 2³² in a crawl".into()))
    }

    /// Moves every walker to `until` steps in all, at most for `budget`; whether all are there.
    ///
    /// After an error all walkers stand where the last step that all of them finished has led.
    pub fn run(
        &mut self,
        until: u64,
        record: Record<'_>,
        budget: Option<Duration>,
        oracle: &mut dyn Oracle,
        context: &Context<'_>,
    ) -> Result<bool> {
        let mut tracks = record.split(self.n_walkers)?;
        let deadline = budget.map(|b| Instant::now() + b);
        let Self { crawl, plan, octets, histories, begun, n_walkers } = self;
        let sinks = matches!(plan.base, Base::Simple | Base::Onward | Base::Second { .. });
        if !*begun {
            let mut nodes: Vec<_> =
                octets.iter().flat_map(|octet| octet.at.map(|node| node as u32)).collect();
            nodes.sort_unstable();
            nodes.dedup();
            crawl.ask(&nodes, &mut plan.target, oracle, sinks)?;
            octets.iter_mut().try_for_each(|octet| octet.arrive(&*crawl))?;
            plan.target.begin(crawl.row(0).1);
            *begun = true;
        }
        let prepared = Prepared::default();
        let mut saved = Vec::new();
        loop {
            let choice = Choice { plan, prepared: &prepared, n_nodes: 0, weights: None };
            let attempt = Attempt {
                crawl,
                plan,
                octets,
                saved: &mut saved,
                histories,
                tracks: &mut tracks,
                n_walkers: *n_walkers as u64,
                until,
                deadline,
                context,
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

    /// Writes all to an codec, or reads it.
    pub fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        let Self { crawl, plan, octets, histories, begun, n_walkers } = self;
        codec.flag(begun)?;
        crawl.persist(codec, &mut plan.target)?;
        let n_nodes = crawl.names().len();
        octets.iter_mut().try_for_each(|octet| octet.persist(codec, n_nodes, &*crawl))?;
        persist::persist_rows(histories, codec, *n_walkers, n_nodes)?;
        if *begun {
            plan.target.begin(crawl.row(0).1);
        }
        codec.finish()
    }
}

/// Steps until one needs what is not known.
struct Attempt<'a, 'c, 't> {
    crawl: &'a Crawl,
    plan: &'a Plan,
    octets: &'a mut Vec<Octet>,
    /// The octets before a step: histories and paths are touched only at its end.
    saved: &'a mut Vec<Octet>,
    histories: &'a mut [Hashed],
    tracks: &'a mut [Track<'t>],
    n_walkers: u64,
    until: u64,
    deadline: Option<Instant>,
    context: &'a Context<'c>,
}

impl Driver for Attempt<'_, '_, '_> {
    fn drive<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { crawl, plan, octets, saved, histories, tracks, .. } = self;
        let done = |octets: &[Octet]| octets.first().map_or(self.until, |octet| octet.done);
        while done(octets) < self.until
            && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            saved.clone_from(octets);
            let mut members: Vec<_> = octets
                .iter_mut()
                .zip(&mut *histories)
                .zip(&mut *tracks)
                .map(|((octet, history), track)| Member {
                    octet,
                    history,
                    track,
                    words: Vec::new(),
                })
                .collect();
            let crew = Crew { moves, places: crawl, plan, members: &mut members, n_steps: 1 };
            if let Err(error) = run(crew) {
                std::mem::swap(octets, saved);
                return Err(error);
            }
            self.context.advance(self.n_walkers);
            self.context.poll()?;
        }
        Ok(())
    }
}
