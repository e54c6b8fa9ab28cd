//! Sums of numbers that are given by their logarithms.

use fermiac_base::simd::{exp, ln};
use fermiac_base::special::ln1p;

/// A sum of signed terms, kept by their logarithms.
#[derive(Debug, Clone, Copy)]
pub(super) struct LnSum {
    terms: [(f64, f64); 8],
    n: usize,
}

impl LnSum {
    pub(super) const EMPTY: Self = Self { terms: [(f64::NEG_INFINITY, 0.0); 8], n: 0 };

    /// Adds `sign` · exp(`ln`).
    pub(super) fn add(&mut self, ln: f64, sign: f64) {
        if sign != 0.0 && ln > f64::NEG_INFINITY && self.n < self.terms.len() {
            self.terms[self.n] = (ln, sign);
            self.n += 1;
        }
    }

    /// The logarithm of the sum; -inf where rounding has left nothing.
    pub(super) fn ln(&self) -> f64 {
        let terms = &self.terms[..self.n];
        let top = terms.iter().fold(f64::NEG_INFINITY, |top, t| top.max(t.0));
        if top == f64::NEG_INFINITY {
            return top;
        }
        let sum: f64 = terms.iter().map(|(ln, sign)| sign * exp(ln - top)).sum();
        if sum > 0.0 { top + ln(sum) } else { f64::NEG_INFINITY }
    }
}

/// ln(1 - exp(x)) for x ≤ 0.
pub(super) fn ln_complement(x: f64) -> f64 {
    if x > -0.693 { ln(-fermiac_base::special::expm1(x)) } else { ln1p(-exp(x)) }
}
