//! Drawing the points of a stage and evaluating law and target at them, chunk by chunk.

use super::BLOCK;
use crate::layout;
use crate::nets::{Nets, in_order};
use crate::proposal::Proposal;
use crate::space::Space;
use fermiac_base::linalg::Rows;
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::rng::{Domain, Stream};
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};
use fermiac_target::density::evaluate;
use fermiac_target::{Dispatch, Law, LogDensity};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chunks that are gathered into one call of a target that runs on the calling thread.
const GATHER: usize = 16;

/// The target, its working space, and the law that the run starts from.
pub(super) struct Problem<'a> {
    target: &'a dyn LogDensity,
    law: &'a dyn Law,
    space: Space,
    key: u64,
    n_at_bound: AtomicU64,
}

/// A chunk of points with all that was evaluated at them.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) n: usize,
    /// How many points each stratum of the proposal got, in order.
    pub(super) counts: Vec<usize>,
    /// The points themselves, row-major.
    pub(super) x: Vec<f64>,
    /// log |dx/dz| of every row.
    log_jacobian: Vec<f64>,
    /// Working coordinates: tiles × d; empty, as `log_law`, where no fit follows.
    pub(super) z: Vec<V>,
    /// The law's log-density in the working space: tiles.
    pub(super) log_law: Vec<V>,
    /// The log-density of the sampler that they are drawn from: tiles.
    pub(super) log_own: Vec<V>,
    /// The target's log-density as the target gives it.
    pub(super) log_density: Vec<f64>,
}

impl Drawn {
    /// The target's log-density in the working space: tiles, -inf in padding.
    pub(super) fn log_target(&self) -> Vec<V> {
        self.tiled(&self.log_density)
    }

    /// Log-densities of rows, brought to the working space and into tiles.
    fn tiled(&self, values: &[f64]) -> Vec<V> {
        let mut out = vec![V::splat(f64::NEG_INFINITY); layout::n_tiles(self.n)];
        for (i, (value, jacobian)) in values.iter().zip(&self.log_jacobian).enumerate() {
            out[i / LANES].0[i % LANES] = value + jacobian;
        }
        out
    }
}

/// One stage: its number, and where it is in the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) stage: usize,
    pub(super) n: usize,
    /// Evaluations before this stage, for messages.
    pub(super) before: usize,
    /// Whether no fit follows.
    pub(super) last: bool,
    /// The nets that the points are from, if they are not random.
    pub(super) nets: Option<&'a Nets>,
}

impl Plan<'_> {
    fn chunk(&self, c: usize) -> usize {
        self.nets.map_or_else(|| (self.n - c * CHUNK).min(CHUNK), |nets| nets.rows(c).len())
    }

    pub(super) fn n_chunks(&self) -> usize {
        self.nets.map_or_else(|| self.n.div_ceil(CHUNK), Nets::n_chunks)
    }

    /// Evaluations before chunk `c`.
    fn before(&self, c: usize) -> usize {
        self.before + self.nets.map_or(c * CHUNK, |nets| nets.before(c))
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(target: &'a dyn LogDensity, law: &'a dyn Law, key: u64) -> Result<Self> {
        if target.dim() != law.dim() {
            let why = format!(
                "it takes points of {} dimensions, the law has {}; give a law and a target of \
                 equal dimension",
                target.dim(),
                law.dim()
            );
            return Err(Error::argument("log_density", why));
        }
        let space = Space::new(&[law]);
        Ok(Self { target, law, space, key, n_at_bound: AtomicU64::new(0) })
    }

    /// The space in which densities are fitted.
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn dim(&self) -> usize {
        self.law.dim()
    }

    /// Coordinates drawn from the law that lie within rounding of a bound of its support.
    pub(super) fn n_at_bound(&self) -> u64 {
        self.n_at_bound.load(Ordering::Relaxed)
    }

    /// Draws and evaluates some chunks of a stage. What was finished before an error is in `done`, whole chunks
    /// in order; their points are in `points`, so that no long copy is left for the end.
    pub(super) fn sweep(
        &self,
        context: &Context<'_>,
        source: &Proposal,
        plan: Plan<'_>,
        chunks: Range<usize>,
        done: &mut Vec<Drawn>,
        points: &mut Vec<f64>,
    ) -> Result<()> {
        let mut keep = |mut drawn: Drawn| {
            points.append(&mut drawn.x);
            drawn.x = Vec::new();
            done.push(drawn);
        };
        let law_here = self.law.dispatch() == Dispatch::CallingThread;
        let target_here = self.target.dispatch() == Dispatch::CallingThread;
        let strata = source.strata();
        let step = if law_here || target_here { GATHER } else { chunks.len() };
        for start in chunks.clone().step_by(step) {
            let count = step.min(chunks.end - start);
            let mut group = Vec::with_capacity(count);
            if law_here {
                for c in start..start + count {
                    context.poll()?;
                    group.push(self.draw(source, &strata, plan, c)?);
                }
            } else {
                context.ordered(
                    count,
                    |i| {
                        let mut drawn = self.draw(source, &strata, plan, start + i)?;
                        if !target_here {
                            self.evaluate_one(&mut drawn, plan, start + i)?;
                        }
                        Ok(drawn)
                    },
                    |i, drawn| {
                        if target_here {
                            group.push(drawn);
                        } else {
                            context.advance(plan.chunk(start + i) as u64);
                            keep(drawn);
                        }
                        Ok(())
                    },
                )?;
            }
            if target_here {
                context.poll()?;
                self.evaluate_many(&mut group, plan, start)?;
            } else if law_here {
                let mut values = Vec::with_capacity(count);
                let (target, d) = (self.target, self.dim());
                context.ordered(
                    count,
                    |i| {
                        let x = Rows::new(&group[i].x, d);
                        let mut out = vec![0.0; x.len()];
                        evaluate(target, x, plan.before(start + i), &mut out)?;
                        Ok(out)
                    },
                    |_, out| {
                        values.push(out);
                        Ok(())
                    },
                )?;
                group.iter_mut().zip(values).for_each(|(drawn, v)| drawn.log_density = v);
            }
            context.advance(group.iter().map(|drawn| drawn.n as u64).sum());
            group.into_iter().for_each(&mut keep);
        }
        context.poll()
    }

    fn draw(
        &self,
        source: &Proposal,
        strata: &[f64],
        plan: Plan<'_>,
        chunk: usize,
    ) -> Result<Drawn> {
        let (n, d) = (plan.chunk(chunk), self.dim());
        let block = BLOCK + plan.stage as u32;
        let mut rng = Stream::new(self.key, Domain::Importance, chunk as u64, block);
        let (mut noise, mut unit, mut order) = (Vec::new(), Vec::new(), Vec::new());
        let counts = match plan.nets {
            Some(nets) => nets.fill(chunk, &mut noise, &mut unit, &mut order)?,
            None => Proposal::allocate(strata, n, rng.uniform()),
        };
        let mut x = vec![0.0; n * d];
        let mut at = 0;
        for (s, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let part = at * d..(at + count) * d;
            let rows = &mut x[part.clone()];
            if s < source.bank.len() {
                match plan.nets {
                    Some(nets) => nets.place(&source.bank, s, &mut unit[part], rows),
                    None => source.draw(s, &mut rng, &mut noise, rows),
                }
            } else {
                noise.resize(rows.len(), 0.0);
                match plan.nets {
                    Some(_) => self.law.map_unit(Rows::new(&unit[part], d), &mut noise)?,
                    None => self.law.sample(&mut rng, &mut noise)?,
                }
                let at_bound = self.space.to_working(Rows::new(&noise, d), rows);
                self.n_at_bound.fetch_add(at_bound, Ordering::Relaxed);
            }
            at += count;
        }
        if plan.nets.is_some() {
            // Any stretch of the points of a net is a sample, which the points of a part are not. No fit
            // asks for the parts.
            x = in_order(&x, d, &order);
        }
        let mut z = Vec::new();
        layout::from_rows(Rows::new(&x, d), &mut z);
        let mut log_jacobian = vec![0.0; n];
        self.space.to_points(&z, &mut x, &mut log_jacobian);
        let mut log_law = vec![0.0; n];
        self.law.log_density(Rows::new(&x, d), &mut log_law)?;
        if let Some(i) = log_law.iter().position(|l| l.is_nan() || *l == f64::INFINITY) {
            let why = format!(
                "the log-density of the law is {} at x = {:?}; it must be finite or -inf",
                log_law[i],
                &x[i * d..(i + 1) * d]
            );
            return Err(Error::Target { row: Some(i), why });
        }
        let mut drawn = Drawn {
            n,
            counts,
            x,
            log_jacobian,
            z,
            log_law: Vec::new(),
            log_own: Vec::new(),
            log_density: Vec::new(),
        };
        drawn.log_law = drawn.tiled(&log_law);
        drawn.log_own = dispatch(Own { source, z: &drawn.z, log_law: &drawn.log_law });
        if plan.last {
            // Half of the memory of the largest stage.
            (drawn.z, drawn.log_law) = (Vec::new(), Vec::new());
        }
        Ok(drawn)
    }

    fn evaluate_one(&self, drawn: &mut Drawn, plan: Plan<'_>, chunk: usize) -> Result<()> {
        drawn.log_density.resize(drawn.n, 0.0);
        let x = Rows::new(&drawn.x, self.dim());
        evaluate(self.target, x, plan.before(chunk), &mut drawn.log_density)
    }

    /// One call for several chunks.
    fn evaluate_many(&self, group: &mut [Drawn], plan: Plan<'_>, chunk: usize) -> Result<()> {
        if let [drawn] = group {
            return self.evaluate_one(drawn, plan, chunk);
        }
        let x: Vec<f64> = group.iter().flat_map(|drawn| drawn.x.iter().copied()).collect();
        let x = Rows::new(&x, self.dim());
        let mut out = vec![0.0; x.len()];
        evaluate(self.target, x, plan.before(chunk), &mut out)?;
        let mut rest = out.as_slice();
        for drawn in group {
            let (own, others) = rest.split_at(drawn.n);
            drawn.log_density = own.to_vec();
            rest = others;
        }
        Ok(())
    }
}

/// The log-density of a sampler at its own points.
struct Own<'a> {
    source: &'a Proposal,
    z: &'a [V],
    log_law: &'a [V],
}

impl Kernel for Own<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let mut mixed = self.source.scratch();
        let mut out = Vec::with_capacity(self.log_law.len());
        for (t, tile) in self.z.chunks_exact(self.source.bank.dim()).enumerate() {
            mixed.eval::<FMA>(self.source, tile, &self.log_law[t..=t]);
            out.push(mixed.log_g);
        }
        out
    }
}
