//! The threads that move walkers.

use std::time::{Duration, Instant};

use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, dispatch};

use super::choose::Driver;
use super::history::History;
use super::octet::{Crew, Member, Moves, Octet};
use super::places::Places;
use super::plan::Plan;
use super::record::Track;

/// About the time between two looks at signals.
const TURN: Duration = Duration::from_millis(5);

/// One call of [`Walkers::run`](super::Walkers::run).
pub(super) struct Call<'a, 'c> {
    pub(super) plan: &'a Plan,
    pub(super) until: u64,
    pub(super) deadline: Option<Instant>,
    pub(super) context: &'a Context<'c>,
}

impl Call<'_, '_> {
    /// Whether the time is over.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Octets in crews, a crew on a thread.
    pub(super) fn crews<M: Moves, P: Places + Sync, H: History>(
        &self,
        moves: &M,
        places: &P,
        octets: &mut [Octet],
        histories: &mut [H],
        tracks: &mut [Track<'_>],
    ) -> Result<()> {
        let size = octets.len().div_ceil(self.context.n_threads()).clamp(1, M::CREW);
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
        self.each(moves, places, crews)
    }

    /// Crews, each on a thread.
    pub(super) fn each<M: Moves, P: Places + Sync, H: History>(
        &self,
        moves: &M,
        places: &P,
        crews: Vec<Vec<Member<'_, '_, H>>>,
    ) -> Result<()> {
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
                run(Crew { moves, places, plan, members: &mut members, n_steps })?;
                signal.count(n_steps * walkers);
                turn = if begun.elapsed() < TURN { turn * 2 } else { (turn / 2).max(1) };
            }
            Ok(())
        })
    }
}

/// Steps of a crew, compiled for this machine where that pays.
pub(super) fn run<M: Moves, P: Places, H: History>(crew: Crew<'_, '_, '_, M, P, H>) -> Result<()> {
    if M::VECTORS { dispatch(crew) } else { crew.run::<false>() }
}

/// One step of crews, each on a thread, and of all of them.
pub(super) fn step_together<M: Moves, P: Places + Sync, H: History>(
    call: &Call<'_, '_>,
    moves: &M,
    places: &P,
    crews: Vec<&mut [Member<'_, '_, H>]>,
) -> Result<()> {
    let plan = call.plan;
    call.context.each(crews, None, |members, signal| {
        let walkers = members.iter().map(|m| m.octet.n as u64).sum::<u64>();
        run(Crew { moves, places, plan, members, n_steps: 1 })?;
        signal.count(walkers);
        Ok(())
    })
}

/// Octets with a history each.
pub(super) struct Apart<'a, 'c, 't, P, H> {
    pub(super) call: &'a Call<'a, 'c>,
    pub(super) places: &'a P,
    pub(super) octets: &'a mut [Octet],
    pub(super) histories: &'a mut [H],
    pub(super) tracks: &'a mut [Track<'t>],
}

impl<P: Places + Sync, H: History> Driver for Apart<'_, '_, '_, P, H> {
    fn drive<M: Moves>(self, moves: &M) -> Result<()> {
        let Self { call, places, octets, histories, tracks } = self;
        call.crews(moves, places, octets, histories, tracks)
    }
}
