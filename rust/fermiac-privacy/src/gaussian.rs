//! Gaussian differential privacy: δ of (ε, μ) and its inverses, to relative accuracy.
//!
//! With a = ε/μ - μ/2 and b = ε/μ + μ/2, e^ε φ(b) = φ(a), so that
//! δ(ε; μ) = Q(a) - e^ε Q(b) = φ(a) (R(a) - R(b)) with Mills' ratio R: one factor holds the
//! magnitude, and the other is a difference that is taken apart where it cancels.

use fermiac_base::simd::{exp, ln, normal_cdf, normal_quantile};
use fermiac_base::special::{mills, two_product, two_sum};

/// 1/√(2π), and √(2π).
const GAUSS: f64 = 0.398_942_280_401_432_7;
const ROOT: f64 = 2.506_628_274_631_000_7;
/// Terms of the series for the difference of Mills' ratios; each is below a sixth of the last.
const TERMS: usize = 21;
/// Below this midpoint the moments come from the forward recurrence.
const FORWARD: f64 = 1.25;

/// Where ln δ is this close, the error after another step of Newton's is of its square.
const CLOSE: f64 = 1.0e-9;

/// δ as exp(`ln` + `rest`) · `factor`.
struct Parts {
    ln: f64,
    rest: f64,
    factor: f64,
}

impl Parts {
    fn value(&self) -> f64 {
        exp(self.ln) * (self.factor + self.factor * self.rest)
    }

    fn ln_value(&self) -> f64 {
        self.ln + (self.rest + ln(self.factor))
    }
}

/// The δ at which μ-Gaussian differential privacy is (`epsilon`, δ)-differential privacy, for
/// `epsilon` ≥ 0 and `mu` ≥ 0.
pub fn gdp_delta(epsilon: f64, mu: f64) -> f64 {
    parts(epsilon, mu).value()
}

fn parts(epsilon: f64, mu: f64) -> Parts {
    let h = 0.5 * mu;
    let m = epsilon / mu;
    if mu == 0.0 || m - h > 1.0e10 {
        return Parts { ln: f64::NEG_INFINITY, rest: 0.0, factor: 1.0 };
    }
    if mu == f64::INFINITY || m - h < -40.0 {
        return Parts { ln: 0.0, rest: 0.0, factor: 1.0 };
    }
    // a in two doubles: its square goes into an exponent.
    let (back, lost) = two_product(m, mu);
    let (a, a_low) = two_sum(m, -h);
    let a_low = a_low + ((epsilon - back) - lost) / mu;
    let (square, square_low) = two_product(a, a);
    let (ln, rest) = (-0.5 * square, -(0.5 * square_low + a * a_low));
    if mu <= 0.25 * (1.0 + m) {
        Parts { ln, rest, factor: near(m, h) }
    } else if a < 0.0 {
        let gauss = exp(ln) * (1.0 + rest);
        Parts {
            ln: 0.0,
            rest: 0.0,
            factor: normal_cdf(-a) - gauss * (GAUSS * a_low + mills(a + mu)),
        }
    } else {
        let at = mills(a);
        Parts { ln, rest, factor: (at - mills(a + mu)) + a_low * (a * at - GAUSS) }
    }
}

/// (R(m - h) - R(m + h)) / √(2π) by its Taylor series about m ≥ 0, whose terms are all positive:
/// 2 Σ hᵏ Iₖ / k! over odd k, with the moments Iₖ = ∫ sᵏ exp(-m s - s²/2) ds / √(2π), s > 0.
fn near(m: f64, h: f64) -> f64 {
    let first = mills(m);
    let mut term = first;
    let mut total = 0.0;
    if m < FORWARD {
        // Iₖ₊₁ = k Iₖ₋₁ - m Iₖ loses digits, but of moments that count for little.
        let (mut last, mut moment, mut power) = (first, GAUSS - m * first, h);
        for k in 1..TERMS {
            let k = k as f64;
            if k % 2.0 == 1.0 {
                total += power * moment;
            }
            (last, moment) = (moment, k * last - m * moment);
            power *= h / (k + 1.0);
        }
        return 2.0 * total;
    }
    // The ratios ρₖ = Iₖ / Iₖ₋₁ = k / (m + ρₖ₊₁) from far above: errors shrink on the way down by
    // exp(-2 m (√n - √k)).
    let reach = 4.6 + 18.5 / m;
    let n = (reach * reach) as usize + 4;
    let mut ratio = 0.5 * ((m * m + 4.0 * n as f64).sqrt() - m);
    let mut ratios = [0.0; TERMS];
    for k in (1..n).rev() {
        ratio = k as f64 / (m + ratio);
        if k < TERMS {
            ratios[k] = ratio;
        }
    }
    for (k, ratio) in ratios.iter().enumerate().skip(1) {
        term *= h * ratio / k as f64;
        if k % 2 == 1 {
            total += term;
        }
    }
    2.0 * total
}

/// The ε ≥ 0 at which μ-Gaussian differential privacy is (ε, `delta`)-differential privacy: 0 where
/// `delta` is at least δ(0; μ), infinite for `delta` = 0.
pub fn gdp_epsilon(delta: f64, mu: f64) -> f64 {
    if delta >= gdp_delta(0.0, mu) {
        return 0.0;
    }
    if delta == 0.0 || mu == f64::INFINITY {
        return f64::INFINITY;
    }
    let wanted = ln(delta);
    // δ <= Q(a) bounds ε from above. ln δ is concave in ε (a convolution of log-concave functions),
    // so Newton's steps come down from there without passing the root.
    let mut epsilon = mu * (0.5 * mu - normal_quantile(delta));
    for _ in 0..200 {
        let parts = parts(epsilon, mu);
        // d ln δ / d ε = -e^ε Q(b) / δ.
        let b = epsilon / mu + 0.5 * mu;
        let share = if parts.ln < 0.0 {
            mills(b) / parts.factor
        } else {
            let a = epsilon / mu - 0.5 * mu;
            exp(-0.5 * a * a) * mills(b) / parts.factor
        };
        let off = parts.ln_value() - wanted;
        epsilon = (epsilon + off / share).max(0.0);
        if off.abs() < CLOSE {
            return epsilon;
        }
    }
    epsilon
}

/// The μ ≥ 0 at which μ-Gaussian differential privacy is (`epsilon`, `delta`)-differential privacy:
/// 0 for `delta` = 0, infinite for `delta` = 1.
pub fn gdp_mu(epsilon: f64, delta: f64) -> f64 {
    if delta == 0.0 {
        return 0.0;
    }
    if delta >= 1.0 || epsilon == f64::INFINITY {
        return f64::INFINITY;
    }
    let wanted = ln(delta);
    // From below: δ <= Q(a), and δ <= δ(0; μ) <= μ/√(2π).
    let z = -normal_quantile(delta);
    let root = (z * z + 2.0 * epsilon).sqrt();
    let bound = if z > 0.0 { 2.0 * epsilon / (root + z) } else { root - z };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut mu = bound.max(delta * ROOT);
    for _ in 0..200 {
        let parts = parts(epsilon, mu);
        let off = parts.ln_value() - wanted;
        if off < 0.0 {
            low = mu;
        } else {
            high = mu;
        }
        // d ln δ / d ln μ = μ φ(a) / δ.
        let gauss = if parts.ln < 0.0 {
            GAUSS
        } else {
            let a = epsilon / mu - 0.5 * mu;
            GAUSS * exp(-0.5 * a * a)
        };
        let step = -off * parts.factor / (gauss * mu);
        let mut next = mu * exp(step.clamp(-1.0, 1.0));
        if !(next >= low && next <= high) {
            next = if high.is_finite() { low + 0.5 * (high - low) } else { 2.0 * mu };
        }
        mu = next;
        if off.abs() < CLOSE {
            return mu;
        }
    }
    mu
}

/// One of the three conversions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaussian {
    /// [`gdp_delta`] of (ε, μ).
    Delta,
    /// [`gdp_epsilon`] of (δ, μ).
    Epsilon,
    /// [`gdp_mu`] of (ε, δ).
    Mu,
}

impl Gaussian {
    /// The value at one pair of arguments.
    pub fn at(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Delta => gdp_delta(x, y),
            Self::Epsilon => gdp_epsilon(x, y),
            Self::Mu => gdp_mu(x, y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (mu, epsilon) in
            [(0.5, 1.993_091_404_4), (1.0, 4.377_178_095_7), (2.0, 9.997_256_146_4)]
        {
            assert!((gdp_epsilon(1.0e-5, mu) - epsilon).abs() < 1.0e-9);
            assert!((gdp_mu(epsilon, 1.0e-5) - mu).abs() < 1.0e-9);
        }
    }

    #[test]
    fn the_ways_agree_where_they_meet() {
        // The series and the difference of ratios, the two kinds of moments, both signs of a.
        for m in [0.0, 0.3, 1.0, FORWARD, 4.0, 20.0] {
            let mu = 0.25 * (1.0 + m);
            for edge in [mu, FORWARD] {
                let (x, y) = (edge * (1.0 - 1.0e-9), edge * (1.0 + 1.0e-9));
                let (a, b) = (gdp_delta(m * x, x), gdp_delta(m * y, y));
                assert!((a / b - 1.0).abs() < 1.0e-7, "{m} {edge}: {a} {b}");
            }
        }
        let (a, b) = (near(FORWARD - 1.0e-13, 0.2), near(FORWARD, 0.2));
        assert!((a / b - 1.0).abs() < 1.0e-12, "{a} {b}");
    }
}
