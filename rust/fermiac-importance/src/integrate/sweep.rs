//! The loop that places points, evaluates the integrand and hands on the blocks, in order.

use super::place::Placed;
use super::sampler::Sampler;
use super::surface::Surface;
use crate::settings::OnNan;
use fermiac_base::alloc::room;
use fermiac_base::linalg::Rows;
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::qmc::{Net, Scramble};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, Integrand, RowStatus, unwritten};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Points that are gathered into one call of a target that runs on the calling thread. With 8
/// coordinates they fill 1 MiB, and a function of NumPy works within the cache: an evaluation takes
/// 48 ns with its training, and 50 to 64 ns in calls of 65,536 points.
const GATHER: usize = 4 * CHUNK;
/// Numbers of the largest block that has an effect on the allocator, 32 MiB with its header.
const MOST_KEPT: usize = (1 << 22) - 64;
/// The first block of the addresses of these streams; those of `expect` are below 1000, those of
/// `evidence` below 2²¹.
const BLOCK: u32 = 1 << 21;
/// The first replicate of the addresses of these nets.
const NETS: u64 = 1 << 40;

/// The uniform numbers behind the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// Scrambled Sobol' points.
    Sobol,
    /// Independent points.
    Random,
}

/// The integrand with its units.
pub(super) struct Problem<'a> {
    pub(super) integrand: &'a dyn Integrand,
    pub(super) key: u64,
    pub(super) on_nan: OnNan,
    /// One over the unit of every output, a power of two of the size of its first values: the
    /// engine works with values near 1, whatever their scale.
    inverse_units: OnceLock<Vec<f64>>,
    n_bad: AtomicU64,
    n_evals: AtomicU64,
    spare: Mutex<Vec<Block>>,
    /// The room of a call for several blocks, which is large.
    batch: Mutex<Batch>,
}

/// The points of a call, their values and how they went.
#[derive(Default)]
struct Batch {
    x: Vec<f64>,
    values: Vec<f64>,
    status: Vec<RowStatus>,
}

/// Points of one sampler: replicates of equal size.
pub(super) struct Stage<'a> {
    pub(super) sampler: &'a Sampler,
    pub(super) points: Points,
    pub(super) scramble: Scramble,
    /// The address of the stage.
    pub(super) number: u32,
    pub(super) replicates: usize,
    /// The points of each replicate to do now.
    pub(super) range: Range<usize>,
    /// Strata of the unit cube, if the points lie in them.
    pub(super) strata: Option<&'a super::strata::Strata>,
    /// Keep the coordinates under the maps of a sampler.
    pub(super) wants_y: bool,
}

/// Some points of a replicate with their values.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) replicate: usize,
    /// Whether it is the first of the replicate.
    pub(super) is_first: bool,
    /// The points before it in the order of the sweep.
    pub(super) before: usize,
    pub(super) placed: Placed,
    /// The values, rows × outputs, in units: 0 outside the region.
    pub(super) values: Vec<f64>,
    pub(super) u: Vec<f64>,
    /// Whether all points lie in the region; else those that do.
    is_whole: bool,
    x: Vec<f64>,
    raw: Vec<f64>,
    status: Vec<RowStatus>,
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.placed.weight.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.placed.x.len() / self.len()
    }

    /// The points that are evaluated.
    fn points(&self) -> &[f64] {
        if self.is_whole { &self.placed.x } else { &self.x }
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(integrand: &'a dyn Integrand, key: u64, on_nan: OnNan) -> Self {
        Self {
            integrand,
            key,
            on_nan,
            inverse_units: OnceLock::new(),
            n_bad: AtomicU64::new(0),
            n_evals: AtomicU64::new(0),
            spare: Mutex::new(Vec::new()),
            batch: Mutex::default(),
        }
    }

    /// Outputs of the integrand; known once it was called.
    pub(super) fn outputs(&self) -> Result<usize> {
        match self.integrand.outputs() {
            Some(0) => Err(Error::argument("f", "it gave no output; at least one is needed")),
            Some(k) => Ok(k),
            None => Err(Error::Internal("the integrand was not called yet".into())),
        }
    }

    /// The unit of every output.
    pub(super) fn units(&self) -> Result<Vec<f64>> {
        Ok(match self.inverse_units.get() {
            Some(inverse) => inverse.iter().map(|u| 1.0 / u).collect(),
            None => vec![1.0; self.outputs()?],
        })
    }

    /// Values that were not finite and counted as zero.
    pub(super) fn n_bad(&self) -> u64 {
        self.n_bad.load(Ordering::Relaxed)
    }

    /// Evaluations so far.
    pub(super) fn n_evals(&self) -> usize {
        self.n_evals.load(Ordering::Relaxed) as usize
    }

    /// Places the points of a stage, evaluates the integrand and gives each block to `process` (on a
    /// worker) and what that returns to `fold` (here, in order).
    pub(super) fn sweep<T: Send>(
        &self,
        context: &Context<'_>,
        stage: &Stage<'_>,
        process: impl Fn(&Block) -> Result<T> + Sync,
        fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        self.sweep_less(context, stage, None, process, fold)
    }

    /// The same with the values less those of polynomials.
    pub(super) fn sweep_less<T: Send>(
        &self,
        context: &Context<'_>,
        stage: &Stage<'_>,
        surface: Option<&Surface>,
        process: impl Fn(&Block) -> Result<T> + Sync,
        mut fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        let less = |block: &mut Block| surface.map_or(Ok(()), |s| s.subtract(block));
        let nets = self.nets(context, stage)?;
        let per = stage.range.len().div_ceil(CHUNK);
        let count = per * stage.replicates;
        let here = self.integrand.dispatch() == Dispatch::CallingThread;
        let rows = |i: usize| {
            let start = stage.range.start + i % per * CHUNK;
            start..(start + CHUNK).min(stage.range.end)
        };
        let done = |block: &Block| {
            let part = process(block);
            part.map(|part| (block.replicate, block.points().len() / self.integrand.dim(), part))
        };
        let mut keep = |(replicate, evals, part): (usize, usize, T)| {
            self.n_evals.fetch_add(evals as u64, Ordering::Relaxed);
            context.advance(evals as u64);
            fold(replicate, part)
        };
        // The first block of a run gives the units.
        let mut first = 0;
        if self.inverse_units.get().is_none() && !here {
            let mut block = self.fresh();
            self.place(stage, &nets, rows(0), 0, &mut block)?;
            self.evaluate(&mut block)?;
            less(&mut block)?;
            keep(done(&block)?)?;
            first = 1;
        }
        if !here {
            return context.ordered(
                count - first,
                |i| {
                    let mut block = self.fresh();
                    let i = i + first;
                    self.place(stage, &nets, rows(i), i / per, &mut block)?;
                    self.evaluate(&mut block)?;
                    less(&mut block)?;
                    let part = done(&block);
                    self.recycle(block);
                    part
                },
                |_, part| keep(part),
            );
        }
        keep_freed_memory(GATHER.min(count * CHUNK) * self.integrand.dim());
        let mut start = 0;
        while start < count {
            let (mut end, mut points) = (start, 0);
            while end < count && points + rows(end).len() <= GATHER {
                points += rows(end).len();
                end += 1;
            }
            let mut blocks = Vec::with_capacity(end - start);
            context.ordered(
                end - start,
                |i| {
                    let mut block = self.fresh();
                    let i = start + i;
                    self.place(stage, &nets, rows(i), i / per, &mut block)?;
                    Ok(block)
                },
                |_, block| {
                    blocks.push(block);
                    Ok(())
                },
            )?;
            context.poll()?;
            self.evaluate_many(&mut blocks)?;
            blocks.iter_mut().try_for_each(less)?;
            context.poll()?;
            context.ordered(end - start, |i| done(&blocks[i]), |_, part| keep(part))?;
            blocks.into_iter().for_each(|block| self.recycle(block));
            start = end;
        }
        Ok(())
    }

    fn fresh(&self) -> Block {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn recycle(&self, block: Block) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }

    fn nets(&self, context: &Context<'_>, stage: &Stage<'_>) -> Result<Vec<Net>> {
        if stage.points == Points::Random {
            return Ok(Vec::new());
        }
        let mut nets = room("n_replicates", stage.replicates)?;
        let address = NETS + (u64::from(stage.number) << 32);
        let dim = stage.sampler.dim();
        context.ordered(
            stage.replicates,
            |r| Net::new(dim, self.key, address + r as u64, stage.scramble),
            |_, net| {
                nets.push(net);
                Ok(())
            },
        )?;
        Ok(nets)
    }

    fn place(
        &self,
        stage: &Stage<'_>,
        nets: &[Net],
        rows: Range<usize>,
        replicate: usize,
        block: &mut Block,
    ) -> Result<()> {
        let d = stage.sampler.dim();
        block.replicate = replicate;
        block.is_first = rows.start == 0;
        block.before = replicate * stage.range.len() + rows.start - stage.range.start;
        block.u.resize(rows.len() * d, 0.0);
        if let Some(net) = nets.get(replicate) {
            net.fill(rows.start as u64, &mut block.u)?;
        } else {
            let index = (replicate as u64) << 40 | rows.start as u64;
            let mut stream = Stream::new(self.key, Domain::Importance, index, BLOCK + stage.number);
            stream.fill_uniform(&mut block.u);
        }
        let factor = stage.strata.map(|strata| strata.place(rows, &mut block.u));
        block.placed.wants_y = stage.wants_y;
        stage.sampler.place(&block.u, &mut block.placed);
        if let Some(factors) = factor {
            for (i, factor) in factors.into_iter().enumerate() {
                block.placed.weight[i] *= factor;
                block.placed.control[i] *= factor;
            }
        }
        // Only points of the region are evaluated.
        let placed = &block.placed;
        block.x.clear();
        // A sum has no branch, so that it goes by vectors.
        block.is_whole = placed.inside.iter().map(|inside| u32::from(!*inside)).sum::<u32>() == 0;
        if !block.is_whole {
            for (row, inside) in placed.x.chunks_exact(d).zip(&placed.inside) {
                if *inside {
                    block.x.extend_from_slice(row);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, block: &mut Block) -> Result<()> {
        let d = self.integrand.dim();
        let n = block.points().len() / d;
        let (mut raw, mut status) =
            (std::mem::take(&mut block.raw), std::mem::take(&mut block.status));
        status.clear();
        status.resize(n, RowStatus::Good);
        if n > 0 {
            self.integrand.eval(Rows::new(block.points(), d), &mut raw, &mut status)?;
        } else {
            raw.clear();
        }
        self.accept(block, &raw, &status)?;
        (block.raw, block.status) = (raw, status);
        Ok(())
    }

    /// One call for several blocks.
    fn evaluate_many(&self, blocks: &mut [Block]) -> Result<()> {
        let d = self.integrand.dim();
        // Out of its lock while the target runs.
        let mut batch = std::mem::take(&mut *self.batch());
        let Batch { x, values, status } = &mut batch;
        x.clear();
        values.clear();
        blocks.iter().for_each(|block| x.extend_from_slice(block.points()));
        status.clear();
        status.resize(x.len() / d, RowStatus::Good);
        if !x.is_empty() {
            self.integrand.eval(Rows::new(x, d), values, status)?;
        }
        let outputs = if x.is_empty() { 0 } else { self.outputs()? };
        let mut at = 0;
        for block in blocks {
            let end = at + block.points().len() / d;
            self.accept(block, &values[at * outputs..end * outputs], &status[at..end])?;
            at = end;
        }
        *self.batch() = batch;
        Ok(())
    }

    fn batch(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks values and brings them to units; all rows of the block get values.
    fn accept(&self, block: &mut Block, values: &[f64], status: &[RowStatus]) -> Result<()> {
        if values.is_empty() {
            let k = self.integrand.outputs().unwrap_or(1);
            block.values.clear();
            block.values.resize(block.len() * k, 0.0);
            return Ok(());
        }
        let k = self.outputs()?;
        let units = self.inverse_units.get_or_init(|| inverse_units(values, k));
        let n = block.placed.weight.len();
        block.values.clear();
        if values.len() == n * k {
            block.values.extend_from_slice(values);
        } else {
            let mut rows = values.chunks_exact(k);
            for inside in &block.placed.inside {
                match if *inside { rows.next() } else { None } {
                    Some(row) => block.values.extend_from_slice(row),
                    None => block.values.resize(block.values.len() + k, 0.0),
                }
            }
        }
        if let [unit] = units.as_slice() {
            block.values.iter_mut().for_each(|v| *v *= unit);
        } else if units.iter().any(|u| *u != 1.0) {
            for row in block.values.chunks_exact_mut(k) {
                row.iter_mut().zip(units).for_each(|(v, u)| *v *= u);
            }
        }
        // Most batches need no closer check.
        let finite = values.iter().fold(true, |all, v| all & (v.abs() < f64::INFINITY));
        if finite && status.iter().all(|s| *s == RowStatus::Good) {
            return Ok(());
        }
        self.check(block, values, status, k)
    }

    #[cold]
    fn check(
        &self,
        block: &mut Block,
        values: &[f64],
        status: &[RowStatus],
        k: usize,
    ) -> Result<()> {
        let d = self.integrand.dim();
        let before = self.n_evals();
        for (i, row) in values.chunks_exact(k).enumerate() {
            let x = &block.points()[i * d..(i + 1) * d];
            if status[i] == RowStatus::Unwritten {
                let what = format!("a point after {before} evaluations");
                return Err(unwritten(&self.integrand.describe(), i, &what, x));
            }
            let good = status[i] == RowStatus::Good;
            let bad = row.iter().position(|value| !(good && value.is_finite()));
            let Some(j) = bad else { continue };
            if self.on_nan == OnNan::Raise {
                let what = if good { row[j].to_string() } else { "refused".into() };
                let why = format!(
                    "the integrand is {what} (output {j}) at x = {x:?}; it must be finite: correct \
                     it, or pass on_nan=\"zero\" to count such values as 0"
                );
                return Err(Error::Target { row: Some(i), why });
            }
        }
        let mut rows = status.iter();
        let mut bad = 0;
        for (row, inside) in block.values.chunks_exact_mut(k).zip(&block.placed.inside) {
            let good = !*inside || rows.next().is_none_or(|s| *s == RowStatus::Good);
            for value in row {
                if !(good && value.is_finite()) {
                    *value = 0.0;
                    bad += 1;
                }
            }
        }
        self.n_bad.fetch_add(bad, Ordering::Relaxed);
        Ok(())
    }
}

/// Lets the allocator keep what targets free, which is arrays of so many numbers.
///
/// The allocator of Linux gives large blocks back to the system, until one that is larger still was
/// freed. Each call of a NumPy function would begin with page faults of all its arrays: for 8 axes an
/// evaluation took 90 ns instead of 50. The block here is never written to, so that it takes no memory.
fn keep_freed_memory(numbers: usize) {
    let block = Vec::<f64>::with_capacity((4 * numbers).min(MOST_KEPT));
    drop(std::hint::black_box(block));
}

/// One over the powers of two of the size of the largest values of each output.
fn inverse_units(values: &[f64], k: usize) -> Vec<f64> {
    let mut largest = vec![0.0_f64; k];
    for row in values.chunks_exact(k) {
        for (l, v) in largest.iter_mut().zip(row) {
            if v.is_finite() {
                *l = l.max(v.abs());
            }
        }
    }
    // 2ᵉ by its bits; the inverse of a subnormal would overflow, 0 says nothing.
    let exponent = |x: f64| f64::from_bits(x.to_bits() & 0x7ff0_0000_0000_0000);
    largest
        .iter()
        .map(|l| match exponent(*l) {
            0.0 if *l > 0.0 => 1.0 / f64::MIN_POSITIVE,
            0.0 => 1.0,
            unit => 1.0 / unit,
        })
        .collect()
}
