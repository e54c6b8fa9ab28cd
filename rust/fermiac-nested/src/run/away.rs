//! The chains of a batch away from their run, in another process.
//!
//! A chain is a function of its state and of what its batch has fixed: the survivors and their modes,
//! the level, and the moves. These are sent as words with the states of some of the chains. The run
//! takes the later states of the chains as if it had run them itself.

use super::Run;
use super::state::Phase;
use crate::bound::Bound;
use crate::chains::{BatchGeometry, Chains, Moves};
use crate::points::{Origin, Points};
use crate::problem::Problem;
use fermiac_base::par::Context;
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use std::time::Instant;

/// What the chains of a batch have in common.
struct Common {
    key: u64,
    batch: u32,
    level: f64,
    moves: Moves,
    u: Vec<f64>,
    ell: Vec<f64>,
    modes: Option<Bound>,
}

impl Common {
    fn persist(&mut self, dim: usize, codec: &mut Codec) -> Result<()> {
        codec.word(&mut self.key)?;
        codec.short(&mut self.batch)?;
        codec.number(&mut self.level)?;
        self.moves.persist(codec)?;
        codec.list(&mut self.u)?;
        codec.list(&mut self.ell)?;
        let n = self.ell.len();
        codec.require(
            n > 0
                && Some(self.u.len()) == n.checked_mul(dim)
                && self.u.iter().all(|u| (0.0..=1.0).contains(u))
                && self.ell.iter().all(|ell| *ell > self.level && *ell < f64::INFINITY),
        )?;
        let mut modal = self.modes.is_some();
        codec.flag(&mut modal)?;
        if modal {
            self.modes.get_or_insert_with(|| Bound::cube(dim)).persist(codec)?;
        }
        codec.finish()
    }

    fn geometry(&self, circles: &[bool]) -> BatchGeometry {
        let mut survivors = Points::new(circles.len(), 0);
        // Families belong to the run, which gives them to the new points.
        let origin = Origin { birth: self.level, lineage: 0, family: 0 };
        for (u, &ell) in self.u.chunks_exact(circles.len()).zip(&self.ell) {
            survivors.push(u, &[], ell, &[], origin);
        }
        let mut geometry = BatchGeometry::new(&survivors, circles, self.modes.as_ref());
        self.moves.prepare(&mut geometry, self.key, self.batch);
        geometry
    }
}

/// Some chains of a batch, away from their run.
pub struct AwayBatch {
    chains: Chains,
    geometry: BatchGeometry,
    moves: Moves,
    level: f64,
}

impl AwayBatch {
    /// The chains of a batch, from the words of [`Run::save_batch`] and [`Run::save_chains`].
    ///
    /// # Errors
    /// If the words are damaged, or belong to another problem.
    pub fn load(problem: &Problem, batch: Vec<u64>, chains: Vec<u64>) -> Result<Self> {
        let mut common = Common {
            key: 0,
            batch: 0,
            level: 0.0,
            moves: Moves::Walk { n_steps: 1, scale: 1.0 },
            u: Vec::new(),
            ell: Vec::new(),
            modes: None,
        };
        common.persist(problem.dim(), &mut Codec::reader(batch))?;
        if common.moves.needs_gradient() {
            problem.check_gradient()?;
        }
        let geometry = common.geometry(&problem.circles());
        let chains = read(chains, &geometry, problem)?;
        Ok(Self { chains, geometry, moves: common.moves, level: common.level })
    }

    /// Runs the chains until they end or a round ends after the deadline.
    ///
    /// # Errors
    /// Those of the likelihood and of `context`.
    pub fn run(
        &mut self,
        problem: &Problem,
        deadline: Option<Instant>,
        context: &Context<'_>,
    ) -> Result<()> {
        let Self { chains, geometry, moves, level } = self;
        chains.run(problem, geometry, moves, *level, deadline, context).map(|_| ())
    }

    /// The states of the chains, for [`Run::load_chains`].
    ///
    /// # Errors
    /// None.
    pub fn save_chains(&mut self) -> Result<Vec<u64>> {
        written(&mut self.chains, &self.geometry)
    }
}

impl Run {
    /// The number of chains of the batch under way, 0 without one.
    pub fn n_chains(&self) -> usize {
        if self.phase == Phase::Chaining { self.chains.len() } else { 0 }
    }

    /// Whether there are chains from `first` to before `stop` that have not ended.
    pub fn are_pending(&self, first: usize, stop: usize) -> bool {
        self.phase == Phase::Chaining && self.chains.are_pending(first, stop)
    }

    /// Whether there are chains that have not ended.
    pub(super) fn has_pending_chains(&self) -> bool {
        self.phase == Phase::Chaining && !self.chains.are_done()
    }

    /// What the chains of the batch under way have in common, as words.
    ///
    /// # Errors
    /// If there is no such batch.
    pub fn save_batch(&self) -> Result<Vec<u64>> {
        let moves = self.moves.filter(|_| self.phase == Phase::Chaining).ok_or_else(no_batch)?;
        let survivors = self.survivors();
        let mut common = Common {
            key: self.settings.key,
            batch: self.batch,
            level: self.level,
            moves: moves.longer(self.correlation.factor),
            u: survivors.u,
            ell: survivors.ell,
            modes: self.modes.clone(),
        };
        let mut codec = Codec::writer();
        common.persist(self.circles.len(), &mut codec)?;
        Ok(codec.into_words())
    }

    /// The states of `n` chains from chain `first` on, as words.
    ///
    /// # Errors
    /// If there are no such chains.
    pub fn save_chains(&self, first: usize, n: usize) -> Result<Vec<u64>> {
        let geometry = self.geometry.as_ref().ok_or_else(no_batch)?;
        written(&mut self.chains.part(first, n)?, geometry)
    }

    /// Takes later states of chains from chain `first` on; returns their evaluations since, which it
    /// counts.
    ///
    /// # Errors
    /// If they are not states of these chains.
    pub fn load_chains(&mut self, problem: &Problem, first: usize, words: Vec<u64>) -> Result<u64> {
        let geometry = self.geometry.as_ref().ok_or_else(no_batch)?;
        let part = read(words, geometry, problem)?;
        if !part.are_above(self.level, part.len()) {
            return Err(Error::argument("chains", "they belong to another level"));
        }
        let n_evals = self.chains.replace(first, part)?;
        self.n_evals += n_evals;
        self.batch_evals += n_evals;
        Ok(n_evals)
    }
}

fn no_batch() -> Error {
    Error::Internal("no batch of chains is under way".into())
}

fn written(chains: &mut Chains, geometry: &BatchGeometry) -> Result<Vec<u64>> {
    let mut codec = Codec::writer();
    chains.persist(&mut codec, Some(geometry), 0)?;
    Ok(codec.into_words())
}

fn read(words: Vec<u64>, geometry: &BatchGeometry, problem: &Problem) -> Result<Chains> {
    let (mut codec, mut chains) = (Codec::reader(words), Chains::default());
    chains.persist(&mut codec, Some(geometry), problem.n_extras())?;
    codec.finish()?;
    Ok(chains)
}
