//! The training of maps from weighted points.
//!
//! The density of an axis follows the root of the mean square of the weighted values there, the rule
//! of G. P. Lepage (1978), "A new algorithm for adaptive multidimensional integration", Journal of
//! Computational Physics 27(2), with exponent ½. Its logarithm is smoothed by P. H. C. Eilers' (2003)
//! "A perfect smoother", Analytical Chemistry 75(14), with third differences, so that no smoothing
//! keeps every bin and the strongest leaves a parabola; the strength is chosen for each axis by the
//! variance that the fit to one half of the points gives the other.

use super::axis_map::AxisMap;
use fermiac_base::simd::{exp, ln};

/// Training points for each increment at least.
const POINTS: usize = 40;
/// Increments of an axis at most, and at least.
const MOST: usize = 512;
const LEAST: usize = 8;
/// The least mean square of a bin relative to that of all.
const FLOOR: f64 = 1e-4;
/// The third difference.
const THIRD: [f64; 4] = [-1.0, 3.0, -3.0, 1.0];
/// The strengths of the smoothing.
const STRENGTHS: [f64; 9] = [0.0, 1.0, 30.0, 1e3, 3e4, 1e6, 3e7, 1e9, 1e11];

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

impl Bins {
    fn of(count: usize, y: impl Iterator<Item = f64>, w: &[f64]) -> Self {
        let zeros = vec![0.0; count];
        let mut bins =
            Self { n: zeros.clone(), sum: zeros.clone(), squares: zeros.clone(), fourth: zeros };
        for (y, w) in y.zip(w) {
            let k = ((y * count as f64) as usize).min(count - 1);
            bins.n[k] += 1.0;
            bins.sum[k] += w;
            bins.squares[k] += w * w;
            bins.fourth[k] += (w * w) * (w * w);
        }
        bins
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

    /// Smoothed logarithms. Where the fit `keeps` jumps, a bin that is many of its errors away keeps its
    /// own, as at an end where the density is unbounded.
    fn smooth(&self, (strength, keeps): (f64, bool)) -> Vec<f64> {
        let logs = self.logs();
        let mut out = smoothed(&logs, strength);
        if !keeps {
            return out;
        }
        for (k, s) in out.iter_mut().enumerate() {
            let (n, squares) = (self.n[k], self.squares[k]);
            if n < ENOUGH || squares <= 0.0 {
                continue;
            }
            let spread = (n * self.fourth[k] / (squares * squares) - 1.0).max(0.01);
            if (logs[k] - *s).abs() > (APART * 0.5 * (spread / n).sqrt()).max(JUMP) {
                *s = logs[k];
            }
        }
        out
    }

    /// The logarithm of one over the second moment that follows from a density in bins.
    fn gain(&self, density: &[f64]) -> f64 {
        let total: f64 = density.iter().sum();
        let moment: f64 = self.squares.iter().zip(density).map(|(s, r)| s / r).sum();
        -ln(moment * total)
    }
}

/// Returns maps refined by points: their coordinates under the maps, n × d, and weighted values.
pub(super) fn refined(maps: &[AxisMap], y: &[f64], w: &[f64]) -> Vec<AxisMap> {
    let d = maps.len();
    let count = (w.len() / POINTS).clamp(LEAST, MOST);
    let half = w.len() / 2;
    let axis = |j: usize, from: usize, to: usize| {
        let column = y[from * d..to * d].iter().skip(j).step_by(d).copied();
        Bins::of(count, column, &w[from..to])
    };
    maps.iter()
        .enumerate()
        .map(|(j, map)| {
            let (first, second) = (axis(j, 0, half), axis(j, half, w.len()));
            let mut all = first.clone();
            all.add(&second);
            if all.sum.iter().sum::<f64>() <= 0.0 {
                return map.clone();
            }
            let fit = best_fit(&first, &second);
            let density: Vec<f64> = all.smooth(fit).into_iter().map(exp).collect();
            map.refined(&density)
        })
        .collect()
}

/// The strength of smoothing whose fit to each half gives the other the least variance, and whether
/// jumps are kept.
fn best_fit(first: &Bins, second: &Bins) -> (f64, bool) {
    let score = |fit: (f64, bool)| {
        let of = |from: &Bins, to: &Bins| {
            let density: Vec<f64> = from.smooth(fit).into_iter().map(exp).collect();
            to.gain(&density)
        };
        of(first, second) + of(second, first)
    };
    let mut best = (f64::NEG_INFINITY, (STRENGTHS[STRENGTHS.len() - 1], false));
    for keeps in [false, true] {
        for strength in STRENGTHS.into_iter().rev() {
            let score = score((strength, keeps));
            if score > best.0 {
                best = (score, (strength, keeps));
            }
        }
    }
    best.1
}

/// The numbers s that minimise Σ (s - l)² + strength · Σ (third differences of s)².
fn smoothed(logs: &[f64], strength: f64) -> Vec<f64> {
    let n = logs.len();
    if strength == 0.0 || n < 4 {
        return logs.to_vec();
    }
    // The matrix is banded: entry (i, i + k) at band[i][k].
    let mut band = vec![[1.0, 0.0, 0.0, 0.0]; n];
    for i in 0..n - 3 {
        for a in 0..4 {
            for b in a..4 {
                band[i + a][b - a] += strength * THIRD[a] * THIRD[b];
            }
        }
    }
    // L D Lᵀ.
    for i in 0..n {
        let pivot = band[i][0];
        let row = band[i];
        for a in 1..4.min(n - i) {
            let factor = row[a] / pivot;
            for b in a..4 {
                if i + a < n {
                    band[i + a][b - a] -= factor * row[b];
                }
            }
        }
    }
    let mut s = logs.to_vec();
    for i in 0..n {
        for a in 1..4.min(n - i) {
            s[i + a] -= band[i][a] / band[i][0] * s[i];
        }
    }
    for i in (0..n).rev() {
        let mut value = s[i] / band[i][0];
        for a in 1..4.min(n - i) {
            value -= band[i][a] / band[i][0] * s[i + a];
        }
        s[i] = value;
    }
    s
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
            let kept = smoothed(&parabola, strength);
            let worst = kept.iter().zip(&parabola).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-3, "{strength} {worst}");
        }
        let rough: Vec<f64> = (0..n).map(|k| if k % 3 == 0 { 1.0 } else { 0.0 }).collect();
        let s = smoothed(&rough, 30.0);
        let third: Vec<f64> = s.windows(4).map(|w| w[3] - 3.0 * w[2] + 3.0 * w[1] - w[0]).collect();
        for i in 3..s.len() - 3 {
            let bent = third[i - 3] - 3.0 * third[i - 2] + 3.0 * third[i - 1] - third[i];
            assert!((s[i] + 30.0 * bent - rough[i]).abs() < 1e-9);
        }
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
                    let (t, slope) = map.forward::<false>(fermiac_base::simd::V::splat(u));
                    value *= 0.5 / t.0[0].sqrt() * slope.0[0];
                }
                y.extend(u);
                w.push(value);
            }
            maps = refined(&maps, &y, &w);
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
