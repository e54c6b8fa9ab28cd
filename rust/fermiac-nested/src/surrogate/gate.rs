//! The test of a surrogate on held-out points.

/// The coverage of the conformal bound.
const SHARE: f64 = 0.95;
/// The largest tail that passes, in nats.
const MAX_TAIL: f64 = 1.0;

/// The errors of a surrogate at held-out points. A constant error is ignored, since weights remove
/// it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// The number of points used: those near the maximum.
    pub n: usize,
    /// The median error.
    pub median: f64,
    /// The standard deviation of the errors.
    pub sd: f64,
    /// The 99 % quantile of the distances from the median.
    pub tail: f64,
    /// The distance from the median within which the error of a fresh point lies with a probability of
    /// at least 95 %, whatever the law of the errors; infinite for fewer than 19 points.
    pub bound: f64,
    /// Whether `sd` is within the tolerance, the tail within a nat, and the bound finite.
    pub passed: bool,
}

/// Tests the `errors` (surrogate less truth) at held-out points with true log-likelihoods `ell`. Only
/// points above `ell_max` - (`dim`/2 + 10) are used.
///
/// Reference: J. Lei et al. (2018), "Distribution-free predictive inference for regression",
/// Journal of the American Statistical Association 113, for the bound.
pub fn gate(errors: &[f64], ell: &[f64], ell_max: f64, dim: usize, tol: f64) -> Gate {
    let level = ell_max - (0.5 * dim as f64 + 10.0);
    let near = errors.iter().zip(ell).filter(|(_, ell)| **ell > level);
    let mut errors: Vec<f64> = near.map(|(error, _)| *error).collect();
    let n = errors.len();
    if n < 2 || errors.iter().any(|error| !error.is_finite()) {
        let bound = f64::INFINITY;
        return Gate { n, median: f64::NAN, sd: bound, tail: bound, bound, passed: false };
    }
    errors.sort_unstable_by(f64::total_cmp);
    let median = 0.5 * (errors[(n - 1) / 2] + errors[n / 2]);
    let mean = errors.iter().sum::<f64>() / n as f64;
    let square = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>();
    let sd = (square / (n - 1) as f64).sqrt();
    let mut distances: Vec<f64> = errors.iter().map(|error| (error - median).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let tail = distances[(0.99 * n as f64).ceil() as usize - 1];
    let rank = (SHARE * (n + 1) as f64).ceil() as usize;
    let bound = distances.get(rank - 1).copied().unwrap_or(f64::INFINITY);
    let passed = sd <= tol && tail <= MAX_TAIL && bound.is_finite();
    Gate { n, median, sd, tail, bound, passed }
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, stream};
    use super::*;

    #[test]
    fn a_constant_error_is_none_and_far_points_do_not_count() {
        let mut random = stream(9, Purpose::Trial, 0);
        let ell: Vec<f64> = (0..300).map(|i| -0.1 * f64::from(i)).collect();
        let errors: Vec<f64> =
            (0..300).map(|i| if i < 120 { 0.2 * random.normal() } else { 50.0 }).collect();
        let found = gate(&errors, &ell, 0.0, 4, 0.3);
        assert_eq!(found.n, 120);
        assert!(found.passed && (found.sd - 0.2).abs() < 0.07, "{found:?}");
        let shifted: Vec<f64> = errors.iter().map(|error| error + 1000.0).collect();
        let again = gate(&shifted, &ell, 0.0, 4, 0.3);
        assert!(again.passed && (again.sd - found.sd).abs() < 1e-9);
        assert!((again.bound - found.bound).abs() < 1e-9 && again.bound > 0.3);
        assert!(!gate(&errors, &ell, 0.0, 4, 0.1).passed);
        assert!(!gate(&errors, &ell, 0.0, 40, 0.3).passed);
    }

    #[test]
    fn a_tail_or_too_few_points_fail() {
        let ell = [0.0; 200];
        let mut errors = [0.0; 200];
        (errors[0], errors[1], errors[2]) = (2.0, -2.0, 1.5);
        assert!(!gate(&errors, &ell, 0.0, 2, 0.3).passed);
        assert!(gate(&[0.0; 200], &ell, 0.0, 2, 0.3).passed);
        assert!(!gate(&errors[100..118], &ell[..18], 0.0, 2, 0.3).passed);
        assert!(gate(&errors[100..119], &ell[..19], 0.0, 2, 0.3).passed);
        assert!(!gate(&[f64::NAN; 30], &ell[..30], 0.0, 2, 0.3).passed);
        assert!(!gate(&[], &[], 0.0, 2, 0.3).passed);
    }

    #[test]
    fn the_bound_covers() {
        // 95 % of fresh points, on the average over samples.
        let (mut covered, mut random) = (0, stream(9, Purpose::Trial, 1));
        let n_samples = 2000;
        for _ in 0..n_samples {
            let errors: Vec<f64> = (0..60).map(|_| random.exponential()).collect();
            let found = gate(&errors, &[0.0; 60], 0.0, 2, 9.0);
            covered += u32::from((random.exponential() - found.median).abs() <= found.bound);
        }
        let share = f64::from(covered) / f64::from(n_samples);
        // The standard error is 0.005; rounding up of the rank adds up to 0.016.
        assert!((0.94..0.99).contains(&share), "{share}");
    }
}
