//! Weighted least squares of values on controls: the intercept and its standard error, which stays
//! reliable with many controls.

use super::columns::{Columns, Controls, Work, gather};
use super::sums::{deviations, means};
use super::whiten::whitening;
use crate::diagnostics::khat;
use fermiac_base::linalg::{Rows, add_gram, packed, packed_len};
use fermiac_base::par::{CHUNK, Context};
use fermiac_base::simd::{Kernel, LANES, V, dispatch};
use fermiac_base::{Error, Result};
use std::ops::Range;

/// Number of tiles processed at a time, so that the columns of many controls stay in the cache.
const SPAN: usize = 32;
/// The least divisor, one minus the leverage, of a leave-one-out residual; below it is rounding.
const LEAST_REST: f64 = 1e-10;

/// Averages of K functions over a weighted sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    /// The estimates.
    pub mean: Vec<f64>,
    /// Their covariance, K × K.
    pub cov: Vec<f64>,
    /// The contribution of each point to the error of each estimate, n × K. The covariance is the sum
    /// of their products; for dependent points the error follows from the contributions too.
    pub parts: Vec<f64>,
    /// The covariance of the functions themselves under the weights, K × K.
    pub scatter: Vec<f64>,
    /// The variances of the estimates without controls.
    pub plain_variance: Vec<f64>,
    /// The tail shape of the contributions to each error without controls. Residuals on controls are
    /// concentrated in few points by nature, so a fit to them would give false alarms.
    pub khat: Vec<f64>,
    /// Directions in which the controls vary.
    pub rank: usize,
    /// The largest leverage: near 1 a single point determines a coefficient, and the error is unknown.
    pub max_leverage: f64,
    /// The largest mean of an orthonormal direction of the controls over its standard error; far
    /// above 1 the mean of the controls under the law is not zero. Of Stein controls only those of
    /// polynomials up to the second degree are tested.
    pub drift: f64,
}

/// Returns the weighted averages of the columns of `values`, with the controls regressed out.
///
/// With normalised weights W the estimate is Σ λ φ, where the λ depend only on weights and controls
/// and sum to one. Its variance is Σ (λ e)² with the residual e of each point: about the mean without
/// controls, and with controls from the fit that leaves the point out, e / (1 - leverage), since the
/// fit makes its own residuals too small (the jackknife,
/// HC3 of J. G. MacKinnon and H. White, 1985, "Some heteroskedasticity-consistent covariance matrix
/// estimators with improved finite sample properties", Journal of Econometrics 29(3)).
///
/// Values and controls of points of weight 0 are never used.
pub fn average(
    context: &Context<'_>,
    weights: &[f64],
    values: Rows<'_>,
    controls: Controls<'_>,
) -> Result<Average> {
    let used = weights.iter().filter(|w| **w > 0.0).count();
    let n_controls = Columns::count(controls).filter(|m| m + 1 < used);
    let Some(n_controls) = n_controls.filter(|_| used > 1) else {
        let why = format!(
            "more columns, with the intercept, than the {used} points of positive weight leave \
             free; give fewer controls, a lower degree or more points"
        );
        return Err(Error::argument("controls", why));
    };
    let shift = means(context, weights, values)?;
    let (centre, scale) = match controls {
        Controls::Stein { points, .. } => {
            let centre = means(context, weights, points)?;
            let mut scale = deviations(context, weights, points, &centre)?;
            scale.iter_mut().filter(|s| **s == 0.0).for_each(|s| *s = 1.0);
            (centre, scale)
        }
        Controls::None | Controls::Given(_) => (Vec::new(), Vec::new()),
    };
    let columns = Columns::new(controls, &centre, &scale)?;
    let data = Data { weights, values, shift: &shift, columns: &columns, n_controls };
    let fit = Fit::new(&data, &data.gram(context)?)?;
    data.errors(context, &fit)
}

/// The data of a regression.
struct Data<'a> {
    weights: &'a [f64],
    values: Rows<'a>,
    shift: &'a [f64],
    columns: &'a Columns<'a>,
    n_controls: usize,
}

impl Data<'_> {
    fn outputs(&self) -> usize {
        self.values.dim()
    }

    /// The rows of a chunk.
    fn chunk(&self, c: usize) -> Range<usize> {
        c * CHUNK..((c + 1) * CHUNK).min(self.weights.len())
    }

    /// Returns the packed Gram matrix of √W (1, h, φ - shift).
    fn gram(&self, context: &Context<'_>) -> Result<Vec<f64>> {
        let mut gram = vec![0.0; packed_len(1 + self.n_controls + self.outputs())];
        context.ordered(
            self.weights.len().div_ceil(CHUNK),
            |c| Ok(dispatch(Gram { data: self, rows: self.chunk(c) })),
            |_, part| {
                gram.iter_mut().zip(&part).for_each(|(g, p)| *g += p);
                Ok(())
            },
        )?;
        Ok(gram)
    }

    /// Runs the second pass, which computes the contributions of the points to the errors.
    fn errors(&self, context: &Context<'_>, fit: &Fit) -> Result<Average> {
        let (n, k) = (self.weights.len(), self.outputs());
        let mut gram = vec![0.0; packed_len(k)];
        let mut plain_variance = vec![0.0; k];
        let mut sizes = vec![Vec::with_capacity(n); k];
        let mut parts = Vec::with_capacity(n * k);
        let mut max_leverage = 0.0_f64;
        let mut spread = vec![0.0; fit.whiten.len()];
        context.ordered(
            n.div_ceil(CHUNK),
            |c| Ok(dispatch(Influence { data: self, fit, rows: self.chunk(c) })),
            |c, part| {
                gram.iter_mut().zip(&part.gram).for_each(|(g, p)| *g += p);
                plain_variance.iter_mut().zip(&part.plain).for_each(|(v, p)| *v += p);
                spread.iter_mut().zip(&part.spread).for_each(|(s, p)| *s += p);
                max_leverage = max_leverage.max(part.max_leverage);
                parts.extend(self.chunk(c).flat_map(|i| {
                    let (tile, lane) = ((i - c * CHUNK) / LANES, (i - c * CHUNK) % LANES);
                    part.influence[tile * k..(tile + 1) * k].iter().map(move |v| v.0[lane])
                }));
                for (j, size) in sizes.iter_mut().enumerate() {
                    let column = part.without.iter().skip(j).step_by(k);
                    let sizes_of = column.flat_map(|v| v.0).map(f64::abs);
                    size.extend(sizes_of.take(self.chunk(c).len()));
                }
                Ok(())
            },
        )?;
        let mut shapes = Vec::with_capacity(k);
        context.ordered_apart(
            k,
            n,
            |j| Ok(khat(&mut sizes[j].clone())),
            |_, shape| {
                shapes.push(shape);
                Ok(())
            },
        )?;
        let testable = self.columns.testable(self.n_controls);
        let directions = fit.whiten.iter().zip(&fit.offset).zip(&spread);
        let drift = directions
            .filter(|((row, _), _)| row.len() <= testable)
            .fold(0.0, |most, ((_, mean), square)| (mean.abs() / square.sqrt()).max(most));
        let full = |a: usize, b: usize| gram[packed(k, a.min(b), a.max(b))];
        Ok(Average {
            mean: fit.mean.iter().zip(self.shift).map(|(m, s)| m + s).collect(),
            cov: (0..k * k).map(|i| full(i / k, i % k)).collect(),
            parts,
            scatter: fit.scatter.clone(),
            plain_variance,
            khat: shapes,
            rank: fit.whiten.len(),
            max_leverage,
            drift,
        })
    }
}

/// The solved regression, in coordinates u = T (h - h̄) in which the controls are orthonormal.
struct Fit {
    total: f64,
    /// The weighted means of the controls.
    control_means: Vec<f64>,
    /// The rows of T; one of r numbers acts on the first r controls.
    whiten: Vec<Vec<f64>>,
    /// T h̄.
    offset: Vec<f64>,
    /// The weighted means of the shifted values, and the intercepts.
    plain: Vec<f64>,
    mean: Vec<f64>,
    /// The coefficients of u, K × rank.
    slopes: Vec<f64>,
    scatter: Vec<f64>,
}

impl Fit {
    fn new(data: &Data<'_>, gram: &[f64]) -> Result<Self> {
        let (m, k) = (data.n_controls, data.outputs());
        let p = 1 + m + k;
        let entry = |a: usize, b: usize| gram[packed(p, a.min(b), a.max(b))];
        let total = entry(0, 0);
        let centred =
            |a: usize, b: usize| entry(1 + a, 1 + b) - entry(0, 1 + a) * entry(0, 1 + b) / total;
        if let Some(bad) = gram.iter().find(|g| !g.is_finite()) {
            return Err(Error::Numerical(format!(
                "a sum over the products of values and controls is {bad}; scale them to a moderate \
                 size"
            )));
        }
        let whiten = if m > 0 { whitening(m, centred)? } else { Vec::new() };
        let control_means: Vec<f64> = (0..m).map(|a| entry(0, 1 + a) / total).collect();
        let apply = |row: &[f64], x: &dyn Fn(usize) -> f64| {
            row.iter().enumerate().fold(0.0, |sum, (a, t)| sum + t * x(a))
        };
        let offset: Vec<f64> = whiten.iter().map(|row| apply(row, &|a| control_means[a])).collect();
        let mut slopes = Vec::with_capacity(k * whiten.len());
        for j in 0..k {
            slopes.extend(whiten.iter().map(|row| apply(row, &|a| centred(a, m + j))));
        }
        let plain: Vec<f64> = (0..k).map(|j| entry(0, 1 + m + j) / total).collect();
        let mut mean = plain.clone();
        for (mean, slopes) in mean.iter_mut().zip(slopes.chunks(whiten.len().max(1))) {
            *mean -= slopes.iter().zip(&offset).fold(0.0, |sum, (s, o)| sum + s * o);
        }
        // A constant leaves only rounding, of either sign.
        let least = |i: usize| if i / k == i % k { 0.0 } else { f64::NEG_INFINITY };
        let scatter =
            (0..k * k).map(|i| (centred(m + i / k, m + i % k) / total).max(least(i))).collect();
        Ok(Self { total, control_means, whiten, offset, plain, mean, slopes, scatter })
    }
}

struct Gram<'a> {
    data: &'a Data<'a>,
    rows: Range<usize>,
}

impl Kernel for Gram<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let data = self.data;
        let width = 1 + data.n_controls + data.outputs();
        let mut gram = vec![0.0; packed_len(width)];
        let mut work = Work::default();
        let mut y: Vec<V> = Vec::with_capacity(SPAN * width);
        for span in self.rows.clone().step_by(SPAN * LANES) {
            y.clear();
            for first in (span..self.rows.end.min(span + SPAN * LANES)).step_by(LANES) {
                let lanes = (self.rows.end - first).min(LANES);
                let mut root = V::ZERO;
                for l in 0..lanes {
                    root.0[l] = data.weights[first + l].sqrt();
                }
                let start = y.len();
                y.push(V::splat(1.0));
                data.columns.push(data.n_controls, first, lanes, &mut work, &mut y);
                for j in 0..data.outputs() {
                    y.push(gather(data.values, first, lanes, j) - V::splat(data.shift[j]));
                }
                for column in &mut y[start..] {
                    *column = times_or_zero(root, *column);
                }
            }
            add_gram::<FMA>(&y, width, 0, 1, &mut gram);
        }
        gram
    }
}

/// Returns w · x, and 0 if w is 0, for any x.
#[inline(always)]
fn times_or_zero(w: V, x: V) -> V {
    w.zip(x, |w, x| if w > 0.0 { w * x } else { 0.0 })
}

struct Influence<'a> {
    data: &'a Data<'a>,
    fit: &'a Fit,
    rows: Range<usize>,
}

struct Part {
    /// The contributions of the points to the error of each estimate without controls, tiles × K.
    without: Vec<V>,
    /// The contributions with controls.
    influence: Vec<V>,
    /// The Gram matrix of the latter.
    gram: Vec<f64>,
    plain: Vec<f64>,
    /// The squared error of the mean of each direction of the controls.
    spread: Vec<f64>,
    max_leverage: f64,
}

impl Kernel for Influence<'_> {
    type Output = Part;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Part {
        let (data, fit) = (self.data, self.fit);
        let (k, rank) = (data.outputs(), fit.whiten.len());
        let size = self.rows.len().div_ceil(LANES) * k;
        let (mut influence, mut parts) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let mut plain = vec![V::ZERO; k];
        let mut most = V::ZERO;
        let mut spread = vec![V::ZERO; rank];
        let inverse = V::splat(1.0 / fit.total);
        let (mut work, mut h, mut u) = (Work::default(), Vec::new(), Vec::with_capacity(rank));
        for first in self.rows.clone().step_by(LANES) {
            let lanes = (self.rows.end - first).min(LANES);
            let w = V::padded(&data.weights[first..first + lanes], 0.0);
            h.clear();
            data.columns.push(data.n_controls, first, lanes, &mut work, &mut h);
            for (column, mean) in h.iter_mut().zip(&fit.control_means) {
                *column = *column - V::splat(*mean);
            }
            u.clear();
            let (mut square, mut tilt) = (V::ZERO, V::ZERO);
            for ((row, offset), spread) in fit.whiten.iter().zip(&fit.offset).zip(&mut spread) {
                let mut sum = V::ZERO;
                for (t, column) in row.iter().zip(&h) {
                    sum = V::splat(*t).mul_add::<FMA>(*column, sum);
                }
                square = sum.mul_add::<FMA>(sum, square);
                tilt = sum.mul_add::<FMA>(V::splat(*offset), tilt);
                let part = times_or_zero(w, sum * inverse);
                *spread = part.mul_add::<FMA>(part, *spread);
                u.push(sum);
            }
            let leverage = times_or_zero(w, inverse + square);
            let (share, rest) = if rank > 0 {
                most = most.max(leverage);
                let rest = (V::splat(1.0) - leverage).max(V::splat(LEAST_REST));
                (times_or_zero(w, inverse - tilt), rest)
            } else {
                (times_or_zero(w, inverse), V::splat(1.0))
            };
            for j in 0..k {
                let value = gather(data.values, first, lanes, j) - V::splat(data.shift[j]);
                let centred = value - V::splat(fit.plain[j]);
                let mut residual = centred;
                for (u, slope) in u.iter().zip(&fit.slopes[j * rank..(j + 1) * rank]) {
                    residual = u.mul_add::<FMA>(V::splat(-slope), residual);
                }
                let without = times_or_zero(w, centred * inverse);
                plain[j] = without.mul_add::<FMA>(without, plain[j]);
                parts.push(without);
                let part = share.zip(residual / rest, |s, r| if s == 0.0 { 0.0 } else { s * r });
                influence.push(part);
            }
        }
        let mut gram = vec![0.0; packed_len(k)];
        add_gram::<FMA>(&influence, k, 0, 1, &mut gram);
        Part {
            without: parts,
            influence,
            gram,
            plain: plain.into_iter().map(V::sum).collect(),
            spread: spread.into_iter().map(V::sum).collect(),
            max_leverage: most.0.into_iter().fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    fn normals(n: usize, key: u64) -> Vec<f64> {
        let mut out = vec![0.0; n];
        Stream::new(key, Domain::User, 0, 0).fill_normal(&mut out);
        out
    }

    /// The average of `y` with `m` given controls.
    fn controlled(w: &[f64], y: &[f64], h: &[f64], m: usize) -> Average {
        let controls = Controls::Given(Rows::new(h, m));
        average(&Context::serial(), w, Rows::new(y, 1), controls).unwrap()
    }

    #[test]
    fn without_controls_it_is_the_self_normalised_average() {
        let x = [1.0, 4.0, f64::NAN, -2.0];
        let w = [0.2, 0.3, 0.0, 0.5];
        let context = Context::serial();
        let got = average(&context, &w, Rows::new(&x, 1), Controls::None).unwrap();
        let mean = 0.2 + 1.2 - 1.0;
        let variance = [(0.2, 1.0), (0.3, 4.0), (0.5, -2.0)]
            .iter()
            .map(|(w, x): &(f64, f64)| (w * (x - mean)).powi(2))
            .sum::<f64>();
        assert!((got.mean[0] - mean).abs() < 1e-15);
        assert!((got.cov[0] - variance).abs() < 1e-15);
        assert!((got.plain_variance[0] - variance).abs() < 1e-15);
        let scatter = 0.2 + 0.3 * 16.0 + 0.5 * 4.0 - mean * mean;
        assert!((got.scatter[0] - scatter).abs() < 1e-15);
    }

    #[test]
    fn the_error_is_the_jackknife_of_the_intercept() {
        let (n, m) = (40, 3);
        let (h, y) = (normals(n * m, 1), normals(n, 2));
        let w: Vec<f64> = normals(n, 3).iter().map(|z| z.abs()).collect();
        let estimate = |w: &[f64]| controlled(w, &y, &h, m);
        let all = estimate(&w);
        let mut variance = 0.0;
        for i in 0..n {
            let mut without = w.clone();
            without[i] = 0.0;
            variance += (estimate(&without).mean[0] - all.mean[0]).powi(2);
        }
        assert!((all.cov[0] / variance - 1.0).abs() < 1e-10, "{} {variance}", all.cov[0]);
        let squares: f64 = all.parts.iter().map(|p| p * p).sum();
        assert!((squares / variance - 1.0).abs() < 1e-10);
        let mut first = w.clone();
        first[0] = 0.0;
        let moved = all.mean[0] - estimate(&first).mean[0];
        assert!((all.parts[0] - moved).abs() < 1e-10 * moved.abs());
        assert_eq!(all.rank, m);
    }

    #[test]
    fn drift_is_the_mean_of_a_control_over_its_error() {
        let (n, x, y) = (500, normals(500, 9), normals(500, 10));
        let w = vec![1.0; n];
        let of = |h: &[f64]| controlled(&w, &y, h, 1).drift;
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let error = (variance / n as f64).sqrt();
        assert!((of(&x) - mean.abs() / error).abs() < 1e-10);
        let shifted: Vec<f64> = x.iter().map(|x| x - 1.0).collect();
        assert!((of(&shifted) - (mean - 1.0).abs() / error).abs() < 1e-9);
    }

    #[test]
    fn redundant_controls_change_nothing() {
        let n = 200;
        let (a, y) = (normals(n, 4), normals(n, 5));
        let w = vec![1.0; n];
        let twice: Vec<f64> = a.iter().flat_map(|a| [*a, 0.0, -3.0 * a]).collect();
        let (one, three) = (controlled(&w, &y, &a, 1), controlled(&w, &y, &twice, 3));
        assert_eq!((one.rank, three.rank), (1, 1));
        assert!((one.mean[0] - three.mean[0]).abs() < 1e-14);
        assert!((one.cov[0] / three.cov[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (n, d) = (20_001, 3);
        let x = normals(n * d, 6);
        let gradients: Vec<f64> = x.iter().map(|x| -x).collect();
        let w: Vec<f64> = normals(n, 7).iter().map(|z| z * z).collect();
        let run = |n_threads| {
            let context = Context::new(n_threads, |_, _| Ok(())).unwrap();
            let points = Rows::new(&x, d);
            let gradients = Rows::new(&gradients, d);
            average(&context, &w, points, Controls::Stein { points, gradients, degree: 2 }).unwrap()
        };
        let one = run(1);
        for n_threads in [2, 3, 8] {
            assert_eq!(one, run(n_threads));
        }
    }

    #[test]
    fn as_many_columns_as_points_are_refused() {
        let x = normals(12, 8);
        let context = Context::serial();
        let controls = Controls::Given(Rows::new(&x, 3));
        let refused = average(&context, &[1.0; 4], Rows::new(&x[..4], 1), controls);
        assert!(matches!(refused, Err(Error::Argument { .. })));
    }
}
