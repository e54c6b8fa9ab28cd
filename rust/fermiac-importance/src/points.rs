//! All points of the adaptation, with the density they were drawn from (the balance heuristic).

use super::layout::Layout;
use super::problem::Batch;
use super::proposal::{Proposal, weight};
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln, ln1pv, lnv};
use fermiac_base::{Error, Result};
use std::ops::Range;

/// Tiles that one task works through.
pub(crate) const SPAN: usize = 512;

/// Points of several stages. Drawn in numbers `n_s` from densities `q_s`, they count as drawn from
/// h = Σ (n_s / n) q_s.
#[derive(Debug)]
pub(crate) struct Points {
    pub(crate) dim: usize,
    pub(crate) layout: Layout,
    /// Points in all.
    pub(crate) n: usize,
    /// Points in each tile: stages fill whole tiles.
    pub(crate) lanes: Vec<u8>,
    /// tiles × d
    pub(crate) z: Vec<V>,
    /// tiles × columns: the laws, and a given sampler.
    pub(crate) log_laws: Vec<V>,
    /// tiles × outputs
    pub(crate) values: Vec<V>,
    /// log Σ n_s q_s of every tile.
    log_sum: Vec<V>,
    sources: Vec<Source>,
}

/// A sampler that points were drawn from.
#[derive(Debug)]
struct Source {
    proposal: Proposal,
    count: usize,
    /// Its densities at all points; kept for the laws and the last two samplers, which are
    /// compared with each other.
    table: Option<Table>,
}

/// The densities of the groups of a sampler at every point: g_l = rho_l · exp(log_ref).
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// tiles × groups
    pub(crate) rho: Vec<V>,
    /// tiles
    pub(crate) log_ref: Vec<V>,
}

impl Table {
    pub(crate) fn extend(&mut self, other: Self) {
        self.rho.extend(other.rho);
        self.log_ref.extend(other.log_ref);
    }
}

/// The values at every point that the fits and the weights of the components need.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// f_j φ_j / h: tiles × J.
    pub(crate) u: Vec<V>,
    /// f / h, the laws averaged: tiles.
    pub(crate) base: Vec<V>,
    /// f_l / h: tiles × laws.
    pub(crate) laws: Vec<V>,
}

impl Points {
    /// With room for `capacity` points.
    pub(crate) fn new(dim: usize, layout: Layout, capacity: usize) -> Self {
        let tiles = super::layout::n_tiles(capacity);
        Self {
            dim,
            layout,
            n: 0,
            lanes: Vec::with_capacity(tiles),
            z: Vec::with_capacity(tiles * dim),
            log_laws: Vec::with_capacity(tiles * layout.columns),
            values: Vec::with_capacity(tiles * layout.outputs),
            log_sum: Vec::with_capacity(tiles),
            sources: Vec::new(),
        }
    }

    pub(crate) fn n_tiles(&self) -> usize {
        self.lanes.len()
    }

    /// Runs `work` over spans of tiles and hands the parts to `fold` in order.
    pub(crate) fn spans<T: Send>(
        &self,
        context: &Context<'_>,
        work: impl Fn(Range<usize>) -> T + Sync,
        mut fold: impl FnMut(T),
    ) -> Result<()> {
        let n_tiles = self.n_tiles();
        context.ordered(
            n_tiles.div_ceil(SPAN),
            |i| Ok(work(i * SPAN..((i + 1) * SPAN).min(n_tiles))),
            |_, part| {
                fold(part);
                Ok(())
            },
        )
    }

    /// Adds the batches that were drawn from `proposal`, whose densities at all earlier points and
    /// then at these are in `table`, and brings the balance density of all points up to date.
    pub(crate) fn append(
        &mut self,
        context: &Context<'_>,
        batches: Vec<Batch>,
        proposal: Proposal,
        table: Table,
    ) -> Result<()> {
        let old = self.n_tiles();
        let mut count = 0;
        for batch in batches {
            let tiles = super::layout::n_tiles(batch.n);
            self.lanes.extend((0..tiles).map(|t| super::layout::lanes(t, batch.n) as u8));
            self.z.extend_from_slice(&batch.z);
            self.log_laws.extend_from_slice(&batch.log_laws);
            self.values.extend_from_slice(&batch.values);
            count += batch.n;
        }
        self.n += count;
        self.log_sum.resize(self.n_tiles(), V::splat(f64::NEG_INFINITY));
        // Earlier samplers at the new points.
        let mut sources = std::mem::take(&mut self.sources);
        let last = sources.len();
        for (s, source) in sources.iter_mut().enumerate() {
            let mut new = Table::default();
            self.spans(
                context,
                |span| {
                    let span = span.start.max(old).min(span.end)..span.end;
                    dispatch(Visit { points: self, span, proposal: &source.proposal })
                },
                |part| new.extend(part),
            )?;
            let log_count = V::splat(ln(source.count as f64));
            dispatch(AddTo { sums: &mut self.log_sum[old..], logs: &new.log_ref, log_count });
            match &mut source.table {
                Some(table) if s == 0 || s + 1 == last => table.extend(new),
                table => *table = None,
            }
        }
        // The new sampler at all points.
        let log_count = ln(count as f64);
        let mut sums = Vec::with_capacity(self.n_tiles());
        self.spans(
            context,
            |span| {
                dispatch(Join { points: self, span, proposal: &proposal, table: &table, log_count })
            },
            |part: Vec<V>| sums.extend(part),
        )?;
        self.log_sum = sums;
        sources.push(Source { proposal, count, table: Some(table) });
        self.sources = sources;
        Ok(())
    }

    /// log h at tile `t`.
    #[inline(always)]
    pub(crate) fn log_h(&self, t: usize) -> V {
        let log_n = ln(self.n as f64);
        self.log_sum[t].map(|s| s - log_n)
    }

    /// The log-densities of the laws and of a given sampler at tile `t`.
    #[inline(always)]
    pub(crate) fn laws_at(&self, t: usize) -> &[V] {
        &self.log_laws[t * self.layout.columns..(t + 1) * self.layout.columns]
    }

    pub(crate) fn tables(&self, context: &Context<'_>) -> Result<Tables> {
        let mut all = Tables {
            u: Vec::with_capacity(self.n_tiles() * self.layout.len),
            base: Vec::with_capacity(self.n_tiles()),
            laws: Vec::with_capacity(self.n_tiles() * self.layout.n_laws),
        };
        self.spans(
            context,
            |span| dispatch(FillTables { points: self, span }),
            |part: Tables| {
                all.u.extend(part.u);
                all.base.extend(part.base);
                all.laws.extend(part.laws);
            },
        )?;
        Ok(all)
    }

    /// A sampler and its densities: of the laws (0) or one of the last two.
    pub(crate) fn source(&self, sampler: usize) -> Result<(&Proposal, &Table)> {
        let source = &self.sources[sampler];
        let table = source
            .table
            .as_ref()
            .ok_or_else(|| Error::Internal("densities of an old sampler are gone".into()))?;
        Ok((&source.proposal, table))
    }

    /// The densities of the groups of a proposal relative to h.
    pub(crate) fn ratios(&self, context: &Context<'_>, proposal: &Proposal) -> Result<Table> {
        // Room for as many new points as there are on average in a stage.
        let tiles = self.n_tiles() * (self.sources.len() + 1) / self.sources.len().max(1) + 1;
        let mut table = Table {
            rho: Vec::with_capacity(tiles * proposal.n_groups()),
            log_ref: Vec::with_capacity(tiles),
        };
        self.spans(
            context,
            |span| dispatch(Ratios { points: self, span, proposal }),
            |part: Vec<V>| table.rho.extend(part),
        )?;
        table.log_ref.extend((0..self.n_tiles()).map(|t| self.log_h(t)));
        Ok(table)
    }
}

/// log(eᵃ + eᵇ); -inf where both are.
#[inline(always)]
pub(super) fn log_add<const FMA: bool>(a: V, b: V) -> V {
    let (mut high, mut difference) = (V::ZERO, V::ZERO);
    for lane in 0..LANES {
        let (a, b) = (a.0[lane], b.0[lane]);
        let larger = if a > b { a } else { b };
        let smaller = if a > b { b } else { a };
        high.0[lane] = larger;
        difference.0[lane] = if larger == f64::NEG_INFINITY { larger } else { smaller - larger };
    }
    high + ln1pv::<FMA>(expv::<FMA>(difference))
}

/// A sampler at points that it was not yet evaluated at.
struct Visit<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
}

impl Kernel for Visit<'_> {
    type Output = Table;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Table {
        let d = self.points.dim;
        let mut mixed = self.proposal.scratch();
        let mut table = Table::default();
        for t in self.span {
            let tile = &self.points.z[t * d..(t + 1) * d];
            mixed.eval::<FMA>(self.proposal, tile, self.points.laws_at(t));
            table.rho.extend_from_slice(&mixed.ratios);
            table.log_ref.push(mixed.log_g);
        }
        table
    }
}

/// Adds samplers' densities to the balance density.
struct AddTo<'a> {
    sums: &'a mut [V],
    logs: &'a [V],
    log_count: V,
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for t in 0..self.sums.len() {
            self.sums[t] = log_add::<FMA>(self.sums[t], self.logs[t] + self.log_count);
        }
    }
}

/// g / exp(log_ref) of a sampler at tile `t`.
#[inline(always)]
pub(crate) fn relative<const FMA: bool>(
    proposal: &Proposal,
    table: &Table,
    t: usize,
    log_laws: &[V],
) -> V {
    let groups = proposal.n_groups();
    let mut sum = V::ZERO;
    if proposal.uses_laws() {
        for log in &log_laws[..proposal.n_laws] {
            sum = sum + expv::<FMA>(*log - table.log_ref[t]);
        }
        sum = sum * V::splat(proposal.base / proposal.n_laws as f64);
    }
    if proposal.given > 0.0 {
        let given = expv::<FMA>(log_laws[proposal.n_laws] - table.log_ref[t]);
        sum = given.mul_add::<FMA>(V::splat(proposal.given), sum);
    }
    let rho = &table.rho[t * groups..(t + 1) * groups];
    for l in 0..groups {
        let weight = proposal.fitted() * proposal.alpha[l];
        sum = rho[l].mul_add::<FMA>(V::splat(weight), sum);
    }
    sum
}

/// Adds a new sampler to the balance density.
struct Join<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
    table: &'a Table,
    log_count: f64,
}

impl Kernel for Join<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let mut out = Vec::with_capacity(self.span.len());
        for t in self.span {
            let sum = relative::<FMA>(self.proposal, self.table, t, self.points.laws_at(t));
            let log_q = lnv::<FMA>(sum) + self.table.log_ref[t];
            out.push(log_add::<FMA>(self.points.log_sum[t], log_q + V::splat(self.log_count)));
        }
        out
    }
}

struct FillTables<'a> {
    points: &'a Points,
    span: Range<usize>,
}

impl Kernel for FillTables<'_> {
    type Output = Tables;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Tables {
        let points = self.points;
        let layout = points.layout;
        let mut tables = Tables::default();
        let mut weights = vec![V::ZERO; layout.n_laws];
        for t in self.span {
            let log_h = points.log_h(t);
            let mut sum = V::ZERO;
            for (w, log) in weights.iter_mut().zip(points.laws_at(t)) {
                *w = weight::<FMA>(*log, log_h);
                sum = sum + *w;
            }
            tables.base.push(sum.map(|s| s / layout.n_laws as f64));
            tables.laws.extend_from_slice(&weights);
            let values = &points.values[t * layout.outputs..(t + 1) * layout.outputs];
            for j in 0..layout.len {
                tables.u.push(weights[layout.law(j)] * values[layout.output(j)]);
            }
        }
        tables
    }
}

struct Ratios<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
}

impl Kernel for Ratios<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let (points, p) = (self.points, self.proposal);
        let (d, n_groups) = (points.dim, p.n_groups());
        let mut centred = vec![V::ZERO; d];
        let mut out = vec![V::ZERO; self.span.len() * n_groups];
        for (t, row) in self.span.zip(out.chunks_exact_mut(n_groups)) {
            let log_h = points.log_h(t);
            let tile = &points.z[t * d..(t + 1) * d];
            for k in 0..p.bank.len() {
                let log = p.bank.log_density::<FMA>(k, tile, &mut centred);
                let ratio = expv::<FMA>(log - log_h);
                let group = &mut row[p.group[k]];
                *group = ratio.mul_add::<FMA>(V::splat(p.within[k]), *group);
            }
            // Padding carries no weight.
            for r in row.iter_mut() {
                r.0[usize::from(points.lanes[t])..LANES].fill(0.0);
            }
        }
        out
    }
}
