//! Exploration where an integrand is 0 at most points of the laws: regions of its mass may have been
//! met by a single point, or by none.

use super::component_bank::{ComponentBank, Fitted, Tail};
use super::fit;
use super::points::{Points, Table, Tables, relative};
use super::proposal::Proposal;
use super::seen::Seen;
use super::stage::Measured;
use super::steps::{Adapting, Part, Sign};
use fermiac_base::Result;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, expv, ln};
use std::ops::Range;

/// The share of the laws in the sampler where it explores.
const EXPLORING_BASE: f64 = 0.25;
/// A point of this many times the mean weight of the points where the integrand is not 0 lies in a
/// region that the components do not reach.
const FAR_WEIGHT: f64 = 50.0;
/// Components added at most: in a stage for each expectation, for a part in all, and over all parts.
const ROUNDS: usize = 4;
const MOST_OF_PART: usize = 8;
const MOST: usize = 64;
/// The share of a new component within its group; later ones are fitted, but not below the least.
const NEW_SHARE: f64 = 0.2;
const LEAST_SHARE: f64 = 0.05;
const EM_ITERATIONS: usize = 8;

/// A density of a group.
#[derive(Debug, Clone)]
pub(super) struct Region {
    pub(super) group: usize,
    /// Its share within the group.
    pub(super) share: f64,
    pub(super) fitted: Fitted,
}

impl Adapting<'_, '_, '_> {
    /// The share of the laws in the next sampler: larger where an integrand is 0 at most of their
    /// points and more may be hidden than the error that is forecast.
    pub(super) fn base(&self, seen: &Seen, measured: &[Measured], used: usize) -> f64 {
        let least = self.settings.defensive_base;
        let rest = (self.settings.n - used) as f64;
        let hidden = |(j, m): (usize, &Measured)| {
            seen.is_sparse(self.layout, j)
                && (seen.is_nothing(j) || seen.unseen(self.layout, j) > (m.variance / rest).sqrt())
        };
        if self.settings.explore && measured.iter().enumerate().any(hidden) {
            return least.max(EXPLORING_BASE);
        }
        least
    }

    /// Fits the shares and shapes of the densities of every group that has regions, by
    /// expectation-maximisation on the weights of its part (`weights`: tiles × `stride`).
    pub(super) fn refine(
        &self,
        densities: &mut [Region],
        regions: &mut [Region],
        weights: &[V],
        stride: usize,
        wide: &Fitted,
    ) -> Result<()> {
        let mut groups: Vec<usize> = regions.iter().map(|r| r.group).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let mut own: Vec<&mut Region> = densities
                .iter_mut()
                .chain(regions.iter_mut())
                .filter(|r| r.group == group)
                .collect();
            normalise(&mut own);
            for _ in 0..EM_ITERATIONS {
                let mut bank = ComponentBank::new(self.points.dim, Tail::Gaussian);
                for region in &own {
                    bank.push(&region.fitted)?;
                }
                let log_shares: Vec<f64> =
                    own.iter().map(|r| ln(r.share.max(exp(-700.0)))).collect();
                let points = &self.points;
                let mut split = Vec::with_capacity(points.n_tiles() * own.len());
                points.spans(
                    self.context,
                    |span| {
                        dispatch(Split {
                            points,
                            span,
                            weights,
                            column: (group, stride),
                            bank: &bank,
                            log_shares: &log_shares,
                        })
                    },
                    |part: Vec<V>| split.extend(part),
                )?;
                let moments = fit::moments(self.context, &self.points, &split, own.len())?;
                let total: f64 = moments.iter().map(|m| m.sum).sum();
                if total <= 0.0 {
                    break;
                }
                for (region, m) in own.iter_mut().zip(moments) {
                    region.share = m.sum / total;
                    // A component of a point or two keeps its shape.
                    if m.effective() >= 2.0 {
                        region.fitted = m.fitted.clone();
                        let diagonal = self.settings.diagonal;
                        fit::condition(&mut region.fitted, m.effective(), wide, diagonal)?;
                    }
                }
                normalise(&mut own);
            }
        }
        Ok(())
    }

    /// Adds a component at every point whose weight under the sampler says that no component reaches
    /// it; gives the densities of the sampler at all points.
    pub(super) fn add_missed(
        &self,
        proposal: &mut Proposal,
        tables: &Tables,
        (parts, thin): (&[Part], &[bool]),
        seen: &Seen,
        wide: &Fitted,
        regions: &mut Vec<Region>,
    ) -> Result<Table> {
        let mut table = self.points.ratios(self.context, proposal)?;
        let sparse: Vec<bool> =
            (0..self.layout.len).map(|j| seen.is_sparse(self.layout, j)).collect();
        if !self.settings.explore || !sparse.contains(&true) {
            return Ok(table);
        }
        for _ in 0..ROUNDS {
            let farthest = farthest(self.context, &self.points, proposal, &table, tables)?;
            let before = regions.len();
            for (j, far) in farthest.iter().enumerate().filter(|(j, _)| sparse[*j]) {
                let Some((tile, lane)) = far.at else { continue };
                let positive = tables.u[tile * self.layout.len + j].0[lane] > 0.0;
                let fits = |p: &Part| {
                    p.expectation == j
                        && match p.sign {
                            Sign::Either => true,
                            Sign::Positive => positive,
                            Sign::Negative => !positive,
                        }
                };
                let Some(group) = parts.iter().position(fits) else { continue };
                let so_far = regions.iter().filter(|r| r.group == group).count();
                // Where there is no fit yet, the first point met gives one.
                let first = thin[group] && so_far == 0;
                if !(first || far.weight > FAR_WEIGHT * far.mean())
                    || so_far >= MOST_OF_PART
                    || regions.len() >= MOST
                {
                    continue;
                }
                let d = self.points.dim;
                let at = &self.points.z[tile * d..(tile + 1) * d];
                let mean = at.iter().map(|z| z.0[lane]).collect();
                let fitted = Fitted { mean, covariance: wide.covariance.clone() };
                proposal.add(group, NEW_SHARE, &fitted)?;
                regions.push(Region { group, share: NEW_SHARE, fitted });
            }
            if regions.len() == before {
                break;
            }
            proposal.normalise_groups();
            table = self.points.ratios(self.context, proposal)?;
        }
        Ok(table)
    }
}

/// Makes the shares sum to 1, none below the least.
fn normalise(regions: &mut [&mut Region]) {
    let even = 1.0 / regions.len() as f64;
    let total: f64 = regions.iter().map(|r| r.share).sum();
    let least = LEAST_SHARE.min(even);
    let mut sum = 0.0;
    for region in regions.iter_mut() {
        region.share = if total > 0.0 { (region.share / total).max(least) } else { even };
        sum += region.share;
    }
    regions.iter_mut().for_each(|r| r.share /= sum);
}

/// The weights of one part times the probability of each density of its group at every point: tiles
/// × densities.
struct Split<'a> {
    points: &'a Points,
    span: Range<usize>,
    weights: &'a [V],
    /// The column of the part in the weights, and their width.
    column: (usize, usize),
    bank: &'a ComponentBank,
    log_shares: &'a [f64],
}

impl Kernel for Split<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let d = self.points.dim;
        let (column, stride) = self.column;
        let mut centred = vec![V::ZERO; d];
        let mut logs = vec![V::ZERO; self.bank.len()];
        let mut out = Vec::with_capacity(self.span.len() * logs.len());
        for t in self.span {
            let z = &self.points.z[t * d..(t + 1) * d];
            let w = self.weights[t * stride + column];
            let mut largest = V::splat(f64::NEG_INFINITY);
            for (k, log) in logs.iter_mut().enumerate() {
                let density = self.bank.log_density::<FMA>(k, z, &mut centred);
                *log = density + V::splat(self.log_shares[k]);
                largest = largest.max(*log);
            }
            let mut sum = V::ZERO;
            for log in &mut logs {
                *log = expv::<FMA>(*log - largest);
                sum = sum + *log;
            }
            out.extend(logs.iter().map(|p| w * (*p / sum)));
        }
        out
    }
}

/// The point of one expectation that a sampler reaches least.
#[derive(Debug, Clone, Default)]
struct Farthest {
    /// |f φ| / g there, and where it is.
    weight: f64,
    at: Option<(usize, usize)>,
    /// Σ |f φ| / h, and Σ g / h over the points where this is not 0.
    sum: f64,
    points: f64,
}

impl Farthest {
    /// The mean of |f φ| / g under g where it is not 0.
    fn mean(&self) -> f64 {
        if self.points > 0.0 { self.sum / self.points } else { 0.0 }
    }
}

fn farthest(
    context: &Context<'_>,
    points: &Points,
    proposal: &Proposal,
    table: &Table,
    tables: &Tables,
) -> Result<Vec<Farthest>> {
    let mut all = vec![Farthest::default(); points.layout.len];
    points.spans(
        context,
        |span| dispatch(Search { points, span, proposal, table, tables }),
        |part: Vec<Farthest>| {
            for (a, b) in all.iter_mut().zip(part) {
                if b.weight > a.weight {
                    (a.weight, a.at) = (b.weight, b.at);
                }
                a.sum += b.sum;
                a.points += b.points;
            }
        },
    )?;
    Ok(all)
}

struct Search<'a> {
    points: &'a Points,
    span: Range<usize>,
    proposal: &'a Proposal,
    table: &'a Table,
    tables: &'a Tables,
}

impl Kernel for Search<'_> {
    type Output = Vec<Farthest>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<Farthest> {
        let j = self.points.layout.len;
        let mut out = vec![Farthest::default(); j];
        for t in self.span {
            let tile = &self.tables.u[t * j..(t + 1) * j];
            if tile.iter().all(|u| u.0 == [0.0; LANES]) {
                continue;
            }
            // log_ref is that of h, so that this is g / h.
            let ratio = relative::<FMA>(self.proposal, self.table, t, self.points.laws_at(t));
            for (far, u) in out.iter_mut().zip(tile) {
                for lane in 0..usize::from(self.points.lanes[t]) {
                    let (u, ratio) = (u.0[lane].abs(), ratio.0[lane]);
                    if u > 0.0 {
                        far.sum += u;
                        far.points += ratio;
                        let weight = u / ratio;
                        if weight > far.weight {
                            (far.weight, far.at) = (weight, Some((t, lane)));
                        }
                    }
                }
            }
        }
        out
    }
}
