//! Linear forms, such as limit states of reliability problems and sums of coordinates.

use super::{Tile, check_matrix, integrand_by_tiles};
use fermiac_base::simd::V;
use fermiac_base::{Error, Result};

/// Linear forms `b_j + Σ c_ji x_i`, one per output.
#[derive(Debug, Clone)]
pub struct Linear {
    dim: usize,
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
}

impl Linear {
    /// Returns forms with the given coefficients, one row of `dim` and one intercept per output.
    pub fn new(coefficients: &[f64], intercepts: &[f64], dim: usize) -> Result<Self> {
        let outputs = check_matrix("coefficients", coefficients, dim)?;
        let given = check_matrix("intercept", intercepts, 1)?;
        if given != outputs {
            let why = format!("{given} were given for {outputs} linear forms; as many are needed");
            return Err(Error::argument("intercept", why));
        }
        Ok(Self { dim, coefficients: coefficients.to_vec(), intercepts: intercepts.to_vec() })
    }
}

impl Tile for Linear {
    fn dim(&self) -> usize {
        self.dim
    }

    fn outputs(&self) -> usize {
        self.intercepts.len()
    }

    #[inline(always)]
    fn tile<const FMA: bool>(&self, x: &[V], _scratch: &mut [V], out: &mut [V]) {
        let forms = self.coefficients.chunks_exact(self.dim).zip(&self.intercepts);
        for (out, (row, intercept)) in out.iter_mut().zip(forms) {
            *out = V::splat(*intercept);
            for (c, x) in row.iter().zip(x) {
                *out = V::splat(*c).mul_add::<FMA>(*x, *out);
            }
        }
    }
}

integrand_by_tiles!(Linear);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::values;
    use super::*;

    #[test]
    fn forms_and_intercepts() {
        let f = Linear::new(&[1.0, -2.0, 0.5, 4.0], &[10.0, -1.0], 2).unwrap();
        assert_eq!(values(&f, &[3.0, 5.0, 0.0, 0.25]), [3.0, 20.5, 9.5, 0.0]);
    }

    #[test]
    fn arguments_are_checked() {
        assert!(Linear::new(&[1.0; 4], &[0.0], 2).is_err());
        assert!(Linear::new(&[1.0; 4], &[0.0, f64::NAN], 2).is_err());
        assert!(Linear::new(&[], &[], 2).is_err());
    }
}
