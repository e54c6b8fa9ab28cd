//! Bindings of `fermiac_privacy::watermark`.

use crate::common::dict::entry;
use crate::common::enter::{Raised, enter, enter_whole};
use crate::common::error::check;
use fermiac_base::alloc::table_of;
use fermiac_privacy::watermark::{
    Key, Law, Numbers, Outcome, Settings, align, choose_exponential, exponential_column,
    inverse_transform_key,
};
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Adds this file's functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(watermark_align, m)?)?;
    m.add_function(wrap_pyfunction!(watermark_choose, m)?)?;
    m.add_function(wrap_pyfunction!(watermark_numbers, m)?)?;
    m.add_function(wrap_pyfunction!(watermark_transform_key, m)?)
}

/// The settings of a dictionary; `vocab_size` is None for exponential keys.
fn settings(options: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let scale = entry(options, "scale")?;
    Ok(Settings {
        law: match entry(options, "vocab_size")? {
            Some(vocab_size) => Law::InverseTransform { vocab_size, scale },
            None => Law::Exponential,
        },
        n: entry(options, "n")?,
        block: entry(options, "block")?,
        gamma: entry(options, "gamma")?,
        n_null: entry(options, "n_null")?,
        shared: entry(options, "shared")?,
        seed: entry(options, "seed")?,
    })
}

/// The part of a key that belongs to the tokens at hand: the seed and the tokens, the numbers of
/// each token (a row each), or the numbers of the rows and the ranks of the tokens.
#[derive(FromPyObject)]
enum PyKey<'py> {
    Derived(u64, PyReadonlyArray1<'py, u32>),
    Exponential(PyReadonlyArray2<'py, f64>),
    InverseTransform(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, u32>),
}

impl PyKey<'_> {
    fn key(&self) -> PyResult<Key<'_>> {
        Ok(match self {
            Self::Derived(seed, tokens) => Key::Derived { seed: *seed, tokens: tokens.as_slice()? },
            Self::Exponential(numbers) => Key::Exponential(numbers.as_slice()?),
            Self::InverseTransform(uniforms, ranks) => {
                Key::InverseTransform { uniforms: uniforms.as_slice()?, ranks: ranks.as_slice()? }
            }
        })
    }
}

type Aligned<'py> = (f64, usize, usize, Bound<'py, PyArray1<f64>>);

/// Aligns texts, laid end to end in `tokens`, with a key and with null keys. Returns (cost, token,
/// row, null costs) of the texts that were done, and an exception or None.
#[door]
#[pyfunction]
#[pyo3(signature = (key, tokens, lengths, options, n_threads, progress=None))]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
fn watermark_align<'py>(
    py: Python<'py>,
    key: Option<PyKey<'py>>,
    tokens: PyReadonlyArray1<'py, u32>,
    lengths: Vec<usize>,
    options: &Bound<'py, PyAny>,
    n_threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Vec<Aligned<'py>>, Option<PyErr>)> {
    let settings = settings(options)?;
    let key = key.as_ref().map(PyKey::key).transpose()?;
    let mut rest = tokens.as_slice()?;
    let mut texts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (text, more) = rest.split_at(length.min(rest.len()));
        texts.push(text);
        rest = more;
    }
    let outcome = enter(py, n_threads, progress.as_ref(), &Raised::default(), |context| {
        align(key.as_ref(), &texts, &settings, context)
    });
    let (done, error) = match outcome {
        Ok(done) => (done, None),
        Err(stopped) => (stopped.partial.map_or_else(Vec::new, |p| *p), Some(stopped.error)),
    };
    let tuple = |Outcome { best, null }| (best.cost, best.token, best.row, null.into_pyarray(py));
    Ok((done.into_iter().map(tuple).collect(), error))
}

/// The numbers of an exponential key: its seed, or all of them.
#[derive(FromPyObject)]
enum PyNumbers<'py> {
    #[pyo3(transparent)]
    Derived(u64),
    #[pyo3(transparent)]
    Given(PyReadonlyArray2<'py, f64>),
}

/// The tokens that an exponential key of `n` rows chooses, from row `first` on.
#[door]
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
fn watermark_choose<'py>(
    py: Python<'py>,
    numbers: PyNumbers<'py>,
    n: usize,
    probabilities: PyReadonlyArray2<'py, f64>,
    first: usize,
    n_threads: usize,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let numbers = match &numbers {
        PyNumbers::Derived(seed) => Numbers::Derived(*seed),
        PyNumbers::Given(all) => Numbers::Given(all.as_slice()?),
    };
    let (vocab_size, table) = (probabilities.shape()[1], probabilities.as_slice()?);
    enter_whole(py, n_threads, None, &Raised::default(), |context| {
        choose_exponential(numbers, n, vocab_size, table, first, context)
    })
    .map(|tokens| tokens.into_pyarray(py))
}

/// The numbers of an exponential key, a row for each token, `n` of them in it.
#[door]
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // PyO3 extracts array guards by value
fn watermark_numbers<'py>(
    py: Python<'py>,
    seed: u64,
    tokens: PyReadonlyArray1<'py, u32>,
    n: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let tokens = tokens.as_slice()?;
    let mut out = check(py, table_of("n", 0.0, tokens.len(), n))?;
    for (column, &token) in out.chunks_mut(n).zip(tokens) {
        exponential_column(seed, token, column);
    }
    out.into_pyarray(py).reshape([tokens.len(), n])
}

type TransformKey<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<u32>>);

/// The numbers and the ranks of the inverse transform key of a seed.
#[door]
#[pyfunction]
fn watermark_transform_key(
    py: Python<'_>,
    seed: u64,
    n: usize,
    vocab_size: u32,
) -> PyResult<TransformKey<'_>> {
    let (uniforms, ranks) = check(py, inverse_transform_key(seed, n, vocab_size))?;
    Ok((uniforms.into_pyarray(py), ranks.into_pyarray(py)))
}
