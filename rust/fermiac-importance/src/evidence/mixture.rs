//! Weighted fits of mixtures of Gaussians or Student-t densities: expectation-maximisation, with the
//! number of components by the Bayesian information criterion.
//!
//! The fit minimises the Kullback-Leibler divergence from the weighted points to the mixture. For
//! Student-t components the E step also gives each point its weight (df + d) / (df + δ), as in Peel
//! and McLachlan, *Robust mixture modelling using the t distribution* (2000).

use crate::component_bank::{ComponentBank, Fitted, Tail};
use crate::fit::{add, add_square, condition, full};
use crate::points::SPAN;
use crate::proposal::Proposal;
use fermiac_base::Result;
use fermiac_base::linalg::packed_len;
use fermiac_base::par::Context;
use fermiac_base::simd::{Kernel, V, dispatch, exp, expv, ln, lnv};
use std::ops::Range;

const ITERATIONS: usize = 25;
/// Gain of the log-likelihood per unit weight at which EM stops.
const TOLERANCE: f64 = 3e-4;
/// Steps of the power iteration for the longest axis: any vector near the longest ones will do.
const AXIS_STEPS: usize = 50;

/// A mixture as fitted.
#[derive(Debug, Clone)]
pub(crate) struct Mixture {
    pub(crate) shares: Vec<f64>,
    pub(crate) fitted: Vec<Fitted>,
}

impl Mixture {
    /// Mean and covariance of the whole mixture.
    pub(crate) fn moments(&self) -> Fitted {
        let d = self.fitted[0].mean.len();
        let mut mean = vec![0.0; d];
        for (share, f) in self.shares.iter().zip(&self.fitted) {
            mean.iter_mut().zip(&f.mean).for_each(|(m, x)| *m += share * x);
        }
        let mut covariance = vec![0.0; d * d];
        for (share, f) in self.shares.iter().zip(&self.fitted) {
            for j in 0..d {
                for k in 0..d {
                    let between = (f.mean[j] - mean[j]) * (f.mean[k] - mean[k]);
                    covariance[j * d + k] += share * (f.covariance[j * d + k] + between);
                }
            }
        }
        Fitted { mean, covariance }
    }

    /// The sampler: this mixture with a share of the law.
    pub(super) fn proposal(&self, tail: Tail, base: f64) -> Result<Proposal> {
        let d = self.fitted[0].mean.len();
        let mut proposal = Proposal {
            bank: ComponentBank::new(d, tail),
            group: Vec::new(),
            within: Vec::new(),
            alpha: self.shares.clone(),
            base,
            n_laws: 1,
            given: 0.0,
        };
        for (group, fitted) in self.fitted.iter().enumerate() {
            proposal.add(group, 1.0, fitted)?;
        }
        Ok(proposal)
    }
}

/// Weighted points, and the spread towards which a fit to them is shrunk.
pub(crate) struct Fitter<'a, 'b> {
    pub(crate) context: &'a Context<'b>,
    pub(crate) dim: usize,
    pub(crate) tail: Tail,
    /// tiles × d
    pub(crate) z: &'a [V],
    /// Summing to 1: tiles.
    pub(crate) weights: &'a [V],
    /// How many points of equal weight these are worth.
    pub(crate) effective: f64,
    /// The sampler of the points: the less weight they carry, the more of its spread a fit gets.
    pub(crate) wide: &'a Fitted,
    /// The units in which axes are compared: standard deviations of the law.
    pub(crate) units: &'a [f64],
}

impl Fitter<'_, '_> {
    /// The mixture of at most `most` components (of exactly as many as can be fitted up to `most`
    /// with `exact`) with the least BIC, grown by splitting.
    pub(crate) fn fit(&self, most: usize, exact: bool) -> Result<Mixture> {
        let start = Mixture { shares: vec![1.0], fitted: vec![self.wide.clone()] };
        // One pass of Gaussian weights first: the mean and covariance of the points themselves.
        let gaussian = Fitter { tail: Tail::Gaussian, ..*self };
        let single = gaussian.iterate(start, 1)?.0;
        let (mut best, likelihood, _) = self.iterate(single, ITERATIONS)?;
        let mut criterion = self.criterion(1, likelihood);
        for k in 2..=most {
            let (grown, likelihood, carried) = self.iterate(self.split(&best)?, ITERATIONS)?;
            let next = self.criterion(k, likelihood);
            // A component needs more points than coordinates to have a shape of its own.
            if carried <= self.dim as f64 + 1.0 || !(exact || next < criterion) {
                break;
            }
            (best, criterion) = (grown, next);
        }
        Ok(best)
    }

    /// One Rao-Blackwellised update of a mixture: shares, means and covariances from the
    /// responsibilities of its own components.
    pub(super) fn update(&self, mixture: Mixture) -> Result<Mixture> {
        Ok(self.iterate(mixture, 1)?.0)
    }

    /// -2 log-likelihood + parameters · log n, for n the effective number of points.
    fn criterion(&self, components: usize, likelihood: f64) -> f64 {
        let d = self.dim;
        let parameters = components * (1 + d + packed_len(d)) - 1;
        parameters as f64 * ln(self.effective) - 2.0 * self.effective * likelihood
    }

    /// EM from `mixture`. Gives the log-likelihood per unit weight before the last step, and the
    /// least number of points that carry a component.
    fn iterate(&self, mut mixture: Mixture, iterations: usize) -> Result<(Mixture, f64, f64)> {
        let d = self.dim;
        let width = 3 + d + packed_len(d);
        let (mut likelihood, mut carried) = (f64::NEG_INFINITY, 0.0);
        for _ in 0..iterations {
            let mut bank = ComponentBank::new(d, self.tail);
            for fitted in &mixture.fitted {
                bank.push(fitted)?;
            }
            let mut sums = vec![0.0; mixture.shares.len() * width + 1];
            let tiles = self.weights.len();
            let data = self.data();
            self.context.ordered(
                tiles.div_ceil(SPAN),
                |i| {
                    let span = i * SPAN..((i + 1) * SPAN).min(tiles);
                    Ok(dispatch(EmPass { data, mixture: &mixture, bank: &bank, span }))
                },
                |_, part| {
                    add(&mut sums, &part);
                    Ok(())
                },
            )?;
            let now = sums[sums.len() - 1];
            carried = self.maximise(&mut mixture, &sums)?;
            let gain = now - likelihood;
            likelihood = now;
            if gain < TOLERANCE {
                break;
            }
        }
        Ok((mixture, likelihood, carried))
    }

    fn data(&self) -> Data<'_> {
        Data { dim: self.dim, tail: self.tail, z: self.z, weights: self.weights }
    }

    /// The M step. Covariances are shrunk towards their average over the components, and that towards
    /// the spread of the sampler of the points, by the share (d + 1) / (n + d + 1) for n effective points.
    fn maximise(&self, mixture: &mut Mixture, sums: &[f64]) -> Result<f64> {
        let d = self.dim;
        let width = 3 + d + packed_len(d);
        let freedom = d as f64 + 1.0;
        let lean = |effective: f64| freedom / (effective + freedom);
        let mut effective = Vec::with_capacity(mixture.shares.len());
        let mut pooled = vec![0.0; d * d];
        for (k, part) in sums[..sums.len() - 1].chunks_exact(width).enumerate() {
            let (sum, squares, robust) = (part[0], part[1], part[2]);
            mixture.shares[k] = sum;
            effective.push(if squares > 0.0 { sum * sum / squares } else { 0.0 });
            // A component that lost its points keeps its shape; its share goes to 0.
            if effective[k] >= 2.0 {
                let offset: Vec<f64> = part[3..3 + d].iter().map(|s| s / robust).collect();
                let mut covariance = full(d, &part[3 + d..], 1.0);
                let scale = match self.tail {
                    Tail::Gaussian => 1.0 / sum,
                    Tail::Student(df) => df / (df - 2.0) / sum,
                };
                for i in 0..d {
                    for j in 0..d {
                        let c = &mut covariance[i * d + j];
                        *c = (*c - robust * offset[i] * offset[j]) * scale;
                    }
                }
                let fitted = &mut mixture.fitted[k];
                fitted.mean.iter_mut().zip(&offset).for_each(|(m, o)| *m += o);
                fitted.covariance = covariance;
            }
            for (p, c) in pooled.iter_mut().zip(&mixture.fitted[k].covariance) {
                *p += sum * c;
            }
        }
        let total: f64 = mixture.shares.iter().sum();
        mixture.shares.iter_mut().for_each(|s| *s /= total);
        let centre = mixture.moments().mean;
        let share = lean(self.effective);
        for i in 0..d {
            for j in 0..d {
                let between = (centre[i] - self.wide.mean[i]) * (centre[j] - self.wide.mean[j]);
                let scatter = self.wide.covariance[i * d + j] + between;
                let p = &mut pooled[i * d + j];
                *p = (1.0 - share) * *p / total + share * scatter;
            }
        }
        for (fitted, effective) in mixture.fitted.iter_mut().zip(&effective) {
            let share = lean(*effective);
            for (c, p) in fitted.covariance.iter_mut().zip(&pooled) {
                *c = (1.0 - share) * *c + share * p;
            }
            condition(fitted, f64::INFINITY, self.wide, false)?;
        }
        Ok(effective.into_iter().fold(f64::INFINITY, f64::min))
    }

    /// The mixture with its largest component cut in two along its longest axis, keeping mean and
    /// covariance.
    fn split(&self, mixture: &Mixture) -> Result<Mixture> {
        let d = self.dim;
        let at = (0..mixture.shares.len())
            .fold(0, |best, k| if mixture.shares[k] > mixture.shares[best] { k } else { best });
        let whole = &mixture.fitted[at];
        let scaled: Vec<f64> = (0..d * d)
            .map(|i| whole.covariance[i] / (self.units[i / d] * self.units[i % d]))
            .collect();
        let (axis, variance) = longest_axis(&scaled, d);
        // Half of the variance along the axis goes between the two, the other half stays within.
        let step: Vec<f64> =
            axis.iter().zip(self.units).map(|(a, u)| a * u * (variance / 2.0).sqrt()).collect();
        let mut out = mixture.clone();
        out.shares[at] /= 2.0;
        out.shares.push(out.shares[at]);
        let mut halves = [whole.clone(), whole.clone()];
        for (half, sign) in halves.iter_mut().zip([-1.0, 1.0]) {
            for i in 0..d {
                half.mean[i] += sign * step[i];
                for j in 0..d {
                    half.covariance[i * d + j] -= step[i] * step[j];
                }
            }
            condition(half, f64::INFINITY, self.wide, false)?;
        }
        let [first, second] = halves;
        out.fitted[at] = first;
        out.fitted.push(second);
        Ok(out)
    }
}

/// The direction of the largest variance, of length 1, and that variance.
fn longest_axis(covariance: &[f64], d: usize) -> (Vec<f64>, f64) {
    let widest =
        (0..d).fold(
            0,
            |best, k| {
                if covariance[k * d + k] > covariance[best * d + best] { k } else { best }
            },
        );
    let mut axis = vec![0.0; d];
    axis[widest] = 1.0;
    let mut variance = covariance[widest * d + widest];
    for _ in 0..AXIS_STEPS {
        let image: Vec<f64> = covariance
            .chunks_exact(d)
            .map(|row| row.iter().zip(&axis).map(|(c, a)| c * a).sum())
            .collect();
        let length = image.iter().map(|y| y * y).sum::<f64>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            break;
        }
        variance = length;
        axis = image.into_iter().map(|y| y / length).collect();
    }
    (axis, variance)
}

/// The part of the fitter that a pass needs; unlike the fitter it can be sent to the threads.
#[derive(Clone, Copy)]
struct Data<'a> {
    dim: usize,
    tail: Tail,
    z: &'a [V],
    weights: &'a [V],
}

/// For each component, with γ the responsibilities and u the weights of the t law: Σwγ, Σ(wγ)²,
/// Σwγu, Σwγu(z - m), Σwγu(z - m)(z - m)ᵀ; last Σw log(mixture density).
struct EmPass<'a> {
    data: Data<'a>,
    mixture: &'a Mixture,
    bank: &'a ComponentBank,
    span: Range<usize>,
}

impl Kernel for EmPass<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Vec<f64> {
        let Data { dim: d, tail, z, weights } = self.data;
        let n = self.mixture.shares.len();
        let width = 3 + d + packed_len(d);
        let mut sums = vec![V::ZERO; n * width + 1];
        let mut centred = vec![V::ZERO; d];
        let mut logs = vec![V::ZERO; n];
        let mut squares = vec![V::ZERO; n];
        let log_shares: Vec<f64> =
            self.mixture.shares.iter().map(|s| ln(s.max(exp(-700.0)))).collect();
        for t in self.span {
            let w = weights[t];
            // Most points carry nothing while the weights are uneven.
            if w.0.iter().all(|w| *w == 0.0) {
                continue;
            }
            let tile = &z[t * d..(t + 1) * d];
            let mut largest = V::splat(-1e300);
            for k in 0..n {
                squares[k] = self.bank.square::<FMA>(k, tile, &mut centred);
                logs[k] = self.bank.log_of::<FMA>(k, squares[k]) + V::splat(log_shares[k]);
                largest = largest.max(logs[k]);
            }
            let mut total = V::ZERO;
            for log in &mut logs {
                *log = expv::<FMA>(*log - largest);
                total = total + *log;
            }
            let log_mixture = largest + lnv::<FMA>(total);
            sums[n * width] = w.mul_add::<FMA>(log_mixture, sums[n * width]);
            for k in 0..n {
                let own = w * (logs[k] / total);
                let robust = match tail {
                    Tail::Gaussian => own,
                    Tail::Student(df) => {
                        own * (V::splat(df + d as f64) / (V::splat(df) + squares[k]))
                    }
                };
                let mean = &self.mixture.fitted[k].mean;
                for j in 0..d {
                    centred[j] = tile[j] - V::splat(mean[j]);
                }
                let row = &mut sums[k * width..(k + 1) * width];
                row[0] = row[0] + own;
                row[1] = own.mul_add::<FMA>(own, row[1]);
                row[2] = row[2] + robust;
                for (s, x) in row[3..3 + d].iter_mut().zip(&centred) {
                    *s = robust.mul_add::<FMA>(*x, *s);
                }
                add_square::<FMA>(robust, &centred, &mut row[3 + d..]);
            }
        }
        sums.into_iter().map(V::sum).collect()
    }
}
