//! Bindings of the sorter of edges on the disk.

use super::graph::{PyPairs, entered, pairs};
use crate::common::enter::{Raised, enter};
use crate::common::error::check;
use fermiac_base::par::Context;
use fermiac_base::{Error, Result};
use fermiac_walks::graph::{Id, Sorter, Sorting, Written};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Adds this file's class to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<EdgeSorter>()
}

enum Either {
    Plain(Sorter<u64>),
    Weighted(Sorter<(u64, f64)>),
}

impl Either {
    fn push<T: Id>(
        &mut self,
        pairs: &[[T; 2]],
        weights: Option<&[f64]>,
        context: &Context<'_>,
    ) -> Result<()> {
        match self {
            Self::Plain(sorter) => sorter.push(pairs, weights, context),
            Self::Weighted(sorter) => sorter.push(pairs, weights, context),
        }
    }
}

/// A sorter of edges on the disk.
#[pyclass(module = "fermiac._core", frozen)]
struct EdgeSorter(Mutex<Option<Either>>);

impl EdgeSorter {
    fn with<T>(&self, work: impl FnOnce(&mut Option<Either>) -> Result<T>) -> Result<T> {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn over() -> Error {
    Error::Internal("edges after the end".into())
}

#[door]
#[pymethods]
impl EdgeSorter {
    /// Creates a sorter in an existing folder, with so many bytes of memory.
    #[new]
    #[pyo3(signature = (folder, n_nodes, weighted, directed, merge, memory))]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        n_nodes: Option<u64>,
        weighted: bool,
        directed: bool,
        merge: bool,
        memory: usize,
    ) -> PyResult<Self> {
        let sorting = Sorting { folder, n_nodes, directed, merge, memory };
        let sorter = if weighted {
            Sorter::new(sorting).map(Either::Weighted)
        } else {
            Sorter::new(sorting).map(Either::Plain)
        };
        check(py, sorter).map(|sorter| Self(Mutex::new(Some(sorter))))
    }

    /// Adds an (m, 2) array of edges.
    fn push(
        &self,
        py: Python<'_>,
        edges: PyPairs<'_>,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        n_threads: usize,
    ) -> PyResult<()> {
        let weights = weights.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
        match &edges {
            PyPairs::Short(edges) => {
                let edges = pairs(edges)?;
                entered(py, n_threads, |context| {
                    self.with(|s| s.as_mut().ok_or_else(over)?.push(edges, weights, context))
                })
            }
            PyPairs::Long(edges) => {
                let edges = pairs(edges)?;
                entered(py, n_threads, |context| {
                    self.with(|s| s.as_mut().ok_or_else(over)?.push(edges, weights, context))
                })
            }
        }
    }

    /// Writes the arrays; returns the numbers of nodes, entries, loops, and whether edges repeat.
    fn finish(
        &self,
        py: Python<'_>,
        n_threads: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(u64, u64, u64, bool)> {
        let raised = Raised::default();
        let Written { n_nodes, entries, loops, repeated } =
            enter(py, n_threads, progress.as_ref(), &raised, |context| {
                self.with(|s| match s.take().ok_or_else(over)? {
                    Either::Plain(sorter) => sorter.finish(context),
                    Either::Weighted(sorter) => sorter.finish(context),
                })
                .map_err(|error| (error, None))
            })
            .map_err(|stopped| stopped.error)?;
        Ok((n_nodes, entries, loops, repeated))
    }
}
