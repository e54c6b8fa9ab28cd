//! The smooth map of one axis: a monotone function of (0, 1) with a continuous density.
//!
//! The quantile function t(y) goes through given knots at equal steps of y, and between them it is a
//! rational function with quadratic numerator and denominator: J. A. Gregory and R. Delbourgo (1982),
//! "Piecewise rational quadratic interpolation to monotonic data", IMA Journal of Numerical Analysis
//! 2(2). The slope at a knot is the harmonic mean of the slopes of its two cells, so that it is at
//! most twice the smaller of them, and the density in a cell is never far from its mean. Unlike a
//! cubic, it is inverted by solving one quadratic equation.

use fermiac_base::simd::{LANES, Plain, Shuffle, V};

/// The slopes at the ends of an axis, in units of that of their cell.
const LEAST_END: f64 = 0.02;
const MOST_END: f64 = 1.75;

/// Parts of the guide for each cell.
const GUIDE: usize = 4;
/// Added to a number, it leaves the whole part in the last digits.
const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;

/// A monotone map of (0, 1) onto itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisMap {
    /// The images of 0, 1/K, …, 1.
    knots: Vec<f64>,
    /// Of each cell its start, its width, and the slopes at its ends in units of the width.
    cells: Vec<[f64; 4]>,
    /// The same with one over the width, for the inverse.
    inverse_cells: Vec<[f64; 4]>,
    /// The cells of the ends of equal parts of (0, 1).
    guide: Vec<u32>,
}

impl AxisMap {
    /// The identity.
    pub(super) fn identity() -> Self {
        Self::new(vec![0.0, 1.0])
    }

    /// Returns the map through these increasing knots, the first 0 and the last 1.
    pub fn new(knots: Vec<f64>) -> Self {
        let widths: Vec<f64> = knots.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let last = widths.len() - 1;
        // At the ends of the axis it is that of the parabola through the first two cells. Where these
        // differ much it is that with which the middle of the cell lies on the power of y through them,
        // as where a density is unbounded.
        let end = |own: f64, next: f64| {
            let ratio = next / own;
            let parabola = 0.5 * (3.0 - ratio);
            let middle = 1.0 / (1.0 + ratio);
            let power =
                (2.0 * middle + middle * 2.0 * ratio / (1.0 + ratio) - 1.0) / (1.0 - middle);
            let share = ((ratio - 1.25) / 0.75).clamp(0.0, 1.0);
            (parabola + share * (power - parabola)).clamp(LEAST_END, MOST_END)
        };
        // At inner knots it is the harmonic mean of the slopes of both cells.
        let slope = |k: usize| match k {
            0 if last == 0 => widths[0],
            0 => widths[0] * end(widths[0], widths[1]),
            k if k > last && last == 0 => widths[0],
            k if k > last => widths[last] * end(widths[last], widths[last - 1]),
            k => {
                let (below, above) = (widths[k - 1], widths[k]);
                2.0 * above / (below + above) * below
            }
        };
        let cells: Vec<[f64; 4]> = widths
            .iter()
            .enumerate()
            .map(|(k, width)| [knots[k], *width, slope(k) / width, slope(k + 1) / width])
            .collect();
        let inverse_cells = cells
            .iter()
            .map(|[start, width, low, high]| [*start, 1.0 / width, *low, *high])
            .collect();
        // Few parts, as the guides of all axes are to stay in the first cache.
        let parts = GUIDE * widths.len();
        let mut below = 0;
        let guide: Vec<u32> = (0..=parts)
            .map(|k| {
                let t = k as f64 / parts as f64;
                while below < last && knots[below + 1] <= t {
                    below += 1;
                }
                below as u32
            })
            .collect();
        Self { knots, cells, inverse_cells, guide }
    }

    /// The knots.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// Returns t and dt/dy at eight points.
    #[inline(always)]
    pub(super) fn forward<const FMA: bool>(&self, y: V) -> (V, V) {
        self.forward_by::<FMA, _>(Plain, y)
    }

    /// The same with the shuffles of the level, for loops.
    #[inline(always)]
    pub(super) fn forward_by<const FMA: bool, S: Shuffle>(&self, shuffle: S, y: V) -> (V, V) {
        let place = self.locate::<FMA, _>(shuffle, y);
        place.point::<FMA>(V::splat(1.0) / place.below)
    }

    /// The same for two axes, with one division for both: divisions were a third of the time.
    #[inline(always)]
    pub(super) fn forward_pair<const FMA: bool, S: Shuffle>(
        maps: [&Self; 2],
        shuffle: S,
        y: [V; 2],
    ) -> [(V, V); 2] {
        let a = maps[0].locate::<FMA, _>(shuffle, y[0]);
        let b = maps[1].locate::<FMA, _>(shuffle, y[1]);
        // Both lie between 1/2 and 2.
        let inverse = V::splat(1.0) / (a.below * b.below);
        [a.point::<FMA>(inverse * b.below), b.point::<FMA>(inverse * a.below)]
    }

    /// The cells of eight points y, and where these lie in them.
    #[inline(always)]
    fn locate<const FMA: bool, S: Shuffle>(&self, shuffle: S, y: V) -> Place {
        let count = V::splat(self.cells.len() as f64);
        let y = y * count;
        // The whole part by rounding half a unit below, in vectors; where that is a tie to one less,
        // the point is at the end of the cell before.
        let shifted = y - V::splat(0.5) + V::splat(ROUND);
        let p = y - (shifted - V::splat(ROUND));
        let mut at = [0; LANES];
        for l in 0..LANES {
            at[l] = shifted.0[l].to_bits() & 0xffff_ffff;
        }
        let cell = shuffle.entries(&self.cells, at);
        let bump = p * (V::splat(1.0) - p);
        Place { cell, count, p, bump, below: below::<FMA>(cell, bump) }
    }

    /// Returns y and dt/dy at t.
    #[inline(always)]
    pub(super) fn inverse(&self, t: f64) -> (f64, f64) {
        let solved = self.solve(Plain, V::splat(t));
        (solved.y.0[0], solved.above.0[0] / solved.below.0[0])
    }

    /// The cells from which a search for those of eight points t goes up.
    #[inline(always)]
    fn below(&self, t: V) -> [u64; LANES] {
        let parts = self.guide.len() - 1;
        // As in `locate`: the part, or one less.
        let part = t * V::splat(parts as f64) - V::splat(0.5) + V::splat(ROUND);
        let mut at = [0; LANES];
        for l in 0..LANES {
            at[l] = part.0[l].to_bits() & 0xffff_ffff;
        }
        for at in &mut at {
            *at = u64::from(self.guide.get(*at as usize).copied().unwrap_or(0));
        }
        at
    }

    /// Returns y at eight points t, and dt/dy as a fraction.
    #[inline(always)]
    pub(super) fn solve(&self, shuffle: impl Shuffle, t: V) -> Solved {
        let last = self.cells.len() as u64 - 1;
        let mut at = self.below(t);
        let (mut cell, mut share);
        // A lane goes one up in eight cases.
        loop {
            cell = shuffle.entries(&self.inverse_cells, at);
            share = (t - cell[0]) * cell[1];
            let mut is_above = 0;
            for l in 0..LANES {
                let up = u64::from(share.0[l] >= 1.0) & u64::from(at[l] < last);
                at[l] += up;
                is_above |= up;
            }
            if is_above == 0 {
                break;
            }
        }
        let mut k = V::ZERO;
        for l in 0..LANES {
            k.0[l] = at[l] as f64;
        }
        let [_, inverse_width, low, high] = cell;
        // p solves a p² + b p = the share of the cell below it.
        let share = share.map(|x| if x > 0.0 { x } else { 0.0 }).map(|x| x.min(1.0));
        let bent = share * (low + high - V::splat(2.0));
        let (a, b) = (V::splat(1.0) - low + bent, low - bent);
        let root = (b * b + V::splat(4.0) * a * share).map(|x| x.max(0.0).sqrt());
        let p = (V::splat(2.0) * share / (b + root))
            .zip(share, |p, s| if s == 0.0 { 0.0 } else { p.min(1.0) });
        let inverse_count = V::splat(1.0 / self.cells.len() as f64);
        // The derivative of the left side is the root.
        let below = below::<false>(cell, p * (V::splat(1.0) - p));
        Solved {
            y: ((k + p) * inverse_count).map(|y| y.min(1.0)),
            above: root,
            below: below * inverse_width * inverse_count,
        }
    }

    /// Returns the map whose density is that of this one times `factors`, given at the middles of
    /// equal steps of y and as a whole of any size.
    pub(super) fn refined(&self, factors: &[f64]) -> Self {
        let n = factors.len();
        // The density between the middles is linear, so that the new knots lie smoothly; at the ends
        // of the axis it goes on as a power.
        let beyond = |end: f64, next: f64| end * (end / next).clamp(0.25, 4.0).sqrt();
        let edges: Vec<f64> = (0..=n)
            .map(|k| match k {
                0 => beyond(factors[0], factors[1]),
                k if k == n => beyond(factors[n - 1], factors[n - 2]),
                k => f64::midpoint(factors[k - 1], factors[k]),
            })
            .collect();
        let masses: Vec<f64> = edges.windows(2).map(|e| f64::midpoint(e[0], e[1])).collect();
        let total: f64 = masses.iter().sum();
        let mut knots = Vec::with_capacity(n + 1);
        knots.push(0.0);
        let (mut bin, mut before) = (0, 0.0);
        for k in 1..n {
            let wanted = total * k as f64 / n as f64;
            while bin + 1 < n && before + masses[bin] < wanted {
                before += masses[bin];
                bin += 1;
            }
            // p with e₀ p + (e₁ - e₀) p² / 2 = the rest of the mass.
            let (low, high) = (edges[bin], edges[bin + 1]);
            let rest = (wanted - before).max(0.0);
            let root = (low * low + 2.0 * (high - low) * rest).max(0.0).sqrt();
            let p = if rest > 0.0 { (2.0 * rest / (low + root)).min(1.0) } else { 0.0 };
            let y = (bin as f64 + p) / n as f64;
            knots.push(self.at(y));
        }
        knots.push(1.0);
        // Rounding may bring two knots together where the density is very large.
        for k in 1..=n {
            if knots[k] <= knots[k - 1] {
                knots[k] = knots[k - 1].next_up();
            }
        }
        for k in (0..n).rev() {
            if knots[k] >= knots[k + 1] {
                knots[k] = knots[k + 1].next_down();
            }
        }
        Self::new(knots)
    }

    /// The shares of points in equal steps of y, where a part `base` of them is uniform in t and the
    /// others are in y.
    pub(super) fn shares(&self, count: usize, base: f64) -> Vec<f64> {
        let step = 1.0 / count as f64;
        let ends: Vec<f64> = (0..=count).map(|k| self.at(k as f64 * step)).collect();
        ends.windows(2).map(|t| base * (t[1] - t[0]) + (1.0 - base) * step).collect()
    }

    /// The image of y; `forward` is for y < 1, and maps 1 to the start of the last cell.
    fn at(&self, y: f64) -> f64 {
        if y < 1.0 { self.forward::<false>(V::splat(y)).0.0[0] } else { 1.0 }
    }
}

/// The denominator at p, in units of the width, from p (1 - p).
#[inline(always)]
fn below<const FMA: bool>([_, _, low, high]: [V; 4], bump: V) -> V {
    (low + high - V::splat(2.0)).mul_add::<FMA>(bump, V::splat(1.0))
}

/// Where eight points lie: their cells, the parts p of these below them, p (1 - p), and the
/// denominators.
struct Place {
    cell: [V; 4],
    count: V,
    p: V,
    bump: V,
    below: V,
}

impl Place {
    /// Returns t and dt/dy, from one over the denominator.
    #[inline(always)]
    fn point<const FMA: bool>(&self, inverse: V) -> (V, V) {
        let ([start, width, low, high], p, bump) = (self.cell, self.p, self.bump);
        let t = (width * inverse).mul_add::<FMA>(p.mul_add::<FMA>(p, low * bump), start);
        let rest = V::splat(1.0) - p;
        let bent = (low * rest).mul_add::<FMA>(rest, bump + bump);
        let slope = (high * p).mul_add::<FMA>(p, bent) * (inverse * inverse);
        (t, self.count * width * slope)
    }
}

/// Eight solutions y, with dt/dy = above / below.
pub(super) struct Solved {
    pub(super) y: V,
    pub(super) above: V,
    pub(super) below: V,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> AxisMap {
        AxisMap::new(vec![0.0, 0.1, 0.15, 0.5, 0.52, 1.0])
    }

    #[test]
    fn a_map_is_monotone_and_its_inverse_is_one() {
        let map = some();
        let (mut last, h) = (0.0, 1e-7);
        for i in 1..500 {
            let y = f64::from(i) / 500.0;
            let (t, slope) = map.forward::<false>(V::splat(y));
            assert!(t.0[0] > last);
            last = t.0[0];
            let (back, same) = map.inverse(last);
            assert!((back - y).abs() < 1e-12, "{y} {back}");
            assert!((same / slope.0[0] - 1.0).abs() < 1e-9);
            let difference = (map.at(y + h) - map.at(y - h)) / (2.0 * h);
            assert!((difference / slope.0[0] - 1.0).abs() < 1e-4, "{y}");
        }
        assert_eq!(map.inverse(0.0).0, 0.0);
        assert_eq!(map.inverse(1.0).0, 1.0);
    }

    #[test]
    fn the_density_is_continuous_and_near_its_mean_in_a_cell() {
        let map = some();
        for k in 1..5 {
            let y = f64::from(k) / 5.0;
            let (low, high) = (
                map.forward::<false>(V::splat(y - 1e-9)),
                map.forward::<false>(V::splat(y + 1e-9)),
            );
            assert!((low.1.0[0] / high.1.0[0] - 1.0).abs() < 1e-6);
        }
        for i in 1..1000 {
            let y = f64::from(i) / 1000.0;
            let k = (y * 5.0) as usize;
            let width = map.knots[k + 1] - map.knots[k];
            let slope = map.forward::<false>(V::splat(y)).1.0[0] / (5.0 * width);
            assert!((0.02..=2.01).contains(&slope), "{y} {slope}");
        }
    }

    #[test]
    fn the_shares_of_points_are_those_of_the_law() {
        // For any number of cells and bins: the last bin ends at 1.
        for cells in [1_u32, 2, 5, 8, 349, 496] {
            let map = AxisMap::new(
                (0..=cells).map(|k| (f64::from(k) / f64::from(cells)).powf(1.4)).collect(),
            );
            for count in [8, 62, 349] {
                let shares = map.shares(count, 0.125);
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{cells} {count}");
                let last = 1.0 - map.at(1.0 - 1.0 / count as f64);
                let wanted = 0.125 * last + 0.875 / count as f64;
                assert!((shares[count - 1] - wanted).abs() < 1e-12, "{cells} {count}");
            }
        }
    }

    #[test]
    fn refining_follows_a_density() {
        // 3/2 · √y has quantiles q^(2/3).
        let n = 64;
        let factors: Vec<f64> = (0..n).map(|k| ((k as f64 + 0.5) / n as f64).sqrt()).collect();
        let map = AxisMap::identity().refined(&factors);
        for k in 4..n {
            let q = k as f64 / n as f64;
            assert!((map.knots()[k] - q.powf(2.0 / 3.0)).abs() < 2e-4);
        }
        // A second factor multiplies the first.
        let twice = map.refined(&vec![1.0; n]);
        let apart = map.knots().iter().zip(twice.knots()).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-12);
    }
}
