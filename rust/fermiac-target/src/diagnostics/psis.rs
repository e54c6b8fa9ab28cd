//! Pareto-smoothed importance sampling: the largest weights replaced by the order statistics of the
//! generalised Pareto law that fits them, and its shape k-hat as the diagnostic.
//!
//! Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, Journal of Machine
//! Learning Research (2024).

use super::pareto::{GeneralizedPareto, first_quartile, tail_length_of};
use fermiac_base::par::{Context, MANY, pause, pausing};
use fermiac_base::simd::{exp, exp_slice, ln};
use fermiac_base::special::{expm1, ln1p};
use fermiac_base::{Error, Result};

/// Log-weights closer than this are equal up to rounding.
const EQUAL: f64 = 1e-13;

/// Smoothed log-weights, and the shape of their tail.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoothed {
    /// The log-weights, in the order of the log-ratios.
    pub log_weights: Vec<f64>,
    /// The shape: -inf if all weights of the tail are equal, NaN if no tail could be fitted (fewer
    /// than 30 values, or a quarter of the tail at its lower end).
    pub khat: f64,
}

/// The tail of log-ratios relative to their maximum, and the law fitted to it.
struct Tail {
    largest: f64,
    /// Positions of the tail, by increasing value.
    order: Vec<usize>,
    /// The largest weight below the tail, relative to the largest of all.
    cut: f64,
    khat: f64,
    /// The law of the order statistics; none if nothing is smoothed.
    law: Option<GeneralizedPareto>,
}

/// Returns the k-hat above which an estimate from `n` weights is unreliable, min(1 - 1 / log10 n, 0.7).
pub fn khat_threshold(n: usize) -> f64 {
    (1.0 - std::f64::consts::LN_10 / ln(n as f64)).min(0.7)
}

/// Smooths the tail of importance weights given by their logarithms.
///
/// `r_eff` is the effective sample size of the draws over their number. With `normalize` the
/// weights sum to 1; without, they keep the scale of the ratios.
pub fn psis(log_ratios: &[f64], r_eff: f64, normalize: bool) -> Result<Smoothed> {
    check(log_ratios, r_eff)?;
    pause();
    let tail = Tail::of(log_ratios, r_eff);
    // Relative to the largest weight until the end, which avoids overflow.
    let mut out: Vec<f64> = log_ratios.iter().map(|l| l - tail.largest).collect();
    pause();
    if let Some(law) = tail.law {
        let m = tail.order.len() as f64;
        for (z, at) in tail.order.iter().enumerate() {
            let p = (z as f64 + 0.5) / m;
            // No weight grows beyond the largest raw one.
            out[*at] = ln(tail.cut + law.quantile(p)).min(0.0);
        }
    }
    let shift = if normalize {
        let mut weights = out.clone();
        weights.chunks_mut(MANY).for_each(|part| {
            exp_slice(part);
            pause();
        });
        -ln(weights.iter().sum())
    } else {
        tail.largest
    };
    out.iter_mut().for_each(|l| *l += shift);
    Ok(Smoothed { log_weights: out, khat: tail.khat })
}

/// Smooths many columns, `n` values each one after the other, on the threads of `context`.
pub fn psis_columns(
    log_ratios: &[f64],
    n: usize,
    r_eff: &[f64],
    normalize: bool,
    context: &Context<'_>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut log_weights = Vec::new();
    let mut khat = Vec::with_capacity(r_eff.len());
    context.ordered_apart(
        r_eff.len(),
        n,
        |c| psis(&log_ratios[c * n..(c + 1) * n], r_eff[c], normalize),
        |_, column| {
            if log_weights.is_empty() {
                log_weights = column.log_weights; // of a single column there is no copy
            } else {
                log_weights.extend_from_slice(&column.log_weights);
            }
            khat.push(column.khat);
            Ok(())
        },
    )?;
    Ok((log_weights, khat))
}

/// Returns the k-hat of weights given by their logarithms, without NaN or +inf; NaN if all are 0.
pub fn log_khat(log_ratios: &[f64]) -> f64 {
    if log_ratios.iter().all(|l| *l == f64::NEG_INFINITY) {
        return f64::NAN;
    }
    Tail::of(log_ratios, 1.0).khat
}

fn check(log_ratios: &[f64], r_eff: f64) -> Result<()> {
    if !(r_eff > 0.0 && r_eff.is_finite()) {
        let why = format!("{r_eff} given; a positive, finite number is needed, usually at most 1");
        return Err(Error::argument("r_eff", why));
    }
    if let Some(at) = log_ratios.iter().position(|l| l.is_nan() || *l == f64::INFINITY) {
        let why = format!(
            "value {at} is {}; finite numbers are needed, or -inf for a weight of 0",
            log_ratios[at]
        );
        return Err(Error::argument("log_ratios", why));
    }
    if log_ratios.iter().all(|l| *l == f64::NEG_INFINITY) {
        let why = format!("all {} are -inf; at least one weight must not be 0", log_ratios.len());
        return Err(Error::argument("log_ratios", why));
    }
    Ok(())
}

impl Tail {
    fn of(log_ratios: &[f64], r_eff: f64) -> Self {
        let n = log_ratios.len();
        let largest = log_ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let none = |khat| Self { largest, order: Vec::new(), cut: 0.0, khat, law: None };
        let m = tail_length_of(n, r_eff);
        if n <= m {
            return none(f64::NAN);
        }
        let mut order: Vec<usize> = (0..n).collect();
        // Equal values keep their order, so that the result is the same on every machine.
        let by_value =
            |a: &usize, b: &usize| log_ratios[*a].total_cmp(&log_ratios[*b]).then(a.cmp(b));
        let (below, _, _) = order.select_nth_unstable_by(n - m, pausing(by_value));
        pause();
        let cut = below.iter().map(|i| log_ratios[*i]).fold(f64::NEG_INFINITY, f64::max);
        let mut order = order.split_off(n - m);
        order.sort_unstable_by(by_value);
        if largest - log_ratios[order[0]] <= EQUAL {
            return none(f64::NEG_INFINITY);
        }
        let cut = exp(cut - largest);
        let exceedances: Vec<f64> =
            order.iter().map(|i| exp(log_ratios[*i] - largest) - cut).collect();
        if first_quartile(&exceedances) <= exceedances[0] {
            return none(f64::NAN);
        }
        let law = GeneralizedPareto::fit(&exceedances);
        let usable = law.shape.is_finite() && law.scale > 0.0 && law.scale.is_finite();
        Self { largest, order, cut, khat: law.shape, law: usable.then_some(law) }
    }
}

impl GeneralizedPareto {
    fn quantile(self, p: f64) -> f64 {
        let log = ln1p(-p);
        if self.shape == 0.0 {
            return -self.scale * log;
        }
        self.scale * expm1(-self.shape * log) / self.shape
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fermiac_base::rng::{Domain, Stream};

    use super::*;

    fn pareto(k: f64, n: usize) -> Vec<f64> {
        let mut rng = Stream::new(5, Domain::User, 0, 0);
        (0..n).map(|_| -k * ln(rng.uniform())).collect()
    }

    #[test]
    fn finds_the_shape_and_caps_the_tail() {
        for k in [0.3, 0.7] {
            let raw = pareto(k, 100_000);
            let smoothed = psis(&raw, 1.0, false).unwrap();
            assert!((smoothed.khat - k).abs() < 0.15, "{} where {k} is right", smoothed.khat);
            let largest = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(smoothed.log_weights.iter().all(|l| *l <= largest));
            // Below the tail nothing changes but by rounding.
            let moved =
                raw.iter().zip(&smoothed.log_weights).filter(|(a, b)| (*a - *b).abs() > 1e-12);
            assert!(moved.count() <= super::super::tail_length(raw.len()));
            assert_eq!(log_khat(&raw), smoothed.khat);
        }
    }

    #[test]
    fn normalised_weights_sum_to_one() {
        let raw: Vec<f64> = pareto(0.5, 1000).iter().map(|l| l + 900.0).collect();
        let sum: f64 = psis(&raw, 0.5, true).unwrap().log_weights.iter().map(|l| exp(*l)).sum();
        assert!((sum - 1.0).abs() < 1e-13);
    }

    #[test]
    fn equal_weights_have_no_tail_and_stay() {
        let even = psis(&[-3.0; 1000], 1.0, true).unwrap();
        assert_eq!(even.khat, f64::NEG_INFINITY);
        assert!(even.log_weights.iter().all(|l| (exp(*l) - 1e-3).abs() < 1e-17));
        // A tail of one value above the rest has no shape either.
        let mut two = vec![0.0; 1000];
        two[..200].fill(1.0);
        assert_eq!(psis(&two, 1.0, false).unwrap().khat, f64::NEG_INFINITY);
    }

    #[test]
    fn what_cannot_be_fitted_is_not_smoothed() {
        let few = [0.1, 0.2, 0.3];
        let out = psis(&few, 1.0, false).unwrap();
        assert!(
            out.khat.is_nan()
                && out.log_weights.iter().zip(few).all(|(a, b)| (a - b).abs() < 1e-15)
        );
        // Half of the tail has no weight at all.
        let mut sparse = vec![f64::NEG_INFINITY; 100];
        for i in 0..10 {
            sparse[i] = i as f64;
        }
        let out = psis(&sparse, 1.0, false).unwrap();
        assert!(out.khat.is_nan());
        assert_eq!(out.log_weights, sparse);
    }

    #[test]
    fn bad_values_are_errors() {
        assert!(psis(&[0.0, f64::NAN], 1.0, true).is_err());
        assert!(psis(&[0.0, f64::INFINITY], 1.0, true).is_err());
        assert!(psis(&[f64::NEG_INFINITY; 20], 1.0, true).is_err());
        assert!(psis(&[0.0; 20], 0.0, true).is_err());
        assert!(log_khat(&[f64::NEG_INFINITY; 20]).is_nan());
    }
}
