//! Bindings of the special functions over arrays, by name, for `fermiac.special`.

use crate::common::columns::Column;
use crate::common::enter::compute;
use fermiac_base::alloc::vec_of;
use fermiac_base::par::CHUNK;
use fermiac_base::simd::{
    erf_slice, erfc_slice, exp_slice, ln_slice, normal_cdf_slice, normal_quantile_slice,
};
use fermiac_base::special::{
    IncompleteBeta, IncompleteGamma, Part, beta_fill, beta_quantile_fill, digamma_slice,
    gamma_fill, gamma_quantile_fill, ln_abs_gamma_slice, ln_beta, normal_ln_cdf_slice,
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A function of one, two or three arrays.
#[derive(Clone, Copy)]
enum Function {
    /// A function of one array, computed in place.
    Slice(fn(&mut [f64])),
    /// A function of two numbers.
    Two(fn(f64, f64) -> f64),
    /// A probability of the gamma law, from (a, x).
    Gamma(Part),
    /// The point with probability p below (true) or above it, from (a, p).
    GammaInverse(bool),
    /// A probability of the beta law, from (a, b, x).
    Beta(Part),
    /// The point with probability p below (true) or above it, from (a, b, p).
    BetaInverse(bool),
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "exp" => Self::Slice(exp_slice),
            "log" => Self::Slice(ln_slice),
            "erf" => Self::Slice(erf_slice),
            "erfc" => Self::Slice(erfc_slice),
            "ndtr" => Self::Slice(normal_cdf_slice),
            "ndtri" => Self::Slice(normal_quantile_slice),
            "log_ndtr" => Self::Slice(normal_ln_cdf_slice),
            "gammaln" => Self::Slice(ln_abs_gamma_slice),
            "digamma" => Self::Slice(digamma_slice),
            "betaln" => Self::Two(ln_beta),
            "gammainc" => Self::Gamma(Part::Lower),
            "gammaincc" => Self::Gamma(Part::Upper),
            "log_gammainc" => Self::Gamma(Part::LnLower),
            "log_gammaincc" => Self::Gamma(Part::LnUpper),
            "gammaincinv" => Self::GammaInverse(true),
            "gammainccinv" => Self::GammaInverse(false),
            "betainc" => Self::Beta(Part::Lower),
            "betaincc" => Self::Beta(Part::Upper),
            "log_betainc" => Self::Beta(Part::LnLower),
            "log_betaincc" => Self::Beta(Part::LnUpper),
            "betaincinv" => Self::BetaInverse(true),
            "betainccinv" => Self::BetaInverse(false),
            _ => return None,
        })
    }

    fn arity(self) -> usize {
        match self {
            Self::Slice(_) => 1,
            Self::Two(_) | Self::Gamma(_) | Self::GammaInverse(_) => 2,
            Self::Beta(_) | Self::BetaInverse(_) => 3,
        }
    }

    /// Fills `out` with the values of the rows from `start` on.
    fn fill(self, columns: &[Column<'_>], start: usize, out: &mut [f64]) {
        let rows = start..start + out.len();
        let column = |k: usize| -> Vec<f64> { rows.clone().map(|i| columns[k].at(i)).collect() };
        match self {
            Self::Slice(f) => {
                out.copy_from_slice(&column(0));
                f(out);
            }
            Self::Two(f) => {
                for (out, i) in out.iter_mut().zip(rows) {
                    *out = f(columns[0].at(i), columns[1].at(i));
                }
            }
            Self::Gamma(part) => match columns[0].0 {
                [a] => IncompleteGamma::new(*a).fill(part, &column(1), out),
                _ => gamma_fill(part, &column(0), &column(1), out),
            },
            Self::GammaInverse(lower) => match columns[0].0 {
                [a] => IncompleteGamma::new(*a).fill_quantile(lower, &column(1), out),
                _ => gamma_quantile_fill(lower, &column(0), &column(1), out),
            },
            Self::Beta(part) => match (columns[0].0, columns[1].0) {
                ([a], [b]) => IncompleteBeta::new(*a, *b).fill(part, &column(2), out),
                _ => beta_fill(part, &column(0), &column(1), &column(2), out),
            },
            Self::BetaInverse(lower) => match (columns[0].0, columns[1].0) {
                ([a], [b]) => IncompleteBeta::new(*a, *b).fill_quantile(lower, &column(2), out),
                _ => beta_quantile_fill(lower, &column(0), &column(1), &column(2), out),
            },
        }
    }
}

/// Returns the function of this name for `n` rows; an argument has one number or `n`.
#[door]
#[pyfunction]
fn special<'py>(
    py: Python<'py>,
    name: &str,
    arguments: Vec<PyReadonlyArray1<'py, f64>>,
    n: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let wrong = || PyValueError::new_err(format!("{name} is not called like this"));
    let function = Function::named(name).ok_or_else(wrong)?;
    let columns =
        arguments.iter().map(|argument| Column::new(argument, n)).collect::<PyResult<Vec<_>>>()?;
    if columns.len() != function.arity() {
        return Err(wrong());
    }
    let n_threads = if n <= CHUNK { 1 } else { n_threads };
    let values = compute(py, n_threads, |context| {
        let mut values = vec_of(name, 0.0, n)?;
        let work = |chunk: usize| {
            let start = chunk * CHUNK;
            let mut part = vec![0.0; CHUNK.min(n - start)];
            function.fill(&columns, start, &mut part);
            Ok(part)
        };
        let fold = |chunk: usize, part: Vec<f64>| {
            values[chunk * CHUNK..][..part.len()].copy_from_slice(&part);
            Ok(())
        };
        context.ordered(n.div_ceil(CHUNK), work, fold).map(|()| values)
    })?;
    Ok(PyArray1::from_vec(py, values))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(special, m)?)
}
