//! Columns of broadcast arguments, and parallel loops over their rows.

use crate::common::enter::compute;
use fermiac_base::Result;
use fermiac_base::alloc::room;
use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// An argument: one number for all rows, or one for each row.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a>(pub(crate) &'a [f64]);

impl<'a> Column<'a> {
    /// Returns the column for `n` rows.
    pub(crate) fn new(array: &'a PyReadonlyArray1<'_, f64>, n: usize) -> PyResult<Self> {
        let values = array.as_slice()?;
        if values.len() == 1 || values.len() == n {
            return Ok(Self(values));
        }
        Err(PyValueError::new_err(format!("{} numbers for {n} rows", values.len())))
    }

    /// Returns the number of row `i`.
    pub(crate) fn at(self, i: usize) -> f64 {
        if let [x] = self.0 { *x } else { self.0[i] }
    }
}

/// Returns `at` for each of `n` rows; a task has `chunk` rows.
pub(crate) fn rows<T: Send>(
    py: Python<'_>,
    n: usize,
    chunk: usize,
    n_threads: usize,
    at: impl Fn(usize) -> Result<T> + Sync,
) -> PyResult<Vec<T>> {
    let n_threads = if n <= chunk { 1 } else { n_threads };
    compute(py, n_threads, |context| {
        let mut values = room("arguments", n)?;
        let work = |task: usize| {
            let start = task * chunk;
            (start..n.min(start + chunk)).map(&at).collect::<Result<Vec<T>>>()
        };
        let fold = |_, part: Vec<T>| {
            values.extend(part);
            Ok(())
        };
        context.ordered(n.div_ceil(chunk), work, fold).map(|()| values)
    })
}
