//! The training of maps from weighted points.
//!
//! The density of an axis follows the root of the mean square of the weighted values there, the rule
//! of G. P. Lepage (1978), "A new algorithm for adaptive multidimensional integration", Journal of
//! Computational Physics 27(2), with exponent ½. Its logarithm is smoothed by P. H. C. Eilers' (2003)
//! "A perfect smoother", Analytical Chemistry 75(14), with third differences, so that no smoothing
//! keeps every bin and the strongest leaves a parabola; the strength is chosen for each axis by the
//! variance that the fit to one half of the points gives the other.

use super::axis_map::AxisMap;
use fermiac_base::simd::{LANES, V, exp_slice, ln};

/// Training points for each increment at least.
const POINTS: usize = 40;
/// Increments of an axis at most, and at least.
const MOST: usize = 512;
const LEAST: usize = 8;
/// Increments of a smooth map, about, and at least so many for each bin: it bends where they meet, and
/// each training starts from the bends of the map before.
const KNOTS: usize = 512;
const PARTS: usize = 2;
/// The least mean square of a bin relative to that of all.
const FLOOR: f64 = 1e-4;
/// The third difference.
const THIRD: [f64; 4] = [-1.0, 3.0, -3.0, 1.0];
/// The strengths of the smoothing.
const STRENGTHS: [f64; 9] = [0.0, 1.0, 30.0, 1e3, 3e4, 1e6, 3e7, 1e9, 1e11];
/// Fewer bins than this do not get so many of the weakest: by chance one of these is the best for the
/// first points of an axis in a hundred, and no later training makes the map smooth again.
const FEW_BINS: usize = 32;
const WEAK: usize = 3;

/// A bin keeps its own value if it differs by more standard errors than this, and has this many
/// points.
const APART: f64 = 3.5;
const ENOUGH: f64 = 10.0;
/// The least difference that counts as a jump.
const JUMP: f64 = 0.25;

/// The sums of the bins of one axis: points, weights, squared weights and their squares.
#[derive(Debug, Clone, Default)]
struct Bins {
    n: Vec<f64>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    fourth: Vec<f64>,
}

/// Points whose sums are made at a time, so that they stay in the cache while the axes take turns.
const BLOCK: usize = 2048;

/// The bins of points: a number for each axis.
#[derive(Debug, Clone, Default)]
pub(super) struct Binned {
    /// Bins of an axis.
    count: usize,
    /// n × d.
    bins: Vec<u16>,
}

impl Binned {
    /// None yet of `n` points that train maps.
    pub(super) fn new(n: usize) -> Self {
        Self { count: (n / POINTS).clamp(LEAST, MOST), bins: Vec::new() }
    }

    /// The bins of these coordinates under maps.
    pub(super) fn of(&self, y: &[f64]) -> Vec<u16> {
        let bin = |y: &f64| ((y * self.count as f64) as usize).min(self.count - 1) as u16;
        y.iter().map(bin).collect()
    }

    /// The points with these bins.
    pub(super) fn with(self, bins: Vec<u16>) -> Self {
        Self { bins, ..self }
    }

    /// The sums of points of all axes.
    fn sums(&self, d: usize, points: std::ops::Range<usize>, w: &[f64]) -> Vec<Bins> {
        let mut table = vec![[0.0; 4]; d * self.count];
        let rows = &self.bins[points.start * d..points.end * d];
        for (rows, w) in rows.chunks(BLOCK * d).zip(w[points].chunks(BLOCK)) {
            for (j, table) in table.chunks_exact_mut(self.count).enumerate() {
                for (bin, w) in rows.iter().skip(j).step_by(d).zip(w) {
                    let square = w * w;
                    let all = &mut table[usize::from(*bin)];
                    for (sum, x) in all.iter_mut().zip([1.0, *w, square, square * square]) {
                        *sum += x;
                    }
                }
            }
        }
        let column = |table: &[[f64; 4]], k: usize| table.iter().map(|sums| sums[k]).collect();
        table
            .chunks_exact(self.count)
            .map(|t| Bins {
                n: column(t, 0),
                sum: column(t, 1),
                squares: column(t, 2),
                fourth: column(t, 3),
            })
            .collect()
    }
}

impl Bins {
    /// Puts the expected numbers of points in place of those that there are, whose noise is not that of
    /// the values: a map on which all values are equal then stays as it is.
    fn expect(&mut self, shares: &[f64]) {
        let total: f64 = self.n.iter().sum();
        for (k, share) in shares.iter().enumerate() {
            if self.n[k] > 0.0 {
                let factor = total * share / self.n[k];
                for column in [&mut self.n, &mut self.sum, &mut self.squares, &mut self.fourth] {
                    column[k] *= factor;
                }
            }
        }
    }

    fn add(&mut self, other: &Self) {
        for (to, from) in [
            (&mut self.n, &other.n),
            (&mut self.sum, &other.sum),
            (&mut self.squares, &other.squares),
            (&mut self.fourth, &other.fourth),
        ] {
            to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
    }

    /// The logarithms of the density that is wanted in each bin, up to a constant.
    fn logs(&self) -> Vec<f64> {
        let products = || self.n.iter().zip(&self.squares).map(|(n, s)| n * s);
        let mean = products().sum::<f64>() / self.n.len() as f64;
        if !mean.is_finite() || mean <= 0.0 {
            return vec![0.0; self.n.len()];
        }
        products().map(|p| 0.5 * ln(p / mean + FLOOR)).collect()
    }

    /// Puts the own logarithms of bins that are many of their errors away from smoothed ones in place of
    /// these, as at an end where the density is unbounded. Returns whether there are any.
    fn keep_jumps(&self, logs: &[f64], smooth: &mut [f64]) -> bool {
        let mut some = false;
        for (k, s) in smooth.iter_mut().enumerate() {
            let (n, squares) = (self.n[k], self.squares[k]);
            let apart = (logs[k] - *s).abs();
            if n < ENOUGH || squares <= 0.0 || apart <= JUMP {
                continue;
            }
            let spread = (n * self.fourth[k] / (squares * squares) - 1.0).max(0.01);
            if apart > APART * 0.5 * (spread / n).sqrt() {
                *s = logs[k];
                some = true;
            }
        }
        some
    }
}

/// Returns maps refined by points: their bins under the maps, and weighted values. `base` is the share of
/// points that are uniform on the axes, where all others are uniform under the maps.
pub(super) fn refined(
    maps: &[AxisMap],
    points: &Binned,
    w: &[f64],
    base: Option<f64>,
) -> Vec<AxisMap> {
    let (d, count, half) = (maps.len(), points.count, w.len() / 2);
    let weakest = if count < FEW_BINS { WEAK } else { 0 };
    let smoothers: Vec<Smoother> =
        STRENGTHS[weakest..].iter().map(|s| Smoother::new(count, *s)).collect();
    let mut halves = [points.sums(d, 0..half, w), points.sums(d, half..w.len(), w)];
    if let Some(base) = base {
        for (j, map) in maps.iter().enumerate() {
            let shares = map.shares(count, base);
            halves.iter_mut().for_each(|half| half[j].expect(&shares));
        }
    }
    let [first, second] = &halves;
    // Both halves of some axes fill the lanes of a vector.
    let together = LANES / 2;
    let mut out = Vec::with_capacity(d);
    for (g, maps) in maps.chunks(together).enumerate() {
        let axes = g * together..g * together + maps.len();
        let logs: Vec<[Vec<f64>; 2]> =
            axes.clone().map(|j| [first[j].logs(), second[j].logs()]).collect();
        let smooth: Vec<Vec<V>> = smoothers.iter().map(|s| s.of(logs.as_flattened())).collect();
        for (k, (j, map)) in axes.zip(maps).enumerate() {
            let mut all = first[j].clone();
            all.add(&second[j]);
            if all.sum.iter().sum::<f64>() <= 0.0 {
                out.push(map.clone());
                continue;
            }
            let plain = |s: usize, h: usize| smooth[s].iter().map(|v| v.0[2 * k + h]).collect();
            let (smoother, keeps) = best_fit(&first[j], &second[j], &logs[k], &smoothers, plain);
            let logs = [all.logs()];
            let mut density: Vec<f64> = smoother.of(&logs).iter().map(|v| v.0[0]).collect();
            if keeps {
                all.keep_jumps(&logs[0], &mut density);
            } else if smoother.factors.is_some() {
                density = finer(&density, ((KNOTS + count / 2) / count).max(PARTS));
            }
            exp_slice(&mut density);
            out.push(map.refined(&density));
        }
    }
    out
}

/// Returns smooth numbers at the middles of equal steps at the middles of `parts` times as many steps, by
/// cubics through four of them.
fn finer(numbers: &[f64], parts: usize) -> Vec<f64> {
    let n = numbers.len();
    if parts < 2 || n < 4 {
        return numbers.to_vec();
    }
    (0..n * parts)
        .map(|i| {
            let x = (i as f64 + 0.5) / parts as f64 - 0.5;
            let k = (x.max(1.0) as usize).min(n - 3);
            let (p, [a, b, c, d]) = (x - k as f64, [0, 1, 2, 3].map(|j| numbers[k + j - 1]));
            let (q, r) = (1.0 - p, 2.0 - p);
            let outer = -p * q * (r * a + (1.0 + p) * d) / 6.0;
            outer + (1.0 + p) * r * (q * b + p * c) / 2.0
        })
        .collect()
}

/// The smoothing whose fit to each half gives the other the least variance, and whether jumps are kept.
/// The strongest wins of those that are as good within the error of the comparison: noise in a map costs
/// nets more than what is left of a smooth misfit. `smoothed` gives the logarithms of a half by a smoother.
fn best_fit<'a>(
    first: &Bins,
    second: &Bins,
    logs: &[Vec<f64>; 2],
    smoothers: &'a [Smoother],
    smoothed: impl Fn(usize, usize) -> Vec<f64>,
) -> (&'a Smoother, bool) {
    let both = [(first, second), (second, first)];
    // Of every fit the score, and for each half one over the densities.
    let mut fits = Vec::new();
    for (s, smoother) in smoothers.iter().enumerate().rev() {
        let mut plain = both.map(|_| Vec::new());
        let mut kept = both.map(|_| Vec::new());
        let mut differ = false;
        for (h, (from, _)) in both.iter().enumerate() {
            plain[h] = smoothed(s, h);
            kept[h].clone_from(&plain[h]);
            differ |= from.keep_jumps(&logs[h], &mut kept[h]);
        }
        fits.push(Fit::new((smoother, false), plain, &both));
        if differ {
            fits.push(Fit::new((smoother, true), kept, &both));
        }
    }
    let best = fits.iter().fold(&fits[0], |b, fit| if fit.score > b.score { fit } else { b });
    // Jumps are no noise.
    let close = |fit: &&Fit<'_>| {
        !(best.what.1 || fit.what.1) && fit.score >= best.score - fit.error(best, &both)
    };
    fits.iter().find(close).unwrap_or(best).what
}

/// A fit to each half, as the other sees it.
struct Fit<'a> {
    what: (&'a Smoother, bool),
    /// The logarithm of one over the second moment of both.
    score: f64,
    /// One over the densities, relative to the second moment.
    inverse: [Vec<f64>; 2],
}

impl<'a> Fit<'a> {
    fn new(what: (&'a Smoother, bool), logs: [Vec<f64>; 2], both: &[(&Bins, &Bins); 2]) -> Self {
        let mut score = 0.0;
        let mut inverse = logs;
        for (inverse, (_, to)) in inverse.iter_mut().zip(both) {
            exp_slice(inverse);
            let total: f64 = inverse.iter().sum();
            inverse.iter_mut().for_each(|r| *r = 1.0 / *r);
            let moment: f64 = to.squares.iter().zip(inverse.iter()).map(|(s, r)| s * r).sum();
            inverse.iter_mut().for_each(|r| *r /= moment);
            score -= ln(moment * total);
        }
        Self { what, score, inverse }
    }

    /// The standard error of the difference of two scores.
    fn error(&self, other: &Self, both: &[(&Bins, &Bins); 2]) -> f64 {
        let mut square = 0.0;
        for ((own, others), (_, to)) in self.inverse.iter().zip(&other.inverse).zip(both) {
            for ((a, b), fourth) in own.iter().zip(others).zip(&to.fourth) {
                square += fourth * (a - b) * (a - b);
            }
        }
        square.sqrt()
    }
}

/// A matrix that smooths n numbers l: those s that minimise Σ (s - l)² + strength · Σ (third differences
/// of s)².
struct Smoother {
    /// L D Lᵀ of the system, which is banded: the pivots, and the factors of each column. None where
    /// nothing is smoothed.
    factors: Option<Vec<(f64, [f64; 3])>>,
}

impl Smoother {
    fn new(n: usize, strength: f64) -> Self {
        if strength == 0.0 || n < 4 {
            return Self { factors: None };
        }
        // Entry (i, i + k) at band[i][k].
        let mut band = vec![[1.0, 0.0, 0.0, 0.0]; n];
        for i in 0..n - 3 {
            for a in 0..4 {
                for b in a..4 {
                    band[i + a][b - a] += strength * THIRD[a] * THIRD[b];
                }
            }
        }
        let mut factors = Vec::with_capacity(n);
        for i in 0..n {
            let row = band[i];
            let mut below = [0.0; 3];
            for a in 1..4.min(n - i) {
                below[a - 1] = row[a] / row[0];
                for b in a..4 {
                    band[i + a][b - a] -= below[a - 1] * row[b];
                }
            }
            factors.push((row[0], below));
        }
        Self { factors: Some(factors) }
    }

    /// Returns smoothed numbers: of up to eight rows, one in each lane. Each step waits for the last one,
    /// so that one row takes as long as eight.
    fn of(&self, logs: &[Vec<f64>]) -> Vec<V> {
        let n = logs.first().map_or(0, Vec::len);
        let mut s = vec![V::ZERO; n];
        for (lane, logs) in logs.iter().take(LANES).enumerate() {
            s.iter_mut().zip(logs).for_each(|(s, log)| s.0[lane] = *log);
        }
        let Some(factors) = &self.factors else { return s };
        for (i, (_, below)) in factors.iter().enumerate() {
            let value = s[i];
            for (to, factor) in s[(i + 1).min(n)..].iter_mut().zip(below) {
                *to = *to - V::splat(*factor) * value;
            }
        }
        for (i, (pivot, below)) in factors.iter().enumerate().rev() {
            let mut value = s[i] / V::splat(*pivot);
            for (s, factor) in s[(i + 1).min(n)..].iter().zip(below) {
                value = value - V::splat(*factor) * *s;
            }
            s[i] = value;
        }
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_parabolas_and_solves_its_equations() {
        let n = 40;
        let parabola: Vec<f64> =
            (0..n).map(|k| 0.01 * f64::from(k * k) - 0.3 * f64::from(k)).collect();
        for strength in STRENGTHS {
            let kept = Smoother::new(parabola.len(), strength).of(std::slice::from_ref(&parabola));
            let worst =
                kept.iter().zip(&parabola).map(|(a, b)| (a.0[0] - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-3, "{strength} {worst}");
        }
        let rough: Vec<f64> = (0..n).map(|k| if k % 3 == 0 { 1.0 } else { 0.0 }).collect();
        // In the last lane, beside others.
        let mut rows = vec![parabola; LANES - 1];
        rows.push(rough.clone());
        let s = Smoother::new(rough.len(), 30.0).of(&rows);
        let s: Vec<f64> = s.iter().map(|v| v.0[LANES - 1]).collect();
        let third: Vec<f64> = s.windows(4).map(|w| w[3] - 3.0 * w[2] + 3.0 * w[1] - w[0]).collect();
        for i in 3..s.len() - 3 {
            let bent = third[i - 3] - 3.0 * third[i - 2] + 3.0 * third[i - 1] - third[i];
            assert!((s[i] + 30.0 * bent - rough[i]).abs() < 1e-9);
        }
    }

    #[test]
    fn finer_steps_lie_on_a_cubic() {
        let cubic = |x: f64| 1.0 - x + 0.3 * x * x - 0.02 * x * x * x;
        let numbers: Vec<f64> = (0..9).map(|k| cubic(f64::from(k))).collect();
        for (i, value) in finer(&numbers, 4).into_iter().enumerate() {
            assert!((value - cubic((i as f64 + 0.5) / 4.0 - 0.5)).abs() < 1e-12);
        }
        assert_eq!(finer(&numbers, 1), numbers);
    }

    #[test]
    fn equal_values_leave_a_map_as_it_is() {
        let map = AxisMap::new(vec![0.0, 0.1, 0.15, 0.5, 0.52, 1.0]);
        let y: Vec<f64> =
            (1..4000).map(|i| (f64::from(i) * 0.618_033_988_749_895).fract()).collect();
        let none = Binned::new(y.len());
        let bins = none.of(&y);
        let points = none.with(bins);
        let w = vec![2.0; y.len()];
        let same = &refined(std::slice::from_ref(&map), &points, &w, Some(0.0))[0];
        for (k, t) in same.knots().iter().enumerate() {
            let y = k as f64 / (same.knots().len() - 1) as f64;
            let at = map.forward::<false>(V::splat(y)).0.0[0];
            assert!(y == 1.0 || (t - at).abs() < 1e-9, "{y}");
        }
        let shares = map.shares(8, 0.125);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn training_finds_a_product_density() {
        // The density ½ x^(-1/2) has quantiles q².
        let n = 20_000;
        let mut maps = vec![AxisMap::identity(); 2];
        for _ in 0..4 {
            let (mut y, mut w) = (Vec::new(), Vec::new());
            for i in 1..n {
                let i = f64::from(i);
                let u = [(i * 0.618_033_988_749_895).fract(), (i * 0.754_877_666_246_693).fract()];
                let mut value = 1.0;
                for (map, u) in maps.iter().zip(u) {
                    let (t, slope) = map.forward::<false>(V::splat(u));
                    value *= 0.5 / t.0[0].sqrt() * slope.0[0];
                }
                y.extend(u);
                w.push(value);
            }
            let none = Binned::new(w.len());
            let bins = none.of(&y);
            maps = refined(&maps, &none.with(bins), &w, None);
        }
        for map in &maps {
            let n = map.knots().len() - 1;
            for k in n / 10..n {
                let q = k as f64 / n as f64;
                assert!((map.knots()[k] - q * q).abs() < 0.01, "{q} {}", map.knots()[k]);
            }
        }
    }
}
