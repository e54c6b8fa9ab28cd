//! The final stage in blocks of chunks, which other processes may draw.
//!
//! The points of a chunk depend on its number alone, so the rows of all blocks, one block after the
//! other, are those of a run in one piece.

use super::draw::{Plan, Problem};
use super::pool::Pool;
use super::summary::{Last, report};
use super::{Evidence, Run, Settings, Stage};
use crate::blocks::{entries, exactly, persist_proposal, persist_supports};
use crate::proposal::Proposal;
use crate::space::Space;
use crate::trained::Components;
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::{Law, LogDensity, Support};
use std::ops::Range;

/// What the blocks of a call share: the sampler and the stages before them.
#[derive(Debug, Clone)]
pub struct Prepared {
    proposal: Proposal,
    support: Vec<Support>,
    /// The shares of the components, for the report.
    shares: Vec<f64>,
    stages: Vec<Stage>,
    /// Points of the final stage, and evaluations before it.
    n: usize,
    before: usize,
    n_at_bound: u64,
}

/// The points of a block.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// Points per chunk and stratum.
    counts: Vec<Vec<usize>>,
    draws: Vec<f64>,
    log_weights: Vec<f64>,
    log_densities: Vec<f64>,
    n_at_bound: u64,
}

impl Prepared {
    /// The chunks of the final stage.
    pub fn n_chunks(&self) -> usize {
        self.n.div_ceil(CHUNK)
    }

    /// Evaluations before the final stage.
    pub fn before(&self) -> usize {
        self.before
    }
}

/// Adapts the sampler of a call.
///
/// # Errors
/// As [`evidence`](super::evidence).
pub fn prepare(
    target: &dyn LogDensity,
    law: &dyn Law,
    settings: &Settings,
    context: &Context<'_>,
) -> Result<Prepared> {
    let problem = Problem::new(target, law, settings.key)?;
    settings.check(problem.dim())?;
    context.set_total(settings.n as u64);
    let mut run = Run::new(&problem, settings, context);
    run.adapt()?;
    Ok(Prepared {
        support: problem.space().support(),
        shares: run.mixture.map_or_else(Vec::new, |mixture| mixture.shares),
        n: settings.n - run.pool.n,
        before: run.pool.n,
        n_at_bound: problem.n_at_bound(),
        stages: run.stages,
        proposal: run.proposal,
    })
}

/// The points of some chunks of the final stage.
///
/// # Errors
/// [`Error::Argument`] if there are no such chunks, or the law is another than that of the adaptation;
/// as [`evidence`](super::evidence).
pub fn block(
    target: &dyn LogDensity,
    law: &dyn Law,
    key: u64,
    prepared: &Prepared,
    chunks: Range<usize>,
    context: &Context<'_>,
) -> Result<Block> {
    let problem = Problem::new(target, law, key)?;
    if problem.space().support() != prepared.support {
        return Err(Error::argument("law", "another law than that of the adaptation given"));
    }
    if chunks.is_empty() || chunks.end > prepared.n_chunks() {
        return Err(Error::argument("part", "chunks given that the call does not have"));
    }
    let plan = Plan {
        stage: prepared.stages.len(),
        n: prepared.n,
        before: prepared.before,
        last: true,
        nets: None,
    };
    context.set_total((chunks.len() * CHUNK) as u64);
    let (mut drawn, mut points) = (Vec::new(), Vec::new());
    problem.sweep(context, &prepared.proposal, plan, chunks, &mut drawn, &mut points)?;
    let mut pool = Pool::new(problem.dim(), false);
    let own = pool.append(drawn, points, prepared.proposal.clone());
    Ok(Block {
        counts: pool.newest().map_or_else(Vec::new, |stage| stage.counts.clone()),
        log_weights: pool.to_rows(&own),
        draws: pool.x,
        log_densities: pool.log_density,
        n_at_bound: problem.n_at_bound(),
    })
}

/// The result of blocks in ascending order; blocks may be missing.
///
/// # Errors
/// [`Error::Argument`] without blocks.
pub fn combine(prepared: Prepared, blocks: Vec<Block>) -> Result<Evidence> {
    let mut all = Block { n_at_bound: prepared.n_at_bound, ..Block::default() };
    for mut block in blocks {
        all.counts.append(&mut block.counts);
        all.draws.append(&mut block.draws);
        all.log_weights.append(&mut block.log_weights);
        all.log_densities.append(&mut block.log_densities);
        all.n_at_bound += block.n_at_bound;
    }
    let n = all.log_weights.len();
    if n == 0 {
        return Err(Error::argument("results", "no block given; at least one is needed"));
    }
    let n_evals = prepared.before + n;
    let mut stages = prepared.stages;
    stages.push(report(n, n_evals, all.log_weights.clone(), prepared.shares));
    let last = Last {
        dim: prepared.support.len(),
        stages,
        n_evals,
        n_at_bound: all.n_at_bound,
        counts: all.counts,
        draws: all.draws,
        log_weights: all.log_weights,
        log_densities: all.log_densities,
        replicate: None,
        trained: Components::of(&prepared.proposal, &Space::of(&prepared.support)),
    };
    Ok(last.evidence())
}

fn persist_stage(codec: &mut Codec, stage: &mut Stage) -> Result<()> {
    codec.count(&mut stage.n)?;
    codec.count(&mut stage.used)?;
    codec.list(&mut stage.shares)?;
    codec.number(&mut stage.log_evidence)?;
    codec.number(&mut stage.efficiency)?;
    codec.number(&mut stage.power)?;
    codec.number(&mut stage.fit_ess)
}

impl Prepared {
    /// The words of what was prepared.
    ///
    /// # Errors
    /// None.
    pub fn to_words(&self) -> Result<Vec<u64>> {
        let mut codec = Codec::writer();
        self.clone().persist(&mut codec)?;
        Ok(codec.into_words())
    }

    /// What was prepared, from its words.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are none.
    pub fn from_words(words: Vec<u64>) -> Result<Self> {
        let mut prepared = Self {
            proposal: Proposal::laws(0, 1),
            support: Vec::new(),
            shares: Vec::new(),
            stages: Vec::new(),
            n: 0,
            before: 0,
            n_at_bound: 0,
        };
        let mut codec = Codec::reader(words);
        prepared.persist(&mut codec)?;
        codec.finish()?;
        Ok(prepared)
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        persist_proposal(codec, &mut self.proposal, 1)?;
        persist_supports(codec, &mut self.support)?;
        let dim = self.support.len();
        codec.require(dim > 0 && dim == self.proposal.bank.dim())?;
        codec.list(&mut self.shares)?;
        entries(codec, &mut self.stages, &Stage::default(), persist_stage)?;
        codec.count(&mut self.n)?;
        codec.require(self.n > 0)?;
        codec.count(&mut self.before)?;
        codec.word(&mut self.n_at_bound)
    }
}

impl Block {
    /// The words of a block.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is none of `prepared`.
    pub fn to_words(mut self, prepared: &Prepared) -> Result<Vec<u64>> {
        let mut codec = Codec::writer();
        self.persist(&mut codec, prepared)?;
        Ok(codec.into_words())
    }

    /// A block, from its words.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are none of `prepared`.
    pub fn from_words(words: Vec<u64>, prepared: &Prepared) -> Result<Self> {
        let mut block = Self::default();
        let mut codec = Codec::reader(words);
        block.persist(&mut codec, prepared)?;
        codec.finish()?;
        Ok(block)
    }

    fn persist(&mut self, codec: &mut Codec, prepared: &Prepared) -> Result<()> {
        codec.list(&mut self.log_weights)?;
        let n = self.log_weights.len();
        let strata = prepared.proposal.bank.len() + 1;
        entries(codec, &mut self.counts, &vec![0; strata], |codec, counts| {
            counts.iter_mut().try_for_each(|count| codec.count(count))
        })?;
        let total = self.counts.iter().flatten().try_fold(0, |sum: usize, c| sum.checked_add(*c));
        codec.require(n > 0 && total == Some(n))?;
        exactly(codec, &mut self.log_densities, n)?;
        exactly(codec, &mut self.draws, n.saturating_mul(prepared.support.len()))?;
        codec.word(&mut self.n_at_bound)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::evidence::{Scheme, evidence};
    use crate::integrate::Points;
    use fermiac_base::linalg::Rows;
    use fermiac_target::law::MultivariateNormal;
    use fermiac_target::{Dispatch, RowStatus};

    /// exp(-2 |x - 1|) below 3.
    struct Tent;

    impl LogDensity for Tent {
        fn dim(&self) -> usize {
            1
        }

        fn log_density(&self, x: Rows<'_>, out: &mut [f64], _: &mut [RowStatus]) -> Result<()> {
            for (row, value) in x.iter().zip(out) {
                *value = if row[0] > 3.0 { f64::NEG_INFINITY } else { -2.0 * (row[0] - 1.0).abs() };
            }
            Ok(())
        }

        fn log_density_gradient(
            &self,
            _x: Rows<'_>,
            _out: &mut [f64],
            _gradient: &mut [f64],
            _status: &mut [RowStatus],
        ) -> Result<()> {
            Err(Error::target("there is no gradient"))
        }

        fn dispatch(&self) -> Dispatch {
            Dispatch::AnyThread
        }
    }

    fn settings(scheme: Scheme) -> Settings {
        Settings {
            n: 60_000,
            scheme,
            n_components: None,
            n_stages: 20,
            adapt_fraction: 0.5,
            df: Some(8.0),
            defensive: 0.1,
            points: Points::Random,
            n_replicates: None,
            key: 5,
        }
    }

    #[test]
    fn blocks_of_any_size_give_the_bits_of_one_run() {
        let law = MultivariateNormal::new(&[0.0], &[9.0]).unwrap();
        let context = Context::serial();
        for scheme in [Scheme::Amis, Scheme::Pmc, Scheme::Snis] {
            let settings = settings(scheme);
            let whole = evidence(&Tent, &law, &settings, &context).unwrap();
            let words = prepare(&Tent, &law, &settings, &context).unwrap().to_words().unwrap();
            for level in [0, 1, 3, 9] {
                let prepared = Prepared::from_words(words.clone()).unwrap();
                let n = prepared.n_chunks();
                let blocks = (0..n.div_ceil(1 << level)).map(|b| {
                    let chunks = b << level..((b + 1) << level).min(n);
                    let done = block(&Tent, &law, 5, &prepared, chunks, &context).unwrap();
                    Block::from_words(done.to_words(&prepared).unwrap(), &prepared).unwrap()
                });
                let blocks = blocks.collect();
                let got = combine(prepared, blocks).unwrap();
                assert_eq!(format!("{got:?}"), format!("{whole:?}"));
            }
        }
    }

    #[test]
    fn damaged_words_are_refused() {
        let law = MultivariateNormal::new(&[0.0], &[9.0]).unwrap();
        let context = Context::serial();
        let prepared = prepare(&Tent, &law, &settings(Scheme::Amis), &context).unwrap();
        let words = prepared.to_words().unwrap();
        for at in 0..words.len() {
            let mut damaged = words.clone();
            damaged[at] = u64::MAX;
            // No panic, and no memory for lengths that cannot be.
            let _ = Prepared::from_words(damaged);
        }
        assert!(Prepared::from_words(words[..words.len() - 1].to_vec()).is_err());
        let done = block(&Tent, &law, 5, &prepared, 0..1, &context).unwrap();
        let words = done.to_words(&prepared).unwrap();
        for at in (0..words.len()).step_by(97) {
            let mut damaged = words.clone();
            damaged[at] = u64::MAX;
            let _ = Block::from_words(damaged, &prepared);
        }
        assert!(Block::from_words(words[..words.len() - 1].to_vec(), &prepared).is_err());
    }
}
