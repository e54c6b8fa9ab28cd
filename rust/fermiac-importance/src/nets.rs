//! Replicates of scrambled Sobol' nets as the points of a sampler.
//!
//! A point of a mixture is a function of d uniform numbers. The first of them also chooses the part: it
//! is stretched from the interval of the part to (0, 1). A Gaussian point is μ + A Φ⁻¹(u), with the
//! principal axes in A, the longest first, so that the best coordinates of a net move along them. A
//! Student-t point has the direction of a normal one, and a length of equal probability.

use super::component_bank::{ComponentBank, Tail};
use super::integrate::radial::Radial;
use super::proposal::Proposal;
use fermiac_base::Result;
use fermiac_base::alloc::room;
use fermiac_base::linalg::{Cholesky, SymmetricEigen, packed_start};
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::qmc::{Net, Scramble};
use fermiac_base::simd::normal_quantile_slice;
use std::ops::Range;

/// Shares are multiples of 1/64 for this many parts at most: the points of a net in each part are then
/// whole nets again.
const GRID: usize = 64;
const MOST_ALIGNED: usize = 32;
/// Axes whose squares are below this share of the largest are not exact.
const NARROW: f64 = 1e-10;

/// Replicates and their points, as many as can be used of `left`, or as `given`: 8 to 15 of a size that
/// is a power of two, 16 to 31 of few points.
pub(crate) fn sizes(left: usize, given: Option<usize>) -> (usize, usize) {
    let left = left.max(1);
    let power = |count: usize| (left / count).max(1).ilog2();
    let usual = || {
        let fewest = if left < 1 << 12 { 16 } else { 8 };
        (left >> power(fewest)).min(2 * fewest - 1)
    };
    let count = given.unwrap_or_else(usual).min(left);
    (count, 1 << power(count))
}

/// The replicates of a sampler, and which of their points are to be drawn.
#[derive(Debug)]
pub(crate) struct Nets {
    replicates: Vec<Net>,
    range: Range<usize>,
    mixture: UnitMixture,
}

impl Nets {
    /// `count` replicates for a sampler; `address` tells the samples of one key apart.
    pub(crate) fn new(
        context: &Context<'_>,
        proposal: &Proposal,
        key: u64,
        address: u64,
        count: usize,
    ) -> Result<Self> {
        let dim = proposal.bank.dim();
        let mut nets = room("n_replicates", count)?;
        context.ordered(
            count,
            |r| Net::new(dim, key, address + r as u64, Scramble::Linear),
            |_, net| {
                nets.push(net);
                Ok(())
            },
        )?;
        let mixture = UnitMixture::new(&proposal.bank, &proposal.strata())?;
        Ok(Self { replicates: nets, range: 0..0, mixture })
    }

    /// The same with other points to be drawn.
    pub(crate) fn go_on(&mut self, range: Range<usize>) {
        self.range = range;
    }

    /// The points of a replicate that are to be drawn.
    pub(crate) fn size(&self) -> usize {
        self.range.len()
    }

    fn per_replicate(&self) -> usize {
        self.range.len().div_ceil(CHUNK)
    }

    pub(crate) fn n_chunks(&self) -> usize {
        self.per_replicate() * self.replicates.len()
    }

    pub(crate) fn replicate(&self, chunk: usize) -> usize {
        chunk / self.per_replicate()
    }

    /// The points of a chunk within its replicate.
    pub(crate) fn rows(&self, chunk: usize) -> Range<usize> {
        let start = self.range.start + chunk % self.per_replicate() * CHUNK;
        start..(start + CHUNK).min(self.range.end)
    }

    /// Points of this range in the chunks before.
    pub(crate) fn before(&self, chunk: usize) -> usize {
        self.replicate(chunk) * self.range.len() + (self.rows(chunk).start - self.range.start)
    }

    /// Writes the uniform numbers of a chunk, those of one part after those of the other; returns how
    /// many there are in each, and writes where each stood.
    pub(crate) fn fill(
        &self,
        chunk: usize,
        raw: &mut Vec<f64>,
        sorted: &mut Vec<f64>,
        order: &mut Vec<usize>,
    ) -> Result<Vec<usize>> {
        let rows = self.rows(chunk);
        let net = &self.replicates[self.replicate(chunk)];
        raw.resize(rows.len() * net.dim(), 0.0);
        net.fill(rows.start as u64, raw)?;
        Ok(self.mixture.sort(raw, net.dim(), sorted, order))
    }

    /// Turns the uniform numbers of component `k` into its points.
    pub(crate) fn place(&self, bank: &ComponentBank, k: usize, u: &mut [f64], out: &mut [f64]) {
        self.mixture.place(bank, k, u, out);
    }
}

/// Rows of `width` numbers, each brought back to where it stood.
pub(crate) fn in_order(rows: &[f64], width: usize, order: &[usize]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len()];
    for (row, at) in rows.chunks_exact(width).zip(order) {
        out[at * width..(at + 1) * width].copy_from_slice(row);
    }
    out
}

/// A mixture as a map from the unit cube.
#[derive(Debug)]
pub(crate) struct UnitMixture {
    /// The ends of the intervals of the parts; parts without a share have none.
    ends: Vec<f64>,
    last: usize,
    /// The principal axes of each component, row-major.
    axes: Vec<f64>,
    radial: Option<Radial>,
}

impl UnitMixture {
    /// Parts with these shares, of which the first are the components of a bank.
    pub(crate) fn new(bank: &ComponentBank, shares: &[f64]) -> Result<Self> {
        let d = bank.dim();
        let mut axes = Vec::with_capacity(bank.len() * d * d);
        for k in 0..bank.len() {
            axes.extend(principal_axes(&bank.scale(k), d)?);
        }
        let mut sum = 0.0;
        let ends = shares
            .iter()
            .map(|share| {
                sum += share;
                sum
            })
            .collect();
        let radial = match bank.tail() {
            Tail::Student(df) if bank.len() > 0 => Some(Radial::new(d, df)),
            Tail::Student(_) | Tail::Gaussian => None,
        };
        let last = shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
        Ok(Self { ends, last, axes, radial })
    }

    /// The part of a first coordinate, which is moved to where it lies in it.
    pub(crate) fn part(&self, first: &mut f64) -> usize {
        if self.ends.len() == 1 {
            return 0;
        }
        let part = self.ends.partition_point(|end| *end <= *first).min(self.last);
        let start = if part > 0 { self.ends[part - 1] } else { 0.0 };
        let end = if part == self.last { 1.0 } else { self.ends[part] };
        // Strictly inside (0, 1), whatever the rounding.
        *first =
            ((*first - start) / (end - start)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
        part
    }

    /// The rows of `u` by their parts, each in the order of the rows; returns how many each has, and
    /// writes which row each was.
    pub(crate) fn sort(
        &self,
        u: &mut [f64],
        d: usize,
        sorted: &mut Vec<f64>,
        order: &mut Vec<usize>,
    ) -> Vec<usize> {
        let mut counts = vec![0; self.ends.len()];
        let parts: Vec<usize> = u.chunks_exact_mut(d).map(|row| self.part(&mut row[0])).collect();
        parts.iter().for_each(|part| counts[*part] += 1);
        let mut next = vec![0; counts.len()];
        for part in 1..counts.len() {
            next[part] = next[part - 1] + counts[part - 1];
        }
        sorted.resize(u.len(), 0.0);
        order.resize(parts.len(), 0);
        for (i, (row, part)) in u.chunks_exact(d).zip(&parts).enumerate() {
            let at = next[*part];
            sorted[at * d..(at + 1) * d].copy_from_slice(row);
            order[at] = i;
            next[*part] += 1;
        }
        counts
    }

    /// Turns uniform numbers of component `k`, which are used up, into its points.
    pub(crate) fn place(&self, bank: &ComponentBank, k: usize, u: &mut [f64], out: &mut [f64]) {
        let d = bank.dim();
        let (mean, axes) = (bank.mean(k), &self.axes[k * d * d..(k + 1) * d * d]);
        normal_quantile_slice(u);
        for (z, x) in u.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            let stretch = match &self.radial {
                Some(radial) => radial.stretch(z.iter().map(|z| z * z).sum::<f64>().sqrt()),
                None => 1.0,
            };
            for ((x, mean), axes) in x.iter_mut().zip(mean).zip(axes.chunks_exact(d)) {
                let along: f64 = axes.iter().zip(z).map(|(a, z)| a * z).sum();
                *x = mean + stretch * along;
            }
        }
    }
}

/// A with A Aᵀ = the matrix, its columns the principal axes, the longest first.
fn principal_axes(matrix: &[f64], d: usize) -> Result<Vec<f64>> {
    let eigen = SymmetricEigen::new(matrix, d)?;
    let mut axes = vec![0.0; d * d];
    if eigen.values[0] < NARROW * eigen.values[d - 1] {
        // The shortest axes are rounding; the triangle that the density is from is not.
        let cholesky = Cholesky::new(matrix, d)?;
        for i in 0..d {
            let start = packed_start(i);
            axes[i * d..=i * d + i].copy_from_slice(&cholesky.packed()[start..=start + i]);
        }
        return Ok(axes);
    }
    for k in 0..d {
        let from = d - 1 - k;
        let column = |i: usize| eigen.vectors[i * d + from];
        // The sign of an eigenvector is arbitrary; its largest entry is made positive.
        let top = (0..d).fold(0, |b, i| if column(i).abs() > column(b).abs() { i } else { b });
        let length = column(top).signum() * eigen.values[from].sqrt();
        for i in 0..d {
            axes[i * d + k] = length * column(i);
        }
    }
    Ok(axes)
}

impl Proposal {
    /// The same with shares that are multiples of 1/64, where there are few parts and one law.
    pub(crate) fn aligned(&self) -> Self {
        let strata = self.strata();
        let some = strata.iter().filter(|share| **share > 0.0).count();
        if self.n_laws > 1 || some > MOST_ALIGNED {
            return self.clone();
        }
        let parts = in_64ths(&strata);
        let share = |part: usize| parts[part] as f64 / GRID as f64;
        let components = self.bank.len();
        let mut out = self.clone();
        out.base = share(components);
        out.given = parts.get(components + 1).map_or(0.0, |_| share(components + 1));
        if components > 0 {
            out.alpha.fill(0.0);
            for (k, group) in self.group.iter().enumerate() {
                out.alpha[*group] += share(k) / out.fitted();
                out.within[k] = share(k);
            }
            out.normalise_groups();
        }
        out
    }
}

/// Shares as whole numbers of sum 64, at least 1 where there is a share, by the largest remainders.
fn in_64ths(shares: &[f64]) -> Vec<usize> {
    let some = shares.iter().filter(|share| **share > 0.0).count();
    let rest = (GRID - some) as f64;
    let exact: Vec<f64> =
        shares.iter().map(|s| if *s > 0.0 { 1.0 + rest * s } else { 0.0 }).collect();
    let mut parts: Vec<usize> = exact.iter().map(|e| *e as usize).collect();
    while parts.iter().sum::<usize>() < GRID {
        let lack = |k: usize| exact[k] - parts[k] as f64;
        let next = (0..parts.len()).fold(0, |b, k| if lack(k) > lack(b) { k } else { b });
        parts[next] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::component_bank::Fitted;

    #[test]
    fn sizes_use_eight_ninths_of_the_points() {
        for left in [40, 100, 1000, 4095, 4096, 10_000, 123_456, 1 << 20] {
            let (count, size) = sizes(left, None);
            assert!(count * size <= left && 9 * count * size >= 8 * left, "{left}");
            assert!(if left < 4096 { count >= 16 } else { (8..=15).contains(&count) });
        }
        assert_eq!(sizes(1000, Some(10)), (10, 64));
        assert_eq!(sizes(100, Some(1000)), (100, 1));
    }

    #[test]
    fn parts_have_their_shares_and_whole_intervals() {
        let bank = ComponentBank::new(2, Tail::Gaussian);
        let mixture = UnitMixture::new(&bank, &[0.25, 0.0, 0.5, 0.25]).unwrap();
        let mut u: Vec<f64> =
            (0..64).flat_map(|i| [(f64::from(i) + 0.5) / 64.0, f64::from(i)]).collect();
        let mut sorted = Vec::new();
        let mut order = Vec::new();
        assert_eq!(mixture.sort(&mut u, 2, &mut sorted, &mut order), vec![16, 0, 32, 16]);
        assert_eq!(order, (0..64).collect::<Vec<_>>());
        assert_eq!(&sorted[..2], &[0.5 / 16.0, 0.0]);
        assert_eq!(&sorted[32..34], &[0.5 / 32.0, 16.0]);
        assert_eq!(&sorted[126..], &[15.5 / 16.0, 63.0]);
    }

    #[test]
    fn aligned_shares_are_whole_64ths_and_keep_the_groups() {
        let mut proposal = Proposal::laws(1, 1);
        (proposal.base, proposal.alpha) = (0.05, vec![0.7, 0.3]);
        for (group, share) in [(0, 0.4), (0, 0.6), (1, 1.0)] {
            let fitted = Fitted { mean: vec![f64::from(group)], covariance: vec![1.0] };
            proposal.add(group as usize, share, &fitted).unwrap();
        }
        let aligned = proposal.aligned();
        let strata = aligned.strata();
        assert!((strata.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        for (new, old) in strata.iter().zip(proposal.strata()) {
            let parts = new * 64.0;
            assert!((parts - parts.round()).abs() < 1e-12 && (new - old).abs() < 1.0 / 32.0);
        }
        assert!((aligned.alpha.iter().sum::<f64>() - 1.0).abs() < 1e-15);
    }
}
