//! Replicates of simulations and bootstraps: eight side by side, in vector lanes.
//!
//! Points are taken in blocks, within which likelihoods are numbers relative to the largest one of
//! the block and prior masses relative to what was left before it. So a replicate needs no
//! exponential of a likelihood, and nothing overflows whatever the range of the whole run.

use fermiac_base::linalg::Rows;
use fermiac_base::par::Context;
use fermiac_base::simd::{LANES, V, exp, expv, ln};
use fermiac_base::{Error, Result};

/// Points in a block: few enough that neither masses nor buffers leave their range.
pub(super) const BLOCK: usize = 64;

/// The evidence, the information and the means of values in each of many replicates of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Simulated {
    /// The logarithms of the evidence.
    pub log_evidence: Vec<f64>,
    /// The informations, in nats.
    pub information: Vec<f64>,
    /// The posterior means of the values, row after row; NaN where there is no evidence.
    pub means: Vec<f64>,
}

/// Likelihoods relative to the largest one up to the end of their block.
pub(super) struct Heights {
    /// The largest log-likelihood.
    top: f64,
    /// That up to the end of each block, less `top`.
    blocks: Vec<f64>,
    /// The likelihoods over that of their block.
    pub(super) of: Vec<f64>,
    /// The log-likelihoods less `top`; 0 for those of -inf, which have no height.
    pub(super) levels: Vec<f64>,
}

impl Heights {
    /// Of log-likelihoods in the order of death.
    pub(super) fn new(ell: &[f64]) -> Self {
        let largest = |part: &[f64]| part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top = largest(ell);
        let relative = |l: f64| if l > f64::NEG_INFINITY { l - top } else { f64::NEG_INFINITY };
        // Of another target than ordered the points, what is left has less mass than what went: where
        // it is lower than all before by more than numbers can tell, it adds nothing.
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

    /// The logarithm of the largest likelihood up to the end of a block, relative to the run's; -inf
    /// where there is none up to there.
    pub(super) fn block(&self, b: usize) -> f64 {
        self.blocks[b]
    }

    /// The likelihood of point `i` over that of block `b`.
    pub(super) fn height_in(&self, i: usize, b: usize) -> f64 {
        let own = self.blocks[i / BLOCK];
        self.of[i] * height(own, self.blocks[b])
    }
}

fn height(level: f64, largest: f64) -> f64 {
    if level > f64::NEG_INFINITY { exp(level - largest) } else { 0.0 }
}

/// Sums over the blocks so far, lane by lane: of the likelihood, of the likelihood times its
/// logarithm, and of the likelihood times each value.
pub(super) struct Totals {
    log_scale: V,
    sums: Vec<V>,
}

impl Totals {
    /// Of so many values.
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
            // `max` also takes out the NaN of a replicate without any likelihood.
            out.information.push((self.sums[1].0[lane] / total - log_height).max(0.0));
            out.means.extend(self.sums[2..].iter().map(|sum| sum.0[lane] / total));
        }
    }
}

/// Runs `replicate` for each group of eight of the `n_sets` replicates; what it returns does not
/// depend on the threads.
pub(super) fn collect(
    n_sets: usize,
    heights: &Heights,
    context: &Context<'_>,
    replicate: impl Fn(usize) -> Totals + Sync,
) -> Result<Simulated> {
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

/// Refuses values that are not one row a point.
pub(super) fn check_values(values: Option<Rows<'_>>, n: usize) -> Result<()> {
    match values {
        Some(rows) if rows.len() != n => {
            let why = format!("{} rows given for {n} points; one each", rows.len());
            Err(Error::argument("values", why))
        }
        _ => Ok(()),
    }
}
