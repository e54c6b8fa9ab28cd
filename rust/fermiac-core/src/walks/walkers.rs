//! All walkers of a run, and the threads that move them.

use std::time::{Duration, Instant};

use super::alias::AliasRows;
use super::graph::{Graph, View};
use super::hashed::{Hashed, HashedMasses, Open};
use super::history::{Dense, Forgotten, History, Masses};
use super::metropolis::Metropolis;
use super::octet::{Crew, Member, Moves, OCTET, Octet};
use super::places::Places;
use super::plan::{Base, Kernel, Plan};
use super::record::{Record, Track};
use super::scan::Scan;
use super::simple::Simple;
use super::weighted::Weighted;
use crate::par::Context;
use crate::simd::dispatch;
use crate::{Error, Result};

/// Octets that one thread moves side by side, at most: enough that memory answers some while
/// others go on, few enough for the first-level cache.
const CREW: usize = 8;
/// About the time between two looks at signals.
const TURN: Duration = Duration::from_millis(5);

/// What walkers remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: visits are not counted.
    Nothing,
    /// A table of all nodes for each walker.
    Table,
    /// A table of the nodes that it has visited for each walker.
    Hashed,
}

/// Walkers on one graph.
pub struct Walkers {
    pub(super) graph: Graph,
    plan: Plan,
    pub(super) octets: Vec<Octet>,
    pub(super) histories: Histories,
    n_walkers: usize,
    /// Tables for neighbours by weight; nothing inside where weights are equal.
    rows: Option<Option<AliasRows>>,
}

/// Those of all octets.
pub(super) enum Histories {
    Forgotten(Vec<Forgotten>),
    Dense(Vec<Dense>),
    Masses(Vec<Masses>),
    Hashed(Vec<Hashed>),
    HashedMasses(Vec<HashedMasses>),
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
        for octet in &mut octets {
            octet.arrive(&graph.view())?;
        }
        let each = octets.len();
        let weighs = plan.step_exponent < 1.0 && plan.kernel != Kernel::Plain;
        let histories = match memory {
            Memory::Nothing => Histories::Forgotten((0..each).map(|_| Forgotten).collect()),
            Memory::Table if weighs => {
                Histories::Masses((0..each).map(|_| Masses::new(n)).collect())
            }
            Memory::Table => Histories::Dense((0..each).map(|_| Dense::new(n)).collect()),
            Memory::Hashed if u32::try_from(n).is_err() => {
                let why = format!("{n} nodes; sparse histories hold graphs of below 2³²");
                return Err(Error::argument("graph", why));
            }
            Memory::Hashed if weighs => {
                Histories::HashedMasses((0..each).map(|_| HashedMasses::new()).collect())
            }
            Memory::Hashed => Histories::Hashed((0..each).map(|_| Hashed::new()).collect()),
        };
        Ok(Self { graph, plan, octets, histories, n_walkers: start.len(), rows: None })
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
    pub fn visits(&mut self, walker: usize) -> Option<&[u32]> {
        let (octet, lane) = (walker / OCTET, walker % OCTET);
        match &mut self.histories {
            Histories::Forgotten(_) | Histories::Hashed(_) | Histories::HashedMasses(_) => None,
            Histories::Dense(all) => all.get_mut(octet).map(|dense| &*dense.of(lane)),
            Histories::Masses(all) => all.get_mut(octet).map(|masses| &*masses.dense.of(lane)),
        }
    }

    /// The nodes that one walker has visited, in order, and how often; where that is counted.
    pub fn visited(&mut self, walker: usize) -> Option<(Vec<u64>, Vec<u32>)> {
        let (octet, lane) = (walker / OCTET, walker % OCTET);
        match &self.histories {
            Histories::Hashed(all) => all.get(octet).map(|hashed| pairs(&hashed.tables[lane])),
            Histories::HashedMasses(all) => {
                all.get(octet).map(|hashed| pairs(&hashed.tables[lane]))
            }
            _ => self.visits(walker).map(|visits| {
                let some = (0..).zip(visits).filter(|(_, visits)| **visits > 0);
                some.map(|(node, visits): (u64, _)| (node, *visits)).unzip()
            }),
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
        let Self { graph, plan, octets, histories, rows, .. } = self;
        let view = graph.view();
        if plan.base == Base::Weighted && plan.kernel == Kernel::Plain && rows.is_none() {
            *rows = Some(AliasRows::new(&view, context)?);
        }
        let rows = rows.as_ref().and_then(Option::as_ref);
        let call = Call { plan, rows, until, deadline, context };
        match histories {
            Histories::Forgotten(all) => call.plain(&view, octets, all, &mut tracks)?,
            Histories::Dense(all) => call.choose(&view, octets, all, &mut tracks)?,
            Histories::Masses(all) => call.bent(&view, octets, all, &mut tracks)?,
            Histories::Hashed(all) => call.choose(&view, octets, all, &mut tracks)?,
            Histories::HashedMasses(all) => call.bent(&view, octets, all, &mut tracks)?,
        }
        Ok(self.n_done() >= until)
    }
}

fn pairs<T: Copy + Default>(table: &Open<T>) -> (Vec<u64>, Vec<u32>) {
    table.sorted().iter().map(|cell| (u64::from(cell.node), cell.visits)).unzip()
}

/// One call of [`Walkers::run`].
struct Call<'a, 'c> {
    plan: &'a Plan,
    rows: Option<&'a AliasRows>,
    until: u64,
    deadline: Option<Instant>,
    context: &'a Context<'c>,
}

impl Call<'_, '_> {
    /// With the kernel that the plan names.
    fn choose<H: History>(
        &self,
        view: &View<'_>,
        octets: &mut [Octet],
        histories: &mut [H],
        tracks: &mut [Track<'_>],
    ) -> Result<()> {
        match self.plan.kernel {
            Kernel::Plain => self.plain(view, octets, histories, tracks),
            _ => self.bent(view, octets, histories, tracks),
        }
    }

    /// The base chains themselves.
    fn plain<H: History>(
        &self,
        view: &View<'_>,
        octets: &mut [Octet],
        histories: &mut [H],
        tracks: &mut [Track<'_>],
    ) -> Result<()> {
        let Plan { base, laziness, ref target, .. } = *self.plan;
        match base {
            Base::Simple => {
                let moves = Simple { laziness, among: 0 };
                self.crews(&moves, view, octets, histories, tracks)
            }
            Base::MaxDegree { largest } => {
                let moves = Simple { laziness, among: largest };
                self.crews(&moves, view, octets, histories, tracks)
            }
            Base::Weighted => match self.rows {
                Some(rows) => {
                    let moves = Weighted { rows, laziness };
                    self.crews(&moves, view, octets, histories, tracks)
                }
                None => {
                    let moves = Simple { laziness, among: 0 };
                    self.crews(&moves, view, octets, histories, tracks)
                }
            },
            Base::Metropolis | Base::Barker => {
                let barker = base == Base::Barker;
                let moves = Metropolis::<false, false> { target, laziness, barker };
                self.crews(&moves, view, octets, histories, tracks)
            }
            Base::Delayed => {
                let moves = Metropolis::<false, true> { target, laziness, barker: false };
                self.crews(&moves, view, octets, histories, tracks)
            }
            _ => Err(Error::Internal("not yet".into())),
        }
    }

    /// The chains that history bends.
    fn bent<H: History>(
        &self,
        view: &View<'_>,
        octets: &mut [Octet],
        histories: &mut [H],
        tracks: &mut [Track<'_>],
    ) -> Result<()> {
        let Plan { base, kernel, laziness, ref target, .. } = *self.plan;
        let (n_nodes, weights) = (view.n_nodes(), view.weights);
        match (kernel, base) {
            (
                Kernel::Repellent | Kernel::Avoiding,
                Base::Onward | Base::Multiple { .. } | Base::Second { .. } | Base::Rotor,
            ) => Err(self.unfit("a chain whose probabilities are those of the neighbours")),
            (Kernel::Repellent, _) => {
                let moves = Scan::<false> { target, base, laziness, n_nodes, weights };
                self.crews(&moves, view, octets, histories, tracks)
            }
            (Kernel::Avoiding, _) => {
                let moves = Scan::<true> { target, base, laziness, n_nodes, weights };
                self.crews(&moves, view, octets, histories, tracks)
            }
            (_, Base::Delayed) => {
                let moves = Metropolis::<true, true> { target, laziness, barker: false };
                self.crews(&moves, view, octets, histories, tracks)
            }
            (_, Base::Metropolis | Base::Barker) => {
                let barker = base == Base::Barker;
                let moves = Metropolis::<true, false> { target, laziness, barker };
                self.crews(&moves, view, octets, histories, tracks)
            }
            _ => Err(self.unfit("a chain that accepts and refuses")),
        }
    }

    /// The base does not go with the kernel.
    fn unfit(&self, needed: &str) -> Error {
        let Plan { base, kernel, .. } = self.plan;
        Error::argument("base", format!("{base:?} given; {kernel:?} needs {needed}"))
    }

    /// Octets in crews, a crew on a thread.
    fn crews<M: Moves, P: Places + Sync, H: History>(
        &self,
        moves: &M,
        places: &P,
        octets: &mut [Octet],
        histories: &mut [H],
        tracks: &mut [Track<'_>],
    ) -> Result<()> {
        let size = octets.len().div_ceil(self.context.n_threads()).clamp(1, CREW);
        let mut crews: Vec<Vec<Member<'_, '_, H>>> = Vec::new();
        for ((octet, history), track) in octets.iter_mut().zip(histories).zip(tracks) {
            let done = octet.done;
            let member = Member { octet, history, track, words: Vec::new() };
            match crews.last_mut() {
                // After an interrupt some have come further.
                Some(crew) if crew.len() < size && crew[0].octet.done == done => crew.push(member),
                _ => crews.push(vec![member]),
            }
        }
        let (until, plan) = (self.until, self.plan);
        self.context.each(crews, self.deadline, |mut members, signal| {
            let walkers = members.iter().map(|m| m.octet.n as u64).sum::<u64>();
            let mut turn = 1;
            while let Some(first) = members.first()
                && first.octet.done < until
                && !signal.is_set()
            {
                let n_steps = until.min(first.octet.done + turn) - first.octet.done;
                let begun = Instant::now();
                dispatch(Crew { moves, places, plan, members: &mut members, n_steps })?;
                signal.count(n_steps * walkers);
                turn = if begun.elapsed() < TURN { turn * 2 } else { (turn / 2).max(1) };
            }
            Ok(())
        })
    }
}
