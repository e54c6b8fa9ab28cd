//! The final phase in blocks of chunks, which other processes may compute.
//!
//! A block is an aligned range of 2ᵏ chunks, and so a node of the tree in which all chunks are
//! joined: the result has the bits of a run in one piece.

use super::accumulate::{Part, Shape, Strata};
use super::adapt::Stage;
use super::basis::Basis;
use super::estimate::{Estimation, Known, khat_chunks, of_total};
use super::layout::Layout;
use super::problem::Problem;
use super::proposal::{Control, Proposal, Sampler};
use super::seen::Seen;
use super::settings::Settings;
use super::space::Space;
use super::trained::Components;
use super::{Begun, Expectations, adapted};
use fermiac_base::linalg::packed_len;
use fermiac_base::par::{CHUNK, Context, Tree, joined};
use fermiac_base::store::Codec;
use fermiac_base::{Error, Result};
use fermiac_target::{Integrand, Law, Support};
use std::ops::Range;

/// What the blocks of a call share: the sampler, and what is known of the values so far.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Without its polynomials, which follow from the law.
    sampler: Sampler,
    /// The number of points that they were made for.
    polynomials: Option<usize>,
    /// Points of the final phase.
    n: usize,
    /// Evaluations before it.
    before: usize,
    seen: Seen,
    inverse_units: Vec<f64>,
    shape: Shape,
    /// The sums of the first chunk, from which the shape comes.
    first: Part,
    n_bad: u64,
    n_at_bound: u64,
    /// The supports of the coordinates, for the trained sampler.
    support: Vec<Support>,
    adaptation: Expectations,
}

/// The sums of a block.
#[derive(Debug, Clone)]
pub struct Block {
    part: Part,
    n_bad: u64,
    n_at_bound: u64,
}

impl Prepared {
    /// The chunks of the final phase.
    pub fn n_chunks(&self) -> usize {
        self.n.div_ceil(CHUNK)
    }

    /// Evaluations before the final phase.
    pub fn before(&self) -> usize {
        self.before
    }
}

/// Adapts the sampler of a call, and evaluates the first chunk of its final phase.
///
/// # Errors
/// As [`expect`](super::expect).
pub fn prepare(
    integrand: &dyn Integrand,
    laws: &[&dyn Law],
    settings: &Settings,
    context: &Context<'_>,
) -> Result<Prepared> {
    let Begun { problem, sampler, adaptation, used, seen, .. } =
        adapted(integrand, laws, settings, None, context)?;
    let estimation = Estimation {
        problem: &problem,
        sampler: &sampler,
        n: settings.n - used,
        before: used,
        seen,
        stages: None,
        settings,
        pairs: &|| false,
    };
    let plan = estimation.plan();
    let (first, shape) = estimation.first(context, &plan, Strata::Components, |_, _| ())?;
    let known = estimation.known(shape)?;
    let polynomials = sampler.basis.as_ref().map(|basis| basis.points);
    Ok(Prepared {
        support: problem.space.support(),
        polynomials,
        n: estimation.n,
        before: used,
        seen: known.seen,
        inverse_units: known.units.iter().map(|unit| 1.0 / unit).collect(),
        shape: known.shape,
        first,
        n_bad: known.n_bad,
        n_at_bound: known.n_at_bound,
        adaptation,
        sampler: Sampler { basis: None, ..sampler },
    })
}

/// The sums of some chunks of the final phase.
///
/// # Errors
/// [`Error::Argument`] if there are no such chunks, or the laws are others than those of the
/// adaptation; as [`expect`](super::expect).
pub fn block(
    integrand: &dyn Integrand,
    laws: &[&dyn Law],
    settings: &Settings,
    prepared: &Prepared,
    chunks: Range<usize>,
    context: &Context<'_>,
) -> Result<Block> {
    let problem = Problem::new(integrand, laws.to_vec(), None, settings.key, settings.on_nan)?;
    let proposal = &prepared.sampler.proposal;
    if proposal.n_laws != laws.len() || proposal.bank.dim() != problem.dim() {
        return Err(Error::argument("law", "another law than that of the adaptation given"));
    }
    if chunks.is_empty() || chunks.end > prepared.n_chunks() {
        return Err(Error::argument("part", "chunks given that the call does not have"));
    }
    problem.set_units(prepared.inverse_units.clone());
    let mut sampler = prepared.sampler.clone();
    if let Some(points) = prepared.polynomials {
        let basis = Basis::new(laws[0], &problem.space, points)?;
        let known = |control: &Control| control.polynomials.iter().all(|(p, _)| *p < basis.len());
        if !sampler.controls.iter().all(known) {
            return Err(Error::argument("law", "another law than that of the adaptation given"));
        }
        sampler.basis = Some(basis);
    }
    let estimation = Estimation {
        problem: &problem,
        sampler: &sampler,
        n: prepared.n,
        before: prepared.before,
        seen: Seen::default(),
        stages: None,
        settings,
        pairs: &|| false,
    };
    let mut total = Tree::default();
    let mut left = chunks;
    if left.start == 0 {
        total.push(prepared.first.clone(), Part::join);
        left.start = 1;
    }
    context.set_total((left.len() * CHUNK) as u64);
    estimation.add(context, &prepared.shape, left, &mut total)?;
    let part = total.root(Part::join).ok_or_else(|| Error::Internal("an empty block".into()))?;
    Ok(Block { part, n_bad: problem.n_bad(), n_at_bound: problem.n_at_bound() })
}

/// The result of blocks with their numbers, which ascend; blocks may be missing. A node above several
/// has the number of the first.
///
/// # Errors
/// [`Error::Argument`] without blocks; [`Error::Numerical`] if an estimate overflows.
pub fn combine(prepared: Prepared, blocks: Vec<(u64, Block)>) -> Result<Expectations> {
    let (mut n_bad, mut n_at_bound) = (prepared.n_bad, prepared.n_at_bound);
    for (_, block) in &blocks {
        n_bad += block.n_bad;
        n_at_bound += block.n_at_bound;
    }
    let parts = blocks.into_iter().map(|(number, block)| (number, block.part)).collect();
    let total = joined(parts, &Part::join)
        .ok_or_else(|| Error::argument("results", "no block given; at least one is needed"))?;
    let known = Known {
        shape: prepared.shape,
        units: prepared.inverse_units.iter().map(|unit| 1.0 / unit).collect(),
        dim: prepared.sampler.proposal.bank.dim(),
        before: prepared.before,
        seen: prepared.seen,
        n_bad,
        n_at_bound,
    };
    let trained = Components::of(&prepared.sampler.proposal, &Space::of(&prepared.support));
    let Expectations { stages, chosen_stage, too_few_for_all, .. } = prepared.adaptation;
    Ok(Expectations { stages, chosen_stage, too_few_for_all, trained, ..of_total(total, &known)? })
}

/// Numbers of a list of a fixed length.
pub(crate) fn exactly(codec: &mut Codec, values: &mut Vec<f64>, n: usize) -> Result<()> {
    codec.list(values)?;
    codec.require(values.len() == n)
}

/// A list whose entries are written one by one; each takes a word at least.
pub(crate) fn entries<T: Clone>(
    codec: &mut Codec,
    values: &mut Vec<T>,
    empty: &T,
    mut entry: impl FnMut(&mut Codec, &mut T) -> Result<()>,
) -> Result<()> {
    let mut n = values.len();
    codec.count(&mut n)?;
    codec.require(n <= codec.left())?;
    values.resize(n, empty.clone());
    values.iter_mut().try_for_each(|value| entry(codec, value))
}

fn terms(codec: &mut Codec, values: &mut Vec<(usize, f64)>, n: usize) -> Result<()> {
    entries(codec, values, &(0, 0.0), |codec, (at, beta)| {
        codec.index(at, n)?;
        codec.require(n > 0)?;
        codec.number(beta)
    })
}

fn persist_layout(codec: &mut Codec, layout: &mut Layout) -> Result<()> {
    codec.count(&mut layout.n_laws)?;
    codec.count(&mut layout.outputs)?;
    codec.count(&mut layout.len)?;
    // Blocks have no given sampler.
    layout.columns = layout.n_laws;
    let (laws, outputs) = (layout.n_laws, layout.outputs);
    let paired = laws == 1 || outputs == 1 || laws == outputs;
    codec.require(laws > 0 && outputs > 0 && paired && layout.len == laws.max(outputs))?;
    // Lists of at least as many numbers follow.
    codec.require(layout.len <= codec.left())
}

fn persist_shape(codec: &mut Codec, shape: &mut Shape) -> Result<()> {
    persist_layout(codec, &mut shape.layout)?;
    codec.flag(&mut shape.full)?;
    exactly(codec, &mut shape.shift, shape.layout.len)?;
    exactly(codec, &mut shape.unit, shape.layout.len)?;
    shape.khat_chunks = khat_chunks(shape.layout);
    Ok(())
}

fn persist_part(codec: &mut Codec, part: &mut Part, shape: &Shape) -> Result<()> {
    let j = shape.layout.len;
    let n_laws = shape.layout.n_laws;
    let moments = &mut part.moments;
    (moments.p, moments.full) = (j, shape.full);
    codec.list(&mut moments.counts)?;
    let strata = moments.counts.len();
    exactly(codec, &mut moments.sums, strata.saturating_mul(j))?;
    exactly(codec, &mut moments.gram, if shape.full { packed_len(j) } else { j })?;
    exactly(codec, &mut moments.rounding, strata)?;
    for list in
        [&mut part.abs_sum, &mut part.square_sum, &mut part.largest, &mut part.largest_square]
    {
        exactly(codec, list, j)?;
    }
    exactly(codec, &mut part.jump, j)?;
    exactly(codec, &mut part.weight_sum, n_laws)?;
    exactly(codec, &mut part.weight_square, n_laws)?;
    codec.list(&mut part.tail)?;
    codec.require(part.tail.len().is_multiple_of(j))?;
    part.seen.persist(codec, shape.layout)
}

/// A proposal without a given sampler.
pub(crate) fn persist_proposal(
    codec: &mut Codec,
    proposal: &mut Proposal,
    n_laws: usize,
) -> Result<()> {
    proposal.bank.persist(codec)?;
    proposal.n_laws = n_laws;
    let n = proposal.bank.len();
    exactly(codec, &mut proposal.within, n)?;
    codec.list(&mut proposal.alpha)?;
    codec.number(&mut proposal.base)?;
    let groups = proposal.alpha.len();
    codec.require(n == 0 || groups > 0)?;
    proposal.group.resize(n, 0);
    proposal.group.iter_mut().try_for_each(|group| codec.index(group, groups))
}

/// The supports of coordinates, by their bounds.
pub(crate) fn persist_supports(codec: &mut Codec, supports: &mut Vec<Support>) -> Result<()> {
    entries(codec, supports, &Support::Real, |codec, support| {
        let (mut low, mut high) = support.ends();
        codec.number(&mut low)?;
        codec.number(&mut high)?;
        codec.require(low < high)?;
        *support = match (low.is_finite(), high.is_finite()) {
            (true, true) => Support::Between(low, high),
            (true, false) => Support::Above(low),
            (false, true) => Support::Below(high),
            (false, false) => Support::Real,
        };
        Ok(())
    })
}

fn persist_sampler(
    codec: &mut Codec,
    sampler: &mut Sampler,
    points: &mut Option<usize>,
    layout: Layout,
) -> Result<()> {
    let Sampler { proposal, controls, .. } = sampler;
    persist_proposal(codec, proposal, layout.n_laws)?;
    let groups = proposal.alpha.len();
    // One more than the number, or 0.
    let mut word = points.map_or(0, |points| points + 1);
    codec.count(&mut word)?;
    *points = word.checked_sub(1);
    let polynomials = if points.is_some() { usize::MAX } else { 0 };
    entries(codec, controls, &Control::default(), |codec, control| {
        terms(codec, &mut control.terms, groups)?;
        terms(codec, &mut control.polynomials, polynomials)?;
        terms(codec, &mut control.laws, layout.n_laws)
    })?;
    codec.require(controls.is_empty() || controls.len() == layout.len)
}

fn persist_stage(codec: &mut Codec, stage: &mut Stage) -> Result<()> {
    codec.count(&mut stage.n)?;
    codec.count(&mut stage.used)?;
    codec.number(&mut stage.forecast)?;
    codec.list(&mut stage.alpha)?;
    codec.number(&mut stage.alpha_gap)?;
    codec.count(&mut stage.alpha_passes)?;
    codec.list(&mut stage.mean)?;
    codec.list(&mut stage.stderr)?;
    entries(codec, &mut stage.degenerate, &0, Codec::count)
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
        let layout = Layout { n_laws: 1, columns: 1, outputs: 1, len: 1 };
        let shape = Shape {
            layout,
            shift: Vec::new(),
            unit: Vec::new(),
            khat_chunks: 0,
            full: false,
            keep_draws: false,
        };
        let proposal = Proposal::laws(0, 1);
        let mut prepared = Self {
            sampler: Sampler { proposal, controls: Vec::new(), basis: None },
            polynomials: None,
            n: 0,
            before: 0,
            seen: Seen::default(),
            inverse_units: Vec::new(),
            first: Part::new(&shape, 0),
            shape,
            n_bad: 0,
            n_at_bound: 0,
            support: Vec::new(),
            adaptation: Expectations::default(),
        };
        let mut codec = Codec::reader(words);
        prepared.persist(&mut codec)?;
        codec.finish()?;
        Ok(prepared)
    }

    fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        persist_shape(codec, &mut self.shape)?;
        let layout = self.shape.layout;
        exactly(codec, &mut self.inverse_units, layout.outputs)?;
        persist_sampler(codec, &mut self.sampler, &mut self.polynomials, layout)?;
        codec.count(&mut self.n)?;
        codec.require(self.n > 0)?;
        codec.count(&mut self.before)?;
        self.seen.persist(codec, layout)?;
        persist_part(codec, &mut self.first, &self.shape)?;
        let strata = self.sampler.proposal.bank.len() + layout.n_laws;
        codec.require(self.first.moments.counts.len() == strata)?;
        codec.word(&mut self.n_bad)?;
        codec.word(&mut self.n_at_bound)?;
        persist_supports(codec, &mut self.support)?;
        codec.require(self.support.len() == self.sampler.proposal.bank.dim())?;
        let Expectations { stages, chosen_stage, too_few_for_all, .. } = &mut self.adaptation;
        codec.count(chosen_stage)?;
        codec.flag(too_few_for_all)?;
        entries(codec, stages, &Stage::default(), persist_stage)
    }
}

impl Block {
    /// The node above two neighbours, the left one and the right one.
    #[must_use]
    pub fn join(self, right: Self) -> Self {
        Self {
            part: self.part.join(right.part),
            n_bad: self.n_bad + right.n_bad,
            n_at_bound: self.n_at_bound + right.n_at_bound,
        }
    }

    /// The words of a block.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is none of `prepared`.
    pub fn to_words(&self, prepared: &Prepared) -> Result<Vec<u64>> {
        let mut codec = Codec::writer();
        self.clone().persist(&mut codec, prepared)?;
        Ok(codec.into_words())
    }

    /// A block, from its words.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are none of `prepared`.
    pub fn from_words(words: Vec<u64>, prepared: &Prepared) -> Result<Self> {
        let part = Part::new(&prepared.shape, 0);
        let mut block = Self { part, n_bad: 0, n_at_bound: 0 };
        let mut codec = Codec::reader(words);
        block.persist(&mut codec, prepared)?;
        codec.finish()?;
        Ok(block)
    }

    fn persist(&mut self, codec: &mut Codec, prepared: &Prepared) -> Result<()> {
        persist_part(codec, &mut self.part, &prepared.shape)?;
        let strata = prepared.first.moments.counts.len();
        codec.require(self.part.moments.counts.len() == strata)?;
        codec.word(&mut self.n_bad)?;
        codec.word(&mut self.n_at_bound)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Controls, Options, expect};
    use fermiac_target::{integrand, law::MultivariateNormal};

    fn settings(controls: Controls) -> Settings {
        Settings { n: 60_000, key: 5, controls, ..Settings::default() }
    }

    #[test]
    fn blocks_of_any_size_give_the_bits_of_one_run() {
        let law = MultivariateNormal::new(&[0.0], &[1.0]).unwrap();
        let laws: [&dyn Law; 1] = [&law];
        let context = Context::serial();
        for controls in [Controls::Own, Controls::All, Controls::Polynomial, Controls::None] {
            let settings = settings(controls);
            let f = || {
                integrand::from_fn(1, 2, |x, out| {
                    out[0] = x[0] * x[0];
                    out[1] = (x[0] - 1.0).abs().sqrt();
                })
            };
            let whole =
                expect(f().as_ref(), &laws, &settings, Options::default(), &context).unwrap();
            assert!(whole.trained.is_some());
            let words =
                prepare(f().as_ref(), &laws, &settings, &context).unwrap().to_words().unwrap();
            for level in [0, 1, 2, 9] {
                let prepared = Prepared::from_words(words.clone()).unwrap();
                let n = prepared.n_chunks();
                let blocks = (0..n.div_ceil(1 << level)).map(|b| {
                    let chunks = b << level..((b + 1) << level).min(n);
                    let done =
                        block(f().as_ref(), &laws, &settings, &prepared, chunks, &context).unwrap();
                    let words = done.to_words(&prepared).unwrap();
                    (b as u64, Block::from_words(words, &prepared).unwrap())
                });
                let blocks = blocks.collect();
                let got = combine(prepared.clone(), blocks).unwrap();
                assert_eq!(format!("{got:?}"), format!("{whole:?}"));
            }
        }
    }

    #[test]
    fn damaged_words_are_refused() {
        let law = MultivariateNormal::new(&[0.0], &[1.0]).unwrap();
        let laws: [&dyn Law; 1] = [&law];
        let f = integrand::from_fn(1, 1, |x, out| out[0] = x[0]);
        let prepared =
            prepare(f.as_ref(), &laws, &settings(Controls::Own), &Context::serial()).unwrap();
        let words = prepared.to_words().unwrap();
        for at in 0..words.len() {
            let mut damaged = words.clone();
            damaged[at] = u64::MAX;
            // No panic, and no memory for lengths that cannot be.
            let _ = Prepared::from_words(damaged);
        }
        assert!(Prepared::from_words(words[..words.len() - 1].to_vec()).is_err());
        assert!(Prepared::from_words(Vec::new()).is_err());
    }
}
