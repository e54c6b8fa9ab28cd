//! Mixtures of multivariate Student's t laws, fitted by expectation and maximisation.

use crate::bound::Lower;
use fermiac_base::Result;
use fermiac_base::linalg::{Cholesky, GRAM_BLOCK, add_gram, packed, packed_len, packed_start};
use fermiac_base::par::Context;
use fermiac_base::rng::Stream;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, expv, ln, ln1pv, lnv};
use fermiac_base::special::ln_gamma;

/// The degrees of freedom: tails that are heavier than those of most posteriors.
const DF: f64 = 4.0;
/// Variances below this are those of equal numbers.
const ROUNDING: f64 = 1e-28;
/// Added to each variance, as a share of it.
const RIDGE: f64 = 1e-9;
/// The largest number of steps of a fit, and the gain of the mean log-likelihood at which it ends.
const STEPS: usize = 20;
const GAIN: f64 = 1e-3;
/// The largest number of parts to begin with, and after splits.
const MOST: usize = 64;
const MOST_SPLIT: usize = 32;
/// While the parts have fewer entries of scale matrices, splits go on even if one did not pay: halves
/// of many modes are not better than the whole.
const CHEAP: usize = 200;
/// Points with a smaller share in a part do not count for it.
const LEAST_SHARE: f64 = 1e-6;
/// Points of one task.
const ROWS: usize = 256;
/// Steps of the power iteration for a major axis.
const POWER: usize = 12;

/// A Student's t law.
#[derive(Debug, Clone)]
pub(super) struct Student {
    pub(super) mean: Vec<f64>,
    /// The factor of the scale matrix.
    pub(super) factor: Cholesky,
    /// The inverse of the factor.
    inverse: Lower,
    df: f64,
    ln_norm: f64,
}

impl Student {
    pub(super) fn new(mean: Vec<f64>, factor: Cholesky, df: f64) -> Self {
        let d = mean.len() as f64;
        let ln_norm = ln_gamma(0.5 * (df + d))
            - ln_gamma(0.5 * df)
            - 0.5 * d * ln(df * std::f64::consts::PI)
            - 0.5 * factor.log_determinant();
        let inverse = Lower::new(&factor.inverse_lower(), mean.len());
        Self { mean, factor, inverse, df, ln_norm }
    }

    /// The law with a scale matrix of which the lower triangle is given.
    pub(super) fn of(mean: Vec<f64>, scale: &mut [f64]) -> Option<Self> {
        let d = mean.len();
        scale.iter_mut().step_by(d + 1).for_each(|x| *x *= 1.0 + RIDGE);
        let factor = Cholesky::new(scale, d).ok()?;
        Some(Self::new(mean, factor, DF))
    }

    /// The law with axes that are `factor` times as long, of other degrees of freedom.
    pub(super) fn stretched(&self, factor: f64, df: f64) -> Option<Self> {
        let mut scale = self.scale();
        scale.iter_mut().for_each(|x| *x *= factor * factor);
        let factor = Cholesky::new(&scale, self.mean.len()).ok()?;
        Some(Self::new(self.mean.clone(), factor, df))
    }

    /// The law about another centre, with axes that are `factor` times as long.
    pub(super) fn moved(&self, mean: Vec<f64>, factor: f64) -> Option<Self> {
        let mut scale = self.scale();
        scale.iter_mut().for_each(|x| *x *= factor * factor);
        let factor = Cholesky::new(&scale, mean.len()).ok()?;
        Some(Self::new(mean, factor, DF))
    }

    /// The squares of the distances of eight points from the mean, in scales; `room` is scratch space.
    #[inline(always)]
    pub(super) fn squares<const FMA: bool>(&self, tile: &[V], room: &mut Vec<V>) -> V {
        // Pushes keep vectors whole, where a loop over two slices becomes loads and stores of single numbers.
        room.clear();
        for (x, mean) in tile.iter().zip(&self.mean) {
            room.push(*x - V::splat(*mean));
        }
        self.inverse.norm_in_place::<FMA>(room)
    }

    /// The ln of the density for these squares.
    #[inline(always)]
    fn ln_densities_at<const FMA: bool>(&self, squares: V) -> V {
        let by = -0.5 * (self.df + self.mean.len() as f64);
        let ln_far = ln1pv::<FMA>(squares * V::splat(1.0 / self.df));
        ln_far.mul_add::<FMA>(V::splat(by), V::splat(self.ln_norm))
    }

    /// The ln of the density at eight points.
    #[inline(always)]
    pub(super) fn ln_densities<const FMA: bool>(&self, tile: &[V], room: &mut Vec<V>) -> V {
        self.ln_densities_at::<FMA>(self.squares::<FMA>(tile, room))
    }

    /// The sums over some rows, of which the places, the shares in this part and the squared distances are given.
    #[inline(always)]
    fn sums_of<const FMA: bool>(&self, rows: &[f64], chosen: &[(usize, f64, f64)]) -> Sums {
        let dim = self.mean.len();
        // Whole blocks of columns are summed in registers; what they lack is zero.
        let p = dim.next_multiple_of(GRAM_BLOCK);
        let mut columns = vec![V::ZERO; chosen.len().div_ceil(LANES) * p];
        let mut offsets = vec![V::ZERO; dim];
        let (mut all_shares, mut all_weights) = (0.0, 0.0);
        for (chosen, columns) in chosen.chunks(LANES).zip(columns.chunks_exact_mut(p)) {
            let mut weights = V::ZERO;
            for (lane, (_, share, square)) in chosen.iter().enumerate() {
                weights.0[lane] = share * (DF + dim as f64) / (DF + square);
                all_shares += share;
                all_weights += weights.0[lane];
            }
            let roots = weights.map(f64::sqrt);
            for (j, (column, sum)) in columns.iter_mut().zip(&mut offsets).enumerate() {
                let mut x = V::splat(self.mean[j]);
                for (lane, (i, ..)) in chosen.iter().enumerate() {
                    x.0[lane] = rows[i * dim + j];
                }
                let offset = x - V::splat(self.mean[j]);
                *sum = offset.mul_add::<FMA>(weights, *sum);
                *column = offset * roots;
            }
        }
        let mut gram = vec![0.0; packed_len(p)];
        add_gram::<FMA>(&columns, p, 0, 1, &mut gram);
        let products = (0..dim).flat_map(|i| (0..=i).map(move |j| packed(p, j, i)));
        Sums {
            shares: all_shares,
            weights: all_weights,
            offsets: offsets.into_iter().map(V::sum).collect(),
            products: products.map(|at| gram[at]).collect(),
        }
    }

    /// Draws a point.
    pub(super) fn draw(&self, stream: &mut Stream, room: &mut Vec<f64>, out: &mut [f64]) {
        room.resize(out.len(), 0.0);
        stream.fill_normal(room);
        let shrink = (stream.gamma(0.5 * self.df) / (0.5 * self.df)).sqrt();
        for (i, (x, mean)) in out.iter_mut().zip(&self.mean).enumerate() {
            let step: f64 = self.factor.row(i).iter().zip(room.iter()).map(|(l, z)| l * z).sum();
            *x = mean + step / shrink;
        }
    }

    /// The lower triangle of the scale matrix.
    fn scale(&self) -> Vec<f64> {
        let d = self.mean.len();
        let mut out = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                let (a, b) = (self.factor.row(i), self.factor.row(j));
                out[i * d + j] = a.iter().zip(b).map(|(a, b)| a * b).sum();
            }
        }
        out
    }

    /// The two halves of the law along its major axis.
    fn halves(&self) -> Option<[Self; 2]> {
        let d = self.mean.len();
        let scale = self.scale();
        let entry = |i: usize, j: usize| if i < j { scale[j * d + i] } else { scale[i * d + j] };
        let widest = (0..d).fold(0, |at, i| if entry(i, i) > entry(at, at) { i } else { at });
        let mut axis: Vec<f64> = (0..d).map(|j| entry(widest, j)).collect();
        let mut variance = 0.0;
        for _ in 0..POWER {
            let length = axis.iter().map(|x| x * x).sum::<f64>().sqrt();
            axis.iter_mut().for_each(|x| *x /= length);
            axis = (0..d).map(|i| (0..d).map(|j| entry(i, j) * axis[j]).sum()).collect();
            variance = axis.iter().map(|x| x * x).sum::<f64>().sqrt();
        }
        // `axis` is the variance along it times a unit vector. The halves of a normal law lie at 0.8
        // standard deviations, and keep 0.36 of the variance.
        let half = |side: f64| {
            let step = side * 0.8 / variance.sqrt();
            let mean = self.mean.iter().zip(&axis).map(|(m, a)| m + step * a).collect();
            let mut scale = scale.clone();
            for i in 0..d {
                for j in 0..=i {
                    scale[i * d + j] -= 0.64 * axis[i] * axis[j] / variance;
                }
            }
            Self::of(mean, &mut scale)
        };
        Some([half(-1.0)?, half(1.0)?])
    }
}

/// A mixture, with its mean log-likelihood at the points that it was fitted to.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    pub(super) parts: Vec<Student>,
    pub(super) shares: Vec<f64>,
    fit: f64,
}

/// Sums over points of their shares in a part.
#[derive(Debug, Clone)]
struct Sums {
    shares: f64,
    /// Of shares that far points have less of, of offsets from the mean, and of their products.
    weights: f64,
    offsets: Vec<f64>,
    products: Vec<f64>,
}

impl Mixture {
    /// The mixture fitted to rows that are labelled by the parts to begin with.
    ///
    /// Parts are split in two as long as the fit becomes better by more than the parameters cost, by
    /// the criterion of Schwarz. `None` if the points do not span the space.
    pub(super) fn fit(
        points: &[f64],
        dim: usize,
        labels: &[usize],
        context: &Context<'_>,
    ) -> Result<Option<Self>> {
        let n = points.len() / dim;
        let n_labels = labels.iter().max().map_or(0, |label| label + 1);
        let mut start = Self { parts: Vec::new(), shares: Vec::new(), fit: f64::NEG_INFINITY };
        for label in 0..n_labels {
            let rows = points.chunks_exact(dim).zip(labels);
            let members: Vec<&[f64]> = rows.filter(|(_, l)| **l == label).map(|(x, _)| x).collect();
            if members.len() > least(dim)
                && let Some(part) = of_rows(&members, dim)
            {
                start.shares.push(members.len() as f64);
                start.parts.push(part);
            }
        }
        if start.parts.is_empty() || start.parts.len() > MOST {
            let members: Vec<&[f64]> = points.chunks_exact(dim).collect();
            let Some(part) = of_rows(&members, dim) else { return Ok(None) };
            (start.parts, start.shares) = (vec![part], vec![1.0]);
        }
        let mut best = start.climb(points, dim, context)?;
        let parameters = (1 + dim + dim * (dim + 1) / 2) as f64;
        let score = |mixture: &Self| {
            let cost = 0.5 * mixture.parts.len() as f64 * parameters * ln(n as f64);
            mixture.fit - cost / n as f64
        };
        let mut last = best.clone();
        while 2 * last.parts.len() <= MOST_SPLIT && n > 2 * last.parts.len() * least(dim) {
            let Some(split) = last.split() else { break };
            let split = split.climb(points, dim, context)?;
            if split.parts.len() <= last.parts.len() {
                break;
            }
            let is_better = score(&split) > score(&best);
            if is_better {
                best = split.clone();
            } else if split.parts.len() * dim * dim > CHEAP {
                break;
            }
            last = split;
        }
        Ok(Some(best))
    }

    fn split(&self) -> Option<Self> {
        let mut split = Self { parts: Vec::new(), shares: Vec::new(), fit: f64::NEG_INFINITY };
        for (part, share) in self.parts.iter().zip(&self.shares) {
            split.parts.extend(part.halves()?);
            split.shares.extend([0.5 * share; 2]);
        }
        Some(split)
    }

    /// Makes steps until the fit is hardly better.
    fn climb(mut self, points: &[f64], dim: usize, context: &Context<'_>) -> Result<Self> {
        for _ in 0..STEPS {
            context.poll()?;
            let before = self.fit;
            self.step(points, dim, context)?;
            if self.fit - before < GAIN {
                break;
            }
        }
        Ok(self)
    }

    /// One step; `fit` is that before it.
    fn step(&mut self, points: &[f64], dim: usize, context: &Context<'_>) -> Result<()> {
        let n = points.len() / dim;
        let total: f64 = self.shares.iter().sum();
        let lns: Vec<f64> = self.shares.iter().map(|share| ln(share / total)).collect();
        let none = Sums {
            shares: 0.0,
            weights: 0.0,
            offsets: vec![0.0; dim],
            products: vec![0.0; packed_start(dim)],
        };
        let mut sums = vec![none; self.parts.len()];
        let mut fit = 0.0;
        context.ordered(
            n.div_ceil(ROWS),
            |c| {
                let rows = &points[c * ROWS * dim..n.min((c + 1) * ROWS) * dim];
                Ok(self.sums_of(rows, dim, &lns))
            },
            |_, (of_rows, ln_sum)| {
                fit += ln_sum;
                for (all, new) in sums.iter_mut().zip(&of_rows) {
                    all.shares += new.shares;
                    all.weights += new.weights;
                    all.offsets.iter_mut().zip(&new.offsets).for_each(|(a, b)| *a += b);
                    all.products.iter_mut().zip(&new.products).for_each(|(a, b)| *a += b);
                }
                Ok(())
            },
        )?;
        self.fit = fit / n as f64;
        let (mut parts, mut shares) = (Vec::new(), Vec::new());
        for (part, sums) in self.parts.iter().zip(&sums) {
            if sums.shares <= least(dim) as f64 {
                continue;
            }
            let shift: Vec<f64> = sums.offsets.iter().map(|sum| sum / sums.weights).collect();
            // A share of what it was keeps parts of few points from collapsing.
            let kept = 1.0 / (1.0 + sums.shares);
            let mut scale = part.scale();
            for i in 0..dim {
                for j in 0..=i {
                    let new = sums.products[packed_start(i) + j]
                        - sums.offsets[i] * sums.offsets[j] / sums.weights;
                    let entry = &mut scale[i * dim + j];
                    *entry = kept * *entry + (1.0 - kept) * new / sums.shares;
                }
            }
            let mean = part.mean.iter().zip(&shift).map(|(m, s)| m + s).collect();
            parts.push(Student::of(mean, &mut scale).unwrap_or_else(|| part.clone()));
            shares.push(sums.shares);
        }
        if !parts.is_empty() {
            (self.parts, self.shares) = (parts, shares);
        }
        Ok(())
    }

    fn sums_of(&self, rows: &[f64], dim: usize, lns: &[f64]) -> (Vec<Sums>, f64) {
        dispatch(SumsOf { mixture: self, rows, dim, lns })
    }
}

/// The sums of rows, and the sum of the ln of their densities.
struct SumsOf<'a> {
    mixture: &'a Mixture,
    rows: &'a [f64],
    dim: usize,
    lns: &'a [f64],
}

impl Kernel for SumsOf<'_> {
    type Output = (Vec<Sums>, f64);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (Vec<Sums>, f64) {
        let Self { mixture, rows, dim, lns } = self;
        let n_parts = mixture.parts.len();
        let n_tiles = (rows.len() / dim).div_ceil(LANES);
        // One for each part and tile.
        let mut squares = vec![V::ZERO; n_parts * n_tiles];
        let mut shares = squares.clone();
        let (mut tile, mut room) = (vec![V::ZERO; dim], Vec::new());
        let (mut logs, mut total) = (vec![V::ZERO; n_parts], 0.0);
        for (t, rows) in rows.chunks(LANES * dim).enumerate() {
            into_tile(rows, dim, &mut tile);
            for (k, part) in mixture.parts.iter().enumerate() {
                let square = part.squares::<FMA>(&tile, &mut room);
                logs[k] = part.ln_densities_at::<FMA>(square) + V::splat(lns[k]);
                squares[k * n_tiles + t] = square;
            }
            let ln_density = ln_sums::<FMA>(&logs);
            for (k, log) in logs.iter().enumerate() {
                shares[k * n_tiles + t] = expv::<FMA>(*log - ln_density);
            }
            total += ln_density.0[..rows.len() / dim].iter().sum::<f64>();
        }
        let mut sums = Vec::with_capacity(n_parts);
        let mut chosen = Vec::new();
        for (k, part) in mixture.parts.iter().enumerate() {
            chosen.clear();
            for (i, _) in rows.chunks_exact(dim).enumerate() {
                let (at, lane) = (k * n_tiles + i / LANES, i % LANES);
                let share = shares[at].0[lane];
                if share >= LEAST_SHARE {
                    chosen.push((i, share, squares[at].0[lane]));
                }
            }
            sums.push(part.sums_of::<FMA>(rows, &chosen));
        }
        (sums, total)
    }
}

/// Puts at most eight rows into the lanes of a tile; the last one fills what is left.
#[inline(always)]
pub(super) fn into_tile(rows: &[f64], dim: usize, tile: &mut [V]) {
    let last = rows.len() / dim - 1;
    for (j, to) in tile.iter_mut().enumerate() {
        for (lane, to) in to.0.iter_mut().enumerate() {
            *to = rows[lane.min(last) * dim + j];
        }
    }
}

/// The number of points that a part has to have more than.
fn least(dim: usize) -> usize {
    2 * dim + 2
}

/// The law with the mean and the covariance of rows.
fn of_rows(rows: &[&[f64]], dim: usize) -> Option<Student> {
    let n = rows.len() as f64;
    let mut mean = vec![0.0; dim];
    for row in rows {
        mean.iter_mut().zip(*row).for_each(|(m, x)| *m += x / n);
    }
    let mut scale = vec![0.0; dim * dim];
    for row in rows {
        for i in 0..dim {
            for j in 0..=i {
                scale[i * dim + j] += (row[i] - mean[i]) * (row[j] - mean[j]) / n;
            }
        }
    }
    // Equal coordinates within the unit cube differ from their mean by rounding alone.
    if (0..dim).any(|i| scale[i * dim + i] < ROUNDING) {
        return None;
    }
    Student::of(mean, &mut scale)
}

/// ln Σ exp in each lane, for at least one vector.
#[inline(always)]
pub(super) fn ln_sums<const FMA: bool>(logs: &[V]) -> V {
    // No difference of infinities.
    let mut top = V::splat(f64::MIN);
    for log in logs {
        top = top.max(*log);
    }
    let mut sum = V::ZERO;
    // Not a fold: closures are not compiled for the level of the kernel.
    for log in logs {
        sum = sum + expv::<FMA>(*log - top);
    }
    top + lnv::<FMA>(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fermiac_base::rng::Domain;

    /// Points of two narrow normal laws, and of a bent one.
    fn points(n: usize) -> Vec<f64> {
        let mut stream = Stream::new(1, Domain::User, 0, 0);
        let mut out = Vec::new();
        for i in 0..n {
            let (a, b) = (stream.normal(), stream.normal());
            let at = if i % 2 == 0 { 0.2 } else { 0.7 };
            out.extend([at + 0.01 * a, 0.5 + 0.02 * a + 0.01 * b]);
        }
        out
    }

    #[test]
    fn two_laws_are_found_from_one() {
        let points = points(2000);
        let context = Context::serial();
        let fitted = Mixture::fit(&points, 2, &vec![0; 2000], &context).unwrap().unwrap();
        let mut means: Vec<f64> = fitted.parts.iter().map(|part| part.mean[0]).collect();
        means.sort_unstable_by(f64::total_cmp);
        assert_eq!(means.len(), 2);
        assert!((means[0] - 0.2).abs() < 0.002 && (means[1] - 0.7).abs() < 0.002, "{means:?}");
    }

    #[test]
    fn threads_do_not_change_the_fit() {
        let points = points(2000);
        let fit = |context: &Context<'_>| {
            Mixture::fit(&points, 2, &vec![0; 2000], context).unwrap().unwrap().fit.to_bits()
        };
        assert_eq!(fit(&Context::serial()), fit(&Context::parallel().unwrap()));
    }

    #[test]
    fn points_on_a_line_have_no_mixture() {
        let line: Vec<f64> = (0..500).flat_map(|i| [f64::from(i) / 500.0, 0.5]).collect();
        let fitted = Mixture::fit(&line, 2, &vec![0; 500], &Context::serial()).unwrap();
        assert!(fitted.is_none());
    }

    #[test]
    fn draws_have_the_density() {
        // Half of the square is from an F law with 2 and 4 degrees of freedom: 1 - 1.5⁻² below 1.
        let factor = Cholesky::new(&[4.0, 0.0, 1.0, 9.0], 2).unwrap();
        let law = Student::new(vec![1.0, -1.0], factor, 4.0);
        let mut stream = Stream::new(5, Domain::User, 0, 0);
        let (mut room, mut wide, mut x, mut within) = (Vec::new(), Vec::new(), [0.0; 2], 0);
        for _ in 0..20_000 {
            law.draw(&mut stream, &mut room, &mut x);
            let square = law.squares::<false>(&x.map(V::splat), &mut wide).0[0];
            within += usize::from(square < 2.0);
        }
        let share = f64::from(within as u32) / 20_000.0;
        assert!((share - 5.0 / 9.0).abs() < 0.018, "{share}");
    }
}
