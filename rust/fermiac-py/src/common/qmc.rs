//! Binding of quasi-random points, for `fermiac.random`.

use crate::common::enter::compute;
use fermiac_base::qmc::{Net, Scramble};
use numpy::PyReadwriteArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Fills whole rows with the points of the indices from `start` on. The Python layer checks the
/// arguments.
#[door]
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "each is an argument of the Python function")]
fn sobol_fill(
    py: Python<'_>,
    mut out: PyReadwriteArray1<'_, f64>,
    dim: usize,
    key: u64,
    replicate: u64,
    scramble: &str,
    start: u64,
    n_threads: usize,
) -> PyResult<()> {
    let scramble = Scramble::named(scramble)
        .ok_or_else(|| PyValueError::new_err(format!("there is no scramble {scramble:?}")))?;
    let out = out.as_slice_mut()?;
    compute(py, n_threads, |context| {
        Net::new(dim, key, replicate, scramble)?.fill_on(context, start, out)
    })
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(sobol_fill, m)?)
}
