//! Bindings of `fermiac_importance::polynomials`.

use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_importance::polynomials::{FACTORS, Polynomials, folds};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// Adds this file's classes and functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyPolynomials>()?;
    m.add_function(wrap_pyfunction!(polynomial_folds, m)?)
}

/// Products of functions of single coordinates.
#[pyclass(frozen, name = "Polynomials", module = "fermiac._core")]
struct PyPolynomials(Polynomials);

#[door]
#[pymethods]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
impl PyPolynomials {
    #[new]
    fn new(
        py: Python<'_>,
        bounded: Vec<bool>,
        degree: usize,
        knots: Vec<f64>,
        mix: Vec<f64>,
        terms: Vec<[usize; FACTORS]>,
    ) -> PyResult<Self> {
        Ok(Self(check(py, Polynomials::new(bounded, degree, knots, mix, terms))?))
    }

    /// Returns the packed Gram matrix of the products and of the columns of values.
    fn gram<'py>(
        &self,
        py: Python<'py>,
        u: PyReadonlyArray1<'py, f64>,
        values: PyReadonlyArray1<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (u, values) = (u.as_slice()?, values.as_slice()?);
        let found = compute(py, n_threads, |context| self.0.gram(context, u, values))?;
        Ok(found.into_pyarray(py))
    }

    /// Returns the values of a sum of the products at the points of a pick-freeze design.
    #[allow(clippy::too_many_arguments, reason = "each is an argument of the Python function")]
    fn crossed<'py>(
        &self,
        py: Python<'py>,
        a: PyReadonlyArray1<'py, f64>,
        b: PyReadonlyArray1<'py, f64>,
        groups: Vec<Vec<usize>>,
        both: bool,
        coefficients: PyReadonlyArray1<'py, f64>,
        n_threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (a, b, coefficients) = (a.as_slice()?, b.as_slice()?, coefficients.as_slice()?);
        let found = compute(py, n_threads, |context| {
            self.0.crossed(context, a, b, &groups, both, coefficients)
        })?;
        Ok(found.into_pyarray(py))
    }
}

/// The squared residuals out of sample, and the coefficients.
type Fitted<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// Regresses the last columns on the first ones, for each part without its own points.
#[door]
#[pyfunction]
fn polynomial_folds<'py>(
    py: Python<'py>,
    grams: PyReadonlyArray1<'py, f64>,
    terms: usize,
    outputs: usize,
    sizes: Vec<usize>,
    n_threads: usize,
) -> PyResult<Fitted<'py>> {
    let grams = grams.as_slice()?;
    let found = compute(py, n_threads, |context| folds(context, grams, terms, outputs, &sizes))?;
    Ok((found.left.into_pyarray(py), found.coefficients.into_pyarray(py)))
}
