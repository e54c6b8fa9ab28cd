//! What is seen of a run from outside, and how it is kept.

use super::Run;
use super::state::{PHASES, Phase, STATUSES, Status, Trace};
use crate::Result;
use crate::kernel::Archive;
use crate::nested::bound::Bound;
use crate::nested::importance::Importance;
use crate::nested::points::Points;
use crate::nested::problem::Problem;
use crate::nested::{Ranks, Running};
use crate::par::Context;

impl Run {
    /// All points, in the order in which they die: the live ones last.
    pub fn points(&self) -> Points {
        let mut all = self.dead.clone();
        self.order.iter().for_each(|&slot| all.push_from(&self.live, slot as usize));
        all
    }

    /// The evidence that the dead points have gathered.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The evidence by all points that were evaluated, where the run keeps them.
    ///
    /// # Errors
    /// Those of `context`.
    pub fn importance(&self, context: &Context<'_>) -> Result<Option<Importance>> {
        let book = self.rejection.book.as_ref();
        book.map(|book| book.evidence(self.settings.key, context)).transpose()
    }

    /// The test of the ranks of new points.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// What the batches told.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// How the run stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Evaluations of the likelihood.
    pub fn n_evals(&self) -> u64 {
        self.n_evals
    }

    /// Points so far, dead and alive.
    pub fn n_points(&self) -> usize {
        self.dead.len() + self.order.len()
    }

    /// The factor by which the bounds were stretched along their axes, on average.
    pub fn radius_scale(&self) -> f64 {
        self.rejection.radius_scale()
    }

    /// Batches so far.
    pub fn n_batches(&self) -> u64 {
        u64::from(self.batch - self.settings.first_batch)
    }

    /// Chains that got stuck and started anew.
    pub fn n_stuck(&self) -> u64 {
        self.n_stuck
    }

    /// By how much the log-evidence can still grow.
    pub fn remaining(&self) -> f64 {
        let best = self.order.last().map_or(f64::INFINITY, |&i| self.live.ell[i as usize]);
        self.running.remaining(best)
    }

    /// Writes or reads everything that changes.
    pub fn persist(&mut self, problem: &Problem, archive: &mut Archive) -> Result<()> {
        self.live.persist(archive)?;
        archive.words(&mut self.order)?;
        self.dead.persist(archive)?;
        self.running.persist(archive)?;
        self.ranks.persist(archive)?;
        archive.choice(&mut self.status, &STATUSES)?;
        archive.choice(&mut self.phase, &PHASES)?;
        for count in [&mut self.batch, &mut self.stuck_batches] {
            let mut word = u64::from(*count);
            archive.word(&mut word)?;
            *count = word as u32;
        }
        for count in [
            &mut self.blocks,
            &mut self.batch_evals,
            &mut self.last_evals,
            &mut self.dear_evals,
            &mut self.n_evals,
            &mut self.n_stuck,
        ] {
            archive.word(count)?;
        }
        archive.flag(&mut self.chaining)?;
        archive.number(&mut self.level)?;
        archive.number(&mut self.modes_at)?;
        archive.words(&mut self.doomed)?;
        self.fresh.persist(archive)?;
        self.rejection.persist(archive)?;
        if let Some(moves) = &mut self.moves {
            archive.number(moves.scale())?;
        }
        self.memory.persist(archive)?;
        let mut modal = self.modes.is_some();
        archive.flag(&mut modal)?;
        if modal {
            let dim = self.circles.len();
            self.modes.get_or_insert_with(|| Bound::cube(dim)).persist(archive)?;
        }
        for list in self.trace.lists() {
            archive.list(list)?;
        }
        if self.phase == Phase::Chaining {
            if archive.is_reading() {
                let survivors = self.survivors();
                self.frame = Some(self.frame_of(&survivors));
            }
            self.chains.persist(archive, self.frame.as_ref(), problem.n_extras())?;
        }
        Ok(())
    }
}
