//! Views of a run for its caller, and saving it.

use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;

use super::Run;
use super::state::{PHASES, Phase, STATUSES, Status, Trace};
use crate::bound::Bound;
use crate::importance::Importance;
use crate::points::Points;
use crate::problem::Problem;
use crate::{Ranks, Running};

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
    pub fn persist(&mut self, problem: &Problem, codec: &mut Codec) -> Result<()> {
        self.live.persist(codec)?;
        codec.words(&mut self.order)?;
        self.dead.persist(codec)?;
        self.running.persist(codec)?;
        self.ranks.persist(codec)?;
        codec.choice(&mut self.status, &STATUSES)?;
        codec.choice(&mut self.phase, &PHASES)?;
        for count in [&mut self.batch, &mut self.stuck_batches] {
            let mut word = u64::from(*count);
            codec.word(&mut word)?;
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
            codec.word(count)?;
        }
        codec.flag(&mut self.chaining)?;
        codec.number(&mut self.level)?;
        codec.number(&mut self.modes_at)?;
        codec.words(&mut self.doomed)?;
        self.fresh.persist(codec)?;
        self.rejection.persist(codec)?;
        if let Some(moves) = &mut self.moves {
            codec.number(moves.scale())?;
        }
        self.memory.persist(codec)?;
        let mut modal = self.modes.is_some();
        codec.flag(&mut modal)?;
        if modal {
            let dim = self.circles.len();
            self.modes.get_or_insert_with(|| Bound::cube(dim)).persist(codec)?;
        }
        for list in self.trace.lists() {
            codec.list(list)?;
        }
        if self.phase == Phase::Chaining {
            if codec.is_reading() {
                let survivors = self.survivors();
                self.frame = Some(self.frame_of(&survivors));
            }
            self.chains.persist(codec, self.frame.as_ref(), problem.n_extras())?;
        }
        Ok(())
    }
}
