//! Prior masses of dead points: live points, volumes, weights, the evidence and its error.

use fermiac_base::simd::{Kernel, LANES, V, dispatch, exp_slice, expm1v, ln, ln_slice};
use fermiac_base::{Error, Result};

/// The number of live points at the death of each point, itself included.
///
/// `ell` are the sorted log-likelihoods of the dead points; equal ones die one after the other. A
/// point is born just above its `birth`, or before all others where that is -inf. The number at
/// point `i` is that of the points born below its level, less the `i` that died before it. Runs are
/// merged by sorting their points together.
///
/// # References
/// E. Higson, W. Handley, M. Hobson, A. Lasenby, "Dynamic nested sampling: an improved algorithm
/// for parameter estimation and evidence calculation", Statistics and Computing 29 (2019).
pub fn n_alive(ell: &[f64], birth: &[f64]) -> Result<Vec<u64>> {
    check(ell, birth)?;
    let mut births = birth.to_vec();
    births.sort_unstable_by(f64::total_cmp);
    let mut born = births.partition_point(|b| *b == f64::NEG_INFINITY);
    let mut alive = Vec::with_capacity(ell.len());
    for (i, level) in ell.iter().enumerate() {
        while born < births.len() && births[born] < *level {
            born += 1;
        }
        // Each point so far was born below its own level, hence below this one: at least one.
        alive.push((born - i) as u64);
    }
    Ok(alive)
}

/// Refuses points that no run can produce.
pub(super) fn check(ell: &[f64], birth: &[f64]) -> Result<()> {
    if ell.len() != birth.len() {
        let why = format!("{} given for {} log-likelihoods; one each", birth.len(), ell.len());
        return Err(Error::argument("births", why));
    }
    let refuse = |name: &str, i: usize, why: String| {
        Err(Error::argument(name, format!("point {i} has {why}")))
    };
    for (i, (l, b)) in ell.iter().zip(birth).enumerate() {
        if l.is_nan() || *l == f64::INFINITY {
            return refuse("log_likelihoods", i, format!("{l}; a number below +inf is needed"));
        }
        if i > 0 && ell[i - 1] > *l {
            let why = format!("{l}, less than the one before it, {}; sort them", ell[i - 1]);
            return refuse("log_likelihoods", i, why);
        }
        if !(b < l || *b == f64::NEG_INFINITY) {
            let why = format!("{b}, which is not below its log-likelihood {l}; births must be");
            return refuse("births", i, why);
        }
    }
    Ok(())
}

/// The prior masses of the sorted points of a run, and the evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Volumes {
    /// The logarithm of the prior mass left after each death, with the expected shrinkage.
    pub log_x: Vec<f64>,
    /// The logarithm of each point's prior mass; the masses sum to one.
    pub log_prior_masses: Vec<f64>,
    /// The logarithm of the evidence.
    pub log_evidence: f64,
    /// Its standard error, due to the unknown shrinkage.
    pub log_evidence_stderr: f64,
    /// The Kullback–Leibler divergence of the posterior from the prior, in nats.
    pub information: f64,
    /// Kish's effective sample size of the posterior.
    pub ess: f64,
}

/// Returns the volumes of sorted points, each the lowest of `n_alive` live ones at its death.
///
/// With the mean log-shrinkage -1/n per death, log Z is unbiased to first order in 1/n. Masses
/// follow the trapezoid rule: the shell between two deaths belongs to both points in equal parts,
/// the first shell to the first point and the rest at the end to the last, so that a constant
/// likelihood has exactly its value as evidence. The error is of first order: deaths shrink the mass
/// independently, the variance of -log t is 1/n², and the derivative of Z by log t is the part of
/// the likelihood's integral above that level.
///
/// If no point has a likelihood above 0, the log-evidence is -inf with an infinite error.
///
/// # References
/// J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis 1 (2006).
pub fn volumes(ell: &[f64], n_alive: &[u64]) -> Volumes {
    let shells = shells(n_alive);
    let mut log_masses = shares(&shells);
    ln_slice(&mut log_masses);
    let mut log_x = Vec::with_capacity(ell.len());
    let mut log_mass = 0.0;
    for (share, n) in log_masses.iter_mut().zip(n_alive) {
        *share += log_mass;
        log_mass -= 1.0 / *n as f64;
        log_x.push(log_mass);
    }
    // The masses sum to one up to rounding, which has to be the same as in the evidence: for a
    // constant likelihood both are the same sum.
    let log_total = log_sum(&log_masses);
    let top = ell.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        log_masses.iter_mut().for_each(|w| *w -= log_total);
        return Volumes {
            log_x,
            log_prior_masses: log_masses,
            log_evidence: f64::NEG_INFINITY,
            log_evidence_stderr: f64::INFINITY,
            information: 0.0,
            ess: 0.0,
        };
    }
    let mut posterior: Vec<f64> = log_masses.iter().zip(ell).map(|(w, l)| w + (l - top)).collect();
    let log_height = log_sum(&posterior) - log_total;
    posterior.iter_mut().for_each(|p| *p -= log_total + log_height);
    exp_slice(&mut posterior);
    // The level of a point without mass may be -inf.
    let mean = posterior.iter().zip(ell).filter(|(p, _)| **p > 0.0);
    let mean = mean.map(|(p, l)| p * (l - top)).sum::<f64>();
    log_masses.iter_mut().for_each(|w| *w -= log_total);
    Volumes {
        log_evidence_stderr: shrinkage_error(ell, n_alive, &log_x, top + log_height),
        log_evidence: top + log_height,
        information: (mean - log_height).max(0.0),
        ess: 1.0 / posterior.iter().map(|p| p * p).sum::<f64>(),
        log_x,
        log_prior_masses: log_masses,
    }
}

/// The standard error of log Z: the square root of the sum of (∂ log Z/∂ log t)² / n².
fn shrinkage_error(ell: &[f64], n_alive: &[u64], log_x: &[f64], log_evidence: f64) -> f64 {
    let n = ell.len();
    let (mut rises, mut heights) = (vec![0.0; n], vec![f64::NEG_INFINITY; n]);
    // Summed by parts, Z = L₁ + Σ X (L₊ - L₋)/2 over the neighbours of each point. All terms are
    // positive, and the derivative by the shrinkage of one death is the sum from its own term on.
    for i in 0..n {
        let (below, above) = (ell[i.saturating_sub(1)], ell[(i + 1).min(n - 1)]);
        if above > f64::NEG_INFINITY {
            rises[i] = below - above;
            heights[i] = log_x[i] + (above - log_evidence);
        }
    }
    dispatch(Expm1(&mut rises));
    exp_slice(&mut heights);
    let (mut inside, mut variance) = (0.0, 0.0);
    for i in (0..n).rev() {
        inside -= 0.5 * heights[i] * rises[i];
        variance += (inside / n_alive[i] as f64).powi(2);
    }
    variance.sqrt()
}

/// The share of the remaining mass that each death removes: 1 - exp(-1/n).
pub(super) fn shells(n_alive: &[u64]) -> Vec<f64> {
    let mut shells: Vec<f64> = n_alive.iter().map(|n| -1.0 / *n as f64).collect();
    dispatch(Expm1(&mut shells));
    shells.iter_mut().for_each(|q| *q = -*q);
    shells
}

/// Each point's share of the mass left before its death, by the trapezoid rule.
fn shares(shells: &[f64]) -> Vec<f64> {
    let n = shells.len();
    let mut shares = Vec::with_capacity(n);
    for (i, own) in shells.iter().enumerate() {
        let outer = if i == 0 { *own } else { 0.5 * own };
        let inner = if i + 1 == n { 1.0 } else { 0.5 * shells[i + 1] };
        shares.push(outer + (1.0 - own) * inner);
    }
    shares
}

/// The logarithm of the sum of exponentials; -inf for an empty sum.
fn log_sum(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    let mut terms: Vec<f64> = values.iter().map(|v| v - top).collect();
    exp_slice(&mut terms);
    top + ln(terms.iter().sum())
}

/// eˣ - 1 of every element, in place; below -40 it is -1.
struct Expm1<'a>(&'a mut [f64]);

impl Kernel for Expm1<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (tiles, rest) = self.0.as_chunks_mut::<LANES>();
        for tile in tiles {
            *tile = expm1v::<FMA>(V(*tile)).0;
        }
        let mut padded = V::ZERO;
        padded.0[..rest.len()].copy_from_slice(rest);
        rest.copy_from_slice(&expm1v::<FMA>(padded).0[..rest.len()]);
    }
}
