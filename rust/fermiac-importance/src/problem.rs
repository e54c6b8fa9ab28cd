//! The problem of a run, and the loop that draws, evaluates and hands on points chunk by chunk.

use super::layout;
use super::nets::Nets;
use super::proposal::Proposal;
use super::settings::OnNan;
use super::space::Space;
use fermiac_base::linalg::Rows;
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{LANES, V};
use fermiac_base::{Error, Result};
use fermiac_target::{Dispatch, Integrand, Law, RowStatus, unwritten};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Chunks that are gathered into one call of a target that runs on the calling thread.
const GATHER: usize = 16;

/// The integrand, the laws and the working space of a run.
pub(crate) struct Problem<'a> {
    pub(crate) integrand: &'a dyn Integrand,
    pub(crate) laws: Vec<&'a dyn Law>,
    /// A sampler that was trained before.
    given: Option<&'a dyn Law>,
    pub(crate) space: Space,
    pub(crate) key: u64,
    pub(crate) on_nan: OnNan,
    n_bad: AtomicU64,
    n_at_bound: AtomicU64,
    /// One over the unit of every output, a power of two of the size of its first values: the
    /// engine works with values near 1, whatever their scale.
    inverse_units: OnceLock<Vec<f64>>,
    /// Used batches, whose memory serves the next ones. (Fresh memory costs a page fault for every
    /// 4 KiB, a sixth of the time of a cheap integrand.)
    spare: Mutex<Vec<Batch>>,
}

/// Points with all that was evaluated at them, in tiles.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    pub(crate) n: usize,
    /// How many points each stratum of the proposal got, in order.
    pub(crate) counts: Vec<usize>,
    /// Working coordinates: tiles × d.
    pub(crate) z: Vec<V>,
    /// Log-densities of the laws, and of a given sampler, in the working space: tiles × columns, -inf
    /// in padding; empty where they were not asked for.
    pub(crate) log_laws: Vec<V>,
    /// The integrand: tiles × outputs, 0 in padding.
    pub(crate) values: Vec<V>,
    /// The points themselves, row-major.
    pub(crate) x: Vec<f64>,
    log_jacobian: Vec<f64>,
    /// laws × n
    law_columns: Vec<f64>,
    /// The values of the integrand, n × outputs, and the status of each row.
    raw: Vec<f64>,
    status: Vec<RowStatus>,
    noise: Vec<f64>,
    unit: Vec<f64>,
    /// Where each point stood in its net; empty where points are random.
    pub(crate) order: Vec<usize>,
}

/// The part of the run that a sweep does, and what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The block of the streams' addresses: one for each stage.
    pub(crate) block: u32,
    /// Points of the stage in all.
    pub(crate) n: usize,
    /// The chunks to do now.
    pub(crate) chunks: Range<usize>,
    /// Whether the laws' densities are needed.
    pub(crate) densities: bool,
    /// Evaluations before this stage, for messages.
    pub(crate) before: usize,
    /// The nets that the points are from, if they are not random.
    pub(crate) nets: Option<&'a Nets>,
}

impl Batch {
    /// All but the points themselves, which the working coordinates replace.
    pub(crate) fn without_points(&self) -> Self {
        Self {
            n: self.n,
            counts: self.counts.clone(),
            z: self.z.clone(),
            log_laws: self.log_laws.clone(),
            values: self.values.clone(),
            ..Self::default()
        }
    }
}

/// The logarithm of a density, relative to the largest one, below which a law is as good as 0.
const NEGLIGIBLE: f64 = -1e4;

impl Batch {
    /// For each law the log-density at which no value of the integrand counts.
    fn negligible(&self, n_laws: usize, columns: usize) -> Vec<f64> {
        let mut largest = vec![f64::NEG_INFINITY; n_laws];
        for tile in self.log_laws.chunks_exact(columns) {
            for (largest, v) in largest.iter_mut().zip(tile) {
                *largest = v.0.iter().fold(*largest, |l, v| l.max(*v));
            }
        }
        largest.into_iter().map(|l| l + NEGLIGIBLE).collect()
    }
}

impl Plan<'_> {
    /// The points in chunk `c`.
    pub(crate) fn points(&self, c: usize) -> usize {
        match self.nets {
            Some(nets) => nets.rows(c).len(),
            None => (self.n - c * CHUNK).min(CHUNK),
        }
    }

    /// Evaluations before chunk `c`.
    fn before(&self, c: usize) -> usize {
        self.before + self.nets.map_or(c * CHUNK, |nets| nets.before(c))
    }
}

impl<'a> Problem<'a> {
    pub(crate) fn new(
        integrand: &'a dyn Integrand,
        laws: Vec<&'a dyn Law>,
        given: Option<&'a dyn Law>,
        key: u64,
        on_nan: OnNan,
    ) -> Result<Self> {
        let Some(first) = laws.first() else {
            return Err(Error::argument("law", "no law given; at least one is needed"));
        };
        let dim = first.dim();
        for (j, law) in laws.iter().enumerate() {
            if law.dim() != dim {
                let why = format!("law {j} has {} dimensions, law 0 has {dim}", law.dim());
                return Err(Error::argument("law", why));
            }
        }
        if integrand.dim() != dim {
            let why = format!(
                "it takes points of {} dimensions, the law has {dim}; give a law and an integrand \
                 of equal dimension",
                integrand.dim()
            );
            return Err(Error::argument("f", why));
        }
        if let Some(law) = given.filter(|law| law.dim() != dim) {
            let why = format!("it has {} dimensions, the law has {dim}", law.dim());
            return Err(Error::argument("sampler", why));
        }
        let space = Space::new(&laws.iter().copied().chain(given).collect::<Vec<_>>());
        Ok(Self {
            integrand,
            laws,
            given,
            space,
            key,
            on_nan,
            n_bad: AtomicU64::new(0),
            n_at_bound: AtomicU64::new(0),
            inverse_units: OnceLock::new(),
            spare: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn dim(&self) -> usize {
        self.laws[0].dim()
    }

    /// The densities that are evaluated at every point: those of the laws, and of a given sampler.
    pub(crate) fn columns(&self) -> usize {
        self.laws.len() + usize::from(self.given.is_some())
    }

    fn densities_of(&self) -> impl Iterator<Item = &'a dyn Law> + '_ {
        self.laws.iter().copied().chain(self.given)
    }

    /// Whether a density must be evaluated on the calling thread.
    fn has_central_law(&self) -> bool {
        self.densities_of().any(|law| law.dispatch() == Dispatch::CallingThread)
    }

    /// Outputs of the integrand; known once it was called.
    pub(crate) fn outputs(&self) -> Result<usize> {
        self.integrand
            .outputs()
            .ok_or_else(|| Error::Internal("the integrand was not called yet".into()))
    }

    /// Coordinates drawn from a law that lie within rounding of a bound of its support.
    pub(crate) fn n_at_bound(&self) -> u64 {
        self.n_at_bound.load(Ordering::Relaxed)
    }

    /// Chooses the units by the first batch, and brings it to them.
    pub(crate) fn choose_units(&self, batch: &mut Batch) -> Result<()> {
        let k = self.outputs()?;
        let mut largest = vec![0.0_f64; k];
        for tile in batch.values.chunks_exact(k) {
            for (l, v) in largest.iter_mut().zip(tile) {
                *l = v.0.iter().fold(*l, |l, v| l.max(v.abs()));
            }
        }
        // 2ᵉ by its bits; the inverse of a subnormal would overflow, 0 says nothing.
        let exponent = |x: f64| f64::from_bits(x.to_bits() & 0x7ff0_0000_0000_0000);
        let units = largest.iter().map(|l| match exponent(*l) {
            0.0 if *l > 0.0 => 1.0 / f64::MIN_POSITIVE,
            0.0 => 1.0,
            unit => 1.0 / unit,
        });
        let units = self.inverse_units.get_or_init(|| units.collect());
        scale(&mut batch.values, units);
        Ok(())
    }

    /// Sets one over the unit of every output, before any value is known.
    pub(crate) fn set_units(&self, inverse: Vec<f64>) {
        let _ = self.inverse_units.set(inverse);
    }

    /// The unit of every output: values in the engine times it are values of the integrand.
    pub(crate) fn units(&self) -> Result<Vec<f64>> {
        Ok(match self.inverse_units.get() {
            Some(inverse) => inverse.iter().map(|u| 1.0 / u).collect(),
            None => vec![1.0; self.outputs()?],
        })
    }

    /// Values that were not finite and counted as zero.
    pub(crate) fn n_bad(&self) -> u64 {
        self.n_bad.load(Ordering::Relaxed)
    }

    /// Draws the plan's points from `source`, evaluates the integrand and the laws, and gives each
    /// chunk to `process` (on a worker) and what that returns to `fold` (here, in order).
    pub(crate) fn sweep<T: Send>(
        &self,
        context: &Context<'_>,
        source: &Proposal,
        plan: &Plan<'_>,
        process: impl Fn(usize, &Batch) -> Result<T> + Sync,
        mut fold: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        let laws_here = plan.densities && self.has_central_law();
        let draws_here = (source.uses_laws() || source.given > 0.0) && self.has_central_law();
        let integrand_here = self.integrand.dispatch() == Dispatch::CallingThread;
        let strata = source.strata();
        let first = plan.chunks.start;
        let count = plan.chunks.len();
        if !(laws_here || draws_here || integrand_here) {
            return context.ordered(
                count,
                |i| {
                    let mut batch = self.draw(source, &strata, plan, first + i)?;
                    self.densities(&mut batch, plan, Dispatch::AnyThread)?;
                    self.integrate_one(&mut batch, plan, first + i)?;
                    let part = process(first + i, &batch);
                    self.recycle(batch);
                    part
                },
                |i, part| {
                    context.advance(plan.points(first + i) as u64);
                    fold(first + i, part)
                },
            );
        }
        for start in plan.chunks.clone().step_by(GATHER) {
            let end = (start + GATHER).min(plan.chunks.end);
            let mut batches = Vec::with_capacity(end - start);
            if draws_here {
                for c in start..end {
                    batches.push(self.draw(source, &strata, plan, c)?);
                }
                for batch in &mut batches {
                    self.densities(batch, plan, Dispatch::AnyThread)?;
                }
            } else {
                context.ordered(
                    end - start,
                    |i| {
                        let mut batch = self.draw(source, &strata, plan, start + i)?;
                        self.densities(&mut batch, plan, Dispatch::AnyThread)?;
                        Ok(batch)
                    },
                    |_, batch| {
                        batches.push(batch);
                        Ok(())
                    },
                )?;
            }
            context.poll()?;
            for batch in &mut batches {
                self.densities(batch, plan, Dispatch::CallingThread)?;
            }
            if integrand_here {
                self.integrate_many(&mut batches, plan, start)?;
            }
            context.poll()?;
            let queue: Vec<_> = batches.into_iter().map(Mutex::new).collect();
            context.ordered(
                end - start,
                |i| {
                    let mut batch = queue[i].lock().unwrap_or_else(PoisonError::into_inner);
                    // Only with all densities there is it known which values matter.
                    if !integrand_here {
                        self.integrate_one(&mut batch, plan, start + i)?;
                    }
                    process(start + i, &batch)
                },
                |i, part| {
                    context.advance(plan.points(start + i) as u64);
                    fold(start + i, part)
                },
            )?;
            for batch in queue {
                self.recycle(batch.into_inner().unwrap_or_else(PoisonError::into_inner));
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Batch {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn recycle(&self, batch: Batch) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    }

    fn draw(
        &self,
        source: &Proposal,
        strata: &[f64],
        plan: &Plan<'_>,
        chunk: usize,
    ) -> Result<Batch> {
        let (n, d) = (plan.points(chunk), self.dim());
        let mut rng = Stream::new(self.key, Domain::Importance, chunk as u64, plan.block);
        let mut batch = self.fresh();
        batch.n = n;
        batch.order.clear();
        let (x, noise, unit) = (&mut batch.x, &mut batch.noise, &mut batch.unit);
        batch.counts = match plan.nets {
            Some(nets) => nets.fill(chunk, noise, unit, &mut batch.order)?,
            None => Proposal::allocate(strata, n, rng.uniform()),
        };
        x.resize(n * d, 0.0);
        // Points of the laws as they are, where nothing asks for working coordinates.
        let plain = source.bank.len() == 0 && !plan.densities;
        let components = source.bank.len();
        let mut at = 0;
        for (s, count) in batch.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let part = at * d..(at + count) * d;
            at += count;
            let rows = &mut x[part.clone()];
            if s < components {
                match plan.nets {
                    Some(nets) => nets.place(&source.bank, s, &mut unit[part], rows),
                    None => source.draw(s, &mut rng, noise, rows),
                }
                continue;
            }
            // Behind the laws stands the given sampler.
            let law = match self.laws.get(s - components) {
                Some(law) => *law,
                None => self.given.ok_or_else(|| Error::Internal("no sampler".into()))?,
            };
            noise.resize(rows.len(), 0.0);
            let points = if plain { &mut *rows } else { &mut noise[..] };
            match plan.nets {
                Some(_) => law.map_unit(Rows::new(&unit[part], d), points)?,
                None => law.sample(&mut rng, points)?,
            }
            if !plain {
                let at_bound = self.space.to_working(Rows::new(noise, d), rows);
                self.n_at_bound.fetch_add(at_bound, Ordering::Relaxed);
            }
        }
        batch.log_laws.clear();
        if plain {
            batch.z.clear();
            return Ok(batch);
        }
        layout::from_rows(Rows::new(x, d), &mut batch.z);
        batch.log_jacobian.clear();
        batch.log_jacobian.resize(n, 0.0);
        self.space.to_points(&batch.z, x, &mut batch.log_jacobian);
        Ok(batch)
    }

    /// The densities of the laws of one dispatch; once those of both are there, they go into tiles.
    fn densities(&self, batch: &mut Batch, plan: &Plan<'_>, dispatch: Dispatch) -> Result<()> {
        let central = self.has_central_law();
        if !plan.densities || (dispatch == Dispatch::CallingThread && !central) {
            return Ok(());
        }
        let (n, columns) = (batch.n, self.columns());
        batch.law_columns.resize(n * columns, 0.0);
        let x = Rows::new(&batch.x, self.dim());
        for (law, column) in self.densities_of().zip(batch.law_columns.chunks_exact_mut(n)) {
            if law.dispatch() == dispatch {
                law.log_density(x, column)?;
                for (i, (value, jacobian)) in column.iter_mut().zip(&batch.log_jacobian).enumerate()
                {
                    *value += jacobian;
                    if value.is_nan() || *value == f64::INFINITY {
                        let why = format!(
                            "the log-density of the law is {value} at x = {:?}; it must be finite \
                             or -inf",
                            x.row(i)
                        );
                        return Err(Error::Target { row: Some(i), why });
                    }
                }
            }
        }
        if dispatch == Dispatch::CallingThread || !central {
            batch.log_laws.resize(layout::n_tiles(n) * columns, V::ZERO);
            for (l, column) in batch.law_columns.chunks_exact(n).enumerate() {
                for (t, values) in column.chunks(LANES).enumerate() {
                    let tile = &mut batch.log_laws[t * columns + l];
                    *tile = V::splat(f64::NEG_INFINITY);
                    tile.0[..values.len()].copy_from_slice(values);
                }
            }
        }
        Ok(())
    }

    fn integrate_one(&self, batch: &mut Batch, plan: &Plan<'_>, chunk: usize) -> Result<()> {
        let (mut values, mut status) =
            (std::mem::take(&mut batch.raw), std::mem::take(&mut batch.status));
        status.clear();
        status.resize(batch.n, RowStatus::Good);
        self.integrand.eval(Rows::new(&batch.x, self.dim()), &mut values, &mut status)?;
        self.accept(batch, &values, &status, plan.before(chunk))?;
        (batch.raw, batch.status) = (values, status);
        Ok(())
    }

    /// One call for several chunks.
    fn integrate_many(&self, batches: &mut [Batch], plan: &Plan<'_>, chunk: usize) -> Result<()> {
        if let [batch] = batches {
            return self.integrate_one(batch, plan, chunk);
        }
        let d = self.dim();
        let n: usize = batches.iter().map(|b| b.n).sum();
        let mut x = Vec::with_capacity(n * d);
        for batch in batches.iter() {
            x.extend_from_slice(&batch.x);
        }
        let mut values = Vec::new();
        let mut status = vec![RowStatus::Good; n];
        self.integrand.eval(Rows::new(&x, d), &mut values, &mut status)?;
        let outputs = self.outputs()?;
        let mut at = 0;
        for batch in batches {
            let rows = at..at + batch.n;
            let own = &values[rows.start * outputs..rows.end * outputs];
            self.accept(batch, own, &status[rows.clone()], plan.before(chunk) + at)?;
            at = rows.end;
        }
        Ok(())
    }

    /// Checks values and puts them into tiles. Values where every law vanishes, or nearly so, are not
    /// checked: heavy-tailed components draw points at 1e40, where a function may overflow.
    fn accept(
        &self,
        batch: &mut Batch,
        values: &[f64],
        status: &[RowStatus],
        before: usize,
    ) -> Result<()> {
        let (n, k, columns) = (batch.n, self.outputs()?, self.columns());
        batch.values.resize(layout::n_tiles(n) * k, V::ZERO);
        for (t, rows) in values.chunks(LANES * k).enumerate() {
            let tile = &mut batch.values[t * k..(t + 1) * k];
            for (lane, row) in rows.chunks_exact(k).enumerate() {
                for j in 0..k {
                    tile[j].0[lane] = row[j];
                }
            }
            for v in tile {
                v.0[rows.len() / k..].fill(0.0);
            }
        }
        if let Some(units) = self.inverse_units.get() {
            scale(&mut batch.values, units);
        }
        // Most batches need no closer check.
        let sum: f64 = values.iter().map(|v| v * 0.0).sum();
        if sum == 0.0 && status.iter().all(|s| *s == RowStatus::Good) {
            return Ok(());
        }
        let least = batch.negligible(self.laws.len(), columns);
        for (i, row) in values.chunks_exact(k).enumerate() {
            let (t, lane) = (i / LANES, i % LANES);
            if status[i] == RowStatus::Unwritten {
                let (what, at) = (format!("evaluation {}", before + i), i * self.dim());
                let x = &batch.x[at..at + self.dim()];
                return Err(unwritten(&self.integrand.describe(), i, &what, x));
            }
            let good = status[i] == RowStatus::Good;
            for (j, value) in row.iter().enumerate() {
                if good && value.is_finite() {
                    continue;
                }
                batch.values[t * k + j].0[lane] = 0.0;
                let laws = batch.log_laws.get(t * columns..t * columns + self.laws.len());
                let far = |l: &[V]| l.iter().zip(&least).all(|(v, least)| v.0[lane] <= *least);
                if laws.is_some_and(far) {
                    continue;
                }
                if self.on_nan == OnNan::Raise {
                    let d = self.dim();
                    let what = if good { value.to_string() } else { "refused".into() };
                    let why = format!(
                        "the integrand is {what} (output {j}) at evaluation {}, x = {:?}; it must \
                         be finite: correct it, or pass on_nan=\"zero\" to count such values \
                         as 0",
                        before + i,
                        &batch.x[i * d..(i + 1) * d]
                    );
                    return Err(Error::Target { row: Some(i), why });
                }
                self.n_bad.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Multiplies every output by its factor.
fn scale(values: &mut [V], factors: &[f64]) {
    for tile in values.chunks_exact_mut(factors.len()) {
        for (v, factor) in tile.iter_mut().zip(factors) {
            *v = *v * V::splat(*factor);
        }
    }
}
