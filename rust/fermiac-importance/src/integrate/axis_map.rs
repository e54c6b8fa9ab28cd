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

/// Added to a number, it leaves the whole part in the last digits.
const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;

/// A monotone map of (0, 1) onto itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisMap {
    /// The images of 0, 1/K, …, 1.
    knots: Vec<f64>,
    /// Each knot, and the slope there in units of 1/K: a cell is two of them, one after the other.
    ends: Vec<[f64; 2]>,
    /// The cells of the ends of equal parts of (0, 1).
    guide: Vec<u32>,
    /// Halvings of the largest of these numbers of knots.
    steps: u32,
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
        let ends = knots.iter().enumerate().map(|(k, knot)| [*knot, slope(k)]).collect();
        let parts = 8 * widths.len();
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
        let most = guide.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        let steps = u32::BITS - most.leading_zeros();
        Self { knots, ends, guide, steps }
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
        let count = V::splat(self.len() as f64);
        let y = y * count;
        // The whole part by rounding half a unit below, in vectors; where that is a tie to one less,
        // the point is at the end of the cell before.
        let shifted = y - V::splat(0.5) + V::splat(ROUND);
        let p = y - (shifted - V::splat(ROUND));
        let mut at = [0; LANES];
        for l in 0..LANES {
            at[l] = shifted.0[l].to_bits() & 0xffff_ffff;
        }
        let cells = shuffle.pairs(&self.ends, at);
        let (t, slope) = Self::within::<FMA>(cells, p);
        (t, count * slope)
    }

    /// Cells.
    #[inline(always)]
    fn len(&self) -> usize {
        self.knots.len() - 1
    }

    /// Returns t and dt/dp at parts p of eight cells, given by their lower knots and slopes, and the upper
    /// ones.
    #[inline(always)]
    fn within<const FMA: bool>([start, low, end, high]: [V; 4], p: V) -> (V, V) {
        let width = end - start;
        let rest = V::splat(1.0) - p;
        let bump = p * rest;
        let twice = width + width;
        // Between next neighbours among the doubles it might be 0.
        let below = (low + high - twice).mul_add::<FMA>(bump, width);
        let part = width / below.max(V::splat(f64::MIN_POSITIVE));
        let t = part.mul_add::<FMA>((width * p).mul_add::<FMA>(p, low * bump), start);
        let bent = (low * rest).mul_add::<FMA>(rest, twice * bump);
        (t, (high * p).mul_add::<FMA>(p, bent) * (part * part))
    }

    /// Returns y and dt/dy at t.
    #[inline(always)]
    pub(super) fn inverse(&self, t: f64) -> (f64, f64) {
        let (y, slope) = self.inverse_at(Plain, V::splat(t));
        (y.0[0], slope.0[0])
    }

    /// The cells of eight points t.
    #[inline(always)]
    fn cells_of(&self, t: V) -> [u32; LANES] {
        // They are among those that the buckets of t touch. All lanes take as many steps as the largest
        // bucket needs, so that none waits for a branch.
        let parts = self.guide.len() - 1;
        let (mut k, mut length) = ([0_u32; LANES], [0_u32; LANES]);
        for lane in 0..LANES {
            let bucket = ((t.0[lane] * parts as f64) as usize).min(parts - 1);
            k[lane] = self.guide[bucket];
            length[lane] = self.guide[bucket + 1] - k[lane];
        }
        for _ in 0..self.steps {
            for lane in 0..LANES {
                let half = length[lane].div_ceil(2);
                let next = k[lane] + half;
                k[lane] = if self.knots[next as usize] <= t.0[lane] { next } else { k[lane] };
                length[lane] -= half;
            }
        }
        k
    }

    /// Returns y and dt/dy at eight points t.
    #[inline(always)]
    pub(super) fn inverse_at(&self, shuffle: impl Shuffle, t: V) -> (V, V) {
        let at = self.cells_of(t);
        let mut k = V::ZERO;
        for l in 0..LANES {
            k.0[l] = f64::from(at[l]);
        }
        let cells = shuffle.pairs(&self.ends, at.map(u64::from));
        let [start, low, end, high] = cells;
        let width = end - start;
        // p solves a p² + b p = what lies below it, where all of it is the width.
        let share = (t - start).max(V::ZERO).zip(width, |x, w| if x < w { x } else { w });
        // In units of the width, with one division fewer than without.
        let bend = low + high - (width + width);
        let (a, b) = ((width - low) * width + share * bend, low * width - share * bend);
        let root = (b * b + V::splat(4.0) * a * share * width).map(|x| x.max(0.0).sqrt());
        let p = (V::splat(2.0) * share * width / (b + root))
            .zip(share, |p, s| if s == 0.0 { 0.0 } else { p.min(1.0) });
        let y = (k + p) * V::splat(1.0 / self.len() as f64);
        let slope = Self::within::<false>(cells, p).1;
        (y.map(|y| y.min(1.0)), V::splat(self.len() as f64) * slope)
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
