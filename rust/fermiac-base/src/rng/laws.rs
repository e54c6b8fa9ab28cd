//! Gamma, beta and Student draws, with shapes down to the smallest double.

use super::stream::Stream;
use crate::simd::{exp, ln};

impl Stream {
    /// Returns a gamma variate with the given shape (positive and finite, else NaN) and scale 1.
    ///
    /// Below a shape of about 0.01 many draws are smaller than any double and come out as 0;
    /// [`log_gamma_variate`](Self::log_gamma_variate) gives their logarithms.
    ///
    /// Reference: G. Marsaglia and W. W. Tsang (2000), "A simple method for generating gamma
    /// variables", ACM Transactions on Mathematical Software 26(3).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape > 0.0 && shape < 1.0 {
            let boost = self.exponential() / shape;
            self.gamma_from_one(shape + 1.0) * exp(-boost)
        } else {
            self.gamma_from_one(shape)
        }
    }

    /// Returns the logarithm of a gamma variate with the given shape (positive and finite, else NaN).
    ///
    /// It is finite for every shape above 10⁻³⁰⁶.
    pub fn log_gamma_variate(&mut self, shape: f64) -> f64 {
        if shape <= 0.0 {
            f64::NAN
        } else if shape < 1.0 {
            // Gamma(a) = Gamma(a + 1) · U^(1/a), and -ln U is exponential.
            let boost = self.exponential() / shape;
            ln(self.gamma_from_one(shape + 1.0)) - boost
        } else {
            ln(self.gamma_from_one(shape))
        }
    }

    fn gamma_from_one(&mut self, shape: f64) -> f64 {
        // Also catches NaN, with which the loop below would never accept.
        if !(1.0..f64::INFINITY).contains(&shape) {
            return f64::NAN;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            let u = self.uniform();
            let square = x * x;
            if u < 1.0 - 0.0331 * square * square || ln(u) < 0.5 * square + d * (1.0 - v + ln(v)) {
                return d * v;
            }
        }
    }

    /// Returns a beta variate in [0, 1] with the given shapes (positive and finite, else NaN).
    ///
    /// Small shapes are computed in logarithms, which avoids 0/0: as the shapes go to 0 the draws go
    /// to the ends, 1 with probability a/(a + b).
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        if a >= 1.0 && b >= 1.0 {
            let ga = self.gamma_from_one(a);
            return 1.0 / (1.0 + self.gamma_from_one(b) / ga);
        }
        let la = self.log_gamma_variate(a);
        let lb = self.log_gamma_variate(b);
        if la == f64::NEG_INFINITY && lb == f64::NEG_INFINITY {
            // Both are beyond the range of doubles. Their excesses are again exponential with rates
            // a and b, and the smaller one decides.
            return if self.uniform() < a / (a + b) { 1.0 } else { 0.0 };
        }
        1.0 / (1.0 + exp(lb - la))
    }

    /// Returns a Student variate with `df` degrees of freedom (positive, else NaN; infinity gives the
    /// normal law).
    ///
    /// Below about 0.01 degrees of freedom many draws overflow to infinity.
    pub fn student_t(&mut self, df: f64) -> f64 {
        let z = self.normal();
        if df == f64::INFINITY {
            return z;
        }
        let half = 0.5 * df;
        if half >= 1.0 {
            z * (half / self.gamma_from_one(half)).sqrt()
        } else {
            z * exp(0.5 * (ln(half) - self.log_gamma_variate(half)))
        }
    }
}
