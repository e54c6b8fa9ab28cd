//! Integrators as programs, and the addressed noise that they use, for Python's own loops.

use fermiac_score::noise::{Purpose, stream};
use fermiac_score::program::{
    BForm, Churn, Corrector, Method, Op, Options, Program, SdeSolver, Start, Variable, compile,
    compile_rows,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::common::error::check;

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

/// Normal and uniform numbers of a draw for each of `n_rows` rows, in this order: (rows, normals)
/// and (rows, uniforms).
type Noise<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

/// The numbers of draw `draw` for rows from `first` on.
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
    let (mut normals, mut uniforms) =
        (vec![0.0; n_rows * n_normals], vec![0.0; n_rows * n_uniforms]);
    py.detach(|| {
        for i in 0..n_rows {
            let mut stream = stream(key, purpose, first + i as u64, draw);
            stream.fill_normal(&mut normals[i * n_normals..(i + 1) * n_normals]);
            stream.fill_uniform(&mut uniforms[i * n_uniforms..(i + 1) * n_uniforms]);
        }
    });
    Ok((
        PyArray1::from_vec(py, normals).reshape([n_rows, n_normals])?,
        PyArray1::from_vec(py, uniforms).reshape([n_rows, n_uniforms])?,
    ))
}

/// An integrator on a grid: the instructions, and the coefficients of one grid for all rows or of
/// one for each.
#[pyclass(name = "Program", module = "fermiac._core", frozen)]
pub(crate) struct PyProgram {
    pub(crate) inner: Program,
    /// Of all rows, or rows × coefficients.
    pub(crate) coefficients: Vec<f64>,
    /// Rows with grids of their own.
    pub(crate) rows: Option<usize>,
}

#[pymethods]
impl PyProgram {
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

    /// Of shape (n_coefficients,), or (rows, n_coefficients) where rows have grids of their own.
    #[getter]
    fn coefficients<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all = PyArray1::from_slice(py, &self.coefficients);
        match self.rows {
            None => Ok(all.into_any()),
            Some(rows) => Ok(all.reshape([rows, self.inner.n_coefficients])?.into_any()),
        }
    }
}

/// The integrator that `(name, settings...)` describes.
pub(crate) fn method_of(given: &Bound<'_, PyAny>) -> PyResult<Method> {
    let given = given.cast::<PyTuple>()?;
    let name: String = given.get_item(0)?.extract()?;
    let at = |i: usize| given.get_item(i);
    Ok(match name.as_str() {
        "euler" => Method::Euler,
        "heun" => Method::Heun(Churn {
            churn: at(1)?.extract()?,
            low: at(2)?.extract()?,
            high: at(3)?.extract()?,
            noise: at(4)?.extract()?,
        }),
        "midpoint" => Method::Dpm2,
        "runge_kutta" => Method::RungeKutta { order: at(1)?.extract()? },
        "single" => Method::Single { order: at(1)?.extract()? },
        "multi" => Method::Multi {
            order: at(1)?.extract()?,
            eta: at(2)?.extract()?,
            solver: match at(3)?.extract::<String>()?.as_str() {
                "midpoint" => SdeSolver::Midpoint,
                "heun" => SdeSolver::Heun,
                other => return unknown("sde", other),
            },
            corrected: at(4)?.extract()?,
        },
        "ancestral" => Method::Ancestral { eta: at(1)?.extract()? },
        "euler_maruyama" => Method::EulerMaruyama,
        "deis" => Method::Deis {
            degree: at(1)?.extract()?,
            variable: match at(2)?.extract::<String>()?.as_str() {
                "sigma" => Variable::Sigma,
                "log" => Variable::Log,
                "vp_t" => {
                    Variable::VpTime { beta_min: at(3)?.extract()?, beta_max: at(4)?.extract()? }
                }
                other => return unknown("variable", other),
            },
        },
        "ghvb" => Method::Ghvb { order: at(1)?.extract()?, beta: at(2)?.extract()? },
        "heavy_ball" => Method::HeavyBall { order: at(1)?.extract()?, beta: at(2)?.extract()? },
        "unipc" => Method::UniPc {
            order: at(1)?.extract()?,
            form: match at(2)?.extract::<String>()?.as_str() {
                "bh1" => BForm::B1,
                "bh2" => BForm::B2,
                other => return unknown("form", other),
            },
            correct: at(3)?.extract()?,
        },
        other => return unknown("method", other),
    })
}

/// The options that `(start, lower_order_final, langevin steps or None)` describes.
pub(crate) fn options_of(given: &Bound<'_, PyAny>) -> PyResult<Options> {
    let (start, lower_order_final, langevin): (String, bool, Option<usize>) = given.extract()?;
    Ok(Options {
        start: match start.as_str() {
            "low" => Start::Low,
            "rk" => Start::RungeKutta,
            other => return unknown("start", other),
        },
        lower_order_final,
        corrector: langevin.map(|n_steps| Corrector { n_steps }),
    })
}

fn unknown<T>(what: &str, given: &str) -> PyResult<T> {
    Err(PyValueError::new_err(format!("there is no {what} {given:?}")))
}

/// The program of a method on a grid of shape (levels,), or on one for each row, (rows, levels).
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
