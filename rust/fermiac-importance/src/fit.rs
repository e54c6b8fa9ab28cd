//! Weighted fits of Gaussians and of two-component mixtures (cross-entropy: the closest member of
//! the family to the weighted points in Kullback-Leibler divergence).

use super::component_bank::{ComponentBank, Fitted, Tail};
use super::points::Points;
use fermiac_base::Result;
use fermiac_base::linalg::{SymmetricEigen, packed, packed_len};
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp, expv, ln, lnv};
use std::ops::Range;

/// Added to each variance, as a share of it: an exactly collinear sample still gives a density.
const RIDGE: f64 = 1e-6;
const MAX_RIDGE: f64 = 1e-2;
const EM_ITERATIONS: usize = 20;
const STUDENT_ITERATIONS: usize = 40;
/// Relative change of a scale, or of a location in scales, at which it stops.
const STUDENT_TOLERANCE: f64 = 0.01;
/// Gain of the weighted log-likelihood per unit weight at which EM stops.
const EM_TOLERANCE: f64 = 1e-4;

/// The weighted moments of all points under one set of weights.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub(crate) sum: f64,
    sum_of_squares: f64,
    pub(crate) fitted: Fitted,
}

impl Moments {
    /// (Σw)² / Σw²: how many points of equal weight these are worth.
    pub(crate) fn effective(&self) -> f64 {
        if self.sum > 0.0 { self.sum * self.sum / self.sum_of_squares } else { 0.0 }
    }
}

/// Mean and covariance of the points under each of `parts` sets of weights (tiles × parts): two
/// passes, the second about the means of the first.
pub(crate) fn moments(
    context: &Context<'_>,
    points: &Points,
    weights: &[V],
    parts: usize,
) -> Result<Vec<Moments>> {
    let d = points.dim;
    let mut first = vec![0.0; parts * (2 + d)];
    points.spans(
        context,
        |span| dispatch(FirstPass { points, span, weights, parts }),
        |part: Vec<f64>| add(&mut first, &part),
    )?;
    let means: Vec<Vec<f64>> = first
        .chunks_exact(2 + d)
        .map(|row| row[2..].iter().map(|s| if row[0] > 0.0 { s / row[0] } else { 0.0 }).collect())
        .collect();
    let triangle = packed_len(d);
    let mut second = vec![0.0; parts * triangle];
    points.spans(
        context,
        |span| dispatch(SecondPass { points, span, weights, means: &means }),
        |part: Vec<f64>| add(&mut second, &part),
    )?;
    let rows = first.chunks_exact(2 + d).zip(second.chunks_exact(triangle)).zip(means);
    Ok(rows
        .map(|((row, upper), mean)| {
            let scale = if row[0] > 0.0 { 1.0 / row[0] } else { 0.0 };
            let covariance = full(d, upper, scale);
            Moments { sum: row[0], sum_of_squares: row[1], fitted: Fitted { mean, covariance } }
        })
        .collect())
}

/// Regularises a fit. The fewer points carry it, the more of the spread of the laws (`wide`) is
/// added: the scatter of a handful of points says little about the tail beyond them. Then comes the
/// smallest ridge that makes it positive definite.
pub(crate) fn condition(
    fitted: &mut Fitted,
    effective: f64,
    wide: &Fitted,
    diagonal: bool,
) -> Result<()> {
    let d = fitted.mean.len();
    let freedom = d as f64 + 1.0;
    let share = if effective.is_finite() { freedom / (effective + freedom) } else { 0.0 };
    let mut plain = fitted.covariance.clone();
    let offset: Vec<f64> = fitted.mean.iter().zip(&wide.mean).map(|(m, w)| m - w).collect();
    for j in 0..d {
        for k in 0..d {
            // The scatter of the laws about the mean of the fit: it reaches back to where they are.
            let scatter = wide.covariance[j * d + k] + offset[j] * offset[k];
            plain[j * d + k] = (1.0 - share) * plain[j * d + k] + share * scatter;
        }
    }
    let least = f64::EPSILON * f64::EPSILON;
    for k in 0..d {
        let reference = wide.covariance[k * d + k].max(f64::MIN_POSITIVE);
        let variance = &mut plain[k * d + k];
        if *variance <= least * reference {
            *variance = RIDGE * reference;
        }
    }
    let build = |keep: f64, ridge: f64| {
        let mut covariance = plain.clone();
        for j in 0..d {
            for k in 0..d {
                covariance[j * d + k] *= if j == k { 1.0 + ridge } else { keep };
            }
        }
        covariance
    };
    let keep = if diagonal { 0.0 } else { 1.0 };
    let mut ridge = RIDGE;
    loop {
        fitted.covariance = build(keep, ridge);
        if positive(fitted) {
            return Ok(());
        }
        if ridge >= MAX_RIDGE {
            fitted.covariance = build(0.0, 0.0);
            return ComponentBank::new(d, Tail::Gaussian).push(fitted);
        }
        ridge *= 10.0;
    }
}

fn positive(fitted: &Fitted) -> bool {
    ComponentBank::new(fitted.mean.len(), Tail::Gaussian).push(fitted).is_ok()
}

/// Fits a Student-t to each of `parts` sets of weights by the most likely location and scale matrix,
/// which exist where the weighted points have no variance or no mean. Starts from `starts`; where a
/// start is not positive definite, its moments stay.
///
/// This is the EM algorithm with its scale freed (Kent, Tyler, Vardi, Communications in Statistics -
/// Simulation and Computation, 1994, doi:10.1080/03610919408813180): a point at the squared distance
/// δ counts (df + d) / (df + δ) times, and these counts norm the scatter.
pub(crate) fn students(
    context: &Context<'_>,
    points: &Points,
    weights: &[V],
    starts: &[Moments],
    (tail, wide, diagonal): (Tail, &Fitted, bool),
) -> Result<Vec<Moments>> {
    let d = points.dim;
    let factor = tail.scale_of_fit();
    let as_fit = |fitted: &Fitted| {
        let covariance = fitted.covariance.iter().map(|c| c / factor).collect();
        Fitted { mean: fitted.mean.clone(), covariance }
    };
    let mut now = starts.to_vec();
    for _ in 0..STUDENT_ITERATIONS {
        let mut bank = ComponentBank::new(d, tail);
        for m in &now {
            let mut fitted = as_fit(&m.fitted);
            condition(&mut fitted, m.effective(), wide, diagonal)?;
            bank.push(&fitted)?;
        }
        let mut counted = Vec::with_capacity(weights.len());
        points.spans(
            context,
            |span| dispatch(Count { points, span, weights, bank: &bank }),
            |part: Vec<V>| counted.extend(part),
        )?;
        let next = moments(context, points, &counted, now.len())?;
        let moved =
            now.iter().zip(&next).any(|(a, b)| b.sum > 0.0 && distance(a, b) > STUDENT_TOLERANCE);
        for (m, next) in now.iter_mut().zip(next) {
            if next.sum > 0.0 {
                // The weights decide what a fit is worth, not the counts.
                m.fitted = next.fitted;
            }
        }
        if !moved {
            break;
        }
    }
    for m in &mut now {
        m.fitted = as_fit(&m.fitted);
    }
    Ok(now)
}

/// The largest relative change of a variance, and of a mean in deviations.
fn distance(a: &Moments, b: &Moments) -> f64 {
    let d = a.fitted.mean.len();
    (0..d).fold(0.0, |most: f64, k| {
        let (old, new) = (a.fitted.covariance[k * d + k], b.fitted.covariance[k * d + k]);
        let step = (b.fitted.mean[k] - a.fitted.mean[k]).abs() / new.sqrt();
        most.max((new / old - 1.0).abs()).max(step)
    })
}

/// Two densities and their shares.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) shares: [f64; 2],
    pub(crate) fitted: [Fitted; 2],
}

/// Fits a mixture of two Gaussians to each set of weights by expectation-maximisation, starting
/// from the single fits, split along their longest axis.
pub(crate) fn pairs(
    context: &Context<'_>,
    points: &Points,
    weights: &[V],
    singles: &[Moments],
    wide: &Fitted,
    diagonal: bool,
) -> Result<Vec<Pair>> {
    let d = points.dim;
    let parts = singles.len();
    let mut pairs = singles.iter().map(|m| split(m, wide, diagonal)).collect::<Result<Vec<_>>>()?;
    let triangle = packed_len(d);
    let width = 2 + d + triangle;
    let mut likelihood = f64::NEG_INFINITY;
    for _ in 0..EM_ITERATIONS {
        let mut bank = ComponentBank::new(d, Tail::Gaussian);
        for pair in &pairs {
            bank.push(&pair.fitted[0])?;
            bank.push(&pair.fitted[1])?;
        }
        let stride = 2 * width + 1;
        let mut sums = vec![0.0; parts * stride];
        points.spans(
            context,
            |span| dispatch(EmPass { points, span, weights, pairs: &pairs, bank: &bank }),
            |part: Vec<f64>| add(&mut sums, &part),
        )?;
        let mut now = 0.0;
        for ((pair, row), single) in pairs.iter_mut().zip(sums.chunks_exact(stride)).zip(singles) {
            if single.sum <= 0.0 {
                continue;
            }
            now += row[2 * width] / single.sum;
            update(pair, row, single, wide, diagonal)?;
        }
        if now - likelihood < EM_TOLERANCE * parts as f64 {
            break;
        }
        likelihood = now;
    }
    Ok(pairs)
}

/// One M step from the sums of an [`EmPass`].
fn update(
    pair: &mut Pair,
    row: &[f64],
    single: &Moments,
    wide: &Fitted,
    diagonal: bool,
) -> Result<()> {
    let d = wide.mean.len();
    let width = 2 + d + packed_len(d);
    for c in 0..2 {
        let part = &row[c * width..(c + 1) * width];
        let (sum, squares) = (part[0], part[1]);
        pair.shares[c] = (sum / single.sum).clamp(0.0, 1.0);
        let effective = if sum > 0.0 { sum * sum / squares } else { 0.0 };
        // A component that lost its points keeps its shape; its share goes to 0.
        if effective < 2.0_f64.max(d as f64 / 2.0) {
            continue;
        }
        let offset: Vec<f64> = part[2..2 + d].iter().map(|s| s / sum).collect();
        let mut covariance = full(d, &part[2 + d..], 1.0 / sum);
        for j in 0..d {
            for k in 0..d {
                covariance[j * d + k] -= offset[j] * offset[k];
            }
        }
        let mean = pair.fitted[c].mean.iter().zip(&offset).map(|(m, o)| m + o).collect();
        pair.fitted[c] = Fitted { mean, covariance };
        condition(&mut pair.fitted[c], effective, wide, diagonal)?;
    }
    let total: f64 = pair.shares.iter().sum();
    if total > 0.0 {
        pair.shares.iter_mut().for_each(|s| *s /= total);
    } else {
        pair.shares = [0.5, 0.5];
    }
    Ok(())
}

/// Cuts a Gaussian in two along its longest axis, keeping mean and covariance.
fn split(moments: &Moments, wide: &Fitted, diagonal: bool) -> Result<Pair> {
    let mut single = moments.fitted.clone();
    condition(&mut single, moments.effective(), wide, diagonal)?;
    let d = single.mean.len();
    let eigen = SymmetricEigen::new(&single.covariance, d)?;
    let values = &eigen.values;
    let last = d - 1;
    let axis: Vec<f64> = (0..d).map(|k| eigen.vectors[k * d + last]).collect();
    // Half of the variance along the axis goes between the two, the other half stays within.
    let half = values[last] / 2.0;
    let step = half.sqrt();
    let mut within = single.covariance.clone();
    for j in 0..d {
        for k in 0..d {
            within[j * d + k] -= half * axis[j] * axis[k];
        }
    }
    let half = |sign: f64| {
        let mean = single.mean.iter().zip(&axis).map(|(m, a)| m + sign * step * a).collect();
        Fitted { mean, covariance: within.clone() }
    };
    let mut pair = Pair { shares: [0.5, 0.5], fitted: [half(-1.0), half(1.0)] };
    for fitted in &mut pair.fitted {
        condition(fitted, f64::INFINITY, wide, diagonal)?;
    }
    Ok(pair)
}

pub(super) fn add(total: &mut [f64], part: &[f64]) {
    total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
}

/// The full symmetric matrix of a packed upper triangle, scaled.
pub(super) fn full(d: usize, upper: &[f64], scale: f64) -> Vec<f64> {
    symmetric(d, |j, k| upper[packed(d, j, k)] * scale)
}

/// The symmetric matrix with these entries (j, k), j <= k.
pub(super) fn symmetric(d: usize, entry: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; d * d];
    for j in 0..d {
        for k in j..d {
            let value = entry(j, k);
            out[j * d + k] = value;
            out[k * d + j] = value;
        }
    }
    out
}

/// The weights times what a point counts for the Student-t of its part.
struct Count<'a> {
    points: &'a Points,
    span: Range<usize>,
    weights: &'a [V],
    bank: &'a ComponentBank,
}

impl Kernel for Count<'_> {
    type Output = Vec<V>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<V> {
        let (d, parts) = (self.points.dim, self.bank.len());
        let df = match self.bank.tail() {
            Tail::Student(df) => df,
            Tail::Gaussian => f64::INFINITY,
        };
        let mut centred = vec![V::ZERO; d];
        let mut out = Vec::with_capacity(self.span.len() * parts);
        for t in self.span {
            let z = &self.points.z[t * d..(t + 1) * d];
            for k in 0..parts {
                let square = self.bank.square::<FMA>(k, z, &mut centred);
                let count = square.map(|s| (df + d as f64) / (df + s));
                out.push(self.weights[t * parts + k] * count);
            }
        }
        out
    }
}

struct FirstPass<'a> {
    points: &'a Points,
    span: Range<usize>,
    weights: &'a [V],
    parts: usize,
}

impl Kernel for FirstPass<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let d = self.points.dim;
        let mut sums = vec![V::ZERO; self.parts * (2 + d)];
        for t in self.span {
            let z = &self.points.z[t * d..(t + 1) * d];
            let weights = &self.weights[t * self.parts..(t + 1) * self.parts];
            for (w, row) in weights.iter().zip(sums.chunks_exact_mut(2 + d)) {
                row[0] = row[0] + *w;
                row[1] = w.mul_add::<FMA>(*w, row[1]);
                for (s, z) in row[2..].iter_mut().zip(z) {
                    *s = w.mul_add::<FMA>(*z, *s);
                }
            }
        }
        sums.into_iter().map(V::sum).collect()
    }
}

struct SecondPass<'a> {
    points: &'a Points,
    span: Range<usize>,
    weights: &'a [V],
    means: &'a [Vec<f64>],
}

impl Kernel for SecondPass<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        // As for the densities: with the dimension known, the sums stay in registers.
        match self.points.dim {
            1 => self.fixed::<FMA, 1>(),
            2 => self.fixed::<FMA, 2>(),
            3 => self.fixed::<FMA, 3>(),
            4 => self.fixed::<FMA, 4>(),
            5 => self.fixed::<FMA, 5>(),
            6 => self.fixed::<FMA, 6>(),
            _ => self.any::<FMA>(),
        }
    }
}

impl SecondPass<'_> {
    #[inline(always)]
    fn fixed<const FMA: bool, const D: usize>(self) -> Vec<f64> {
        let parts = self.means.len();
        let mut out = Vec::with_capacity(parts * packed_len(D));
        for (p, mean) in self.means.iter().enumerate() {
            let mean = &mean[..D];
            let mut sums = [[V::ZERO; D]; D];
            for t in self.span.clone() {
                let z = &self.points.z[t * D..(t + 1) * D];
                let w = self.weights[t * parts + p];
                let mut centred = [V::ZERO; D];
                for k in 0..D {
                    centred[k] = z[k] - V::splat(mean[k]);
                }
                for j in 0..D {
                    let scaled = w * centred[j];
                    for k in j..D {
                        sums[j][k] = scaled.mul_add::<FMA>(centred[k], sums[j][k]);
                    }
                }
            }
            for j in 0..D {
                out.extend(sums[j][j..].iter().map(|s| s.sum()));
            }
        }
        out
    }

    #[inline(always)]
    fn any<const FMA: bool>(self) -> Vec<f64> {
        let (d, parts) = (self.points.dim, self.means.len());
        let triangle = packed_len(d);
        let mut sums = vec![V::ZERO; parts * triangle];
        let mut centred = vec![V::ZERO; d];
        for t in self.span {
            let z = &self.points.z[t * d..(t + 1) * d];
            for (p, sums) in sums.chunks_exact_mut(triangle).enumerate() {
                for k in 0..d {
                    centred[k] = z[k] - V::splat(self.means[p][k]);
                }
                add_square::<FMA>(self.weights[t * parts + p], &centred, sums);
            }
        }
        sums.into_iter().map(V::sum).collect()
    }
}

/// Adds w c cᵀ to a packed upper triangle.
#[inline(always)]
pub(super) fn add_square<const FMA: bool>(w: V, centred: &[V], sums: &mut [V]) {
    let d = centred.len();
    let mut at = 0;
    for j in 0..d {
        let scaled = w * centred[j];
        let row = &mut sums[at..at + d - j];
        for k in 0..d - j {
            row[k] = scaled.mul_add::<FMA>(centred[j + k], row[k]);
        }
        at += d - j;
    }
}

/// For each set of weights and both densities: Σwγ, Σ(wγ)², Σwγ(z - m), Σwγ(z - m)(z - m)ᵀ, and
/// at the end of the row Σw log(mixture density).
struct EmPass<'a> {
    points: &'a Points,
    span: Range<usize>,
    weights: &'a [V],
    pairs: &'a [Pair],
    bank: &'a ComponentBank,
}

impl Kernel for EmPass<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let (d, parts) = (self.points.dim, self.pairs.len());
        let width = 2 + d + packed_len(d);
        let stride = 2 * width + 1;
        let mut sums = vec![V::ZERO; parts * stride];
        let mut centred = vec![V::ZERO; d];
        let log_shares: Vec<[f64; 2]> =
            self.pairs.iter().map(|p| p.shares.map(|s| ln(s.max(exp(-700.0))))).collect();
        for t in self.span {
            let z = &self.points.z[t * d..(t + 1) * d];
            for (p, row) in sums.chunks_exact_mut(stride).enumerate() {
                let w = self.weights[t * parts + p];
                let mut logs = [V::ZERO; 2];
                for c in 0..2 {
                    let log = self.bank.log_density::<FMA>(2 * p + c, z, &mut centred);
                    logs[c] = log + V::splat(log_shares[p][c]);
                }
                let largest = logs[0].max(logs[1]);
                let parts_of = logs.map(|l| expv::<FMA>(l - largest));
                let sum = parts_of[0] + parts_of[1];
                let log_mixture = largest + lnv::<FMA>(sum);
                row[2 * width] = w.mul_add::<FMA>(log_mixture, row[2 * width]);
                for c in 0..2 {
                    let own = w * (parts_of[c] / sum);
                    let mean = &self.pairs[p].fitted[c].mean;
                    for k in 0..d {
                        for lane in 0..LANES {
                            centred[k].0[lane] = z[k].0[lane] - mean[k];
                        }
                    }
                    let row = &mut row[c * width..(c + 1) * width];
                    row[0] = row[0] + own;
                    row[1] = own.mul_add::<FMA>(own, row[1]);
                    for (s, x) in row[2..2 + d].iter_mut().zip(&centred) {
                        *s = own.mul_add::<FMA>(*x, *s);
                    }
                    add_square::<FMA>(own, &centred, &mut row[2 + d..]);
                }
            }
        }
        sums.into_iter().map(V::sum).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::layout::{Layout, from_rows};
    use crate::problem::Batch;
    use crate::proposal::Proposal;
    use fermiac_base::linalg::Rows;
    use fermiac_base::rng::{Domain, Stream};

    /// Points of a Cauchy law about (3, -1) with the scales 2 and 1/2.
    fn cauchy(n: usize) -> Points {
        let mut rng = Stream::new(1, Domain::Importance, 0, 0);
        let mut x = vec![0.0; 2 * n];
        rng.fill_normal(&mut x);
        for row in x.chunks_exact_mut(2) {
            let stretch = (1.0 / (2.0 * rng.gamma(0.5))).sqrt();
            (row[0], row[1]) = (3.0 + 2.0 * stretch * row[0], 0.5 * stretch * row[1] - 1.0);
        }
        let layout = Layout { n_laws: 1, columns: 1, outputs: 1, len: 1 };
        let mut points = Points::new(2, layout, n);
        let mut batch = Batch::default();
        batch.n = n;
        from_rows(Rows::new(&x, 2), &mut batch.z);
        let tiles = n.div_ceil(LANES);
        batch.log_laws = vec![V::ZERO; tiles];
        batch.values = vec![V::splat(1.0); tiles];
        let table = super::super::points::Table { rho: Vec::new(), log_ref: vec![V::ZERO; tiles] };
        points
            .append(
                &Context::new(1, |_, _| Ok(())).unwrap(),
                vec![batch],
                Proposal::laws(2, 1),
                table,
            )
            .unwrap();
        points
    }

    #[test]
    fn a_student_fit_finds_location_and_scale_of_points_without_a_mean() {
        let n = 40_000;
        let points = cauchy(n);
        let context = Context::new(1, |_, _| Ok(())).unwrap();
        let weights = vec![V::splat(1.0); points.n_tiles()];
        let starts = moments(&context, &points, &weights, 1).unwrap();
        let wide = Fitted { mean: vec![0.0; 2], covariance: vec![1.0, 0.0, 0.0, 1.0] };
        let to = (Tail::Student(1.0), &wide, false);
        let got = students(&context, &points, &weights, &starts, to).unwrap();
        let Fitted { mean, covariance } = &got[0].fitted;
        // The standard errors are below 0.02 scales.
        assert!((mean[0] - 3.0).abs() < 0.1 && (mean[1] + 1.0).abs() < 0.05, "{mean:?}");
        assert!((covariance[0] / 4.0 - 1.0).abs() < 0.1, "{covariance:?}");
        assert!((covariance[3] / 0.25 - 1.0).abs() < 0.1, "{covariance:?}");
        assert!(covariance[1].abs() < 0.05, "{covariance:?}");
    }
}
