//! Audits in one run: what v right ones among r guesses at the membership of m canaries say.
//!
//! The bound for (ε, δ) is that of Steinke, Nasr and Jagielski (2023), the one for a Gaussian
//! trade-off curve that of Mahloujifar, Melis and Chaudhuri (2024).

use super::gaussian::{gdp_epsilon, gdp_mu};
use fermiac_base::simd::{exp, ln, normal_cdf, normal_quantile};
use fermiac_base::special::{IncompleteBeta, log1p_less, stirling_correction};

/// Relative width of the final bracket of a bound.
const TOLERANCE: f64 = 1.0e-13;
/// Standard deviations above the mean beyond which nothing counts: exp(-72).
const FAR: f64 = 12.0;
const TWO_PI: f64 = std::f64::consts::TAU;

/// The counts of an audit: v <= r <= m.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Canaries, each in the data with probability ½.
    pub n_canaries: f64,
    /// Guesses.
    pub n_guesses: f64,
    /// Right guesses.
    pub n_correct: f64,
}

/// Which theorem an audit goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The number of right guesses is dominated by a binomial law, up to a term of δ.
    Binomial,
    /// The recursion for trade-off curves, with the Gaussian curve that has δ at ε.
    FDp,
}

impl Method {
    /// The largest probability of as many right guesses under (`epsilon`, `delta`) privacy.
    pub fn p_value(self, counts: Counts, epsilon: f64, delta: f64) -> f64 {
        match self {
            Self::Binomial => binomial_p_value(counts, epsilon, delta),
            Self::FDp => curve_p_value(counts, gdp_mu(epsilon, delta)),
        }
    }

    /// The lower bounds at level 1 - `alpha`: of epsilon, and of mu where the method has one.
    pub fn bounds(self, counts: Counts, delta: f64, alpha: f64) -> (f64, f64) {
        match self {
            Self::Binomial => (binomial_bound(counts, delta, alpha), f64::NAN),
            Self::FDp => {
                let mu = curve_bound(counts, alpha);
                (gdp_epsilon(delta, mu), mu)
            }
        }
    }
}

/// min(1, P(W >= v) + 2 m δ max P(v > W >= v - i) / i) with W binomial of (r, 1 / (1 + e^-ε)).
fn binomial_p_value(counts: Counts, epsilon: f64, delta: f64) -> f64 {
    let Counts { n_canaries: m, n_guesses: r, n_correct: v } = counts;
    if v == 0.0 || delta >= 1.0 {
        return 1.0;
    }
    let small = exp(-epsilon);
    let (q, other) = (1.0 / (1.0 + small), small / (1.0 + small));
    let above = IncompleteBeta::new(v, r - v + 1.0).lower(q, other);
    let slack = if delta > 0.0 { 2.0 * m * delta * widest(r, v, q, other, small) } else { 0.0 };
    (above + slack).min(1.0)
}

/// The largest P(v > W >= v - i) / i over 1 <= i <= v. The terms P(W = k) rise and then fall on the
/// way down from v - 1, so their running mean does, and is largest just before a falling term is
/// below it.
fn widest(r: f64, v: f64, q: f64, other: f64, odds: f64) -> f64 {
    let mean = r * q;
    // Above this point the terms add nothing: for q >= ½ the upper tail is below a Gaussian one.
    let far = (mean + FAR * (mean * other).sqrt() + 1.0).ceil();
    let mut k = (v - 1.0).min(far);
    let scale = ln_mass(r, k, q, other);
    if scale == f64::NEG_INFINITY {
        return 0.0;
    }
    let (mut term, mut total, mut best) = (1.0, 0.0, 0.0);
    loop {
        total += term;
        let average = total / (v - k);
        if average > best {
            best = average;
        }
        let ratio = k * odds / (r - k + 1.0);
        term *= ratio;
        if k == 0.0 || (ratio < 1.0 && term < average) {
            return best * exp(scale);
        }
        k -= 1.0;
    }
}

/// The logarithm of the binomial probability of k among r, without cancelling.
fn ln_mass(r: f64, k: f64, q: f64, other: f64) -> f64 {
    let l = r - k;
    if k == 0.0 {
        return r * ln(other);
    }
    if l == 0.0 {
        // q may be 1 to the last place.
        return r * fermiac_base::special::ln1p(-other);
    }
    // By Stirling's formula with its corrections, and deviances from the mean.
    let off = if other < 0.25 { r * other - l } else { k - r * q };
    let deviance = k * log1p_less(-off / k, r * q / k) + l * log1p_less(off / l, r * other / l);
    let corrections = stirling_correction(r) - stirling_correction(k) - stirling_correction(l);
    0.5 * ln(r / (TWO_PI * k * l)) + corrections + deviance
}

/// The largest ε with a p-value below `alpha`; 0 if there is none.
fn binomial_bound(counts: Counts, delta: f64, alpha: f64) -> f64 {
    let Counts { n_guesses: r, n_correct: v, .. } = counts;
    let at_zero = binomial_p_value(counts, 0.0, delta);
    if at_zero >= alpha {
        return 0.0;
    }
    // Without δ the bound is a quantile of the beta law, and δ only lowers it.
    let (q, other) = IncompleteBeta::new(v, r - v + 1.0).quantile(alpha);
    let high = ln(q / other).max(0.0);
    if delta == 0.0 {
        return high;
    }
    let f = |epsilon| binomial_p_value(counts, epsilon, delta) - alpha;
    let at_high = f(high);
    if at_high <= 0.0 {
        return high;
    }
    root((0.0, at_zero - alpha), (high, at_high), TOLERANCE, f)
}

/// A symmetric trade-off curve that is linear between its corners.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// False-positive rates of the corners, from 0 to 1, increasing.
    pub fpr: &'a [f64],
    /// False-negative rates of the corners.
    pub fnr: &'a [f64],
}

impl Curve<'_> {
    /// The smallest false-negative rate at a false-positive rate.
    fn at(&self, x: f64) -> f64 {
        let i = self.fpr.partition_point(|corner| *corner <= x).clamp(1, self.fpr.len() - 1);
        let (left, right) = (self.fpr[i - 1], self.fpr[i]);
        let share = (x - left) / (right - left);
        self.fnr[i - 1] + share * (self.fnr[i] - self.fnr[i - 1])
    }

    /// The largest probability of as many right guesses if the mechanism has this curve.
    pub fn p_value(&self, counts: Counts) -> f64 {
        if counts.n_correct == 0.0 {
            return 1.0;
        }
        // Rates of hits at rates of misses: f is its own inverse.
        level(|alpha| excess(counts, |hit| self.at(1.0 - hit), alpha))
    }
}

/// How far the recursion for a trade-off curve ends above r/m, which is a rejection at level `alpha`
/// where it is positive. `inverse` is the inverse of 1 - f.
fn excess(counts: Counts, inverse: impl Fn(f64) -> f64, alpha: f64) -> f64 {
    let Counts { n_canaries: m, n_guesses: r, n_correct: v } = counts;
    let (mut hit, mut miss) = (alpha * v / m, alpha * (r - v) / m);
    let enough = r / m;
    let mut i = v - 1.0;
    while i >= 0.0 {
        let next = inverse(hit);
        if next <= miss {
            // Nothing changes from here on.
            break;
        }
        hit = (hit + i / (r - i) * (next - miss)).min(1.0);
        miss = next;
        if hit + miss > 2.0 * enough {
            break;
        }
        i -= 1.0;
    }
    hit + miss - enough
}

/// The largest μ that is rejected at level `alpha`; 0 if none is.
fn curve_bound(counts: Counts, alpha: f64) -> f64 {
    if counts.n_correct == 0.0 {
        return 0.0;
    }
    last_rejected(1.0e3, |mu| -excess(counts, gaussian(mu), alpha))
}

/// The smallest level at which μ is rejected; 1 if it is at none.
fn curve_p_value(counts: Counts, mu: f64) -> f64 {
    if counts.n_correct == 0.0 || mu == f64::INFINITY {
        return 1.0;
    }
    level(|alpha| excess(counts, gaussian(mu), alpha))
}

/// The inverse of 1 - f for the trade-off curve f of μ-Gaussian privacy.
fn gaussian(mu: f64) -> impl Fn(f64) -> f64 {
    move |hit| normal_cdf(normal_quantile(hit) - mu)
}

/// The smallest level at which `excess` is positive; 1 if it is at none.
fn level(excess: impl Fn(f64) -> f64) -> f64 {
    // Over the logarithm, which it is monotone in; its sign is turned for the solver.
    let x = last_rejected(700.0, |x| -excess(exp(-x)));
    if x > 0.0 { exp(-x) } else { 1.0 }
}

/// The end of the x from 0 on at which `f` is not above 0, sought up to about `most`; 0 if `f` is not
/// negative there.
fn last_rejected(most: f64, f: impl Fn(f64) -> f64) -> f64 {
    let mut low = (0.0, f(0.0));
    if low.1 >= 0.0 {
        return 0.0;
    }
    let mut high = (1.0, f(1.0));
    while high.1 <= 0.0 && high.0 < most {
        low = high;
        high = (2.0 * high.0, f(2.0 * high.0));
    }
    if high.1 <= 0.0 { high.0 } else { root(low, high, TOLERANCE, f) }
}

/// The end of [low, high] next to the sign change of `f` at which `f` is not above 0, by
/// Chandrupatla's method: inverse quadratic interpolation where it is safe, else bisection. `at_low`
/// and `at_high` are the values at the ends, the first not above 0 and the second above.
fn root(
    (mut low, mut at_low): (f64, f64),
    (mut high, mut at_high): (f64, f64),
    tolerance: f64,
    f: impl Fn(f64) -> f64,
) -> f64 {
    let mut share = 0.5;
    for _ in 0..200 {
        let x = low + share * (high - low);
        if !(x > low && x < high) || high - low <= tolerance * high {
            break;
        }
        let value = f(x);
        // The end that is replaced is the third point of the interpolation.
        let (old, at_old, kept, at_kept) = if value > 0.0 {
            let old = (high, at_high);
            (high, at_high) = (x, value);
            (old.0, old.1, low, at_low)
        } else {
            let old = (low, at_low);
            (low, at_low) = (x, value);
            (old.0, old.1, high, at_high)
        };
        let xi = (x - kept) / (old - kept);
        let phi = (value - at_kept) / (at_old - at_kept);
        let safe = phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi;
        let from_x = if safe {
            value / (at_kept - value) * at_old / (at_kept - at_old)
                + (old - x) / (kept - x) * value / (at_old - value) * at_kept / (at_old - at_kept)
        } else {
            0.5
        };
        // A step at least as long as the tolerance closes the bracket from both sides.
        let least = (0.5 * tolerance * high / (high - low)).min(0.5);
        let from_x = if from_x.is_finite() { from_x.clamp(least, 1.0 - least) } else { 0.5 };
        share = if value > 0.0 { 1.0 - from_x } else { from_x };
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(n_canaries: f64, n_guesses: f64, n_correct: f64) -> Counts {
        Counts { n_canaries, n_guesses, n_correct }
    }

    #[test]
    fn known_bounds() {
        let known = [
            (counts(1000.0, 1000.0, 600.0), 0.0, 0.297_467_923_649_35),
            (counts(1000.0, 100.0, 95.0), 1.0e-5, 2.165_175_799_714_1),
            (counts(1000.0, 100.0, 100.0), 1.0e-3, 0.809_013_918_950_46),
            (counts(1000.0, 1000.0, 500.0), 1.0e-5, 0.0),
        ];
        for (counts, delta, bound) in known {
            let (epsilon, _) = Method::Binomial.bounds(counts, delta, 0.05);
            assert!((epsilon - bound).abs() < 1.0e-12, "{counts:?}: {epsilon}");
        }
        let (epsilon, _) = Method::FDp.bounds(counts(1000.0, 100.0, 95.0), 1.0e-5, 0.05);
        assert!((epsilon - 3.323_30).abs() < 1.0e-5, "{epsilon}");
    }

    #[test]
    fn a_curve_by_corners_has_the_p_value_of_its_formula() {
        let x: Vec<f64> = (0..=40_000).map(|i| f64::from(i) / 40_000.0).collect();
        let y: Vec<f64> = x.iter().map(|x| normal_cdf(normal_quantile(1.0 - x) - 0.8)).collect();
        let curve = Curve { fpr: &x, fnr: &y };
        for (m, r, v) in [(1000.0, 100.0, 85.0), (1000.0, 400.0, 260.0), (50.0, 50.0, 50.0)] {
            let (found, exact) =
                (curve.p_value(counts(m, r, v)), curve_p_value(counts(m, r, v), 0.8));
            assert!((found / exact - 1.0).abs() < 1.0e-3, "{r} {v}: {found} {exact}");
        }
        assert_eq!(curve.p_value(counts(10.0, 5.0, 0.0)), 1.0);
    }

    #[test]
    fn the_early_end_of_the_pass_is_exact() {
        // Against all terms, by the plain ratio.
        for (r, v, epsilon) in [(50.0, 30.0, 0.1), (50.0, 50.0, 3.0), (80.0, 20.0, 1.0)] {
            let odds = exp(-epsilon);
            let (q, other) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
            let (mut k, mut total, mut best) = (v - 1.0, 0.0, 0.0_f64);
            while k >= 0.0 {
                total += exp(ln_mass(r, k, q, other));
                best = best.max(total / (v - k));
                k -= 1.0;
            }
            let found = widest(r, v, q, other, odds);
            assert!((found / best - 1.0).abs() < 1.0e-12, "{r} {v}: {found} {best}");
        }
    }
}
