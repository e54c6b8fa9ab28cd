//! Denoisers behind C pointers: `void f(const double *y, const double *s, double *out, size_t n,
//! size_t d, void *user)`.
#![allow(unsafe_code, reason = "an address becomes a function")]

use super::models::{Levels, Points, PyModel, Table, levels_of, table};
use fermiac_base::linalg::Rows;
use fermiac_base::par::CHUNK;
use fermiac_base::{Error, Result};
use fermiac_score::Model;
use fermiac_score::model::level;
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::c_void;
use std::mem::transmute;
use std::sync::Arc;

type Function = unsafe extern "C" fn(*const f64, *const f64, *mut f64, usize, usize, *mut c_void);

/// The content of arrays before the call: a quiet NaN that arithmetic does not produce.
const UNWRITTEN: f64 = f64::from_bits(0x7ff8_00fe_1211_ac00);

/// The output of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// The mean of the data.
    Data,
    /// The noise.
    Noise,
    /// The score.
    Score,
}

/// A native function with its user data.
struct Native {
    function: Function,
    user: *mut c_void,
    gives: Gives,
    dim: usize,
    name: String,
    /// Kept alive as long as the function may be called.
    _owner: Py<PyAny>,
}

// SAFETY: the user who gives the address guarantees that several threads may call the function at a
// time, with this user data.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    /// The output of the function for all rows.
    fn call(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        let (n, d) = (y.len(), self.dim);
        if y.dim() != d || out.len() != n * d || !(sigma.len() == 1 || sigma.len() == n) {
            return Err(Error::Internal("rows of another shape for a native denoiser".into()));
        }
        if n == 0 {
            return Ok(());
        }
        let spread = if sigma.len() == n { Vec::new() } else { vec![sigma[0]; n] };
        let levels = if spread.is_empty() { sigma } else { &spread };
        out.fill(UNWRITTEN);
        // SAFETY: the points and the output are n × d numbers, the levels n (checked above); the
        // rest is guaranteed by the user.
        unsafe {
            (self.function)(y.data().as_ptr(), levels.as_ptr(), out.as_mut_ptr(), n, d, self.user);
        }
        let unwritten = |x: &f64| x.to_bits() == UNWRITTEN.to_bits();
        match out.iter().position(unwritten) {
            None => Ok(()),
            Some(at) => Err(Error::target(format!(
                "{} left numbers unwritten, the first of them in row {} of a batch of {n} (did it \
                 raise?); it must write all {d} numbers of each row",
                self.describe(),
                at / d
            ))),
        }
    }

    /// Replaces the output of the function by `make` of it, y and s.
    fn each(y: Rows<'_>, sigma: &[f64], out: &mut [f64], make: impl Fn(f64, f64, f64) -> f64) {
        for (i, (out, y)) in out.chunks_exact_mut(y.dim()).zip(y.iter()).enumerate() {
            let s = level(sigma, i);
            out.iter_mut().zip(y).for_each(|(f, y)| *f = make(*f, *y, s));
        }
    }
}

impl Model for Native {
    fn dim(&self) -> usize {
        self.dim
    }

    fn denoise(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.call(y, sigma, out)?;
        match self.gives {
            Gives::Data => {}
            Gives::Noise => Self::each(y, sigma, out, |f, y, s| y - s * f),
            Gives::Score => Self::each(y, sigma, out, |f, y, s| y + s * s * f),
        }
        Ok(())
    }

    fn score(&self, y: Rows<'_>, sigma: &[f64], out: &mut [f64]) -> Result<()> {
        self.call(y, sigma, out)?;
        match self.gives {
            Gives::Data => Self::each(y, sigma, out, |f, y, s| (f - y) / (s * s)),
            Gives::Noise => Self::each(y, sigma, out, |f, _, s| -f / s),
            Gives::Score => {}
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("the native score model {}", self.name)
    }
}

/// A native denoiser by its address: `gives` is "x0", "eps" or "score".
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Pointer {
    address: usize,
    user_data: usize,
    gives: String,
    dim: usize,
    name: String,
    owner: Py<PyAny>,
}

/// A native function as a score model.
#[door]
#[pyfunction]
fn score_native(pointer: Pointer) -> PyResult<PyModel> {
    let Pointer { address, user_data, gives, dim, name, owner } = pointer;
    let gives = match gives.as_str() {
        "x0" => Gives::Data,
        "eps" => Gives::Noise,
        "score" => Gives::Score,
        other => return Err(PyValueError::new_err(format!("there is no prediction {other:?}"))),
    };
    if address == 0 || dim == 0 {
        return Err(PyValueError::new_err("a null pointer, or no coordinates, given"));
    }
    // SAFETY: the user guarantees a function of that signature at the address; if the object has a
    // signature, the Python layer has checked it.
    let function = unsafe { transmute::<*const c_void, Function>(address as *const c_void) };
    let user = user_data as *mut c_void;
    Ok(PyModel { inner: Arc::new(Native { function, user, gives, dim, name, _owner: owner }) })
}

/// Denoised rows of a native model, or their scores, chunk by chunk on the threads.
#[door]
#[pyfunction]
fn score_native_call(
    model: &PyModel,
    y: Points<'_>,
    sigma: Levels<'_>,
    of_score: bool,
    n_threads: usize,
) -> PyResult<Table> {
    let (py, n, d) = (y.py(), y.shape()[0], y.shape()[1]);
    let (y, sigma, model) = (y.as_slice()?, sigma.as_slice()?, model.inner.as_ref());
    if d != model.dim() || !(sigma.len() == 1 || sigma.len() == n) {
        return Err(PyValueError::new_err("points and levels of another shape"));
    }
    table(py, (n, d), CHUNK, n_threads, |part, out| {
        let rows = Rows::new(&y[part.start * d..part.end * d], d);
        let levels = levels_of(sigma, part);
        if of_score { model.score(rows, levels, out) } else { model.denoise(rows, levels, out) }
    })
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(score_native, m)?)?;
    m.add_function(wrap_pyfunction!(score_native_call, m)?)
}
