//! Replicates of simulations and bootstraps, eight at a time in vector lanes.
//!
//! Points are processed in blocks, within which likelihoods are relative to the largest one of the
//! block and prior masses relative to the mass left before it. A replicate then needs no exponential
//! of a likelihood, and nothing overflows whatever the range of the run.

use fermiac_base::alloc::check_room;
use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::simd::{LANES, V, exp, expv, ln};
use fermiac_base::{Error, Result};

/// Points of a block: few enough that masses do not underflow and buffers stay in cache.
pub(super) const BLOCK: usize = 64;

/// The evidence, the information and posterior means of values in each replicate of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Simulated {
    /// The logarithms of the evidence.
    pub log_evidence: Vec<f64>,
    /// The informations, in nats.
    pub information: Vec<f64>,
    /// The posterior means of the values, row by row; NaN where the evidence is 0.
    pub means: Vec<f64>,
}

/// Likelihoods as multiples of the largest one up to the end of their block.
pub(super) struct Heights {
    /// The largest log-likelihood.
    top: f64,
    /// The largest up to the end of each block, less `top`.
    blocks: Vec<f64>,
    /// The likelihoods divided by that of their block.
    pub(super) of: Vec<f64>,
    /// The log-likelihoods less `top`, cut at the smallest number.
    pub(super) levels: Vec<f64>,
}

impl Heights {
    /// The heights of log-likelihoods in the order of death.
    pub(super) fn new(ell: &[f64]) -> Self {
        let largest = |part: &[f64]| part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top = largest(ell);
        let relative = |l: f64| if l > f64::NEG_INFINITY { l - top } else { f64::NEG_INFINITY };
        // For a target that did not order the points, a later block may be lower than all before it.
        // It has less mass, too, and adds nothing if its likelihoods underflow relative to them.
        let mut blocks: Vec<f64> = ell.chunks(BLOCK).map(|part| relative(largest(part))).collect();
        for b in 1..blocks.len() {
            blocks[b] = blocks[b].max(blocks[b - 1]);
        }
        let mut of = Vec::with_capacity(ell.len());
        for (part, block) in ell.chunks(BLOCK).zip(&blocks) {
            of.extend(part.iter().map(|l| height(relative(*l), *block)));
        }
        let levels = ell.iter().map(|l| relative(*l).max(f64::MIN)).collect();
        Self { top, blocks, of, levels }
    }

    /// The number of blocks.
    pub(super) fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The logarithm of the largest likelihood up to the end of a block, relative to the largest of
    /// the run; -inf if there is none up to there.
    pub(super) fn block(&self, b: usize) -> f64 {
        self.blocks[b]
    }

    /// The likelihood of point `i` divided by that of block `b`.
    pub(super) fn height_in(&self, i: usize, b: usize) -> f64 {
        let own = self.blocks[i / BLOCK];
        self.of[i] * height(own, self.blocks[b])
    }
}

fn height(level: f64, largest: f64) -> f64 {
    if level > f64::NEG_INFINITY { exp(level - largest) } else { 0.0 }
}

/// Sums over the blocks so far in each lane: of the likelihood, of the likelihood times its
/// logarithm, and of the likelihood times each value.
pub(super) struct Totals {
    log_scale: V,
    sums: Vec<V>,
}

impl Totals {
    /// Empty sums for this number of values.
    pub(super) fn new(n_values: usize) -> Self {
        Self { log_scale: V::splat(f64::NEG_INFINITY), sums: vec![V::ZERO; 2 + n_values] }
    }

    /// Adds the sums of a block in units of e to the power `log_block`, which is finite.
    #[inline(always)]
    pub(super) fn add<const FMA: bool>(&mut self, log_block: V, block: &[V]) {
        let scale = self.log_scale.max(log_block);
        let (old, new) = (expv::<FMA>(self.log_scale - scale), expv::<FMA>(log_block - scale));
        self.log_scale = scale;
        for (sum, part) in self.sums.iter_mut().zip(block) {
            *sum = *sum * old + *part * new;
        }
    }

    /// Appends the results of the first `lanes` lanes.
    fn write(&self, top: f64, lanes: usize, out: &mut Simulated) {
        for lane in 0..lanes {
            let total = self.sums[0].0[lane];
            let log_height = self.log_scale.0[lane] + ln(total);
            out.log_evidence.push(top + log_height);
            // `max` also removes the NaN of a replicate without any likelihood.
            out.information.push((self.sums[1].0[lane] / total - log_height).max(0.0));
            out.means.extend(self.sums[2..].iter().map(|sum| sum.0[lane] / total));
        }
    }
}

/// Returns the results of `replicate` for each group of eight of the `n_sets` replicates. They do
/// not depend on the number of threads.
pub(super) fn collect(
    n_sets: usize,
    heights: &Heights,
    context: &Context<'_>,
    replicate: impl Fn(usize) -> Totals + Sync,
) -> Result<Simulated> {
    check_room::<[f64; 2]>("n", &[n_sets])?;
    let mut out = Simulated::default();
    context.set_total(n_sets as u64);
    context.ordered(
        n_sets.div_ceil(LANES),
        |group| Ok(replicate(group)),
        |group, totals| {
            let lanes = LANES.min(n_sets - LANES * group);
            totals.write(heights.top, lanes, &mut out);
            context.advance(lanes as u64);
            Ok(())
        },
    )?;
    Ok(out)
}

/// Refuses values that do not have one row for each point.
pub(super) fn check_values(values: Option<Rows<'_>>, n: usize) -> Result<()> {
    match values {
        Some(rows) if rows.len() != n => {
            let why = format!("{} rows given for {n} points; one each", rows.len());
            Err(Error::argument("values", why))
        }
        _ => Ok(()),
    }
}
