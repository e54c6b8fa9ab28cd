//! The radii of a Student-t law as a function of those of a normal law.
//!
//! Of a standard normal vector z in d dimensions, z · R(|z|) / |z| is a standard Student-t vector if R
//! carries the law of |z| to that of its length: χ with d degrees of freedom to the root of d times an
//! F law. So d uniform numbers make a point, as they do for a normal law.

use fermiac_base::simd::{exp, ln};
use fermiac_base::special::{IncompleteBeta, IncompleteGamma, ln_gamma};

/// Steps of the table.
const STEPS: usize = 2048;

/// A table of R(r) / r, a cubic between its points.
#[derive(Debug, Clone)]
pub(crate) struct Radial {
    step: f64,
    /// R and dR/dr · step at the multiples of the step.
    table: Vec<(f64, f64)>,
}

impl Radial {
    /// For d dimensions and `df` degrees of freedom.
    pub(crate) fn new(d: usize, df: f64) -> Self {
        let d = d as f64;
        let gamma = IncompleteGamma::new(d / 2.0);
        let beta = IncompleteBeta::new(d / 2.0, df / 2.0);
        // A normal vector is longer than this with probability 1e-17 or so.
        let step = (d.sqrt() + 8.6) / STEPS as f64;
        let log_chi = |r: f64| {
            (d - 1.0) * ln(r) - 0.5 * r * r - (d / 2.0 - 1.0) * ln(2.0) - ln_gamma(d / 2.0)
        };
        let log_t = |r: f64| {
            let constant = ln(2.0) + ln_gamma(f64::midpoint(d, df))
                - ln_gamma(d / 2.0)
                - ln_gamma(df / 2.0)
                - d / 2.0 * ln(df);
            constant + (d - 1.0) * ln(r) - f64::midpoint(d, df) * ln(1.0 + r * r / df)
        };
        let table = (0..=STEPS)
            .map(|i| {
                let r = step * i as f64;
                // At the origin R is linear; a small r gives its slope.
                let at = if i == 0 { step * 1e-3 } else { r };
                let half = 0.5 * at * at;
                let (lower, upper) = (gamma.lower(half), gamma.upper(half));
                let (x, y) =
                    if lower < 0.5 { beta.quantile(lower) } else { beta.upper_quantile(upper) };
                let radius = (df * x / y).sqrt();
                let slope = exp(log_chi(at) - log_t(radius));
                if i == 0 { (0.0, radius / at * step) } else { (radius, slope * step) }
            })
            .collect();
        Self { step, table }
    }

    /// Returns R(r) / r.
    #[inline]
    pub(crate) fn stretch(&self, r: f64) -> f64 {
        let at = r / self.step;
        let k = at as usize;
        if k >= STEPS {
            let (end, slope) = self.table[STEPS];
            return (end + (at - STEPS as f64) * slope) / r;
        }
        if at < 1e-6 {
            return self.table[0].1 / self.step;
        }
        let ((a, da), (b, db)) = (self.table[k], self.table[k + 1]);
        let p = at - k as f64;
        let q = 1.0 - p;
        (q * q * ((1.0 + 2.0 * p) * a + p * da) + p * p * ((1.0 + 2.0 * q) * b - q * db)) / r
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_have_equal_probability() {
        for d in [1_usize, 2, 5, 16, 100] {
            let radial = Radial::new(d, 8.0);
            let gamma = IncompleteGamma::new(d as f64 / 2.0);
            let beta = IncompleteBeta::new(d as f64 / 2.0, 4.0);
            for i in 1..60 {
                let r = (d as f64).sqrt() * 0.05 * f64::from(i) + 0.0123;
                let t = radial.stretch(r) * r;
                let (x, y) = (t * t / (8.0 + t * t), 8.0 / (8.0 + t * t));
                let (p, q) = (gamma.lower(r * r / 2.0), gamma.upper(r * r / 2.0));
                if p > 1e-12 && q > 1e-12 {
                    assert!((beta.lower(x, y) / p - 1.0).abs() < 1e-8, "{d} {r}");
                    assert!((beta.upper(x, y) / q - 1.0).abs() < 1e-8, "{d} {r}");
                }
            }
        }
    }
}
