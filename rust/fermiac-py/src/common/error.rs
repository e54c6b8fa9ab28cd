//! Conversion of errors of the core into the exceptions of `fermiac.errors`.

use fermiac_base::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Returns the exception for an error of the core. `Error::Callback` and `Error::Cancelled` have
/// none of their own; `enter` replaces them by the exception of the callback or signal.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Argument { .. } => "ArgumentError",
        Error::Target { .. } => "TargetError",
        Error::Numerical(_) => "NumericalError",
        Error::Checkpoint { .. } => "CheckpointError",
        Error::Memory(_) => "MemoryLimitError",
        _ => "InternalError",
    };
    match exception(py, class) {
        Ok(class) => PyErr::from_type(class, error.to_string()),
        Err(failure) => failure,
    }
}

/// Returns a result of the core with its error as an exception.
pub(crate) fn check<T>(py: Python<'_>, result: fermiac_base::Result<T>) -> PyResult<T> {
    result.map_err(|error| to_py(py, &error))
}

fn exception<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("fermiac.errors").map(Bound::unbind))?;
    Ok(module.bind(py).getattr(name)?.cast_into::<PyType>()?)
}
