//! Integrators as programs, and their addressed noise, for the loops of Python.

use crate::common::enter::compute;
use crate::common::error::check;
use fermiac_base::alloc::table_of;
use fermiac_score::noise::{Purpose, stream};
use fermiac_score::program::{
    Corrector, Method, Op, Options, Program, Setting, Start, compile, compile_rows,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::collections::HashMap;

const PURPOSES: [Purpose; 8] = [
    Purpose::Integrate,
    Purpose::Start,
    Purpose::Sweep,
    Purpose::Window,
    Purpose::Path,
    Purpose::Probe,
    Purpose::Choice,
    Purpose::Train,
];

/// Rows of noise between two looks at the clock.
const NOISE_ROWS: usize = 64;

/// Normal and uniform numbers of a draw, (rows, normals) and (rows, uniforms).
type Noise<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

/// Returns the numbers of draw `draw` for rows from `first` on.
#[door]
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "as Python gives them")]
fn score_noise(
    py: Python<'_>,
    key: u64,
    purpose: usize,
    first: u64,
    n_rows: usize,
    draw: u32,
    n_normals: usize,
    n_uniforms: usize,
) -> PyResult<Noise<'_>> {
    let purpose = *PURPOSES
        .get(purpose)
        .ok_or_else(|| PyValueError::new_err(format!("there is no purpose {purpose}")))?;
    let numbers = |width| check(py, table_of("n", 0.0, n_rows, width));
    let (mut normals, mut uniforms) = (numbers(n_normals)?, numbers(n_uniforms)?);
    compute(py, 1, |context| {
        for i in 0..n_rows {
            if i.is_multiple_of(NOISE_ROWS) {
                context.poll()?;
            }
            let mut stream = stream(key, purpose, first + i as u64, draw);
            stream.fill_normal(&mut normals[i * n_normals..(i + 1) * n_normals]);
            stream.fill_uniform(&mut uniforms[i * n_uniforms..(i + 1) * n_uniforms]);
        }
        Ok(())
    })?;
    Ok((
        PyArray1::from_vec(py, normals).reshape([n_rows, n_normals])?,
        PyArray1::from_vec(py, uniforms).reshape([n_rows, n_uniforms])?,
    ))
}

/// An integrator on a grid: the instructions, and the coefficients of one grid for all rows or of
/// one grid for each.
#[pyclass(name = "Program", module = "fermiac._core", frozen)]
pub(crate) struct PyProgram {
    pub(crate) inner: Program,
    /// Coefficients for all rows, or rows × coefficients.
    pub(crate) coefficients: Vec<f64>,
    /// The number of rows, if they have grids of their own.
    pub(crate) rows: Option<usize>,
}

#[door]
#[pymethods]
impl PyProgram {
    /// The names of the integrators that `score_compile` takes.
    #[classattr]
    const METHODS: &'static [&'static str] = Method::NAMES;

    /// `("combine", to, terms, at, noise or None)`, `("denoise", from, to, at)`, `("langevin",
    /// denoised, at, noise)` and `("step", at)`.
    #[getter]
    fn ops<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let ops = PyList::empty(py);
        for op in &self.inner.ops {
            let op = match op {
                Op::Combine { to, terms, at, noise } => {
                    ("combine", *to, terms.clone(), *at, *noise).into_pyobject(py)?.into_any()
                }
                Op::Denoise { from, to, at } => {
                    ("denoise", *from, *to, *at).into_pyobject(py)?.into_any()
                }
                Op::Langevin { denoised, at, noise } => {
                    ("langevin", *denoised, *at, *noise).into_pyobject(py)?.into_any()
                }
                Op::Step { at } => ("step", *at).into_pyobject(py)?.into_any(),
            };
            ops.append(op)?;
        }
        Ok(ops)
    }

    #[getter]
    fn n_registers(&self) -> usize {
        self.inner.n_registers
    }

    #[getter]
    fn n_evals(&self) -> usize {
        self.inner.n_evals
    }

    #[getter]
    fn n_steps(&self) -> usize {
        self.inner.n_steps
    }

    #[getter]
    fn draws(&self) -> Vec<(usize, usize)> {
        self.inner.draws.clone()
    }

    /// Shape (n_coefficients,), or (rows, n_coefficients) if rows have grids of their own.
    #[getter]
    fn coefficients<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all = PyArray1::from_slice(py, &self.coefficients);
        match self.rows {
            None => Ok(all.into_any()),
            Some(rows) => Ok(all.reshape([rows, self.inner.n_coefficients])?.into_any()),
        }
    }
}

/// A setting of an integrator, of the first kind that it can have.
fn setting(given: &Bound<'_, PyAny>) -> PyResult<Setting> {
    let flag = given.extract().map(Setting::Flag);
    let number = flag
        .or_else(|_| given.extract().map(Setting::Whole))
        .or_else(|_| given.extract().map(Setting::Real));
    number
        .or_else(|_| given.extract().map(Setting::Pair))
        .or_else(|_| given.extract().map(Setting::Word))
}

/// The integrator that `(name, settings)` describes.
pub(crate) fn method_of(given: &Bound<'_, PyAny>) -> PyResult<Method> {
    let (name, settings): (String, HashMap<String, Bound<'_, PyAny>>) = given.extract()?;
    let read = |(key, value): (String, Bound<'_, PyAny>)| Ok((key, setting(&value)?));
    let settings = settings.into_iter().map(read).collect::<PyResult<Vec<_>>>()?;
    check(given.py(), Method::read(&name, &settings))
}

/// The options that `(start, lower_order_final, langevin steps or None)` describes.
pub(crate) fn options_of(given: &Bound<'_, PyAny>) -> PyResult<Options> {
    let (start, lower_order_final, langevin): (String, bool, Option<usize>) = given.extract()?;
    Ok(Options {
        start: match start.as_str() {
            "low" => Start::Low,
            "rk" => Start::RungeKutta,
            other => return Err(PyValueError::new_err(format!("there is no start {other:?}"))),
        },
        lower_order_final,
        corrector: langevin.map(|n_steps| Corrector { n_steps }),
    })
}

/// The program of a method on a grid of shape (levels,), or on one for each row, (rows, levels).
#[door]
#[pyfunction]
fn score_compile(
    py: Python<'_>,
    method: &Bound<'_, PyAny>,
    options: &Bound<'_, PyAny>,
    grid: PyReadonlyArrayDyn<'_, f64>,
) -> PyResult<PyProgram> {
    let (method, options) = (method_of(method)?, options_of(options)?);
    let levels = grid.as_slice()?;
    let (made, rows) = match *grid.shape() {
        [_] => (py.detach(|| compile(method, options, levels)), None),
        [rows, n_levels] => {
            (py.detach(|| compile_rows(method, options, levels, n_levels)), Some(rows))
        }
        _ => return Err(PyTypeError::new_err("a grid has shape (levels,) or (rows, levels)")),
    };
    let (inner, coefficients) = check(py, made)?;
    Ok(PyProgram { inner, coefficients, rows })
}

/// Adds this file's names to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyProgram>()?;
    m.add_function(wrap_pyfunction!(score_compile, m)?)?;
    m.add_function(wrap_pyfunction!(score_noise, m)?)
}
