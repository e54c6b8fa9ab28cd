//! A normal copula on the unit cube, whose margins are piecewise linear in normal scores.

use crate::bound::Lower;
use fermiac_base::linalg::Cholesky;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{LANES, V, exp, ln};
use fermiac_base::special::{LN_SQRT_2PI, normal_survival, normal_survival_quantile};

/// The outermost normal score of a quantile, and the distance of two.
const OUTERMOST: f64 = 3.0;
const STEP: f64 = 0.5;
/// The score up to which the tails are continued; beyond it the density is constant up to the edge.
const EXTENDED: f64 = 4.5;
/// The score beyond which slopes tell by which factor they grow from one quantile to the next, and
/// the limits of that factor.
const TAIL: f64 = 1.0;
const GROWTH: [f64; 2] = [1.0, 2.0];
/// Tails are continued with more than that, since too light ones leave out a part of the target.
const HEAVIER: f64 = 1.15;
/// The least number of points beyond a quantile.
const BEYOND: f64 = 4.0;
/// The share of the unit matrix in correlations, so that they have a factor.
const RIDGE: f64 = 1e-3;
/// Sums of products of scores are those of blocks of so many points.
const BLOCK: usize = 512;

/// The map between a coordinate and its normal score.
#[derive(Debug, Clone)]
struct Margin {
    x: Vec<f64>,
    z: Vec<f64>,
    /// From each knot to the next: its value and score, the slope, and the ln of this.
    pieces: Vec<[f64; 4]>,
    /// The probabilities below the first score and above the last.
    below: f64,
    above: f64,
}

impl Margin {
    /// The margin of sorted values in [0, 1]; `None` if fewer than three quantiles differ.
    fn new(sorted: &[f64]) -> Option<Self> {
        let n = sorted.len() as f64;
        let (mut x, mut z) = (Vec::new(), Vec::new());
        let steps = (OUTERMOST / STEP) as i32;
        for k in -steps..=steps {
            let score = f64::from(k) * STEP;
            let beyond = normal_survival(score.abs());
            if beyond * n < BEYOND {
                continue;
            }
            let at = (normal_survival(-score) * n - 0.5).clamp(0.0, n - 1.0);
            let (low, part) = (at.floor(), at - at.floor());
            let next = sorted[(low as usize + 1).min(sorted.len() - 1)];
            let value = sorted[low as usize] * (1.0 - part) + next * part;
            if x.last().is_none_or(|last| value > *last) {
                x.push(value);
                z.push(score);
            }
        }
        if x.len() < 3 {
            return None;
        }
        extend(&mut x, &mut z, n, 1.0);
        // The lower tail is the upper one of the mirrored margin, which ends at 0.
        mirror(&mut x, &mut z);
        extend(&mut x, &mut z, n, 0.0);
        mirror(&mut x, &mut z);
        Some(Self::of(x, z))
    }

    /// The margin through knots with their scores.
    fn of(x: Vec<f64>, z: Vec<f64>) -> Self {
        let (below, above) = (normal_survival(-z[0]), normal_survival(z[z.len() - 1]));
        let steps = x.windows(2).zip(z.windows(2)).map(|(x, z)| {
            let slope = (z[1] - z[0]) / (x[1] - x[0]);
            [x[0], z[0], slope, ln(slope)]
        });
        Self { pieces: steps.collect(), x, z, below, above }
    }

    /// The margin with distances from its median that are `factor` times as long, within [0, 1].
    fn stretched(&self, factor: f64) -> Self {
        let median = self.value(0.0);
        let (mut x, mut z) = (Vec::new(), Vec::new());
        for (knot, score) in self.x.iter().zip(&self.z) {
            let far = median + factor * (knot - median);
            if far > 0.0 && far < 1.0 {
                x.push(far);
                z.push(*score);
            }
        }
        if x.len() < 2 {
            return self.clone();
        }
        Self::of(x, z)
    }

    /// The outer knots.
    #[inline(always)]
    fn ends(&self) -> [f64; 2] {
        [self.x[0], self.x[self.x.len() - 1]]
    }

    /// The score of a value strictly within (0, 1), and the ln of its derivative.
    fn score(&self, value: f64) -> [f64; 2] {
        let [low, high] = self.ends();
        if value < low || value >= high {
            return self.outer_score(value);
        }
        let k = self.pieces.partition_point(|piece| piece[0] <= value);
        let [x, z, slope, ln_slope] = self.pieces[k - 1];
        [z + slope * (value - x), ln_slope]
    }

    /// Those of a value beyond the outer knots.
    #[cold]
    fn outer_score(&self, value: f64) -> [f64; 2] {
        let outer = |probability: f64, width: f64, share: f64| {
            let size = normal_survival_quantile(probability * share.max(f64::MIN_POSITIVE));
            [size, ln(probability / width) + 0.5 * size * size + LN_SQRT_2PI]
        };
        let [low, high] = self.ends();
        if value < low {
            let [size, slope] = outer(self.below, low, value / low);
            return [-size, slope];
        }
        outer(self.above, 1.0 - high, (1.0 - value) / (1.0 - high))
    }

    /// The scores of eight values, and the ln of their derivatives.
    #[inline(always)]
    fn scores(&self, values: V) -> [V; 2] {
        // The last piece that begins at or below each value.
        let (mut x, mut z) = (V::ZERO, V::ZERO);
        let (mut slopes, mut ln_slopes) = (V::ZERO, V::ZERO);
        for &[knot, score, slope, ln_slope] in &self.pieces {
            let of_last = |last: V, new: f64| {
                values.zip(last, |value, last| if knot <= value { new } else { last })
            };
            x = of_last(x, knot);
            z = of_last(z, score);
            slopes = of_last(slopes, slope);
            ln_slopes = of_last(ln_slopes, ln_slope);
        }
        let mut scores = z + slopes * (values - x);
        let [low, high] = self.ends();
        if values.0.iter().any(|value| *value < low || *value >= high) {
            for l in 0..LANES {
                let value = values.0[l];
                if value < low || value >= high {
                    [scores.0[l], ln_slopes.0[l]] = self.outer_score(value);
                }
            }
        }
        [scores, ln_slopes]
    }

    /// The value with a score.
    fn value(&self, score: f64) -> f64 {
        let (x, z, n) = (&self.x, &self.z, self.x.len());
        if score < z[0] {
            return x[0] * (normal_survival(-score) / self.below);
        }
        if score > z[n - 1] {
            return 1.0 - (1.0 - x[n - 1]) * (normal_survival(score) / self.above);
        }
        let k = z.partition_point(|knot| *knot <= score).clamp(1, n - 1);
        x[k - 1] + (x[k] - x[k - 1]) * (score - z[k - 1]) / (z[k] - z[k - 1])
    }
}

/// Continues the upper tail of the quantiles `x` of `n` values with scores `z` up to an edge: distances
/// grow from score to score, by a constant factor fitted to those of the outer quantiles.
fn extend(x: &mut Vec<f64>, z: &mut Vec<f64>, n: f64, edge: f64) {
    let last = x.len() - 1;
    let distance = |k: usize| (x[k] - x[k - 1]) / (z[k] - z[k - 1]);
    // A weighted least-squares line through the logarithms of the distances. About as many values lie
    // between two quantiles as their inverse variance.
    let mut sums = [0.0; 5];
    let first = (z.partition_point(|score| *score < TAIL) + 1).min(last);
    for k in first..=last {
        let weight = n * (normal_survival(z[k - 1]) - normal_survival(z[k]));
        let (score, log) = (0.5 * (z[k - 1] + z[k]), ln(distance(k)));
        let terms = [1.0, score, log, score * score, score * log];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
    }
    let [weight, score, log, square, product] = sums;
    let (score, log) = (score / weight, log / weight);
    let spread = square / weight - score * score;
    let slope = if spread > 1e-9 { (product / weight - score * log) / spread } else { 0.0 };
    let growth = exp(STEP * slope).clamp(GROWTH[0], GROWTH[1]);
    let slope = ln(growth * HEAVIER) / STEP;
    let mut next = exp(log + ln(growth) / STEP * (z[last] - score));
    let (mut value, mut at) = (x[last], z[last]);
    while at < EXTENDED {
        let step = STEP.min(EXTENDED - at);
        next *= exp(slope * step);
        value += next * step;
        at += step;
        if value >= edge {
            break;
        }
        if value > x[x.len() - 1] {
            x.push(value);
            z.push(at);
        }
    }
}

/// Turns values and scores about 0.
fn mirror(x: &mut [f64], z: &mut [f64]) {
    for numbers in [x, z] {
        numbers.reverse();
        numbers.iter_mut().for_each(|number| *number = -*number);
    }
}

/// A normal copula with the margins of some points.
#[derive(Debug, Clone)]
pub(super) struct Copula {
    margins: Vec<Margin>,
    /// The factor of the correlations of scores.
    factor: Cholesky,
    /// Its inverse.
    inverse: Lower,
    ln_norm: f64,
}

impl Copula {
    /// The copula of rows in the unit cube; `None` if there are too few, or they do not vary.
    pub(super) fn fit(points: &[f64], dim: usize) -> Option<Self> {
        let n = points.len() / dim;
        let mut margins = Vec::with_capacity(dim);
        let mut column = Vec::with_capacity(n);
        for j in 0..dim {
            column.clear();
            column.extend(points.iter().skip(j).step_by(dim));
            column.sort_unstable_by(f64::total_cmp);
            margins.push(Margin::new(&column)?);
        }
        let mut products = vec![0.0; dim * dim];
        let mut scores = vec![0.0; dim];
        for block in points.chunks(BLOCK * dim) {
            let mut sums = vec![0.0; dim * dim];
            for row in block.chunks_exact(dim) {
                for ((score, margin), x) in scores.iter_mut().zip(&margins).zip(row) {
                    [*score, _] = margin.score(inside(*x));
                }
                for (a, sums) in sums.chunks_exact_mut(dim).enumerate() {
                    let score = scores[a];
                    sums[..=a].iter_mut().zip(&scores).for_each(|(sum, b)| *sum += score * b);
                }
            }
            products.iter_mut().zip(&sums).for_each(|(all, sum)| *all += sum);
        }
        let scale: Vec<f64> = (0..dim).map(|j| products[j * dim + j].sqrt()).collect();
        for (a, row) in products.chunks_exact_mut(dim).enumerate() {
            for (b, entry) in row[..=a].iter_mut().enumerate() {
                *entry = if a == b { 1.0 } else { (1.0 - RIDGE) * *entry / (scale[a] * scale[b]) };
            }
        }
        let factor = Cholesky::new(&products, dim).ok()?;
        let ln_norm = -0.5 * factor.log_determinant() - dim as f64 * LN_SQRT_2PI;
        let inverse = Lower::new(&factor.inverse_lower(), dim);
        Some(Self { margins, factor, inverse, ln_norm })
    }

    /// The number of parameters of a copula: the quantiles of margins, and correlations.
    pub(super) fn n_parameters(dim: usize) -> f64 {
        let quantiles = 2.0 * OUTERMOST / STEP + 1.0;
        dim as f64 * (quantiles + 0.5 * (dim as f64 - 1.0))
    }

    /// The copula with margins of some coordinates stretched about their medians.
    pub(super) fn stretched(&self, coordinates: &[usize], factor: f64) -> Self {
        let mut this = self.clone();
        for &j in coordinates {
            this.margins[j] = self.margins[j].stretched(factor);
        }
        this
    }

    /// The copula with the margins of other rows for some coordinates, or with even ones from their least to
    /// their greatest value; `None` if the rows are too few or do not vary.
    pub(super) fn with_margins(
        &self,
        coordinates: &[usize],
        rows: &[f64],
        dim: usize,
        is_even: bool,
    ) -> Option<Self> {
        let mut this = self.clone();
        for &j in coordinates {
            let mut column: Vec<f64> = rows.iter().skip(j).step_by(dim).copied().collect();
            column.sort_unstable_by(f64::total_cmp);
            if is_even && let [low, .., high] = column[..] {
                let (width, n) = (high - low, column.len() as f64);
                let even = (0..).map(|i| low + width * (f64::from(i) + 0.5) / n);
                column.iter_mut().zip(even).for_each(|(x, even)| *x = even);
            }
            this.margins[j] = Margin::new(&column)?;
        }
        Some(this)
    }

    /// The ln of the density at eight points of the open cube; `room` is scratch space.
    #[inline(always)]
    pub(super) fn ln_densities<const FMA: bool>(&self, tile: &[V], room: &mut Vec<V>) -> V {
        room.clear();
        let mut sum = V::splat(self.ln_norm);
        for (x, margin) in tile.iter().zip(&self.margins) {
            let [scores, slopes] = margin.scores(*x);
            sum = sum + slopes;
            room.push(scores);
        }
        let norms = self.inverse.norm_in_place::<FMA>(room);
        norms.mul_add::<FMA>(V::splat(-0.5), sum)
    }

    /// Draws a point.
    pub(super) fn draw(&self, stream: &mut Stream, room: &mut Vec<f64>, out: &mut [f64]) {
        room.resize(out.len(), 0.0);
        stream.fill_normal(room);
        for (i, (x, margin)) in out.iter_mut().zip(&self.margins).enumerate() {
            let score = self.factor.row(i).iter().zip(room.iter()).map(|(l, z)| l * z).sum();
            *x = margin.value(score);
        }
    }
}

/// A coordinate within the open interval.
#[inline(always)]
pub(super) fn inside(x: f64) -> f64 {
    x.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fermiac_base::rng::Domain;

    /// A skew and a narrow coordinate that depend on each other.
    fn points(n: usize) -> Vec<f64> {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        let mut out = Vec::new();
        for _ in 0..n {
            let (a, b) = (stream.normal(), stream.normal());
            out.extend([0.05 * exp(0.5 * a).min(19.0), 0.5 + 1e-4 * (0.8 * a + 0.6 * b)]);
        }
        out
    }

    #[test]
    fn a_margin_and_its_inverse_agree() {
        let mut values: Vec<f64> = points(2000).iter().step_by(2).copied().collect();
        values.sort_unstable_by(f64::total_cmp);
        let margin = Margin::new(&values).unwrap();
        for score in [-5.5, -4.0, -3.1, -1.0, 0.2, 2.9, 3.3, 5.0] {
            let [got, _] = margin.score(margin.value(score));
            assert!((got - score).abs() < 1e-7, "{score}: {got}");
        }
    }

    #[test]
    fn tails_go_on_as_their_quantiles_do() {
        // Student's t with three degrees of freedom as a ratio, and a normal law.
        let mut stream = Stream::new(3, Domain::User, 0, 0);
        let mut heavy = Vec::new();
        let mut light = Vec::new();
        for _ in 0..4000 {
            let squares = (0..3).map(|_| stream.normal().powi(2)).sum::<f64>() / 3.0;
            heavy.push(0.5 + stream.normal() / squares.sqrt() / 200.0);
            light.push(0.5 + stream.normal() / 200.0);
        }
        // The quantile of the score 4, which one point in 31,574 exceeds, is 29.9 and 4.
        for (mut values, low, high) in [(heavy, 20.0, 60.0), (light, 3.9, 5.0)] {
            values.sort_unstable_by(f64::total_cmp);
            let margin = Margin::new(&values).unwrap();
            for score in [-4.0, 4.0] {
                let size = 200.0 * (margin.value(score) - 0.5).abs();
                assert!((low..high).contains(&size), "{score}: {size}");
            }
        }
    }

    #[test]
    fn the_density_integrates_to_one() {
        // A midpoint rule in the scores of the margins would be circular: this one is in the cube.
        let copula = Copula::fit(&points(2000), 2).unwrap();
        let (n, mut sum, mut room) = (1500, 0.0, Vec::new());
        let edges = [0.0, 0.499, 0.5, 0.501, 1.0];
        for i in 0..n {
            let x = (f64::from(i) + 0.5) / f64::from(n);
            for pair in edges.windows(2) {
                let m = 400;
                let step = (pair[1] - pair[0]) / f64::from(m);
                for k in 0..m {
                    let y = pair[0] + (f64::from(k) + 0.5) * step;
                    let at = [x, y].map(V::splat);
                    let ln_density = copula.ln_densities::<false>(&at, &mut room).0[0];
                    sum += step * exp(ln_density) / f64::from(n);
                }
            }
        }
        assert!((sum - 1.0).abs() < 0.01, "{sum}");
    }

    #[test]
    fn draws_have_the_moments_of_the_points() {
        let points = points(4000);
        let copula = Copula::fit(&points, 2).unwrap();
        let mut stream = Stream::new(2, Domain::User, 0, 0);
        let (mut room, mut row, mut drawn) = (Vec::new(), [0.0; 2], Vec::new());
        for _ in 0..4000 {
            copula.draw(&mut stream, &mut room, &mut row);
            drawn.extend(row);
        }
        let moments = |x: &[f64]| {
            let n = (x.len() / 2) as f64;
            let mean = |f: fn(&[f64]) -> f64| x.chunks_exact(2).map(f).sum::<f64>() / n;
            let (a, b) = (mean(|r| r[0]), mean(|r| 1e4 * (r[1] - 0.5)));
            let product = mean(|r| r[0] * 1e4 * (r[1] - 0.5));
            [a, b, product - a * b]
        };
        let (got, want) = (moments(&drawn), moments(&points));
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 0.08 * want.abs().max(0.5), "{got} {want}");
        }
    }

    #[test]
    fn points_that_do_not_vary_have_none() {
        assert!(Copula::fit(&[0.5; 400], 2).is_none());
    }
}
