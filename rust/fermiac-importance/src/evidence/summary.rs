//! The result of an evidence run: log Z, its error by strata, and the diagnostics of the weights.

use super::Run;
use crate::trained::Components;
use fermiac_base::simd::{exp_slice, ln};
use fermiac_target::diagnostics::log_khat;
use std::mem;

/// One stage, as reported.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stage {
    /// Evaluations of this stage.
    pub n: usize,
    /// Evaluations up to the end of this stage.
    pub used: usize,
    /// The shares of the components of its sampler, without the law's; none where it is the law.
    pub shares: Vec<f64>,
    /// log Z from this stage's points alone, under its own sampler.
    pub log_evidence: f64,
    /// The effective sample size of these points over their number.
    pub efficiency: f64,
    /// The power of the weights that the next sampler was fitted with: 1 where it is fitted to the
    /// target itself; 0 where nothing was fitted after this stage.
    pub power: f64,
    /// The effective sample size of that fit; 0 where there was none.
    pub fit_ess: f64,
}

/// The evidence, and the weighted points that it is from: those of the final stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The logarithm of the evidence; -inf where no point with density was found.
    pub log_evidence: f64,
    /// Its standard error by the delta method; +inf where no point with density was found.
    pub log_evidence_stderr: f64,
    /// (Σw)² / Σw².
    pub ess: f64,
    /// The tail shape of the weights, as Pareto smoothing fits it.
    pub khat: f64,
    /// The share of the largest squared deviation of a weight from their mean in the sum of all.
    pub max_variance_share: f64,
    /// Whether 10 (d + 1) effective points or more carry the estimate.
    pub converged: bool,
    /// The stages, the final one included.
    pub stages: Vec<Stage>,
    /// Evaluations in all.
    pub n_evals: usize,
    /// Coordinates drawn from the law that lie within rounding of a bound of its support.
    pub n_at_bound: u64,
    /// The points of the final stage, row-major.
    pub draws: Vec<f64>,
    /// log p̃ - log q of each, q the last sampler: the logarithm of their mean exponential is the
    /// log-evidence.
    pub log_weights: Vec<f64>,
    /// log p̃ of each.
    pub log_densities: Vec<f64>,
    /// Complete replicates of nets, and the points of each; 0 where the points are independent.
    pub n_replicates: usize,
    /// As above.
    pub n_per_replicate: usize,
    /// The fitted components of the final sampler.
    pub trained: Option<Components>,
}

/// The report of a stage of `n` points, the last of `used`, from its log-weights under its own sampler.
pub(super) fn report(n: usize, used: usize, mut weights: Vec<f64>, shares: Vec<f64>) -> Stage {
    let (log_mean, ess) = match relative(&mut weights) {
        Some(largest) => {
            let (sum, squares) = sums(&weights);
            (largest + ln(sum / n as f64), sum * sum / squares)
        }
        None => (f64::NEG_INFINITY, 0.0),
    };
    Stage {
        n,
        used,
        shares,
        log_evidence: log_mean,
        efficiency: ess / n as f64,
        power: 0.0,
        fit_ess: 0.0,
    }
}

/// Turns log-weights into weights relative to the largest, and gives its logarithm.
fn relative(log_weights: &mut [f64]) -> Option<f64> {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return None;
    }
    log_weights.iter_mut().for_each(|l| *l -= largest);
    exp_slice(log_weights);
    Some(largest)
}

fn sums(weights: &[f64]) -> (f64, f64) {
    weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w))
}

/// The share of the largest squared deviation from the mean; 0 where all weights are equal.
fn max_variance_share(weights: &[f64], mean: f64) -> f64 {
    let (largest, total) = weights.iter().fold((0.0, 0.0), |(largest, total), w| {
        let square = (w - mean) * (w - mean);
        (f64::max(largest, square), total + square)
    });
    if total > 0.0 { largest / total } else { 0.0 }
}

/// The variance of Σw: the points are strata of fixed size, one for each component.
fn stratified_variance(chunks: &[Vec<usize>], weights: &[f64]) -> f64 {
    let n_strata = chunks.iter().map(Vec::len).max().unwrap_or(0);
    let mut counts = vec![0; n_strata];
    for chunk in chunks {
        counts.iter_mut().zip(chunk).for_each(|(c, n)| *c += n);
    }
    // A stratum of one point has no variance of its own: such points make one stratum.
    let stratum = |s: usize| if counts[s] < 2 { n_strata } else { s };
    let each = |visit: &mut dyn FnMut(usize, f64)| {
        let mut at = 0;
        for chunk in chunks {
            for (s, n) in chunk.iter().enumerate() {
                weights[at..at + n].iter().for_each(|w| visit(stratum(s), *w));
                at += n;
            }
        }
    };
    let mut size = vec![0.0; n_strata + 1];
    let mut mean = vec![0.0; n_strata + 1];
    each(&mut |s, w| {
        size[s] += 1.0;
        mean[s] += w;
    });
    mean.iter_mut().zip(&size).for_each(|(m, n)| *m /= n);
    let mut squares = vec![0.0; n_strata + 1];
    each(&mut |s, w| squares[s] += (w - mean[s]) * (w - mean[s]));
    let mut variance = 0.0;
    for s in 0..=n_strata {
        if size[s] > 1.0 {
            variance += squares[s] * size[s] / (size[s] - 1.0);
        } else if size[s] == 1.0 {
            variance += mean[s] * mean[s];
        }
    }
    variance
}

/// The variance of the mean over replicates of `size` weights each.
fn variance_of_replicates(weights: &[f64], size: usize, mean: f64) -> f64 {
    let count = (weights.len() / size) as f64;
    if count < 2.0 {
        return f64::INFINITY;
    }
    let off = |part: &[f64]| part.iter().sum::<f64>() / size as f64 - mean;
    let squares: f64 = weights.chunks_exact(size).map(|part| off(part) * off(part)).sum();
    let (low, high) = weights
        .iter()
        .fold((f64::INFINITY, 0.0), |(low, high), w| (f64::min(low, *w), f64::max(high, *w)));
    // Replicates that are equal by chance leave what one point makes of them.
    let step = (high - low) / size as f64;
    let least = if squares == 0.0 && high - low > 1e-12 * high { step * step / count } else { 0.0 };
    (squares / (count * (count - 1.0))).max(least)
}

/// The final stage, and what is reported of the stages before it.
pub(super) struct Last {
    pub(super) dim: usize,
    pub(super) stages: Vec<Stage>,
    pub(super) n_evals: usize,
    pub(super) n_at_bound: u64,
    /// Points per chunk and stratum.
    pub(super) counts: Vec<Vec<usize>>,
    pub(super) draws: Vec<f64>,
    pub(super) log_weights: Vec<f64>,
    pub(super) log_densities: Vec<f64>,
    /// The points of each replicate, where they are from nets.
    pub(super) replicate: Option<usize>,
    pub(super) trained: Option<Components>,
}

impl Last {
    /// The result.
    pub(super) fn evidence(mut self) -> Evidence {
        let (d, last) = (self.dim, self.log_weights.len());
        // Only complete replicates count, if there are any.
        let size = self.replicate.filter(|size| last >= *size);
        if let Some(size) = size {
            let n = last / size * size;
            self.log_weights.truncate(n);
            self.draws.truncate(n * d);
            self.log_densities.truncate(n);
        }
        let mut out = Evidence {
            log_evidence: f64::NEG_INFINITY,
            log_evidence_stderr: f64::INFINITY,
            ess: 0.0,
            khat: log_khat(&self.log_weights),
            max_variance_share: 0.0,
            converged: false,
            n_evals: self.n_evals,
            n_at_bound: self.n_at_bound,
            stages: self.stages,
            draws: self.draws,
            log_weights: Vec::new(),
            log_densities: self.log_densities,
            n_replicates: size.map_or(0, |size| last / size),
            n_per_replicate: size.unwrap_or(0),
            trained: self.trained,
        };
        let mut weights = self.log_weights.clone();
        if let Some(largest) = relative(&mut weights) {
            let (sum, squares) = sums(&weights);
            let mean = sum / weights.len() as f64;
            out.log_evidence = largest + ln(mean);
            out.log_evidence_stderr = match (size, self.replicate) {
                (Some(size), _) => variance_of_replicates(&weights, size, mean).sqrt() / mean,
                (None, Some(_)) => f64::INFINITY,
                (None, None) => stratified_variance(&self.counts, &weights).sqrt() / sum,
            };
            out.ess = sum * sum / squares;
            out.max_variance_share = max_variance_share(&weights, mean);
            out.converged = out.ess >= 10.0 * (d as f64 + 1.0);
        }
        out.log_weights = self.log_weights;
        out
    }
}

impl Run<'_, '_, '_> {
    /// The result of the newest stage.
    pub(super) fn finish(mut self) -> Evidence {
        let last = Last {
            dim: self.pool.dim,
            n_evals: self.pool.n,
            n_at_bound: self.problem.n_at_bound(),
            counts: self.pool.newest().map_or_else(Vec::new, |stage| stage.counts.clone()),
            log_weights: self.pool.to_rows(&self.own),
            replicate: self.replicate,
            stages: self.stages,
            trained: Components::of(&self.proposal, self.problem.space()),
            draws: mem::take(&mut self.pool.x),
            log_densities: mem::take(&mut self.pool.log_density),
        };
        last.evidence()
    }
}
