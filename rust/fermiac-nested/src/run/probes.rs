//! Test points of a bound: draws from a somewhat wider one. Those just outside of the bound, its
//! probes, show whether it cuts off a part of the level set.
//!
//! They are drawn from streams of their own and never become live points. A run with them has the
//! bits of one without, unless they show that bounds cut: later bounds are then wider. A run that
//! keeps its points evaluates all test points, since they estimate the evidence of what was cut
//! off; another one evaluates the probes alone.

use super::rejection::{Rejection, Target};
use super::settings::Settings;
use crate::importance::ENLARGED;
use crate::problem::{EvalBuffer, Problem};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::exp;
use fermiac_base::store::Codec;
use std::cell::RefCell;

/// The share of proposals that are made once more as probes, or as test points.
const PROBES: f64 = 0.02;
const TESTS: f64 = 0.1;
/// The number of probes that are evaluated together.
const TOGETHER: usize = 16;
/// The largest number of blocks of candidates for the probes of one call.
const MOST_BLOCKS: u32 = 64;
/// Bounds are widened if points were missed in this many batches, and so many are less likely than
/// this by chance.
const FEW: u32 = 3;
const CHANCE: f64 = 1e-3;
/// The factor of a widening, and that after which there is no other.
const WIDER: f64 = 1.5;
const WIDEST: f64 = 10.0;
/// The address of the streams of probes, above those of chains, proposals, ties and bases.
const ADDRESS: u64 = 1 << 35;

/// The counts of the probes of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Points outside of the bound that were evaluated.
    pub(super) probes: f64,
    /// How many of them lie above the level.
    pub(super) missed: f64,
    /// How many would if as much of the level set lay outside of the bound as inside.
    pub(super) expected: f64,
}

/// The probes of a run.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    /// The number of probes that are due.
    due: f64,
    /// The number of calls in this batch.
    calls: u64,
    counts: Counts,
    /// The counts since the bound was last made wider, and the number of batches with missed points.
    since: Counts,
    n_missed: u32,
    /// The factor on the volume of bounds.
    pub(super) widening: f64,
}

impl Default for Probes {
    fn default() -> Self {
        let none = Counts::default();
        Self { due: 0.0, calls: 0, counts: none, since: none, n_missed: 0, widening: 1.0 }
    }
}

impl Probes {
    /// Whether the bound cuts: more batches had missed points than a bound that reaches as far as its
    /// farthest point leaves out, `share` of the level set. Widens the bounds then.
    pub(super) fn widen(&mut self, share: f64) -> bool {
        let (n, mean) = (self.n_missed, share * self.since.expected);
        if n < FEW || tail(n, mean) > CHANCE || self.widening >= WIDEST {
            return false;
        }
        (self.since, self.n_missed) = (Counts::default(), 0);
        self.widening *= WIDER;
        true
    }

    /// Counts proposals of a run that keeps its points or does not.
    pub(super) fn follow(&mut self, n: usize, is_kept: bool) {
        self.due += if is_kept { TESTS } else { PROBES } * n as f64;
    }

    /// Whether probes should be evaluated now.
    pub(super) fn are_due(&self) -> bool {
        self.due >= TOGETHER as f64
    }

    /// Returns the counts of the batch, and begins another.
    pub(super) fn take(&mut self) -> Counts {
        self.calls = 0;
        self.n_missed += u32::from(self.counts.missed > 0.0);
        self.since.expected += self.counts.expected;
        std::mem::take(&mut self.counts)
    }

    pub(super) fn persist(&mut self, codec: &mut Codec) -> Result<()> {
        codec.word(&mut self.calls)?;
        codec.short(&mut self.n_missed)?;
        let Counts { probes, missed, expected } = &mut self.counts;
        let numbers = [&mut self.due, probes, missed, expected, &mut self.since.expected];
        numbers.into_iter().try_for_each(|x| codec.number(x))?;
        codec.number(&mut self.widening)?;
        codec.require((1.0..=WIDER * WIDEST).contains(&self.widening))
    }
}

/// The probability that a Poisson number of a mean is `n` or more.
fn tail(n: u32, mean: f64) -> f64 {
    let mut term = exp(-mean);
    let mut below = 0.0;
    for k in 0..n {
        below += term;
        term *= mean / f64::from(k + 1);
    }
    1.0 - below
}

impl Rejection {
    /// Evaluates points that are uniform on an enlarged bound, or on the shell between it and the
    /// bound. Returns the number of evaluations.
    pub(super) fn probe(
        &mut self,
        target: &Target<'_>,
        problem: &Problem,
        answers: &mut EvalBuffer,
        settings: &Settings,
        context: &Context<'_>,
    ) -> Result<u64> {
        let d = problem.dim();
        let is_kept = self.record.is_some();
        let wide = match self.bound.enlarged(ENLARGED) {
            Some(wide) => wide,
            None if is_kept => self.bound.clone(),
            None => {
                self.probes.due = 0.0;
                return Ok(0);
            }
        };
        let index = ADDRESS + self.probes.calls;
        let mut stream = Stream::new(settings.key, Domain::Nested, index, target.batch);
        let (mut points, mut block) = (Vec::new(), Vec::new());
        let (mut tried, mut found) = (0, 0);
        let mut inside = Vec::new();
        for _ in 0..if is_kept { 1 } else { MOST_BLOCKS } {
            block.clear();
            wide.propose(TOGETHER, &mut stream, &mut block);
            let n = block.len() / d;
            let mut is_inside = [false; TOGETHER];
            self.bound.covers(&block, &mut is_inside[..n]);
            tried += n;
            for (row, is_inside) in block.chunks_exact(d).zip(is_inside) {
                found += usize::from(!is_inside);
                if (is_kept || !is_inside) && inside.len() < TOGETHER {
                    points.extend_from_slice(row);
                    inside.push(is_inside);
                }
            }
            if found >= TOGETHER || n == 0 {
                break;
            }
        }
        let n = inside.len();
        if n > 0 {
            problem.evaluate_together(&points, &RefCell::new(1e-6), context, answers)?;
        }
        // Counted after the evaluation, so that an error repeats the call.
        let outside = inside.iter().zip(&answers.ell).filter(|(is_inside, _)| !**is_inside);
        let missed = outside.filter(|(_, ell)| **ell > target.level).count();
        let n_probes = inside.iter().filter(|is_inside| !**is_inside).count();
        let efficiency = self.efficiency();
        if let Some(record) = &mut self.record {
            record.add_tests(&points, &answers.ell[..n]);
        }
        let probes = &mut self.probes;
        probes.calls += 1;
        probes.due -= TOGETHER as f64;
        probes.counts.probes += n_probes as f64;
        probes.counts.missed += missed as f64;
        // The level set has the share `efficiency` of the bound; the shell has `found` of the volume
        // where the bound has the rest.
        if found > 0 {
            let volume = (tried - found) as f64 / found as f64;
            probes.counts.expected += n_probes as f64 * efficiency * volume;
        }
        Ok(n as u64)
    }
}
